"""Classes in networks: where a generator is told them, and how a discriminator judges by them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gansearch.data.domain import Domain

EMBEDDING = 16
"""Numbers that a class is embedded in, where it is joined to the inputs."""


def count_classes(domain: Domain, conditional: bool) -> int:
    """How many classes a network is told, 0 if it is told none; raises `ValueError` where there are
    none to be told.
    """
    if conditional and not domain.classes:
        raise ValueError("conditional: the data have no labels: take data with classes, or drop it")
    return len(domain.classes) if conditional else 0


def embedded(conditional: bool, norm: str) -> int:
    """How many numbers of a class are joined to a generator's latents: none where a norm is told it."""
    return EMBEDDING if conditional and norm != "conditional-batch" else 0


def check_norm(norm: str, conditional: bool) -> None:
    """Raise `ValueError` where a norm needs classes that the generator is not told."""
    if norm == "conditional-batch" and not conditional:
        raise ValueError("norm: conditional-batch needs `conditional: true`")


class Layers(nn.Sequential):
    """Layers one after another, with the labels [B] for those that have `told = True`."""

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        """Inputs [B, ...] -> what comes out."""
        for layer in self:
            inputs = layer(inputs, labels) if getattr(layer, "told", False) else layer(inputs)
        return inputs


def joined(inputs: Tensor, labels: Tensor | None, classes: nn.Embedding | None) -> Tensor:
    """Inputs [B, ...] in rows with the embeddings of their labels behind them, where there are any."""
    if classes is None:
        return inputs
    assert labels is not None
    return torch.cat([inputs.flatten(labels.dim()), classes(labels)], dim=-1)


class Head(nn.Module):
    """Features [B, F] -> logits [B]: a linear layer, and the classes' projection where there are some.

    Miyato and Koyama 2018 (arXiv 1802.05637), equation 7: the logit is w x + <e(class), x> + b.

    Args:
        features: F.
        classes: how many; 0: none.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.projection = nn.Linear(classes, features, bias=False) if classes else None

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Features [B, F], and labels [B] where classes are told -> logits [B]."""
        logits: Tensor = self.linear(features).squeeze(-1)
        if self.projection is None:
            return logits
        assert labels is not None
        # A linear layer of one-hot labels is an embedding that spectral norm knows how to hold.
        chosen = nn.functional.one_hot(labels, self.projection.in_features).to(features.dtype)
        projected: Tensor = self.projection(chosen)
        return logits + (projected * features).sum(-1)

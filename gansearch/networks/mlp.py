"""Fully connected networks, as in the first GAN (Goodfellow et al. 2014, arXiv 1406.2661).

Blind to neighbouring pixels, quick to train on small images, and for any image size and for points.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gansearch.data.domain import Domain, as_domain
from gansearch.networks.norms import (
    DiscriminatorNorm,
    GeneratorNorm,
    activation_norm,
    spectral_norm,
)

Depth = Annotated[int, Field(ge=1, le=32)]
Width = Annotated[int, Field(ge=1, le=16384)]


EMBEDDING = 16
"""Numbers that a class is embedded in."""


class Generator(nn.Module):
    """Fully connected (Goodfellow et al. 2014, arXiv 1406.2661).

    Maps latents [B, latent_size] to images [B, C, H, W] in [-1, 1], or to points [B, D].

    Args:
        domain: any; images end in a tanh, points in a linear layer.
        latent_size: length of a latent vector.
        depth: hidden layers.
        width: units of each hidden layer.
        norm: what follows each hidden layer.
        conditional: make samples of given classes: an embedding of the class, learnt with the rest, is
            joined to the latents (Mirza and Osindero 2014, arXiv 1411.1784).
    """

    def __init__(
        self,
        domain: Domain | tuple[int, ...],
        latent_size: int,
        *,
        depth: Depth = 3,
        width: Width = 256,
        norm: GeneratorNorm = "batch",
        conditional: bool = False,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        domain = as_domain(domain)
        extra = _embedded(domain, conditional)
        ending = [nn.Tanh(), nn.Unflatten(1, domain.shape)] if domain.kind == "images" else []
        self.layers = nn.Sequential(
            *_hidden(latent_size + extra, depth, width, norm),
            nn.Linear(width, math.prod(domain.shape)),
            *ending,
        )
        self.classes = nn.Embedding(len(domain.classes), extra) if conditional else None

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents [B, latent_size], and labels [B] if conditional -> samples [B, ...]."""
        samples: Tensor = self.layers(_joined(latents, labels, self.classes))
        return samples


class Discriminator(nn.Module):
    """Fully connected (Goodfellow et al. 2014, arXiv 1406.2661).

    Maps images [B, C, H, W] or points [B, D] to logits [B].

    Args:
        domain: any.
        depth: hidden layers.
        width: units of each hidden layer.
        norm: `batch` or `layer` after each hidden layer, `spectral` on the weights of every
            layer, or `none`. Gradient penalties forbid `batch`.
        conditional: judge samples as ones of given classes: an embedding of the class, learnt with the
            rest, is joined to the sample (Mirza and Osindero 2014, arXiv 1411.1784).
    """

    def __init__(
        self,
        domain: Domain | tuple[int, ...],
        *,
        depth: Depth = 3,
        width: Width = 256,
        norm: DiscriminatorNorm = "spectral",
        conditional: bool = False,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        domain = as_domain(domain)
        extra = _embedded(domain, conditional)
        self.layers = nn.Sequential(
            nn.Flatten(),
            *_hidden(math.prod(domain.shape) + extra, depth, width, norm),
            nn.Linear(width, 1),
        )
        self.classes = nn.Embedding(len(domain.classes), extra) if conditional else None
        if norm == "spectral":
            spectral_norm(self)

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """Samples [B, ...], and labels [B] if conditional -> logits [B]."""
        logits: Tensor = self.layers(_joined(samples, labels, self.classes))
        return logits.squeeze(-1)


def _embedded(domain: Domain, conditional: bool) -> int:
    """How many inputs the class has; raises `ValueError` where there are no classes."""
    if conditional and not domain.classes:
        raise ValueError("conditional: the data have no labels: take data with classes, or drop it")
    return EMBEDDING if conditional else 0


def _joined(inputs: Tensor, labels: Tensor | None, classes: nn.Embedding | None) -> Tensor:
    """Inputs [B, ...] with the embeddings of their labels behind them, where there are any."""
    if classes is None:
        return inputs
    return torch.cat([inputs.flatten(1), classes(labels)], dim=1)


def _hidden(inputs: int, depth: int, width: int, norm: DiscriminatorNorm) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before in [inputs, *[width] * (depth - 1)]:
        layers += [
            nn.Linear(before, width, bias=norm != "batch"),
            *activation_norm(norm, width, spatial=False),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return layers

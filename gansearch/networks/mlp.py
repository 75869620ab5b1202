"""Fully connected networks, as in the first GAN (Goodfellow et al. 2014, arXiv 1406.2661).

Blind to neighbouring pixels, quick to train on small images, and for any image size and for points.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from gansearch.data.domain import Domain, as_domain
from gansearch.networks.classes import (
    EMBEDDING,
    Head,
    Layers,
    check_norm,
    count_classes,
    embedded,
    joined,
)
from gansearch.networks.initialisation import Deviation, Init, initialise
from gansearch.networks.norms import (
    FlatDiscriminatorNorm,
    FlatGeneratorNorm,
    activation_norm,
    biased,
    spectral_norm,
)
from gansearch.study.sections import later

Depth = Annotated[int, Field(ge=1, le=32)]
Width = Annotated[int, Field(ge=1, le=16384)]


class Generator(nn.Module):
    """Fully connected (Goodfellow et al. 2014, arXiv 1406.2661).

    Maps latents [B, latent_size] to images [B, C, H, W] in [-1, 1], or to points [B, D].

    Args:
        domain: any; images end in a tanh, points in a linear layer.
        latent_size: length of a latent vector.
        depth: hidden layers.
        width: units of each hidden layer.
        norm: what follows each hidden layer; `spectral` acts on the weights of every layer.
        conditional: make samples of given classes: an embedding of the class, learnt with the rest, is
            joined to the latents (Mirza and Osindero 2014, arXiv 1411.1784); with the norm
            `conditional-batch` the classes are told there instead.
        init: how the weights are drawn; `own` is torch's.
        init_std: the standard deviation of `init: normal`.
    """

    stacks: ClassVar[bool] = True

    def __init__(
        self,
        domain: Domain | tuple[int, ...],
        latent_size: int,
        *,
        depth: Depth = 3,
        width: Width = 256,
        norm: FlatGeneratorNorm = "batch",
        conditional: bool = False,
        init: Init = "own",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        check_norm(norm, conditional)
        domain = as_domain(domain)
        classes = count_classes(domain, conditional)
        extra = embedded(conditional, norm)
        ending = [nn.Tanh(), nn.Unflatten(1, domain.shape)] if domain.kind == "images" else []
        self.layers = Layers(
            *_hidden(latent_size + extra, depth, width, norm, classes),
            nn.Linear(width, math.prod(domain.shape)),
            *ending,
        )
        self.classes = nn.Embedding(classes, extra) if extra else None
        initialise(self, init, init_std)
        if norm == "spectral":
            spectral_norm(self)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents [B, latent_size], and labels [B] if conditional -> samples [B, ...]."""
        samples: Tensor = self.layers(joined(latents, labels, self.classes), labels)
        return samples


class Discriminator(nn.Module):
    """Fully connected (Goodfellow et al. 2014, arXiv 1406.2661).

    Maps images [B, C, H, W] or points [B, D] to logits [B].

    Args:
        domain: any.
        depth: hidden layers.
        width: units of each hidden layer.
        norm: `batch`, `layer` or `group` after each hidden layer, `spectral` on the weights of every
            layer, or `none`. Gradient penalties forbid `batch`.
        conditional: judge samples as ones of given classes.
        classes: how: an `embedding` of the class, learnt with the rest, is joined to the sample (Mirza
            and Osindero 2014, arXiv 1411.1784), or its `projection` on the last features is added to
            the logit (Miyato and Koyama 2018, arXiv 1802.05637).
        init: how the weights are drawn; `own` is torch's.
        init_std: the standard deviation of `init: normal`.
    """

    stacks: ClassVar[bool] = True

    def __init__(
        self,
        domain: Domain | tuple[int, ...],
        *,
        depth: Depth = 3,
        width: Width = 256,
        norm: FlatDiscriminatorNorm = "spectral",
        conditional: bool = False,
        classes: Annotated[Literal["embedding", "projection"], later("embedding")] = "embedding",
        init: Init = "own",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        domain = as_domain(domain)
        count = count_classes(domain, conditional)
        projects = conditional and classes == "projection"
        extra = EMBEDDING if conditional and not projects else 0
        self.layers = nn.Sequential(
            nn.Flatten(),
            *_hidden(math.prod(domain.shape) + extra, depth, width, norm),
            *([] if projects else [nn.Linear(width, 1)]),
        )
        self.classes = nn.Embedding(count, extra) if extra else None
        self.head = Head(width, count) if projects else None
        initialise(self, init, init_std)
        if norm == "spectral":
            spectral_norm(self)

    def forward(self, samples: Tensor, labels: Tensor | None = None) -> Tensor:
        """Samples [B, ...], and labels [B] if conditional -> logits [B]."""
        outputs: Tensor = self.layers(joined(samples, labels, self.classes))
        if self.head is None:
            return outputs.squeeze(-1)
        logits: Tensor = self.head(outputs, labels)
        return logits


def _hidden(
    inputs: int,
    depth: int,
    width: int,
    norm: FlatGeneratorNorm | FlatDiscriminatorNorm,
    classes: int = 0,
) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before in [inputs, *[width] * (depth - 1)]:
        layers += [
            nn.Linear(before, width, bias=biased(norm)),
            *activation_norm(norm, width, spatial=False, classes=classes),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return layers

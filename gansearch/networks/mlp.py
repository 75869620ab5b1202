"""Fully connected networks, as in the first GAN (Goodfellow et al. 2014, arXiv 1406.2661).

Blind to neighbouring pixels, quick to train on small images, and for any image size.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from gansearch.networks.norms import (
    DiscriminatorNorm,
    GeneratorNorm,
    activation_norm,
    spectral_norm,
)

Depth = Annotated[int, Field(ge=1, le=32)]
Width = Annotated[int, Field(ge=1, le=16384)]


class Generator(nn.Module):
    """Fully connected (Goodfellow et al. 2014, arXiv 1406.2661).

    Maps latents [B, latent_size] to images [B, C, H, W] in [-1, 1].

    Args:
        image_shape: (C, H, W), any.
        latent_size: length of a latent vector.
        depth: hidden layers.
        width: units of each hidden layer.
        norm: what follows each hidden layer.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_size: int,
        *,
        depth: Depth = 3,
        width: Width = 256,
        norm: GeneratorNorm = "batch",
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_hidden(latent_size, depth, width, norm),
            nn.Linear(width, math.prod(image_shape)),
            nn.Tanh(),
            nn.Unflatten(1, image_shape),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Latents [B, latent_size] -> images [B, C, H, W] in [-1, 1]."""
        images: Tensor = self.layers(latents)
        return images


class Discriminator(nn.Module):
    """Fully connected (Goodfellow et al. 2014, arXiv 1406.2661).

    Maps images [B, C, H, W] to logits [B].

    Args:
        image_shape: (C, H, W), any.
        depth: hidden layers.
        width: units of each hidden layer.
        norm: `batch` or `layer` after each hidden layer, `spectral` on the weights of every
            layer, or `none`. Gradient penalties forbid `batch`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        *,
        depth: Depth = 3,
        width: Width = 256,
        norm: DiscriminatorNorm = "spectral",
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            *_hidden(math.prod(image_shape), depth, width, norm),
            nn.Linear(width, 1),
        )
        if norm == "spectral":
            spectral_norm(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] -> logits [B]."""
        logits: Tensor = self.layers(images)
        return logits.squeeze(-1)


def _hidden(inputs: int, depth: int, width: int, norm: DiscriminatorNorm) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before in [inputs, *[width] * (depth - 1)]:
        layers += [
            nn.Linear(before, width, bias=norm != "batch"),
            *activation_norm(norm, width, spatial=False),
            nn.LeakyReLU(0.2, inplace=True),
        ]
    return layers

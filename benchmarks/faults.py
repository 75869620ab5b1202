"""Broken parts for `benchmarks.health`: named in a configuration as any plug-in is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gansearch.networks.dcgan import Depth, Generator, Width


class DeafGenerator(nn.Module):
    """A `dcgan` that does not hear its noise: one learned vector in place of every latent."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_size: int,
        *,
        depth: Depth = None,
        width: Width = 64,
    ) -> None:
        super().__init__()
        # Batch norm would have nothing to normalise by where all the samples are one.
        self.network = Generator(image_shape, latent_size, depth=depth, width=width, norm="none")
        self.word = nn.Parameter(torch.randn(latent_size))

    def forward(self, latents: Tensor) -> Tensor:
        """The same image, as often as there are latents."""
        images: Tensor = self.network(self.word.expand_as(latents))
        return images

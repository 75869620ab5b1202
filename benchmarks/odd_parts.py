"""Parts that only benchmarks want, named in a configuration as any plug-in is."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from gansearch.data.domain import Domain
from gansearch.networks import mlp
from gansearch.networks.blocks import Depth
from gansearch.networks.dcgan import Generator, Width


class DeafGenerator(nn.Module):
    """A `dcgan` that does not hear its noise: one learned vector in place of every latent.

    For `benchmarks.health`.
    """

    def __init__(
        self,
        domain: Domain,
        latent_size: int,
        *,
        depth: Depth = None,
        width: Width = 64,
    ) -> None:
        super().__init__()
        # Batch norm would have nothing to normalise by where all the samples are one.
        self.network = Generator(domain, latent_size, depth=depth, width=width, norm="none")
        self.word = nn.Parameter(torch.randn(latent_size))

    def forward(self, latents: Tensor) -> Tensor:
        """The same image, as often as there are latents."""
        images: Tensor = self.network(self.word.expand_as(latents))
        return images


class PacedGenerator(mlp.Generator):
    """An `mlp` that takes its time, and writes down when its training begins, or begins again.

    For `benchmarks.faults`, whose faults are to strike while trials train. `pace` is in milliseconds a
    step. The file is `SEED-TIME` in the folder PACED_BEGINNINGS; the seed is the trial's.
    """

    waits: ClassVar[bool] = True

    def __init__(
        self,
        domain: Domain,
        latent_size: int,
        *,
        depth: mlp.Depth = 1,
        width: mlp.Width = 16,
        pace: Annotated[float, Field(ge=0)] = 0.0,
    ) -> None:
        super().__init__(domain, latent_size, depth=depth, width=width)
        self.pace = pace
        folder = os.environ.get("PACED_BEGINNINGS")
        if folder and next(self.parameters()).device.type != "meta":
            Path(folder, f"{torch.initial_seed()}-{time.time():.3f}").touch()

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.training and self.waits:
            time.sleep(self.pace / 1000)
        return super().forward(latents, labels)

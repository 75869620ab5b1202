"""Several generators as one: each latent is one's turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn


class Mixture(nn.Module):
    """So many generators of one kind, each of which makes an equal share of the samples (MGAN).

    Hoang et al. 2018 (arXiv 1708.02556). Which generator's turn it is follows from the first of the
    latent numbers: its quantile, in as many equal parts as there are generators. Within its part the
    quantile is stretched back over all of them, so that each generator sees latents as normal as any
    other's, and a sample follows from its latents alone. All generators are computed for all latents.

    Args:
        build: makes one of them.
        count: how many.
    """

    stacks: ClassVar[bool] = True

    def __init__(self, build: Callable[[], nn.Module], count: int) -> None:
        super().__init__()
        self.members = nn.ModuleList(build() for _ in range(count))
        self.conditional = bool(getattr(self.members[0], "conditional", False))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents [..., B, latent_size], labels [..., B] if conditional -> samples [..., B, ...]."""
        turns, inner = self._turns(latents)
        told = () if labels is None else (labels,)
        samples = torch.stack([member(inner, *told) for member in self.members])
        place = turns[(None, ..., *[None] * (samples.dim() - 1 - turns.dim()))]
        place = place.expand(1, *samples.shape[1:])
        return samples.gather(0, place).squeeze(0)

    def turns(self, latents: Tensor) -> Tensor:
        """Whose turn each of the latents [..., B, latent_size] is, int64 [..., B]."""
        return self._turns(latents)[0]

    def _turns(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Whose turn it is, and the latents that it sees."""
        count = len(self.members)
        share = torch.special.ndtr(latents[..., 0].double()) * count
        turns = share.floor().nan_to_num().clamp(0, count - 1)  # NaN is the first's turn, and stays NaN
        # Where the quantile ends in float64 nothing is left to stretch; nobody draws such a number.
        within = (share - turns).clamp(1e-12, 1 - 1e-12)
        first = math.sqrt(2) * torch.erfinv(2 * within - 1)
        return turns.long(), torch.cat([first.to(latents.dtype)[..., None], latents[..., 1:]], -1)

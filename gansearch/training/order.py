"""Which images each batch holds."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


class DataOrder:
    """Which images each batch holds: every epoch a fresh permutation, the last partial batch left
    out. A batch is a function of its number and the seed alone, so a data position is a number.

    Args:
        count: images; fewer than `batch_size` are drawn with repetition.
        batch_size: images in a batch.
        seed: fixes every permutation.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.per_epoch = max(count // batch_size, 1)

    def batches(self, first: int, number: int, device: torch.device) -> Iterator[Tensor]:
        """Indices, int64 of length batch_size, of `number` batches from the `first`-th on."""
        epoch, order = -1, torch.empty(0)
        for batch in range(first, first + number):
            if batch // self.per_epoch != epoch:
                epoch = batch // self.per_epoch
                order = self._permutation(epoch).to(device)
            start = batch % self.per_epoch * self.batch_size
            yield order[start : start + self.batch_size]

    def _permutation(self, epoch: int) -> Tensor:
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        if self.count < self.batch_size:
            return torch.randint(self.count, (self.batch_size,), generator=chance)
        return torch.randperm(self.count, generator=chance)

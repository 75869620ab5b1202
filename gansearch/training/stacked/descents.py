"""What is done around each step of K optimizers: clipping, schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gansearch.training.descent import Descent
from gansearch.training.stacked.side import Side


class Descents:
    """K optimizers as their configurations want them used, each as `Descent` has it alone.

    Args:
        side: the networks that they update.
        alone: each training's own, in the order of the rows.
    """

    def __init__(self, side: Side, alone: Sequence[Descent]) -> None:
        self._side = side
        self._scheduled = [(row, each) for row, each in enumerate(alone) if each.scheduled]
        bounds = [math.inf if each.clip is None else each.clip for each in alone]
        self._bounds = None if min(bounds) == math.inf else side.gradients.new_tensor(bounds)

    def step(self, numbers: Sequence[int]) -> None:
        """Update all weights by their gradients; `numbers` are the generators', from 0, [K]."""
        if self._bounds is not None:
            self._side.gradients.mul_(self._shares(self._bounds).unsqueeze(1))
        if self._scheduled:
            for row, each in self._scheduled:
                each.set_rate(numbers[row])
            self._side.optimizer.read_settings()
        self._side.optimizer.step()

    def _shares(self, bounds: Tensor) -> Tensor:
        """What is left of each gradient, [K], as `torch.nn.utils.clip_grad_norm_` has it; all of one
        that has no bound, whatever it holds.
        """
        shares = (bounds / (self._side.norms() + 1e-6)).clamp(max=1.0)
        return torch.where(bounds.isinf(), 1.0, shares)

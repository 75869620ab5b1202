"""Where an augmentation takes its random numbers from."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Draws(Protocol):
    """Random numbers of one training."""

    def rand_like(self, like: Tensor) -> Tensor:
        """Uniform in [0, 1), in the shape and dtype and on the device of `like`."""
        ...

    def randn_like(self, like: Tensor) -> Tensor:
        """Standard normal, likewise."""
        ...

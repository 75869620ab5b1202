"""Random numbers for penalties, from a generator that belongs to one training."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeGuard

import torch
from torch import Tensor


class Draws:
    """Where a penalty takes its random numbers from: `draws.rand_like(x)` for `torch.rand_like(x)`.

    Torch's own would draw other numbers where `x` lies in memory with its channels last, as images do
    on one device, or from one network, and not from another.

    Args:
        generator: of the training, on its device; None: torch's global one.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self._generator = generator

    def rand_like(self, like: Tensor) -> Tensor:
        """Uniform in [0, 1), in the shape and dtype and on the device of `like`."""
        return torch.rand(like.shape, generator=self._generator, dtype=like.dtype, device=like.device)

    def randn_like(self, like: Tensor) -> Tensor:
        """Standard normal, in the shape and dtype and on the device of `like`."""
        return torch.randn(like.shape, generator=self._generator, dtype=like.dtype, device=like.device)


GLOBAL = Draws()
"""Torch's global generator, for a penalty that is called by itself."""


class DrawingPenalty(Protocol):
    """A penalty that draws random numbers."""

    def __call__(
        self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, *, draws: Draws
    ) -> Tensor:
        """The weighted penalty."""
        ...


def takes_draws(penalty: object) -> TypeGuard[DrawingPenalty]:
    """Whether a penalty, or a loss's `d`, takes its random numbers as the keyword `draws`."""
    return callable(penalty) and "draws" in inspect.signature(penalty).parameters


def drawing_from(draws: Draws, part: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A penalty, or a loss's `d`, with its random numbers given, where it takes any."""
    return partial(part, draws=draws) if takes_draws(part) else part

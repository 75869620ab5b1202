"""The global random generators as one training has them, and algorithms that do not vary by themselves.

A training's noise, its data order and its penalty have generators of their own. The global ones are
for what parts draw by themselves: initial weights, dropout, a user's own NumPy. A process may train
several GANs in turn, so each keeps its own states of them, and puts them in place while it is at work.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators, on every device."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def random_states(device: torch.device) -> dict[str, Any]:
    """The global generators' states, as tensors and plain values."""
    version, words, gauss = random.getstate()
    _, key, position, has_gauss, cached = cast("tuple[Any, ...]", np.random.get_state(legacy=True))
    return {
        "python": [version, list(words), gauss],
        "numpy": [torch.from_numpy(key.astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put the global generators back to what `random_states` gave."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    key, position, has_gauss, cached = states["numpy"]
    numpy_key = key.numpy().astype(np.uint32)
    np.random.set_state(("MT19937", numpy_key, position, has_gauss, cached))
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)


class OwnRandomness:
    """The global generators' states of one training.

    Args:
        seed: of the training.
        device: on which it draws, besides the CPU.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        with seeded(seed, device):
            self._states = random_states(device)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While it is open, the global generators are this training's; then they are as before."""
        outside = random_states(self._device)
        restore_random_states(self._states, self._device)
        try:
            yield
        finally:
            self._states = random_states(self._device)
            restore_random_states(outside, self._device)

    def state(self) -> dict[str, Any]:
        """The states as tensors and plain values."""
        return self._states

    def load(self, states: dict[str, Any], moved: int | None = None) -> None:
        """Go on from what `state` gave; `moved`: it was on another kind of device, and this is the seed
        of what is drawn on this one.
        """
        if moved is not None:
            with seeded(moved, self._device):
                states = states | {"cuda": random_states(self._device)["cuda"]}
        self._states = states


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """While it is open, the global generators draw as from a seed; then they are as before."""
    outside = random_states(device)
    seed_everything(seed)
    try:
        yield
    finally:
        restore_random_states(outside, device)


def be_repeatable() -> None:
    """Have cuBLAS repeat itself from its first use in this process on: it is then that it, and torch's
    check of it, read CUBLAS_WORKSPACE_CONFIG, and never again.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """While it is open, whatever has no deterministic algorithm on its device raises `RuntimeError`.

    If it is not wanted, all stays as it is. Otherwise torch's switches are put back afterwards, for a
    process trains one trial after another.
    """
    if not wanted:
        yield
        return
    be_repeatable()
    cudnn = torch.backends.cudnn
    before = torch.get_deterministic_debug_mode(), cudnn.deterministic, cudnn.benchmark
    # `use_deterministic_algorithms` does the same, and loads torch's compiler, which takes seconds.
    torch.set_deterministic_debug_mode("error")
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        mode, cudnn.deterministic, cudnn.benchmark = before
        torch.set_deterministic_debug_mode(mode)

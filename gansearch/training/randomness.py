"""The global random generators: seeded for a trial, saved with it, given back; and algorithms that
do not vary by themselves.

The trainer's own noise and data order have generators of their own. These are for what parts draw by
themselves: initial weights, dropout, a gradient penalty's mixing weights, a user's own NumPy.
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


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """While it is open, whatever has no deterministic algorithm on its device raises `RuntimeError`.

    If it is not wanted, all stays as it is. Otherwise torch's switches are put back afterwards, for a
    process trains one trial after another. CUBLAS_WORKSPACE_CONFIG stays: cuBLAS reads it when it is
    first used, and never again.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
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

"""What the C library does with memory that a step has given back."""

from __future__ import annotations

import torch

BLOCK = 31 << 20
"""Bytes; glibc takes no notice of blocks from 32 MiB on."""


def keep_memory() -> None:
    """Have glibc keep what is given back to it, up to 62 MiB, for the next one who asks.

    Numbers of several trainings are blocks of some hundred KiB, which glibc otherwise takes from the
    system and returns to it at every step; each of their pages is then cleared anew, which took a
    sixth of a step's time. A large block that is given back once raises both of its thresholds for good
    (mallopt(3), M_MMAP_THRESHOLD: the size of that block, and twice that for M_TRIM_THRESHOLD). It is
    never written to, so that it takes no memory; another C library does nothing.
    """
    torch.empty(BLOCK, dtype=torch.uint8)

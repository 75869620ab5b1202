"""Want of memory: what says so, and each process's share of a GPU's."""

from __future__ import annotations

import gc
import logging

import torch

from gansearch.masking import kind_and_line

log = logging.getLogger(__name__)

CONTEXT = 600 * 2**20
"""Bytes of a GPU that a process takes besides what torch allocates: CUDA's context, and the kernels of
cuBLAS and cuDNN."""

OUT_OF_MEMORY = (
    "out of memory",  # CUDA's own, where torch's allocator was not asked
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
)
"""What errors say that are not of the two types for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was short, the GPU's or the machine's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def describe(error: BaseException) -> str:
    """An error in a line, for a table; memory first, because that is mended by a smaller model."""
    if is_out_of_memory(error):
        return "out of memory"
    return kind_and_line(error)


def give_back() -> None:
    """Give back what was let go; torch's parametrized layers (spectral norm) are in cycles."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def keep_to_share(gpus: float) -> None:
    """Let this process run out of its own share of a GPU, before it takes another trial's.

    Torch's limit is on what torch allocates: CUDA's own needs are taken off it.
    """
    free, total = torch.cuda.mem_get_info()
    own = max(gpus * total - CONTEXT, gpus * total / 2)  # of a tiny share, something is to be left
    torch.cuda.set_per_process_memory_fraction(own / total)
    if free < own:
        text = "%.1f GiB of the GPU are free, less than a trial's %.1f: something else is using it"
        log.warning(text, free / 2**30, own / 2**30)

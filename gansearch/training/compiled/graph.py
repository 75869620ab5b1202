"""A step as one graph of a GPU's kernels, asked for at once in place of each kernel by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class Graph:
    """A function captured as a CUDA graph.

    Args:
        run: of tensors, some of which it changes in place; it waits for nothing and draws nothing.
        changing: its first arguments, that it changes in place: the same tensors at every call, which
            keep their values here.
        static: its next ones, always the same tensors.
        given: its last ones, which differ from call to call, in their values alone.
    """

    def __init__(
        self,
        run: Callable[..., Sequence[Tensor]],
        changing: Sequence[Tensor],
        static: Sequence[Tensor],
        given: Sequence[Tensor],
    ) -> None:
        self._given = [each.clone() for each in given]
        before = [each.clone() for each in changing]
        arguments = [*changing, *static, *self._given]
        aside: Any = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # the first calls choose kernels and take memory
            for _ in range(2):
                run(*arguments)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._found = list(run(*arguments))
        for each, value in zip(changing, before, strict=True):
            each.copy_(value)

    def __call__(self, *given: Tensor) -> list[Tensor]:
        """What the function returns, of these further arguments."""
        for own, each in zip(self._given, given, strict=True):
            own.copy_(each)
        self._graph.replay()
        return [each.clone() for each in self._found]

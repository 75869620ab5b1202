"""Compiled steps: made by torch's Inductor once for each shape, held against the same step uncompiled.

`torch.compile` leaves a step that calls `torch.autograd.grad` uncompiled without a word. So it is
traced here below autograd, gradients of gradients included, as one graph of operations, and that there
is a graph is asked for. The code of a shape serves all its trainings: of a process by what is held
here, of a machine by Inductor's own cache on disk, in `cache`; of processes that want the same at the
same time one compiles, and the others wait.
"""

from __future__ import annotations

import functools
import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import torch
from filelock import FileLock
from torch import Tensor

from gansearch.losses.draws import Draws
from gansearch.masking import kind_and_line
from gansearch.training.compiled.why import CannotCompile

log = logging.getLogger(__name__)

Function = Callable[..., Sequence[Tensor]]
P = ParamSpec("P")

CLOSE = {"float32": 1e-3, "bfloat16": 5e-2}
"""How far a compiled step's numbers may lie from the uncompiled one's, relative to their size."""


class Recorder(Draws):
    """Random numbers of nobody's, and what was asked for."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(torch.Generator(device).manual_seed(0))
        self.drawn: list[Drawn] = []
        self.numbers: list[Tensor] = []

    def rand_like(self, like: Tensor) -> Tensor:
        """Uniform in [0, 1), like `like`."""
        return self._note("rand_like", like, super().rand_like(like))

    def randn_like(self, like: Tensor) -> Tensor:
        """Standard normal, like `like`."""
        return self._note("randn_like", like, super().randn_like(like))

    def _note(self, method: str, like: Tensor, numbers: Tensor) -> Tensor:
        self.drawn.append(Drawn(method, tuple(like.shape), like.dtype))
        self.numbers.append(numbers)
        return numbers


@dataclass(frozen=True)
class Drawn:
    """Random numbers that a step asks for."""

    method: str
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Code:
    """A compiled step.

    Attributes:
        run: takes what the step takes, and the random numbers that it draws.
        drawn: which those are, in their order.
        seconds: that it took to compile, or to read from the cache.
    """

    run: Function
    drawn: list[Drawn] = field(default_factory=list)
    seconds: float = 0.0


_KNOWN: dict[str, Code | CannotCompile] = {}


def _once(make: Callable[Concatenate[str, P], Code]) -> Callable[Concatenate[str, P], Code]:
    """Make the code of a key once in a process, and refuse at once what was refused before."""

    @functools.wraps(make)
    def code_of_key(key: str, /, *args: P.args, **kwargs: P.kwargs) -> Code:
        known = _KNOWN.get(key)
        if known is None:
            try:
                known = make(key, *args, **kwargs)
            except CannotCompile as why:
                known = why
            _KNOWN[key] = known
        if isinstance(known, CannotCompile):
            raise known
        return known

    return code_of_key


@_once
def code_of(
    key: str,
    step: Callable[..., list[Tensor]],
    changing: Sequence[Tensor],
    arguments: Sequence[Tensor],
    close: float,
    cache: Path,
) -> Code:
    """The code of a step, compiled if it is not known.

    Args:
        key: a text that differs between steps that are not the same operations.
        step: takes what is `changing`, the `arguments`, and `draws`.
        changing: tensors that it changes in place; they stay as they are here.
        arguments: the others.
        close: how far its numbers may lie from the step's own, relative to their size.
        cache: a folder of this machine.

    Raises:
        CannotCompile: why it is not, in words; asked again, the same is raised at once.
    """
    device = arguments[0].device
    recorder = Recorder(device)
    truth = [each.clone() for each in changing]
    told = step(*truth, *arguments, draws=recorder)
    begun = time.perf_counter()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
    ours = [each.clone() for each in changing]
    count = len(changing) + len(arguments)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch\..*")
        try:
            cache.mkdir(parents=True, exist_ok=True)
            with FileLock(cache / f"{key}.lock"), torch.no_grad():
                run = _by_inductor(step, count, device)
                found = run(*ours, *arguments, *recorder.numbers)
        except CannotCompile:
            raise
        except Exception as error:  # torch has many kinds; what there is to say is in the first line
            raise CannotCompile(kind_and_line(error)[:300]) from error
    seconds = time.perf_counter() - begun
    pairs = zip([*ours, *found], [*truth, *told], strict=True)
    apart = torch.stack([_apart(one, other) for one, other in pairs]).max().item()
    if not apart <= close:  # nor where it is NaN, which Python's `max` would lose
        raise CannotCompile(f"its numbers are {apart:.1e} from those of the step as it is")
    log.info("a step is compiled, in %.0f s", seconds)
    return Code(run, recorder.drawn, seconds)


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """How far one lies from another, relative to its size; 0 where neither is finite in one place."""
    one, other = one.detach().double(), other.detach().double()
    both = one.isfinite() | other.isfinite()
    off, size = (torch.where(both, each, 0).norm() for each in (one - other, other))
    apart: Tensor = off / size.clamp_min(1e-6)
    return apart


def _by_inductor(step: Callable[..., list[Tensor]], count: int, device: torch.device) -> Function:
    """A function of so many arguments and then the random numbers; compiled when it is first called."""
    # Torch's compiler takes seconds to load, and few trainings are compiled.
    from torch._functorch.aot_autograd import aot_function  # noqa: PLC0415
    from torch._inductor import config  # noqa: PLC0415
    from torch._inductor.compile_fx import compile_fx_inner  # noqa: PLC0415
    from torch._inductor.decomposition import select_decomp_table  # noqa: PLC0415

    from gansearch.training.compiled.whole import Given  # noqa: PLC0415

    # On a machine without a GPU it warns each time that there is none.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    graphs: list[int] = []

    def of_tensors(*given: Tensor) -> list[Tensor]:
        return step(*given[:count], draws=Given(given[count:]))

    def compile_graph(graph: Any, example: Any) -> Any:
        drawing = [node for node in graph.graph.nodes if _draws(node)]
        if drawing:
            raise CannotCompile(f"a network draws random numbers by itself ({drawing[0].target})")
        graphs.append(len(graph.graph.nodes))
        # On a CPU it is one piece, and a process more for each core would only take memory.
        with config.patch({"compile_threads": 1} if device.type == "cpu" else {}):
            return compile_fx_inner(graph, example)

    make: Any = aot_function
    compiled = make(of_tensors, fw_compiler=compile_graph, decompositions=select_decomp_table())

    def run(*given: Tensor) -> Sequence[Tensor]:
        with torch.no_grad():
            found: Sequence[Tensor] = compiled(*given)
        if not graphs:
            raise CannotCompile("torch made no graph of it")
        return found

    return run


def _draws(node: Any) -> bool:
    """Whether an operation draws from torch's global generator."""
    tags = getattr(node.target, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags

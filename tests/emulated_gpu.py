"""A GPU where there is none: its tensors lie in this machine's memory, and refuse those of the CPU.

What it shows: a tensor or a random generator on the wrong device, whatever happens to it. What it does
not: kernels, rounding, autocast, streams, graphs, memory, speed. Numbers are the CPU's own, to the bit.

Torch sees tensors of `meta`, whose operations come here; Python code sees tensors of `cuda`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _device
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
CROSSING = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
"""What may be given tensors of both."""

INDEXING = {
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
}
"""What may be given places on the CPU, its second argument, in a tensor of the GPU."""


class OnGpu(Tensor):
    """A tensor of the GPU; `held` is what it holds."""

    held: Tensor

    @staticmethod
    def __new__(cls, held):
        like = torch.empty_strided(held.shape, held.stride(), dtype=held.dtype, device="meta")
        self = Tensor._make_subclass(cls, like, False)
        self.held = held
        return self

    @classmethod
    def __torch_dispatch__(cls, operation, _, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})

    device = property(lambda _: GPU)
    is_cuda = property(lambda _: True)
    is_cpu = is_meta = property(lambda _: False)

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, value):
        assert isinstance(value, OnGpu), "a tensor of the CPU in the place of one of the GPU"
        Tensor.data.__set__(self, value)
        self.held = value.held

    def data_ptr(self):
        return self.held.data_ptr()

    def tolist(self):
        return self.held.tolist()

    def __deepcopy__(self, memo):
        memo[id(self)] = copied = self._like(OnGpu(self.held.detach().clone()))
        return copied

    def __reduce_ex__(self, protocol):
        return self._like(self.held.detach()).__reduce_ex__(protocol)

    def _like(self, other):
        is_parameter = isinstance(self, torch.nn.Parameter)
        return torch.nn.Parameter(other, self.requires_grad) if is_parameter else other

    def __repr__(self):
        return f"OnGpu({self.held!r})"


_Generator, _places = torch.Generator, dict[int, torch.device]()


class Generator(_Generator):
    """One of either device, that draws what the CPU's does."""

    def __new__(cls, device="cpu"):
        self = super().__new__(cls)
        self.place = _places[self._cdata] = torch.device(device)
        return self

    def __init__(self, device="cpu"):
        pass

    device = property(lambda self: self.place)

    def get_state(self):
        state = super().get_state()
        return _marked(state) if self.place.type == "cuda" else state

    def set_state(self, state):
        return super().set_state(_unmarked(state) if self.place.type == "cuda" else state)


MARK = torch.tensor([7], dtype=torch.uint8)


def _marked(state: Tensor) -> Tensor:
    """A state as one of the GPU's, which a generator of the CPU refuses for its size."""
    return torch.cat([state, MARK])


def _unmarked(state: Tensor) -> Tensor:
    assert len(state) == len(_everyones), "a state of a generator of the CPU for one of the GPU"
    return state[:-1].clone()


_everyones = _marked(_Generator().get_state())
"""The state of what draws on the GPU where no generator is said."""


def _set_everyones(state: Tensor) -> None:
    global _everyones  # noqa: PLW0603
    _unmarked(state)
    _everyones = state.clone()


def _seed_everyones(seed: int) -> None:
    _set_everyones(_marked(_Generator().manual_seed(seed).get_state()))


@contextmanager
def _drawing_for_everyone() -> Iterator[None]:
    """While it is open, what draws from the CPU's own generator draws for the GPU's."""
    before = torch.get_rng_state()
    torch.set_rng_state(_unmarked(_everyones))
    try:
        yield
    finally:
        _set_everyones(_marked(torch.get_rng_state()))
        torch.set_rng_state(before)


def _run(operation: Any, args: Any, kwargs: Any) -> Any:
    """What an operation gives, on the device of its tensors, or the one that is asked for."""
    given = tree_leaves((args, kwargs))
    tensors = [each for each in given if isinstance(each, Tensor)]
    of_gpu = [each for each in tensors if isinstance(each, OnGpu)]
    asked = kwargs.get("device")
    if operation is torch.ops.aten.copy_.default:
        there = isinstance(args[0], OnGpu)
    else:
        there = bool(of_gpu) if asked is None else _is_gpu(asked)
    _check(operation, args, tensors, of_gpu)
    for each in given:
        if isinstance(each, _Generator):
            place = _places.get(each._cdata, CPU)
            assert (place.type == "cuda") == there, f"{operation}: a generator of {place}"

    same = {id(each.held): each for each in of_gpu}  # what changes in place stays itself
    args, kwargs = tree_map(_held, (args, kwargs))
    if asked is not None and there:
        kwargs = kwargs | {"device": CPU, "pin_memory": False}
    draws = torch.Tag.nondeterministic_seeded in operation.tags and kwargs.get("generator") is None
    with _drawing_for_everyone() if there and draws else nullcontext():
        found = operation(*args, **{k: v for k, v in kwargs.items() if k != "pin_memory"})
    if not there:
        return found
    return tree_map(lambda x: same.get(id(x), OnGpu(x)) if type(x) is Tensor else x, found)


def _check(operation: Any, args: Any, tensors: list[Tensor], of_gpu: list[Tensor]) -> None:
    others = [each for each in tensors if not isinstance(each, OnGpu) and each.dim() > 0]
    if operation in INDEXING and isinstance(args[0], OnGpu):
        places = {id(each) for each in tree_leaves(args[1])}
        others = [each for each in others if id(each) not in places]
    if of_gpu and others and operation not in CROSSING:
        shapes = [[*each.shape] for each in others]
        raise AssertionError(f"{operation}: among tensors of the GPU there are of the CPU: {shapes}")


def _is_gpu(device: Any) -> bool:
    """Also where torch itself asks for `meta`, having looked at one of ours."""
    kind = torch.device(device).type
    meant = _device.CURRENT_DEVICE is not None and _device.CURRENT_DEVICE.type == "meta"
    return kind == "cuda" or (kind == "meta" and not meant)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnGpu) else value


class _Operations(TorchDispatchMode):
    """Those without tensors, which make them: all others come by `OnGpu`."""


def _dispatch(_self, operation, _types, args=(), kwargs=None):
    return _run(operation, args, kwargs or {})


# Given to the class when it is there, for one that has it from the start has torch load its compiler.
_Operations.__torch_dispatch__ = _dispatch


class _Calls(TorchFunctionMode):
    """Those that would look for a GPU before they come to their operations."""

    def __torch_function__(self, called, _, args=(), kwargs=None):
        kwargs = kwargs or {}
        if called in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return called(*args, **kwargs).to(device)
        if called is Tensor.new_tensor and isinstance(args[0], OnGpu):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype} | kwargs).to(GPU)
        return called(*args, **kwargs)


MEMORY = 1 << 30
QUESTIONS: dict[str, Any] = {
    "_lazy_init": None,
    "init": None,
    "set_per_process_memory_fraction": None,
    "synchronize": None,
    "empty_cache": None,
    "reset_peak_memory_stats": None,
    "memory_allocated": 0,
    "max_memory_allocated": MEMORY,
    "max_memory_reserved": MEMORY,
    "mem_get_info": (MEMORY, 2 * MEMORY),
    "utilization": 50,
    "get_device_name": "none",
}
"""Of `torch.cuda`, and what is answered."""


@contextmanager
def emulated(replace: Callable[[Any, str, Any], None] = setattr) -> Iterator[str]:
    """While it is open the device is there, by the name that is given.

    Args:
        replace: called as `setattr` is with what torch has of its own, to be put back when it closes.
    """
    for name, answer in QUESTIONS.items():
        replace(torch.cuda, name, lambda *_, answer=answer, **__: answer)
    replace(torch.cuda, "get_rng_state", lambda _=None: _everyones.clone())
    replace(torch.cuda, "set_rng_state", lambda state, _=None: _set_everyones(state))
    replace(torch.cuda, "manual_seed_all", _seed_everyones)
    replace(torch, "Generator", Generator)
    torch._C._ensureCUDADeviceGuardSet()  # as torch's own tensors without numbers have it
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with _Calls(), _Operations():
            yield "cuda"
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)

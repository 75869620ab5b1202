"""Torch's settings of the whole process, on which the numbers of every other part hang."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import torch

from gansearch.errors import RAISED, UserError
from gansearch.study.mistakes import Mistakes


class Setting(NamedTuple):
    """One of them: by what it is changed, how it is read, and what it is to be."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    usual: Any

    def __str__(self) -> str:
        return f"torch.{self.name}({self.read()})"


SETTINGS = (
    Setting("set_default_dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    Setting(
        "set_default_device", torch.get_default_device, torch.set_default_device, torch.device("cpu")
    ),
    Setting("set_grad_enabled", torch.is_grad_enabled, torch.set_grad_enabled, True),
)


USUAL = tuple(each.usual for each in SETTINGS)


def changed(before: Sequence[Any] = USUAL) -> list[str]:
    """The settings that are not as before, or as usual, as the calls that made them so."""
    return [str(each) for each, value in zip(SETTINGS, before, strict=True) if each.read() != value]


def put_back(before: Sequence[Any] = USUAL) -> list[str]:
    """Have every setting as it was before, or as usual, again; returns those that were not."""
    found = changed(before)
    for each, value in zip(SETTINGS, before, strict=True):
        if each.read() != value:
            each.write(value)
    return found


def _now() -> tuple[Any, ...]:
    """What every setting is: a caller may have switched gradients off, with which no part has to do."""
    return tuple(each.read() for each in SETTINGS)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Have torch take so many threads while it is open."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def changed_by_import(name: str) -> Mistakes:
    """What is wrong, below a part of the user's, with its module where that changes settings as it is
    imported; they are put back. To be asked before anything else has the module imported.
    """
    module, own, _ = name.partition(":")
    calls = _calls_of(module) if own else ()
    return [(("name",), told(calls, f"the module '{module}', imported,"))] if calls else []


@functools.cache
def _calls_of(module: str) -> tuple[str, ...]:
    """The settings that importing a module changes, which happens once in a process."""
    before = _now()
    with suppress(*RAISED):  # which is told elsewhere
        importlib.import_module(module)
    return tuple(put_back(before))


@contextmanager
def left_alone(whose: str) -> Iterator[None]:
    """Have what changes settings while it is open be a `UserError`; they are put back."""
    before, failure = _now(), None
    try:
        yield
    except RAISED as error:
        failure = error
    if calls := put_back(before):  # which may be why it failed, whatever the error says
        raise UserError(told(calls, whose)) from failure
    if failure is not None:
        raise failure


def told(calls: Sequence[str], whose: str) -> str:
    """What is wrong with such calls, in words."""
    mend = "parts of one process share these settings: say the type or device of each tensor instead"
    return f"{whose} has called {' and '.join(calls)}: {mend}"

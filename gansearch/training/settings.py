"""Torch's settings of the whole process, on which the numbers of every other part hang."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch


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


def changed() -> list[str]:
    """The settings that are not as usual, as the calls that made them so."""
    return [str(each) for each in SETTINGS if each.read() != each.usual]


def put_back() -> list[str]:
    """Have every setting as usual again; returns those that were not."""
    found = changed()
    for each in SETTINGS:
        if each.read() != each.usual:
            each.write(each.usual)
    return found


def told(calls: list[str], whose: str) -> str:
    """What is wrong with such calls, in words."""
    mend = "parts of one process share these settings: say the type or device of each tensor instead"
    return f"{whose} has called {' and '.join(calls)}: {mend}"

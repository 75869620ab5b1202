"""What may stand at a leaf of a search space in a value's place: axes, and ties to other values."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gansearch.study.document import Path_

Label = str | int | float | bool | None
"""What stands for an option of a choice: the option itself if it is a scalar, else its name, else its
place, `#0`."""

UNSAID: Any = ...
"""In the place of a default where an axis has none: None may be one."""


@dataclass(frozen=True)
class Float:
    """A real number in [low, high], uniform itself or (`log`) in its logarithm."""

    low: float
    high: float
    log: bool = False
    default: Any = UNSAID

    def ends(self) -> tuple[Any, ...]:
        """The values that decide whether the whole axis is valid."""
        return (self.low, self.high)

    def __str__(self) -> str:
        return f"{'log' if self.log else 'uniform'} [{in_full(self.low)}, {in_full(self.high)}]"


@dataclass(frozen=True)
class Int:
    """An integer from low to high, both included."""

    low: int
    high: int
    default: Any = UNSAID

    def ends(self) -> tuple[Any, ...]:
        """The values that decide whether the whole axis is valid."""
        return (self.low, self.high)

    def __str__(self) -> str:
        return f"int [{self.low}, {self.high}]"


SHOWN = 10
"""Options of a choice that a line shows from either end; of thousands nobody reads all."""


@dataclass(frozen=True)
class Choice:
    """One of several trees, each under its label; so is its default."""

    options: dict[Label, Any]
    default: Any = UNSAID

    def ends(self) -> tuple[Any, ...]:
        """The labels: each option is valid or not for itself."""
        return tuple(self.options)

    def __str__(self) -> str:
        shown = [as_written(label) for label in self.options]
        if len(shown) > 2 * SHOWN:
            middle = f"... {len(shown) - 2 * SHOWN:,} more ..."
            shown = [*shown[:SHOWN], middle, *shown[-SHOWN:]]
        return f"choice [{', '.join(shown)}]"


@dataclass(frozen=True)
class Same:
    """No axis: the value that stands at another path of the same point.

    Papers search one learning rate for both networks, and a search of two would be another question.

    Attributes:
        of: the path in a resolved configuration, `optimizer.generator.lr`.
    """

    of: str

    @property
    def path(self) -> Path_:
        """The keys of `of`."""
        return tuple(self.of.split("."))

    def __str__(self) -> str:
        return f"same as {self.of}"


@dataclass(frozen=True)
class Ratio:
    """The value that stands at another path of the same point, times that of an axis.

    Two learning rates are searched better as one and their ratio (two time-scale update rule; Heusel et
    al. 2017, arXiv 1706.08500): most good points lie near the diagonal.

    Attributes:
        of: as of `Same`.
        axis: of the factor; its name ends in `ratio`.
    """

    of: str
    axis: Float

    @property
    def path(self) -> Path_:
        """The keys of `of`."""
        return tuple(self.of.split("."))

    def __str__(self) -> str:
        return f"{self.of} times {self.axis}"


@dataclass(frozen=True)
class Multiple:
    """A value to be: so many times the one at another path."""

    path: Path_
    factor: float


RATIO = "ratio"

Axis = Float | Int | Choice


def has_default(axis: Axis) -> bool:
    """Whether the study file says where the good values of an axis are believed to lie."""
    return axis.default is not UNSAID


def as_float(number: Any) -> float:
    """A number as a float; infinite where it is larger than any, such as an integer of 400 digits."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def on_axis(name: str, axis: Axis, value: Any) -> Any:
    """A value of an axis as plain Python has it; raises `ValueError` if it does not lie there."""
    if isinstance(axis, Choice):
        for label in axis.options:
            if label == value and isinstance(label, bool) == isinstance(value, bool):
                return label
    elif not isinstance(value, bool) and isinstance(value, numbers.Real):
        number = as_float(value)
        if isinstance(axis, Float) and axis.low <= number <= axis.high:
            return number
        # A whole number as it is: as a float it may be another one.
        exact = value if isinstance(value, numbers.Integral) else number
        if isinstance(axis, Int) and number.is_integer() and axis.low <= int(exact) <= axis.high:
            return int(exact)
    raise ValueError(f"{name}: {value!r} is not in {axis}")


def default_words(axis: Axis | Same | Ratio) -> str:
    """`, default 2e-4` of an axis that has one, else nothing."""
    if isinstance(axis, Ratio):
        return default_words(axis.axis)
    if isinstance(axis, Same) or not has_default(axis):
        return ""
    told = in_full(axis.default) if isinstance(axis, Float) else as_written(axis.default)
    return f", default {told}"


def as_written(value: Any) -> str:
    """A value as it stands in a study file: `null` and `{"a": true}`, text without quotes."""
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value) if plain else json.dumps(value, default=str)


def in_full(number: float) -> str:
    """A number with all its digits, a whole one without a point."""
    return str(number + 0).removesuffix(".0")  # of zeros there is one


def each_child(node: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of a mapping or a list with its children changed; anything else as it is."""
    if isinstance(node, dict):
        return {key: change(child) for key, child in node.items()}
    return [change(child) for child in node] if isinstance(node, list) else node

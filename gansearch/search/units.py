"""Axes as the interval from 0 to 1, on their own scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gansearch.study.axes import Axis, Choice, Float, Int


def value_at(axis: Axis, unit: float) -> Any:
    """The value of an axis at a place in [0, 1]: evenly along its scale, a choice's options in turn."""
    if isinstance(axis, Choice):
        labels = list(axis.options)
        return labels[min(int(unit * len(labels)), len(labels) - 1)]
    if isinstance(axis, Float):
        if axis.log:
            low, high = math.log(axis.low), math.log(axis.high)
            return min(max(math.exp(low + unit * (high - low)), axis.low), axis.high)
        return min(max(axis.low + unit * (axis.high - axis.low), axis.low), axis.high)
    return min(axis.low + int(unit * (axis.high - axis.low + 1)), axis.high)


def unit_of(axis: Axis, value: Any) -> float:
    """The inverse, where a value lies in [0, 1]: an integer or an option in the middle of its share."""
    return units_of(axis, [value])[0]


def units_of(axis: Axis, values: Sequence[Any]) -> list[float]:
    """The same of many values of one axis."""
    if isinstance(axis, Choice):
        places = {label: (at + 0.5) / len(axis.options) for at, label in enumerate(axis.options)}
        return [places[value] for value in values]
    if isinstance(axis, Int):
        return [(value - axis.low + 0.5) / (axis.high - axis.low + 1) for value in values]
    if axis.log:
        width = math.log(axis.high / axis.low)
        return [math.log(value / axis.low) / width for value in values]
    return [(value - axis.low) / (axis.high - axis.low) for value in values]

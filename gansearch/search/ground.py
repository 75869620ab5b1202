"""A search space as the unit cube, and as coded points for a model; many points at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansearch.search.units import unit_of, value_at
from gansearch.study.axes import Choice, Float
from gansearch.study.location import Point
from gansearch.study.space import Space

Array = NDArray[np.float64]


class Ground:
    """A space as places in [0, 1] on each axis, and as coded points.

    Coded, a number is its position from -1 to 1, a choice is one-hot, and what does not exist at a
    point is 0: as `gansearch.search.feasibility.encoded` has it, and far quicker for many points.

    Args:
        space: with one axis at least.

    Attributes:
        columns: those of each axis in a coded point.
        is_choice: of each axis.
    """

    def __init__(self, space: Space) -> None:
        self._space, self._axes = space, space.axes()
        self._options = {
            at: len(axis.options)
            for at, axis in enumerate(self._axes.values())
            if isinstance(axis, Choice)
        }
        self.is_choice = [at in self._options for at in range(len(self._axes))]
        self._existing: dict[tuple[int, ...], Array] = {}
        self.columns: list[slice] = []
        begin = 0
        for at in range(len(self._axes)):
            end = begin + self._options.get(at, 1)
            self.columns.append(slice(begin, end))
            begin = end

    def __len__(self) -> int:
        """How many axes there are."""
        return len(self._axes)

    def point(self, units: Array) -> Point:
        """A point, from its place, shape [D]."""
        places = dict(zip(self._axes, units.tolist(), strict=True))
        return self._space.point(lambda name, _: value_at(self._axes[name], places[name]))

    def place(self, point: Mapping[str, Any]) -> Array:
        """A point's place, shape [D]; the middle of an axis that does not exist there."""
        axes = self._axes.items()
        return np.array([unit_of(axis, point[name]) if name in point else 0.5 for name, axis in axes])

    def around(
        self, point: Mapping[str, Any], width: float, count: int, chance: np.random.Generator
    ) -> Array:
        """Places around a point's, shape [count, D].

        Args:
            width: standard deviation on an axis, and the probability that an option is drawn anew. What
                does not exist at the point is drawn evenly.
        """
        middle = self.place(point)
        units = middle + width * chance.standard_normal((count, len(middle)))
        units = np.clip(units, 0, np.nextafter(1, 0))
        even = chance.random(units.shape)
        new = np.array([name not in point for name in self._axes])
        units[:, new] = even[:, new]
        for at in self._options:
            units[:, at] = np.where(chance.random(count) < width, even[:, at], middle[at])
        return units

    def exchanged(self, point: Mapping[str, Any]) -> Array:
        """Places of a point with another option of one of its choices, shape [M, D]."""
        middle, places = self.place(point), list[Array]()
        for at, (name, axis) in enumerate(self._axes.items()):
            if isinstance(axis, Choice) and name in point:
                for option in axis.options:
                    if option != point[name]:
                        places.append(middle.copy())
                        places[-1][at] = unit_of(axis, option)
        return np.array(places).reshape(-1, len(middle))

    def alike(self, units: Array, others: Array, width: float) -> NDArray[np.bool_]:
        """Whether places have the same options, and all else within a width, shape [M, N]."""
        widths = np.where(self.is_choice, 1e-9, width)
        alike: NDArray[np.bool_] = np.all(np.abs(units[:, None] - others[None]) <= widths, axis=2)
        return alike

    def coded(self, units: Array) -> Array:
        """Coded points, shape [M, E], of places, shape [M, D]."""
        labels = {at: (units[:, at] * count).astype(int) for at, count in self._options.items()}
        code = np.zeros((len(units), self.columns[-1].stop))
        for at, axis in enumerate(self._axes.values()):
            if isinstance(axis, Choice):
                code[:, self.columns[at]] = np.eye(self._options[at])[labels[at]]
            elif isinstance(axis, Float):
                code[:, self.columns[at].start] = 2 * units[:, at] - 1
            elif axis.high > axis.low:
                whole = (units[:, at] * (axis.high - axis.low + 1)).astype(int)
                code[:, self.columns[at].start] = 2 * whole / (axis.high - axis.low) - 1
        chosen = np.column_stack([*labels.values()]) if labels else np.zeros((len(units), 0), int)
        there = np.array([self._exist(tuple(row)) for row in chosen.tolist()])
        widths = [columns.stop - columns.start for columns in self.columns]
        coded: Array = code * np.repeat(there, widths, axis=1)
        return coded

    def _exist(self, labels: tuple[int, ...]) -> Array:
        """Which axes exist where choices have these options, shape [D]."""
        if labels not in self._existing:
            units = np.full(len(self), 0.5)
            for label, (at, count) in zip(labels, self._options.items(), strict=True):
                units[at] = (label + 0.5) / count
            point = self.point(units)
            self._existing[labels] = np.array([name in point for name in self._axes], float)
        return self._existing[labels]

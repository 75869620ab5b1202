"""A search space as the unit cube, and as coded points for a model; many points at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansearch.search.units import unit_of, units_of, value_at
from gansearch.study.axes import Choice, Float
from gansearch.study.location import Point
from gansearch.study.space import Space

Array = NDArray[np.float64]

BELOW_ONE = math.nextafter(1, 0)


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
        names = list(self._axes)
        self._conditions = [
            (names.index(name), where and (names.index(where[0]), where[1]))
            for name, where in space.conditions()
        ]
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
        place: Array = self.places([point])[0]
        return place

    def places(self, points: Sequence[Mapping[str, Any]]) -> Array:
        """The places of points, shape [M, D]."""
        units = np.full((len(points), len(self)), 0.5)
        for at, (name, axis) in enumerate(self._axes.items()):
            here = [row for row, point in enumerate(points) if name in point]
            units[here, at] = units_of(axis, [points[row][name] for row in here])
        return units

    def around(
        self,
        point: Mapping[str, Any],
        widths: Sequence[float],
        count: int,
        chance: np.random.Generator,
    ) -> Array:
        """Places around a point's, so many of each width, shape [M, D].

        Args:
            widths: standard deviations on an axis, and the probabilities that an option is drawn anew.
                What does not exist at the point is drawn evenly.
        """
        middle, new = self.place(point), [name not in point for name in self._axes]
        places = []
        for width in widths:
            units = middle + width * chance.standard_normal((count, len(middle)))
            units.clip(0, BELOW_ONE, out=units)
            even = chance.random(units.shape)
            np.copyto(units, even, where=new)
            for at in self._options:
                units[:, at] = np.where(chance.random(count) < width, even[:, at], middle[at])
            places.append(units)
        return np.concatenate(places)

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
        there, code = self._exist(labels, len(units)), np.zeros((len(units), self.columns[-1].stop))
        for at, (columns, axis) in enumerate(zip(self.columns, self._axes.values(), strict=True)):
            if isinstance(axis, Choice):
                code[:, columns] = np.eye(self._options[at])[labels[at]]
            elif isinstance(axis, Float):
                code[:, columns.start] = 2 * units[:, at] - 1
            elif axis.high > axis.low:
                whole = (units[:, at] * (axis.high - axis.low + 1)).astype(int)
                code[:, columns.start] = 2 * whole / (axis.high - axis.low) - 1
            code[:, columns] *= there[at][:, None]
        return code

    def _exist(self, labels: Mapping[int, NDArray[np.intp]], count: int) -> NDArray[np.bool_]:
        """Which axes exist at so many points, whose choices have these options, shape [D, M]."""
        there = np.zeros((len(self), count), bool)
        for at, where in self._conditions:
            there[at] |= where is None or there[where[0]] & (labels[where[0]] == where[1])
        return there

"""What the user believes of the axes, as far as the trials bear it out.

An axis that has a `default` in the study file says where its good values are believed to lie. A share
of the proposals is drawn around these defaults in the sampler's place: a prior over the optimum that
any sampler can have, which fades as trials come (Hvarfner et al. 2022, arXiv 2204.11051), and at once
where those near the defaults do worse than the others (as in Mallik et al. 2023, arXiv 2306.12370).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from gansearch.search.contract import Tried
from gansearch.search.units import unit_of, value_at
from gansearch.study.axes import Axis, Choice, has_default
from gansearch.study.location import Point
from gansearch.study.plan import Belief
from gansearch.study.records import Goal, cost
from gansearch.study.space import Space

SHARE: dict[Belief, float] = {"none": 0.0, "weak": 0.1, "medium": 0.2, "strong": 0.4}
"""Of the proposals, in the beginning. With more, a wrong belief costs too much: its first proposals are
made before any trial could speak against it."""

WIDTH = 0.15
"""Standard deviation of what is drawn around a default, as a share of its axis."""

HALVED_AFTER = 20
"""Trials that have ended or were paused, after which half of the share is left, and a third after twice
as many."""

DOUBT = 6.0
"""How fast the share falls where trials near the defaults rank behind the others: by e for a sixth of
all ranks."""

UNKNOWN = 2.0
"""Trials of a middling rank that are imagined on either side, so that one alone decides nothing."""


class Beliefs:
    """How far the defaults are to be trusted, and points around them.

    What it says is a function of the trials, whatever the order in which they ended.

    Args:
        axes: the search space's axes by name.
        belief: how far to trust at first.
        goal: which way is better.
    """

    def __init__(self, axes: Mapping[str, Axis], belief: Belief, goal: Goal) -> None:
        self._axes = {name: axis for name, axis in axes.items() if has_default(axis)}
        self._share = SHARE[belief] if self._axes else 0.0
        self._goal = goal
        self._known: dict[int, tuple[float, float]] = {}  # number -> (nearness, cost)

    def add(self, number: int, trial: Tried) -> None:
        """Learn what a trial is worth, or that a known one is worth something else by now."""
        if self._share:
            worth = math.inf if trial.value is None else cost(trial.value, self._goal)
            self._known[number] = (self.nearness(trial.point), worth)

    @property
    def share(self) -> float:
        """The share of proposals that is to be drawn around the defaults now, in [0, 1)."""
        if not self._known or not self._share:
            return self._share
        nearness, costs = np.array([self._known[number] for number in sorted(self._known)]).T
        _, place, counts = np.unique(costs, return_inverse=True, return_counts=True)
        ranks = (np.cumsum(counts) - counts / 2)[place]  # from 0 on; equals share the middle of theirs
        goodness = 1 - ranks / len(costs)
        near = (nearness @ goodness + UNKNOWN / 2) / (nearness.sum() + UNKNOWN)
        far = ((1 - nearness) @ goodness + UNKNOWN / 2) / ((1 - nearness).sum() + UNKNOWN)
        fading = HALVED_AFTER / (HALVED_AFTER + len(costs))
        return float(self._share * fading * math.exp(DOUBT * min(near - far, 0.0)))

    def nearness(self, point: Mapping[str, Any]) -> float:
        """How near a point lies to the defaults, in (0, 1]: 1 where one drawn around them would."""
        distance = 0.0
        for name, axis in self._axes.items():
            if name not in point:
                continue
            if isinstance(axis, Choice):
                others = (1 - _taken(axis)) / max(len(axis.options) - 1, 1)
                distance += 0.0 if point[name] == axis.default else math.log(_taken(axis) / others)
            else:
                away = (unit_of(axis, point[name]) - unit_of(axis, axis.default)) / WIDTH
                distance += (away**2 - 1) / 2
        return math.exp(-max(distance, 0.0))

    def around(self, point: Point, space: Space, chance: np.random.Generator) -> Point:
        """A point with values drawn around the defaults; axes without one are as in `point`."""

        def suggest(name: str, axis: Axis) -> Any:
            if has_default(axis):
                return _drawn(axis, chance.random())
            return point[name] if name in point else value_at(axis, chance.random())

        return space.point(suggest)


def _drawn(axis: Axis, unit: float) -> Any:
    """The value at a place in [0, 1] of the distribution around an axis's default."""
    if isinstance(axis, Choice):
        taken, labels = _taken(axis), [label for label in axis.options if label != axis.default]
        if unit < taken or not labels:
            return axis.default
        return labels[min(int((unit - taken) / (1 - taken) * len(labels)), len(labels) - 1)]
    normal = NormalDist(unit_of(axis, axis.default), WIDTH)
    low, high = normal.cdf(0.0), normal.cdf(1.0)
    return value_at(axis, min(max(normal.inv_cdf(low + unit * (high - low)), 0.0), 1.0))


def _taken(axis: Choice) -> float:
    """How often the default of a choice is drawn: half of the time more than by chance."""
    return 0.5 + 0.5 / len(axis.options)

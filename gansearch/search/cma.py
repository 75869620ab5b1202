"""An evolution strategy for real, whole and named values at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cmaes import CatCMAwM
from numpy.typing import NDArray

from gansearch.search.contract import Past, Tried
from gansearch.search.samplers import Count, Shown
from gansearch.search.units import unit_of, value_at
from gansearch.study.axes import Axis, Choice, Float, Int
from gansearch.study.location import Point
from gansearch.study.space import Space

SPREAD = 0.3
"""The first standard deviation, as a share of an axis."""

COUNTED = 10_000
"""Whole numbers of an axis that the strategy has one by one; of one with more, a step is as good as
nothing, and a list of all of them would fill the memory."""


class CatCma:
    """CatCMA with margin (Hamano et al. 2025, arXiv 2504.07884), through the package `cmaes`.

    One Gaussian over the numeric axes and one distribution over the options of each choice move
    towards the better half of each generation of trials. The generations are the ended trials in the
    order of their numbers, whoever proposed them; those that are not full yet count with the next
    proposal that fills them. An axis that does not exist at a point counts with the middle.

    Args:
        seed: of this proposal.
        conditional: makes no difference.
        startup_trials: proposals made at random before the first that is not.
        history: ended trials that are learnt from at most; a proposal's cost grows with it.
    """

    swayed = True

    def __init__(
        self,
        seed: int,
        conditional: bool,  # noqa: ARG002
        *,
        startup_trials: Count = 10,
        history: Shown = 300,
    ) -> None:
        self._seed, self._startup, self.history = seed, startup_trials, history

    def draws(self, past: Past, space: Space) -> Iterator[Point]:
        """Points of the distribution to which the generations have led."""
        axes = space.axes()
        ended = [trial for trial in past.trials if not trial.running]
        chance = np.random.default_rng(self._seed)
        coded = _Coded.of(axes)
        if len(ended) < self._startup or coded.empty:
            while True:
                yield space.point(lambda _, axis: value_at(axis, chance.random()))
        strategy = coded.strategy(self._seed)
        size = strategy.population_size
        for first in range(0, len(ended) - size + 1, size):
            strategy.tell(coded.solutions(ended[first : first + size], past.minimize))
        while True:
            yield coded.point(strategy.ask(), space)


@dataclass(frozen=True)
class _Coded:
    """A space's axes as the strategy has them: real ones in [0, 1], whole ones as they are, options by
    their place.
    """

    real: Mapping[str, Float | Int]
    whole: Mapping[str, Int]
    named: Mapping[str, Choice]

    @classmethod
    def of(cls, axes: Mapping[str, Axis]) -> _Coded:
        whole = {
            name: axis
            for name, axis in axes.items()
            if isinstance(axis, Int) and axis.high - axis.low < COUNTED
        }
        numbers = {name: axis for name, axis in axes.items() if isinstance(axis, Float | Int)}
        return cls(
            {name: axis for name, axis in numbers.items() if name not in whole},
            whole,
            # Of a single option there is nothing to learn.
            {n: axis for n, axis in axes.items() if isinstance(axis, Choice) and len(axis.options) > 1},
        )

    @property
    def empty(self) -> bool:
        return not (self.real or self.whole or self.named)

    def strategy(self, seed: int) -> CatCMAwM:
        wide = [1.0] * len(self.real) + [float(a.high - a.low) for a in self.whole.values()]
        return CatCMAwM(
            cov=np.diag((SPREAD * np.array(wide)) ** 2) if wide else None,
            x_space=[[0.0, 1.0] for _ in self.real] or None,
            z_space=[list(range(axis.low, axis.high + 1)) for axis in self.whole.values()] or None,
            c_space=[len(axis.options) for axis in self.named.values()] or None,
            seed=seed,
        )

    def solutions(self, trials: Sequence[Tried], minimize: bool) -> list[Any]:
        """Trials with their ranks, those without a value behind all others."""
        best_first = sorted(trials, key=lambda trial: (_cost(trial, minimize), trial.number))
        return [(self._solution(trial.point), float(rank)) for rank, trial in enumerate(best_first)]

    def _solution(self, point: Mapping[str, Any]) -> CatCMAwM.Solution:
        real = [unit_of(a, point[n]) if n in point else 0.5 for n, a in self.real.items()]
        whole = [float(point.get(n, (a.low + a.high) / 2)) for n, a in self.whole.items()]
        named = [_one_hot(axis, point.get(name, ...)) for name, axis in self.named.items()]
        longest = max((len(axis.options) for axis in self.named.values()), default=0)
        options = np.zeros((len(named), longest))
        for row, code in zip(options, named, strict=True):
            row[: len(code)] = code
        return CatCMAwM.Solution(
            np.array(real) if real else None,
            np.array(whole) if whole else None,
            options if named else None,
            np.array([*real, *whole]) if real or whole else None,
        )

    def point(self, solution: CatCMAwM.Solution, space: Space) -> Point:
        real = dict(zip(self.real, solution.x if self.real else (), strict=True))
        whole = dict(zip(self.whole, solution.z if self.whole else (), strict=True))
        named = dict(zip(self.named, solution.c if self.named else (), strict=True))

        def suggest(name: str, axis: Axis) -> Any:
            if name in real:
                return value_at(axis, float(real[name]))
            if name in whole:
                return int(whole[name])
            labels = list(axis.options) if isinstance(axis, Choice) else []
            return labels[int(np.argmax(named[name]))] if name in named else labels[0]

        return space.point(suggest)


def _one_hot(axis: Choice, label: Any) -> NDArray[np.float64]:
    """An option by its place; one that does not exist at a point as a share of each."""
    labels = list(axis.options)
    code = np.full(len(labels), 1 / len(labels))
    if label in labels:
        code[:] = 0
        code[labels.index(label)] = 1
    return code


def _cost(trial: Tried, minimize: bool) -> float:
    if trial.value is None:
        return math.inf
    return trial.value if minimize else -trial.value

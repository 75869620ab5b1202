"""Bayesian optimisation that learns from whole curves, also from those of trials that were stopped.

One Gaussian process of the best objective so far, over configurations and how far they were trained,
as in freeze-thaw optimisation (Swersky et al. 2014, arXiv 1406.3896). What alike configurations share,
and trials of one age, it learns from all of them, so that a trial that was stopped early says where its
like will end, and a slow start is no bad sign where slow starts have ended well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from gansearch.search.contract import Past, Tried
from gansearch.search.ground import Ground
from gansearch.search.qmc import Qmc
from gansearch.search.samplers import Count
from gansearch.search.units import value_at
from gansearch.study.location import Point
from gansearch.study.space import Space

Array = NDArray[np.float64]
Places = NDArray[np.intp]

WHOLE = 60
"""Trials, the best, whose curves are modelled at several steps; of others the last value is."""

DRAWN = 24
"""Sets of hyperparameters that are drawn, each time the same."""

MIXED = 4
"""Of these, the likeliest, whose opinions are mixed by their likelihood."""

JUDGING = 120
"""Values by which the likelihood of hyperparameters is judged at most."""

EVENLY, NEARBY = 160, 16
"""Candidates: drawn evenly, and around each of a few of the best, at each of `WIDTHS`."""

BEST = 4
WIDTHS = (0.05, 0.2)

SCALE = 0.5
"""Of an axis from -1 to 1, over which values are alike: the median of what is drawn."""

SAME = 1e-9
"""Coded points that differ by less are one."""

CLIPPED = 0.75
"""Worse values than this quantile count as much as that: how bad the bad ones are says nothing."""


class Curves:
    """Expected improvement at the end of training, by a Gaussian process of curves.

    Args:
        seed: of this proposal.
        conditional: makes no difference.
        startup_trials: proposals that cover the space before the first that is modelled.
        history: ended trials that are modelled at most.
    """

    swayed = True

    def __init__(
        self, seed: int, conditional: bool, *, startup_trials: Count = 5, history: Count = 100
    ) -> None:
        self._seed, self._conditional = seed, conditional
        self._startup, self.history = startup_trials, history

    def draws(self, past: Past, space: Space) -> Iterator[Point]:
        """Candidates, the most promising first."""
        known = [trial for trial in past.trials if trial.curve or trial.failed]
        chance = np.random.default_rng(self._seed)
        curves = sum(bool(trial.curve) for trial in known)
        if len(known) < self._startup or curves < 2 or not space.axes():
            yield from Qmc(self._seed, self._conditional).draws(past, space)
            while True:
                yield space.point(lambda _, axis: value_at(axis, chance.random()))
        ground = Ground(space)
        model = _Model(ground, known, past.minimize)
        units = _candidates(ground, known, past.minimize, chance)
        coded = ground.coded(units)
        tried = model.knows(coded)  # where all is discrete: to be tried again after all that is new
        for at in np.lexsort((-model.improvement(coded), tried)):
            yield ground.point(units[at])


def _candidates(
    ground: Ground, known: Sequence[Tried], minimize: bool, chance: np.random.Generator
) -> Array:
    """Places of candidates, shape [M, D]."""
    drawn = [chance.random((EVENLY, len(ground)))]
    for trial in _by_value(known, minimize)[:BEST]:
        for width in WIDTHS:
            drawn.append(ground.around(trial.point, width, NEARBY, chance))
    return np.concatenate(drawn)


@dataclass(frozen=True)
class _Kernels:
    """Several covariances of values, from the distances of their configurations and ages.

    Attributes:
        scales: of the axes, shape [K, D].
        age: scale of the logarithm of steps; this and the others have shape [K, 1].
        common: variance of what all trials of an age share.
        place: of what alike configurations share at any age.
        pace: of what alike configurations share at alike ages.
        own: of what a trial shares with itself alone.
        noise: of each value.
    """

    scales: Array
    age: Array
    common: Array
    place: Array
    pace: Array
    own: Array
    noise: Array

    @classmethod
    def drawn(cls, axes: int, count: int) -> _Kernels:
        """Always the same ones."""
        chance = np.random.default_rng(0)

        def near(value: float, spread: float, width: int = 1) -> Array:
            return value * np.exp(spread * chance.standard_normal((count, width)))

        scales = near(SCALE, 0.7, axes)
        return cls(
            scales,
            near(2.0, 0.5),
            near(0.5, 0.7),
            near(1.0, 0.7),
            near(0.3, 0.7),
            near(0.2, 0.7),
            near(0.03, 1.0),
        )

    def of(self, which: Places) -> _Kernels:
        """Some of them."""
        return _Kernels(*(getattr(self, each.name)[which] for each in fields(self)))

    def between(self, places: Array, ages: Array, same: Array) -> Array:
        """Covariances, shape [K, M, N].

        Args:
            places: squared distances on each axis, shape [D, M, N].
            ages: squared distances of logarithms, shape [M, N].
            same: 1 where a trial meets itself, shape [M, N].
        """
        shape = ages.shape
        near = np.exp((-0.5 / self.scales**2) @ places.reshape(len(places), -1))
        aged = np.exp((-0.5 / self.age**2) * ages.reshape(1, -1))
        alike = near * (self.place + self.pace * aged)
        alike += (self.common + self.own * same.reshape(1, -1)) * aged
        return alike.reshape(-1, *shape)

    @property
    def variance(self) -> Array:
        """Of a value without its noise, shape [K]."""
        return (self.common + self.place + self.pace + self.own)[:, 0]


class _Model:
    """A Gaussian process of all curves.

    Args:
        ground: the space.
        known: trials with curves, or failed.
        minimize: whether lower is better.
    """

    def __init__(self, ground: Ground, known: Sequence[Tried], minimize: bool) -> None:
        self._ground = ground
        steps, costs, self._trials = _observations(known, minimize)
        self._ages = np.log(steps / steps.max())
        self._values = _scaled(costs)
        self._points = ground.coded(np.array([ground.place(trial.point) for trial in known]))
        self._gaps = self._distances(self._points)
        own = np.arange(len(known))[:, None] == self._trials
        self._same = own[self._trials].astype(float)
        self._own = own.astype(float)
        self._spans = np.square(self._ages[:, None] - self._ages)
        kernels = _Kernels.drawn(len(ground), DRAWN)
        judged = np.unique(np.linspace(0, len(costs) - 1, JUDGING).astype(int))
        likely = self._judge(kernels, judged)
        best = np.argsort(-likely, kind="stable")[:MIXED]
        self._weights = np.exp(likely[best] - likely[best[0]])
        self._kernels = kernels.of(best)
        everything = np.arange(len(costs))
        self._inverses = np.linalg.inv(np.linalg.cholesky(self._covariance(self._kernels, everything)))

    def _distances(self, points: Array) -> Array:
        """Squared distances of points and values on each axis, shape [D, M, N]."""
        return np.stack(
            [
                np.square(points[:, None, columns] - self._points[None, :, columns]).sum(-1)
                / (columns.stop - columns.start)
                for columns in self._ground.columns
            ]
        )[:, :, self._trials]

    def _covariance(self, kernels: _Kernels, at: Places) -> Array:
        pairs = np.ix_(at, at)
        gaps = self._gaps[:, self._trials[at]][:, :, at]
        covariance = kernels.between(gaps, self._spans[pairs], self._same[pairs])
        covariance[:, range(len(at)), range(len(at))] += kernels.noise
        return covariance

    def _judge(self, kernels: _Kernels, at: Places) -> Array:
        """Log-likelihoods of some values, up to a constant, shape [K]."""
        roots = np.linalg.cholesky(self._covariance(kernels, at))
        halves = np.linalg.solve(roots, self._values[at][None, :, None])[:, :, 0]
        logs = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(1)
        likely: Array = -0.5 * np.square(halves).sum(1) - logs
        return likely

    def knows(self, points: Array) -> NDArray[np.bool_]:
        """Whether there has been a trial at coded points, shape [M]."""
        gaps = np.abs(points[:, None] - self._points).max(2)
        known: NDArray[np.bool_] = (gaps < SAME).any(1)
        return known

    def improvement(self, points: Array) -> Array:
        """Expected improvement of coded points, if they are trained to the end, shape [M]."""
        ends = np.square(self._ages)
        weights = np.swapaxes(self._inverses, 1, 2) @ (self._inverses @ self._values)[:, :, None]
        own = self._kernels.between(self._gaps, np.tile(ends, (len(self._points), 1)), self._own)
        best = (own @ weights)[:, :, 0].min(1)
        gaps = self._distances(points)
        cross = self._kernels.between(gaps, np.tile(ends, (len(points), 1)), np.zeros(gaps.shape[1:]))
        means = (cross @ weights)[:, :, 0]
        told = np.square(cross @ np.swapaxes(self._inverses, 1, 2)).sum(2)
        spreads = np.sqrt(np.maximum(self._kernels.variance[:, None] - told, 1e-9))
        improvement: Array = self._weights @ _expected(best[:, None] - means, spreads)
        return improvement


def _expected(better: Array, spread: Array) -> Array:
    """Expected improvement: of a normal distribution the mean of what is above 0."""
    from scipy.special import ndtr  # noqa: PLC0415  it loads much of SciPy

    at = better / spread
    improvement: Array = better * ndtr(at) + spread * np.exp(-0.5 * at**2) / math.sqrt(2 * math.pi)
    return improvement


def _observations(known: Sequence[Tried], minimize: bool) -> tuple[Array, Array, Places]:
    """Steps, costs and trials (by their place) of the values that are modelled, each of shape [N]."""
    whole = max(max(trial.curve) for trial in known if trial.curve)
    first = min(min(trial.curve) for trial in known if trial.curve)
    best = {trial.number for trial in _by_value(known, minimize)[:WHOLE]}
    steps, costs, trials = [], [], []
    for at, trial in enumerate(known):
        chosen = list(_chosen(trial, first, whole))
        for step, value in chosen if trial.number in best else chosen[-1:]:
            steps.append(step)
            costs.append(value if minimize or math.isinf(value) else -value)
            trials.append(at)
    return np.array(steps, float), np.array(costs), np.array(trials)


def _chosen(trial: Tried, first: int, whole: int) -> Iterator[tuple[int, float]]:
    """The values of a trial that are modelled: at steps that triple, and the last."""
    if not trial.curve:
        yield whole, math.inf
        return
    *before, (last, value) = trial.curve.items()
    rung = first
    for step, early in before:
        if step >= rung:
            yield step, early
        while rung <= step:
            rung *= 3
    # One that has ended keeps what it has.
    yield last if trial.running or trial.pruned else whole, value


def _by_value(known: Sequence[Tried], minimize: bool) -> list[Tried]:
    """Trials with curves, the best first."""
    sign = 1 if minimize else -1
    told = [trial for trial in known if trial.curve]
    return sorted(told, key=lambda trial: (sign * list(trial.curve.values())[-1], trial.number))


def _scaled(costs: Array) -> Array:
    """Costs of mean 0 and deviation 1, by their logarithm where all are positive, the worst clipped."""
    finite = np.isfinite(costs)
    worst = costs[finite].max()
    known = np.where(finite, costs, worst)
    known = np.log(known) if known.min() > 0 else known
    known = np.minimum(known, np.quantile(known, CLIPPED))
    scaled: Array = (known - known.mean()) / (known.std() + 1e-9)
    return scaled

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
from functools import cache, lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from gansearch.search.contract import Past, Tried
from gansearch.search.ground import Ground
from gansearch.search.pruners import quantile
from gansearch.search.qmc import Qmc
from gansearch.search.samplers import Count
from gansearch.search.units import value_at
from gansearch.study.location import Point
from gansearch.study.space import Space

Array = NDArray[np.float64]
Places = NDArray[np.intp]

MODELLED = 128
"""Values that are modelled: the last of each trial, and as far as there is room, those at several steps
of the best. A proposal's cost grows with the cube of it."""

DRAWN = 24
"""Sets of hyperparameters that are drawn, each time the same."""

MIXED = 4
"""Of these, the likeliest, whose opinions are mixed by their likelihood."""

ABREAST = 20_000
"""Numbers of covariances that are worked on at a time: few enough for the processor's cache."""

FAR = 20.0
"""Logarithm of how much less likely than the best of them a set counts for nothing."""

JUDGING = 96
"""Values by which the likelihood of hyperparameters is judged at most."""

EVENLY, NEARBY = 160, 16
"""Candidates: drawn evenly, and around each of a few of the best, at each of `WIDTHS`."""

BEST = 4
WIDTHS = (0.05, 0.2)

SCALE = 0.5
"""Of an axis from -1 to 1, over which values are alike: the median of what is drawn."""

APART = 0.25
"""Squared distance of two options of a choice, as a share of that of their codes. With it held-out ends
of the tuning halves of `benchmarks/tables` are likelier in three of four, and as likely in the fourth.
"""

TURN = 5
"""Of so many modelled proposals one exchanges an option of one of the best (Hutter et al. 2011, SMAC),
as long as there is one that was not tried so: a model is slow to ask again for an option that fared ill
with other values.
"""

LIKE = 0.15
"""Of an axis: within it an exchange has been tried."""

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
        trials = past.trials
        known = [trial for trial in trials if trial.curve or trial.failed]
        ranked = _by_value(known, past.minimize)
        chance = np.random.default_rng(self._seed)
        if len(known) < self._startup or len(ranked) < 2 or not space.axes():
            yield from Qmc(self._seed, self._conditional).draws(past, space)
            while True:
                yield space.point(lambda _, axis: value_at(axis, chance.random()))
        ground = Ground(space)
        model = _Model(ground, known, ranked, minimize=past.minimize)
        best = ranked[:BEST]
        if past.number % TURN == 0 and len(units := _exchanges(ground, best, trials)):
            gaps = model.gaps(ground.coded(units))
            for at in np.argsort(-model.improvement(gaps), kind="stable"):
                yield ground.point(units[at])
        units = _candidates(ground, best, chance)
        gaps = model.gaps(ground.coded(units))
        tried = model.knows(gaps)  # where all is discrete: to be tried again after all that is new
        for at in np.lexsort((-model.improvement(gaps), tried)):
            yield ground.point(units[at])


def _candidates(ground: Ground, best: Sequence[Tried], chance: np.random.Generator) -> Array:
    """Places of candidates, shape [M, D]."""
    drawn = [chance.random((EVENLY, len(ground)))]
    drawn += [ground.around(trial.point, WIDTHS, NEARBY, chance) for trial in best]
    return np.concatenate(drawn)


def _exchanges(ground: Ground, best: Sequence[Tried], trials: Sequence[Tried]) -> Array:
    """Places of the best with one option exchanged, near which no trial was, shape [M, D]."""
    units = np.concatenate([ground.exchanged(trial.point) for trial in best])
    tried = ground.places([trial.point for trial in trials])
    return units[~ground.alike(units, tried, LIKE).any(1)]


@dataclass(frozen=True)
class _Kernels:
    """Covariances of values, from the distances of their configurations and ages: K of them, or one.

    Attributes:
        scales: of the axes, shape [K, D]; of one, like all shapes here without the K, [D].
        age: scale of the logarithm of steps, of shape [K, 1] like all that follows.
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
    @cache
    def drawn(cls, axes: int, count: int) -> _Kernels:
        """Always the same ones."""
        chance = np.random.default_rng(0)

        def near(value: float, spread: float, width: int = 1) -> Array:
            return value * np.exp(spread * chance.standard_normal((count, width)))

        scales = near(SCALE, 0.7, axes)
        others = ((2.0, 0.5), (0.5, 0.7), (1.0, 0.7), (0.3, 0.7), (0.2, 0.7), (0.03, 1.0))
        return cls(scales, *(near(*each) for each in others))

    def __len__(self) -> int:
        return len(self.scales)

    def __getitem__(self, at: int | slice | Places) -> _Kernels:
        """One, or some of them."""
        return _Kernels(*(getattr(self, field.name)[at] for field in fields(self)))

    def near(self, gaps: Array) -> Array:
        """How alike configurations are, in (0, 1], shape [K, ...].

        Args:
            gaps: squared distances on each axis, shape [D, ...].
        """
        weighted = (-0.5 / self.scales**2) @ gaps.reshape(len(gaps), -1)
        near: Array = np.exp(weighted, out=weighted)
        return near.reshape(*self.scales.shape[:-1], *gaps.shape[1:])

    def aged(self, spans: Array) -> Array:
        """How alike ages are, in (0, 1], shape [K, N]; of squared distances of their logarithms."""
        aged: Array = np.exp((-0.5 / self.age**2) * spans)
        return aged

    @property
    def variance(self) -> Array:
        """Of a value without its noise, shape [K, 1]."""
        return self.common + self.place + self.pace + self.own


class _Model:
    """A Gaussian process of all curves.

    Args:
        ground: the space.
        known: trials with curves, or failed.
        ranked: those with curves, the best first.
        minimize: whether lower is better.
    """

    def __init__(
        self, ground: Ground, known: Sequence[Tried], ranked: Sequence[Tried], *, minimize: bool
    ) -> None:
        self._ground = ground
        steps, costs, self._trials = _observations(known, ranked, minimize=minimize)
        self._ages = np.log(steps / steps.max())
        self._values = _scaled(costs)
        self._points = ground.coded(ground.places([trial.point for trial in known]))
        self._gaps = self.gaps(self._points)
        kernels = _Kernels.drawn(len(ground), DRAWN)
        judged = np.unique(np.linspace(0, len(costs) - 1, JUDGING).astype(int))
        likely = self._judge(kernels, judged)
        best = np.argsort(-likely, kind="stable")[:MIXED]
        best = best[likely[best] > likely.max() - FAR]
        self._weights = np.exp(likely[best] - likely.max())
        self._kernels = [kernels[at] for at in best]
        self._factors = list(chain.from_iterable(self._roots(kernels[best], np.arange(len(costs)))))

    def gaps(self, points: Array) -> Array:
        """Squared distances of trials and coded points, shape [M, E], on each axis, shape [D, T, M]."""
        ground = self._ground
        gaps = np.empty((len(ground), len(self._points), len(points)))
        for gap, columns, is_choice in zip(gaps, ground.columns, ground.is_choice, strict=True):
            ours, theirs = self._points[:, columns], points[:, columns]
            if is_choice:  # of zeros and ones, so nothing is rounded
                squares = ours.sum(1)[:, None] + theirs.sum(1) - 2 * (ours @ theirs.T)
                np.multiply(squares, APART / ours.shape[1], out=gap)
            else:
                np.square(np.subtract(ours, theirs.T, out=gap), out=gap)
        return gaps

    def _roots(self, kernels: _Kernels, at: Places) -> Iterator[Array]:
        """Cholesky's factors of the covariances of some values, packed as `_triangle` says; those of a
        few kernels at a time, each of shape [N (N + 1) / 2].
        """
        rows, columns, _ = _triangle(len(at))
        trials = self._trials[at]
        ours, theirs = trials[rows], trials[columns]
        gaps = _paired(self._gaps.reshape(len(self._gaps), -1), ours * len(self._points) + theirs)
        # Ages are few, and what depends on them alone is computed once for each pair of them.
        ages, age = np.unique(self._ages[at], return_inverse=True)
        spans, pairs = np.square(ages[:, None] - ages).ravel(), age[rows] * len(ages) + age[columns]
        same = np.flatnonzero(ours == theirs)
        itself = rows[same] == columns[same]
        abreast = max(1, ABREAST // len(rows))
        for first in range(0, len(kernels), abreast):
            some = kernels[first : first + abreast]
            aged, covariance = some.aged(spans), some.near(gaps)
            covariance *= _paired(some.place + some.pace * aged, pairs)
            covariance += _paired(some.common * aged, pairs)
            covariance[:, same] += some.own * _paired(aged, pairs[same]) + some.noise * itself
            for each in covariance:
                _factor(each, len(at))
            yield covariance

    def _judge(self, kernels: _Kernels, at: Places) -> Array:
        """Log-likelihoods of some values, up to a constant, shape [K]."""
        _, _, diagonal = _triangle(len(at))
        values, told = self._values[at, None], []
        for roots in self._roots(kernels, at):
            halves = np.concatenate([_solved(root, values.copy()) for root in roots], axis=1)
            told.append(-0.5 * np.square(halves).sum(0) - np.log(_paired(roots, diagonal)).sum(1))
        return np.concatenate(told)

    def knows(self, gaps: Array) -> NDArray[np.bool_]:
        """Whether there has been a trial at points with these gaps, shape [M]."""
        known: NDArray[np.bool_] = (gaps.max(0) < SAME**2).any(0)
        return known

    def improvement(self, gaps: Array) -> Array:
        """Expected improvement of points with these gaps, if they are trained to the end, shape [M]."""
        spans, improvement = np.square(self._ages), np.zeros(gaps.shape[2])
        for weight, kernel, root in zip(self._weights, self._kernels, self._factors, strict=True):
            # The covariance of a configuration's end with a value is `near` of the value's trial times
            # `alike`, and `shared`: so it need not be made for each of a trial's values.
            aged = kernel.aged(spans)
            alike, shared = kernel.place + kernel.pace * aged, kernel.common * aged
            values = _solved(root, _solved(root, self._values[:, None].copy()), transposed=True)[:, 0]
            by_trial, constant = self._by_trial(alike * values), shared @ values
            ends = by_trial @ kernel.near(self._gaps) + constant
            ends += kernel.own * self._by_trial(aged * values)
            near = kernel.near(gaps)
            expected = by_trial @ near + constant
            told = near[self._trials]
            told *= alike[:, None]
            told += shared[:, None]
            told = _solved(root, told)
            spreads = np.sqrt(np.maximum(kernel.variance - np.einsum("nm,nm->m", told, told), 1e-9))
            improvement += weight * _expected(ends.min() - expected, spreads)
        return improvement

    def _by_trial(self, values: Array) -> Array:
        """Sums of what belongs to one trial each, shape [T]."""
        return np.bincount(self._trials, values, len(self._points)).astype(float)


def _paired(numbers: Array, pairs: Places) -> Array:
    """`numbers[:, pairs]`, four times as quick."""
    return np.take(numbers, pairs, axis=1)


@lru_cache(maxsize=8)
def _triangle(count: int) -> tuple[Places, Places, Places]:
    """Rows and columns of a lower triangle, in the order in which LAPACK folds it into a rectangle
    (Gustavson et al. 2010), and where its diagonal is: so nothing is computed, nor cleared, of the half
    that a symmetric matrix says twice.
    """
    from scipy.linalg.lapack import dtrttf  # noqa: PLC0415  it loads much of SciPy

    folded, _ = dtrttf(np.arange(count**2, dtype=float).reshape(count, count), uplo="L")
    columns, rows = np.divmod(folded.astype(int), count)
    return rows, columns, np.flatnonzero(rows == columns)


def _factor(covariance: Array, count: int) -> None:
    """Put Cholesky's factor in the place of a covariance of so many values, packed as `_triangle` says.

    Raises:
        ValueError: it is not positive definite.
    """
    from scipy.linalg.lapack import dpftrf  # noqa: PLC0415  it loads much of SciPy

    _, info = dpftrf(count, covariance, uplo="L", overwrite_a=1)
    if info:
        raise ValueError("the curves' covariance is not positive definite")


def _solved(root: Array, values: Array, *, transposed: bool = False) -> Array:
    """Values, shape [N, M], times the inverse of a packed factor, or of its transpose; overwritten."""
    from scipy.linalg.lapack import dtfsm  # noqa: PLC0415  it loads much of SciPy

    # Transposed they are as LAPACK has its arrays, and nothing is copied.
    trans = "N" if transposed else "T"
    solved: Array = dtfsm(1.0, root, values.T, side="R", uplo="L", trans=trans, overwrite_b=1).T
    return solved


def _expected(better: Array, spread: Array) -> Array:
    """Expected improvement: of a normal distribution the mean of what is above 0."""
    from scipy.special import ndtr  # noqa: PLC0415  it loads much of SciPy

    at = better / spread
    improvement: Array = better * ndtr(at) + spread * np.exp(-0.5 * at**2) / math.sqrt(2 * math.pi)
    return improvement


def _observations(
    known: Sequence[Tried], ranked: Sequence[Tried], *, minimize: bool
) -> tuple[Array, Array, Places]:
    """Steps, costs and trials (by their place) of the values that are modelled, each of shape [N]."""
    first = min(next(iter(trial.curve)) for trial in ranked)
    whole = max(trial.last[0] for trial in ranked)
    early, room = dict[int, list[tuple[int, float]]](), MODELLED - len(known)
    for trial in ranked:
        values = list(_early(trial, first))
        room -= len(values)
        if room < 0:
            break
        early[trial.number] = values
    steps, costs, trials = [], [], []
    for at, trial in enumerate(known):
        last, value = trial.last if trial.curve else (whole, math.inf)
        going_on = trial.running or trial.pruned  # one that has ended keeps what it has
        for step, cost in (*early.get(trial.number, ()), (last if going_on else whole, value)):
            steps.append(step)
            costs.append(cost if minimize or math.isinf(cost) else -cost)
            trials.append(at)
    return np.array(steps, float), np.array(costs), np.array(trials)


def _early(trial: Tried, first: int) -> Iterator[tuple[int, float]]:
    """The values of a trial before its last that are modelled: at steps that triple."""
    *before, _ = trial.curve.items()
    rung = first
    for step, value in before:
        if step >= rung:
            yield step, value
        while rung <= step:
            rung *= 3


def _by_value(known: Sequence[Tried], minimize: bool) -> list[Tried]:
    """Trials with curves, the best first."""
    sign = 1 if minimize else -1
    told = [trial for trial in known if trial.curve]
    return sorted(told, key=lambda trial: (sign * trial.last[1], trial.number))


def _scaled(costs: Array) -> Array:
    """Costs of mean 0 and deviation 1, by their logarithm where all are positive, the worst clipped."""
    finite = np.isfinite(costs)
    worst = costs[finite].max()
    known = np.where(finite, costs, worst)
    known = np.log(known) if known.min() > 0 else known
    known = np.minimum(known, quantile(sorted(known.tolist()), CLIPPED))
    scaled: Array = (known - known.mean()) / (known.std() + 1e-9)
    return scaled

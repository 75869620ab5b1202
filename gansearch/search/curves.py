"""Bayesian optimisation that learns from whole curves, also from those of trials that were stopped.

One Gaussian process of the best objective so far, over configurations and how far they were trained,
as in freeze-thaw optimisation (Swersky et al. 2014, arXiv 1406.3896). What alike configurations share,
and trials of one age, it learns from all of them, so that a trial that was stopped early says where its
like will end, and a slow start is no bad sign where slow starts have ended well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

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

MODELLED = 128
"""Values that are modelled: the last of each trial, and as far as there is room, those at several steps
of the best. A proposal's cost grows with the cube of it."""

DRAWN = 24
"""Sets of hyperparameters that are drawn, each time the same."""

MIXED = 4
"""Of these, the likeliest, whose opinions are mixed by their likelihood."""

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
        known = [trial for trial in past.trials if trial.curve or trial.failed]
        chance = np.random.default_rng(self._seed)
        curves = sum(bool(trial.curve) for trial in known)
        if len(known) < self._startup or curves < 2 or not space.axes():
            yield from Qmc(self._seed, self._conditional).draws(past, space)
            while True:
                yield space.point(lambda _, axis: value_at(axis, chance.random()))
        ground = Ground(space)
        model = _Model(ground, known, past.minimize)
        best = _by_value(known, past.minimize)[:BEST]
        if past.number % TURN == 0 and len(units := _exchanges(ground, best, past.trials)):
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
    for trial in best:
        for width in WIDTHS:
            drawn.append(ground.around(trial.point, width, NEARBY, chance))
    return np.concatenate(drawn)


def _exchanges(ground: Ground, best: Sequence[Tried], trials: Sequence[Tried]) -> Array:
    """Places of the best with one option exchanged, near which no trial was, shape [M, D]."""
    units = np.concatenate([ground.exchanged(trial.point) for trial in best])
    tried = np.array([ground.place(trial.point) for trial in trials])
    return units[~ground.alike(units, tried, LIKE).any(1)]


@dataclass(frozen=True)
class _Kernel:
    """A covariance of values, from the distances of their configurations and ages.

    Attributes:
        scales: of the axes, shape [D].
        age: scale of the logarithm of steps.
        common: variance of what all trials of an age share.
        place: of what alike configurations share at any age.
        pace: of what alike configurations share at alike ages.
        own: of what a trial shares with itself alone.
        noise: of each value.
    """

    scales: Array
    age: float
    common: float
    place: float
    pace: float
    own: float
    noise: float

    @classmethod
    @cache
    def drawn(cls, axes: int, count: int) -> Sequence[_Kernel]:
        """Always the same ones."""
        chance = np.random.default_rng(0)

        def near(value: float, spread: float, width: int = 1) -> Array:
            return value * np.exp(spread * chance.standard_normal((count, width)))

        scales = near(SCALE, 0.7, axes)
        others = ((2.0, 0.5), (0.5, 0.7), (1.0, 0.7), (0.3, 0.7), (0.2, 0.7), (0.03, 1.0))
        rows = np.concatenate([near(*each) for each in others], axis=1).tolist()
        return [cls(scale, *row) for scale, row in zip(scales, rows, strict=True)]

    def near(self, gaps: Array) -> Array:
        """How alike configurations are, in (0, 1], shape [...].

        Args:
            gaps: squared distances on each axis, shape [D, ...].
        """
        weighted = (-0.5 / self.scales**2) @ gaps.reshape(len(gaps), -1)
        near: Array = np.exp(weighted, out=weighted).reshape(gaps.shape[1:])
        return near

    def aged(self, spans: Array) -> Array:
        """How alike ages are, in (0, 1]; of squared distances of their logarithms."""
        aged: Array = np.exp((-0.5 / self.age**2) * spans)
        return aged

    @property
    def variance(self) -> float:
        """Of a value without its noise."""
        return self.common + self.place + self.pace + self.own


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
        self._own = (np.arange(len(known))[:, None] == self._trials).astype(float)
        self._gaps = self.gaps(self._points)
        kernels = _Kernel.drawn(len(ground), DRAWN)
        judged = np.unique(np.linspace(0, len(costs) - 1, JUDGING).astype(int))
        likely = self._judge(kernels, judged)
        best = [
            at for at in np.argsort(-likely, kind="stable")[:MIXED] if likely[at] > likely.max() - FAR
        ]
        self._weights = np.exp(likely[best] - likely.max())
        self._kernels = [kernels[at] for at in best]
        everything = np.arange(len(costs))
        self._inverses = list(map(_inverse, self._roots(self._kernels, everything)))

    def gaps(self, points: Array) -> Array:
        """Squared distances of coded points, shape [M, E], and trials on each axis, shape [D, M, T]."""
        ground = self._ground
        return np.stack(
            [
                np.square(points[:, None, columns] - self._points[None, :, columns]).sum(-1)
                * (APART if is_choice else 1.0)
                / (columns.stop - columns.start)
                for columns, is_choice in zip(ground.columns, ground.is_choice, strict=True)
            ]
        )

    def _roots(self, kernels: Sequence[_Kernel], at: Places) -> Iterator[Array]:
        """Cholesky's factors of the covariances of some values, each of shape [N, N]; what lies above
        the diagonal means nothing.
        """
        rows, columns = np.tril_indices(len(at))  # a covariance is symmetric
        places = rows * len(at) + columns
        trials, ages = self._trials[at], self._ages[at]
        gaps = self._gaps[:, trials[rows], trials[columns]]
        same, spans = trials[rows] == trials[columns], np.square(ages[rows] - ages[columns])
        for kernel in kernels:  # one by one, as long as each is small enough for the processor's cache
            aged = kernel.aged(spans)
            covariance = kernel.near(gaps) * (kernel.place + kernel.pace * aged)
            covariance += (kernel.common + kernel.own * same) * aged
            root = np.zeros(len(at) ** 2)
            root[places] = covariance
            root[:: len(at) + 1] += kernel.noise
            yield _factor(root.reshape(len(at), -1))

    def _judge(self, kernels: Sequence[_Kernel], at: Places) -> Array:
        """Log-likelihoods of some values, up to a constant, shape [K]."""
        from scipy.linalg.lapack import dtrtrs  # noqa: PLC0415  it loads much of SciPy

        told = []
        for root in self._roots(kernels, at):
            half = dtrtrs(root.T, self._values[at], trans=1)[0]
            told.append(-0.5 * (half @ half) - np.log(np.diagonal(root)).sum())
        return np.array(told)

    def knows(self, gaps: Array) -> NDArray[np.bool_]:
        """Whether there has been a trial at points with these gaps, shape [M]."""
        known: NDArray[np.bool_] = (gaps.max(0) < SAME**2).any(1)
        return known

    def improvement(self, gaps: Array) -> Array:
        """Expected improvement of points with these gaps, if they are trained to the end, shape [M]."""
        spans, improvement = np.square(self._ages), np.zeros(gaps.shape[1])
        for weight, kernel, inverse in zip(self._weights, self._kernels, self._inverses, strict=True):
            # The covariance of a configuration's end with a value is `near` of the value's trial times
            # `alike`, and `shared`: so it need not be made for each of a trial's values.
            aged = kernel.aged(spans)
            alike, shared = kernel.place + kernel.pace * aged, kernel.common * aged
            values = inverse.T @ (inverse @ self._values)
            by_trial, constant = self._own @ (alike * values), shared @ values
            ends = kernel.near(self._gaps) @ by_trial + constant
            ends += kernel.own * (self._own @ (aged * values))
            near = kernel.near(gaps)
            told = near @ (self._own @ (alike[:, None] * inverse.T)) + inverse @ shared
            spreads = np.sqrt(np.maximum(kernel.variance - np.square(told).sum(1), 1e-9))
            expected = near @ by_trial + constant
            improvement += weight * _expected(ends.min() - expected, spreads)
        return improvement


def _factor(covariance: Array) -> Array:
    """Cholesky's factor, in the place of a covariance's lower triangle.

    Raises:
        ValueError: it is not positive definite.
    """
    from scipy.linalg.lapack import dpotrf  # noqa: PLC0415  it loads much of SciPy

    # Transposed it is as LAPACK has its arrays, and nothing is copied.
    upper, info = dpotrf(covariance.T, lower=0, clean=0, overwrite_a=1)
    if info:
        raise ValueError("the curves' covariance is not positive definite")
    root: Array = upper.T
    return root


def _inverse(root: Array) -> Array:
    """Of a lower triangle, whatever lies above it."""
    from scipy.linalg.lapack import dtrtri  # noqa: PLC0415  it loads much of SciPy

    inverse: Array = np.tril(dtrtri(root.T)[0].T)
    return inverse


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
    chosen = {trial.number: list(_chosen(trial, first, whole)) for trial in known}
    best, room = set[int](), MODELLED - len(known)
    for trial in _by_value(known, minimize):
        room -= len(chosen[trial.number]) - 1
        if room < 0:
            break
        best.add(trial.number)
    steps, costs, trials = [], [], []
    for at, trial in enumerate(known):
        values = chosen[trial.number]
        for step, value in values if trial.number in best else values[-1:]:
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

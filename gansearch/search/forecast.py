"""Where a trial will end, from the curves of its study.

A Gaussian process for each report, of what trials still gained after it: from how good they were
there, how fast they had been getting better, and their configuration (with a small learning rate a slow
start is normal). Trials that wait on their way teach, too: what they will gain is their own forecast, made at
the report at which they wait, with its doubt. So all curves count, and no late one is needed to say
something of the early ones. What is forecast is the best objective at the end, by which trials are
compared; a curve that turns later keeps what it had.

Until three trials have come to the end, the forecast is for the last report that three have come to,
and while there are none, nothing is said.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gansearch.study.config import TrialConfig
from gansearch.study.records import Report, TrialRecord, cost

NEEDED = 3
"""Trials that must have come to a report for it to be forecast."""

REMEMBERED = 250
"""Trials that are learnt from at most: the best and the newest, so that the cost stays bounded."""

NEWS = 0.05
"""It is fitted again when this share of what it knows is new; at which reports depends on nothing but
how many there were."""

SPREAD = 0.6
"""Deviation of a configuration's numbers, where the covariance falls with the distance 1."""

SLOPE = 2
"""Reports over which the pace of a curve is taken."""

Z80 = 1.2816
"""Standard deviations on either side that hold four fifths of a normal distribution."""

Array = np.ndarray


@dataclass(frozen=True)
class Prediction:
    """Where a trial will end.

    Attributes:
        value: the median of the best objective.
        low, high: the better and the worse end of an interval that holds it four times of five.
        step: the step of which it is said.
        chance: probability of ending better than the best trial so far.
        best: what that one has.
    """

    value: float
    low: float
    high: float
    step: int
    chance: float
    best: float

    def words(self, end: int) -> str:
        """`predicted 4.1 [3.2, 6] at the end, the best has 2.2`."""
        where = "at the end" if self.step >= end else f"at step {self.step}"
        low, high = sorted((self.low, self.high))
        return (
            f"predicted {self.value:.3g} [{low:.3g}, {high:.3g}] {where}, the best has {self.best:.3g}"
        )


@dataclass
class _Known:
    """What is known of a trial: its parameters and, at each report, its best cost so far."""

    params: Mapping[str, object]
    costs: list[float] = field(default_factory=list)
    ended: bool = False


class _Places:
    """Configurations as points: numbers on their own scale, of one variance, and labels one-hot.

    Args:
        known: configurations that tell the scales: a number is taken by its logarithm where it is
            positive and spans more than a decade.
    """

    def __init__(self, known: Sequence[Mapping[str, object]]) -> None:
        self._labels: list[tuple[str, object]] = []
        self._numbers: list[tuple[str, bool, float, float]] = []  # name, log, mean, deviation
        for name in dict.fromkeys(name for params in known for name in params):
            values = [params[name] for params in known if name in params]
            if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
                numbers = np.array(values, float)
                log = bool(numbers.min() > 0 and numbers.max() > 10 * numbers.min())
                numbers = np.log(numbers) if log else numbers
                self._numbers.append((name, log, float(numbers.mean()), float(numbers.std()) or 1.0))
            else:
                self._labels += [(name, value) for value in dict.fromkeys(values)]

    def of(self, params: Mapping[str, Any]) -> list[float]:
        """One configuration, as shape [D]; a number that does not exist there is at its mean."""
        place = []
        for name, log, mean, deviation in self._numbers:
            value = params.get(name)
            if isinstance(value, int | float) and (value > 0 or not log):
                at = math.log(value) if log else float(value)
                place.append(SPREAD * (at - mean) / deviation)
            else:
                place.append(0.0)
        return place + [float(params.get(name, _NOTHING) == value) for name, value in self._labels]


_NOTHING = object()


@dataclass(frozen=True)
class _Kernel:
    """What gains are supposed to depend on: variances, as shares of what there is to explain.

    Attributes:
        place: alike configurations gain alike.
        alike: of these, those with alike curves.
        linear: a gain is linear in level and pace.
        noise: what nothing tells.
        prior: log-probability, up to a constant: simple ones first, until the gains speak for others.
    """

    place: float
    alike: float
    linear: float
    noise: float
    prior: float

    def between(self, shapes: Array, places: Array, others: Array, their_places: Array) -> Array:
        """Covariance of trials with others, shape [M, N]."""
        near = np.exp(-0.5 * _squares(places, their_places))
        alike = near * np.exp(-0.5 * _squares(shapes, others))
        covariance: Array = self.place * near + self.alike * alike + self.linear * (shapes @ others.T)
        return covariance

    def own(self, shapes: Array) -> Array:
        """Variance of trials without what nothing tells, shape [M]."""
        variance: Array = self.place + self.alike + self.linear * np.square(shapes).sum(axis=1)
        return variance


KERNELS = (
    _Kernel(0.0, 0.0, 0.0, 1.0, 0.0),
    _Kernel(0.0, 0.0, 0.5, 0.5, -1.0),
    _Kernel(0.4, 0.3, 0.1, 0.2, -2.0),
    _Kernel(0.5, 0.4, 0.2, 0.05, -2.0),
)
"""The first forecasts the same gain for all, which ranks them as they stand."""


class _Stage:
    """The model of one report: a Gaussian process of what was gained after it.

    Args:
        shapes: levels and paces of curves, shape [N, 2].
        places: their configurations', shape [N, D].
        gains: what they gained, shape [N].
        doubts: variances of that, shape [N].
    """

    def __init__(self, shapes: Array, places: Array, gains: Array, doubts: Array) -> None:
        self._centre, self._width = shapes.mean(axis=0), shapes.std(axis=0) + 1e-9
        self._shapes, self._places = (shapes - self._centre) / self._width, places
        self._mean, self._deviation = float(gains.mean()), float(gains.std()) + 1e-9
        scaled, best = (gains - self._mean) / self._deviation, -math.inf
        count = len(gains)
        for kernel in KERNELS:
            own = kernel.between(self._shapes, places, self._shapes, places)
            own[np.diag_indices_from(own)] += kernel.noise + doubts / self._deviation**2
            root = np.linalg.cholesky(own)
            inverse = np.linalg.inv(root)
            weights = inverse.T @ (inverse @ scaled)
            # The scale that makes the gains likeliest, drawn to their deviation by as good as two trials.
            variance = (float(scaled @ weights) + 2) / (count + 2)
            told = kernel.prior - np.log(np.diag(root)).sum() - (count + 2) / 2 * math.log(variance)
            if told > best:
                best, self.kernel, self._inverse, self._weights = told, kernel, inverse, weights
                self._variance = variance * self._deviation**2

    def gains(self, shapes: Array, places: Array) -> tuple[Array, Array]:
        """Mean and variance of what trials still gain, each of shape [M]."""
        shapes = (shapes - self._centre) / self._width
        cross = self.kernel.between(shapes, places, self._shapes, self._places)
        unknown = self.kernel.own(shapes) - np.square(self._inverse @ cross.T).sum(axis=0)
        mean = cross @ self._weights * self._deviation + self._mean
        return mean, (np.maximum(unknown, 0) + self.kernel.noise) * self._variance


def _squares(some: Array, others: Array) -> Array:
    """Squared distances, shape [M, N]."""
    mixed = some @ others.T
    squares: Array = np.square(some).sum(axis=1)[:, None] + np.square(others).sum(axis=1) - 2 * mixed
    return np.maximum(squares, 0.0)


class Forecast:
    """Learns from a study's reports; what it says is a function of them and of their order.

    Args:
        config: of one of the study's trials.
    """

    def __init__(self, config: TrialConfig) -> None:
        self._metric, self._goal = config.objective.metric, config.objective.towards
        self._every, self._steps = config.budget.report_every, config.budget.steps
        self._known: dict[int, _Known] = {}
        self._heard = self._fitted = 0
        self._stages: dict[int, _Stage] = {}
        self._places = _Places(())
        self._horizon = -1
        self._log = False
        self._best = math.nan

    def learn(self, trial: TrialRecord, report: Report) -> None:
        """Take a report down."""
        known = self._known.setdefault(trial.number, _Known(trial.params))
        least = known.costs[-1] if known.costs else math.inf
        column = -(-report.step // self._every) - 1
        known.costs += [least] * (column - len(known.costs))  # where reports are missing
        value = report.metrics.get(self._metric, math.nan)
        known.costs.append(min(least, cost(value, self._goal)) if math.isfinite(value) else least)
        known.ended = report.outcome is not None
        self._heard += 1

    def fit(self) -> None:
        """Learn from what was taken down, if enough of it is new."""
        if self._heard - self._fitted < max(1, NEWS * self._fitted):
            return
        self._fitted = self._heard
        self._stages = {}
        finite = {n: k for n, k in self._known.items() if math.isfinite(_last(k.costs))}
        lengths = sorted((len(known.costs) for known in finite.values()), reverse=True)
        self._horizon = lengths[NEEDED - 1] - 1 if len(lengths) >= NEEDED else -1
        if self._horizon >= 1:
            self._fit(_remembered(finite))

    def of(self, numbers: Iterable[int]) -> dict[int, Prediction]:
        """Where trials will end, by number; those of which nothing can be said are left out."""
        by_report: dict[int, list[int]] = {}
        for number in numbers:
            known = self._known.get(number)
            if known is not None and math.isfinite(_last(known.costs)):
                by_report.setdefault(len(known.costs) - 1, []).append(number)
        found: dict[int, Prediction] = {}
        for at, those in by_report.items():
            if at in self._stages:
                found |= dict(zip(those, self._predictions(at, those), strict=True))
        return found

    def _predictions(self, at: int, numbers: Sequence[int]) -> Iterator[Prediction]:
        """Of trials whose last report is the same."""
        known = [self._known[number] for number in numbers]
        shapes = _shapes(np.array([self._modelled(each.costs[: at + 1]) for each in known]), at)
        places = np.array([self._places.of(each.params) for each in known])
        gains, variances = self._stages[at].gains(shapes, places)
        step = min((self._horizon + 1) * self._every, self._steps)
        for level, gain, variance in zip(shapes[:, 0], gains, variances, strict=True):
            middle, deviation = level - max(gain, 0.0), math.sqrt(variance)
            low, value, high = (
                self._value(min(middle + z * deviation, level)) for z in (-Z80, 0.0, Z80)
            )
            chance = 0.5 * math.erfc((middle - self._best) / (deviation * math.sqrt(2)))
            yield Prediction(value, low, high, step, chance, self._value(self._best))

    def _fit(self, known: Sequence[_Known]) -> None:
        """Fit the reports from the last to the first, each from what the later ones say."""
        columns = self._horizon + 1
        costs = np.full((len(known), columns), math.inf)
        for row, each in enumerate(known):
            seen = each.costs[:columns]
            costs[row, : len(seen)] = seen
            costs[row, len(seen) :] = seen[-1] if each.ended else math.nan  # it keeps what it has
        self._log = bool(self._goal == "min" and np.nanmin(costs) > 0)
        costs = self._modelled(costs)
        self._places = _Places([each.params for each in known])
        places = np.array([self._places.of(each.params) for each in known])
        ends, doubts = costs[:, -1].copy(), np.zeros(len(known))
        for at in range(self._horizon - 1, -1, -1):
            shapes = _shapes(costs, at)
            here, told = np.isfinite(shapes[:, 0]), np.isfinite(ends)
            teach, wait = here & told, here & ~told
            if teach.sum() < NEEDED:
                continue
            gains = shapes[teach, 0] - ends[teach]
            self._stages[at] = _Stage(shapes[teach], places[teach], gains, doubts[teach])
            if wait.any():
                mean, doubts[wait] = self._stages[at].gains(shapes[wait], places[wait])
                ends[wait] = shapes[wait, 0] - np.maximum(mean, 0)
        self._best = float(costs[np.isfinite(costs)].min())

    def _modelled(self, costs: Sequence[float] | Array) -> Array:
        """Costs as they are modelled: by their logarithm where all are positive."""
        return np.log(np.asarray(costs)) if self._log else np.asarray(costs, float)

    def _value(self, modelled: float) -> float:
        """A modelled cost as a value of the objective."""
        return cost(math.exp(modelled) if self._log else modelled, self._goal)


def _last(costs: Sequence[float]) -> float:
    return costs[-1] if costs else math.nan


def _remembered(known: Mapping[int, _Known]) -> list[_Known]:
    """All of few trials; of many the best, and the newest of the others, in their order."""
    everyone = list(known.values())
    if len(everyone) <= REMEMBERED:
        return everyone
    order = sorted(range(len(everyone)), key=lambda i: everyone[i].costs[-1])
    chosen = {*order[: REMEMBERED // 2]}
    newest = (i for i in reversed(range(len(everyone))) if i not in chosen)
    chosen |= {*itertools.islice(newest, REMEMBERED - len(chosen))}
    return [everyone[i] for i in sorted(chosen)]


def _shapes(costs: Array, at: int) -> Array:
    """Level and pace of curves at a report, shape [N, 2]: NaN levels where they did not come there."""
    levels, before = costs[:, at], costs[:, max(at - SLOPE, 0)]
    pace = np.where(np.isfinite(before), before, levels) - levels
    return np.column_stack([np.where(np.isfinite(levels), levels, math.nan), pace])

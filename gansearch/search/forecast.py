"""Where a trial will end, from the curves of its study.

For each rung what trials still gained after it is learnt from those that came further (see
`gansearch.search.gains`). Trials that wait on their way teach, too: what they will gain is their own
forecast, made at the rung at which they wait, with its doubt. So all curves count, and no late one is
needed to say something of the early ones. What is forecast is the best objective at the end, by which
trials are compared; a curve that turns later keeps what it had.

Until three trials have come to the end, the forecast is for the last rung that three have come to.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gansearch.search.gains import Array, Gains, Places
from gansearch.study.config import TrialConfig
from gansearch.study.records import Report, TrialRecord, cost

NEEDED = 3
"""Trials that must have come to a report for it to be forecast."""

REMEMBERED = 250
"""Trials that are learnt from at most: the best and the newest, so that the cost stays bounded."""

ALWAYS = 150
"""Times that trials have come to a rung or ended, up to which each time is learnt from at once."""

NEWS = 0.05
"""Beyond that it is learnt when this share is new."""

SLOPE = 2
"""Reports over which the pace of a curve is taken."""

Z80 = 1.2816
"""Standard deviations on either side that hold four fifths of a normal distribution."""

WIDENED = 2.0
"""So many times the model's own deviation is what is told, since trials that go on are not like those
that wait. Chosen so that on the tuning half of each recorded table the interval holds four ends of
five, with the sampler `curves` and at random (`python -m benchmarks.allocation forecast TABLE --half
tune`).
"""


@dataclass(frozen=True)
class Prediction:
    """Where a trial will end.

    Attributes:
        value: the median of the best objective.
        low, high: the better and the worse end of an interval that holds it four times of five.
        step: the step of which it is said.
        whole: whether that is the end of the budget.
        best: what the best trial has so far.
    """

    value: float
    low: float
    high: float
    step: int
    whole: bool
    best: float

    def words(self) -> str:
        """`predicted 4.1 [3.2, 6] at the end, the best has 2.2`."""
        where = "at the end" if self.whole else f"at step {self.step}"
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


class Forecast:
    """Learns from a study's reports.

    What it says is a function of the reports alone, and up to `ALWAYS` of them of their set.

    Args:
        config: of one of the study's trials.
        rungs: the steps at which it is to say where trials will end.

    Attributes:
        fits: how often it has learnt something of where trials end.
    """

    def __init__(self, config: TrialConfig, rungs: Iterable[int]) -> None:
        self._metric, self._goal = config.objective.metric, config.objective.towards
        self._every = config.budget.report_every
        steps = sorted({step for step in rungs if step < config.budget.steps})
        self._steps = [*steps, config.budget.steps]
        self._columns = [self._column(step) for step in self._steps]
        self._known: dict[int, _Known] = {}
        self._news = self._fitted = 0
        self.fits = 0
        self._models: dict[int, Gains] = {}  # by the place of its rung
        self._places = Places(())
        self._end = -1  # the place of what is forecast
        self._log = False
        self._best = math.inf

    def learn(self, trial: TrialRecord, report: Report) -> bool:
        """Take a report down; returns whether something new is known of where trials end."""
        known = self._known.setdefault(trial.number, _Known(trial.params))
        least = known.costs[-1] if known.costs else math.inf
        column = self._column(report.step)
        known.costs += [least] * (column - len(known.costs))  # where reports are missing
        value = report.metrics.get(self._metric, math.nan)
        known.costs.append(min(least, cost(value, self._goal)) if math.isfinite(value) else least)
        known.ended = report.outcome is not None
        begins = math.isinf(least) and math.isfinite(known.costs[-1])
        tells = known.ended or begins or column in self._columns
        self._news += tells
        self._best = min(self._best, known.costs[-1])
        beyond = max(self._fitted - ALWAYS, 0)
        without_log = tells and self._log and known.costs[-1] <= 0
        if self._news - self._fitted < max(1, NEWS * beyond) and not without_log:
            return False
        self._fit()
        return True

    def ends(self, numbers: Iterable[int]) -> dict[int, float]:
        """The expected costs of trials at the end, by number: lower is better, whatever the goal, and
        only their order means something. Empty where of one of them nothing can be said.
        """
        found: dict[int, float] = {}
        for at, those in self._by_rung(numbers).items():
            if at < 0 or not self._models:
                return {}
            known = [self._known[number] for number in those]
            if at >= self._end:
                column = self._columns[self._end]
                costs = [each.costs[min(column, len(each.costs) - 1)] for each in known]
                found |= dict(zip(those, costs, strict=True))
            elif at in self._models:
                levels, gains, _ = self._gains(at, known)
                expected = np.exp(levels - gains) if self._log else levels - gains
                found |= dict(zip(those, expected.tolist(), strict=True))
            else:
                return {}
        return found

    def of(self, number: int) -> Prediction | None:
        """Where a trial will end; None where nothing can be said."""
        ((at, _),) = self._by_rung([number]).items()
        if at not in self._models:
            return None
        levels, gains, variances = self._gains(at, [self._known[number]])
        level, middle = levels[0], levels[0] - gains[0]
        deviation = WIDENED * math.sqrt(variances[0])
        low, value, high = (self._value(min(middle + z * deviation, level)) for z in (-Z80, 0.0, Z80))
        step, whole = self._steps[self._end], self._end + 1 == len(self._steps)
        return Prediction(value, low, high, step, whole, cost(self._best, self._goal))

    def _column(self, step: int) -> int:
        """The place of a report in its curve."""
        return -(-step // self._every) - 1

    def _by_rung(self, numbers: Iterable[int]) -> dict[int, list[int]]:
        """Trials by the place of the last rung to which they came; -1: to none, or without a value."""
        found: dict[int, list[int]] = {}
        for number in sorted(numbers):  # in another order they would be rounded otherwise
            known = self._known.get(number)
            if known is None or not math.isfinite(known.costs[-1]):
                at = -1
            else:
                came = [c < len(known.costs) and math.isfinite(known.costs[c]) for c in self._columns]
                last = max((place for place, here in enumerate(came) if here), default=-1)
                at = len(came) - 1 if known.ended else last
            found.setdefault(at, []).append(number)
        return found

    def _gains(self, at: int, known: Sequence[_Known]) -> tuple[Array, Array, Array]:
        """Levels of trials at a rung; mean and variance of what they still gain."""
        column = self._columns[at]
        curves = np.array([each.costs[: column + 1] for each in known])
        shapes = _shapes(self._modelled(curves), column)
        places = np.array([self._places.of(each.params) for each in known])
        mean, variance = self._models[at].of(shapes, places)
        return shapes[:, 0], np.maximum(mean, 0.0), variance

    def _fit(self) -> None:
        """Fit the rungs from the last to the first, each from what the later ones say."""
        self._fitted, self._models = self._news, {}
        self.fits += 1
        known = [self._known[number] for number in sorted(self._known)]
        finite = [each for each in known if math.isfinite(each.costs[-1])]
        came = [sum(len(k.costs) > column or k.ended for k in finite) for column in self._columns]
        self._end = max((at for at, count in enumerate(came) if count >= NEEDED), default=-1)
        if self._end < 1:
            return
        remembered = _remembered(finite)
        costs = np.full((len(remembered), self._columns[self._end] + 1), math.nan)
        for row, each in enumerate(remembered):
            seen = each.costs[: costs.shape[1]]
            costs[row, : len(seen)] = seen
            if each.ended:
                costs[row, len(seen) :] = seen[-1]  # it keeps what it has
        self._log = bool(self._goal == "min" and np.nanmin(costs) > 0)
        costs = self._modelled(costs)
        self._places = Places([each.params for each in remembered])
        places = np.array([self._places.of(each.params) for each in remembered])
        ends, doubts = costs[:, -1].copy(), np.zeros(len(remembered))
        for at in reversed(range(self._end)):
            shapes = _shapes(costs, self._columns[at])
            here, told = np.isfinite(shapes[:, 0]), np.isfinite(ends)
            teach, wait = here & told, here & ~told
            if teach.sum() < NEEDED:
                continue
            gains = shapes[teach, 0] - ends[teach]
            self._models[at] = Gains(shapes[teach], places[teach], gains, doubts[teach])
            if wait.any():
                mean, doubts[wait] = self._models[at].of(shapes[wait], places[wait])
                ends[wait] = shapes[wait, 0] - np.maximum(mean, 0.0)

    def _modelled(self, costs: Array) -> Array:
        """Costs as they are modelled: by their logarithm where all are positive."""
        modelled: Array = np.log(costs) if self._log else costs
        return modelled

    def _value(self, modelled: float) -> float:
        """A modelled cost as a value of the objective."""
        return cost(math.exp(modelled) if self._log else modelled, self._goal)


def _remembered(known: Sequence[_Known]) -> Sequence[_Known]:
    """All of few trials; of many the best, and the newest of the others, in their order."""
    if len(known) <= REMEMBERED:
        return known
    order = sorted(range(len(known)), key=lambda i: known[i].costs[-1])
    chosen = {*order[: REMEMBERED // 2]}
    newest = (i for i in reversed(range(len(known))) if i not in chosen)
    chosen |= {*itertools.islice(newest, REMEMBERED - len(chosen))}
    return [known[i] for i in sorted(chosen)]


def _shapes(costs: Array, at: int) -> Array:
    """Level and pace of curves at a report, shape [N, 2]: NaN levels where they did not come there."""
    levels, before = (
        np.where(np.isfinite(costs[:, column]), costs[:, column], math.nan)
        for column in (at, max(at - SLOPE, 0))
    )
    return np.column_stack([levels, np.where(np.isnan(before), 0.0, before - levels)])

"""When a search is over before it has had all its trials, with the reason in words.

A stop of the study is to it what a health rule is to a trial: it sees records, answers with a verdict,
and knows no execution, so that what it says follows from the journal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from gansearch.study.plan import Resources, Search
from gansearch.study.records import Goal, TrialRecord, cost, count

SPENT = "device-hours are spent"

FEWEST = 20
"""Ended trials before which nothing is said of what the rest would bring."""

RECENT = 300
"""Trials of which the next ones are held to be like; of fewer than twice as many the newer half."""

SPACINGS = 4
"""Between the best trials: by how much a still better one may improve on them is read from so many."""

Array = NDArray[np.float64]


class Ending:
    """Says when no more of a search's trials are to begin, and none that is paused is to go on.

    Those that run come to their end: what they have cost would be lost.

    Args:
        search: the plan of it.
        resources: what a trial holds.
        metric, goal: the objective.
        insisted: the number of trials that was asked for after the search had once ended: till then
            nobody asks whether they are worth it.
    """

    def __init__(
        self, search: Search, resources: Resources, metric: str, goal: Goal, insisted: int = 0
    ) -> None:
        self._hours = search.budget.device_hours if search.budget else None
        self._least = search.budget.least_chance if search.budget else None
        self._total, self._devices = search.trials, resources.devices
        self._metric, self._goal, self._insisted = metric, goal, insisted
        self._known: dict[int, tuple[float, float]] = {}  # number -> (cost, its ups and downs)
        self._seconds: dict[int, float] = {}
        self._spent = 0.0

    def judge(self, records: Mapping[int, TrialRecord], number: int | None) -> str:
        """Why the search is over; empty while it is not.

        Args:
            records: the search's trials.
            number: of the one of which there is news; None: of any.
        """
        for changed in records if number is None else [number]:
            seconds = records[changed].seconds
            self._spent += self._devices * (seconds - self._seconds.get(changed, 0.0))
            self._seconds[changed] = seconds
        if self._hours is not None and self._spent >= 3600 * self._hours:
            return f"its {self._hours:g} {SPENT}"
        if self._least is None or len(records) < self._insisted:
            return ""
        if number is not None and not records[number].outcome.ended:
            return ""
        return self._hopeless(records)

    def _hopeless(self, records: Mapping[int, TrialRecord]) -> str:
        for number, record in records.items():
            if record.outcome.ended and number not in self._known and not record.blameless:
                self._known[number] = (self._cost(record), self._noise(record))
        left = self._left(len(records))
        if len(self._known) < FEWEST or left < 1:
            return ""
        costs, noises = np.array([self._known[number] for number in sorted(self._known)]).T
        best = float(costs.min())
        if not math.isfinite(best):
            return ""
        good = noises[np.argsort(costs, kind="stable")[: max(5, len(costs) // 5)]]
        noise = float(np.median(good[np.isfinite(good)])) if np.isfinite(good).any() else 0.0
        chance = chance_of_better(costs, best - noise, left)
        if self._least is None or chance >= self._least:
            return ""
        value = cost(best, self._goal)  # its own inverse
        return (
            f"the chance that {count(left, 'more trial')} will improve on {self._metric} {value:.4g} "
            f"by more than {noise:.2g}, a run's usual ups and downs, is {100 * chance:.2g} %, under "
            f"search.budget.least_chance ({100 * self._least:g} %)"
        )

    def _left(self, begun: int) -> int:
        """Trials that the budget still allows."""
        left = self._total - begun
        if self._hours is None or not self._spent:
            return left
        return min(left, int((3600 * self._hours - self._spent) / (self._spent / begun)))

    def _cost(self, record: TrialRecord) -> float:
        best = record.best(self._metric, self._goal)
        return cost(best.value, self._goal) if best else math.inf

    def _noise(self, record: TrialRecord) -> float:
        """The standard deviation of the objective about its course, in the later half of a trial; NaN
        where there are too few reports. Between seeds it is hardly less.
        """
        values = [report.metrics.get(self._metric, math.nan) for report in record.reports]
        late = np.array(values[len(values) // 2 :])
        if len(late) < 4 or not np.isfinite(late).all():
            return math.nan
        return float(np.sqrt(np.mean(np.diff(late, 2) ** 2) / 6))  # of a straight course it is 0


def chance_of_better(costs: Sequence[float] | Array, than: float, more: int) -> float:
    """The probability that the best of some more trials costs less than a value.

    The next trials are taken to be like the newer ones. Then the chance that one of m is better than
    the best of n is m / (n + m), whatever the distribution (Renyi 1962). By how much one that is better
    improves on the old best is taken to be exponential, its scale that of the spacings between the best
    trials (Renyi 1953: of an exponential tail i times the i-th one), which are few and so leave it
    uncertain; with the probability q that it is by enough, m trials are worth m q of them. Where costs
    have a lower bound that is near, this says rather too much than too little.

    Args:
        costs: of the ended trials in order, infinite where there was no value.
        than: the value.
        more: trials.

    Returns:
        In [0, 1].
    """
    known = np.asarray(costs, dtype=float)
    newer = known[-min(max(FEWEST, len(known) // 2), RECENT) :]
    better = more / (len(newer) + more)
    ordered = np.sort(newer[np.isfinite(newer)])[: SPACINGS + 1]
    if len(ordered) <= SPACINGS:
        return better
    far = float(ordered[0]) - than
    scale = float(np.mean(np.arange(1, SPACINGS + 1) * np.diff(ordered)))
    if far <= 0:
        return better  # at least that: to be better than `than` it need not become the best
    enough = (1 + far / (SPACINGS * scale)) ** -SPACINGS if scale else 0.0
    return enough * more / (len(newer) + enough * more)

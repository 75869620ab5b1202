"""What the reports' cheap measures say of the exact ones, which are made of a trial's best weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gansearch.analysis.evidence import Evidence
from gansearch.search.replay import spearman
from gansearch.study.evaluation import FINAL
from gansearch.study.records import Goal, TrialRecord, best_report, cost

FEWEST = 4
"""Trials of which a rank correlation is told: of three, one order in six is the same by chance."""


ROUNDED = 1e-12
"""By how much less than 1 a perfect correlation may be, for it is computed."""


@dataclass(frozen=True)
class Agreement:
    """How alike a cheap measure and an exact one rank trials.

    Attributes:
        exact: the name of the exact one, as it stands in tables.
        cheap: the measure of the reports that it is compared with.
        trials: that have both.
        correlation: Spearman's, from -1 to 1; NaN of fewer than `FEWEST`, or where one is constant.
        low: of its 95 % interval.
        high: of it.
        place: that the best trial by the cheap one has by the exact one, from 1; 0 where either
            measure's better side is not known.
    """

    exact: str
    cheap: str
    trials: int
    correlation: float
    low: float
    high: float
    place: int


def agreements(e: Evidence, records: Sequence[TrialRecord]) -> list[Agreement]:
    """For each exact measure, how far the cheap one of the same name, or else the objective, agrees."""
    last = [record.last.metrics for record in records if record.last]
    names = dict.fromkeys(name for metrics in last for name in metrics if name.startswith(FINAL))
    return [_agreement(e, records, name) for name in names]


def _agreement(e: Evidence, records: Sequence[TrialRecord], exact: str) -> Agreement:
    own = exact.removeprefix(FINAL)
    reported = any(own in record.reports[0].metrics for record in records if record.reports)
    cheap = own if reported else e.metric
    pairs = [pair for record in records if (pair := _pair(e, record, cheap, exact))]
    one, other = np.array(pairs, dtype=float).reshape(-1, 2).T
    correlation = spearman(one, other) if len(pairs) >= FEWEST else math.nan
    place = 0
    if own == cheap == e.metric and pairs:
        costs: Any = cost(other, e.goal)
        place = int((costs < costs[np.argmin(cost(one, e.goal))]).sum()) + 1
    return Agreement(exact, cheap, len(pairs), correlation, *_interval(correlation, len(pairs)), place)


def _pair(e: Evidence, record: TrialRecord, cheap: str, exact: str) -> tuple[float, float] | None:
    """Both measures of a trial's best weights; None where it has not both."""
    goal: Goal = e.goal
    best = best_report(record.reports, e.metric, goal)
    if best is None or record.last is None:
        return None
    pair = best.metrics.get(cheap, math.nan), record.last.metrics.get(exact, math.nan)
    return pair if all(map(math.isfinite, pair)) else None


def _interval(correlation: float, trials: int) -> tuple[float, float]:
    """Fisher's transformation, with the variance 1.06 / (n - 3) of ranks (Fieller et al. 1957); NaN of
    a perfect correlation, which it does not know.
    """
    if not abs(correlation) < 1 - ROUNDED:
        return math.nan, math.nan
    middle, half = math.atanh(correlation), 1.96 * math.sqrt(1.06 / (trials - 3))
    return math.tanh(middle - half), math.tanh(middle + half)

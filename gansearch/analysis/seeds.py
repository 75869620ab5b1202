"""The configurations of a stability study with their seeds, and what each seed counts as.

- a **success** completed with a finite best value; statistics of values are over successes only;
- a **failure** diverged, collapsed, stalled, failed, or completed without a finite value; it lowers the
  success rate, and where all seeds are compared it is worse than any value (two failures tie);
- **blameless** is a seed whose machine died: it counts as nothing;
- **missing** is one that has not ended or not begun.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gansearch.analysis.evidence import Evidence
from gansearch.analysis.statistics import STATISTICS, Interval, interval, success_rate
from gansearch.study.records import Best, Goal, Standing, TrialRecord, cost
from gansearch.study.roster import Candidate

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Seed:
    """One training, as it counts."""

    record: TrialRecord
    best: Best | None
    last: float
    standing: Standing

    @property
    def seed(self) -> int:
        """The seed it was trained with."""
        return int(self.record.config["seed"])


@dataclass(frozen=True)
class Group:
    """A configuration and its seeds.

    Attributes:
        candidate: of the roster.
        goal: of the objective.
        seeds: those that began.
        planned: how many the roster has.
        floor: no value of the metric lies below it.
    """

    candidate: Candidate
    goal: Goal
    seeds: list[Seed]
    planned: int
    floor: float

    @property
    def label(self) -> str:
        """The candidate's label."""
        return self.candidate.label

    def of(self, standing: Standing) -> list[Seed]:
        """The seeds of one standing."""
        return [seed for seed in self.seeds if seed.standing == standing]

    @cached_property
    def successes(self) -> list[Seed]:
        """The seeds that count as successes."""
        return self.of("success")

    @cached_property
    def failures(self) -> list[Seed]:
        """The seeds that count as failures."""
        return self.of("failure")

    @property
    def counted(self) -> int:
        """How many seeds have a say."""
        return len(self.successes) + len(self.failures)

    def interval(self, values: ArrayLike, name: str) -> Interval:
        """A statistic of values of the metric, with an interval that keeps to what it can be."""
        around = interval(values, name)
        low = around.low if around.low is None or name == "sd" else max(around.low, self.floor)
        return replace(around, low=low)

    def describe(self, values: ArrayLike) -> dict[str, Interval]:
        """Every statistic of values of the metric."""
        return {name: self.interval(values, name) for name in STATISTICS}

    @property
    def missing(self) -> int:
        """How many seeds there are still to be."""
        return max(self.planned - self.counted - len(self.of("blameless")), 0)

    @property
    def rate(self) -> Interval:
        """The share of successes."""
        return success_rate(len(self.successes), self.counted)

    @cached_property
    def bests(self) -> Array:
        """Best values of the successes."""
        return np.array([seed.best.value for seed in self.successes if seed.best], float)

    @cached_property
    def costs(self) -> Array:
        """Of all counted seeds: smaller is better, a failure inf."""
        return np.append(cost(self.bests, self.goal), np.full(len(self.failures), math.inf))


def grouped(evidence: Evidence) -> list[Group]:
    """The roster's candidates with their seeds, in the roster's order."""
    seeds: dict[str, list[Seed]] = {c.label: [] for c in evidence.roster.candidates}
    for record in evidence.stability:
        if record.configuration in seeds:
            seeds[record.configuration].append(_seed(record, evidence.metric, evidence.goal))
    planned = Counter(label for label, _ in evidence.roster.entries)
    floor = _floor(evidence)
    return [
        Group(c, evidence.goal, seeds[c.label], planned[c.label], floor)
        for c in evidence.roster.candidates
    ]


def _floor(evidence: Evidence) -> float:
    """0 where the metric was never negative, in any report of the study: a distance of three seeds
    has an interval that would reach below it.
    """
    everything = [*evidence.search, *evidence.stability]
    values = (r.metrics.get(evidence.metric, 0.0) for record in everything for r in record.reports)
    return -math.inf if any(value < 0 for value in values) else 0.0


def _seed(record: TrialRecord, metric: str, goal: Goal) -> Seed:
    best = record.best(metric, goal)
    last = record.last.metrics.get(metric, math.nan) if record.last else math.nan
    return Seed(record, best, last, record.standing(metric, goal))


def frame(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a table with these columns and types; None, NaN and infinities are NA."""
    rows = list(rows)
    data = {
        name: pd.array([_sayable(row.get(name)) for row in rows], dtype=kind)  # type: ignore[call-overload]
        for name, kind in columns.items()
    }
    return pd.DataFrame(data)


def _sayable(value: Any) -> Any:
    return pd.NA if value is None or (isinstance(value, float) and not math.isfinite(value)) else value


def with_bounds(name: str, value: Interval, stem: str | None = None) -> dict[str, float | None]:
    """A value and its bounds as columns: `name`, `stem_low`, `stem_high`."""
    stem = stem or name
    return {name: value.value, f"{stem}_low": value.low, f"{stem}_high": value.high}

"""The stability study as tables: which configurations keep working, and how sure that is.

Every table is made from `Evidence` alone. Columns are nullable (`Float64`, `Int64`, `boolean`,
`string`): what cannot be said is `pd.NA`, and an empty study gives an empty table with its columns.

What a seed counts as:

- a **success** completed with a finite best value; statistics of values are over successes only;
- a **failure** diverged, collapsed, stalled, failed, or completed without a finite value; it lowers the
  success rate, and where all seeds are compared it is worse than any value (two failures tie);
- **blameless** is a seed whose machine died: it counts as nothing;
- **missing** is one that has not ended or not begun.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gansearch.analysis.evidence import Evidence
from gansearch.analysis.statistics import (
    STATISTICS,
    Interval,
    Rank,
    interval,
    performance_profile,
    probabilities_better,
    probability_better,
    ranks,
    ratio_interval,
    success_rate,
    time_to,
)
from gansearch.analysis.wording import listed
from gansearch.errors import UserError, nearest
from gansearch.study.records import Best, Goal, Outcome, TrialRecord
from gansearch.study.roster import Candidate

Array = NDArray[np.float64]
Standing = Literal["success", "failure", "blameless", "missing"]

SCORES = {
    "iqm": "interquartile mean over all seeds: half of the seeds decide, so neither one lucky seed nor "
    "one failure in four does; more failures cannot be ranked by value",
    "median": "median over all seeds: what to expect of one more seed; bears failures up to one half",
    "mean": "mean over all seeds: what papers print, but one bad seed decides; bears no failure",
    "q90": "the value that nine seeds in ten are at least as good as: for those who can train only "
    "once; bears one failure in ten",
    "success": "share of seeds that succeed, and among equals the interquartile mean",
}
"""By what configurations can be ranked, and why. A failure is worse than any value in all of them;
where failures reach into a score, a configuration comes after all that have one, by success rate."""

LATE = 2.0
"""A last value this many times worse than the best is a late collapse."""

BEARABLE = 1.1
"""A tolerance study's question: does the IQM become worse by more than a tenth?"""

THRESHOLDS_SHOWN = 200
"""Thresholds of a performance profile at most; more cannot be seen in a figure."""


@dataclass(frozen=True)
class _Seed:
    """One training, as it counts."""

    record: TrialRecord
    best: Best | None
    last: float
    standing: Standing

    @property
    def seed(self) -> int:
        return int(self.record.config["seed"])


@dataclass(frozen=True)
class _Group:
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
    seeds: list[_Seed]
    planned: int
    floor: float

    @property
    def label(self) -> str:
        return self.candidate.label

    def of(self, standing: Standing) -> list[_Seed]:
        return [seed for seed in self.seeds if seed.standing == standing]

    @cached_property
    def successes(self) -> list[_Seed]:
        return self.of("success")

    @cached_property
    def failures(self) -> list[_Seed]:
        return self.of("failure")

    @property
    def counted(self) -> int:
        return len(self.successes) + len(self.failures)

    def interval(self, values: ArrayLike, name: str) -> Interval:
        """A statistic of values of the metric, with an interval that keeps to what it can be."""
        found = interval(values, name)
        low = found.low if found.low is None or name == "sd" else max(found.low, self.floor)
        return replace(found, low=low)

    def describe(self, values: ArrayLike) -> dict[str, Interval]:
        return {name: self.interval(values, name) for name in STATISTICS}

    @property
    def missing(self) -> int:
        return max(self.planned - self.counted - len(self.of("blameless")), 0)

    @property
    def rate(self) -> Interval:
        return success_rate(len(self.successes), self.counted)

    @cached_property
    def bests(self) -> Array:
        """Best values of the successes."""
        return np.array([seed.best.value for seed in self.successes if seed.best], float)

    @cached_property
    def costs(self) -> Array:
        """Of all counted seeds: smaller is better, a failure inf."""
        sign = 1.0 if self.goal == "min" else -1.0
        return np.append(sign * self.bests, np.full(len(self.failures), math.inf))


def _groups(evidence: Evidence) -> list[_Group]:
    """The roster's candidates with their seeds, in the roster's order."""
    seeds: dict[str, list[_Seed]] = {c.label: [] for c in evidence.roster.candidates}
    for record in evidence.stability:
        if record.configuration in seeds:
            seeds[record.configuration].append(_seed(record, evidence.metric, evidence.goal))
    planned = Counter(label for label, _ in evidence.roster.entries)
    floor = _floor(evidence)
    return [
        _Group(c, evidence.goal, seeds[c.label], planned[c.label], floor)
        for c in evidence.roster.candidates
    ]


def _floor(evidence: Evidence) -> float:
    """0 where the metric was never negative, in any report of the study: a distance of three seeds
    has an interval that would reach below it.
    """
    everything = [*evidence.search, *evidence.stability]
    values = (r.metrics.get(evidence.metric, 0.0) for record in everything for r in record.reports)
    return -math.inf if any(value < 0 for value in values) else 0.0


def _seed(record: TrialRecord, metric: str, goal: Goal) -> _Seed:
    best = record.best(metric, goal)
    last = record.last.metrics.get(metric, math.nan) if record.last else math.nan
    return _Seed(record, best, last, _standing(record, best))


def _standing(record: TrialRecord, best: Best | None) -> Standing:
    if not record.outcome.ended or record.outcome is Outcome.PRUNED:
        return "missing"
    if record.outcome is Outcome.COMPLETED:
        return "success" if best else "failure"
    return "blameless" if record.blameless else "failure"


# --- configurations -------------------------------------------------------------------------------

_CONFIGURATION = {
    "configuration": "string",
    "rank": "Int64",
    "kind": "string",
    "family": "string",
    "trial": "Int64",
    "seeds": "Int64",
    "missing": "Int64",
    "blameless": "Int64",
    "successes": "Int64",
} | dict.fromkeys(
    [
        *("success_rate", "success_low", "success_high"),
        *(f"{m}{end}" for m in STATISTICS for end in ("", "_low", "_high")),
        *(f"last_{m}{end}" for m in STATISTICS for end in ("", "_low", "_high")),
        *(f"late_collapse_rate{end}" for end in ("", "_low", "_high")),
    ],
    "Float64",
)
_CONFIGURATION |= {
    "failures": "string",
    "seconds": "Float64",
    "steps_equal": "boolean",
    "images": "Int64",
    "score": "Float64",
    "rank_low": "Int64",
    "rank_high": "Int64",
    "p_first": "Float64",
}


def configurations(evidence: Evidence, by: str = "iqm") -> pd.DataFrame:
    """One row a configuration, best rank first, indexed by its label.

    Statistics named `iqm`, `median` and so on are of the best values of the successes, `last_...` of
    their last values where these are finite; each has `_low` and `_high`. Also: `seeds` that count,
    `missing` and `blameless` ones; `late_collapse_rate`, among the seeds that had a finite best the
    share whose last value is more than twice it (to be maximised: less than half), or not finite, or
    that ended collapsed or diverged (said only where every best is positive); `failures` in words;
    `seconds`, the median of the successes'; `steps_equal`, whether every success reached the budget;
    `images` seen by a success (the median, should they differ); `score`, in the metric's unit (NA
    where failures reach into it); `rank` with its bootstrap interval, and `p_first`, the probability
    of being first (both from 3 seeds on). Equal configurations share a rank; one without a counted seed
    has none.

    Args:
        evidence: of the study.
        by: one of `SCORES`.

    Raises:
        UserError: an unknown score.
    """
    if by not in SCORES:
        raise UserError(f"no score is called {by!r}{nearest(by, SCORES)}")
    groups = _groups(evidence)
    placed = _ranks(groups, by)
    rows = [_configuration(group, evidence.steps, placed.get(group.label), by) for group in groups]
    rows.sort(key=lambda row: (row["rank"] is None, row["rank"] or 0))
    table = _frame(rows, _CONFIGURATION).set_index("configuration")
    table.attrs["by"] = by
    return table


def _ranks(groups: Sequence[_Group], by: str) -> dict[str, Rank]:
    """By label. Neighbours, there to tell what another configuration bears, are not in the race: the
    best of so many would be a lucky one again.
    """
    ranked = [group for group in groups if group.counted and group.candidate.kind != "around"]
    return dict(zip([g.label for g in ranked], ranks([g.costs for g in ranked], by), strict=True))


def _configuration(group: _Group, steps: int, rank: Rank | None, by: str) -> dict[str, Any]:
    successes = [seed.record for seed in group.successes]
    lasts = [seed.last for seed in group.successes if math.isfinite(seed.last)]
    images = [record.last.images for record in successes if record.last]
    row: dict[str, Any] = {
        "configuration": group.label,
        "rank": rank.rank if rank else None,
        "kind": group.candidate.kind,
        "family": group.candidate.family,
        "trial": group.candidate.trial,
        "seeds": group.counted,
        "missing": group.missing,
        "blameless": len(group.of("blameless")),
        "successes": len(successes),
        **_spread("success_rate", group.rate, "success"),
    }
    for name, value in group.describe(group.bests).items():
        row |= _spread(name, value)
    for name, value in group.describe(lasts).items():
        row |= _spread(f"last_{name}", value)
    row |= _spread("late_collapse_rate", _late_collapses(group))
    return row | {
        "failures": _failures(group.failures),
        "seconds": _median([record.seconds for record in successes]),
        "steps_equal": all(record.step == steps for record in successes) if successes else None,
        "images": round(float(np.median(images))) if images else None,
        "score": _score(group, rank, by),
        "rank_low": rank.low if rank else None,
        "rank_high": rank.high if rank else None,
        "p_first": rank.first if rank else None,
    }


def _score(group: _Group, rank: Rank | None, by: str) -> float | None:
    if by == "success":
        return group.rate.value
    if rank is None or rank.score is None:
        return None
    return rank.score if group.goal == "min" else -rank.score


def _late_collapses(group: _Group) -> Interval:
    """The share of seeds that were good and did not stay so."""
    begun = [(seed, seed.best.value) for seed in group.successes + group.failures if seed.best]
    if any(best <= 0 for _, best in begun):
        return Interval(None)
    late = sum(_fell(seed, best, group.goal) for seed, best in begun)
    return success_rate(late, len(begun))


def _fell(seed: _Seed, best: float, goal: Goal) -> bool:
    if seed.record.outcome in (Outcome.COLLAPSED, Outcome.DIVERGED) or not math.isfinite(seed.last):
        return True
    return seed.last > best * LATE if goal == "min" else seed.last < best / LATE


def _failures(failures: Sequence[_Seed]) -> str:
    """`2 diverged at step 150 and 300, 1 collapsed at step 900: reason`."""
    kinds: dict[str, list[TrialRecord]] = {}
    for seed in failures:
        record = seed.record
        completed = record.outcome is Outcome.COMPLETED
        kind = "completed without a finite value" if completed else record.outcome.value
        kinds.setdefault(kind, []).append(record)
    return ", ".join(_failure(kind, records) for kind, records in kinds.items())


def _failure(kind: str, records: Sequence[TrialRecord]) -> str:
    steps = sorted({record.step for record in records})
    shown = [str(step) for step in steps] if len(steps) <= 4 else [f"{steps[0]} to {steps[-1]}"]
    reasons = Counter(record.reason.splitlines()[0] for record in records if record.reason.strip())
    reason = reasons.most_common(1)[0][0] if reasons else ""
    short = reason if len(reason) <= 80 else f"{reason[:79].rstrip()}…"
    return f"{len(records)} {kind} at step {listed(shown)}" + (f": {short}" if short else "")


# --- between configurations -----------------------------------------------------------------------


def pairs(evidence: Evidence) -> pd.DataFrame:
    """P(a seed of `a` beats a seed of `b`), each two configurations once, in the roster's order."""
    groups = [group for group in _groups(evidence) if group.counted]
    found = probabilities_better([group.costs for group in groups])
    rows = []
    for i, j in sorted(found):
        p, a, b = found[i, j], groups[i], groups[j]
        row = {"a": a.label, "b": b.label, "p": p.value, "low": p.low, "high": p.high}
        rows.append(row | {"n_a": a.counted, "n_b": b.counted})
    columns = {"a": "string", "b": "string"} | dict.fromkeys(("p", "low", "high"), "Float64")
    return _frame(rows, columns | {"n_a": "Int64", "n_b": "Int64"})


def profiles(evidence: Evidence) -> pd.DataFrame:
    """Performance profiles: the share of all seeds at least as good as a threshold, pointwise bounds.

    Thresholds are the values that occur, best first; at most 200 of them, at even quantiles.
    """
    columns = {"configuration": "string"} | dict.fromkeys(
        ("threshold", "share", "low", "high"), "Float64"
    )
    groups = [group for group in _groups(evidence) if group.counted]
    costs = np.unique(np.concatenate([group.costs for group in groups])) if groups else np.array([])
    thresholds = costs[np.isfinite(costs)]
    if len(thresholds) > THRESHOLDS_SHOWN:
        places = np.linspace(0, len(thresholds) - 1, THRESHOLDS_SHOWN).round().astype(int)
        thresholds = thresholds[places]
    if not len(thresholds):
        return _frame([], columns)
    sign = 1.0 if evidence.goal == "min" else -1.0
    parts = []
    for group in groups:
        share, low, high = performance_profile(group.costs, thresholds)
        part = {"threshold": sign * thresholds, "share": share, "low": low, "high": high}
        parts.append(pd.DataFrame({"configuration": group.label, **part}))
    return pd.concat(parts, ignore_index=True).astype(columns)


def thresholds(evidence: Evidence, threshold: float | None = None) -> pd.DataFrame:
    """Steps and seconds until a seed's value is first at least as good as a threshold.

    Medians over seeds with their intervals, by Kaplan and Meier: a failure that had not reached the
    threshold never does, so it is censored at the end of the budget and not where it failed; a seed
    that still runs is censored where it is. NA: fewer than half get there, or it cannot be said.
    `counted` seeds include those that still run; blameless ones are left out.

    Args:
        evidence: of the study.
        threshold: of the objective; None: the median of all confirmed best values, said in
            `attrs["threshold"]` and `attrs["default"]`.
    """
    groups = _groups(evidence)
    bests = np.concatenate([group.bests for group in groups]) if groups else np.array([])
    chosen = float(np.median(bests)) if threshold is None and len(bests) else threshold
    rows = [_time(group, evidence, chosen) for group in groups] if chosen is not None else []
    columns = {
        "configuration": "string",
        "threshold": "Float64",
        "reached": "Int64",
        "counted": "Int64",
    }
    ends = ("median", "low", "high")
    table = _frame(
        rows,
        columns | dict.fromkeys([f"{u}_{e}" for u in ("steps", "seconds") for e in ends], "Float64"),
    )
    table.attrs |= {"threshold": chosen, "default": threshold is None}
    return table


def _time(group: _Group, evidence: Evidence, threshold: float) -> dict[str, Any]:
    steps, seconds, reached = [], [], []
    seeds = [seed for seed in group.seeds if seed.standing != "blameless" and seed.record.reports]
    longest = max((seed.record.seconds for seed in seeds), default=0.0)
    for seed in seeds:
        first = _first_reach(seed.record, evidence, threshold)
        never = first is None and seed.standing == "failure"
        reached.append(first is not None)
        steps.append(first[0] if first else evidence.steps if never else seed.record.step)
        seconds.append(first[1] if first else longest if never else seed.record.seconds)
    row: dict[str, Any] = {"configuration": group.label, "threshold": threshold}
    row |= {"reached": sum(reached), "counted": len(seeds)}
    for unit, times in (("steps", steps), ("seconds", seconds)):
        row |= _spread(f"{unit}_median", time_to(times, reached), unit)
    return row


def _first_reach(record: TrialRecord, evidence: Evidence, threshold: float) -> tuple[int, float] | None:
    for report in record.reports:
        value = report.metrics.get(evidence.metric, math.nan)
        if math.isfinite(value) and (
            value <= threshold if evidence.goal == "min" else value >= threshold
        ):
            return report.step, report.seconds
    return None


# --- the search's word ----------------------------------------------------------------------------


def winners_curse(evidence: Evidence) -> pd.DataFrame:
    """The search's value of each configuration that came from it, beside what its seeds confirm.

    `difference` is the confirmed median less the searched value; `share_of_seeds_as_good`: of all
    counted seeds, failures included, those at least as good as the search's value.
    """
    found = {record.number: record for record in evidence.search}
    rows = []
    for group in _groups(evidence):
        record = found.get(group.candidate.trial) if group.candidate.trial is not None else None
        if group.candidate.kind == "search" and record is not None:
            rows.append(_curse(group, record.best(evidence.metric, evidence.goal)))
    columns = {"configuration": "string", "trial": "Int64", "searched": "Float64"}
    columns |= dict.fromkeys(
        [f"{m}{end}" for m in ("median", "iqm") for end in ("", "_low", "_high")], "Float64"
    )
    shares = dict.fromkeys(("difference", "share_of_seeds_as_good"), "Float64")
    return _frame(rows, columns | shares | {"seeds": "Int64"})


def _curse(group: _Group, searched: Best | None) -> dict[str, Any]:
    median, iqm = group.interval(group.bests, "median"), group.interval(group.bests, "iqm")
    value = searched.value if searched else None
    known = value is not None and median.value is not None
    cost = math.inf if value is None else value if group.goal == "min" else -value
    return {
        "configuration": group.label,
        "trial": group.candidate.trial,
        "searched": value,
        **_spread("median", median),
        **_spread("iqm", iqm),
        "difference": median.value - value if known else None,  # type: ignore[operator]
        "share_of_seeds_as_good": float(np.mean(group.costs <= cost))
        if value is not None and group.counted
        else None,
        "seeds": group.counted,
    }


# --- tolerance ------------------------------------------------------------------------------------

BEARS, SUFFERS, UNDECIDED = "bears it", "suffers", "undecided"

_TOLERANCE = (
    {"of": "string", "axis": "string", "factor": "Float64", "value": "Float64", "seeds": "Int64"}
    | dict.fromkeys(("success_rate", "success_low", "success_high"), "Float64")
    | dict.fromkeys(("iqm", "iqm_low", "iqm_high"), "Float64")
    | dict.fromkeys(("ratio", "ratio_low", "ratio_high"), "Float64")
    | dict.fromkeys(("p_beats_centre", "p_low", "p_high"), "Float64")
    | {"verdict": "string"}
)


def tolerance(evidence: Evidence) -> pd.DataFrame:
    """What becomes of a configuration when one of its values is multiplied by a factor.

    One row a factor, the centre among them at 1, sorted by `of`, `axis` and factor. `ratio` is the
    row's IQM over the centre's (to be maximised: the centre's over the row's), so above 1 is worse; it
    is said for positive values only. `verdict`, NA for the centre:

    - `suffers`: the interval of the ratio lies wholly above 1.1, or that of the success rate wholly
      below the centre's;
    - `bears it`: the interval of the ratio lies wholly below 1.1, and the success rate is not below the
      interval of the centre's;
    - `undecided` otherwise: more seeds would tell.
    """
    groups = {group.label: group for group in _groups(evidence)}
    around = [group for group in groups.values() if group.candidate.kind == "around"]
    arms: dict[tuple[str, str], list[_Group]] = {}
    for group in around:
        if group.candidate.of in groups:
            arms.setdefault((group.candidate.of, group.candidate.axis), []).append(group)
    rows = []
    for (of, axis), members in arms.items():
        centre = groups[of]
        row = {"of": of, "axis": axis, "factor": 1.0} | _measured(centre, axis)
        rows.append(row | {"ratio": 1.0 if row["iqm"] is not None else None})
        rows += [_borne(group, centre) for group in members]
    table = _frame(rows, _TOLERANCE)
    return table.sort_values(["of", "axis", "factor"], ignore_index=True)


def _measured(group: _Group, axis: str) -> dict[str, Any]:
    return {
        "value": _value_at(group.candidate.config, axis),
        "seeds": group.counted,
        **_spread("success_rate", group.rate, "success"),
        **_spread("iqm", group.interval(group.bests, "iqm")),
    }


def _borne(group: _Group, centre: _Group) -> dict[str, Any]:
    candidate = group.candidate
    worse, than = (group.bests, centre.bests) if group.goal == "min" else (centre.bests, group.bests)
    ratio = ratio_interval(worse, than)
    beats = probability_better(group.costs, centre.costs)
    return {
        "of": candidate.of,
        "axis": candidate.axis,
        "factor": candidate.factor,
        **_measured(group, candidate.axis),
        **_spread("ratio", ratio),
        **_spread("p_beats_centre", beats, "p"),
        "verdict": _verdict(ratio, group.rate, centre.rate),
    }


def _verdict(ratio: Interval, rate: Interval, centre: Interval) -> str:
    if rate.value is None or centre.value is None:
        return UNDECIDED
    if rate.high < centre.low or (ratio.low is not None and ratio.low > BEARABLE):  # type: ignore[operator]
        return SUFFERS
    as_often = rate.value >= centre.low  # type: ignore[operator]
    return BEARS if as_often and ratio.high is not None and ratio.high < BEARABLE else UNDECIDED


def _value_at(config: Mapping[str, Any], path: str) -> float | None:
    """The number at a dotted path of a configuration, or None."""
    node: Any = config
    for key in path.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return float(node) if isinstance(node, int | float) and not isinstance(node, bool) else None


def bears(evidence: Evidence) -> pd.DataFrame:
    """How far each value of a configuration can be moved: the widest unbroken range of factors borne.

    Columns: `of`, `axis`, `low` and `high` (factors; 1 where nothing on that side is borne),
    `value_low` and `value_high` (what the axis is there), and the same in `words`.
    """
    rows = []
    for (of, axis), arm in tolerance(evidence).groupby(["of", "axis"], sort=False):
        below, above = arm[arm["factor"] < 1][::-1], arm[arm["factor"] > 1]
        low, high = _reach(below), _reach(above)
        values = arm.set_index("factor")["value"]
        row = {"of": of, "axis": axis, "low": low, "high": high}
        row |= {"value_low": values[low], "value_high": values[high]}
        rows.append(row | {"words": _in_words(low, high, row["value_low"], row["value_high"], arm)})
    columns = {"of": "string", "axis": "string"}
    columns |= dict.fromkeys(("low", "high", "value_low", "value_high"), "Float64")
    return _frame(rows, columns | {"words": "string"})


def _reach(side: pd.DataFrame) -> float:
    """The factor farthest from 1 up to which every one is borne; `side` begins next to 1."""
    reach = 1.0
    for factor, verdict in zip(side["factor"], side["verdict"], strict=True):
        if verdict != BEARS:
            break
        reach = float(factor)
    return reach


def _in_words(low: float, high: float, value_low: Any, value_high: Any, arm: pd.DataFrame) -> str:
    if low == high:
        text = "no tested change is surely borne"
    else:
        text = f"bears {low:g} to {high:g} times"
        if not pd.isna(value_low) and not pd.isna(value_high):
            text += f" ({min(value_low, value_high):g} to {max(value_low, value_high):g})"
    for verdict in (SUFFERS, UNDECIDED):
        factors = [f"{factor:g}" for factor in arm.loc[arm["verdict"] == verdict, "factor"]]
        if factors:
            text += f"; {verdict} at {listed(factors)}"
    return text


# --- seeds ----------------------------------------------------------------------------------------


def seeds(evidence: Evidence) -> pd.DataFrame:
    """One row a seed that began, by configuration in the roster's order; non-finite values are NA."""
    rows = []
    for group in _groups(evidence):
        for seed in group.seeds:
            record = seed.record
            rows.append(
                {
                    "configuration": group.label,
                    "seed": seed.seed,
                    "number": record.number,
                    "outcome": record.outcome.value,
                    "counts": seed.standing,
                    "reason": record.reason,
                    "step": record.step,
                    "best": seed.best.value if seed.best else None,
                    "best_step": seed.best.step if seed.best else None,
                    "last": seed.last,
                    "seconds": record.seconds,
                    "images": record.last.images if record.last else None,
                }
            )
    text = dict.fromkeys(("outcome", "counts", "reason"), "string")
    columns = {"configuration": "string", "seed": "Int64", "number": "Int64"} | text
    columns |= {"step": "Int64", "best": "Float64", "best_step": "Int64", "last": "Float64"}
    return _frame(rows, columns | {"seconds": "Float64", "images": "Int64"})


# --- tables ---------------------------------------------------------------------------------------


def _frame(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a table with these columns and types; None, NaN and infinities are NA."""
    rows = list(rows)
    data = {
        name: pd.array([_sayable(row.get(name)) for row in rows], dtype=kind)  # type: ignore[call-overload]
        for name, kind in columns.items()
    }
    return pd.DataFrame(data)


def _sayable(value: Any) -> Any:
    return pd.NA if value is None or (isinstance(value, float) and not math.isfinite(value)) else value


def _spread(name: str, value: Interval, stem: str | None = None) -> dict[str, float | None]:
    """A value and its bounds as columns: `name`, `stem_low`, `stem_high`."""
    stem = stem or name
    return {name: value.value, f"{stem}_low": value.low, f"{stem}_high": value.high}


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None

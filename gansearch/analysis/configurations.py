"""The stability study as tables: which configurations keep working, and how sure that is.

Every table is made from `Evidence` alone. Columns are nullable (`Float64`, `Int64`, `boolean`,
`string`): what cannot be said is `pd.NA`, and an empty study gives an empty table with its columns.
What a seed counts as stands in `groups`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gansearch.analysis.comparisons import Rank, performance_profile, probabilities_better, ranks
from gansearch.analysis.evidence import Evidence
from gansearch.analysis.expectations import time_to
from gansearch.analysis.seeds import Group, Seed, frame, grouped, with_bounds
from gansearch.analysis.statistics import STATISTICS, Interval, success_rate
from gansearch.errors import UserError, listed, nearest
from gansearch.search.selection import of_trial
from gansearch.study.records import Best, Goal, Outcome, TrialRecord, cost, ranked, worse_by
from gansearch.study.starting import Given

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

THRESHOLDS_SHOWN = 200
"""Thresholds of a performance profile at most; more cannot be seen in a figure."""


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
    groups = grouped(evidence)
    placed = _ranks(groups, by)
    rows = [_configuration(group, evidence.steps, placed.get(group.label), by) for group in groups]
    rows.sort(key=lambda row: (row["rank"] is None, row["rank"] or 0))
    table = frame(rows, _CONFIGURATION).set_index("configuration")
    table.attrs["by"] = by
    return table


def best_label(evidence: Evidence) -> str:
    """The best configuration by confirmed rank, else the number of the search's best trial; "" where
    none has a value.
    """
    best = [*_confirmed(configurations(evidence)), *(str(r.number) for r in best_trials(evidence))]
    return best[0] if best else ""


def best_first(evidence: Evidence) -> Given:
    """A study's configurations with what they are called: by confirmed rank those that succeeded when
    they were trained again, then the search's other trials by their best report. What was trained again
    and never succeeded is not among them: the search was lucky with it.
    """
    table = configurations(evidence)
    ranked_again = {evidence.roster[str(label)].digest for label in table.index[table["rank"].notna()]}
    again = [(label, evidence.roster[label].config) for label in _confirmed(table)]
    others = [r for r in best_trials(evidence) if of_trial(r).digest not in ranked_again]
    found = [*again, *((f"trial {record.number}", record.config) for record in others)]
    return [(f"{evidence.name} {label}", config) for label, config in found]


def _confirmed(table: pd.DataFrame) -> list[str]:
    """The labels of those that succeeded, best rank first."""
    placed = table[table["rank"].notna()]
    return [str(label) for label, successes in placed["successes"].items() if successes]


def best_trials(evidence: Evidence) -> list[TrialRecord]:
    """The search's trials that have a value, the best first."""
    metric, goal = evidence.metric, evidence.goal
    return [record for record in ranked(evidence.search, metric, goal) if record.best(metric, goal)]


def _ranks(groups: Sequence[Group], by: str) -> dict[str, Rank]:
    """By label. Neighbours, there to tell what another configuration bears, are not in the race: the
    best of so many would be a lucky one again.
    """
    racing = [group for group in groups if group.counted and group.candidate.kind != "around"]
    return dict(zip([g.label for g in racing], ranks([g.costs for g in racing], by), strict=True))


def _configuration(group: Group, steps: int, rank: Rank | None, by: str) -> dict[str, Any]:
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
        **with_bounds("success_rate", group.rate, "success"),
    }
    for name, value in group.describe(group.bests).items():
        row |= with_bounds(name, value)
    for name, value in group.describe(lasts).items():
        row |= with_bounds(f"last_{name}", value)
    row |= with_bounds("late_collapse_rate", _late_collapses(group))
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


def _score(group: Group, rank: Rank | None, by: str) -> float | None:
    if by == "success":
        return group.rate.value
    if rank is None or rank.score is None:
        return None
    return cost(rank.score, group.goal)


def _late_collapses(group: Group) -> Interval:
    """The share of seeds that were good and did not stay so."""
    begun = [(seed, seed.best.value) for seed in group.successes + group.failures if seed.best]
    if any(best <= 0 for _, best in begun):
        return Interval(None)
    late = sum(_fell(seed, best, group.goal) for seed, best in begun)
    return success_rate(late, len(begun))


def _fell(seed: Seed, best: float, goal: Goal) -> bool:
    if seed.record.outcome in (Outcome.COLLAPSED, Outcome.DIVERGED) or not math.isfinite(seed.last):
        return True
    return worse_by(seed.last, best, LATE, goal)


def _failures(failures: Sequence[Seed]) -> str:
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
    groups = [group for group in grouped(evidence) if group.counted]
    chances = probabilities_better([group.costs for group in groups])
    rows = []
    for i, j in sorted(chances):
        p, a, b = chances[i, j], groups[i], groups[j]
        row = {"a": a.label, "b": b.label, "p": p.value, "low": p.low, "high": p.high}
        rows.append(row | {"n_a": a.counted, "n_b": b.counted})
    columns = {"a": "string", "b": "string"} | dict.fromkeys(("p", "low", "high"), "Float64")
    return frame(rows, columns | {"n_a": "Int64", "n_b": "Int64"})


def profiles(evidence: Evidence) -> pd.DataFrame:
    """Performance profiles: the share of all seeds at least as good as a threshold, pointwise bounds.

    Thresholds are the values that occur, best first; at most 200 of them, at even quantiles.
    """
    columns = {"configuration": "string"} | dict.fromkeys(
        ("threshold", "share", "low", "high"), "Float64"
    )
    groups = [group for group in grouped(evidence) if group.counted]
    costs = np.unique(np.concatenate([group.costs for group in groups])) if groups else np.array([])
    thresholds = costs[np.isfinite(costs)]
    if len(thresholds) > THRESHOLDS_SHOWN:
        shown = np.linspace(0, len(thresholds) - 1, THRESHOLDS_SHOWN).round().astype(int)
        thresholds = thresholds[shown]
    if not len(thresholds):
        return frame([], columns)
    parts = []
    for group in groups:
        share, low, high = performance_profile(group.costs, thresholds)
        part = {"threshold": cost(thresholds, evidence.goal), "share": share, "low": low, "high": high}
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
    groups = grouped(evidence)
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
    table = frame(
        rows,
        columns | dict.fromkeys([f"{u}_{e}" for u in ("steps", "seconds") for e in ends], "Float64"),
    )
    table.attrs |= {"threshold": chosen, "default": threshold is None}
    return table


def _time(group: Group, evidence: Evidence, threshold: float) -> dict[str, Any]:
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
        row |= with_bounds(f"{unit}_median", time_to(times, reached), unit)
    return row


def _first_reach(record: TrialRecord, evidence: Evidence, threshold: float) -> tuple[int, float] | None:
    for report in record.reports:
        value = report.metrics.get(evidence.metric, math.nan)
        if math.isfinite(value) and cost(value, evidence.goal) <= cost(threshold, evidence.goal):
            return report.step, report.seconds
    return None


# --- the search's word ----------------------------------------------------------------------------


def winners_curse(evidence: Evidence) -> pd.DataFrame:
    """The search's value of each configuration that came from it, beside what its seeds confirm.

    `difference` is the confirmed median less the searched value; `share_of_seeds_as_good`: of all
    counted seeds, failures included, those at least as good as the search's value.
    """
    by_number = {record.number: record for record in evidence.search}
    rows = []
    for group in grouped(evidence):
        record = by_number.get(group.candidate.trial) if group.candidate.trial is not None else None
        if group.candidate.kind == "search" and record is not None:
            rows.append(_curse(group, record.best(evidence.metric, evidence.goal)))
    columns = {"configuration": "string", "trial": "Int64", "searched": "Float64"}
    columns |= dict.fromkeys(
        [f"{m}{end}" for m in ("median", "iqm") for end in ("", "_low", "_high")], "Float64"
    )
    shares = dict.fromkeys(("difference", "share_of_seeds_as_good"), "Float64")
    return frame(rows, columns | shares | {"seeds": "Int64"})


def _curse(group: Group, searched: Best | None) -> dict[str, Any]:
    median, iqm = group.interval(group.bests, "median"), group.interval(group.bests, "iqm")
    value = searched.value if searched else None
    known = value is not None and median.value is not None
    aimed = math.inf if value is None else cost(value, group.goal)
    return {
        "configuration": group.label,
        "trial": group.candidate.trial,
        "searched": value,
        **with_bounds("median", median),
        **with_bounds("iqm", iqm),
        "difference": median.value - value if known else None,  # type: ignore[operator]
        "share_of_seeds_as_good": float(np.mean(group.costs <= aimed))
        if value is not None and group.counted
        else None,
        "seeds": group.counted,
    }


# --- seeds ----------------------------------------------------------------------------------------


def seeds(evidence: Evidence) -> pd.DataFrame:
    """One row a seed that began, by configuration in the roster's order; non-finite values are NA."""
    rows = []
    for group in grouped(evidence):
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
    return frame(rows, columns | {"seconds": "Float64", "images": "Int64"})


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None

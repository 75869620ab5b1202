"""A study's trials as tables, and its state in one dictionary."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from gansearch.analysis.chances import second_chances
from gansearch.analysis.evidence import Evidence
from gansearch.analysis.wording import duration, share
from gansearch.errors import listed
from gansearch.journal.facts import DASHBOARD, OVER
from gansearch.study.records import Goal, Outcome, TrialRecord, columns_of, ranked, table_row


def trials_table(records: Sequence[TrialRecord], metric: str, goal: Goal) -> pd.DataFrame:
    """One row a trial, best first: the columns of `trials.csv`, indexed by the trial's number."""
    rows = [table_row(record, metric, goal) for record in ranked(list(records), metric, goal)]
    columns = columns_of(rows) or ["number", "outcome", "reason", "step", "best_step", "seconds"]
    return pd.DataFrame(rows, columns=columns).set_index("number")


def curves_table(records: Sequence[TrialRecord]) -> pd.DataFrame:
    """One row a report: number, step, images, seconds, and every metric."""
    rows = [
        {
            "number": record.number,
            "step": report.step,
            "images": report.images,
            "seconds": report.seconds,
            **report.metrics,
        }
        for record in records
        for report in record.reports
    ]
    columns = None if rows else ["number", "step", "images", "seconds"]
    return pd.DataFrame(rows, columns=columns)


ENDINGS = {
    Outcome.RUNNING: "are running",
    Outcome.PAUSED: "are paused",
    Outcome.PRUNED: "were pruned",
    Outcome.INTERRUPTED: "were interrupted",
}
"""What to say of trials where it is not their outcome's own name."""


def costs(records: Sequence[TrialRecord], *, held: float = 1.0) -> pd.DataFrame:
    """What trials have cost by how they ended, the dearest first; indexed by the outcome.

    Columns: trials, device_seconds, share (of all device-seconds; missing where there are none yet).
    A trial's time is that up to its last report: what it spent after that is not known.

    Args:
        records: the trials, of the search, its stability study or both.
        held: devices that one of them holds: `resources.gpus` (0.25 is a quarter of one), or
            `resources.cpus` where it holds no GPU.
    """
    trials = Counter(record.outcome.value for record in records)
    seconds = dict.fromkeys(trials, 0.0)
    for record in records:
        seconds[record.outcome.value] += held * record.seconds
    total = sum(seconds.values()) or math.nan
    rows = [
        {"outcome": outcome, "trials": trials[outcome], "device_seconds": spent, "share": spent / total}
        for outcome, spent in sorted(seconds.items(), key=lambda item: -item[1])
    ]
    columns = ["outcome", "trials", "device_seconds", "share"]
    return pd.DataFrame(rows, columns=columns).set_index("outcome")


def cost_words(table: pd.DataFrame) -> str:
    """What `costs` gave in a sentence: `12 h of device time went to trials that completed (62 %) and
    diverged (38 %)`; empty where nothing has been spent.
    """
    total = table["device_seconds"].sum()
    told = [
        f"{ENDINGS.get(outcome, outcome)} ({'under 1 %' if part < 0.01 else share(part)})"
        for outcome, part in zip(table.index, table["share"], strict=True)
        if part > 0
    ]
    return f"{duration(total)} of device time went to trials that {listed(told)}" if told else ""


def lanes(records: Sequence[TrialRecord], *, held: float = 1.0) -> pd.DataFrame:
    """What trials have cost by how many were trained as one, the dearest first.

    Columns: lanes (1: a training by itself), compiled (whether by compiled code), reports,
    device_seconds (a trial's are its share of those of all that were trained with it), share.

    Args:
        records: the trials.
        held: as for `costs`.
    """
    reports: Counter[tuple[int, bool]] = Counter()
    seconds: dict[tuple[int, bool], float] = defaultdict(float)
    for record in records:
        before = 0.0
        for report in record.reports:
            key = int(report.metrics.get("lanes", 1)), bool(report.metrics.get("compiled"))
            reports[key] += 1
            seconds[key] += held * (report.seconds - before)
            before = report.seconds
    total = sum(seconds.values()) or math.nan
    rows = [
        {
            "lanes": count,
            "compiled": compiled,
            "reports": reports[count, compiled],
            "device_seconds": spent,
            "share": spent / total,
        }
        for (count, compiled), spent in sorted(seconds.items(), key=lambda item: -item[1])
    ]
    return pd.DataFrame(rows, columns=["lanes", "compiled", "reports", "device_seconds", "share"])


def lanes_words(table: pd.DataFrame) -> str:
    """What `lanes` gave in a sentence: `of the device time 80 % trained 8 trials as one and 20 % one by
    itself`; empty where each was by itself and nothing was compiled.
    """
    rows = zip(table["lanes"], table["compiled"], table["share"], strict=True)
    told = [_packed(*row) for row in rows if row[2] > 0]
    plain = not (table["lanes"] > 1).any() and not table["compiled"].any()
    return "" if plain or not told else f"of the device time {listed(told)}"


def _packed(lanes: int, compiled: bool, part: float) -> str:
    much = "under 1 %" if part < 0.01 else share(part)
    what = f"{lanes} trials as one" if lanes > 1 else "one by itself"
    return f"{much} trained {what}" + (" and compiled" if compiled else "")


def state_of(records: Sequence[TrialRecord], total: int, *, running: bool) -> str:
    """`running`, `finished`, or `interrupted` (by Ctrl-C, a crash or a cut power line)."""
    if running:
        return "running"
    ended = sum(record.outcome.ended for record in records)
    return "finished" if ended >= total else "interrupted"


def status(evidence: Evidence) -> dict[str, Any]:
    """The state of a study as plain values; `gansearch status --json` prints it.

    Keys: study, state, dashboard (where Ray's shows the driver, or ""), objective {metric, goal}, over
    (why the search ended before it had all its trials, or ""), counts {outcome: n}, trials (by number;
    each number, origin, outcome, reason, step, params, metrics (last), best {step, value, metrics} or
    None, seconds, usage (last), mlflow_run_id, and chances, its pauses: {step, paused, woken}, why and
    why it went on), best (the best trial's entry, or None), second_chances (None, or as
    `second_chances` gives it), stability (None, or counts, planned, failures, each with number,
    configuration, outcome and reason, and for each of its configurations label, seeds and counts),
    costs (by outcome, and in words), lanes (device-seconds by how many trials were trained as one, in
    words too, and `apart`, why some run alone or uncompiled).
    """
    records, metric, goal = evidence.search, evidence.metric, evidence.goal
    everything = [*records, *evidence.stability]
    spent = costs(everything, held=evidence.devices)
    packed = lanes(everything, held=evidence.devices)
    # A stability study that is asked for and has not begun counts as one trial that has not ended.
    planned = evidence.planned + max(len(evidence.roster.entries), int(evidence.wants_stability))
    state = state_of(everything, planned, running=evidence.running)
    entries = {record.number: _entry(record, metric, goal) for record in records}
    first = ranked(records, metric, goal)[0] if records else None
    best = entries[first.number] if first else None
    return {
        "study": evidence.name,
        "state": state,
        "dashboard": evidence.facts.get(DASHBOARD, "") if state == "running" else "",
        "objective": {"metric": metric, "goal": goal},
        "over": (evidence.facts.get(OVER) or {}).get("reason", ""),
        "counts": dict(Counter(record.outcome.value for record in records)),
        "trials": list(entries.values()),
        "best": best if best and best["best"] else None,
        "second_chances": second_chances(records, metric, goal),
        "stability": _stability(evidence),
        "costs": {"outcomes": spent.reset_index().to_dict("records"), "words": cost_words(spent)},
        "lanes": {
            "shares": packed.to_dict("records"),
            "words": lanes_words(packed),
            "apart": list(evidence.apart),
        },
    }


def _stability(evidence: Evidence) -> dict[str, Any] | None:
    """How far the seeds of each configuration are, or None where nothing is trained again."""
    roster = evidence.roster
    if not roster.entries:
        return None
    groups: dict[str, list[TrialRecord]] = {each.label: [] for each in roster.candidates}
    for record in evidence.stability:
        groups[record.configuration].append(record)
    planned = Counter(label for label, _ in roster.entries)
    return {
        "counts": dict(Counter(record.outcome.value for record in evidence.stability)),
        "planned": len(roster.entries),
        "failures": [
            {
                "number": record.number,
                "configuration": record.configuration,
                "outcome": record.outcome.value,
                "reason": record.reason,
            }
            for record in evidence.stability
            if record.outcome.unhealthy or record.outcome is Outcome.FAILED
        ],
        "configurations": [
            {
                "label": label,
                "seeds": planned[label],
                "counts": dict(Counter(record.outcome.value for record in records)),
            }
            for label, records in groups.items()
        ],
    }


def _entry(record: TrialRecord, metric: str, goal: Goal) -> dict[str, Any]:
    best = record.best(metric, goal)
    return {
        "number": record.number,
        "origin": record.origin,
        "outcome": record.outcome.value,
        "reason": record.reason,
        "step": record.step,
        "params": record.params,
        "metrics": record.last.metrics if record.last else {},
        "best": {"step": best.step, "value": best.value, "metrics": best.metrics} if best else None,
        "seconds": round(record.seconds, 3),
        "usage": dict(record.last.usage) if record.last else {},
        "mlflow_run_id": record.mlflow_run_id,
        "chances": [asdict(chance) for chance in record.chances],
    }

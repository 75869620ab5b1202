"""A study's trials as tables, and its state in one dictionary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from gansearch.journal import Journal
from gansearch.study.directory import StudyDirectory
from gansearch.study.records import Goal, Outcome, TrialRecord, ranked, table_row


def trials_table(records: Sequence[TrialRecord], metric: str, goal: Goal) -> pd.DataFrame:
    """One row a trial, best first: the columns of `trials.csv`, indexed by the trial's number."""
    rows = [table_row(record, metric, goal) for record in ranked(list(records), metric, goal)]
    columns = None if rows else ["number", "outcome", "reason", "step", "best_step", "seconds"]
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


def state_of(directory: StudyDirectory, records: Sequence[TrialRecord], total: int) -> str:
    """`running`, `finished`, or `interrupted` (by Ctrl-C, a crash or a cut power line)."""
    if directory.is_held():
        return "running"
    ended = sum(record.outcome.ended for record in records)
    return "finished" if ended >= total else "interrupted"


def status(directory: StudyDirectory, journal: Journal, total: int) -> dict[str, Any]:
    """The state of a study as plain values; `gansearch status --json` prints it.

    Keys: study, state, objective {metric, goal}, counts {outcome: n}, trials (by number; each
    number, outcome, reason, step, params, metrics (last), best {step, value, metrics} or None,
    seconds, mlflow_run_id), best (the best trial's entry, or None).
    """
    records = journal.trials()
    state = state_of(directory, records, total)
    for record in records:  # a driver that was killed could not say so
        if state != "running" and not record.outcome.ended:
            record.outcome = Outcome.INTERRUPTED
    metric, goal = journal.metric, journal.goal
    entries = {record.number: _entry(record, metric, goal) for record in records}
    first = ranked(records, metric, goal)[0] if records else None
    best = entries[first.number] if first else None
    return {
        "study": directory.name,
        "state": state,
        "objective": {"metric": metric, "goal": goal},
        "counts": dict(Counter(record.outcome.value for record in records)),
        "trials": list(entries.values()),
        "best": best if best and best["best"] else None,
    }


def _entry(record: TrialRecord, metric: str, goal: Goal) -> dict[str, Any]:
    best = record.best(metric, goal)
    return {
        "number": record.number,
        "outcome": record.outcome.value,
        "reason": record.reason,
        "step": record.step,
        "params": record.params,
        "metrics": record.last.metrics if record.last else {},
        "best": {"step": best.step, "value": best.value, "metrics": best.metrics} if best else None,
        "seconds": round(record.seconds, 3),
        "mlflow_run_id": record.mlflow_run_id,
    }

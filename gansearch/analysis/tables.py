"""A study's trials as tables, and its state in one dictionary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from gansearch.analysis.evidence import Evidence, gather
from gansearch.journal import Journal
from gansearch.study.directory import StudyDirectory
from gansearch.study.document import parse_document
from gansearch.study.records import Goal, TrialRecord, ranked, table_row


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


def status(directory: StudyDirectory, journal: Journal, storage: str | None = None) -> dict[str, Any]:
    """The state of a study as plain values; `gansearch status --json` prints it.

    Keys: study, state, objective {metric, goal}, counts {outcome: n}, trials (by number; each
    number, outcome, reason, step, params, metrics (last), best {step, value, metrics} or None,
    seconds, mlflow_run_id), best (the best trial's entry, or None), stability (None, or counts,
    planned, and for each of its configurations label, seeds and counts).
    """
    evidence = gather(directory, journal, storage)
    records, metric, goal = evidence.search, journal.metric, journal.goal
    everything = [*records, *evidence.stability]
    planned = evidence.planned + max(len(evidence.roster.entries), _asked_for(journal))
    state = state_of(directory, everything, planned)
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
        "stability": _stability(evidence),
    }


def _asked_for(journal: Journal) -> int:
    """1 where the study file asks for a stability study, which may not have begun."""
    return int(bool(parse_document(journal.facts["study"], "study.yaml").tree.get("stability")))


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
        "outcome": record.outcome.value,
        "reason": record.reason,
        "step": record.step,
        "params": record.params,
        "metrics": record.last.metrics if record.last else {},
        "best": {"step": best.step, "value": best.value, "metrics": best.metrics} if best else None,
        "seconds": round(record.seconds, 3),
        "mlflow_run_id": record.mlflow_run_id,
    }

"""A trial's record in MLflow's terms. Pure: no MLflow here, and the same record gives the same run.

NaN and infinities are not sent as numbers: MLflow stores infinity as 1.8e308, and its pages drop a
whole curve whose last value is NaN. A curve ends at its last finite point instead, and the tag
`gansearch.nonfinite` names the others (`loss.g@300=inf`). Names and values too long are cut.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gansearch.study.config import digest, flatten
from gansearch.study.records import Goal, Outcome, Report, TrialRecord, better

Status = Literal["RUNNING", "FINISHED", "KILLED", "FAILED"]

STATUS: dict[Outcome, Status] = {
    Outcome.RUNNING: "RUNNING",
    Outcome.COMPLETED: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.INTERRUPTED: "KILLED",
    Outcome.DIVERGED: "FAILED",
    Outcome.COLLAPSED: "FAILED",
    Outcome.STALLED: "FAILED",
    Outcome.FAILED: "FAILED",
}
"""MLflow has three ways to end; the run's name and the tag `gansearch.outcome` tell the rest."""

COLOUR = {
    Outcome.PRUNED: "#b0b0b0",
    Outcome.DIVERGED: "#d62728",
    Outcome.COLLAPSED: "#ff7f0e",
    Outcome.STALLED: "#9467bd",
    Outcome.FAILED: "#000000",
}
"""A run's dot and curves in MLflow's charts; the others keep those MLflow gives them."""

TRIAL, OUTCOME, NOTE = "gansearch.trial", "gansearch.outcome", "mlflow.note.content"
REPORTS, CONFIG = "gansearch.reports", "gansearch.config"
LONGEST_KEY, LONGEST_PARAM, LONGEST_TAG = 250, 6000, 5000


@dataclass(frozen=True)
class Point:
    """One value of one curve; the same point sent twice is one point in MLflow."""

    name: str
    value: float
    time_ms: int
    step: int


@dataclass(frozen=True)
class Run:
    """What MLflow's run of a trial is to look like."""

    number: int
    name: str
    status: Status
    tags: dict[str, str]
    params: dict[str, str]
    reports: list[Report]
    start_ms: int | None
    end_ms: int | None

    def points(self, first: int, metric: str, goal: Goal) -> list[Point]:
        """The curves' points from report number `first` on, the running best among them."""
        return [
            Point(_key(name), value, _ms(report.time), report.step)
            for report, values in _with_best(self.reports, metric, goal)[first:]
            for name, value in values.items()
            if math.isfinite(value)
        ]


def translate(record: TrialRecord) -> Run:
    """The run of a record; the record may grow meanwhile."""
    reports = record.reports[:]
    outcome, reason = record.outcome, record.reason
    first, last = (reports[0], reports[-1]) if reports else (None, None)
    return Run(
        number=record.number,
        name=run_name(record.number, outcome),
        status=STATUS[outcome],
        tags=_tags(record, outcome, reason, reports),
        params={_key(k): _param(v) for k, v in flatten(record.config).items()},
        reports=reports,
        start_ms=_ms(first.time - first.seconds) if first else None,
        end_ms=_ms(last.time) if last else None,
    )


def run_name(number: int, outcome: Outcome) -> str:
    """`0007 diverged`: what became of a trial is to be seen wherever MLflow names its run."""
    return f"{number:04d}" if outcome is Outcome.RUNNING else f"{number:04d} {outcome.value}"


def cut(text: str, length: int = LONGEST_TAG) -> str:
    """Text of at most `length` characters, an ellipsis where it was longer."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _tags(record: TrialRecord, outcome: Outcome, reason: str, reports: list[Report]) -> dict[str, str]:
    where = f" at step {reports[-1].step}" if reports else ""
    tags = {
        TRIAL: str(record.number),
        OUTCOME: outcome.value,
        "gansearch.reason": reason,
        NOTE: f"{outcome.value}{where}" + (f": {reason}" if reason else ""),
    }
    if colour := COLOUR.get(outcome):
        tags["mlflow.runColor"] = colour
    if nonfinite := ", ".join(_nonfinite(reports)):
        tags["gansearch.nonfinite"] = nonfinite
    for metric, origin in record.provenance.items():
        tags[_key(f"provenance.{metric}")] = json.dumps(origin, sort_keys=True, default=str)
    # Last, because they say that what comes before them is there.
    tags |= {CONFIG: digest(record.config), REPORTS: str(len(reports))}
    return {key: cut(value) for key, value in tags.items()}


def _nonfinite(reports: list[Report]) -> Iterator[str]:
    for report in reports:
        for name, value in report.metrics.items():
            if not math.isfinite(value):
                yield f"{name}@{report.step}={value}"


def _with_best(
    reports: list[Report], metric: str, goal: Goal
) -> list[tuple[Report, Mapping[str, float]]]:
    """Each report with all it has to show; MLflow's table, of last values, sorts by best so far."""
    rows: list[tuple[Report, Mapping[str, float]]] = []
    best: dict[str, float] = {}
    for report in reports:
        value = report.metrics.get(metric, math.nan)
        if better(value, best.get(f"best.{metric}"), goal):
            best = {f"best.{metric}": value, "best.step": float(report.step)}
        progress = {"images": float(report.images), "seconds": report.seconds}
        rows.append((report, {**report.metrics, **progress, **best}))
    return rows


def _key(name: str) -> str:
    """MLflow's names: letters, digits and `_ - . : / space`."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:LONGEST_KEY]


def _param(value: Any) -> str:
    if isinstance(value, str):
        return cut(value, LONGEST_PARAM)
    return "none" if value is None else cut(json.dumps(value), LONGEST_PARAM)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)

"""A trial's record in MLflow's terms. Pure: no MLflow here, and the same record gives the same run.

NaN and infinities are not sent as numbers: MLflow stores infinity as 1.8e308, and its pages drop a
whole curve whose last value is NaN. A curve ends at its last finite point instead, and the tag
`gansearch.nonfinite` names the others (`loss.g@300=inf`). Names and values too long are cut.

A trial of a stability study is a *seed* of its configuration: it is called by its seed, and when it
has ended it says how it counts, `success` 1 or 0 and, of a success only, its best value as
`confirmed.<metric>`. So MLflow's averages over a configuration's seeds never have a failure in them
as a number.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gansearch.study.config import digest, flatten
from gansearch.study.records import Goal, Outcome, Report, TrialRecord, best_report, better, count

Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "KILLED", "FAILED"]

Phase = Literal["search", "stability"]
"""Of a study; each numbers its trials from 0."""

STATUS: dict[Outcome, Status] = {
    Outcome.RUNNING: "RUNNING",
    Outcome.PAUSED: "SCHEDULED",
    Outcome.COMPLETED: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.INTERRUPTED: "KILLED",
    Outcome.DIVERGED: "FAILED",
    Outcome.COLLAPSED: "FAILED",
    Outcome.STALLED: "FAILED",
    Outcome.FAILED: "FAILED",
}
"""MLflow has three ways to end; the run's name and the tag `gansearch.outcome` tell the rest."""

OPEN: tuple[Status, ...] = ("RUNNING", "SCHEDULED")
"""What a run is called that has not ended."""

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
CONFIGURATION, SEED = "gansearch.configuration", "gansearch.seed"
ORIGIN = "gansearch.origin"
WOKEN = "gansearch.woken"
SYSTEM = "system/"
"""What MLflow's pages take for measurements of the machine begins so, and has a tab of its own."""

LONGEST_KEY, LONGEST_PARAM, LONGEST_TAG, LONGEST_LABEL = 250, 6000, 5000, 200


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
    counts: bool = False

    def result(self, metric: str, goal: Goal) -> list[Point]:
        """How an ended seed of a configuration counts; nothing for any other trial."""
        if not self.counts:
            return []
        best = best_report(self.reports, metric, goal)
        success = best is not None and self.tags[OUTCOME] == Outcome.COMPLETED.value
        values = {"success": float(success)}
        if best is not None and success:
            values[f"confirmed.{metric}"] = best.value
        step = self.reports[-1].step if self.reports else 0
        return [Point(key(name), value, self.end_ms or 0, step) for name, value in values.items()]

    def points(self, first: int, metric: str, goal: Goal) -> list[Point]:
        """The curves' points from report number `first` on, the running best among them."""
        return [
            Point(key(name), value, _ms(report.time), report.step)
            for report, values in _with_best(self.reports, metric, goal)[first:]
            for name, value in values.items()
            if math.isfinite(value)
        ]


def translate(record: TrialRecord) -> Run:
    """The run of a record; the record may grow meanwhile."""
    reports = record.reports[:]
    outcome, reason = record.outcome, record.reason
    first, last = (reports[0], reports[-1]) if reports else (None, None)
    tags = _tags(record, outcome, reason, reports)
    return Run(
        number=record.number,
        name=run_name(tags),
        status=STATUS[outcome],
        tags=tags,
        params={key(k): _param(v) for k, v in flatten(record.config).items()},
        reports=reports,
        start_ms=_ms(first.time - first.seconds) if first else None,
        end_ms=_ms(last.time) if last else None,
        counts=bool(record.configuration) and outcome.ended and not record.blameless,
    )


def run_name(tags: Mapping[str, str]) -> str:
    """`0007 diverged`: what became of a trial is to be seen wherever MLflow names its run; of one that
    no sampler proposed, what it is, too: `0000 default, completed`.

    A configuration's seed is `diverged, seed 123456`: it stands two levels down in a narrow column,
    where the end of a longer name is not seen.
    """
    seed, outcome = tags.get(SEED), tags[OUTCOME]
    ended = "" if outcome == Outcome.RUNNING.value else outcome
    if seed:
        return f"{ended}, seed {seed}" if ended else f"seed {seed}"
    what = ", ".join(filter(None, [tags.get(ORIGIN), ended]))
    return f"{int(tags[TRIAL]):04d} {what}".rstrip()


def short_label(label: str) -> str:
    """A configuration's label as MLflow has it; one too long is cut, and different ones stay so."""
    if len(label) <= LONGEST_LABEL:
        return label
    return f"{label[: LONGEST_LABEL - 18]}… {digest(label)}"


def cut(text: str, length: int = LONGEST_TAG) -> str:
    """Text of at most `length` characters, an ellipsis where it was longer."""
    return text if len(text) <= length else text[: length - 1] + "…"


def key(name: str) -> str:
    """MLflow's names: letters, digits and `_ - . : / space`."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:LONGEST_KEY]


def _tags(record: TrialRecord, outcome: Outcome, reason: str, reports: list[Report]) -> dict[str, str]:
    where = f" at step {reports[-1].step}" if reports else ""
    tags = {
        TRIAL: str(record.number),
        "gansearch.reason": reason,
        NOTE: f"{outcome.value}{where}" + (f": {reason}" if reason else ""),
    }
    if record.configuration:
        tags |= {CONFIGURATION: short_label(record.configuration), SEED: str(record.config["seed"])}
    if record.origin:
        tags[ORIGIN] = record.origin
    if woken := [chance.woken for chance in record.chances if chance.woken]:
        tags[WOKEN] = f"{count(len(woken), 'time')}, last: {woken[-1]}"
    if colour := COLOUR.get(outcome):
        tags["mlflow.runColor"] = colour
    if nonfinite := ", ".join(_nonfinite(reports)):
        tags["gansearch.nonfinite"] = nonfinite
    for metric, origin in record.provenance.items():
        tags[key(f"provenance.{metric}")] = json.dumps(origin, sort_keys=True, default=str)
    # Last, because they say that what comes before them is there.
    tags |= {CONFIG: digest(record.config), OUTCOME: outcome.value, REPORTS: str(len(reports))}
    return {name: cut(value) for name, value in tags.items()}


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
        usage = {SYSTEM + name: used for name, used in report.usage.items()}
        rows.append((report, {**report.metrics, **progress, **best, **usage}))
    return rows


def _param(value: Any) -> str:
    if isinstance(value, str):
        return cut(value, LONGEST_PARAM)
    return "none" if value is None else cut(json.dumps(value), LONGEST_PARAM)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)

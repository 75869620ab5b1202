"""A trial between the journal's words and Optuna's: its reports as user attributes, and back."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from gansearch.errors import StudyError
from gansearch.journal.facts import CHANCES, CONSTRAINT, ENDED_AFTER
from gansearch.journal.shape import REPORT, faults_of_trial
from gansearch.study.records import Chance, Goal, Outcome, Report, TrialRecord, best_report

DIRECTION = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
"""A goal, as Optuna has it."""

ENDED = {
    TrialState.COMPLETE: Outcome.COMPLETED,
    TrialState.PRUNED: Outcome.PRUNED,
    TrialState.FAIL: Outcome.FAILED,
}
"""What a trial's outcome is at least, by its state in Optuna."""


def written(report: Report) -> dict[str, Any]:
    """A report as a user attribute of its trial."""
    content = report.plain()
    del content["step"]
    content["metrics"] = {name: _to_json(value) for name, value in report.metrics.items()}
    if not report.usage:
        del content["usage"]
    return {f"{REPORT}{report.step}": content}


def end_of(
    record: TrialRecord, values: Mapping[int, float], metric: str, goal: Goal, steps: int
) -> dict[str, Any]:
    """How an ended, or interrupted, trial is told to Optuna: fields of a `Change`.

    Args:
        record: the trial.
        values: the objective at each report, by step.
        metric, goal: the objective.
        steps: the budget of one trial, in generator updates.
    """
    best = best_report(record.reports, metric, goal)
    state, value = TrialState.PRUNED, None
    if record.outcome is Outcome.INTERRUPTED:
        state = TrialState.WAITING
    elif record.outcome is Outcome.FAILED:
        state = TrialState.FAIL
    elif best is not None and record.succeeded(metric, goal):
        state, value = TrialState.COMPLETE, best.value
    elif values:  # as Optuna has it of a pruned trial
        value = values[max(values)]
    unhealthy = record.outcome.unhealthy or (record.outcome is Outcome.COMPLETED and best is None)
    violation = 2 - min(record.step / steps, 1)
    marks = {CONSTRAINT: violation} if unhealthy else {}
    marked = create_trial(state=TrialState.RUNNING, constraints=marks)
    return {
        "system_attrs": marked.system_attrs,
        "state": state,
        "values": None if value is None else [value],
    }


def own_copy(trial: FrozenTrial) -> FrozenTrial:
    """A trial to be changed apart from the storage's; what has ended is kept small."""
    own = copy.copy(trial)
    kept = {"blameless", ENDED_AFTER} if trial.state.is_finished() else trial.user_attrs.keys()
    own._user_attrs = {key: value for key, value in trial.user_attrs.items() if key in kept}
    own._system_attrs = dict(trial.system_attrs)
    own.intermediate_values = dict(trial.intermediate_values)
    return own


def record_of(trial: FrozenTrial, run_id: str | None) -> TrialRecord:
    """A trial as it is known, and the MLflow run that shows it; raises `StudyError` for another's, and
    for what this version cannot read.
    """
    attributes = trial.user_attrs
    if "config" not in attributes:
        raise StudyError(f"trial {trial.number} in the journal is somebody else's")
    if faults := faults_of_trial(trial):
        raise StudyError(
            f"trial {trial.number} in the journal is not as this version writes them "
            f"({'; '.join(faults)}): read it with the version that wrote it, or put a copy of the "
            "journal back"
        )
    reports = [
        Report.of_plain({"step": int(key.partition(":")[2]), **content})
        for key, content in attributes.items()
        if key.startswith(REPORT)
    ]
    chances = [Chance(**plain) for plain in attributes.get(CHANCES, [])]
    outcome = Outcome(attributes.get("outcome", Outcome.RUNNING))
    reason = attributes.get("reason", "")
    if trial.state.is_finished() and not outcome.ended:  # as Optuna knows it, whatever was lost
        outcome, reason = ENDED[trial.state], "its outcome is lost"
    if not outcome.ended and chances and not chances[-1].woken:
        outcome, reason = Outcome.PAUSED, chances[-1].paused
    return TrialRecord(
        number=trial.number,
        params=dict(trial.params),
        config=attributes["config"],
        outcome=outcome,
        reason=reason,
        reports=sorted(reports, key=lambda report: report.step),
        provenance=attributes.get("provenance", {}),
        mlflow_run_id=run_id,
        configuration=attributes.get("configuration", ""),
        blameless=attributes.get("blameless", False),
        origin=attributes.get("origin", ""),
        chances=chances,
    )


def _to_json(value: float) -> float | str:
    """JSON has no NaN and no infinity: they are written as words, which `float` reads back."""
    return value if math.isfinite(value) else str(value)

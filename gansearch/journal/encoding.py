"""A trial between the journal's words and Optuna's: its reports as user attributes, and back."""

from __future__ import annotations

import copy
import math
from typing import Any

from optuna.trial import FrozenTrial

from gansearch.errors import StudyError
from gansearch.journal.facts import CHANCES
from gansearch.study.records import Chance, Outcome, Report, TrialRecord

REPORT = "report:"
"""Begins the name of a report's attribute; its step follows."""


def written(report: Report) -> dict[str, Any]:
    """A report as a user attribute of its trial."""
    content = report.plain()
    del content["step"]
    content["metrics"] = {name: _to_json(value) for name, value in report.metrics.items()}
    if not report.usage:
        del content["usage"]
    return {f"{REPORT}{report.step}": content}


def own_copy(trial: FrozenTrial) -> FrozenTrial:
    """A trial to be changed apart from the storage's; what has ended is kept small."""
    own = copy.copy(trial)
    kept = {"blameless"} if trial.state.is_finished() else trial.user_attrs.keys()
    own._user_attrs = {key: value for key, value in trial.user_attrs.items() if key in kept}
    own._system_attrs = dict(trial.system_attrs)
    own.intermediate_values = dict(trial.intermediate_values)
    return own


def record_of(trial: FrozenTrial, run_id: str | None) -> TrialRecord:
    """A trial as it is known, and the MLflow run that shows it; raises `StudyError` for another's."""
    attributes = trial.user_attrs
    reports = [
        Report.of_plain({"step": int(key.partition(":")[2]), **content})
        for key, content in attributes.items()
        if key.startswith(REPORT)
    ]
    if "config" not in attributes:
        raise StudyError(f"trial {trial.number} in the journal is somebody else's")
    chances = [Chance(**plain) for plain in attributes.get(CHANCES, [])]
    outcome = Outcome(attributes.get("outcome", Outcome.RUNNING))
    reason = attributes.get("reason", "")
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

"""The shape of all that a journal holds: the one place that says what a record must be like.

Optuna writes and reads any JSON, and leaves out in silence what it does not understand. What is wrong
is told in words here, as `KEY: what is wrong`; who asks knows the trial, or the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from optuna.storages.journal._storage import JournalOperation
from optuna.trial import FrozenTrial
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from gansearch.errors import InvalidInput
from gansearch.study.document import dotted, parse_document
from gansearch.study.mistakes import explain, real_path
from gansearch.study.plan import Published
from gansearch.study.records import Outcome
from gansearch.study.roster import Kind

REPORT = "report:"
"""Begins the name of a report's attribute; its step follows."""

MLFLOW_RUN = "mlflow_run:"
"""Begins the name of a fact, the MLflow run that shows a trial; the trial's number follows."""

NEWER = "which this version does not know: perhaps it is of a newer one"
"""Said of what has been written by nobody that we know."""


TOLD = 3
"""Mistakes of one record that are told."""


class _Open(BaseModel):
    """A mapping that may hold more than we know, as notes of others are."""

    model_config = ConfigDict(extra="ignore", strict=True)


class _Closed(BaseModel):
    """A mapping that holds nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True)


Count = Annotated[int, Field(ge=0, lt=2**63)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Number = float | Literal["nan", "inf", "-inf"]
"""JSON has no NaN and no infinity: they are words."""


def _writable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("has half of a character (a lone surrogate) in it") from error
    return text


Text = Annotated[str, AfterValidator(_writable)]


def _asks(text: str) -> str:
    try:
        _Asked.model_validate(asked(text))
    except InvalidInput as error:
        raise ValueError(f"is no study file: {error.problems[0]}") from error
    except ValidationError as error:
        raise ValueError(f"is no study file: {_first(asked(text), error)}") from error
    return text


@lru_cache(maxsize=16)
def asked(text: str) -> dict[str, Any]:
    """What a study file asks, read once; raises `InvalidInput`."""
    tree: dict[str, Any] = parse_document(text, "study.yaml").tree
    return tree


StudyFile = Annotated[Text, AfterValidator(_asks)]


class _Budget(_Open):
    device_hours: Finite | None = None


class _Search(_Open):
    trials: Count = 0
    seed: Count = 0
    budget: _Budget | None = None


class _Resources(_Open):
    cpus: Finite = 1
    gpus: Finite = 0


class _Asked(_Open):
    """The sections of a study file that are read from a journal."""

    search: _Search | None = None
    stability: dict[str, Any] | None = None
    resources: _Resources | None = None
    published: Published | None = None


class _Penalty(_Open):
    name: Text


class _Loss(_Open):
    name: Text
    penalty: _Penalty | None = None


class _Seedless(_Open):
    """What every reader needs of a configuration; a training reads all of it."""

    loss: _Loss


class _Config(_Seedless):
    seed: Count


class _Chance(_Closed):
    step: Count
    paused: Text
    woken: Text = ""


class _Attributes(_Open):
    """A trial's attributes, besides its reports."""

    config: _Config
    configuration: Text = ""
    origin: Text = ""
    provenance: dict[str, dict[str, Any]] = {}
    chances: list[_Chance] = []
    number: Count | None = None
    outcome: Annotated[Outcome, Field(strict=False)] = Outcome.RUNNING
    reason: Text = ""
    blameless: bool = False
    ended_after: Count = 0


class _Report(_Open):
    images: Count
    seconds: Finite
    time: Finite
    outcome: Annotated[Outcome, Field(strict=False)] | None
    reason: Text
    metrics: dict[Text, Number]
    usage: dict[str, Finite] = {}


class _Candidate(_Closed):
    label: Text
    kind: Kind
    config: _Seedless
    trial: Count | None = None
    params: dict[str, Any] | None = None
    of: Text = ""
    axis: Text = ""
    factor: Finite = 1.0


class _Roster(_Open):
    candidates: list[_Candidate]
    entries: list[Annotated[tuple[Text, Count], Field(strict=False)]]

    @model_validator(mode="after")
    def _named(self) -> _Roster:
        labels = [candidate.label for candidate in self.candidates]
        if len(set(labels)) < len(labels):
            raise ValueError("two candidates have one label")
        if strange := {label for label, _ in self.entries} - set(labels):
            raise ValueError(f"has entries of '{min(strange)}', which is no candidate")
        return self


class _Lesson(_Closed):
    number: Count
    point: dict[str, Any]
    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    step: Count
    value: float | None
    violation: float = 0.0


class _Learnt(_Closed):
    study: Text
    lessons: list[_Lesson]
    origin: dict[str, Any] = {}
    anyway: bool = False
    words: Text = ""


class _Over(_Open):
    trials: Count
    reason: Text


class _Facts(_Open):
    """The facts of a search, or of a stability study; those without a default it cannot do without."""

    metric: Text
    goal: Literal["min", "max"]
    steps: Annotated[Count, Field(ge=1)]
    report_every: Annotated[Count, Field(ge=1)]
    digest: Text
    question: Text
    study: StudyFile
    id: Text
    study_before: StudyFile | None = None
    trials: Count = 0
    learnt: list[_Learnt] = []
    part: Literal["stability"] | None = None
    experiment: Text = ""
    roster: _Roster | None = None
    file_served: bool = False
    over: _Over | None = None
    given_up: Count | None = None
    insisted: Count = 0
    apart: list[Text] = []
    sent: Count | None = None
    dashboard: Text = ""
    gansearch: Text = ""
    launched: Text = ""


class _SearchFacts(_Facts):
    trials: Count


class _StabilityFacts(_Facts):
    roster: _Roster


class _Log(_Open):
    """A line of a journal, as Optuna writes it: what is in any of them, where it is there."""

    op_code: int
    study_id: Count = 0
    trial_id: Count = 0
    study_name: Text = ""
    directions: list[Literal[1, 2]] = [1]
    state: Literal[0, 1, 2, 3, 4] = 0
    value: float | None = None
    values: list[float] | None = None
    step: Count = 0
    intermediate_value: float = 0.0
    intermediate_values: dict[str, float] = {}
    params: dict[str, float] = {}
    param_name: Text = ""
    param_value_internal: float = 0.0
    distributions: dict[str, str] = {}
    distribution: Text = ""
    user_attr: dict[str, Any] = {}
    user_attrs: dict[str, Any] = {}
    system_attr: dict[str, Any] = {}
    system_attrs: dict[str, Any] = {}
    datetime_start: Text | None = None
    datetime_complete: Text | None = None


_OF_TRIALS: dict[int, tuple[str, ...]] = {
    JournalOperation.SET_TRIAL_PARAM: ("param_name", "param_value_internal", "distribution"),
    JournalOperation.SET_TRIAL_STATE_VALUES: ("state", "values"),
    JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE: ("step", "intermediate_value"),
    JournalOperation.SET_TRIAL_USER_ATTR: ("user_attr",),
    JournalOperation.SET_TRIAL_SYSTEM_ATTR: ("system_attr",),
}
_NEEDED: dict[int, tuple[str, ...]] = {
    JournalOperation.CREATE_STUDY: ("study_name", "directions"),
    JournalOperation.DELETE_STUDY: ("study_id",),
    JournalOperation.SET_STUDY_USER_ATTR: ("study_id", "user_attr"),
    JournalOperation.SET_STUDY_SYSTEM_ATTR: ("study_id", "system_attr"),
    JournalOperation.CREATE_TRIAL: ("worker_id", "study_id", "datetime_start", "user_attrs"),
    JournalOperation.DISCARD_TRIALS: (),
    **{operation: ("trial_id", *keys) for operation, keys in _OF_TRIALS.items()},
}
"""Each kind of line, and what it cannot do without."""


class _Told(_Open):
    """What Optuna keeps of a trial besides its attributes."""

    values: list[float] | None
    intermediate_values: dict[int, float]


def faults_of_facts(facts: Mapping[str, Any]) -> list[str]:
    """What is wrong with all that a journal knows of a study, what is missing among it."""
    return [*_faults(_kind_of(facts), facts), *_faults_of_runs(facts)]


def lacking(facts: Mapping[str, Any]) -> list[str]:
    """The facts that a study cannot do without and that are missing."""
    fields = _kind_of(facts).model_fields.items()
    return [key for key, field in fields if field.is_required() and key not in facts]


def _kind_of(facts: Mapping[str, Any]) -> type[_Facts]:
    return _StabilityFacts if facts.get("part") == "stability" else _SearchFacts


def faults_of_trial(trial: FrozenTrial) -> list[str]:
    """What is wrong with a trial as Optuna has it."""
    told = {"values": trial.values, "intermediate_values": trial.intermediate_values}
    attributes = trial.user_attrs
    return [*_faults(_Told, told), *_faults(_Attributes, attributes), *_faults_of_reports(attributes)]


def faults_of_log(log: Any) -> list[str]:
    """What is wrong with a line of a journal, whatever the others are."""
    if not isinstance(log, dict) or type(log.get("op_code")) is not int:
        return ["is no record of a journal"]
    needed = _NEEDED.get(log["op_code"])
    if needed is None:
        return [f"is a record of kind {log['op_code']}, {NEWER}"]
    if missing := [key for key in needed if key not in log]:
        return [f"is no record of a journal, for it lacks {', '.join(missing)}"]
    if faults := _faults(_Log, log):
        return faults
    one = log.get("user_attr", {})
    if log["op_code"] in _OF_TRIALS:
        return [*_faults(_Attributes, one, partly=True), *_faults_of_reports(one)]
    facts = [*_faults(_Facts, one, partly=True), *_faults_of_runs(one)]
    begun = log.get("user_attrs")
    return facts if begun is None else [*_faults(_Attributes, begun), *_faults_of_reports(begun)]


def trial_of(log: Mapping[str, Any]) -> int:
    """The id of the trial of which a line tells something; -1: of none, or it begins one."""
    return int(log["trial_id"]) if log["op_code"] in _OF_TRIALS else -1


def _faults_of_reports(attributes: Mapping[str, Any]) -> Iterator[str]:
    for key, content in attributes.items():
        if not key.startswith(REPORT):
            continue
        if not key.removeprefix(REPORT).isdecimal():
            yield f"{key}: must name a step"
        yield from _faults(_Report, content, key)


def _faults_of_runs(facts: Mapping[str, Any]) -> Iterator[str]:
    for key, run in facts.items():
        if key.startswith(MLFLOW_RUN) and not isinstance(run, str):
            yield f"{key}: needs text, not {run!r}"


def _faults(model: type[BaseModel], tree: Any, above: str = "", *, partly: bool = False) -> list[str]:
    """What is wrong with plain values; `partly`: what is not there is not missed."""
    try:
        model.model_validate(tree)
    except ValidationError as error:
        told: dict[tuple[str | int, ...], str] = {}
        for each in error.errors():
            if partly and each["type"] == "missing" and len(each["loc"]) == 1:
                continue
            path = real_path(each["loc"], tree)
            told.setdefault(path, _words((above, *path) if above else path, each))
        words = list(told.values())
        return words if len(words) <= TOLD else [*words[:TOLD], f"and {len(words) - TOLD} more"]
    return []


def _first(tree: Any, error: ValidationError) -> str:
    each = error.errors()[0]
    return _words(real_path(each["loc"], tree), each)


def _words(path: tuple[str | int, ...], error: Any) -> str:
    if error["type"] == "extra_forbidden":
        what = f"a key {NEWER}"
    elif error["type"] == "missing":
        what = "is missing"
    else:
        what = explain(error, {}, "")
    return f"{dotted(path)}: {what}" if path else what

"""The shape of all that a journal holds: the one place that says what a record must be like.

Optuna writes and reads any JSON, and leaves out in silence what it does not understand. What is wrong
is told in words here, as `KEY: what is wrong`; who asks knows the trial, or the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from optuna.trial import FrozenTrial
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from gansearch.errors import InvalidInput
from gansearch.study.document import dotted, parse_document
from gansearch.study.mistakes import explain, real_path
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


Count = Annotated[int, Field(ge=0)]
Number = float | Literal["nan", "inf", "-inf"]
"""JSON has no NaN and no infinity: they are words."""


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


StudyFile = Annotated[str, AfterValidator(_asks)]


class _Asked(_Open):
    """The sections of a study file that are read from a journal."""

    search: dict[str, Any] | None = None
    stability: dict[str, Any] | None = None
    resources: dict[str, Any] | None = None
    published: dict[str, Any] | None = None


class _Penalty(_Open):
    name: str


class _Loss(_Open):
    name: str
    penalty: _Penalty | None = None


class _Config(_Open):
    """What every reader needs of a configuration; a training reads all of it."""

    loss: _Loss
    seed: Count


class _Chance(_Closed):
    step: Count
    paused: str
    woken: str = ""


class _Attributes(_Open):
    """A trial's attributes, besides its reports."""

    config: _Config
    configuration: str = ""
    origin: str = ""
    provenance: dict[str, dict[str, Any]] = {}
    chances: list[_Chance] = []
    outcome: Annotated[Outcome, Field(strict=False)] = Outcome.RUNNING
    reason: str = ""
    blameless: bool = False


class _Report(_Open):
    images: Count
    seconds: float
    time: float
    outcome: Annotated[Outcome, Field(strict=False)] | None
    reason: str
    metrics: dict[str, Number]
    usage: dict[str, float] = {}


class _Candidate(_Closed):
    label: str
    kind: Kind
    config: dict[str, Any]
    trial: Count | None = None
    params: dict[str, Any] | None = None
    of: str = ""
    axis: str = ""
    factor: float = 1.0


class _Roster(_Open):
    candidates: list[_Candidate]
    entries: list[Annotated[tuple[str, Count], Field(strict=False)]]


class _Lesson(_Closed):
    number: Count
    point: dict[str, Any]
    state: Literal["COMPLETE", "PRUNED", "FAIL"]
    step: Count
    value: float | None
    violation: float = 0.0


class _Learnt(_Closed):
    study: str
    lessons: list[_Lesson]
    origin: dict[str, Any] = {}
    anyway: bool = False
    words: str = ""


class _Over(_Open):
    trials: Count
    reason: str


class _Facts(_Open):
    """The facts of a search, or of a stability study; those without a default it cannot do without."""

    metric: str
    goal: Literal["min", "max"]
    steps: Annotated[int, Field(ge=1)]
    report_every: Annotated[int, Field(ge=1)]
    digest: str
    question: str
    study: StudyFile
    id: str
    study_before: StudyFile | None = None
    trials: Count = 0
    learnt: list[_Learnt] = []
    part: Literal["stability"] | None = None
    experiment: str = ""
    roster: _Roster | None = None
    file_served: bool = False
    over: _Over | None = None
    given_up: Count | None = None
    insisted: Count = 0
    apart: list[str] = []
    sent: Count | None = None
    dashboard: str = ""
    gansearch: str = ""
    launched: str = ""


class _SearchFacts(_Facts):
    trials: Count


class _StabilityFacts(_Facts):
    roster: _Roster


class _Log(_Open):
    """A line of a journal, as Optuna writes it: what is in any of them, where it is there."""

    op_code: int
    worker_id: str = ""
    study_id: Count = 0
    trial_id: Count = 0
    study_name: str = ""
    directions: list[Literal[1, 2]] = [1]
    state: Literal[0, 1, 2, 3, 4] = 0
    value: float | None = None
    values: list[float] | None = None
    step: Count = 0
    intermediate_value: float = 0.0
    intermediate_values: dict[str, float] = {}
    params: dict[str, float] = {}
    param_name: str = ""
    param_value_internal: float = 0.0
    distributions: dict[str, str] = {}
    distribution: str = ""
    user_attr: dict[str, Any] = {}
    user_attrs: dict[str, Any] = {}
    system_attr: dict[str, Any] = {}
    system_attrs: dict[str, Any] = {}


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
    """What is wrong with a line of a journal, taken by itself."""
    if not isinstance(log, Mapping):
        return ["must be a mapping of keys to values"]
    if faults := _faults(_Log, log):
        return faults
    one = log.get("user_attr", {})
    if "trial_id" in log:
        return [*_faults(_Attributes, one, partly=True), *_faults_of_reports(one)]
    facts = [*_faults(_Facts, one, partly=True), *_faults_of_runs(one)]
    begun = log.get("user_attrs")
    return facts if begun is None else [*_faults(_Attributes, begun), *_faults_of_reports(begun)]


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

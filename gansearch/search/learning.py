"""Earlier studies' trials as points of this study's space, for the sampler to learn from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from gansearch.errors import UserError
from gansearch.journal.facts import CONSTRAINT
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.study.axes import as_written
from gansearch.study.config import TrialConfig, flatten, stored_config
from gansearch.study.learnt import Learnt, Lesson
from gansearch.study.location import locate
from gansearch.study.plan import Earlier
from gansearch.study.records import TrialRecord, count
from gansearch.study.spec import StudySpec

MADE_BY = ("features", "features_hash", "dataset_hash")
"""What of a metric's provenance only measuring the real images shows."""


def learn(study: StoredStudy, asked: Earlier, spec: StudySpec) -> Learnt:
    """What a search can learn from the ended trials of an earlier study.

    Parameters are matched by their path in the configuration. What both studies fixed, and otherwise,
    is said and no hindrance; a part of another name is.

    Raises:
        UserError: the earlier study's numbers were made differently, and that is not said to be no
            matter; or its objective is the better the other way round.
    """
    journal = study.journal()
    records = [record for record in journal.trials() if record.outcome.ended]
    if journal.goal != spec.goal:
        raise UserError(f"'{study.name}' has the goal {journal.goal}, this study {spec.goal}")
    found = list(_differences(records[0], spec)) if records else []
    if found and not asked.anyway:
        mend = f"; if that is no matter: {{study: {asked.study}, anyway: true}}"
        raise UserError(
            f"the numbers of '{study.name}' were made differently: {', '.join(found)}{mend}"
        )
    lessons, unused, otherwise = [], Counter[str](), defaultdict[str, Counter[str]](Counter)
    for record in records:
        if record.blameless:
            unused["ended through no fault of its configuration"] += 1
            continue
        config = stored_config(record.config, record.label).plain()
        point, amiss = locate(config, spec.space, loosely=True)
        if amiss:
            unused[_key(amiss[0])] += 1
            continue
        for words in locate(config, spec.space)[1]:
            otherwise[_key(words)][words] += 1
        lessons.append(_lesson(record, point, journal))
    origin = next((r.provenance[journal.metric] for r in records if journal.metric in r.provenance), {})
    told = {_key(words) for words in found} | {"evaluation.metrics"}  # what else is measured
    others = (_other(key, how, len(lessons)) for key, how in otherwise.items() if key not in told)
    words = _words(study.name, len(lessons), unused, [*found, *others])
    return Learnt(study.name, tuple(lessons), dict(origin), asked.anyway, words)


def check_origin(learnt: Learnt, origin: Mapping[str, Any]) -> None:
    """Raise `UserError` where a study's objective is not measured as an earlier one's was.

    Args:
        learnt: from the earlier one.
        origin: the provenance of this one's objective.
    """
    told = [
        f"{key} is {learnt.origin[key]} there and {origin.get(key)} here"
        for key in MADE_BY
        if key in learnt.origin and learnt.origin[key] != origin.get(key)
    ]
    if told and learnt.lessons and not learnt.anyway:
        mend = f"; if that is no matter: learn_from: [{{study: {learnt.study}, anyway: true}}]"
        raise UserError(
            f"the numbers of '{learnt.study}' were made differently: {', '.join(told)}{mend}"
        )


def frozen(lesson: Lesson, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """A lesson as Optuna has a trial."""
    state = TrialState[lesson.state]
    return optuna.trial.create_trial(
        state=state,
        value=lesson.value if state == TrialState.COMPLETE else None,
        params=lesson.point,
        distributions={name: distributions[name] for name in lesson.point},
        intermediate_values={} if lesson.value is None else {lesson.step: lesson.value},
        constraints={CONSTRAINT: lesson.violation} if lesson.violation else None,
    )


def _lesson(record: TrialRecord, point: dict[str, Any], journal: Journal) -> Lesson:
    trial, best = journal.frozen(record.number), record.best(journal.metric, journal.goal)
    violation = sum(v for v in trial.constraints.values() if v > 0)
    value = best.value if best else None
    return Lesson(record.number, point, trial.state.name, record.step, value, violation)


def _differences(record: TrialRecord, spec: StudySpec) -> Iterator[str]:
    """What differs in how an earlier study's numbers were made, as far as its file tells."""
    there, here = (
        flatten(_made(config))
        for config in (stored_config(record.config, record.label), spec.example())
    )
    for key in dict.fromkeys([*there, *here]):
        if there.get(key) != here.get(key):
            yield f"{key} is {as_written(there.get(key))} there and {as_written(here.get(key))} here"


def _made(config: TrialConfig) -> dict[str, Any]:
    """All that a value of the objective depends on besides the configuration's own sections."""
    plain, metric = config.plain(), config.objective.metric
    parts = {part["name"]: part for part in plain["evaluation"]["metrics"] if part["name"] == metric}
    samples = {key: plain["evaluation"][key] for key in ("samples", "real_samples", "split")}
    return {
        "data": plain["data"],
        "objective": plain["objective"],
        "evaluation": {**samples, **parts},
        "budget": {"steps": plain["budget"]["steps"]},
    }


def _key(words: str) -> str:
    """Of what `batch_size is 32, and 16 in this study` is said."""
    return words.partition(" is ")[0]


def _other(key: str, how: Counter[str], used: int) -> str:
    """What is otherwise than in this study, with the number of trials where that is not all."""
    told = next(iter(how)) if len(how) == 1 else f"{key} is another than in this study"
    return told if how.total() == used else f"{told} ({how.total()})"


def _words(study: str, used: int, unused: Counter[str], otherwise: list[str]) -> str:
    words = f"the sampler knows {count(used, 'trial')} of '{study}'"
    if unused:
        why = ", ".join(f"{what} ({n})" for what, n in unused.most_common())
        words += f"; {count(unused.total(), 'other')} cannot be used: {why}"
    return words + (f"; they differ: {', '.join(otherwise)}" if otherwise else "")

"""The durable truth of a study, kept in an Optuna storage.

Everything a study knows is here or in its checkpoints; `trials.csv`, MLflow and every table are made
from it. By default the storage is Optuna's journal file in the study's directory (which
optuna-dashboard opens); a team may name any storage URL. For each trial it holds:

- the axes' values as Optuna parameters, and the objective at each report as intermediate values;
- user attributes: `config` (resolved), `number`, `configuration` (its label, in a stability study),
  `origin`, `provenance`, one `report:STEP` for each report, `chances` (its pauses, and why it went on),
  `outcome`, `reason`, `ended_after` (so many others); its MLflow run is a user attribute of the study,
  `mlflow_run:NUMBER`, because it may become known only after the trial has ended, and an ended trial
  is closed to changes;
- a true end. Completed: COMPLETE with the best value. Pruned, or stopped by a health rule: PRUNED. An
  error: FAIL. Paused, or interrupted: WAITING, until it goes on.

What is lost when something dies is found again by `resume`. A process that is killed loses nothing of
a journal file, and of a database the reports of its last tenth of a second; a machine that loses its
power loses such reports of either. The worker's checkpoint has them, and tells them again. A trial is
durable before it begins to train, and its end before its checkpoints are thinned out.

A trial that a health rule ended also violates a constraint, the more the earlier it failed: Optuna's
samplers rank infeasible trials behind all others, while FAIL would be ignored and a made-up bad value
would be a lie. (The study's own sampler is told the value of one that had a value before it failed, see
`gansearch.search.view`.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from gansearch import files
from gansearch.errors import StudyError
from gansearch.files import Place
from gansearch.journal.changes import Change, patience
from gansearch.journal.database import DatabaseStorage
from gansearch.journal.directory import JOURNAL_FILE
from gansearch.journal.encoding import DIRECTION, end_of, own_copy, record_of, written
from gansearch.journal.facts import CHANCES, ENDED_AFTER, NUMBER, OVER
from gansearch.journal.numbering import Numbering
from gansearch.journal.opening import (
    Storage,
    damage,
    has_roster,
    journal_file,
    keeping_garbage,
    mend_file,
    open_database,
    open_storage,
)
from gansearch.journal.shape import MLFLOW_RUN, asked, faults_of_facts
from gansearch.study.records import Chance, Goal, Outcome, Report, TrialRecord
from gansearch.study.roster import Roster

FLUSH_EVERY = 0.1
"""Seconds that a report may wait to be durable, where they come more often than that. All is, before
anything is done that cannot be undone: a trial begins to train, or has ended."""


optuna.logging.set_verbosity(optuna.logging.WARNING)


def _taken(name: str) -> StudyError:
    words = f"the storage already has a study named '{name}': resume it, or take another --name"
    return StudyError(words)


def _order_of_ends(trial: FrozenTrial) -> tuple[int, datetime, int]:
    """Where it was not told yet, by time: what ended so did before all that was told."""
    at = trial.datetime_complete or datetime.min
    return trial.user_attrs.get(ENDED_AFTER, -1), at, trial.number


class Journal:
    """A study's storage, opened by the one process that writes it, or by readers.

    Args:
        study: the Optuna study.
        storage: what it is in.
        metric: the objective.
        goal: `min` or `max`.
        steps: the budget of one trial, in generator updates.
    """

    def __init__(
        self, study: optuna.Study, storage: Storage, metric: str, goal: Goal, steps: int
    ) -> None:
        self.study, self.storage = study, storage
        self.metric, self.goal, self.steps = metric, goal, steps
        self._trials: dict[int, FrozenTrial] | None = None
        self._ends = 0  # of the known ones
        self._flushed = 0.0

    @classmethod
    def create(
        cls, directory: Place, name: str, facts: Mapping[str, Any], storage: str | None = None
    ) -> Journal:
        """Begin a study; raises `StudyError` if the storage has one of that name.

        Args:
            directory: the study's directory, for the journal file.
            name: the study's name in the storage.
            facts: what is to be known of the study: `metric`, `goal`, `steps`, and any others.
            storage: a URL as Optuna takes it; None: the journal file.
        """
        return cls._create(open_storage(directory, storage), name, facts)

    @staticmethod
    def check_unused(name: str, storage: str) -> None:
        """Raise `StudyError` if a database, by its URL, has a study of that name."""
        backend = open_database(storage)
        try:
            if name in optuna.get_all_study_names(backend):
                raise _taken(name)
        finally:
            backend.engine.dispose()

    @classmethod
    def _create(cls, backend: Storage, name: str, facts: Mapping[str, Any]) -> Journal:
        try:
            study = optuna.create_study(
                storage=backend, study_name=name, direction=DIRECTION[facts["goal"]]
            )
        except optuna.exceptions.DuplicatedStudyError as error:
            raise _taken(name) from error
        for key, value in facts.items():
            study.set_user_attr(key, value)
        return cls(study, backend, facts["metric"], facts["goal"], facts["steps"])

    @classmethod
    def open(
        cls, directory: Place, name: str, storage: str | None = None, *, writer: bool = False
    ) -> Journal:
        """Open an existing study; raises `StudyError` if there is none.

        A `writer` must be alone: it mends what a killed writer may have left.
        """
        if storage is None and not (file := journal_file(directory)).exists():
            raise StudyError(
                f"{directory} has no {JOURNAL_FILE}: if the study was made with --storage URL, say it"
            )
        if writer and storage is None:
            mend_file(file)
        with keeping_garbage():
            backend = open_storage(directory, storage)
        names = optuna.get_all_study_names(backend) if storage is None else []
        if len(names) == 1:  # a study's own journal file, whatever its folder is called by now
            name = names[0]
        try:
            study = optuna.load_study(study_name=name, storage=backend)
        except KeyError as error:
            if storage is None:
                raise StudyError(
                    f"{file} holds no study: bring it back from a copy, or remove {directory} and run "
                    "the study again"
                ) from error
            raise StudyError(f"the storage has no study named '{name}'") from error
        if writer and isinstance(backend, DatabaseStorage):
            backend.patience = patience()
        facts = study.user_attrs
        if not {"metric", "goal", "steps"} & facts.keys():
            raise StudyError(f"the study '{name}' in the storage was not made by gansearch")
        if faults := faults_of_facts(facts):
            raise damage(backend, name, faults)
        return cls(study, backend, facts["metric"], facts["goal"], facts["steps"])

    def open_stability(self, directory: Place, *, writer: bool = False) -> Journal | None:
        """The journal in which this study's configurations are trained again; None: not yet.

        Args:
            directory: of the stability study.
            writer: as for `open`.
        """
        name, url = self._stability_name, self._url
        if url is None and not journal_file(directory).exists():
            return None
        if url is not None and not has_roster(open_storage(directory, url), name):
            return None
        return Journal.open(directory, name, url, writer=writer)

    def create_stability(self, directory: Place, roster: Roster, facts: Mapping[str, Any]) -> Journal:
        """Begin that journal, whole or not at all.

        Args:
            directory: of the stability study; made if it is not there.
            roster: whom it trains.
            facts: besides what this journal knows of the study.
        """
        shared = ("metric", "goal", "steps", "report_every", "digest", "question", "study", "id")
        own = {"part": "stability", "experiment": self.study.study_name}
        known = {key: self.study.user_attrs[key] for key in shared} | own | dict(facts)
        known["roster"] = roster.plain()  # last: with it the journal is whole
        name = self._stability_name
        if self._url is not None:
            if name in optuna.get_all_study_names(self.storage):  # of a driver that was killed
                optuna.delete_study(study_name=name, storage=self.storage)
            return Journal._create(self.storage, name, known)
        file = journal_file(directory)
        if file.parent.exists() and not file.parent.is_dir():
            raise StudyError(f"{file.parent} is no folder: remove it, the stability study lies there")
        file.parent.mkdir(exist_ok=True)
        with files.temporary(file.parent, ".part-") as part:
            Journal.create(part, name, known)
            (part / JOURNAL_FILE).rename(file)
        return Journal.open(directory, name, writer=True)

    @property
    def _url(self) -> str | None:
        """Of the database that it is in; None: it is a file."""
        return self.storage.url if isinstance(self.storage, DatabaseStorage) else None

    @property
    def _stability_name(self) -> str:
        return f"{self.study.study_name}/stability"  # no study's own name holds a slash

    def delete(self) -> None:
        """Take the study out of its storage."""
        optuna.delete_study(study_name=self.study.study_name, storage=self.storage)

    @property
    def facts(self) -> dict[str, Any]:
        """What `create` was told of the study."""
        return dict(self.study.user_attrs)

    @cached_property
    def asked(self) -> dict[str, Any]:
        """The study file as it was launched, read once."""
        return asked(self.study.user_attrs["study"])

    def set_facts(self, facts: Mapping[str, Any]) -> None:
        """Write down what is to be known of the study from now on: all of it or nothing, durably."""
        self.storage.note(self.study._study_id, facts)
        self.flush()
        vars(self).pop("asked", None)  # which is read once

    @property
    def wants_stability(self) -> bool:
        """Whether the study file asks for configurations to be trained again."""
        return bool(self.asked.get("stability"))

    @property
    def roster(self) -> Roster:
        """Whom a stability study trains, and on which seeds; empty for a search."""
        plain = self.study.user_attrs.get("roster")
        return Roster.of_plain(plain) if plain else Roster()

    def extend(self, roster: Roster) -> None:
        """Write down a roster that has grown."""
        self.study.set_user_attr("roster", roster.plain())

    @property
    def planned(self) -> int:
        """How many trials the study is to have; as many as it has, where it ended before."""
        attributes = self.study.user_attrs
        over = attributes.get(OVER) or {}
        return len(self.roster.entries) or int(over.get("trials", attributes.get("trials", 0)))

    @property
    def finished(self) -> bool:
        """Whether all of them have ended."""
        return sum(record.outcome.ended for record in self.trials()) >= self.planned

    def trials(self) -> list[TrialRecord]:
        """Every proposed trial, by number."""
        frozen = self.study.get_trials(deepcopy=False)
        attributes = self.study.user_attrs
        try:
            with keeping_garbage():
                records = [
                    record_of(trial, attributes.get(f"{MLFLOW_RUN}{trial.number}")) for trial in frozen
                ]
        except StudyError as error:
            raise damage(self.storage, self.study.study_name, [str(error)]) from error
        begun = [trial.user_attrs for trial in frozen]
        numbering = Numbering(attributes, begun)
        gone = (numbering.gone_before(begins, number) for number, begins in enumerate(begun))
        if lost := next(filter(None, gone), None):
            words = f"the beginning of trial {lost[0]} is gone"
            raise damage(self.storage, self.study.study_name, [words])
        return records

    def begin(
        self,
        number: int,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        config: dict[str, Any],
        configuration: str = "",
        origin: str = "",
    ) -> None:
        """Enter a new trial, running: it is known whole or not at all, and durably before it trains."""
        told = {"configuration": configuration, "origin": origin}
        label = {key: value for key, value in told.items() if value}
        trial = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs={"config": config, NUMBER: number} | label,
        )
        trial._trial_id = self.storage.begin(self.study._study_id, number, trial)
        trial.number = number
        self._known[number] = trial

    def note(self, number: int, **attributes: Any) -> None:
        """Set user attributes of a trial that has not ended (plain values)."""
        self._change(number, user_attrs=attributes)

    def note_runs(self, run_ids: Mapping[int, str]) -> None:
        """Note which MLflow runs show trials, by number, ended or not."""
        told = {f"{MLFLOW_RUN}{number}": run_id for number, run_id in run_ids.items()}
        self.storage.note(self.study._study_id, told)

    def report(self, number: int, report: Report) -> None:
        """Add a report, or replace the one of that step: a continued trial may repeat its last."""
        value = report.metrics.get(self.metric, math.nan)
        self._change(
            number,
            intermediate_values={report.step: value} if math.isfinite(value) else {},
            user_attrs=written(report),
        )

    def end(
        self, record: TrialRecord, outcome: Outcome, reason: str = "", *, blameless: bool = False
    ) -> TrialRecord:
        """Give a trial its end; returns the record with it. Ending an ended trial changes nothing.

        Args:
            record: the trial as it is known.
            outcome: how it ended.
            reason: why, in words.
            blameless: whether its configuration had no part in that, as when a machine died.
        """
        ended = replace(record, outcome=outcome, reason=reason, blameless=blameless)
        if not self.frozen(record.number).state.is_finished():
            # The outcome comes last of the attributes: with it the end is decided, see `settle`.
            told = {"blameless": blameless, "reason": reason, "outcome": outcome.value}
            if outcome.ended:
                told = {ENDED_AFTER: self._ends} | told
            self._close(ended, told)
        return ended

    def ended(self) -> list[FrozenTrial]:
        """The trials that have ended, in the order of their ends."""
        closed = (trial for trial in self._known.values() if trial.state.is_finished())
        return sorted(closed, key=_order_of_ends)

    def pause(self, record: TrialRecord, reason: str) -> TrialRecord:
        """Have a trial wait for its second chance; returns the record with that.

        One attribute holds all of it, so that it is known whole or not at all.
        """
        chances = [*record.chances, Chance(record.step, reason)]
        attributes = {CHANCES: [asdict(chance) for chance in chances]}
        self._change(record.number, user_attrs=attributes, state=TrialState.WAITING)
        return replace(record, outcome=Outcome.PAUSED, reason=reason, chances=chances)

    def wake(self, record: TrialRecord, reason: str) -> TrialRecord:
        """Have a paused trial go on, durably before it trains; returns the record with that."""
        chances = [*record.chances[:-1], replace(record.chances[-1], woken=reason)]
        attributes = {CHANCES: [asdict(chance) for chance in chances]}
        self._change(record.number, user_attrs=attributes, state=TrialState.RUNNING)
        self.flush()
        return replace(record, outcome=Outcome.RUNNING, reason="", chances=chances)

    def settle(self) -> None:
        """Close the trials whose end, or pause, was decided when their driver died."""
        for record in self.trials():
            state = self.frozen(record.number).state
            if record.outcome.ended and not state.is_finished():
                self._close(record, {})
            elif record.outcome is Outcome.PAUSED and state != TrialState.WAITING:
                self._change(record.number, state=TrialState.WAITING)

    def _close(self, record: TrialRecord, told: Mapping[str, Any]) -> None:
        """Tell Optuna of an end; only an interrupted trial can be told of another one later."""
        values = self.frozen(record.number).intermediate_values
        end = end_of(record, values, self.metric, self.goal, self.steps)
        self._change(record.number, user_attrs=told, **end)
        self.flush()

    def reopen(self, record: TrialRecord) -> TrialRecord:
        """Mark an unfinished trial as running again."""
        waits = self.frozen(record.number).state == TrialState.WAITING
        again = {"outcome": Outcome.RUNNING.value, "reason": ""}
        told = again if record.outcome is not Outcome.RUNNING else {}
        if waits or told:
            state = TrialState.RUNNING if waits else None
            self._change(record.number, user_attrs=told, state=state)
        return replace(record, outcome=Outcome.RUNNING, reason="")

    def heed(self, stop: Callable[[], bool]) -> None:
        """Wait no longer for a database that is away when `stop` says so."""
        if isinstance(self.storage, DatabaseStorage):
            self.storage.give_up = stop

    def flush(self) -> None:
        """Make durable all that was told."""
        self.storage.flush()
        self._flushed = time.monotonic()

    def tick(self) -> None:
        """Called between events: the same, ten times a second at most."""
        if time.monotonic() - self._flushed > FLUSH_EVERY:
            self.flush()

    def frozen(self, number: int) -> FrozenTrial:
        """A trial as Optuna has it; without its reports and configuration once it has ended."""
        return self._known[number]

    @property
    def _known(self) -> dict[int, FrozenTrial]:
        """The trials by number. What a writer has written it does not read again."""
        if self._trials is None:
            found = self.study.get_trials(deepcopy=False)
            self._trials = {trial.number: own_copy(trial) for trial in found}
            self._ends = sum(trial.state.is_finished() for trial in found)
        return self._trials

    def _change(self, number: int, **what: Any) -> None:
        trial = self.frozen(number)
        if trial.state.is_finished():
            raise optuna.exceptions.UpdateFinishedTrialError(f"trial {number} has ended")
        change = Change(trial._trial_id, **what)
        self.storage.write(change)
        change.apply(trial)
        if trial.state.is_finished():
            self._known[number] = own_copy(trial)
            self._ends += 1

"""The durable truth of a study, kept in an Optuna storage.

Everything a study knows is here or in its checkpoints; `trials.csv`, MLflow and every table are made
from it. By default the storage is Optuna's journal file in the study's directory (which
optuna-dashboard opens); a team may name any storage URL. For each trial it holds:

- the axes' values as Optuna parameters, and the objective at each report as intermediate values;
- user attributes: `config` (resolved), `configuration` (its label, in a stability study),
  `provenance`, one `report:STEP` for each report, `outcome`, `reason`; its MLflow run is a user
  attribute of the study, `mlflow_run:NUMBER`, because it may become known only after the trial has
  ended, and an ended trial is closed to changes;
- a true end. Completed: COMPLETE with the best value. Pruned, or stopped by a health rule: PRUNED. An
  error: FAIL. Interrupted: WAITING, until `resume` goes on with it.

A trial that a health rule ended also violates a constraint, the more the earlier it failed. Optuna's
samplers rank infeasible trials behind all others, whatever value they reached, and so learn to avoid
where training fails, while FAIL would be ignored and a made-up bad value would be a lie.
"""

from __future__ import annotations

import csv
import gc
import itertools
import json
import math
import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from gansearch.errors import StudyError
from gansearch.study.document import parse_document
from gansearch.study.records import Goal, Outcome, Report, TrialRecord, best_report
from gansearch.study.roster import Roster

JOURNAL_FILE = "journal.log"
CONSTRAINT = "healthy"

optuna.logging.set_verbosity(optuna.logging.WARNING)

_DIRECTION = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}


class Journal:
    """A study's storage, opened by the one process that writes it, or by readers.

    Args:
        study: the Optuna study.
        metric: the objective.
        goal: `min` or `max`.
        steps: the budget of one trial, in generator updates.
    """

    def __init__(self, study: optuna.Study, metric: str, goal: Goal, steps: int) -> None:
        self.study = study
        self.metric, self.goal, self.steps = metric, goal, steps
        self._storage = study._storage
        self._ids: dict[int, int] = {}

    @classmethod
    def create(
        cls, directory: Path, name: str, facts: Mapping[str, Any], storage: str | None = None
    ) -> Journal:
        """Begin a study; raises `StudyError` if the storage has one of that name.

        Args:
            directory: the study's directory, for the journal file.
            name: the study's name in the storage.
            facts: what is to be known of the study: `metric`, `goal`, `steps`, and any others.
            storage: a URL as Optuna takes it; None: the journal file.
        """
        backend = _open_storage(directory, storage)
        try:
            study = optuna.create_study(
                storage=backend, study_name=name, direction=_DIRECTION[facts["goal"]]
            )
        except optuna.exceptions.DuplicatedStudyError as error:
            raise StudyError(
                f"the storage already has a study named '{name}': resume it, or take another --name"
            ) from error
        for key, value in facts.items():
            study.set_user_attr(key, value)
        return cls(study, facts["metric"], facts["goal"], facts["steps"])

    @classmethod
    def open(
        cls, directory: Path, name: str, storage: str | None = None, *, writer: bool = False
    ) -> Journal:
        """Open an existing study; raises `StudyError` if there is none.

        A `writer` must be alone: it mends what a killed writer may have left.
        """
        if storage is None and not (directory / JOURNAL_FILE).exists():
            raise StudyError(
                f"{directory} has no {JOURNAL_FILE}: if the study was made with --storage URL, say it"
            )
        if writer and storage is None:
            _mend(directory / JOURNAL_FILE)
        with _keeping_garbage():
            backend = _open_storage(directory, storage)
        names = optuna.get_all_study_names(backend) if storage is None else []
        if len(names) == 1:  # a study's own journal file, whatever its folder is called by now
            name = names[0]
        try:
            study = optuna.load_study(study_name=name, storage=backend)
        except KeyError as error:
            raise StudyError(f"the storage has no study named '{name}'") from error
        facts = study.user_attrs
        if not {"metric", "goal", "steps"} <= facts.keys():
            raise StudyError(f"the study '{name}' in the storage was not made by gansearch")
        return cls(study, facts["metric"], facts["goal"], facts["steps"])

    def open_stability(
        self, directory: Path, storage: str | None = None, *, writer: bool = False
    ) -> Journal | None:
        """The journal in which this study's configurations are trained again; None: not yet.

        Args:
            directory: of the stability study.
            storage, writer: as for `open`.
        """
        name = self._stability_name
        if storage is None and not (directory / JOURNAL_FILE).exists():
            return None
        if storage is not None and not _has_roster(_open_storage(directory, storage), name):
            return None
        return Journal.open(directory, name, storage, writer=writer)

    def create_stability(
        self,
        directory: Path,
        roster: Roster,
        facts: Mapping[str, Any],
        storage: str | None = None,
    ) -> Journal:
        """Begin that journal, whole or not at all.

        Args:
            directory: of the stability study; made if it is not there.
            roster: whom it trains.
            facts: besides what this journal knows of the study.
            storage: as for `open`.
        """
        shared = ("metric", "goal", "steps", "report_every", "digest", "question", "study", "id")
        own = {"part": "stability", "experiment": self.study.study_name}
        known = {key: self.study.user_attrs[key] for key in shared} | own | dict(facts)
        known["roster"] = roster.plain()  # last: with it the journal is whole
        directory.mkdir(exist_ok=True)
        name = self._stability_name
        if storage is not None:
            backend = _open_storage(directory, storage)
            if name in optuna.get_all_study_names(backend):  # of a driver that was killed
                optuna.delete_study(study_name=name, storage=backend)
            return Journal.create(directory, name, known, storage)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=directory))
        Journal.create(part, name, known)
        (part / JOURNAL_FILE).rename(directory / JOURNAL_FILE)
        shutil.rmtree(part)
        return Journal.open(directory, name, writer=True)

    @property
    def _stability_name(self) -> str:
        return f"{self.study.study_name}/stability"  # no study's own name holds a slash

    def delete(self) -> None:
        """Take the study out of its storage."""
        optuna.delete_study(study_name=self.study.study_name, storage=self._storage)

    @property
    def facts(self) -> dict[str, Any]:
        """What `create` was told of the study."""
        return dict(self.study.user_attrs)

    @property
    def wants_stability(self) -> bool:
        """Whether the study file asks for configurations to be trained again."""
        tree = parse_document(self.study.user_attrs["study"], "study.yaml").tree
        return bool(tree.get("stability"))

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
        """How many trials the study is to have."""
        return len(self.roster.entries) or int(self.study.user_attrs.get("trials", 0))

    @property
    def finished(self) -> bool:
        """Whether all of them have ended."""
        return sum(record.outcome.ended for record in self.trials()) >= self.planned

    def trials(self) -> list[TrialRecord]:
        """Every proposed trial, by number."""
        frozen = self.study.get_trials(deepcopy=False)
        attributes = self.study.user_attrs
        with _keeping_garbage():
            return [_record(trial, attributes.get(f"mlflow_run:{trial.number}")) for trial in frozen]

    def begin(
        self,
        number: int,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        config: dict[str, Any],
        configuration: str = "",
    ) -> None:
        """Enter a new trial, running, in one write: it is known whole or not at all."""
        label = {"configuration": configuration} if configuration else {}
        template = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs={"config": config} | label,
        )
        trial_id = self._storage.create_new_trial(self.study._study_id, template)
        self._ids[number] = trial_id

    def note(self, number: int, **attributes: Any) -> None:
        """Set user attributes of a trial that has not ended (plain values)."""
        for key, value in attributes.items():
            self._storage.set_trial_user_attr(self.trial_id(number), key, value)

    def note_run(self, number: int, run_id: str) -> None:
        """Note which MLflow run shows a trial, ended or not."""
        self.study.set_user_attr(f"mlflow_run:{number}", run_id)

    def report(self, number: int, report: Report) -> None:
        """Add a report, or replace the one of that step: a continued trial may repeat its last."""
        trial_id = self.trial_id(number)
        content = {
            "images": report.images,
            "seconds": report.seconds,
            "time": report.time,
            "outcome": report.outcome.value if report.outcome else None,
            "reason": report.reason,
            "metrics": {name: _to_json(value) for name, value in report.metrics.items()},
        }
        # The report itself comes last: with it the step is known, and will not be written again.
        value = report.metrics.get(self.metric, math.nan)
        if math.isfinite(value):
            self._storage.set_trial_intermediate_value(trial_id, report.step, value)
        self._storage.set_trial_user_attr(trial_id, f"report:{report.step}", content)

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
        if self._storage.get_trial(self.trial_id(record.number)).state.is_finished():
            return ended
        # The outcome comes last of the attributes: with it the end is decided, see `settle`.
        self.note(record.number, blameless=blameless, reason=reason, outcome=outcome.value)
        self._close(ended)
        return ended

    def settle(self) -> None:
        """Close the trials whose end was decided when their driver died."""
        for record in self.trials():
            if record.outcome.ended:
                self._close(record)

    def _close(self, record: TrialRecord) -> None:
        """Tell Optuna of an end; only an interrupted trial can be told of another one later."""
        trial_id, outcome = self.trial_id(record.number), record.outcome
        trial = self._storage.get_trial(trial_id)
        if trial.state.is_finished():
            return
        best = best_report(record.reports, self.metric, self.goal)
        failed = outcome.unhealthy or (outcome is Outcome.COMPLETED and best is None)
        if failed and not trial.constraints:
            violation = 2 - min(record.step / self.steps, 1)
            optuna.Trial(self.study, trial_id).set_constraint(CONSTRAINT, violation)
        if outcome is Outcome.INTERRUPTED:
            self._storage.set_trial_state_values(trial_id, TrialState.WAITING)
        elif outcome is Outcome.COMPLETED and best is not None:
            self.study.tell(record.number, best.value)
        elif outcome is Outcome.FAILED:
            self.study.tell(record.number, state=TrialState.FAIL)
        else:
            self.study.tell(record.number, state=TrialState.PRUNED)

    def reopen(self, record: TrialRecord) -> TrialRecord:
        """Mark an unfinished trial as running again."""
        trial_id = self.trial_id(record.number)
        if self._storage.get_trial(trial_id).state == TrialState.WAITING:
            self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        if record.outcome is not Outcome.RUNNING:
            self.note(record.number, outcome=Outcome.RUNNING.value, reason="")
        return replace(record, outcome=Outcome.RUNNING, reason="")

    def trial_id(self, number: int) -> int:
        """The storage's own id of a trial."""
        if number not in self._ids:
            for trial in self.study.get_trials(deepcopy=False):
                self._ids[trial.number] = trial._trial_id
        return self._ids[number]


@contextmanager
def _keeping_garbage() -> Iterator[None]:
    """Loading makes millions of objects that all stay: to look for garbage among them, again and
    again, takes a third of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _JournalFile(JournalFileBackend):
    """Optuna's journal file, of which many lines are parsed at once.

    Lines that are parsed together share the strings of their keys: a journal of 5,000 trials with 50
    reports each, half a million lines, takes a third less memory, and a quarter less time.
    """

    _LINES = 1000

    def __init__(self, file_path: str) -> None:
        super().__init__(file_path)
        self._end = (0, 0)  # how many logs were read, and where in the file they end

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """All logs from a number on; a line that is not whole yet is left for the next time."""
        number, place = self._end if self._end[0] <= log_number_from else (0, 0)
        with Path(self._file_path).open("rb") as file:
            file.seek(place)
            lines = itertools.takewhile(lambda line: line.endswith(b"\n"), file)
            for line in itertools.islice(lines, log_number_from - number):
                number, place = number + 1, place + len(line)
            while batch := list(itertools.islice(lines, self._LINES)):
                yield from json.loads(b"[" + b",".join(batch) + b"]")
                number, place = number + len(batch), place + sum(map(len, batch))
        self._end = (number, place)


def _has_roster(backend: BaseStorage, name: str) -> bool:
    if name not in optuna.get_all_study_names(backend):
        return False
    return "roster" in backend.get_study_user_attrs(backend.get_study_id_from_name(name))


def _open_storage(directory: Path, url: str | None) -> BaseStorage:
    if url is None:
        return JournalStorage(_JournalFile(str(directory / JOURNAL_FILE)))
    try:
        return RDBStorage(url)
    except Exception as error:  # whatever the database's driver raises
        raise StudyError(f"cannot open the Optuna storage: {_without_password(error, url)}") from error


def _without_password(error: Exception, url: str) -> str:
    """The message, with no secret in it."""
    credentials = url.partition("://")[2].rpartition("@")[0]
    secret = credentials.partition(":")[2]
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.replace(secret, "***") if secret else text


def _mend(path: Path) -> None:
    """Undo what a writer killed in the middle of a write leaves behind.

    Half a line would join with the next one and make the whole journal unreadable; a lock that
    nobody holds would delay the first write by Optuna's grace period of 30 s.
    """
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def _record(trial: FrozenTrial, run_id: str | None) -> TrialRecord:
    attributes = trial.user_attrs
    reports = [
        _report(int(key.partition(":")[2]), content)
        for key, content in attributes.items()
        if key.startswith("report:")
    ]
    return TrialRecord(
        number=trial.number,
        params=dict(trial.params),
        config=attributes["config"],
        outcome=Outcome(attributes.get("outcome", Outcome.RUNNING)),
        reason=attributes.get("reason", ""),
        reports=sorted(reports, key=lambda report: report.step),
        provenance=attributes.get("provenance", {}),
        mlflow_run_id=run_id,
        configuration=attributes.get("configuration", ""),
        blameless=attributes.get("blameless", False),
    )


def _report(step: int, content: Mapping[str, Any]) -> Report:
    return Report(
        step=step,
        images=content["images"],
        seconds=content["seconds"],
        metrics={name: float(value) for name, value in content["metrics"].items()},
        time=content["time"],
        outcome=Outcome(content["outcome"]) if content["outcome"] else None,
        reason=content["reason"],
    )


def _to_json(value: float) -> float | str:
    """JSON has no NaN and no infinity: they are written as words, which `float` reads back."""
    return value if math.isfinite(value) else str(value)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `trials.csv`: one row a trial, the columns of all of them, whole or not at all."""
    columns = dict.fromkeys(key for row in rows for key in row)
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or ["number"])
        writer.writeheader()
        writer.writerows({k: _cell(v) for k, v in row.items()} for row in rows)
    part.replace(path)


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value

"""A journal in a team's database, laid out as Optuna does: what an event changes is one transaction."""

from __future__ import annotations

import functools
import json
import time
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from gansearch.errors import StorageError, StudyError
from gansearch.journal.changes import PAUSES, Change, TrialStorage, log
from gansearch.journal.urls import NOTICED, cause_of, shown

if TYPE_CHECKING:
    from sqlalchemy import Connection


_T = TypeVar("_T")


def _patient(name: str) -> Any:
    """A method of Optuna's that waits for the database; one that may be called again."""
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def call(self: DatabaseStorage, *args: Any, **kwargs: Any) -> Any:
        return self._patiently(lambda: method(self, *args, **kwargs))

    return call


class DatabaseStorage(RDBStorage, TrialStorage):
    """A team's trials in a database, as Optuna lays them out there.

    On PostgreSQL and SQLite all that was written since the last flush goes in one transaction of a few
    statements. They put what is to be there in the place of what is there, and so can be sent again
    when nobody knows whether they have arrived. A driver that is killed loses what it has not flushed;
    `Ledger` says what becomes of that. On other databases each value goes as Optuna sends it.

    Where the database does not answer, calls wait for it, `patience` seconds at most (0 at first, for
    an address may be wrong) and until `give_up` says so; then they raise `StorageError`.
    """

    create_new_study = _patient("create_new_study")
    get_all_studies = _patient("get_all_studies")
    get_study_id_from_name = _patient("get_study_id_from_name")
    get_study_name_from_id = _patient("get_study_name_from_id")
    get_study_directions = _patient("get_study_directions")
    set_study_user_attr = _patient("set_study_user_attr")
    get_study_system_attrs = _patient("get_study_system_attrs")

    def __init__(self, url: str) -> None:
        remote = url.startswith("postgresql")
        super().__init__(url, {"connect_args": NOTICED} if remote else None)
        from optuna.storages._rdb import models  # noqa: PLC0415  which imports SQLAlchemy

        self.patience = 0.0
        self.give_up: Callable[[], bool] = lambda: False
        self._models = models
        self._trials = models.TrialModel.__table__
        self._groups = self.engine.dialect.name in ("postgresql", "sqlite")
        self._puts: dict[Any, Any] = {}  # a statement for each table
        self._changes: list[Change] = []
        self._notes: dict[tuple[int, str], Any] = {}
        self._last_begun = 0
        self._gone: StorageError | None = None

    def begin(self, study_id: int, number: int, template: FrozenTrial) -> int:
        """See `TrialStorage`; where nobody knows whether the trial has arrived, it is looked for."""
        self.flush()

        def enter() -> int:
            with self.engine.begin() as connection:
                known = self._look_for(study_id, number, template, connection)
                if known or self._groups:
                    return known or self._begin(study_id, number, template, connection)
            return RDBStorage.create_new_trial(self, study_id, template)

        self._last_begun = self._patiently(enter)
        return self._last_begun

    def write(self, change: Change) -> None:
        """See `TrialStorage`."""
        self._changes.append(change)

    def note(self, study_id: int, user_attrs: Mapping[str, Any]) -> None:
        """See `TrialStorage`."""
        self._notes |= {(study_id, key): value for key, value in user_attrs.items()}

    def flush(self) -> None:
        """See `TrialStorage`."""
        if not (self._changes or self._notes):
            return
        if self._groups:
            self._patiently(lambda: self._transact(self._send))
        else:
            self._patiently(self._send_singly)
        self._changes, self._notes = [], {}

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """The study's user attributes, with all that was told before."""
        self.flush()
        found: dict[str, Any] = self._patiently(lambda: RDBStorage.get_study_user_attrs(self, study_id))
        return found

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The trial, with all that was told before."""
        self.flush()
        return self._patiently(lambda: RDBStorage.get_trial(self, trial_id))

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """All newer trials of a study and some older ones: six statements, however many they are.

        Optuna's own makes an object of each value, which takes ten times as long.
        """
        from sqlalchemy import or_  # noqa: PLC0415

        self.flush()
        trials = self._trials
        newer = trials.c.trial_id > trial_id_greater_than
        wanted = trials.c.study_id == study_id
        wanted &= or_(newer, trials.c.trial_id.in_(included_trial_ids)) if included_trial_ids else newer
        found = self._patiently(lambda: self._transact(lambda c: self._read(c, wanted)))
        return [trial for trial in found if states is None or trial.state in states]

    def _begin(self, study_id: int, number: int, template: FrozenTrial, connection: Connection) -> int:
        models = self._models
        new = self._trials.insert().returning(self._trials.c.trial_id)
        trial_id: int = connection.execute(
            new,
            {
                "study_id": study_id,
                "number": number,
                "state": template.state,
                "datetime_start": _utc(template.datetime_start),
            },
        ).scalar_one()
        params = [
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": distribution.to_internal_repr(template.params[name]),
                "distribution_json": distribution_to_json(distribution),
            }
            for name, distribution in template.distributions.items()
        ]
        self._put(connection, models.TrialParamModel, ("trial_id", "param_name"), params)
        attrs = {(trial_id, key): value for key, value in template.user_attrs.items()}
        self._put_attrs(connection, models.TrialUserAttributeModel, attrs)
        return trial_id

    def _look_for(
        self, study_id: int, number: int, template: FrozenTrial, connection: Connection
    ) -> int | None:
        """The id of the trial, if it has been entered; raises `StudyError` if that was another one."""
        from sqlalchemy import select  # noqa: PLC0415

        trials = self._trials
        newest = (
            select(trials.c.trial_id, trials.c.number)
            .where(trials.c.study_id == study_id, trials.c.trial_id >= self._last_begun)
            .order_by(trials.c.trial_id.desc())
            .limit(1)
        )
        last = connection.execute(newest).one_or_none()
        if (last.number if last else -1) == number - 1:
            return None
        if last and last.number == number:
            [trial] = self._read(connection, trials.c.trial_id == last.trial_id)
            if (trial.params, trial.user_attrs) == (template.params, template.user_attrs):
                return int(last.trial_id)
        raise StudyError(f"trial {number} is not as it was: somebody else writes to the same study")

    def _send(self, connection: Connection) -> None:
        models, changes = self._models, self._changes
        intermediate = {(c.trial_id, k): v for c in changes for k, v in c.intermediate_values.items()}
        store = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr
        rows = [
            {
                "trial_id": trial_id,
                "step": step,
                **dict(zip(("intermediate_value", "intermediate_value_type"), store(v), strict=True)),
            }
            for (trial_id, step), v in intermediate.items()
        ]
        self._put(connection, models.TrialIntermediateValueModel, ("trial_id", "step"), rows)
        for model, attrs in (
            (models.TrialUserAttributeModel, [(c, c.user_attrs) for c in changes]),
            (models.TrialSystemAttributeModel, [(c, c.system_attrs) for c in changes]),
        ):
            flat = {(c.trial_id, key): value for c, own in attrs for key, value in own.items()}
            self._put_attrs(connection, model, flat)
        for change in changes:
            if change.state is not None:
                self._send_state(connection, change, change.state)
        rows = [
            {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
            for (study_id, key), value in self._notes.items()
        ]
        self._put(connection, models.StudyUserAttributeModel, ("study_id", "key"), rows)

    def _send_state(self, connection: Connection, change: Change, state: TrialState) -> None:
        model = self._models.TrialValueModel
        rows = []
        for objective, value in enumerate(change.values or ()):
            stored, kind = model.value_to_stored_repr(value)
            row = {"trial_id": change.trial_id, "objective": objective}
            rows.append(row | {"value": stored, "value_type": kind})
        self._put(connection, model, ("trial_id", "objective"), rows)
        new: dict[str, Any] = {"state": state}
        if state == TrialState.RUNNING:
            new["datetime_start"] = _utc(change.time)
        elif state.is_finished():
            new["datetime_complete"] = _utc(change.time)
        connection.execute(
            self._trials.update().where(self._trials.c.trial_id == change.trial_id).values(new)
        )

    def _put_attrs(
        self, connection: Connection, model: Any, attrs: Mapping[tuple[int, str], Any]
    ) -> None:
        rows = [
            {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
            for (trial_id, key), value in attrs.items()
        ]
        self._put(connection, model, ("trial_id", "key"), rows)

    def _put(
        self, connection: Connection, model: Any, keys: Sequence[str], rows: list[dict[str, Any]]
    ) -> None:
        """Insert rows; one whose keys are there already takes the place of that."""
        if not rows:
            return
        if model not in self._puts:
            from sqlalchemy.dialects import postgresql, sqlite  # noqa: PLC0415

            insert: Any = sqlite.insert if self.engine.dialect.name == "sqlite" else postgresql.insert
            new = insert(model.__table__).inline()  # nobody asks for the rows' own ids
            others = {name: new.excluded[name] for name in rows[0] if name not in keys}
            self._puts[model] = new.on_conflict_do_update(index_elements=keys, set_=others)
        connection.execute(self._puts[model], rows)

    def _send_singly(self) -> None:
        """Value by value, the state last: where that is there, so is all before it."""
        for change in self._changes:
            with suppress(UpdateFinishedTrialError):
                for step, value in change.intermediate_values.items():
                    self.set_trial_intermediate_value(change.trial_id, step, value)
                for key, value in change.user_attrs.items():
                    self.set_trial_user_attr(change.trial_id, key, value)
                for key, value in change.system_attrs.items():
                    self.set_trial_system_attr(change.trial_id, key, value)
                if change.state is not None:
                    self.set_trial_state_values(change.trial_id, change.state, change.values)
        for (study_id, key), value in self._notes.items():
            RDBStorage.set_study_user_attr(self, study_id, key, value)

    def _read(self, connection: Connection, wanted: Any) -> list[FrozenTrial]:
        from sqlalchemy import select  # noqa: PLC0415

        models, trials = self._models, self._trials
        heads = connection.execute(select(trials).where(wanted).order_by(trials.c.trial_id)).all()

        def of_trials(model: Any) -> dict[int, list[Any]]:
            table = model.__table__
            chosen = select(table).join(trials, table.c.trial_id == trials.c.trial_id).where(wanted)
            rows: dict[int, list[Any]] = defaultdict(list)
            for row in connection.execute(chosen.order_by(*table.primary_key)):
                rows[row.trial_id].append(row)
            return rows

        params = of_trials(models.TrialParamModel)
        values = of_trials(models.TrialValueModel)
        intermediate = of_trials(models.TrialIntermediateValueModel)
        user_attrs = of_trials(models.TrialUserAttributeModel)
        system_attrs = of_trials(models.TrialSystemAttributeModel)
        value_of = models.TrialValueModel.stored_repr_to_value
        intermediate_of = models.TrialIntermediateValueModel.stored_repr_to_intermediate_value
        kinds: dict[str, BaseDistribution] = {}  # most trials have the same ones
        found = []
        for head in heads:
            own = params[head.trial_id]
            for p in own:
                if p.distribution_json not in kinds:
                    kinds[p.distribution_json] = json_to_distribution(p.distribution_json)
            axes = {p.param_name: kinds[p.distribution_json] for p in own}
            told = sorted(values[head.trial_id], key=lambda row: row.objective)
            trial = FrozenTrial(
                number=head.number,
                state=head.state,
                value=None,
                values=[value_of(row.value, row.value_type) for row in told] or None,
                datetime_start=_local(head.datetime_start),
                datetime_complete=_local(head.datetime_complete),
                params={p.param_name: axes[p.param_name].to_external_repr(p.param_value) for p in own},
                distributions=axes,
                user_attrs={row.key: json.loads(row.value_json) for row in user_attrs[head.trial_id]},
                system_attrs={
                    row.key: json.loads(row.value_json) for row in system_attrs[head.trial_id]
                },
                intermediate_values={
                    row.step: intermediate_of(row.intermediate_value, row.intermediate_value_type)
                    for row in intermediate[head.trial_id]
                },
                trial_id=head.trial_id,
            )
            found.append(trial)
        return found

    def _transact(self, action: Callable[[Connection], _T]) -> _T:
        with self.engine.begin() as connection:
            return action(connection)

    def _patiently(self, call: Callable[[], _T]) -> _T:
        """What a call returns, once the database answers."""
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        if self._gone is not None:  # what follows, on the way out, is not to wait again
            raise self._gone
        tries, since, pause = 0, time.monotonic(), PAUSES[0]
        while True:
            try:
                result = call()
            except (SQLAlchemyError, StorageInternalError) as error:
                cause = error.__cause__ or error if isinstance(error, StorageInternalError) else error
                tries += 1
                self._bear(cause, tries, time.monotonic() - since)
                if tries > 1:  # a connection from before a restart fails once
                    self._wait(pause)
                    pause = min(2 * pause, PAUSES[1])
            else:
                if tries > 1:
                    log.warning("the database is back after %.0f s", time.monotonic() - since)
                return result

    def _bear(self, error: BaseException, tries: int, waited: float) -> None:
        """Raise what waiting does not mend, or when there has been enough of it."""
        from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError  # noqa: PLC0415

        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        away = lost or isinstance(error, OperationalError | InterfaceError) or _is_standby(error)
        if away and tries == 1 and (lost or self.patience):
            return
        reason = cause_of(error, self.engine.url.password)
        address = shown(self.engine.url)
        if not away:
            raise StorageError(f"the database at {address} refuses: {reason}") from error
        if waited >= self.patience or self.give_up():
            mend = "`gansearch resume` goes on when it does" if self.patience else "is it there?"
            self._gone = StorageError(f"the database at {address} does not answer ({reason}): {mend}")
            raise self._gone from error
        if tries == 2:
            text = "the database does not answer (%s); waiting for it, for %.0f min at most"
            log.warning(text, reason, self.patience / 60)

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.give_up():
            time.sleep(0.05)


def _is_standby(error: BaseException) -> bool:
    """Whether PostgreSQL takes no writes just now: another server takes over from one that died."""
    cause = getattr(error, "orig", None)
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)  # psycopg, psycopg2
    return state == "25006"


def _utc(time_: datetime | None) -> datetime | None:
    """A time as Optuna's tables have it: UTC without a zone; one without a zone here is local time."""
    return time_ and time_.astimezone(UTC).replace(tzinfo=None)


def _local(time_: datetime | None) -> datetime | None:
    return time_ and time_.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)

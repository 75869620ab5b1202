"""A journal as Optuna reads it, record by record, and what each may say after those before it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from optuna.storages.journal._storage import JournalStorageReplayResult

from gansearch.journal.shape import faults_of_log


class Unusable(ValueError):
    """A record that cannot be used, and why, in words that go on with those for its place."""


class Reading(JournalStorageReplayResult):
    """What has been read of a journal.

    Optuna leaves out in silence what is told of a study or trial that has not begun, and takes the
    beginning of a trial that stands twice for two trials. Here both raise `Unusable`.

    Args:
        worker_id_prefix: begins the ids of those who write in this process, as Optuna has it.

    Attributes:
        excused: trials of a lower id may have begun in lines that are lost: what is told of them is
            left out, and is no fault.
    """

    def __init__(self, worker_id_prefix: str = "") -> None:
        super().__init__(worker_id_prefix)
        self.excused = 0
        self._begun: set[Hashable] = set()

    def _apply_create_study(self, log: dict[str, Any]) -> None:
        _check(log)
        super()._apply_create_study(log)

    def _apply_create_trial(self, log: dict[str, Any]) -> None:
        _check(log)
        mark = _mark(log)
        if mark in self._begun:
            raise Unusable(f"is the beginning of the trial of seed {mark[-1]} again")
        super()._apply_create_trial(log)
        self._begun.add(mark)

    def _study_exists(self, study_id: int, log: dict[str, Any]) -> bool:
        if study_id not in range(self._next_study_id):
            raise Unusable("is of a study that has not begun")
        return super()._study_exists(study_id, log)

    def _trial_exists_and_updatable(self, trial_id: int, log: dict[str, Any]) -> bool:
        if trial_id not in self._trials and trial_id not in range(self.excused):
            raise Unusable(f"is of trial {trial_id}, which has not begun")
        return super()._trial_exists_and_updatable(trial_id, log)


def _check(log: Mapping[str, Any]) -> None:
    """Look at the shape of what begins a study or a trial: that of the rest is looked at when it is
    used, for there is much of it.
    """
    if faults := faults_of_log(log):
        raise Unusable("; ".join(faults))


def _mark(log: Mapping[str, Any]) -> tuple[Hashable, ...]:
    """What tells the beginning of one trial from that of any other: when who began which seed."""
    seed = log.get("user_attrs", {}).get("config", {}).get("seed")
    return repr(log.get("worker_id")), log["datetime_start"], seed

"""What an event changes of a trial, and the storage that takes all of it at once.

Optuna's storages write one value a call, each of which is a transaction of its own: a trial of twenty
reports is 46 of them. Here a report is one change, and an end another.

Every kind can be read by all of Optuna, and by optuna-dashboard, at any time, and is written by one
process only: the one that holds the study. (Where another one appends to a journal file all the same,
such as a note made in optuna-dashboard, it is seen.)
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from optuna.trial import FrozenTrial, TrialState

from gansearch.errors import seconds_of

PATIENCE = 600.0
"""Seconds for which a study waits for its database, where GANSEARCH_STORAGE_PATIENCE does not say."""

PAUSES = (0.1, 5.0)
"""The first and the longest pause between two tries, in seconds; each is twice the one before."""


@dataclass(frozen=True)
class Change:
    """What one event changes of a trial; to write it twice is to write it once.

    Attributes:
        trial_id: the storage's own id of the trial.
        intermediate_values: the objective by step.
        user_attrs, system_attrs: plain values by key, in the order in which they are to be written.
        state: the new one; None: it stays.
        values: the objectives of a trial that has ended.
        time: when it happened.
    """

    trial_id: int
    intermediate_values: Mapping[int, float] = field(default_factory=dict)
    user_attrs: Mapping[str, Any] = field(default_factory=dict)
    system_attrs: Mapping[str, Any] = field(default_factory=dict)
    state: TrialState | None = None
    values: Sequence[float] | None = None
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def apply(self, trial: FrozenTrial) -> None:
        """Make it on a trial in memory."""
        trial.intermediate_values.update(self.intermediate_values)
        trial.user_attrs.update(self.user_attrs)
        trial.system_attrs.update(self.system_attrs)
        if self.state is None:
            return
        trial.state = self.state
        if self.values is not None:
            trial.values = self.values
        if self.state.is_finished():
            trial.datetime_complete = self.time.astimezone().replace(tzinfo=None)


class TrialStorage(Protocol):
    """What a journal asks of a storage, besides what Optuna's all have."""

    @abstractmethod
    def begin(self, study_id: int, number: int, template: FrozenTrial) -> int:
        """Enter the trial of the next free number, durably; returns its id."""

    @abstractmethod
    def write(self, change: Change) -> None:
        """Write a change; it may be lost with the machine, until `flush`."""

    @abstractmethod
    def note(self, study_id: int, user_attrs: Mapping[str, Any]) -> None:
        """Set user attributes of the study; as for `write`."""

    @abstractmethod
    def flush(self) -> None:
        """Make durable all that was written."""


def patience() -> float:
    """Seconds for which a study waits for its database; raises `UserError` if that is no number."""
    return seconds_of("GANSEARCH_STORAGE_PATIENCE", PATIENCE)


log = logging.getLogger("gansearch.journal")

"""The tracker: a thread that keeps MLflow looking like the trials' records, late but never wrong.

The study's thread only says which record has changed. A server that is down, slow or hung costs it
nothing; what could not be sent stays due, and is sent when MLflow answers, at the next start on the
same store, or by `sync`.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gansearch.masking import without_password
from gansearch.study.config import flatten
from gansearch.study.records import Goal, TrialRecord
from gansearch.tracking import away
from gansearch.tracking.client import one_line
from gansearch.tracking.runs import Samples, StudyRuns
from gansearch.tracking.store import sqlite_file
from gansearch.tracking.translate import Phase, Status

log = logging.getLogger("gansearch.tracking")

LONGEST_PAUSE = 30.0

PATIENCE, FILE_PATIENCE = 60.0, 600.0
"""Seconds without an answer after which MLflow is left at the end of a study. A server may hang, though
it says that it is there; a file has nobody who could, but on a busy machine it takes minutes to import
mlflow and to make the file."""

CLOSING_TRIES = 3
"""Visits in a row, at the end of a study, that fail before one more trial has been sent: then MLflow is
left. A server that is down refuses at once, and one that answers may refuse for ever."""

LOOK_EVERY, TELL_EVERY = 0.2, 15.0
"""Seconds, at the end, between two looks at whether MLflow answers, and between two words on it."""

TOGETHER = 100
"""New runs that are written at once, where the store takes that."""

OF_THE_TRIAL = {
    "INVALID_PARAMETER_VALUE",
    "BAD_REQUEST",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
}
"""Errors of MLflow that sending the same thing again cannot mend."""


Waiting = Callable[[int, float], None]
"""Is told how many trials are still to be sent, and for how many seconds MLflow has said nothing; 0
where it answers.
"""


@dataclass(frozen=True)
class _Closing:
    status: Status
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


class Tracker:
    """MLflow's picture of one study: an experiment, a parent run, and one run for each trial.

    The trials of a stability study are below their configurations' runs: study, configuration, seed.

    The thread starts at once and is a daemon; mlflow is imported in it. A new tracker on the same
    store goes on where the last one was, however that ended.

    Args:
        uri: MLflow's tracking URI, `sqlite:///...` or `http://...`.
        study: the study's name, which is the experiment's.
        metric: the objective; its running best is logged as `best.<metric>`.
        goal: whether the objective is to be small or large.
        artifacts: where a new experiment keeps artifacts; None: the store's own choice.
        study_tags: tags of the parent run.
        study_file: the resolved study, YAML text; an artifact of the parent run.
        samples: (trial number, step) -> the PNG of its sample grid, or None; called in the thread.
        identity: tells this study from others of the same name on a shared server.
        interval: seconds between two visits to MLflow, at least.
        phase: whose trials these are, the search's or the stability study's, which has trial numbers of
            its own and shows each of its trials as a seed below its configuration. Both have the
            same study run, so only one tracker of a study is to be at work at a time.
    """

    def __init__(
        self,
        uri: str,
        study: str,
        *,
        metric: str,
        goal: Goal,
        artifacts: str | None = None,
        study_tags: Mapping[str, str] | None = None,
        study_file: str = "",
        samples: Samples = lambda number, step: None,  # noqa: ARG005
        identity: str = "",
        interval: float = 1.0,
        phase: Phase = "search",
    ) -> None:
        self._runs = StudyRuns(
            uri,
            study,
            identity=identity or study,
            artifacts=artifacts,
            study_tags=study_tags or {},
            study_file=study_file,
            samples=samples,
            metric=metric,
            goal=goal,
            phase=phase,
        )
        self._interval = interval
        self._changed = threading.Condition()
        self._due: dict[int, TrialRecord] = {}
        self._in_hand: list[TrialRecord] = []
        self._refused: dict[int, str] = {}
        self._ids: dict[int, str] = {}
        self._told: dict[int, str] = {}
        self._first_params: dict[str, Any] = {}
        self._axes: set[str] = set()
        self._laid_out: tuple[list[str], list[str]] | None = None
        self._closing: _Closing | None = None
        self._left = False
        self._ended = False
        self._settled = self._settled_then = self._in_vain = 0
        self._failures = 0
        self._trouble = ""
        self._thread = threading.Thread(target=self._work, name="gansearch-mlflow", daemon=True)
        self._thread.start()

    def submit(self, record: TrialRecord) -> None:
        """Have MLflow's run of this trial look like this record soon. Returns at once."""
        with self._changed:
            self._due[record.number] = record
            self._refused.pop(record.number, None)
            self._changed.notify()

    def run_ids(self) -> dict[int, str]:
        """Trial number -> run id, for those found or created since the last call."""
        with self._changed:
            new, self._ids = self._ids, {}
        return new

    def unsent(self) -> dict[int, str]:
        """Trial number -> why MLflow does not have all of it (yet)."""
        with self._changed:
            due = [*self._due, *(record.number for record in self._in_hand)]
            return dict.fromkeys(due, self._trouble or "not sent yet") | self._refused

    def finish(
        self,
        status: Status,
        *,
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        patience: float | None = None,
        waiting: Waiting = lambda unsent, silence: None,  # noqa: ARG005
    ) -> int:
        """Send what is due, end the parent run, stop the thread; no run is left RUNNING.

        It takes as long as there is progress: a busy server is waited for while it answers, and takes
        one trial after another.

        Args:
            status: of the parent run: FINISHED, or KILLED for a study that may go on.
            tags, metrics: a summary for the parent run.
            patience: seconds without an answer after which MLflow is left, whatever it does; None:
                `PATIENCE`, and of a file `FILE_PATIENCE`.
            waiting: told every `TELL_EVERY` seconds how many trials are still to be sent, and at once
                when a server says nothing: one that does not even say that it is there is left.

        Returns:
            how many trials could not be sent, `unsent` tells which; at least 1 where the parent run
            could not be ended. `sync` mends both.
        """
        with self._changed:
            self._closing = _Closing(status, tags or {}, metrics or {})
            self._changed.notify()
        if patience is None:
            patience = PATIENCE if self._is_served else FILE_PATIENCE
        begun = told = time.monotonic()
        asked = -math.inf
        try:
            while self._thread.is_alive():
                self._thread.join(min(LOOK_EVERY, patience))
                now = time.monotonic()
                answered = max(begun, self._runs.answered)
                if now - answered > patience:
                    self._trouble = self._trouble or f"no answer for {patience:g} s"
                    break
                if now - answered > away.SECONDS and asked < answered and self._is_served:
                    waiting(len(self.unsent()), now - answered)
                    asked = told = now
                    if why := away.why_away(self._runs.uri):
                        self._trouble = why
                        break
                if now - told > TELL_EVERY and (unsent := len(self.unsent())):
                    waiting(unsent, 0.0)
                    told = now
        finally:
            self._left = True  # also on Ctrl-C: nothing more is to be taken in hand
        return len(self.unsent()) or int(not self._ended)

    @property
    def _is_served(self) -> bool:
        return sqlite_file(self._runs.uri) is None

    def _work(self) -> None:
        while not self._ended:
            try:
                self._visit()
            except Exception as error:  # whatever it is, the study goes on
                if self._gives_up(error):
                    return
            else:
                self._answers()
            self._wait()

    def _visit(self) -> None:
        """Send all that is due now; raises what keeps MLflow from taking any more."""
        if not self._runs.connected:
            self._runs.connect()
        with self._changed:
            numbers = list(self._due)
        for start in range(0, len(numbers), TOGETHER):
            self._hand_over_new(numbers[start : start + TOGETHER])
        for number in numbers:
            self._hand_over(number)
        axes, labels = sorted(self._axes), self._runs.labels
        if (axes, labels) != self._laid_out:
            self._runs.lay_out(axes)
            self._laid_out = (axes, labels)
        with self._changed:
            closing = None if self._due else self._closing
        if closing:
            self._runs.end(closing.status, closing.tags, closing.metrics)
            self._ended = True

    def _take(self, numbers: Iterable[int]) -> list[TrialRecord]:
        with self._changed:
            if self._left:
                raise TimeoutError("MLflow was left, as it did not answer")
            self._in_hand = [self._due.pop(number) for number in numbers if number in self._due]
            return self._in_hand

    def _hand_over_new(self, numbers: Iterable[int]) -> None:
        """Send those together that MLflow has not seen; the others, and what it refuses, stay due."""
        records, sent = self._take(numbers), {}
        try:
            sent = self._runs.send_new(records)
        except Exception as error:  # one by one it can be told which of them it is
            log.debug("MLflow does not take %d trials together: %s", len(records), one_line(error))
        finally:
            with self._changed:
                for record in records:
                    if record.number not in sent:
                        self._due.setdefault(record.number, record)
                self._in_hand = []
        for record in records:
            if record.number in sent:
                self._note(record, sent[record.number])

    def _hand_over(self, number: int) -> None:
        if not (taken := self._take([number])):
            return
        [record] = taken
        try:
            run_id = self._runs.send(record)
        except Exception as error:
            if not _is_of_the_trial(error):
                with self._changed:  # to the end of the queue: the others are not to wait for it
                    self._due.setdefault(number, record)
                raise
            self._refuse(number, error)
        else:
            self._note(record, run_id)
        finally:
            self._in_hand = []

    def _note(self, record: TrialRecord, run_id: str) -> None:
        params = flatten(record.config)
        self._first_params = self._first_params or params
        names = params.keys() | self._first_params.keys()
        self._axes |= {n for n in names if params.get(n) != self._first_params.get(n)} - {"seed"}
        self._settled += 1
        with self._changed:
            if self._told.get(record.number, record.mlflow_run_id) != run_id:
                self._told[record.number] = self._ids[record.number] = run_id

    def _refuse(self, number: int, error: Exception) -> None:
        self._settled += 1
        reason = one_line(error)
        log.warning("MLflow does not take trial %d: %s", number, reason)
        with self._changed:
            self._refused[number] = reason

    def _gives_up(self, error: Exception) -> bool:
        """Note a visit that failed; whether it was the last."""
        self._runs.disconnect()
        if self._left:
            return True
        self._trouble = one_line(error)
        self._failures += 1
        if self._failures == 1:
            log.warning(
                "MLflow at %s does not take our runs; what is missing is sent later. %s",
                without_password(self._runs.uri),
                self._trouble,
            )
        if self._closing is None:
            return False
        self._in_vain = 1 if self._settled > self._settled_then else self._in_vain + 1
        self._settled_then = self._settled
        time.sleep(1.0)
        return self._in_vain >= CLOSING_TRIES

    def _answers(self) -> None:
        if self._failures:
            log.warning("MLflow at %s takes our runs again.", without_password(self._runs.uri))
        self._failures, self._trouble = 0, ""

    def _wait(self) -> None:
        """Sleep: the interval, in which changes collect; longer after each failure in a row."""
        pause = min(self._interval * 2**self._failures, max(LONGEST_PAUSE, self._interval))
        with self._changed:
            self._changed.wait_for(lambda: self._closing, pause)
            self._changed.wait_for(lambda: self._closing or self._due or self._failures)


def sync(
    tracker: Tracker,
    records: Iterable[TrialRecord],
    status: Status,
    *,
    tags: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    patience: float = FILE_PATIENCE,
    waiting: Waiting = lambda unsent, silence: None,  # noqa: ARG005
) -> int:
    """Mirror a study that is not running, to the end; returns how many trials could not be sent.

    Arguments as for `Tracker.finish`.
    """
    for record in records:
        tracker.submit(record)
    return tracker.finish(status, tags=tags, metrics=metrics, patience=patience, waiting=waiting)


def _is_of_the_trial(error: Exception) -> bool:
    """Whether sending the same again is futile; else the store is at fault, and may recover."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    if isinstance(error, MlflowException):
        return error.error_code in OF_THE_TRIAL
    return not isinstance(error, OSError)

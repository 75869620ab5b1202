"""A trial's folder as its worker writes it: checkpoints, samples, what it printed, its error."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from PIL.Image import Image

from gansearch import files
from gansearch.errors import StorageError
from gansearch.journal.directory import ERROR, LOG, StudyDirectory
from gansearch.masking import without_password
from gansearch.study.config import TrialConfig
from gansearch.study.records import Report
from gansearch.training import checkpoint
from gansearch.training.building import same_training
from gansearch.training.export_folder import write_picture
from gansearch.tuning.log import TrialLog

log = logging.getLogger(__name__)

_T = TypeVar("_T")

USAGE = "usage"
"""The key under which a checkpoint holds, by step, what its worker has used of the machine."""


class TrialFolder:
    """Where a trial leaves what another worker, a resumed driver or an export may need.

    Args:
        directory: of the study.
        number: of the trial.
        config: of the trial.

    Attributes:
        log: what the trial prints.
        saved: the step of its newest checkpoint, as far as is known here.
        usage: step -> what was used of the machine since the report before.
    """

    def __init__(self, directory: StudyDirectory, number: int, config: TrialConfig) -> None:
        self._directory, self._number, self._config = directory, number, config
        self.path = directory.trial(number)
        self.log = TrialLog(self.path / LOG)
        self.saved = 0
        self.usage: dict[int, Mapping[str, float]] = {}

    def latest(self) -> dict[str, Any] | None:
        """The state of the newest checkpoint that can be read; raises `StorageError`.

        None where it is another configuration's: a journal that was cut back has proposed another one
        for this number since, which begins afresh.
        """
        state = self._patiently(lambda: checkpoint.latest(self.path), "read")
        if state is not None and self._is_foreign(state):
            self.log.write("this folder held checkpoints of another configuration: begun afresh\n")
            with _forgiving("checkpoints of another configuration"):
                checkpoint.keep(self.path, set())
            state = None
        if state is not None:
            self.usage = dict(state.get(USAGE, {}))  # once the reports had it
            self.saved = max(self.usage, default=state.get("step", 0))
        return state

    def _is_foreign(self, state: Mapping[str, Any]) -> bool:
        made_by = state.get("config")
        if made_by is None:  # a toy trainer's
            return False
        return not same_training(TrialConfig.model_validate(made_by), self._config)

    def save(self, state: Mapping[str, Any], reports: list[Report]) -> None:
        """Write a checkpoint at the last of a trial's reports; keep that, one before it and the best.

        Raises:
            StorageError: the disk, or the object store, refuses it for longer than `files.PATIENCE`.
        """
        step = reports[-1].step
        whole = {**state, USAGE: {s: dict(used) for s, used in self.usage.items()}}
        self._patiently(lambda: checkpoint.save(self.path, step, whole), "save")
        self.saved = step
        best = self._config.best(reports)
        # The one before the newest is there for when the newest turns out to be damaged.
        wanted = {one.step for one in reports[-2:]} | ({best.step} if best else set())
        with _forgiving("an old checkpoint"):
            checkpoint.keep(self.path, wanted, up_to=step)

    def show(self, grid: Image, step: int) -> None:
        """Write a sample grid."""
        with _forgiving("a sample grid"):
            write_picture(grid, self._directory.sample(self._number, step))

    def write_error(self, error: BaseException) -> None:
        """Write down where an error came from."""
        trace = without_password("".join(traceback.format_exception(error)))
        with _forgiving("the traceback"):
            files.write(self.path / ERROR, trace)

    def _patiently(self, action: Callable[[], _T], what: str) -> _T:
        """Do what needs the folder; its refusals are none of the configuration's doing."""
        try:
            # An object store is asked again by `files` itself.
            store = not isinstance(self.path, Path)
            return action() if store else files.patiently(self.path, action)
        except OSError as error:
            words = without_password(error.strerror or str(error))
            raise StorageError(f"cannot {what} checkpoints in {self.path}: {words}") from error


@contextlib.contextmanager
def _forgiving(what: str) -> Iterator[None]:
    """Do without what is only to look at, or to tidy up, where the disk refuses."""
    try:
        yield
    except OSError as error:
        log.warning("%s: %s", what, without_password(str(error)))

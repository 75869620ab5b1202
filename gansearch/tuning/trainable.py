"""A worker as Ray Tune runs it: an adapter around a pack of trainings that knows no Ray.

What Tune calls a trial is here a worker: a process that carries up to `resources.lanes` of a study's
trials at a time, and is handed the next one where one has ended, for importing torch costs ten times
what starting a training does. Each trial's checkpoints go to its own folder at every report, and a
trial that starts looks there first: that is how it goes on after a worker, a node or a driver has died.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from ray.tune import Trainable

from gansearch import files
from gansearch.errors import RAISED, StorageError
from gansearch.journal.directory import StudyDirectory
from gansearch.study.config import TrialConfig
from gansearch.study.records import Report
from gansearch.training import settings
from gansearch.training.memory import describe, give_back, is_out_of_memory, keep_to_share
from gansearch.training.pack import (
    Divisible,
    LaneError,
    Pack,
    SequentialPack,
    Start,
    TrainerLike,
)
from gansearch.training.stacked.pack import FusedPack
from gansearch.training.usage import Meter
from gansearch.tuning.log import SharedLog
from gansearch.tuning.nodes import sees
from gansearch.tuning.trial_folder import TrialFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Begin:
    """A trial that the driver hands to a worker.

    Attributes:
        number: of the trial.
        config: its configuration, as JSON.
        heard: the last step whose report is in the journal.
        alone: how many reports it is to make by itself, for a worker that trained it has died.
    """

    number: int
    config: str
    heard: int = 0
    alone: float = 0


@dataclass(frozen=True)
class Told:
    """What a worker tells of a trial: a report, or the error that has ended it.

    Attributes:
        report: with what was used of the machine.
        provenance: how its metrics are made.
        failure: the error in a line; there is no report then.
    """

    number: int
    report: Report | None
    provenance: dict[str, dict[str, Any]] = field(default_factory=dict)
    failure: str = ""


@dataclass
class _Carried:
    """A trial in this worker's pack."""

    start: Start
    folder: TrialFolder


class Worker(Trainable):  # type: ignore[misc]
    """A Tune trainable whose every `step` has its pack advance, saves, and tells.

    An error in a trial is that trial's outcome, not Tune's: repeating it would repeat the error. Only
    what says nothing of the configuration reaches Tune, and has the worker's trials go on with another:
    the death of this one, a GPU that is lost, a disk that refuses a checkpoint for longer than
    `files.PATIENCE`. Want of memory is first met by holding one trial of the pack at a time, for each
    must fare as it would alone; then by micro-batches half as large: the configuration stays what was
    proposed, and how well it does is what the search learns, not that a GPU was small.
    """

    def setup(
        self,
        config: dict[str, Any],  # noqa: ARG002  of what Tune calls a trial; ours come by `tell`
        *,
        data: Any = None,
        reference: Any = None,
        directory: str,
        mark: tuple[str, str] | None = None,
        cpus: int = 1,
        gpus: float = 0.0,
        lanes: int = 1,
        together: Mapping[str, int] | None = None,
        halve_batch: int = 0,
        compiled: str | None = None,
        device: str = "cpu",
        trainer: str,
    ) -> None:
        """Called once per worker process; what it is given comes through Ray's object store.

        `mark` is what only a node that sees the study's directory can read; `cpus` and `gpus`, the
        worker's share of the machine; `lanes`, how many trials it carries at most; `together`, in how
        many lanes those of a shape are fastest (None: all are together); `halve_batch`, how often a
        trial that is out of memory goes on in micro-batches half as large; `compiled`, where compiled
        code is kept on each node, if steps are to be compiled.
        """
        if mark and (wrong := sees(*mark)):
            raise OSError(f"this node {wrong}: {directory}")
        self._threads = cpus
        torch.set_num_threads(cpus)
        if 0 < gpus < 1:
            keep_to_share(gpus)
        self._lanes, self._together, self._halvings = lanes, together, halve_batch
        self._compiled = Path(compiled) if compiled else None
        module, _, name = trainer.partition(":")
        make = getattr(importlib.import_module(module), name)
        self._make = functools.partial(make, data=data, reference=reference, device=device)
        self._directory = StudyDirectory(files.place(directory))
        self._meter = Meter(device, cpus)
        self._start_empty()

    def reset_config(self, new_config: dict[str, Any]) -> bool:  # noqa: ARG002
        """Called when Tune uses this process for another of what it calls trials."""
        self._start_empty()
        return True

    def _start_empty(self) -> None:
        self._pack: Pack = SequentialPack(self._build)
        if self._lanes > 1 or self._compiled:
            self._pack = FusedPack(self._build, self._beside, self._fuses, self._compiled, self._lanes)
        self._carried: dict[int, _Carried] = {}
        self._orders: list[Callable[[], None]] = []

    def _fuses(self, shape: str) -> bool:
        return self._together is None or self._together.get(shape, 1) > 1

    def _build(self, config: TrialConfig, **begun: bool) -> TrainerLike:
        trainer: TrainerLike = self._make(config, **begun)
        return trainer

    # What the driver has to say

    def tell(self, begin: Sequence[Begin], stop: Sequence[int] = ()) -> None:
        """Hand over trials, and have others go; called between two steps, and obeyed in the next."""
        self._orders += [functools.partial(self._let_go, stop), functools.partial(self._take_in, begin)]

    def _take_in(self, begin: Sequence[Begin]) -> None:
        if not self._carried:
            self._meter.begin()
        for one in begin:
            config = TrialConfig.model_validate(json.loads(one.config))
            folder = TrialFolder(self._directory, one.number, config)
            start = Start(one.number, config, one.heard, folder.latest, alone=one.alone)
            self._carried[one.number] = _Carried(start, folder)
            self._pack.begin([start])

    def _let_go(self, numbers: Sequence[int]) -> None:
        self._pack.stop(numbers)
        for number in numbers:
            self._carried.pop(number, None)
        # What a trial held must be gone before the next one is built, on the GPU above all.
        if numbers and torch.cuda.is_available():
            give_back()

    # What it does

    def step(self) -> dict[str, Any]:
        """Advance; tell the reports that are new, and whom the next step will work on."""
        while self._orders:
            self._orders.pop(0)()
        due = [self._carried[number] for number in self._pack.due()]
        with _printing_to(due):
            try:
                told, amiss = self._advance(), False
            except StorageError:
                raise
            except LaneError as error:
                told, amiss = self._amiss([self._carried[error.number]], error.__cause__), True
            except RAISED as error:
                told, amiss = self._amiss(due, error), True
            self._put_settings_back()
        self._let_go([one.number for one in told if one.report is None or one.report.outcome])
        if amiss:  # not before: an error that is being handled holds all that the failed step did
            give_back()
        return {"told": told, "due": self._pack.due()}

    def _advance(self) -> list[Told]:
        new = self._pack.advance() if self._carried else []
        used = self._used(new)
        told = [self._save(number, report, used) for number, report in new]
        for one in told:
            if one.report is not None:
                carried = self._carried[one.number]
                carried.start = replace(carried.start, heard=one.report.step)
        return told

    def _used(self, new: Sequence[tuple[int, Report]]) -> dict[str, float]:
        """What was used of the machine for reports that no checkpoint knows: where several trainings
        are one, a training's images in its share of the time are all their images in all of it.
        """
        images = 0
        for number, report in new:
            trainer = self._pack.trainer(number)
            if trainer is not None and report.step > self._carried[number].folder.saved:
                seen = [earlier.images for earlier in trainer.reports if earlier.step < report.step]
                images += report.images - max(seen, default=0)
        return self._meter.read(images) if images else {}

    def _save(self, number: int, report: Report, used: dict[str, float]) -> Told:
        """Save a trial at a new report; one that its checkpoint knows is told as it was."""
        folder, trainer = self._carried[number].folder, self._pack.trainer(number)
        assert trainer is not None
        if report.step > folder.saved:
            folder.usage[report.step] = used
            state = self._pack.state(number)
            if (grid := trainer.grid()) is not None:
                folder.show(grid, report.step)
            if state:
                folder.save(state, trainer.reports)
        known = folder.usage.get(report.step, report.usage)
        return Told(number, replace(report, usage=known), trainer.provenance())

    def _put_settings_back(self) -> list[str]:
        """Have torch be set as it was: what a part of one trial's has changed is no other's affair.

        Returns the calls that changed it.
        """
        calls = settings.put_back()
        if torch.get_num_threads() != self._threads:
            calls.append(f"torch.set_num_threads({torch.get_num_threads()})")
            torch.set_num_threads(self._threads)
        if calls:
            log.warning("%s; it is as it was now", settings.told(calls, "a part"))
        return calls

    def _amiss(self, due: Sequence[_Carried], error: BaseException | None) -> list[Told]:
        """Have trials go on after an error, where they can, or tell their ends: whatever a part of a
        user's raises ends those alone whose it is.
        """
        if not isinstance(error, RAISED):
            raise error or AssertionError
        calls = self._put_settings_back()
        short = is_out_of_memory(error)
        if isinstance(error, torch.AcceleratorError) and not short:
            raise error  # the process has lost its GPU context: only another worker can go on
        released = short and self._pack.release()
        told = []
        for one in due:
            number = one.start.number
            if released or (short and self._halve(one)):
                self._pack.stop([number])
                self._pack.begin([one.start])
                continue
            one.folder.write_error(error)
            reason = describe(error)
            if short and one.start.pieces > 1:
                reason += f", even with its batches in {one.start.pieces} pieces"
            if calls:  # which may be why, whatever the error says
                reason += f", after a part has called {' and '.join(calls)}"
            told.append(Told(number, None, failure=reason))
        return told

    def _halve(self, one: _Carried) -> bool:
        """Decide on micro-batches half as large, if there may be such."""
        number, config = one.start.number, one.start.config
        trainer: object = self._pack.trainer(number)
        if not isinstance(trainer, Divisible):  # None, where not even its networks fitted
            return False
        wanted = 2 * max(trainer.microbatches, one.start.pieces)
        if wanted > min(2**self._halvings, config.batch_size // 2):
            return False
        text = "trial %d is out of memory: on from its last checkpoint with batches in %d pieces"
        log.warning(text, number, wanted)
        one.start = replace(one.start, pieces=wanted)
        return True

    def _beside(self, number: int) -> contextlib.AbstractContextManager[None]:
        return _printing_to([self._carried[number]])

    def cleanup(self) -> None:
        """The worker ends."""
        self._meter.stop()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: checkpoints are in the trials' folders already. (Raising would disable reuse.)"""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: a trial finds its newest checkpoint itself."""


@contextlib.contextmanager
def _printing_to(carried: Sequence[_Carried]) -> Iterator[None]:
    """While it is open, what is printed goes to a trial's own log, of several to each one's."""
    logs = [one.folder.log for one in carried]
    with ExitStack() as stack:
        for each in [SharedLog(logs)] if len(logs) > 1 else logs:
            stack.enter_context(contextlib.redirect_stdout(each))
            stack.enter_context(contextlib.redirect_stderr(each))
        try:
            yield
        finally:
            for each in logs:
                each.keep()

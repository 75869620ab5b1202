"""One trial as Ray Tune runs it: an adapter around a trainer that knows no Ray.

A worker process is kept for one trial after another (`reuse_actors`), because importing torch costs
ten times what starting a trial does. Checkpoints go to the trial's folder at every report, and a trial
that starts looks there first: that is how it goes on after a worker, a node or a driver has died.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import json
import logging
import math
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from ray.tune import Trainable

from gansearch import files
from gansearch.errors import StorageError
from gansearch.journal.directory import ERROR, LOG, StudyDirectory
from gansearch.masking import without_password
from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome, Report, best_report
from gansearch.training import checkpoint
from gansearch.training.export_folder import write_grid
from gansearch.training.usage import Meter
from gansearch.tuning.log import TrialLog
from gansearch.tuning.nodes import sees

log = logging.getLogger(__name__)

_T = TypeVar("_T")

CONTEXT = 600 * 2**20
"""Bytes of a GPU that a process takes besides what torch allocates: CUDA's context, and the kernels of
cuBLAS and cuDNN."""

OUT_OF_MEMORY = (
    "out of memory",  # CUDA's own, where torch's allocator was not asked
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
)
"""What errors say that are not of the two types for it."""


class TrainerLike(Protocol):
    """What the adapter asks of a trainer."""

    reports: list[Report]

    @property
    def finished(self) -> bool:
        """Whether the last report was the last."""
        ...

    def advance(self) -> Report:
        """Train to the next report."""
        ...

    def provenance(self) -> dict[str, dict[str, Any]]:
        """How the metrics are made."""
        ...

    def grid(self) -> torch.Tensor | None:
        """Samples to show, if any."""
        ...

    def state(self) -> dict[str, Any]:
        """What continuing needs; empty: nothing to save."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        ...


@runtime_checkable
class Divisible(Protocol):
    """A trainer that can do with less memory."""

    microbatches: int

    def split(self, microbatches: int) -> None:
        """Compute each batch in so many pieces."""
        ...


class Trial(Trainable):  # type: ignore[misc]
    """A Tune trainable whose every `step` trains to the next report.

    An error in a trial is that trial's outcome, not Tune's: repeating it would repeat the error. Only
    what says nothing of the configuration reaches Tune, and has the trial go on with another worker:
    the death of this one, a GPU that is lost, a disk that refuses a checkpoint for longer than
    `files.PATIENCE`. Want of memory may be met by micro-batches half as large: the configuration stays
    what was proposed, and how well it does is what the search learns, not that a GPU was small.
    """

    def setup(
        self,
        config: dict[str, Any],
        *,
        data: Any = None,
        reference: Any = None,
        directory: str,
        mark: tuple[str, str] | None = None,
        cpus: int = 1,
        gpus: float = 0.0,
        halve_batch: int = 0,
        device: str = "cpu",
        trainer: str,
    ) -> None:
        """Called once per worker process; what it is given comes through Ray's object store.

        `mark` is what only a node that sees the study's directory can read; `cpus` and `gpus`, the
        trial's share of the machine; `halve_batch`, how often a trial that is out of memory goes on in
        micro-batches half as large.
        """
        if mark and (wrong := sees(*mark)):
            raise OSError(f"this node {wrong}: {directory}")
        torch.set_num_threads(cpus)
        if 0 < gpus < 1:
            _keep_to_share(gpus)
        self._halvings = halve_batch
        module, _, name = trainer.partition(":")
        make = getattr(importlib.import_module(module), name)
        self._make = functools.partial(make, data=data, reference=reference, device=device)
        self._directory = StudyDirectory(files.place(directory))
        self._meter = Meter(device, cpus)
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Called when a worker that has ended a trial is given the next one."""
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._number = int(config["number"])
        self._folder = self._directory.trial(self._number)
        self._log = TrialLog(self._folder / LOG)
        self._config = TrialConfig.model_validate(json.loads(config["config"]))
        self._trainer: TrainerLike | None = None
        self._heard, self._untold = int(config.get("step", 0)), deque[Report]()
        self._microbatches = 1
        # What a trial held must be gone before the next one is built, on the GPU above all.
        if torch.cuda.is_available():
            self._let_go()
        self._meter.begin()  # not before: the peak that it reads begins at what is held now

    def step(self) -> dict[str, Any]:
        """Train to the next report, save, and tell; what is printed meanwhile is in the trial's log."""
        try:
            with contextlib.redirect_stdout(self._log), contextlib.redirect_stderr(self._log):
                return self._step()
        finally:
            self._log.keep()

    def _step(self) -> dict[str, Any]:
        while True:
            try:
                return self._advance()
            except StorageError:
                raise
            except Exception as error:  # whatever a part of a user's raises ends this trial alone
                short = is_out_of_memory(error)
                if isinstance(error, torch.AcceleratorError) and not short:
                    raise  # the process has lost its GPU context: only another worker can go on
                if not (short and self._halve()):
                    return self._fail(error)
            # Not before: an error that is being handled holds all that the failed step did.
            self._let_go()

    def _halve(self) -> bool:
        """Decide on micro-batches half as large, if there may be such."""
        trainer: object = self._trainer
        if not isinstance(trainer, Divisible):  # or there is none: not even its networks fitted
            return False
        wanted = 2 * max(trainer.microbatches, self._microbatches)
        if wanted > min(2**self._halvings, self._config.batch_size // 2):
            return False
        self._microbatches = wanted
        text = "trial %d is out of memory: on from its last checkpoint with batches in %d pieces"
        log.warning(text, self._number, wanted)
        return True

    def _let_go(self) -> None:
        """Give back what a trainer held; torch's parametrized layers (spectral norm) are in cycles."""
        self._trainer = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _advance(self) -> dict[str, Any]:
        if self._trainer is None:
            self._trainer = self._make(self._config)
            state = self._patiently(lambda: checkpoint.latest(self._folder), "read")
            if state is not None:
                self._trainer.load(state)
            self._divide(self._trainer)
            # What the driver has not heard of, or did not live to write down; else the last report
            # once more, for it waits for one.
            told = self._trainer.reports
            self._untold = deque([r for r in told if r.step > self._heard] or told[-1:])
        if self._untold:
            return self._tell(self._untold.popleft(), self._trainer)
        report = self._report(self._trainer)
        self._save(report, self._trainer)
        return self._tell(report, self._trainer)

    def _report(self, trainer: TrainerLike) -> Report:
        """Train to the next report, and add what the machine was used for."""
        seen = trainer.reports[-1].images if trainer.reports else 0
        report = trainer.advance()
        trainer.reports[-1] = replace(report, usage=self._meter.read(report.images - seen))
        return trainer.reports[-1]

    def _divide(self, trainer: object) -> None:
        """Have a new trainer do as was decided; a checkpoint may hold an earlier decision."""
        if isinstance(trainer, Divisible) and self._microbatches > trainer.microbatches:
            trainer.split(self._microbatches)

    def _save(self, report: Report, trainer: TrainerLike) -> None:
        state = trainer.state()
        if (grid := trainer.grid()) is not None:
            with _forgiving("a sample grid"):
                write_grid(grid, self._directory.sample(self._number, report.step))
        if state:
            self._patiently(lambda: checkpoint.save(self._folder, report.step, state), "save")
            best = self._best(trainer.reports)
            # The one before the newest is there for when the newest turns out to be damaged.
            wanted = {one.step for one in trainer.reports[-2:]} | ({best.step} if best else set())
            with _forgiving("an old checkpoint"):
                checkpoint.keep(self._folder, wanted, up_to=report.step)

    def _patiently(self, action: Callable[[], _T], what: str) -> _T:
        """Do what needs the trial's folder; its refusals are none of the configuration's doing.

        Raises `StorageError` where it still refuses after `files.PATIENCE`.
        """
        try:
            # An object store is asked again by `files` itself.
            store = not isinstance(self._folder, Path)
            return action() if store else files.patiently(self._folder, action)
        except OSError as error:
            words = without_password(error.strerror or str(error))
            raise StorageError(f"cannot {what} checkpoints in {self._folder}: {words}") from error

    def _best(self, reports: list[Report]) -> Any:
        objective = self._config.objective
        return best_report(reports, objective.metric, objective.goal or "min")

    def _tell(self, report: Report, trainer: TrainerLike) -> dict[str, Any]:
        best = self._best([one for one in trainer.reports if one.step <= report.step])
        self._heard = report.step
        return {
            "report": report,
            "step": report.step,
            "objective": best.value if best else math.nan,
            "outcome": report.outcome,
            "provenance": trainer.provenance(),
            "done": report.outcome is not None,
        }

    def _fail(self, error: Exception) -> dict[str, Any]:
        reports = self._trainer.reports if self._trainer else []
        self._trainer = None
        trace = without_password("".join(traceback.format_exception(error)))
        with _forgiving("the traceback"):
            files.write(self._folder / ERROR, trace)
        reason = describe(error)
        if is_out_of_memory(error) and self._microbatches > 1:
            reason += f", even with its batches in {self._microbatches} pieces"
        last = reports[-1] if reports else Report(0, 0, 0.0, {}, time.time())
        return {
            "report": last,
            "step": last.step,
            "objective": math.nan,
            "outcome": Outcome.FAILED,
            "reason": reason,
            "provenance": {},
            "done": True,
        }

    def cleanup(self) -> None:
        """The worker ends."""
        self._meter.stop()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: checkpoints are in the trial's folder already. (Raising would disable reuse.)"""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: `step` finds the newest checkpoint itself."""


@contextlib.contextmanager
def _forgiving(what: str) -> Iterator[None]:
    """Do without what is only to look at, or to tidy up, where the disk refuses."""
    try:
        yield
    except OSError as error:
        log.warning("%s: %s", what, without_password(str(error)))


def describe(error: Exception) -> str:
    """An error in a line, for a table; memory first, because that is mended by a smaller model."""
    if is_out_of_memory(error):
        return "out of memory"
    text = without_password(str(error)).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory was short, the GPU's or the machine's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def _keep_to_share(gpus: float) -> None:
    """Let this process run out of its own share of a GPU, before it takes another trial's.

    Torch's limit is on what torch allocates: CUDA's own needs are taken off it.
    """
    free, total = torch.cuda.mem_get_info()
    own = max(gpus * total - CONTEXT, gpus * total / 2)  # of a tiny share, something is to be left
    torch.cuda.set_per_process_memory_fraction(own / total)
    if free < own:
        text = "%.1f GiB of the GPU are free, less than a trial's %.1f: something else is using it"
        log.warning(text, free / 2**30, own / 2**30)

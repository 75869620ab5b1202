"""One driver's life: from what a journal holds to the end of the study or of the driver."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from gansearch.data.domain import Domain
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.facts import APART
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.masking import without_password
from gansearch.study.config import TrialConfig, stored_config
from gansearch.study.mistakes import Mistakes
from gansearch.study.plan import Pruner, Resources
from gansearch.study.spec import StudySpec
from gansearch.tracking import Tracker
from gansearch.training.apart import apart
from gansearch.training.buildable import lost_starts
from gansearch.training.completion import complete
from gansearch.training.transfer import starts
from gansearch.tuning.going_on import sync_command
from gansearch.tuning.ledger import Ledger, Source
from gansearch.tuning.nodes import Nodes
from gansearch.tuning.progress import Progress
from gansearch.tuning.pruning import make_pruning
from gansearch.tuning.saying import say
from gansearch.tuning.together import together
from gansearch.tuning.tracker import close_tracker, note_sent, open_tracker
from gansearch.tuning.where import TRAINER, Where

UNPRUNED = Pruner(name="none")


@dataclass(frozen=True)
class Stage:
    """A study with Ray under it and its images in Ray's store, ready for trials.

    Attributes:
        nodes: of the Ray on which it runs.
        spec: what is asked.
        study: the study, held by this process.
        where: it runs, and with what.
        data: reference to the images in the object store.
        domain: what is learnt.
        reference: the real side of the metrics, in the object store.
        console: where progress is shown.
    """

    nodes: Nodes
    spec: StudySpec
    study: StoredStudy
    where: Where
    data: Any
    domain: Domain
    reference: Any
    console: Console

    def complete(self, config: TrialConfig) -> tuple[TrialConfig, Mistakes]:
        """A configuration with its parts' defaults, and why it cannot be built on these images."""
        return complete(config, self.domain)

    def trainable(self, config: TrialConfig) -> TrialConfig | None:
        """The same; None where it cannot be built."""
        completed, mistakes = self.complete(config)
        return None if mistakes else completed


def run_trials(
    stage: Stage,
    directory: StudyDirectory,
    journal: Journal,
    source: Callable[[Journal], Source],
    *,
    pruned: bool,
    keep: int,
) -> bool:
    """Run what a journal lacks; returns False if it was interrupted.

    Args:
        stage: what the trials run on.
        directory: where their folders and table go.
        journal: what has happened, and where to write what happens.
        source: where new trials come from.
        pruned: whether the study's pruner may stop trials.
        keep: see `Ledger`.
    """
    from gansearch.tuning import engine  # noqa: PLC0415  imports Ray Tune

    for line in starts(_configurations(stage.spec, journal)):
        say(stage.console, without_password(line), "dim")
    _tell_apart(stage, journal)
    spec, shapes = _with_lanes(stage, journal)
    if not pruned:
        spec = replace(spec, plan=spec.plan.model_copy(update={"pruner": UNPRUNED}))
    where = stage.where
    tracker = open_tracker(directory, journal, stage.study.runs_dir, where.tracking)
    ledger = Ledger(source, directory, journal, tracker, keep=keep, held=_held(stage, journal))
    finished, unsent = False, 0
    try:
        pruning = make_pruning(spec, ledger)
        seconds = spec.plan.seconds if pruned else math.inf
        progress = Progress(ledger, stage.console, journal.steps, seconds)
        with progress, _interruptible(stage.console) as stop:
            journal.heed(stop.is_set)
            engine.fit(
                spec,
                ledger,
                pruning,
                nodes=stage.nodes,
                slots=_slots(stage),
                most=where.concurrency,
                on_move=progress.moved,
                on_step=[ledger.tick, progress.tick],
                stop=stop,
                shared=_shared(stage, directory, spec.plan.resources, shapes),
            )
        finished = not ledger.remaining and not ledger.live and not ledger.paused
    finally:
        unsent = _leave(stage, ledger, tracker, finished=finished)
    if tracker is not None and not unsent:
        note_sent(journal)
    return finished


def _with_lanes(stage: Stage, journal: Journal) -> tuple[StudySpec, dict[str, int] | None]:
    """The study with as many lanes as its trials are to have, and the shapes of `together`."""
    lanes, shapes = together(
        stage.spec,
        journal.roster,
        stage.trainable,
        stage.data,
        stage.reference,
        stage.where.paths.cache,
        _slots(stage)(),
        stage.console,
        at_once=stage.where.concurrency,
        own=stage.where.trainer == TRAINER,
        here=stage.nodes.alone,
    )
    resources = stage.spec.plan.resources.model_copy(update={"lanes": lanes})
    plan = stage.spec.plan.model_copy(update={"resources": resources})
    return replace(stage.spec, plan=plan), shapes


def _shared(
    stage: Stage, directory: StudyDirectory, resources: Resources, shapes: dict[str, int] | None
) -> dict[str, Any]:
    """What all workers of a study are given."""
    return {
        "data": stage.data,
        "reference": stage.reference,
        "device": "cuda" if resources.gpus else "cpu",
        "directory": str(directory.path),
        "mark": stage.nodes.mark,
        "cpus": resources.cpus,
        "gpus": resources.gpus,
        "lanes": resources.lanes,
        "together": shapes,
        "halve_batch": resources.halve_batch,
        "compiled": str(stage.where.paths.cache / "compiled") if resources.compile else None,
        "trainer": stage.where.trainer,
    }


def _leave(stage: Stage, ledger: Ledger, tracker: Tracker | None, *, finished: bool) -> int:
    """Have what is unfinished wait for `resume`, and every file as it is to be; returns how many trials
    MLflow lacks.
    """
    unsent = 0
    try:
        ledger.interrupt()
    finally:  # whatever is wrong with the journal, MLflow is not left with runs that seem to run
        try:
            if tracker is not None:
                command = sync_command(stage.study, stage.where)
                unsent = close_tracker(tracker, stage.console, command, finished=finished)
        finally:  # also where Ctrl-C has ended the wait
            ledger.close()
    return unsent


def _held(stage: Stage, journal: Journal) -> str:
    """Why no training of a journal can begin, empty where all can: what is to be begun with is gone.

    What has begun goes on all the same, and that is said.
    """
    held = "; ".join(lost_starts(_configurations(stage.spec, journal), stage.domain))
    if held:
        say(stage.console, f"only trials that have a checkpoint can go on: {held}", "yellow")
    return held


def _tell_apart(stage: Stage, journal: Journal) -> None:
    """Tell, and write down, why some of a journal's trials will run alone or uncompiled."""
    configs = _configurations(stage.spec, journal)
    found = apart(configs, stage.spec.plan.resources, stage.domain)
    if lines := [without_password(line) for line in found]:
        journal.set_facts({APART: lines})
    phase = "the stability study" if journal.roster.entries else "the search"
    for line in lines:
        say(stage.console, f"in {phase}: {line}", "dim")


def _configurations(spec: StudySpec, journal: Journal) -> list[TrialConfig]:
    """A stability study's configurations; or enough of a search's to hold each of its options."""
    if journal.roster.entries:
        return [stored_config(each.config, each.label) for each in journal.roster.candidates]
    return [spec.trial(0, way) for way in spec.space.each_option()]


def _slots(stage: Stage) -> Callable[[], int]:
    """How many workers there may be now."""
    fitting, most = stage.nodes.slots, stage.where.concurrency
    return (lambda: min(fitting(), most)) if most else fitting


@contextlib.contextmanager
def _interruptible(console: Console) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C (or SIGTERM) sets; the second one is Python's own."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(*_: object) -> None:
        stop.set()
        say(console, "stopping, resumably; once more to stop at once", "yellow")
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

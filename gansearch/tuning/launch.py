"""Running and resuming a study: the engine room where Ray Tune, the journal and the tracker meet."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

import gansearch
from gansearch.data.images import ImageData
from gansearch.errors import StudyError, UserError
from gansearch.journal import Journal, write_table
from gansearch.metrics.reference import Reference, load_reference, save_reference
from gansearch.study.config import Part
from gansearch.study.directory import StudyDirectory
from gansearch.study.document import Path_, parse_document, read_document
from gansearch.study.records import table_row
from gansearch.study.spec import Plan, StudySpec
from gansearch.tracking import Status, Tracker, store
from gansearch.tracking import sync as send_all
from gansearch.training.prepare import Places, load_real, prepare
from gansearch.training.validation import read_study
from gansearch.tuning.cluster import capacity, check_resources, connected
from gansearch.tuning.ledger import Ledger
from gansearch.tuning.progress import Progress
from gansearch.tuning.samplers import SAMPLERS

TRAINER = "gansearch.training.trainer:Trainer"
"""What trains a trial: benchmarks and tests put others in its place."""

IMAGES_SHOWN = 8
"""Sample grids that MLflow is sent of a trial."""

SEND_EVERY = 5.0
"""Seconds between two visits to MLflow; what has gathered goes in one batch."""


@dataclass(frozen=True)
class Launch:
    """Where and with what a study runs: all that the study file does not say.

    Attributes:
        places: data, caches, weights on this machine.
        address: of a Ray cluster; None starts a local Ray, or joins RAY_ADDRESS.
        storage: an Optuna storage URL; None: the journal file in the study's directory.
        tracking: an MLflow tracking URI; None: MLFLOW_TRACKING_URI, else SQLite in the runs
            directory; "off": none.
        concurrency: trials at once at most; None: as many as fit.
        trainer: `module:Class` that trains a trial.
    """

    places: Places
    address: str | None = None
    storage: str | None = None
    tracking: str | None = None
    concurrency: int | None = None
    trainer: str = TRAINER


def load_study(
    path: str | Path, places: Places, overrides: Mapping[str, Any] | None = None
) -> tuple[StudySpec, ImageData]:
    """Read and check a study file, and load its data; `overrides` are {"search.trials": 8}.

    Raises:
        InvalidInput: with every mistake in the file, a missing data set among them.
    """
    document = read_document(Path(path))
    for key, value in (overrides or {}).items():
        document.override(key, value)
    return read_study(document, places.data, complete_plan)


def complete_plan(plan: Plan) -> tuple[Plan, list[tuple[Path_, str]]]:
    """A plan with its sampler's defaults filled in, and what is wrong with the choice of it."""
    sampler = plan.search.sampler
    found = SAMPLERS.check(sampler.name, sampler.options)
    if found:
        return plan, [(("search", "sampler", *path), message) for path, message in found]
    options = SAMPLERS.options(sampler.name).model_validate(sampler.options)
    full = Part(name=sampler.name, **options.model_dump(mode="json"))
    search = plan.search.model_copy(update={"sampler": full})
    return plan.model_copy(update={"search": search}), []


def run(
    spec: StudySpec,
    data: ImageData,
    directory: StudyDirectory,
    launch: Launch,
    console: Console,
) -> bool:
    """Run a new study to its end; returns False if it was interrupted.

    Nothing is created before all that can be checked has been. Raises `UserError` for what is wrong.
    """
    with connected(launch.address) as ray:
        check_resources(ray, spec.plan.resources)
        console.print(f"study '{directory.name}' in {directory.path}", highlight=False)
        data_ref = ray.put(data)
        reference = _measure(ray, spec, data, data_ref, launch, console)
        _create(spec, directory, launch, reference)
        with directory.held():
            journal = Journal.open(directory.path, directory.name, launch.storage, writer=True)
            return _session(ray, spec, directory, journal, launch, data_ref, reference, console)


def resume(directory: StudyDirectory, launch: Launch, console: Console) -> bool:
    """Go on with a study after any interruption; returns False if it was interrupted again.

    Raises:
        StudyError: it is being run, its file has changed since it was launched, or its images have.
    """
    with directory.held():
        journal = Journal.open(directory.path, directory.name, launch.storage, writer=True)
        _check_unchanged(directory, journal)
        if _is_finished(journal):
            _mirror(directory, journal, launch)
            return True
        spec, data = load_study(directory.study_file, launch.places)
        reference = load_reference(directory.reference)
        _check_same_images(reference, load_real(spec.corner(), data, launch.places))
        with connected(launch.address) as ray:
            check_resources(ray, spec.plan.resources)
            data_ref = ray.put(data)
            return _session(ray, spec, directory, journal, launch, data_ref, reference, console)


def sync(directory: StudyDirectory, launch: Launch) -> int:
    """Send to MLflow what it lacks of a study; returns how many trials could not be sent."""
    if launch.tracking == "off":
        raise StudyError("there is nothing to send to: tracking is off")
    with directory.held():
        journal = Journal.open(directory.path, directory.name, launch.storage, writer=True)
        return _mirror(directory, journal, launch)


def _mirror(directory: StudyDirectory, journal: Journal, launch: Launch) -> int:
    """Make MLflow's picture of a study that is not running complete."""
    tracker = open_tracker(directory, journal, launch)
    if tracker is None:
        return 0
    status: Status = "FINISHED" if _is_finished(journal) else "KILLED"
    unsent = send_all(tracker, journal.trials(), status)
    for number, run_id in tracker.run_ids().items():
        journal.note_run(number, run_id)
    rows = [table_row(record, journal.metric, journal.goal) for record in journal.trials()]
    write_table(directory.table, rows)
    return unsent


def _is_finished(journal: Journal) -> bool:
    ended = sum(record.outcome.ended for record in journal.trials())
    return ended >= int(journal.facts["trials"])


def _check_unchanged(directory: StudyDirectory, journal: Journal) -> None:
    """The file must say what it said; how it is written, and the machine's resources, are free."""
    launched = journal.facts["study"]
    now = directory.study_file.read_text(encoding="utf-8")
    if _asked(now) == _asked(launched):
        return
    lines = difflib.unified_diff(
        launched.splitlines(), now.splitlines(), "as launched", "now", lineterm="", n=1
    )
    raise StudyError(
        f"{directory.study_file} has changed since the study was launched:\n"
        + "\n".join(lines)
        + "\nTake the change back to resume, or run it as a study of its own."
    )


def _asked(text: str) -> dict[str, Any]:
    tree = parse_document(text, "study.yaml").tree
    return {key: value for key, value in tree.items() if key != "resources"}


def _check_same_images(reference: Reference, real: ImageData) -> None:
    known = {origin["dataset_hash"] for origin in reference.origin.values()}
    if known != {real.digest}:
        raise StudyError(
            f"the images of '{real.name}' are not those that the study began with: put them back, "
            "or run it as a study of its own"
        )


def _create(
    spec: StudySpec, directory: StudyDirectory, launch: Launch, reference: Reference | None
) -> None:
    """Make the study's directory, whole or not at all."""
    config = spec.corner()
    facts = {
        "metric": config.objective.metric,
        "goal": spec.goal,
        "steps": config.budget.steps,
        "report_every": config.budget.report_every,
        "trials": spec.plan.search.trials,
        "digest": spec.digest,
        "question": spec.question,
        "study": spec.to_yaml(),
        "gansearch": gansearch.__version__,
        "id": uuid.uuid4().hex[:12],  # tells studies of one name apart on a shared MLflow server
        "launched": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    directory.runs_dir.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.runs_dir))
    try:
        part.chmod(0o755)
        (part / "study.yaml").write_text(spec.to_yaml(), encoding="utf-8")
        if reference is not None:
            save_reference(reference, part / directory.reference.name)
        journal = Journal.create(part, directory.name, facts, launch.storage)
        try:
            part.rename(directory.path)
        except OSError as error:
            journal.delete()
            raise StudyError(f"{directory.path} exists already") from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _measure(
    ray: Any, spec: StudySpec, data: ImageData, data_ref: Any, launch: Launch, console: Console
) -> Reference:
    """Measure the real images, on whichever node has what a trial needs."""
    config, resources = spec.corner(), spec.plan.resources
    metrics = ", ".join(part.name for part in config.evaluation.metrics)
    console.print(f"measuring the real images of {data.name} for {metrics}", style="dim")
    real = load_real(config, data, launch.places)
    real_ref = data_ref if real is data else ray.put(real)
    device = "cuda" if resources.gpus else "cpu"
    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(prepare)
    try:
        reference: Reference = ray.get(task.remote(config, data_ref, launch.places, device, real_ref))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    return reference


def _session(
    ray: Any,
    spec: StudySpec,
    directory: StudyDirectory,
    journal: Journal,
    launch: Launch,
    data_ref: Any,
    reference: Reference,
    console: Console,
) -> bool:
    """One driver's life: from what the journal holds to the end of the study or of the driver."""
    from gansearch.tuning import engine  # noqa: PLC0415  imports Ray Tune

    tracker = open_tracker(directory, journal, launch)
    ledger = Ledger(spec, directory, journal, tracker)
    finished = False
    try:
        scheduler = engine.make_scheduler(spec, ledger)
        joined = bool(launch.address or os.environ.get("RAY_ADDRESS"))
        slots = capacity(ray, spec.plan.resources, elastic=joined)
        most = launch.concurrency
        with Progress(ledger, console, journal.steps) as progress, _interruptible(console) as stop:
            engine.fit(
                spec,
                ledger,
                scheduler,
                slots=lambda: min(slots(), most) if most else slots(),
                on_end=progress.ended,
                on_step=[ledger.tick, progress.tick],
                stop=stop,
                shared={
                    "data": data_ref,
                    "reference": ray.put(reference),
                    "device": "cuda" if spec.plan.resources.gpus else "cpu",
                    "directory": str(directory.path),
                    "cpus": spec.plan.resources.cpus,
                    "trainer": launch.trainer,
                },
            )
        finished = not stop.is_set()
    finally:
        try:
            ledger.interrupt()
        finally:  # whatever is wrong with the journal, MLflow is not left with runs that seem to run
            if tracker is not None:
                close_tracker(tracker, ledger, console, finished=finished)
            ledger.tick()
            ledger.write_table()
    return finished


def open_tracker(directory: StudyDirectory, journal: Journal, launch: Launch) -> Tracker | None:
    """The study's mirror in MLflow, or None where tracking is off."""
    if launch.tracking == "off":
        return None
    uri, artifacts = store(directory.runs_dir, launch.tracking)

    facts = journal.facts

    def sample(number: int, step: int) -> Path | None:
        path = directory.sample(number, step)
        shown = _is_shown(step, facts["steps"], facts["report_every"])
        return path if shown and path.exists() else None

    return Tracker(
        uri,
        journal.study.study_name,  # also where the folder has been renamed since
        metric=journal.metric,
        goal=journal.goal,
        artifacts=artifacts,
        study_tags={"gansearch.question": facts["question"], "gansearch.digest": facts["digest"]},
        study_file=facts["study"],
        samples=sample,
        identity=facts["id"],
        interval=SEND_EVERY,
    )


def _is_shown(step: int, steps: int, report_every: int) -> bool:
    """Whether MLflow gets the grid of a step: about `IMAGES_SHOWN` a trial, for they cost the most.

    All of them are in the trial's folder.
    """
    return step == steps or step * IMAGES_SHOWN // steps > (step - report_every) * IMAGES_SHOWN // steps


def close_tracker(
    tracker: Tracker, ledger: Ledger, console: Console, *, finished: bool, timeout: float = 60.0
) -> int:
    """Send what MLflow does not have yet, and say so if it cannot be; returns how many trials."""
    unsent = tracker.finish("FINISHED" if finished else "KILLED", timeout=timeout)
    if unsent:
        name = ledger.directory.name
        message = f"MLflow does not have {unsent} trials yet: `gansearch sync {name}` sends them"
        console.print(message, markup=False, highlight=False)
    return unsent


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
        console.print("stopping, resumably; once more to stop at once", style="yellow")
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Running and resuming a study: its search, and what is trained again after it."""

from __future__ import annotations

import difflib
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console

import gansearch
from gansearch.data.images import ImageData
from gansearch.errors import StudyError, UserError
from gansearch.journal import Journal
from gansearch.metrics.reference import Reference, load_reference, save_reference
from gansearch.study.config import Part, TrialConfig
from gansearch.study.directory import StudyDirectory
from gansearch.study.document import Path_, parse_document, read_document
from gansearch.study.roster import Candidate, Roster
from gansearch.study.spec import Plan, Stability, StudySpec
from gansearch.training.prepare import Places, load_real, prepare
from gansearch.training.validation import read_study
from gansearch.tuning.candidates import (
    Around,
    check_comparable,
    find_centre,
    given_candidate,
    neighbours,
    select,
)
from gansearch.tuning.cluster import check_resources, connected
from gansearch.tuning.mirroring import mirror
from gansearch.tuning.proposer import Proposer
from gansearch.tuning.repeats import Repeats
from gansearch.tuning.samplers import SAMPLERS
from gansearch.tuning.session import Launch, Stage, run_trials


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
            shared = (data_ref, data.shape, ray.put(reference))
            stage = Stage(ray, spec, directory, launch, *shared, console)
            return _go_on(stage, _open(directory, launch))


def resume(directory: StudyDirectory, launch: Launch, console: Console) -> bool:
    """Go on with a study after any interruption; returns False if it was interrupted again.

    Raises:
        StudyError: it is being run, its file has changed since it was launched, or its images have.
    """
    with directory.held():
        journal = _open(directory, launch)
        _check_unchanged(directory, journal)
        if is_finished(directory, journal, launch.storage):
            if launch.tracking != "off":
                _mirror(directory, launch)
            return True
        with _staged(directory, launch, console) as stage:
            return _go_on(stage, journal)


@dataclass(frozen=True)
class Request:
    """What a stability study is to have besides what it has already.

    Attributes:
        wanted: top, default, and how many seeds.
        given: further configurations by label.
        around: neighbours of one configuration; then only they and that one are trained.
        best: the label that stands for the best configuration, where `around` does not say.
    """

    wanted: Stability
    given: Mapping[str, TrialConfig] = field(default_factory=dict)
    around: Around | None = None
    best: str = ""


def confirm(directory: StudyDirectory, request: Request, launch: Launch, console: Console) -> bool:
    """Train configurations of a study again on fresh seeds; returns False if it was interrupted.

    Raises:
        StudyError: as for `resume`, or there is nothing to train again.
    """
    with directory.held():
        journal = _open(directory, launch)
        _check_unchanged(directory, journal)
        if not journal.finished:
            console.print("the search is not finished: `resume` goes on with it", style="yellow")
        with _staged(directory, launch, console) as stage:
            return _confirm(stage, journal, _candidates(stage, journal, request), request.wanted.seeds)


def sync(directory: StudyDirectory, launch: Launch) -> int:
    """Send to MLflow what it lacks of a study; returns how many trials could not be sent."""
    with directory.held():
        return _mirror(directory, launch)


def is_finished(directory: StudyDirectory, search: Journal, storage: str | None) -> bool:
    """Whether a study has all that it was to have: its search, and what is trained again."""
    stability = search.open_stability(directory.stability.path, storage)
    if stability is None:
        return search.finished and not search.wants_stability
    complete = stability.facts.get(FILE_SERVED, False) or not search.wants_stability
    return search.finished and stability.finished and complete


FILE_SERVED = "file_served"
"""The fact that all whom the study file wants trained again are in the roster."""


def _open(directory: StudyDirectory, launch: Launch) -> Journal:
    return Journal.open(directory.path, directory.name, launch.storage, writer=True)


@contextmanager
def _staged(directory: StudyDirectory, launch: Launch, console: Console) -> Iterator[Stage]:
    """An existing study with Ray under it; raises `StudyError` if its images have changed."""
    spec, data = load_study(directory.study_file, launch.places)
    reference = load_reference(directory.reference)
    _check_same_images(reference, load_real(spec.corner(), data, launch.places))
    with connected(launch.address) as ray:
        check_resources(ray, spec.plan.resources)
        shared = (ray.put(data), data.shape, ray.put(reference))
        yield Stage(ray, spec, directory, launch, *shared, console)


def _go_on(stage: Stage, journal: Journal) -> bool:
    """The search, then what the study file wants trained again, then what was asked for since."""
    plan = stage.spec.plan
    if not journal.finished:
        search = partial(Proposer, stage.spec)
        if not run_trials(stage, stage.study, journal, search, pruned=True, keep=plan.keep):
            return False
    wanted = plan.stability
    candidates = _candidates(stage, journal, Request(wanted)) if wanted else []
    seeds = wanted.seeds if wanted else 0
    return _confirm(stage, journal, candidates, seeds, of_file=wanted is not None)


def _candidates(stage: Stage, journal: Journal, request: Request) -> list[Candidate]:
    """Whom a request names; raises `StudyError` where that is nobody."""
    records, around = journal.trials(), request.around
    if around is None:
        check_comparable(request.given, stage.spec.corner(), "the study")
        chosen = select(stage.spec, records, request.wanted, journal.metric, journal.goal)
        return chosen + [given_candidate(label, config) for label, config in request.given.items()]
    stability = journal.open_stability(stage.study.stability.path, stage.launch.storage)
    roster = stability.roster if stability else Roster()
    centre = find_centre(around, roster, records, request.best)
    found, left_out = neighbours(stage.spec, centre, around, stage.complete)
    for words in left_out:
        stage.console.print(f"left out, for it cannot be built: {words}", markup=False, highlight=False)
    return [centre, *found]


def _confirm(
    stage: Stage,
    search: Journal,
    candidates: list[Candidate],
    seeds: int,
    *,
    of_file: bool = False,
) -> bool:
    """Train what a stability study lacks, with these candidates added to it.

    `of_file`: they are all that the study file asks for.
    """
    launch, directory = stage.launch, stage.study.stability
    journal = search.open_stability(directory.path, launch.storage, writer=True)
    if journal is None and not candidates:
        return True
    roster = journal.roster if journal else Roster()
    taken = {record.config["seed"] for record in search.trials()}
    lost = {r.config["seed"] for r in journal.trials() if r.blameless} if journal else set()
    wider = roster.extended(candidates, seeds, stage.spec.plan.search.seed, taken, lost)
    if journal is None:
        journal = search.create_stability(directory.path, wider, _versions(), launch.storage)
    elif wider != roster:
        journal.extend(wider)
    if of_file:
        journal.study.set_user_attr(FILE_SERVED, True)
    if journal.finished:
        return True
    words = f"{len(wider.candidates)} configurations, {len(wider.entries)} trials"
    stage.console.print(f"training again, unpruned: {words}", highlight=False)
    return run_trials(stage, directory, journal, Repeats, pruned=False, keep=1)


def _mirror(directory: StudyDirectory, launch: Launch) -> int:
    """Make MLflow's picture of a study that is not running complete."""
    search = _open(directory, launch)
    unsent = mirror(directory, search, directory.runs_dir, launch.tracking)
    stability = search.open_stability(directory.stability.path, launch.storage, writer=True)
    if stability is not None:
        unsent += mirror(directory.stability, stability, directory.runs_dir, launch.tracking)
    return unsent


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
        "id": uuid.uuid4().hex[:12],  # tells studies of one name apart on a shared MLflow server
        **_versions(),
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


def _versions() -> dict[str, str]:
    """What made the numbers, and when it began to."""
    packages = {name: metadata.version(name) for name in ("torch", "ray", "optuna")}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"gansearch": gansearch.__version__, "launched": now, **packages}


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

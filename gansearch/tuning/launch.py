"""Running and resuming a study: its search, and what is trained again after it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from gansearch import files
from gansearch.data import DataSet, ImageData
from gansearch.errors import StorageError, StudyError, UserError
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.facts import DASHBOARD
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.masking import without_password
from gansearch.metrics.reference import Reference, load_reference
from gansearch.modules import differing, keep, kept, own_modules
from gansearch.search.learning import check_origin
from gansearch.search.proposer import Proposer
from gansearch.search.repeats import Repeats
from gansearch.search.selection import (
    Around,
    check_comparable,
    find_centre,
    given_candidate,
    neighbours,
    select,
)
from gansearch.study.config import TrialConfig
from gansearch.study.plan import Stability
from gansearch.study.records import count
from gansearch.study.roster import Candidate, Roster
from gansearch.study.spec import StudySpec
from gansearch.tracking import store_of, why_away
from gansearch.training.export_folder import write_real_grid
from gansearch.training.prepare import load_real, load_weights, prepare
from gansearch.training.settings import torch_threads
from gansearch.training.validation import load_study
from gansearch.tuning.connection import dashboard
from gansearch.tuning.creation import check_storable, created, versions_in_use
from gansearch.tuning.extension import NO_MORE, More, catch_up, extend, hold
from gansearch.tuning.going_on import sync_command
from gansearch.tuning.leaving import interrupted_in_words, on_ray
from gansearch.tuning.nodes import Nodes
from gansearch.tuning.saying import say
from gansearch.tuning.stage import Stage, run_trials
from gansearch.tuning.tracker import is_sent, send_missing
from gansearch.tuning.unchanged import check_same_images, check_unchanged
from gansearch.tuning.where import Where


def run(
    spec: StudySpec,
    data: DataSet,
    study: StoredStudy,
    where: Where,
    console: Console,
) -> bool:
    """Run a new study to its end; returns False if it was interrupted.

    Nothing is created before all that can be checked has been.

    Args:
        spec: what is asked.
        data: the training samples, which are let go of once Ray's object store has them.
        study: where it is to be.
        where: it runs, and with what.
        console: where progress is shown.

    Raises:
        UserError: for what is wrong.
    """
    check_storable(study, where)
    study.check_unused()
    modules, directory = _modules(spec, where), study.directory
    with interrupted_in_words(study, where), on_ray(study, where, modules, console) as ray:
        nodes = _nodes(ray, spec, where, console)
        nodes.check_shared(study.runs_dir)
        say(console, f"study '{study.name}' in {directory.path}")
        data_ref = ray.put(data)
        for note in spec.notes:
            say(console, note, "dim")
        reference = _measure(nodes, ray, spec, data, data_ref, where, console)
        for learnt in spec.learnt:
            check_origin(learnt, reference.origin.get(spec.example().objective.metric, {}))
        with created(spec, study, reference):
            keep(modules, directory.modules)
            nodes.share(directory.path)
            _draw_real(directory, data)
            shared = (data_ref, data.domain, ray.put(reference))
            del data
            stage = Stage(nodes, spec, study, where, *shared, console)
            journal = study.journal(writer=True)
            _note_dashboard(ray, journal, console)
            return _go_on(stage, journal)


def resume(study: StoredStudy, where: Where, console: Console, more: More = NO_MORE) -> bool:
    """Go on with a study after any interruption; returns False if it was interrupted again.

    Args:
        study: which one.
        where: it runs, and with what.
        console: where progress is shown.
        more: what its search is to have in all.

    Raises:
        StudyError: it is being run, its file has changed since it was launched, or its images have.
    """
    with interrupted_in_words(study, where), _held(study, where):
        journal = study.journal(writer=True)
        catch_up(study, journal)
        check_unchanged(study, journal)
        extend(study.directory, journal, more)
        if is_finished(study, journal):
            hold(study.directory, journal, more.resources)
            _send_late(study, journal, where, console)
            return True
        over = journal.finished
        with _staged(study, journal, where, console, more) as stage:
            if not _go_on(stage, journal):
                return False
        if over:
            _send_unsent(study, journal, where, console)
        return True


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


def confirm(study: StoredStudy, request: Request, where: Where, console: Console) -> bool:
    """Train configurations of a study again on fresh seeds; returns False if it was interrupted.

    Raises:
        StudyError: as for `resume`, or there is nothing to train again.
    """
    with interrupted_in_words(study, where, again=True), _held(study, where):
        journal = study.journal(writer=True)
        check_unchanged(study, journal)
        if not journal.finished:
            say(console, "the search is not finished: `resume` goes on with it", "yellow")
        with _staged(study, journal, where, console, again=True) as stage:
            candidates = _candidates(stage, journal, request)
            if not _confirm(stage, journal, candidates, request.wanted.seeds):
                return False
        _send_unsent(study, journal, where, console)
        return True


def sync(study: StoredStudy, where: Where, console: Console) -> int:
    """Send to MLflow what it lacks of a study; returns how many trials could not be sent.

    Raises:
        StudyError: it is being run, or tracking is off.
        StorageError: MLflow does not answer.
    """
    store = store_of(study.runs_dir, where.tracking)
    if store is None:
        raise StudyError("there is nothing to send to: tracking is off")
    if why := why_away(store.uri):
        at, mend = without_password(store.uri), "start it, or say another --tracking"
        raise StorageError(f"MLflow at {at} does not answer ({why}): {mend}")
    with _held(study, where):
        return _send_missing(study, study.journal(writer=True), where, console)


def is_finished(study: StoredStudy, search: Journal) -> bool:
    """Whether a study has all that it was to have: its search, and what is trained again."""
    stability = study.stability(search)
    if stability is None:
        return search.finished and not search.wants_stability
    complete = stability.facts.get(FILE_SERVED, False) or not search.wants_stability
    return search.finished and stability.finished and complete


FILE_SERVED = "file_served"
"""The fact that every configuration the study file wants trained again is in the roster."""


@contextmanager
def _held(study: StoredStudy, where: Where) -> Iterator[None]:
    """A study as its only driver's; raises `StudyError` where another process is that."""
    check_storable(study, where)
    with study.held():
        yield


@contextmanager
def _staged(
    study: StoredStudy,
    journal: Journal,
    where: Where,
    console: Console,
    more: More = NO_MORE,
    *,
    again: bool = False,
) -> Iterator[Stage]:
    """An existing study with Ray under it, where its workers hold what they are to from now on; raises
    `StudyError` if its images have changed.
    """
    directory, root = study.directory, where.paths.data
    with kept(directory.modules) as there:
        spec, data = load_study(directory.study_file, root, more.overrides, launched=True)
        reference = load_reference(directory.reference)
        check_same_images(reference, load_real(spec.example(), data, where.paths))
        modules = _modules(spec, where, there)
        for path in differing(modules, there):
            words = f"{path} is used, and is not what the study began with ({directory.modules})"
            say(console, words, "yellow")
        with on_ray(study, where, modules, console, again=again) as ray:
            nodes = _nodes(ray, spec, where, console)
            nodes.check_shared(directory.path)
            hold(directory, journal, more.resources)
            keep(where.modules, directory.modules)
            nodes.share(directory.path)
            _draw_real(directory, data)
            shared = (ray.put(data), data.domain, ray.put(reference))
            del data  # the object store has it
            _note_dashboard(ray, journal, console)
            yield Stage(nodes, spec, study, where, *shared, console)


def _draw_real(directory: StudyDirectory, data: DataSet) -> None:
    """Draw real images for the report, which may be made where the data set is not. Real points are
    beside the generated ones in each picture.
    """
    if not isinstance(data, ImageData):
        return
    with files.reachable(directory.path):
        drawn = directory.real_images.exists()
    if not drawn:
        write_real_grid(data.images, directory.real_images)


def _note_dashboard(ray: Any, journal: Journal, console: Console) -> None:
    """Tell where Ray's dashboard shows this driver, now and to whoever asks for the study's status."""
    page = dashboard(ray)
    if page:
        say(console, f"Ray's dashboard: {page}")
    if page != journal.facts.get(DASHBOARD, ""):
        journal.study.set_user_attr(DASHBOARD, page)


def _modules(spec: StudySpec, where: Where, there: Sequence[Path] = ()) -> list[Path]:
    """The user's own: those that a study names, those that are said, and those kept with it."""
    named = own_modules(spec.tree())
    return list({path.name: path for path in (*there, *named, *where.modules)}.values())


def _nodes(ray: Any, spec: StudySpec, where: Where, console: Console) -> Nodes:
    """What a study runs on; raises `StudyError` where that is not enough for one trial."""
    joined = bool(where.address or os.environ.get("RAY_ADDRESS"))
    nodes = Nodes(ray, spec.plan.resources, elastic=joined, say=partial(say, console, style="yellow"))
    nodes.check_resources()
    return nodes


def _go_on(stage: Stage, journal: Journal) -> bool:
    """The search, then what the study file wants trained again, then what was asked for since."""
    plan = stage.spec.plan
    if not journal.finished:
        search = partial(Proposer, stage.spec)
        if not run_trials(stage, stage.study.directory, journal, search, pruned=True, keep=plan.keep):
            return False
    wanted = plan.stability
    candidates = _candidates(stage, journal, Request(wanted)) if wanted else []
    seeds = wanted.seeds if wanted else 0
    return _confirm(stage, journal, candidates, seeds, of_file=wanted is not None)


def _candidates(stage: Stage, journal: Journal, request: Request) -> list[Candidate]:
    """The candidates that a request names; raises `StudyError` if there are none."""
    records, around = journal.trials(), request.around
    if around is None:
        check_comparable(request.given, stage.spec.example(), "the study")
        chosen = select(stage.spec, records, request.wanted, journal.metric, journal.goal)
        return chosen + [given_candidate(label, config) for label, config in request.given.items()]
    stability = stage.study.stability(journal)
    roster = stability.roster if stability else Roster()
    centre = find_centre(around, roster, records, request.best)
    found, left_out = neighbours(stage.spec, centre, around, stage.complete)
    for words in left_out:
        say(stage.console, f"left out, for it cannot be built: {words}")
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
    study = stage.study
    journal = study.stability(search, writer=True)
    if journal is None and not candidates:
        return True
    roster = journal.roster if journal else Roster()
    taken = {record.config["seed"] for record in search.trials()}
    lost = {r.config["seed"] for r in journal.trials() if r.blameless} if journal else set()
    wider = roster.extended(candidates, seeds, stage.spec.plan.search.seed, taken, lost)
    if journal is None:
        journal = study.create_stability(search, wider, versions_in_use())
    elif wider != roster:
        journal.extend(wider)
    if of_file:
        journal.study.set_user_attr(FILE_SERVED, True)
    if journal.finished:
        return True
    words = f"{count(len(wider.candidates), 'configuration')}, {count(len(wider.entries), 'trial')}"
    say(stage.console, f"training again, unpruned: {words}")
    return run_trials(stage, study.directory.stability, journal, Repeats, pruned=False, keep=1)


def _send_missing(study: StoredStudy, search: Journal, where: Where, console: Console) -> int:
    """Send what MLflow lacks of a search and its stability study; neither is running."""
    parts = [(study.directory, search)]
    if stability := study.stability(search, writer=True):
        parts.append((study.directory.stability, stability))
    command = sync_command(study, where)
    return sum(
        send_missing(folder, journal, study.runs_dir, where.tracking, console, command)
        for folder, journal in parts
    )


def _send_unsent(study: StoredStudy, search: Journal, where: Where, console: Console) -> None:
    """Send what MLflow lacks of a search that an earlier driver ended, killed before all was sent."""
    if search.finished and not is_sent(search):
        _send_late(study, search, where, console)


def _send_late(study: StoredStudy, search: Journal, where: Where, console: Console) -> None:
    """Send what MLflow lacks of a study that has ended; where it does not answer, say what sends it."""
    store = store_of(study.runs_dir, where.tracking)
    if store and (why := why_away(store.uri)):
        words = f"MLflow does not answer ({why}): `{sync_command(study, where)}` sends what it lacks"
        say(console, words, "yellow")
        return
    _send_missing(study, search, where, console)


def _measure(
    nodes: Nodes,
    ray: Any,
    spec: StudySpec,
    data: DataSet,
    data_ref: Any,
    where: Where,
    console: Console,
) -> Reference:
    """Measure the real images, on whichever node has what a trial needs: here, where that is the only
    one and no GPU is asked for, so that no process need start for it.

    What lies in files is read here: another node need not have the data set, nor Inception's weights.
    """
    config, resources = spec.example(), spec.plan.resources
    metrics = ", ".join(part.name for part in config.evaluation.metrics)
    say(console, f"measuring the real images of {data.name} for {metrics}", "dim")
    real, known = load_real(config, data, where.paths), load_weights(config, where.paths)
    if nodes.alone and not resources.gpus:
        with torch_threads(resources.cpus):
            return prepare(config, data, where.paths, real=real, known=known)
    device = "cuda" if resources.gpus else "cpu"
    real_ref = data_ref if real is data else ray.put(real)
    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(prepare)
    try:
        measured = task.remote(config, data_ref, where.paths, device, real_ref, ray.put(known))
        import gansearch.tuning.engine  # noqa: F401, PLC0415  a second of loading Tune, meanwhile

        reference: Reference = ray.get(measured)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    return reference

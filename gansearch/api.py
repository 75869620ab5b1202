"""Every command as a function: good in a notebook, and what the command line itself calls."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack

from rich.console import Console

from gansearch import files
from gansearch.errors import UserError
from gansearch.files import Place
from gansearch.journal.stored import StoredStudy
from gansearch.masking import without_password
from gansearch.study.records import Report
from gansearch.study.spec import StudySpec
from gansearch.tuning.where import (
    JobOptions,
    PathLike,
    PlaceLike,
    StoredOptions,
    TrackedOptions,
    Where,
    WhereOptions,
    combined,
)

if TYPE_CHECKING:
    import pandas as pd

    from gansearch.analysis.evidence import Evidence
    from gansearch.data import DataSet
    from gansearch.journal.repair import Repair
    from gansearch.reporting.publishing import ReportResult
    from gansearch.tracking import Server
    from gansearch.tuning.jobs import Job, RemoteAnswer

StudyLike: TypeAlias = "PlaceLike | StoredStudy"
"""A study's name, its path, or what `find` gave."""


@dataclass(frozen=True)
class Study:
    """A checked study file and its data, ready to be run.

    Attributes:
        spec: what is asked.
        data: the training images.
        stem: the file's name, from which a run takes its own.
    """

    spec: StudySpec
    data: DataSet
    stem: str


@dataclass(frozen=True)
class StudyResult:
    """A study that has run, wholly or in part.

    Attributes:
        directory: where it is.
        finished: False after an interruption: `resume` goes on.
        trials: one row a trial, best first.
        configurations: one row for each that was trained again, best rank first; see
            `gansearch.analysis.configurations.configurations`.
        evidence: all that was known of it in the end; functions take it in the name's place.
    """

    directory: Place
    finished: bool
    trials: pd.DataFrame
    configurations: pd.DataFrame
    evidence: Evidence


@dataclass(frozen=True)
class View:
    """A study in MLflow's UI.

    Attributes:
        server: the server's address.
        comparison: that of the study's comparison view.
        seeds: that of the view of what was trained again, by configuration; "" where nothing was.
        process: the server, where it was started here.
    """

    server: str
    comparison: str
    seeds: str = ""
    process: Server | None = None


def load_study(
    path: PathLike, *, data: PathLike | None = None, overrides: Mapping[str, Any] | None = None
) -> Study:
    """Read and check a study file, and load the images that it names.

    Args:
        path: the YAML file.
        data: the folder of all data sets; None: GANSEARCH_DATA.
        overrides: values in place of the file's, by dotted key: {"search.trials": 8}.

    Raises:
        InvalidInput: with every mistake in the file.
    """
    from gansearch.training.prepare import LocalPaths  # noqa: PLC0415
    from gansearch.training.validation import load_study as read  # noqa: PLC0415

    spec, images = read(path, LocalPaths.of_environment(data).data, overrides)
    return Study(spec, images, Path(path).stem)


def check(
    study: Study | PathLike, *, data: PathLike | None = None, inception: PathLike | None = None
) -> int:
    """Build every part of a study and train one tiny step of each option, on the CPU.

    Returns:
        How many configurations were tried.

    Raises:
        UserError: naming the parts with which a step failed.
    """
    from gansearch.training.dry_run import rehearse  # noqa: PLC0415
    from gansearch.training.prepare import LocalPaths  # noqa: PLC0415

    if not isinstance(study, Study):
        study = load_study(study, data=data)
    return rehearse(study.spec, study.data, LocalPaths.of_environment(data, inception))


def parts(kind: str | None = None, name: str | None = None, *, markdown: bool = False) -> str:
    """What there is: a text that describes parts with their options, or the keys of a study file.

    Args:
        kind: `loss`, `generator`, `metric` and so on; `study`: the study file's keys; None: all.
        name: of a part, or `package.module:Thing` of your own; with `study`, a dotted key.
        markdown: as a page rather than as text for a terminal.

    Raises:
        UserError: there is no such kind, part or key.
    """
    from gansearch.catalogue import pages  # noqa: PLC0415

    return (pages.markdown if markdown else pages.text)(kind, name)


def lacking(study: Study) -> list[str]:
    """What this machine has too little of for one trial of a study, in words; a cluster may have it."""
    import torch  # noqa: PLC0415

    from gansearch.tuning.nodes import lacking as without  # noqa: PLC0415

    here = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
    return without(study.spec.plan.resources, [here], "this machine")


def run(
    study: Study | PathLike,
    *,
    name: str | None = None,
    trials: int | None = None,
    console: Console | None = None,
    where: Where | None = None,
    **options: Unpack[WhereOptions],
) -> StudyResult:
    """Run a study under Ray Tune.

    Args:
        study: a file, or what `load_study` gave.
        name: the study's name; None: the file's, with a number if that is taken.
        trials: in place of the file's `search.trials`.
        console: where progress is shown; None: standard error.
        where: where it is kept and runs, and with what.
        options: fields of `Where`, in place of those of `where`: `runs_dir="runs"`, `concurrency=2`.

    Raises:
        UserError: for anything that the user can mend; nothing was created then.
    """
    from gansearch.tuning import launch  # noqa: PLC0415

    where = combined(where, options)
    if not isinstance(study, Study):
        study = load_study(study, data=where.data)
    spec, stem, images = study.spec, study.stem, [study.data]
    del study  # of what was loaded here there is to be one copy soon, in Ray's object store
    if trials is not None:
        spec = spec.with_trials(trials)
    with StoredStudy.launching(name, stem, where.runs, where.storage) as stored:
        finished = launch.run(spec, images.pop(), stored, where, console or Console(stderr=True))
    return _result(stored, finished)


def resume(
    name: StudyLike,
    *,
    trials: int | None = None,
    console: Console | None = None,
    where: Where | None = None,
    **options: Unpack[WhereOptions],
) -> StudyResult:
    """Go on with a study after any interruption, or with a finished one for more trials.

    Args:
        name: the study.
        trials: how many its search is to have in all, as if it had been asked for them from the
            beginning; None: as many as it was launched with.
        console, where, options: as for `run`.

    Raises:
        StudyError: there is no such study, it is being run, its file has changed, or its search has
            more trials already.
    """
    from gansearch.tuning import launch  # noqa: PLC0415

    where = combined(where, options)
    study = find(name, where=where)
    return _result(study, launch.resume(study, where, console or Console(stderr=True), trials))


def submit(
    study_file: PathLike,
    address: str,
    *,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    where: Where | None = None,
    **options: Unpack[JobOptions],
) -> Job:
    """Run a study on a cluster elsewhere as a Ray job; see `gansearch.tuning.jobs.submit`."""
    from gansearch.tuning import jobs  # noqa: PLC0415

    there = combined(where, options, JobOptions)
    return jobs.submit(study_file, address, name=name, overrides=overrides, where=there)


def submit_resume(
    name: str,
    address: str,
    *,
    trials: int | None = None,
    where: Where | None = None,
    **options: Unpack[JobOptions],
) -> Job:
    """Go on with such a study; see `gansearch.tuning.jobs.submit_resume`."""
    from gansearch.tuning import jobs  # noqa: PLC0415

    return jobs.submit_resume(name, address, combined(where, options, JobOptions), trials)


def job_logs(address: str, name: str, *, follow: bool = False) -> Iterator[str]:
    """What a study's job has printed, in pieces; see `gansearch.tuning.jobs.job_logs`."""
    from gansearch.tuning import jobs  # noqa: PLC0415

    return jobs.job_logs(address, name, follow=follow)


def remote(
    address: str,
    arguments: Sequence[str],
    *,
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> RemoteAnswer:
    """Have a command answered by a cluster's head; see `gansearch.tuning.jobs.remote`."""
    from gansearch.tuning import jobs  # noqa: PLC0415

    return jobs.remote(address, arguments, combined(where, options, StoredOptions))


def trial_log(
    name: StudyLike,
    number: int,
    *,
    seeds: bool = False,
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> str:
    """What a trial printed while it trained, and the error that ended it, if one did.

    Args:
        name: the study.
        number: of the trial.
        seeds: whether it is one of the stability study.
        where, options: as for `run`.

    Raises:
        StudyError: there is no such study, or no such trial.
    """
    study = find(name, where=where, **options)
    return study.trial_log(number, seeds=seeds) or "it printed nothing, and no error ended it\n"


def stability(
    *what: PlaceLike,
    top: int | None = None,
    seeds: int | None = None,
    per: Literal["study", "loss"] | None = None,
    default: bool | None = None,
    around: float | None = None,
    of: str = "",
    axes: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    name: str | None = None,
    console: Console | None = None,
    where: Where | None = None,
    **options: Unpack[WhereOptions],
) -> StudyResult:
    """Train configurations again on fresh seeds, without pruning.

    Args:
        what: a study, to whose stability study this adds; or configuration files, which make a study
            of their own; or both.
        top: how many of the study's best; None: as its file says, else 5.
        seeds: how often each is trained in all; None: as the study's file says, else 10.
        per: the best of the whole `study`, or of each `loss`.
        default: whether the configuration with every axis at its default joins them.
        around: in (0, 1): train the neighbours of one configuration instead, each with one number
            multiplied by up to 1 - around and 1 + around.
        of: that configuration's label or trial number; "": the best.
        axes: dotted paths of the numbers to change; empty: all that the search varied.
        overrides: values in place of the configuration files', by dotted key.
        name: of a new study.
        console, where, options: as for `run`.

    Raises:
        UserError: for anything that the user can mend.
    """
    from gansearch.analysis.configurations import best_label  # noqa: PLC0415
    from gansearch.analysis.evidence import gather  # noqa: PLC0415
    from gansearch.tuning.again import Wish, train_again  # noqa: PLC0415

    wish = Wish(top, seeds, per, default, around, of, axes, overrides or {}, name)
    names, where = [str(each) for each in what], combined(where, options)
    shown = console or Console(stderr=True)
    return _result(*train_again(names, wish, where, shown, lambda study: best_label(gather(study))))


def find(
    name: StudyLike | None = None,
    *,
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> StoredStudy:
    """A study by its name or path, None being the newest: every function takes it in the name's place.

    Raises:
        StudyError: there is no such study.
    """
    if isinstance(name, StoredStudy):
        return name
    place = combined(where, options, StoredOptions)
    return StoredStudy.find(None if name is None else str(name), place.runs, place.storage)


def configurations(
    name: StudyLike | Evidence,
    *,
    by: str = "iqm",
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> pd.DataFrame:
    """One row for each configuration that was trained again, best rank first; see
    `gansearch.analysis.configurations.configurations`.
    """
    from gansearch.analysis import configurations as confirmation  # noqa: PLC0415

    return confirmation.configurations(evidence(name, where=where, **options), by)


def evidence(
    name: StudyLike | Evidence, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> Evidence:
    """All that is known of a study, for analyses of one's own; read anew, unless it is given."""
    from gansearch.analysis.evidence import Evidence, gather  # noqa: PLC0415

    return name if isinstance(name, Evidence) else gather(find(name, where=where, **options))


def report(
    name: StudyLike | None = None,
    *,
    out: PlaceLike | None = None,
    by: str = "iqm",
    threshold: float | None = None,
    where: Where | None = None,
    **options: Unpack[TrackedOptions],
) -> ReportResult:
    """Write a study's report, and log it to the study's MLflow run.

    Args:
        name: the study, also while it runs; None: the newest.
        out: the folder; None: `report` in the study's directory.
        by: the score that ranks configurations, see `gansearch.analysis.configurations.SCORES`.
        threshold: a value of the objective that counts as reached, for the time to it; None: one that
            half of the runs reach.
        where, options: as for `run`.

    Raises:
        UserError: no such study, no such score, or `out` holds other things.
    """
    from gansearch import tracking  # noqa: PLC0415
    from gansearch.reporting.publishing import publish  # noqa: PLC0415

    if threshold is not None and not math.isfinite(threshold):
        raise UserError(f"--threshold {threshold}: must be a finite number")
    where = combined(where, options, TrackedOptions)
    study = find(name, where=where)
    found = evidence(study)

    def send(paths: Sequence[Path], numbers: Mapping[str, Mapping[str, float]]) -> None:
        uri, _ = tracking.store_of(study.runs_dir, where.tracking)
        tracking.log_report(uri, found.experiment, paths, numbers, identity=found.facts["id"])

    folder = None if out is None else files.place(out)
    told = None if where.tracking == "off" else send
    return publish(study, found, folder, by=by, threshold=threshold, send=told)


def compare(
    *names: StudyLike,
    anyway: bool = False,
    by: str = "iqm",
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> pd.DataFrame:
    """Several studies side by side, a row each.

    Args:
        names: the studies.
        anyway: compare numbers that were made differently all the same.
        by: the score that ranks each study's configurations.
        where, options: as for `run`.

    Raises:
        StudyError: the studies' objective was not made alike (features, sample counts, split, ...).
    """
    from gansearch.reporting.comparison import compare as side_by_side  # noqa: PLC0415

    if len(names) < 2:
        raise UserError("name two studies or more to compare")
    found = [evidence(name, where=where, **options) for name in names]
    return side_by_side(found, anyway=anyway, by=by)


def status(
    name: StudyLike | Evidence, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> dict[str, Any]:
    """The state of a study, also while it runs: see `gansearch.analysis.tables.status`."""
    from gansearch.analysis import tables  # noqa: PLC0415

    return tables.status(evidence(name, where=where, **options))


def facts(
    name: StudyLike, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> dict[str, Any]:
    """What is fixed for a study: name, metric, goal, steps, trials, digest, version, id, time."""
    journal = find(name, where=where, **options).journal()
    return {"name": journal.study.study_name, **journal.facts}


def trials(
    name: StudyLike, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> pd.DataFrame:
    """One row a trial, best first, indexed by number."""
    from gansearch.analysis import tables  # noqa: PLC0415

    journal = find(name, where=where, **options).journal()
    return tables.trials_table(journal.trials(), journal.metric, journal.goal)


def curves(
    name: StudyLike, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> pd.DataFrame:
    """One row a report of every trial: number, step, images, seconds and every metric."""
    from gansearch.analysis import tables  # noqa: PLC0415

    journal = find(name, where=where, **options).journal()
    return tables.curves_table(journal.trials())


def repair(
    name: StudyLike,
    *,
    dry_run: bool = False,
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> dict[str, Repair]:
    """Mend a study's damaged journal files with all that can be read; the originals stay beside them.

    Args:
        name: the study's name or path.
        dry_run: only tell what would be done.
        where, options: as for `run`.

    Returns:
        What was found and done, for `search` and, where there is one, `stability`.

    Raises:
        StudyError: it is being run, or what is left of a journal does not make a study.
    """
    from gansearch.journal.repair import repair_study  # noqa: PLC0415

    return repair_study(find(name, where=where, **options), write=not dry_run)


def sync(name: StudyLike, *, where: Where | None = None, **options: Unpack[TrackedOptions]) -> int:
    """Send to MLflow what it does not have of a study; returns how many trials could not be sent.

    Raises:
        StudyError: there is no such study, or it is being run (and then sends by itself).
    """
    from gansearch.tuning import launch  # noqa: PLC0415

    where = combined(where, options, TrackedOptions)
    return launch.sync(find(name, where=where), where)


@contextmanager
def ui(
    name: StudyLike | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    where: Where | None = None,
    **options: Unpack[TrackedOptions],
) -> Iterator[View]:
    """MLflow's server on a study's store, while the `with` block lasts.

    Args:
        name: the study; None: the newest.
        host: the address to listen on; anyone who reaches it can read and change the store.
        port: 0: any free one.
        where, options: as for `run`.

    Raises:
        UserError: no such study, the port is taken, or MLflow does not know the study.
    """
    from gansearch import tracking  # noqa: PLC0415

    where = combined(where, options, TrackedOptions)
    study = find(name, where=where)
    found = evidence(study)
    uri, artifacts = tracking.store_of(study.runs_dir, where.tracking)

    def view(base: str, process: Server | None = None) -> View:
        link = partial(tracking.comparison_url, base, uri, found.experiment, identity=found.facts["id"])
        seeds = link(part="stability") if found.roster.entries else ""
        searched = link() if found.facts["trials"] else seeds
        return View(base, searched, seeds, process)

    if uri.startswith("http"):  # a server of the team's
        yield view(without_password(uri))
        return
    with tracking.ui(uri, artifacts, host=host, port=port) as server:
        yield view(server.url, server)


def export(
    name: StudyLike,
    out: PathLike,
    *,
    top: int = 1,
    by: str = "iqm",
    searched: bool = False,
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> list[Path]:
    """Write the best configurations, with weights, samples and evidence; returns the folders.

    Args:
        name: the study.
        out: a new folder.
        top: how many, best first: by confirmed rank where configurations were trained again.
        by: the score of that rank, see `gansearch.analysis.configurations.SCORES`.
        searched: choose by the search's own values all the same.
        where, options: as for `run`.

    Raises:
        UserError: nothing to export, or `out` is in use.
    """
    from gansearch.exporting import export as write  # noqa: PLC0415

    study = find(name, where=where, **options)
    return write(study, _here(out), top, by=by, searched=searched)


def train(
    config: PathLike,
    out: PathLike,
    *,
    data: PathLike | None = None,
    inception: PathLike | None = None,
    device: str | None = None,
    threads: int = 1,
    trust: bool = False,
    on_report: Callable[[Report], None] = lambda _: None,
) -> pd.DataFrame:
    """Train one configuration by itself, without Ray, Optuna or MLflow.

    Args:
        config: its YAML file, hand-written or exported.
        out: the folder for the model; an interrupted training there is gone on with.
        data, inception: places on this machine.
        device: as torch names it; None: the GPU if there is one.
        threads: torch's; as many as a trial had CPUs repeat it to the bit.
        trust: run the code that an export carries (`modules` beside its config.yaml).
        on_report: called with each report.

    Returns:
        The curve, one row a report; the last says how it ended.
    """
    import pandas as pd  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from gansearch.modules import carried  # noqa: PLC0415
    from gansearch.study.document import read_document  # noqa: PLC0415
    from gansearch.training.prepare import LocalPaths  # noqa: PLC0415
    from gansearch.training.standalone import train as train_alone  # noqa: PLC0415
    from gansearch.training.validation import load_config  # noqa: PLC0415

    places = LocalPaths.of_environment(data, inception)
    path = Path(config)
    torch.set_num_threads(threads)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {where} cannot be used here: {reason}") from error
    tree = read_document(path).tree
    with carried(path.parent, tree, trust=trust) as modules:
        checked, images = load_config(path, places.data)
        reports = train_alone(
            checked, images, _here(out), places, device=where, modules=modules, on_report=on_report
        )
    rows = [
        {"step": r.step, "seconds": r.seconds, "outcome": r.outcome, "reason": r.reason, **r.metrics}
        for r in reports
    ]
    return pd.DataFrame(rows)


def sample(
    folder: PathLike,
    out: PathLike,
    *,
    count: int = 64,
    seed: int = 0,
    label: str | int | None = None,
    trust: bool = False,
) -> Path:
    """Write samples from an exported generator; a seed, the same samples.

    Args:
        folder: the exported model.
        out: a file: `.npy` gets the samples themselves (images: uint8, N x C x H x W; points: float32,
            N x D), any other a PNG of them, a grid of images or a scatter of points.
        count: how many.
        seed: of their noise.
        label: of a conditional model: the class, by name or number; None: all, as often as in the data.
        trust: run the code that the folder carries, where the generator is of its maker's own.

    Raises:
        UserError: the folder is not a model's, the model has no such class, or it needs code that is
            not trusted.
    """
    import numpy as np  # noqa: PLC0415

    from gansearch.training.export_folder import read_model, write_picture  # noqa: PLC0415

    path = _here(out)
    if path.is_dir():
        raise UserError(f"{out} is a folder: --out must name a PNG")
    model = read_model(Path(folder), trust=trust)
    samples = model.sample(count, seed, label=None if label is None else str(label))
    if path.suffix == ".npy":
        with files.writing(path) as file:
            np.save(file, samples.numpy())
    else:
        write_picture(model.domain.draw(samples), path)
    return path


def _here(out: PathLike) -> Path:
    """Where to write what is taken home; raises `UserError` for a place that cannot be written."""
    path = files.on_disk(files.place(out), "what is exported", "say a path on this machine")
    files.check_writable(path.absolute().parent, "--out")
    return path


def _result(study: StoredStudy, finished: bool) -> StudyResult:
    from gansearch.analysis import configurations as confirmation  # noqa: PLC0415
    from gansearch.analysis import tables  # noqa: PLC0415

    found = evidence(study)
    trials = tables.trials_table(found.search, found.metric, found.goal)
    ranking = confirmation.configurations(found)
    return StudyResult(study.directory.path, finished, trials, ranking, found)

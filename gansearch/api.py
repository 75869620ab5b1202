"""Every command as a function: good in a notebook, and what the command line itself calls."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from rich.console import Console

from gansearch import files
from gansearch.errors import StudyError, UserError
from gansearch.files import Place
from gansearch.journal.directory import ERROR, LOG, StudyDirectory
from gansearch.masking import without_password
from gansearch.study.document import parse_document
from gansearch.study.mistakes import Mistakes, validate
from gansearch.study.plan import Stability
from gansearch.study.records import Outcome, Report, ranked
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
    from gansearch.data.images import ImageData
    from gansearch.journal.journal import Journal
    from gansearch.journal.repair import Repair
    from gansearch.tracking import Server
    from gansearch.tuning.jobs import Job, RemoteAnswer


@dataclass(frozen=True)
class Study:
    """A checked study file and its data, ready to be run.

    Attributes:
        spec: what is asked.
        data: the training images.
        stem: the file's name, from which a run takes its own.
    """

    spec: StudySpec
    data: ImageData
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
    """

    directory: Place
    finished: bool
    trials: pd.DataFrame
    configurations: pd.DataFrame


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
    from gansearch.tuning.launch import load_study as load  # noqa: PLC0415

    spec, images = load(path, LocalPaths.of_environment(data), overrides)
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
        if trials < 1:
            raise UserError(f"trials must be at least 1, not {trials}")
        search = spec.plan.search.model_copy(update={"trials": trials})
        spec = replace(spec, plan=spec.plan.model_copy(update={"search": search}))
    directory = StudyDirectory.new(name, stem, where.runs)
    where = where.but(storage=_storage(None, where.storage))
    shown = console or Console(stderr=True)
    return _result(directory, launch.run(spec, images.pop(), directory, where, shown), where.storage)


def resume(
    name: PlaceLike,
    *,
    console: Console | None = None,
    where: Where | None = None,
    **options: Unpack[WhereOptions],
) -> StudyResult:
    """Go on with a study after any interruption; arguments as for `run`.

    Raises:
        StudyError: there is no such study, it is being run, or its file has changed.
    """
    from gansearch.tuning import launch  # noqa: PLC0415

    where = combined(where, options)
    directory = StudyDirectory.find(str(name), where.runs)
    where = where.but(storage=_storage(directory, where.storage))
    shown = console or Console(stderr=True)
    return _result(directory, launch.resume(directory, where, shown), where.storage)


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
    name: str, address: str, *, where: Where | None = None, **options: Unpack[JobOptions]
) -> Job:
    """Go on with such a study; see `gansearch.tuning.jobs.submit_resume`."""
    from gansearch.tuning import jobs  # noqa: PLC0415

    return jobs.submit_resume(name, address, combined(where, options, JobOptions))


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
    name: PlaceLike,
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
    directory = StudyDirectory.find(str(name), combined(where, options, StoredOptions).runs)
    folder = (directory.stability if seeds else directory).trial(number)
    with files.reachable(folder):
        if not folder.is_dir():
            raise StudyError(f"there is nothing of trial {number} in {directory.path}")
        texts = [files.read(path).decode() for path in (folder / LOG, folder / ERROR) if path.is_file()]
    return "".join(texts) or "it printed nothing, and no error ended it\n"


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
    from gansearch.search.selection import Around  # noqa: PLC0415
    from gansearch.tuning import from_configs as configs  # noqa: PLC0415
    from gansearch.tuning import launch  # noqa: PLC0415

    where = combined(where, options)
    study, paths = _study_and_files(what, where.runs)
    choosing = {"top": top, "per": per, "default": default}
    _check_asked(
        study is not None,
        around,
        choosing=choosing,
        files={"configuration files": paths},
        of_files={"--set": overrides},
        of_new={"--name": name},
        of_around={"--of": of, "--axes": axes},
    )
    shown = console or Console(stderr=True)
    given = configs.read_configs(paths, where.paths, overrides)
    asked = {k: v for k, v in (choosing | {"seeds": seeds}).items() if v is not None}
    where = where.but(storage=_storage(study, where.storage))
    if study is None:
        spec, images = configs.study_of(given, _stability_section(asked), 0, where.paths)
        stem = f"{next(iter(given))}-stability" if len(given) == 1 else "stability"
        study = StudyDirectory.new(name, stem, where.runs)
        return _result(study, launch.run(spec, images, study, where, shown), where.storage)
    found = evidence(study.path, storage=where.storage)
    planned = parse_document(found.facts["study"], "study.yaml").tree.get("stability") or {}
    if given and not any(value is not None for value in choosing.values()):  # the files alone
        asked |= {"top": 0, "default": False}
    neighbours = None if around is None else Around(around, of, tuple(axes))
    wanted = _stability_section(planned | asked)
    request = launch.Request(wanted, given, neighbours, _best_label(found))
    return _result(study, launch.confirm(study, request, where, shown), where.storage)


def _check_asked(
    has_study: bool,
    around: float | None,
    *,
    choosing: Mapping[str, Any],
    files: Mapping[str, Any],
    of_files: Mapping[str, Any],
    of_new: Mapping[str, Any],
    of_around: Mapping[str, Any],
) -> None:
    """Refuse what would have no effect: it is a misunderstanding."""
    choosing = {f"--{key}": value for key, value in choosing.items()}
    if around is None:
        _refuse(of_around, "goes with --around")
    elif not has_study:
        raise UserError(
            "neighbours are of a study's configuration: train the file first, then say "
            "`gansearch stability NAME --around`"
        )
    elif not 0 < around < 1:
        what = "must lie between 0 and 1, as 0.5 for half to one and a half"
        raise UserError(f"--around {around:g}: {what}")
    else:
        _refuse(choosing | dict(files), "does not go with --around")
    if not has_study:
        _refuse(choosing, "needs a study to choose from")
    else:
        _refuse(of_new, "is for a new study: this one has a name")
    if not any(files.values()):
        _refuse(of_files, "is for configuration files alone")


def _refuse(options: Mapping[str, Any], why: str) -> None:
    for option, value in options.items():
        if value not in (None, "", (), [], {}):
            raise UserError(f"{option} {why}")


def _study_and_files(
    what: Sequence[PlaceLike], runs: Place
) -> tuple[StudyDirectory | None, list[Path]]:
    """The study among what is named, if there is one, and the configuration files."""
    names = [str(item) for item in what]
    configs = [Path(name) for name in names if name.endswith((".yaml", ".yml"))]
    studies = [name for name in names if not name.endswith((".yaml", ".yml"))]
    if len(studies) > 1:
        raise UserError(f"one study at a time: {', '.join(studies)}")
    if not names:
        raise UserError("name a study, or configuration files")
    return (StudyDirectory.find(studies[0], runs) if studies else None), configs


def _stability_section(tree: Mapping[str, Any]) -> Stability:
    found: Mistakes = []
    section = validate(Stability, tree, found)
    if found:
        path, message = found[0]
        raise UserError(f"--{path[0]}: {message}")
    return section


def _best_label(found: Evidence) -> str:
    """The best configuration by confirmed rank, else the search's best trial."""
    from gansearch.analysis.configurations import configurations  # noqa: PLC0415

    table = configurations(found)
    placed = table[table["rank"].notna()]
    confirmed = [str(label) for label, count in placed["successes"].items() if count]
    if confirmed:
        return confirmed[0]
    best = ranked(found.search, found.metric, found.goal)[:1]
    return str(best[0].number) if best and best[0].best(found.metric, found.goal) else ""


def configurations(
    name: PlaceLike,
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
    name: PlaceLike, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> Evidence:
    """All that is known of a study, for analyses of one's own."""
    from gansearch.analysis.evidence import gather  # noqa: PLC0415

    return gather(*_open(name, combined(where, options, StoredOptions)))


@dataclass(frozen=True)
class ReportResult:
    """A written report.

    Attributes:
        html: the file to open.
        unsent: why MLflow does not have it; empty if it has, or if tracking is off.
    """

    html: Place
    unsent: str = ""


def report(
    name: PlaceLike | None = None,
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
    from gansearch.analysis.evidence import gather  # noqa: PLC0415
    from gansearch.reporting.writing import write_report  # noqa: PLC0415

    if threshold is not None and not math.isfinite(threshold):
        raise UserError(f"--threshold {threshold}: must be a finite number")
    where = combined(where, options, TrackedOptions)
    directory, journal, storage = _open(name, where)
    found = gather(directory, journal, storage)
    folder = files.place(out) if out is not None else directory.report
    html = write_report(found, folder, by=by, threshold=threshold, samples=_samples(directory, found))
    if where.tracking == "off":
        return ReportResult(html)
    try:
        _log_report(directory, journal, found, folder, by, where.tracking)
    except UserError as error:  # the report itself is there
        return ReportResult(html, str(error))
    return ReportResult(html)


def _samples(directory: StudyDirectory, found: Evidence) -> dict[str, Place]:
    """The sample grid of each configuration's best seed, of that seed's best report."""
    samples: dict[str, Place] = {}
    for record in ranked(found.stability, found.metric, found.goal):
        best = record.best(found.metric, found.goal)
        if best and record.outcome is Outcome.COMPLETED and record.configuration not in samples:
            path = directory.stability.sample(record.number, best.step)
            if path.is_file():
                samples[record.configuration] = path
    return samples


_SUMMARY = (
    r"^(rank|seeds|successes|(success|iqm|median|mean|q10|q90|late_collapse)(_rate)?(_low|_high)?|sd)$"
)
"""What MLflow is told of a configuration, of the columns of its ranking."""


def _log_report(
    directory: StudyDirectory,
    journal: Journal,
    found: Evidence,
    folder: Place,
    by: str,
    tracking: str | None,
) -> None:
    from gansearch import tracking as mlflow  # noqa: PLC0415
    from gansearch.analysis.configurations import configurations  # noqa: PLC0415

    uri, _ = mlflow.store_of(directory.runs_dir, tracking)
    table = configurations(found, by).filter(regex=_SUMMARY)
    summaries = {
        str(label): {str(key): float(value) for key, value in row.items() if value is not None}
        for label, row in table.astype(object).where(table.notna(), None).to_dict("index").items()
    }
    with ExitStack() as copies:
        paths = sorted([*files.find(folder, "*.html"), *files.find(folder, "*.csv")])
        here = [copies.enter_context(files.local_copy(path)) for path in paths]
        mlflow.log_report(uri, journal.study.study_name, here, summaries, identity=journal.facts["id"])


def compare(
    *names: PlaceLike,
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
    name: PlaceLike, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> dict[str, Any]:
    """The state of a study, also while it runs: see `gansearch.analysis.tables.status`."""
    from gansearch.analysis import tables  # noqa: PLC0415

    return tables.status(*_open(name, combined(where, options, StoredOptions)))


def facts(
    name: PlaceLike, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> dict[str, Any]:
    """What is fixed for a study: name, metric, goal, steps, trials, digest, version, id, time."""
    journal = _open(name, combined(where, options, StoredOptions))[1]
    return {"name": journal.study.study_name, **journal.facts}


def trials(
    name: PlaceLike, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> pd.DataFrame:
    """One row a trial, best first, indexed by number."""
    from gansearch.analysis import tables  # noqa: PLC0415

    journal = _open(name, combined(where, options, StoredOptions))[1]
    return tables.trials_table(journal.trials(), journal.metric, journal.goal)


def curves(
    name: PlaceLike, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> pd.DataFrame:
    """One row a report of every trial: number, step, images, seconds and every metric."""
    from gansearch.analysis import tables  # noqa: PLC0415

    journal = _open(name, combined(where, options, StoredOptions))[1]
    return tables.curves_table(journal.trials())


def repair(
    name: PlaceLike,
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
    from gansearch.journal.journal import JOURNAL_FILE  # noqa: PLC0415
    from gansearch.journal.repair import repair as mend  # noqa: PLC0415

    directory = StudyDirectory.find(str(name), combined(where, options, StoredOptions).runs)
    folder = files.on_disk(directory.path, "a journal file", "a database repairs its own")
    journals = {"search": folder / JOURNAL_FILE, "stability": folder / "stability" / JOURNAL_FILE}
    with directory.held(None):
        return {
            which: mend(path, write=not dry_run) for which, path in journals.items() if path.exists()
        }


def sync(name: PlaceLike, *, where: Where | None = None, **options: Unpack[TrackedOptions]) -> int:
    """Send to MLflow what it does not have of a study; returns how many trials could not be sent.

    Raises:
        StudyError: there is no such study, or it is being run (and then sends by itself).
    """
    from gansearch.tuning import launch  # noqa: PLC0415

    where = combined(where, options, TrackedOptions)
    directory = StudyDirectory.find(str(name), where.runs)
    return launch.sync(directory, where.but(storage=_storage(directory, where.storage)))


@contextmanager
def ui(
    name: PlaceLike | None = None,
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
    from gansearch import tracking as mlflow  # noqa: PLC0415

    where = combined(where, options, TrackedOptions)
    directory, journal, storage = _open(name, where)
    known = {"name": journal.study.study_name, **journal.facts}
    confirmed = bool(status(directory.path, storage=storage)["stability"])
    uri, artifacts = mlflow.store_of(directory.runs_dir, where.tracking)

    def view(base: str, process: Server | None = None) -> View:
        shown = partial(mlflow.comparison_url, base, uri, known["name"], identity=known["id"])
        seeds = shown(part="stability") if confirmed else ""
        searched = shown() if known["trials"] else seeds
        return View(base, searched, seeds, process)

    if uri.startswith("http"):  # a server of the team's
        yield view(without_password(uri))
        return
    with mlflow.ui(uri, artifacts, host=host, port=port) as server:
        yield view(server.url, server)


def export(
    name: PlaceLike,
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

    directory, journal, storage = _open(name, combined(where, options, StoredOptions))
    folder = _here(out)
    return write(directory, journal, folder, top, storage=storage, by=by, searched=searched)


def train(
    config: PathLike,
    out: PathLike,
    *,
    data: PathLike | None = None,
    inception: PathLike | None = None,
    device: str | None = None,
    threads: int = 1,
    on_report: Callable[[Report], None] = lambda _: None,
) -> pd.DataFrame:
    """Train one configuration by itself, without Ray, Optuna or MLflow.

    Args:
        config: its YAML file, hand-written or exported.
        out: the folder for the model; an interrupted training there is gone on with.
        data, inception: places on this machine.
        device: as torch names it; None: the GPU if there is one.
        threads: torch's; as many as a trial had CPUs repeat it to the bit.
        on_report: called with each report.

    Returns:
        The curve, one row a report; the last says how it ended.
    """
    import pandas as pd  # noqa: PLC0415
    import torch  # noqa: PLC0415

    from gansearch.training.prepare import LocalPaths  # noqa: PLC0415
    from gansearch.training.standalone import train as train_alone  # noqa: PLC0415
    from gansearch.training.validation import load_config  # noqa: PLC0415

    places = LocalPaths.of_environment(data, inception)
    checked, images = load_config(config, places.data)
    torch.set_num_threads(threads)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {where} cannot be used here: {reason}") from error
    reports = train_alone(checked, images, _here(out), places, device=where, on_report=on_report)
    rows = [
        {"step": r.step, "seconds": r.seconds, "outcome": r.outcome, "reason": r.reason, **r.metrics}
        for r in reports
    ]
    return pd.DataFrame(rows)


def sample(folder: PathLike, out: PathLike, *, count: int = 64, seed: int = 0) -> Path:
    """Write a grid of images from an exported generator as a PNG; a seed, the same images.

    Raises:
        UserError: the folder is not a model's.
    """
    from gansearch.training.export_folder import read_model, write_grid  # noqa: PLC0415

    path = _here(out)
    if path.is_dir():
        raise UserError(f"{out} is a folder: --out must name a PNG")
    write_grid(read_model(Path(folder)).sample(count, seed), path)
    return path


def _here(out: PathLike) -> Path:
    """Where to write what is taken home; raises `UserError` for a place in an object store."""
    return files.on_disk(files.place(out), "what is exported", "say a path on this machine")


def _open(name: PlaceLike | None, where: Where) -> tuple[StudyDirectory, Journal, str | None]:
    """A study by name, None being the newest; its search's journal, and the storage of that."""
    from gansearch.journal.journal import Journal  # noqa: PLC0415

    if name is None:
        directory = StudyDirectory.newest(where.runs)
    else:
        directory = StudyDirectory.find(str(name), where.runs)
    storage = _storage(directory, where.storage)
    return directory, Journal.open(directory.path, directory.name, storage), storage


def _storage(directory: StudyDirectory | None, storage: str | None) -> str | None:
    """The Optuna storage that applies: as said, else the study's journal file, else the team's."""
    from gansearch.journal.journal import JOURNAL_FILE  # noqa: PLC0415

    if storage or (directory and (directory.path / JOURNAL_FILE).exists()):
        return storage
    return os.environ.get("GANSEARCH_STORAGE") or None


def _result(directory: StudyDirectory, finished: bool, storage: str | None) -> StudyResult:
    from gansearch.analysis import configurations as confirmation  # noqa: PLC0415
    from gansearch.analysis import tables  # noqa: PLC0415

    found = evidence(directory.path, storage=storage)
    trials = tables.trials_table(found.search, found.metric, found.goal)
    return StudyResult(directory.path, finished, trials, confirmation.configurations(found))

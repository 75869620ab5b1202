"""Every command as a function: good in a notebook, and what the command line itself calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from gansearch.errors import StudyError, UserError
from gansearch.study.directory import StudyDirectory
from gansearch.study.records import Report
from gansearch.study.spec import StudySpec

if TYPE_CHECKING:
    import pandas as pd

    from gansearch.data.images import ImageData
    from gansearch.journal import Journal
    from gansearch.tracking import Server

PathLike = str | Path


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
    """

    directory: Path
    finished: bool
    trials: pd.DataFrame


@dataclass(frozen=True)
class View:
    """A study in MLflow's UI.

    Attributes:
        server: the server's address.
        comparison: that of the study's comparison view.
        process: the server, where it was started here.
    """

    server: str
    comparison: str
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
    from gansearch.training.prepare import Places  # noqa: PLC0415
    from gansearch.tuning.launch import load_study as load  # noqa: PLC0415

    spec, images = load(path, Places.of_environment(data), overrides)
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
    from gansearch.training.prepare import Places  # noqa: PLC0415
    from gansearch.training.rehearsal import rehearse  # noqa: PLC0415

    if not isinstance(study, Study):
        study = load_study(study, data=data)
    return rehearse(study.spec, study.data, Places.of_environment(data, inception))


def run(
    study: Study | PathLike,
    *,
    name: str | None = None,
    runs_dir: PathLike = "runs",
    trials: int | None = None,
    address: str | None = None,
    data: PathLike | None = None,
    inception: PathLike | None = None,
    storage: str | None = None,
    tracking: str | None = None,
    concurrency: int | None = None,
    console: Console | None = None,
) -> StudyResult:
    """Run a study under Ray Tune.

    Args:
        study: a file, or what `load_study` gave.
        name: the study's name; None: the file's, with a number if that is taken.
        runs_dir: where its directory is made.
        trials: in place of the file's `search.trials`.
        address: of a Ray cluster; None: a local one.
        data, inception: places on this machine, see `load_study` and the README.
        storage: an Optuna storage URL; None: a journal file in the study's directory.
        tracking: an MLflow tracking URI; None: SQLite in `runs_dir`; "off": none.
        concurrency: trials at once, at most.
        console: where progress is shown; None: standard error.

    Raises:
        UserError: for anything that the user can mend; nothing was created then.
    """
    from gansearch.tuning import launch  # noqa: PLC0415

    if not isinstance(study, Study):
        study = load_study(study, data=data)
    spec = study.spec
    if trials is not None:
        if trials < 1:
            raise UserError(f"trials must be at least 1, not {trials}")
        search = spec.plan.search.model_copy(update={"trials": trials})
        spec = replace(spec, plan=spec.plan.model_copy(update={"search": search}))
    directory = StudyDirectory.new(name, study.stem, Path(runs_dir))
    storage = _storage(None, storage)
    how = _launch(address, data, inception, storage, tracking, concurrency)
    shown = console or Console(stderr=True)
    return _result(directory, launch.run(spec, study.data, directory, how, shown), storage)


def resume(
    name: PathLike,
    *,
    runs_dir: PathLike = "runs",
    address: str | None = None,
    data: PathLike | None = None,
    inception: PathLike | None = None,
    storage: str | None = None,
    tracking: str | None = None,
    concurrency: int | None = None,
    console: Console | None = None,
) -> StudyResult:
    """Go on with a study after any interruption; arguments as for `run`.

    Raises:
        StudyError: there is no such study, it is being run, or its file has changed.
    """
    from gansearch.tuning import launch  # noqa: PLC0415

    directory = StudyDirectory.find(str(name), Path(runs_dir))
    storage = _storage(directory, storage)
    how = _launch(address, data, inception, storage, tracking, concurrency)
    shown = console or Console(stderr=True)
    return _result(directory, launch.resume(directory, how, shown), storage)


def status(
    name: PathLike, *, runs_dir: PathLike = "runs", storage: str | None = None
) -> dict[str, Any]:
    """The state of a study, also while it runs: see `gansearch.analysis.tables.status`."""
    from gansearch.analysis import tables  # noqa: PLC0415

    directory, journal = _open(name, runs_dir, storage)
    return tables.status(directory, journal, journal.facts["trials"])


def facts(name: PathLike, *, runs_dir: PathLike = "runs", storage: str | None = None) -> dict[str, Any]:
    """What is fixed for a study: name, metric, goal, steps, trials, digest, version, id, time."""
    journal = _open(name, runs_dir, storage)[1]
    return {"name": journal.study.study_name, **journal.facts}


def trials(name: PathLike, *, runs_dir: PathLike = "runs", storage: str | None = None) -> pd.DataFrame:
    """One row a trial, best first, indexed by number."""
    from gansearch.analysis import tables  # noqa: PLC0415

    _, journal = _open(name, runs_dir, storage)
    return tables.trials_table(journal.trials(), journal.metric, journal.goal)


def curves(name: PathLike, *, runs_dir: PathLike = "runs", storage: str | None = None) -> pd.DataFrame:
    """One row a report of every trial: number, step, images, seconds and every metric."""
    from gansearch.analysis import tables  # noqa: PLC0415

    _, journal = _open(name, runs_dir, storage)
    return tables.curves_table(journal.trials())


def sync(
    name: PathLike,
    *,
    runs_dir: PathLike = "runs",
    storage: str | None = None,
    tracking: str | None = None,
) -> int:
    """Send to MLflow what it does not have of a study; returns how many trials could not be sent.

    Raises:
        StudyError: there is no such study, or it is being run (and then sends by itself).
    """
    from gansearch.tuning import launch  # noqa: PLC0415

    directory = StudyDirectory.find(str(name), Path(runs_dir))
    storage = _storage(directory, storage)
    return launch.sync(directory, _launch(None, None, None, storage, tracking, None))


@contextmanager
def ui(
    name: PathLike | None = None,
    *,
    runs_dir: PathLike = "runs",
    port: int = 5000,
    storage: str | None = None,
    tracking: str | None = None,
) -> Iterator[View]:
    """MLflow's server on a study's store, while the `with` block lasts.

    Args:
        name: the study; None: the newest.
        port: on loopback; 0: any free one.
        runs_dir, storage, tracking: as for `run`.

    Raises:
        UserError: no such study, the port is taken, or MLflow does not know the study.
    """
    from gansearch import tracking as mlflow  # noqa: PLC0415

    runs = Path(runs_dir)
    directory = StudyDirectory.newest(runs) if name is None else StudyDirectory.find(str(name), runs)
    known = facts(directory.path, storage=storage)
    uri, artifacts = mlflow.store(directory.runs_dir, tracking)
    if uri.startswith("http"):  # a server of the team's
        url = mlflow.comparison_url(uri, uri, known["name"], identity=known["id"])
        yield View(uri, url)
        return
    with mlflow.ui(uri, artifacts, port=port) as server:
        url = mlflow.comparison_url(server.url, uri, known["name"], identity=known["id"])
        yield View(server.url, url, server)


def export(
    name: PathLike,
    out: PathLike,
    *,
    top: int = 1,
    runs_dir: PathLike = "runs",
    storage: str | None = None,
) -> list[Path]:
    """Write the best trials' configuration, weights, samples and provenance; returns the folders.

    Raises:
        UserError: nothing to export, or `out` is in use.
    """
    from gansearch.exporting import export as write  # noqa: PLC0415

    directory, journal = _open(name, runs_dir, storage)
    return write(directory, journal, Path(out), top)


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

    from gansearch.training.alone import train as train_alone  # noqa: PLC0415
    from gansearch.training.prepare import Places  # noqa: PLC0415
    from gansearch.training.validation import load_config  # noqa: PLC0415

    places = Places.of_environment(data, inception)
    checked, images = load_config(config, places.data)
    torch.set_num_threads(threads)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {where} cannot be used here: {reason}") from error
    reports = train_alone(checked, images, Path(out), places, device=where, on_report=on_report)
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
    from gansearch.training.model import read_model, write_grid  # noqa: PLC0415

    if Path(out).is_dir():
        raise UserError(f"{out} is a folder: --out must name a PNG")
    write_grid(read_model(Path(folder)).sample(count, seed), Path(out))
    return Path(out)


def _open(name: PathLike, runs_dir: PathLike, storage: str | None) -> tuple[StudyDirectory, Journal]:
    from gansearch.journal import Journal  # noqa: PLC0415

    directory = StudyDirectory.find(str(name), Path(runs_dir))
    return directory, Journal.open(directory.path, directory.name, _storage(directory, storage))


def _storage(directory: StudyDirectory | None, storage: str | None) -> str | None:
    """The Optuna storage that applies: as said, else the study's journal file, else the team's."""
    from gansearch.journal import JOURNAL_FILE  # noqa: PLC0415

    if storage or (directory and (directory.path / JOURNAL_FILE).exists()):
        return storage
    return os.environ.get("GANSEARCH_STORAGE")


def _launch(
    address: str | None,
    data: PathLike | None,
    inception: PathLike | None,
    storage: str | None,
    tracking: str | None,
    concurrency: int | None,
) -> Any:
    from gansearch.training.prepare import Places  # noqa: PLC0415
    from gansearch.tuning.launch import Launch  # noqa: PLC0415

    if concurrency is not None and concurrency < 1:
        raise StudyError(f"concurrency must be at least 1, not {concurrency}")
    places = Places.of_environment(data, inception)
    return Launch(places, address, storage, tracking, concurrency)


def _result(directory: StudyDirectory, finished: bool, storage: str | None) -> StudyResult:
    table = trials(directory.path, storage=storage)
    return StudyResult(directory.path, finished, table)

"""Where a study runs, and with what: all that its file does not say, each option declared once.

From `Where` the command line takes its options, the Python functions their keywords, and a job on a
cluster the words of its command.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    NamedTuple,
    Unpack,
    get_args,
    get_type_hints,
)

from typing_extensions import TypedDict

from gansearch import files
from gansearch.arguments import checked
from gansearch.errors import UserError
from gansearch.files import PathLike, Place, PlaceLike
from gansearch.journal.directory import RUNS
from gansearch.masking import shows_password
from gansearch.modules import existing

if TYPE_CHECKING:
    from gansearch.training.prepare import LocalPaths

TRAINER = "gansearch.training.variational:build_trainer"
"""What trains a trial: benchmarks and tests put others in its place."""


class Option(NamedTuple):
    """How a field of `Where` is said on the command line.

    Attributes:
        help: what it is.
        flag: its name there, where that is not the field's.
        env: the environment variable that says it, where the option does not.
        metavar: what stands for its value.
        default: what is meant where nothing says it, for the help.
        secret: the environment variable in which a password belongs, which the option may not show.
        is_path: it is a path, which means something else on another machine.
        least: the smallest number.
    """

    help: str
    flag: str = ""
    env: str | None = None
    metavar: str | None = None
    default: str | None = None
    secret: str = ""
    is_path: bool = False
    least: int | None = None


class StoredOptions(TypedDict, total=False):
    """Keywords of a function that reads a study: see `Where`."""

    runs_dir: PlaceLike | None
    storage: str | None


class TrackedOptions(StoredOptions, total=False):
    """Keywords of a function that reads a study and its picture in MLflow: see `Where`."""

    tracking: str | None


class JobOptions(TrackedOptions, total=False):
    """Keywords of a function that has a cluster train, whose address it takes apart: see `Where`."""

    concurrency: int | None
    data: PathLike | None
    inception: PathLike | None
    modules: Sequence[PathLike]


class WhereOptions(JobOptions, total=False):
    """Keywords of a function that trains: see `Where`."""

    address: str | None
    nice: int | None


@dataclass(frozen=True)
class Where:
    """Where a study is kept and runs, and with what.

    Attributes:
        runs_dir: the folder of studies, or a URI such as s3://bucket/runs; None: `runs`.
        address: of a Ray cluster; None starts a local Ray, or joins RAY_ADDRESS.
        concurrency: trials at once at most; None: as many as fit.
        nice: niceness of the workers of a Ray that is started here, 0 to 19; None: 0. A cluster's own
            is set where its nodes are started (RAY_worker_niceness).
        data: the folder of all data sets; None: GANSEARCH_DATA.
        inception: a file of Inception weights; None: GANSEARCH_INCEPTION.
        storage: an Optuna storage URL; None: the journal file in the study's directory.
        tracking: an MLflow tracking URI; None: MLFLOW_TRACKING_URI, else SQLite in the runs directory;
            "off" (or "none"): nowhere.
        modules: packages and .py files of the user's own that can be imported here and that the study
            needs besides those that it names: kept with it, and sent to the nodes of a cluster.
        trainer: `module:Class` that trains a trial.

    Raises:
        UserError: a value that none of them can have.
    """

    runs_dir: Annotated[
        str | None,
        Option(
            "Keep studies in this folder, or s3://...",
            env="GANSEARCH_RUNS",
            default=RUNS,
            is_path=True,
        ),
    ] = None
    address: Annotated[str | None, Option("Join this Ray cluster (default: a local Ray).")] = None
    concurrency: Annotated[int | None, Option("Train at most N trials at once.", least=1)] = None
    nice: Annotated[
        int | None,
        Option(
            "Run local workers at this niceness, to 19: give way to other jobs (default: 0).", least=0
        ),
    ] = None
    data: Annotated[
        str | None,
        Option("Read data sets from this folder.", env="GANSEARCH_DATA", metavar="PATH", is_path=True),
    ] = None
    inception: Annotated[
        str | None,
        Option(
            "Read Inception's weights from this file.",
            env="GANSEARCH_INCEPTION",
            metavar="PATH",
            is_path=True,
        ),
    ] = None
    storage: Annotated[
        str | None,
        Option(
            "Keep journals in this Optuna storage URL (default: files).", secret="GANSEARCH_STORAGE"
        ),
    ] = None
    tracking: Annotated[
        str | None,
        Option(
            "Track in this MLflow URI, or 'off' (default: SQLite in runs).",
            secret="MLFLOW_TRACKING_URI",
        ),
    ] = None
    modules: Annotated[
        tuple[Path, ...],
        Option("Add code of yours that the study needs besides what it names.", flag="module"),
    ] = ()
    trainer: str = TRAINER

    def __post_init__(self) -> None:
        _check(**vars(self))
        if self.concurrency is not None and self.concurrency < 1:
            raise UserError(f"concurrency must be at least 1, not {self.concurrency}")
        if self.nice is not None and not 0 <= self.nice <= 19:
            raise UserError(f"nice must lie between 0 and 19, not {self.nice}")
        for name in ("runs_dir", "data", "inception"):
            said = getattr(self, name)
            object.__setattr__(self, name, None if said is None else str(said))
        object.__setattr__(self, "modules", tuple(existing(module) for module in self.modules))

    def but(self, **options: Any) -> Where:
        """The same with some fields said anew, also by paths and places as a notebook has them."""
        return replace(self, **options)

    def again(self, *names: str) -> str:
        """Options as a command is told with that goes on with a study: what this environment does not
        say by itself, after a space. A password is left to the environment, where it belongs.

        Args:
            names: of the fields that the command takes, of which `StoredStudy.called` says none.
        """
        words = ""
        for name in names:
            option, said = OPTIONS[name], getattr(self, name)
            by_itself = os.environ.get(option.env or option.secret)
            if said is not None and str(said) != by_itself and not shows_password(str(said)):
                words += f" --{option.flag} {quote(str(said))}"
        return words

    @property
    def runs(self) -> Place:
        """The folder of studies."""
        return files.place(RUNS if self.runs_dir is None else self.runs_dir)

    @property
    def paths(self) -> LocalPaths:
        """Data, caches and weights on this machine."""
        from gansearch.training.prepare import LocalPaths  # noqa: PLC0415  it loads torch

        return LocalPaths.of_environment(self.data, self.inception)


def _fields(*, trainer: str, **options: Unpack[WhereOptions]) -> None:
    """What a `Where` takes: more than its fields then hold."""


_check = checked(_fields, "Where")


def _declared() -> dict[str, Option]:
    declared = {}
    for name, hint in get_type_hints(Where, include_extras=True).items():
        for option in get_args(hint)[1:]:
            if isinstance(option, Option):
                declared[name] = option._replace(flag=(option.flag or name).replace("_", "-"))
    return declared


OPTIONS: Mapping[str, Option] = _declared()
"""The options by the name of their field, in the order of the fields."""


def combined(where: Where | None, options: Mapping[str, Any]) -> Where:
    """What a function is told in a notebook: an object, keywords, or keywords in place of some fields.

    Args:
        where: as it was given.
        options: keywords, which `checked` has looked at.
    """
    return (where or Where()).but(**options)

"""What is made of a study and kept in order: its report, its picture in MLflow, its journal mended."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from rich.console import Console

from gansearch import files
from gansearch.api.reading import StudyLike, evidence, find
from gansearch.arguments import checked
from gansearch.errors import UserError
from gansearch.files import PlaceLike
from gansearch.masking import without_password
from gansearch.tuning.where import StoredOptions, TrackedOptions, Where, combined

if TYPE_CHECKING:
    from gansearch.journal.repair import Repair
    from gansearch.reporting.publishing import ReportResult
    from gansearch.tracking import Server


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


@checked
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
    where = combined(where, options)
    wanted = tracking.address(where.tracking) != tracking.OFF
    study = find(name, where=where)
    gathered = evidence(study)

    def send(paths: Sequence[Path], numbers: Mapping[str, Mapping[str, float]]) -> None:
        if store := tracking.store_of(study.runs_dir, where.tracking):
            name, identity = gathered.experiment, gathered.facts["id"]
            tracking.log_report(store.uri, name, paths, numbers, identity=identity)

    folder = study.directory.report if out is None else files.place(out)
    if isinstance(folder, Path):
        files.check_writable(folder.absolute().parent, "--out")
    return publish(study, gathered, folder, by=by, threshold=threshold, send=send if wanted else None)


@checked
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

    where = combined(where, options)
    study = find(name, where=where)
    gathered = evidence(study)
    store = tracking.store_of(study.runs_dir, where.tracking)
    if store is None:
        raise UserError("there is nothing to look at: tracking is off")
    uri, artifacts = store

    def view(base: str, process: Server | None = None) -> View:
        name, identity = gathered.experiment, gathered.facts["id"]
        link = partial(tracking.comparison_url, base, uri, name, identity=identity)
        seeds = link(phase="stability") if gathered.roster.entries else ""
        searched = link() if gathered.facts["trials"] else seeds
        return View(base, searched, seeds, process)

    if uri.startswith("http"):  # a server of the team's
        yield view(without_password(uri))
        return
    with tracking.ui(uri, artifacts, host=host, port=port) as server:
        yield view(server.url, server)


@checked
def sync(
    name: StudyLike,
    *,
    console: Console | None = None,
    where: Where | None = None,
    **options: Unpack[TrackedOptions],
) -> int:
    """Send to MLflow what it does not have of a study; returns how many trials could not be sent.

    Args:
        name: the study.
        console: where it is said why some could not; None: standard error.
        where, options: as for `run`.

    Raises:
        StudyError: there is no such study, or it is being run (and then sends by itself).
    """
    from gansearch.tuning import launch  # noqa: PLC0415

    where = combined(where, options)
    return launch.sync(find(name, where=where), where, console or Console(stderr=True, emoji=False))


@checked
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

"""A study's mirror in MLflow: opened, closed, and brought up to date afterwards."""

from __future__ import annotations

from shlex import quote

from rich.console import Console

from gansearch.errors import StudyError
from gansearch.files import Place
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.journal.table import write_table
from gansearch.study.records import table_row
from gansearch.tracking import Status, Tracker, store_of
from gansearch.tracking import sync as send_all

IMAGES_SHOWN = 8
"""Sample grids that MLflow is sent of a trial."""

SEND_EVERY = 5.0
"""Seconds between two visits to MLflow; what has gathered goes in one batch."""


def open_tracker(
    directory: StudyDirectory, journal: Journal, runs_dir: Place, tracking: str | None
) -> Tracker | None:
    """The mirror of a search or a stability study, or None where tracking is off.

    Args:
        directory: where its trials' samples are.
        journal: its journal.
        runs_dir: where MLflow's own store is by default.
        tracking: an MLflow tracking URI, None or "off", see `Where`.
    """
    if tracking == "off":
        return None
    uri, artifacts = store_of(runs_dir, tracking)
    facts = journal.facts

    def sample(number: int, step: int) -> Place | None:
        path = directory.sample(number, step)
        shown = _is_shown(step, facts["steps"], facts["report_every"])
        return path if shown and path.exists() else None

    return Tracker(
        uri,
        facts.get("experiment", journal.study.study_name),  # also where the folder has been renamed
        part=facts.get("part", "search"),
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
    tracker: Tracker,
    console: Console,
    name: str,
    *,
    finished: bool,
) -> int:
    """Send what MLflow does not have yet, and say so if it cannot be; returns how many trials."""

    sync = f"`gansearch sync {quote(name)}`"

    def waiting(unsent: int) -> None:
        words = f"MLflow is being sent {unsent} more trials; Ctrl-C leaves them to {sync}"
        console.print(words, style="dim", markup=False, highlight=False, soft_wrap=True)

    unsent = tracker.finish("FINISHED" if finished else "KILLED", waiting=waiting)
    if unsent:
        why = next(iter(tracker.unsent().values()), "its parent run could not be ended")
        console.print(
            f"MLflow does not have {unsent} trials yet ({why}): {sync} sends them",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    return unsent


def mirror(directory: StudyDirectory, journal: Journal, runs_dir: Place, tracking: str | None) -> int:
    """Make MLflow's picture of what is not running complete; returns how many trials it refused.

    Raises `StudyError` where tracking is off.
    """
    tracker = open_tracker(directory, journal, runs_dir, tracking)
    if tracker is None:
        raise StudyError("there is nothing to send to: tracking is off")
    status: Status = "FINISHED" if journal.finished else "KILLED"
    unsent = send_all(tracker, journal.trials(), status)
    journal.note_runs(tracker.run_ids())
    journal.flush()
    rows = [table_row(record, journal.metric, journal.goal) for record in journal.trials()]
    write_table(directory.table, rows)
    return unsent

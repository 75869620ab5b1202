"""A study's tracker: opened, closed, and given what MLflow lacks of a study that is not running."""

from __future__ import annotations

from functools import partial

from rich.console import Console

from gansearch.files import Place
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.facts import SENT
from gansearch.journal.journal import Journal
from gansearch.journal.table import write_table
from gansearch.study.records import count, table_row
from gansearch.tracking import Status, Tracker, store_of, sync
from gansearch.tuning.saying import say

IMAGES_SHOWN = 8
"""Sample grids that MLflow is sent of a trial."""

SEND_EVERY = 5.0
"""Seconds between two visits to MLflow; what has gathered goes in one batch."""


def open_tracker(
    directory: StudyDirectory, journal: Journal, runs_dir: Place, tracking: str | None
) -> Tracker | None:
    """The tracker of a search or a stability study, or None where tracking is off.

    Args:
        directory: where its trials' samples are.
        journal: its journal.
        runs_dir: where MLflow's own store is by default.
        tracking: an MLflow tracking URI, None or "off", see `Where`.
    """
    store = store_of(runs_dir, tracking)
    if store is None:
        return None
    facts = journal.facts

    def sample(number: int, step: int) -> Place | None:
        path = directory.sample(number, step)
        shown = _is_shown(step, facts["steps"], facts["report_every"])
        return path if shown and path.exists() else None

    return Tracker(
        store.uri,
        facts.get("experiment", journal.study.study_name),  # also where the folder has been renamed
        phase=facts.get("part", "search"),
        metric=journal.metric,
        goal=journal.goal,
        artifacts=store.artifacts,
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


def close_tracker(tracker: Tracker, console: Console, command: str, *, finished: bool) -> int:
    """Send what MLflow does not have yet, and say so if it cannot be; returns how many trials.

    Args:
        tracker: of a study that this driver leaves.
        console: where it is said.
        command: what sends MLflow the rest, see `gansearch.tuning.going_on`.
        finished: whether the study has all that it was to have.
    """
    status: Status = "FINISHED" if finished else "KILLED"
    unsent = tracker.finish(status, waiting=partial(_tell_waiting, console, command))
    _tell(tracker, unsent, console, command)
    return unsent


def send_missing(
    directory: StudyDirectory,
    journal: Journal,
    runs_dir: Place,
    tracking: str | None,
    console: Console,
    command: str,
) -> int:
    """Send what MLflow lacks of a study that is not running; returns how many trials it did not take, 0
    where tracking is off.

    The journal and the table learn of the runs.

    Args:
        directory, journal, runs_dir, tracking: as for `open_tracker`.
        console, command: as for `close_tracker`.
    """
    tracker = open_tracker(directory, journal, runs_dir, tracking)
    if tracker is None:
        return 0
    status: Status = "FINISHED" if journal.finished else "KILLED"
    waiting = partial(_tell_waiting, console, command)
    unsent = sync(tracker, journal.trials(), status, waiting=waiting)
    journal.note_runs(tracker.run_ids())
    journal.flush()
    if not unsent:
        note_sent(journal)
    rows = [table_row(record, journal.metric, journal.goal) for record in journal.trials()]
    write_table(directory.table, rows)
    _tell(tracker, unsent, console, command)
    return unsent


def note_sent(journal: Journal) -> None:
    """Write down that MLflow has all of a search or a stability study, if that is over."""
    if journal.finished:
        journal.set_facts({SENT: len(journal.trials())})


def is_sent(journal: Journal) -> bool:
    """Whether MLflow is known to have all of it: a driver may be killed after the last trial's end."""
    return bool(journal.facts.get(SENT) == len(journal.trials()))


def _tell_waiting(console: Console, command: str, unsent: int, silence: float) -> None:
    does, style = f"is being sent {count(unsent, 'more trial')}", "dim"
    if silence:
        does, style = (
            f"has said nothing for {silence:.0f} s, and is asked whether it is there",
            "yellow",
        )
    say(console, f"MLflow {does}; Ctrl-C leaves the rest to `{command}`", style)


def _tell(tracker: Tracker, unsent: int, console: Console, command: str) -> None:
    """Say what MLflow does not have, why, and how it is sent."""
    if unsent:
        why = next(iter(tracker.unsent().values()), "its parent run could not be ended")
        lacks = f"MLflow does not have {count(unsent, 'trial')} yet ({why})"
        words = f"{lacks}: `{command}` sends what is missing"
        say(console, words, "yellow")

"""Commands that are told to go on with a study: typed so, they find it, and go on as it was run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gansearch.journal.directory import JOURNAL_FILE, ThereError
from gansearch.journal.stored import StoredStudy
from gansearch.tuning.where import Where

TRAINING = ("address", "concurrency", "nice", "data", "inception", "tracking")
"""The options that a command which trains is told again: modules are kept with a study, and its name
leads to its folder and storage.
"""


def resume_command(study: StoredStudy, where: Where) -> str:
    """What goes on with a study."""
    return f"gansearch resume {study.called}{where.again(*TRAINING)}"


def stability_command(study: StoredStudy, where: Where) -> str:
    """What trains the best of a study again."""
    return f"gansearch stability {study.called} --top 5 --seeds 10{where.again(*TRAINING)}"


def sync_command(study: StoredStudy, where: Where) -> str:
    """What sends MLflow all that it lacks of a study."""
    return f"gansearch sync {study.called}{where.again('tracking')}"


@contextmanager
def as_was_said(where: Where) -> Iterator[None]:
    """Have a name that a study has already told with the command that goes on with that, whole."""
    try:
        yield
    except ThereError as there:
        in_file = (there.study.path / JOURNAL_FILE).exists()  # which a storage would hide
        study = StoredStudy(there.study, None if in_file else where.storage)
        raise ThereError(there.path, there.study, resume_command(study, where)) from there

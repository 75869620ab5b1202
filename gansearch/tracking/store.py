"""MLflow's SQLite file: made whole, or not at all.

MLflow makes a new file by some 1,700 statements, many of which are committed alone. A process that is
killed in the middle leaves a file that MLflow refuses ever after ("table secrets already exists"), and
with it every study of the runs directory. So a new file is made under another name, and put in its
place when it is whole; and one that was left unfinished, which holds nothing yet, is put aside.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
import uuid
from contextlib import closing, suppress
from pathlib import Path

log = logging.getLogger("gansearch.tracking")

ARTIFACTS = "mlartifacts"
"""The folder of artifacts beside the file."""

UNFINISHED = ".unfinished"
"""Added to the name of a file that is put aside."""

SILENT = 10.0
"""Seconds without a change after which nobody is at work on an unfinished file any more."""

STALE = 3600.0
"""Seconds after which a file under another name was left by a process that was killed."""

FIRST_TABLES = {"experiments", "runs", "metrics", "params", "tags"}
"""MLflow makes these before any that it may find in its way."""

_URI = re.compile(r"sqlite(?:\+\w+)?:///(?!file:|:memory:)([^?]+)")


def sqlite_file(uri: str) -> Path | None:
    """The file that a tracking URI names; None for a server, or another database."""
    found = _URI.match(uri)
    return Path(found[1]) if found else None


def make_whole(uri: str) -> None:
    """Make the SQLite file of a tracking URI where it is missing, or was left unfinished.

    Raises what MLflow, SQLite or the disk raises.
    """
    path = sqlite_file(uri)
    if path is None:
        return
    if path.exists():
        if not is_unfinished(path):
            return
        aside = path.with_name(path.name + UNFINISHED)
        log.warning("%s was left unfinished, and holds nothing: it is now %s.", path, aside.name)
        path.replace(aside)
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f".{path.name}.*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > STALE:
                old.unlink()
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        _make(part, path.parent / ARTIFACTS)
        _put(part, path)
    finally:
        for left in path.parent.glob(f"{part.name}*"):
            left.unlink(missing_ok=True)


def is_unfinished(path: Path) -> bool:
    """Whether MLflow's file was left in the middle of its making: it has no experiment and no run."""
    if time.time() - path.stat().st_mtime < SILENT:
        return False
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path, timeout=0)) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if {name for (name,) in names} >= FIRST_TABLES:
            used = "SELECT EXISTS (SELECT 1 FROM experiments) OR EXISTS (SELECT 1 FROM runs)"
            return not database.execute(used).fetchone()[0]
    return False  # perhaps no file of MLflow's; or somebody is writing it


def _make(path: Path, artifacts: Path) -> None:
    """Have MLflow make a new file, with the experiment that every one of its stores has."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

    store = SqlAlchemyStore(f"sqlite:///{path}", artifacts.resolve().as_uri())
    store.engine.dispose()


def _put(part: Path, path: Path) -> None:
    """Give a whole file its name, unless another process was faster."""
    try:
        with suppress(FileExistsError):
            os.link(part, path)
    except OSError:  # a file system without hard links
        if not path.exists():
            part.replace(path)

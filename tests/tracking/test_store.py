"""MLflow's SQLite file is made whole or not at all, whenever a process is killed."""

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gansearch.tracking import default_store, sync
from gansearch.tracking.store import FIRST_TABLES, SILENT, STALE, is_unfinished, make_whole, sqlite_file

from .helpers import STUDY, picture, trial

DYING = """
import os
import sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from gansearch.tracking.client import open_client

left = int(sys.argv[2])

@event.listens_for(Engine, "before_cursor_execute")
def die(*_):
    global left
    left -= 1
    if left < 0:
        os._exit(9)

open_client(sys.argv[1]).search_experiments()
"""


def by_hand(path: Path, *statements: str, age: float = SILENT + 5) -> Path:
    """A file that MLflow, or somebody else, left; last changed so many seconds ago."""
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    os.utime(path, (time.time() - age,) * 2)
    return path


HALF = [f"CREATE TABLE {name} (step INT, key INT, value INT, run_uuid INT)" for name in FIRST_TABLES]


def test_a_process_that_is_killed_while_it_makes_the_file_leaves_none(tmp_path):
    """MLflow itself would leave one that it refuses ever after."""
    uri, _ = default_store(tmp_path)
    killed = subprocess.run([sys.executable, "-c", DYING, uri, "150"], check=False)
    assert killed.returncode == 9
    assert [path.suffixes[0] for path in tmp_path.iterdir()] == [".db"]
    assert not (tmp_path / "mlflow.db").exists()


def test_a_file_that_was_left_unfinished_is_put_aside(tmp_path, tracker, caplog):
    uri, artifacts = default_store(runs := tmp_path / "runs")
    runs.mkdir()
    half = by_hand(sqlite_file(uri), *HALF)
    left = by_hand(runs / ".mlflow.db.1234abcd", *HALF, age=STALE + 5)
    mirror = tracker(uri, artifacts=artifacts)
    assert sync(mirror, [trial(0)], "FINISHED") == 0, mirror.unsent()
    assert set(picture(uri)) == {STUDY, "0000 completed"}
    assert half.with_name("mlflow.db.unfinished").exists()
    assert "was left unfinished, and holds nothing: it is now mlflow.db.unfinished" in caplog.text
    assert not left.exists(), "what a killed process left takes no room"
    assert not list(runs.glob(".mlflow.db.*"))


@pytest.mark.parametrize(
    ("statements", "age"),
    [
        (HALF, 0),
        ([*HALF, "INSERT INTO runs VALUES (1, 1, 1, 1)"], 60),
        ([*HALF, "INSERT INTO experiments VALUES (1, 1, 1, 1)"], 60),
        (["CREATE TABLE experiments (of_mine INT)"], 60),
    ],
    ids=["just now", "a run", "an experiment", "another's"],
)
def test_what_may_be_of_use_to_somebody_is_left_alone(tmp_path, statements, age):
    path = by_hand(tmp_path / "mlflow.db", *statements, age=age)
    before = path.read_bytes()
    assert not is_unfinished(path)
    make_whole(f"sqlite:///{path}")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_database_is_left_to_mlflow_to_refuse(tmp_path):
    path = tmp_path / "mlflow.db"
    path.write_text("a note to myself")
    os.utime(path, (0, 0))
    make_whole(f"sqlite:///{path}")
    assert path.read_text() == "a note to myself"


def test_a_file_that_is_being_written_is_not_unfinished(tmp_path):
    path = by_hand(tmp_path / "mlflow.db", *HALF)
    assert is_unfinished(path)
    with sqlite3.connect(path, isolation_level=None) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert not is_unfinished(path)
        writer.execute("ROLLBACK")
    writer.close()
    assert is_unfinished(path)


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:////data/runs/mlflow.db", "/data/runs/mlflow.db"),
        ("sqlite:///runs/mlflow.db?timeout=5", "runs/mlflow.db"),
        ("sqlite+pysqlite:///mlflow.db", "mlflow.db"),
        ("sqlite:///:memory:", None),
        ("sqlite://", None),
        ("http://127.0.0.1:5000", None),
        ("postgresql://me@host/sqlite:///x", None),
    ],
)
def test_which_uris_name_a_file(uri, file):
    assert sqlite_file(uri) == (file and Path(file))

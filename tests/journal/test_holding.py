"""One driver a study: by a file, beside SQLite, in PostgreSQL; with processes killed for real."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
import time
from types import ModuleType

import pytest
from postgresql import PostgreSQL

from gansearch import files
from gansearch.errors import UserError
from gansearch.journal import holding, urls

HOLD = """
import sys
from gansearch import files
from gansearch.journal import holding
with holding.Hold(files.place(sys.argv[1]), sys.argv[2] or None).taken(lambda: None):
    print("held", flush=True)
    sys.stdin.read()
"""

STORE = "s3://bucket/runs/study"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(holding, "PATIENCE", 0.5)


@pytest.fixture(scope="module")
def postgresql():
    with PostgreSQL() as server:
        yield server


@pytest.fixture(params=["file", "sqlite", "postgresql"])
def study(request, tmp_path):
    """A study's folder and storage."""
    if request.param == "file":
        return tmp_path, None
    if request.param == "sqlite":
        return files.place(STORE), f"sqlite:///{tmp_path}/team.db"
    return files.place(STORE), request.getfixturevalue("postgresql").url


def never():
    raise AssertionError("nobody took it")


def test_one_process_holds_a_study_and_its_death_lets_go(study):
    folder, storage = study
    assert not holding.Hold(folder, storage).is_taken
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), storage or ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert holding.Hold(folder, storage).is_taken
        with pytest.raises(holding.TakenError), holding.Hold(folder, storage).taken(never):
            pass
        holder.kill()
        holder.wait()
    with holding.Hold(folder, storage).taken(never):
        assert holding.Hold(folder, storage).is_taken
    assert not holding.Hold(folder, storage).is_taken


def test_studies_are_held_one_by_one(study):
    folder, storage = study
    other = folder.with_name("other")
    if storage is None:
        other.mkdir()
    with holding.Hold(folder, storage).taken(never):
        assert not holding.Hold(other, storage).is_taken
        with holding.Hold(other, storage).taken(never):
            assert holding.Hold(other, storage).is_taken


def test_those_who_look_neither_see_nor_hinder_each_other(postgresql):
    place, stop, seen = files.place(STORE), threading.Event(), []

    def look():
        while not stop.is_set():
            seen.append(holding.Hold(place, postgresql.url).is_taken)

    watchers = [threading.Thread(target=look) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    while len(seen) < 50:
        time.sleep(0.01)
    assert not any(seen)
    with holding.Hold(place, postgresql.url).taken(never):
        pass
    stop.set()
    for watcher in watchers:
        watcher.join()


def test_who_looks_at_a_file_does_not_take_another_who_looks_for_its_driver(tmp_path):
    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert not holding.Hold(tmp_path).is_taken
        fcntl.flock(other, fcntl.LOCK_EX)
        assert holding.Hold(tmp_path).is_taken


NO_LOCKS = """
import errno, fcntl, os
def flock(*_):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
fcntl.flock = flock
"""


@pytest.fixture
def without_locks(monkeypatch):
    """A file system that locks nothing, also for this process."""
    monkeypatch.setattr(fcntl, "flock", fcntl.flock)
    exec(NO_LOCKS, {})


@pytest.mark.usefixtures("without_locks")
@pytest.mark.filterwarnings("ignore:flock not supported")
def test_where_the_file_system_locks_nothing_it_is_written_down_who_holds(tmp_path):
    hold = holding.Hold(tmp_path)
    for _ in range(2):
        assert not hold.is_taken
        with holding.Hold(tmp_path).taken(never):
            assert hold.is_taken
            with pytest.raises(holding.TakenError), hold.taken(never):
                pass
        assert not hold.is_taken


@pytest.mark.usefixtures("without_locks")
@pytest.mark.filterwarnings("ignore:flock not supported")
def test_there_too_a_process_s_death_lets_go(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", NO_LOCKS + HOLD, str(tmp_path), ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert holding.Hold(tmp_path).is_taken
        holder.kill()
        holder.wait()
    assert not holding.Hold(tmp_path).is_taken
    with holding.Hold(tmp_path).taken(never):
        pass


def test_in_a_database_that_holds_no_name_it_is_a_file_in_the_study_s_folder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymysql", ModuleType("pymysql"))  # its driver is there, unasked
    url = "mysql+pymysql://host/studies"
    with holding.Hold(tmp_path, url).taken(never):
        assert holding.Hold(tmp_path, url).is_taken
    with pytest.raises(UserError, match=r"cannot hold a lock: say --storage postgresql.*, not mysql$"):
        holding.Hold(files.place(STORE), url).check()


def test_a_hold_outlives_its_database_s_absence_which_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(holding, "PING", 0.2)
    place = files.place(STORE)
    with PostgreSQL() as server, holding.Hold(place, server.url).taken(never):
        server.stop()
        time.sleep(0.5)
        server.start()
        deadline = time.monotonic() + 10
        while not holding.Hold(place, server.url).is_taken:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    (told,) = [each.getMessage() for each in caplog.records if each.name == holding.log.name]
    assert told.startswith("the database that holds 'study' is away: ")


LOSE = """
import sys
from gansearch import files
from gansearch.journal import holding
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.stored import StoredStudy
holding.PING = 0.5
with StoredStudy(StudyDirectory(files.place(sys.argv[1])), sys.argv[2]).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_driver_whose_study_another_took_meanwhile_dies_at_once(postgresql, monkeypatch):
    import psycopg

    monkeypatch.setattr(holding, "PATIENCE", 10.0)
    with subprocess.Popen(
        [sys.executable, "-c", LOSE, STORE, postgresql.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as first:
        assert first.stdout.readline() == b"held\n"
        cut = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted"
        with psycopg.connect(postgresql.url, autocommit=True) as database:
            later = threading.Timer(0.5, database.execute, [cut])
            later.start()
            with holding.Hold(files.place(STORE), postgresql.url).taken(never):
                later.join()
                assert first.wait(10) == 2
        assert b"another process took the study 'study' over" in first.stderr.read()


def test_a_machine_that_went_silent_holds_nothing(postgresql, monkeypatch):
    """Its connection is open still, as after a loss of power, and nothing comes over it."""
    monkeypatch.setattr(holding, "SILENCE", 1)
    monkeypatch.setattr(holding, "PING", 100.0)
    place = files.place(STORE)
    with holding.Hold(place, postgresql.url).taken(never):
        assert holding.Hold(place, postgresql.url).is_taken
        time.sleep(2)
        assert not holding.Hold(place, postgresql.url).is_taken


def test_signs_of_life_keep_it(postgresql, monkeypatch):
    monkeypatch.setattr(holding, "SILENCE", 1)
    monkeypatch.setattr(holding, "PING", 0.2)
    place = files.place(STORE)
    with holding.Hold(place, postgresql.url).taken(never):
        time.sleep(2)
        assert holding.Hold(place, postgresql.url).is_taken


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        (None, r"cannot hold a journal file: say --storage postgresql://HOST/DATABASE"),
        ("sqlite://", r"a database in memory ends with its process: say sqlite:////"),
        ("mysql+pymysql://host/x", "needs the Python package pymysql, which is not installed here"),
        ("nonsense", "cannot open the Optuna storage: it is no URL such as"),
        ("postgresql://me:secret@127.0.0.1:1/x", "does not answer"),
    ],
)
def test_what_holds_nothing_is_refused(storage, message):
    hold = holding.Hold(files.place(STORE), storage).taken(never)
    with pytest.raises(UserError, match=message) as refused, hold:
        pass
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("installed", "url", "driver"),
    [
        ({"psycopg"}, "postgresql://h/d", "postgresql+psycopg"),
        ({"psycopg2"}, "postgresql://h/d", "postgresql+psycopg2"),
        ({"psycopg", "psycopg2"}, "postgres://h/d", "postgresql+psycopg"),
        ({"psycopg2"}, "postgresql+psycopg://h/d", "postgresql+psycopg"),
        (set(), "sqlite:///x.db", "sqlite"),
    ],
)
def test_a_database_is_spoken_to_by_the_driver_that_is_there(monkeypatch, installed, url, driver):
    monkeypatch.setattr(urls, "find_spec", lambda name: name in installed or None)
    assert urls.parse_url(url).drivername == driver


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setattr(urls, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'gansearch\[postgresql\]'"):
        urls.parse_url("postgresql://h/d")

"""A trial's log: soon in the file, in one piece, without secrets, and no longer than it may be."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gansearch import files
from gansearch.tuning.log import CAP, CAPPED, EVERY, TrialLog


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trials" / "0000" / "log.txt"


@pytest.fixture(params=["disk", "object store"])
def place(request, path):
    if request.param == "disk":
        return path
    return files.place(f"{request.getfixturevalue('bucket')}/log.txt")


def test_there_is_no_file_until_something_is_printed(path):
    log = TrialLog(path)
    log.keep()
    assert not path.parent.exists()
    print("first", file=log)
    log.keep()
    assert path.read_text() == "first\n"


def test_prints_cost_little_and_open_the_file_once(path, monkeypatch):
    opened = []
    genuine = Path.open
    monkeypatch.setattr(Path, "open", lambda *a, **k: opened.append(a) or genuine(*a, **k))
    log = TrialLog(path)
    begun = time.process_time()
    for i in range(10_000):
        print("step", i, file=log)
    log.keep()
    spent = time.process_time() - begun
    assert len(path.read_text().splitlines()) == 10_000
    assert len(opened) == 2, "once by the log, and once by this test"
    assert spent < 0.5, "that is 50 us a print; it was 830, and is less than 1"


def test_what_is_printed_is_in_the_file_soon(path):
    log = TrialLog(path)
    print("no line's end", end="", file=log)
    deadline = time.monotonic() + 20 * EVERY
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(EVERY / 5)
    assert path.read_text() == "no line's end"


def test_a_killed_process_has_left_what_it_printed(path):
    program = f"""
import contextlib, time
from pathlib import Path
from gansearch.tuning.log import TrialLog
with contextlib.redirect_stdout(TrialLog(Path({str(path)!r}))):
    for i in range(5000):
        print("line", i)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (path.exists() and "4999" in path.read_text()):
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.read_text().splitlines() == [f"line {i}" for i in range(5000)]


def test_a_trial_that_prints_without_end_is_capped_with_a_word(place):
    log = TrialLog(place)
    for i in range(CAP // 100):
        print("a hundred and more characters: ä" + "." * 100, i, file=log)
    log.keep()
    kept = files.read(place)
    assert kept.endswith(CAPPED.encode())
    assert CAP - 8 < len(kept) - len(CAPPED.encode()) <= CAP
    kept.decode()
    log.keep()
    print("more", file=log)
    log.keep()
    assert files.read(place) == kept
    another = TrialLog(place)  # of the worker that goes on
    print("and more", file=another)
    another.keep()
    assert files.read(place) == kept, "nor another word"


def test_another_worker_goes_on_below_what_is_there(place):
    for text in ("first\n", "second\n"):
        log = TrialLog(place)
        log.write(text)
        log.keep()
    assert files.read(place) == b"first\nsecond\n"


def test_secrets_and_odd_characters_do_not_stand_in_it(place):
    log = TrialLog(place)
    print("mlflow at http://me:s3cret@host/", "\udc80", file=log)
    log.keep()
    assert files.read(place) == b"mlflow at http://host/ \\udc80\n"


def test_threads_lose_nothing_of_each_other(path):
    log = TrialLog(path)

    def chatter(name: str) -> None:
        for i in range(2000):
            log.write(f"{name} {i}\n")
            if not i % 100:
                log.flush()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(chatter, "abcd"))
    log.close()
    lines = path.read_text().splitlines()
    for name in "abcd":
        assert [line for line in lines if line[0] == name] == [f"{name} {i}" for i in range(2000)]


def test_it_takes_what_an_open_text_file_takes(path):
    log = TrialLog(path)
    with contextlib.redirect_stdout(log):
        sys.stdout.reconfigure(line_buffering=True)
        print("words,")
        sys.stdout.writelines(["lines,\n", "more,\n"])
        sys.stdout.buffer.write("bytes as äöü,\n".encode())
        sys.stdout.write(7)  # and what a file would have refused ends no flushing
        print(" and an end")
        assert not sys.stdout.isatty()
    del log  # nobody closes it
    expected = "words,\nlines,\nmore,\nbytes as äöü,\n7 and an end\n"
    deadline = time.monotonic() + 20 * EVERY
    while path.read_text() != expected and time.monotonic() < deadline:
        time.sleep(EVERY / 5)
    assert path.read_text() == expected


def test_a_forked_process_prints_nothing_twice(path):
    log = TrialLog(path)
    with contextlib.redirect_stdout(log):
        print("once")
        child = os.fork()
        if not child:
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)
    log.keep()
    assert path.read_text() == "once\n"


def test_a_disk_that_refuses_is_asked_again(path):
    path.parent.parent.mkdir()
    path.parent.write_text("a file where the folder should be")
    log = TrialLog(path)
    print("lost", file=log)
    log.keep()
    path.parent.unlink()
    print("kept", file=log)
    log.keep()
    assert path.read_text() == "kept\n"

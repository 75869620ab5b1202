"""How `make test` shares the tests among its processes: those that take long are begun first.

A process gets a whole file at a time, for a file's tests share what is costly to make (a Ray, a trained
network); a test that takes over `LONG` seconds goes by itself. What takes the longest is handed out
first, so that all processes end at about the same time. `durations.txt` says what took how long;
`pytest --note-durations` writes it anew. A test that is not in it goes with its file.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

FILE = Path(__file__).with_name("durations.txt")
LONG = 30.0
MOST = 6  # processes: a Ray takes a gigabyte or two


def pytest_addoption(parser):
    words = "write how long these tests took to tests/durations.txt"
    parser.addoption("--note-durations", action="store_true", help=words)


def pytest_xdist_auto_num_workers():
    """One more than there are cores: a test of a study often waits for its processes."""
    return min(1 + (os.cpu_count() or 1), MOST)


def pytest_xdist_make_scheduler(config, log):
    return LongestFirst(config, log) if config.getoption("dist") == "loadfile" else None


class LongestFirst(LoadScopeScheduling):
    """Hands out files, and long tests by themselves, in the order in which they were collected."""

    def __init__(self, config, log=None):
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid):
        return unit(nodeid)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: -known().get(unit(item.nodeid), 0.0))


def unit(nodeid):
    """What a test is handed out with: itself, or its file."""
    return nodeid if nodeid in known() else nodeid.partition("::")[0]


@cache
def known():
    """Seconds by long test and by the rest of a file."""
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    return {name: float(seconds) for seconds, _, name in (line.partition(" ") for line in lines)}


class Notes:
    """Notes how long tests take, and writes it down."""

    def __init__(self):
        self.seconds = Counter()

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self):
        found = Counter()
        for name, seconds in self.seconds.items():
            found[name if seconds > LONG else name.partition("::")[0]] += seconds
        files = {name.partition("::")[0] for name in self.seconds}
        for name, seconds in known().items():
            if name.partition("::")[0] not in files:
                found[name] = seconds
        lines = [f"{seconds:.1f} {name}\n" for name, seconds in found.most_common() if seconds >= 1]
        FILE.write_text("".join(lines))


def pytest_configure(config):
    if config.getoption("note_durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Notes())

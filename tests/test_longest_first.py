"""How the tests are shared among several processes."""

import re
from pathlib import Path
from types import SimpleNamespace

import longest_first
import pytest
from longest_first import LongestFirst, known, unit

ROOT = Path(__file__).parents[1]
FILE, OTHER = "tests/test_a.py", "tests/b/test_b.py"


@pytest.fixture
def durations(tmp_path, monkeypatch):
    """What is known of two files: one of them has a test that takes long."""
    file = tmp_path / "durations.txt"
    file.write_text(f"40.0 {FILE}::test_long[a b]\n12.0 {OTHER}\n1.5 {FILE}\n")
    monkeypatch.setattr(longest_first, "FILE", file)
    known.cache_clear()
    yield file
    known.cache_clear()


TESTS = [f"{FILE}::test_{name}" for name in ("x", "long[a b]", "y", "z")]
TESTS += [f"{OTHER}::test_{number}" for number in range(3)]


class Process:
    """A process of pytest-xdist's that runs nothing: what it was given, and whether it may end."""

    def __init__(self, name):
        self.gateway = SimpleNamespace(id=name)
        self.given, self.shutting_down = [], False

    def send_runtest_some(self, indices):
        self.given += indices

    def shutdown(self):
        self.shutting_down = True


def collected(tests):
    items = [SimpleNamespace(nodeid=test) for test in tests]
    longest_first.pytest_collection_modifyitems(SimpleNamespace(workerinput={}), items)
    return [item.nodeid for item in items]


def test_what_takes_long_is_begun_first_and_by_itself(durations):
    order = collected(TESTS)
    assert order == [TESTS[1], *TESTS[4:], TESTS[0], TESTS[2], TESTS[3]]
    option = SimpleNamespace(loadscopereorder=True)
    config = SimpleNamespace(option=option, getvalue={"tx": ["2*popen"]}.get)
    schedule = LongestFirst(config)
    one, two = Process("one"), Process("two")
    for process in (one, two):
        schedule.add_node(process)
        schedule.add_node_collection(process, order)
    schedule.schedule()
    assert (one.given, two.given) == ([0, 4, 5, 6], [1, 2, 3]), "units, and not tests, are dealt out"
    for process in (one, two):
        for index in process.given:
            schedule.mark_test_complete(process, index)
    assert schedule.tests_finished
    assert one.shutting_down
    assert two.shutting_down


def test_one_process_has_them_in_their_own_order(durations):
    items = [SimpleNamespace(nodeid=test) for test in TESTS]
    longest_first.pytest_collection_modifyitems(SimpleNamespace(), items)
    assert [item.nodeid for item in items] == TESTS


def test_durations_are_written_down_and_those_of_other_files_stay(durations):
    notes = longest_first.Notes()
    for test, phase in ((TESTS[0], 4.0), (TESTS[0], 39.0), (TESTS[1], 2.0), (TESTS[2], 0.5)):
        notes.pytest_runtest_logreport(SimpleNamespace(nodeid=test, duration=phase))
    notes.pytest_sessionfinish()
    assert durations.read_text() == f"43.0 {TESTS[0]}\n12.0 {OTHER}\n2.5 {FILE}\n"


def test_the_tests_that_take_long_are_there():
    for name in known():
        file, _, test = name.partition("::")
        assert (ROOT / file).is_file(), f"{name}: run with --note-durations"
        function = test.partition("[")[0].rpartition("::")[2]
        assert re.search(rf"def {function}\b", (ROOT / file).read_text()), name
        assert unit(name) == name

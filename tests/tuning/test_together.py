"""`resources.lanes`: a number, or `auto`: one in a search, and measured for fresh seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from gansearch.study.config import TrialConfig
from gansearch.study.plan import Resources
from gansearch.study.roster import Candidate, Roster
from gansearch.tuning import together as module
from gansearch.tuning.together import together


@pytest.fixture
def asked(monkeypatch):
    def ask(lanes, chosen=None, labels=2, seeds=4, workers=2, own=True, steps=3000):
        monkeypatch.setattr(module, "_measured", lambda *_: chosen)
        plain = TrialConfig(budget={"steps": steps, "report_every": steps}).plain()
        candidates = tuple(Candidate(str(n), "given", plain) for n in range(labels))
        entries = tuple((str(n), seed) for seed in range(seeds) for n in range(labels))
        roster = Roster(candidates, entries)
        resources = Resources(lanes=lanes)
        return together(resources, roster, None, None, Path(), workers, Console(quiet=True), own=own)

    return ask


def test_of_another_trainer_nothing_is_measured(asked):
    assert asked("auto", {"a": 8}, own=False) == (1, {})


def test_a_number_is_taken_as_it_is(asked):
    assert asked(8) == (8, None)
    assert asked(1) == (1, None)


def test_auto_is_one_in_a_search(asked):
    assert asked("auto", labels=0) == (1, {})


def test_auto_takes_the_fastest_but_no_more_than_there_is_to_do(asked):
    assert asked("auto", {"a": 1, "b": 8}, seeds=50) == (8, {"a": 1, "b": 8})
    assert asked("auto", {"a": 1, "b": 8}, seeds=4)[0] == 4
    assert asked("auto", {"a": 1}) == (1, {"a": 1})


def test_auto_measures_nothing_that_is_over_sooner(asked):
    assert asked("auto", {"a": 8}, labels=1, seeds=4, steps=249) == (1, {})  # 498 steps to a worker
    assert asked("auto", {"a": 8}, labels=1, seeds=4, steps=250)[0] == 2

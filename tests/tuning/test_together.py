"""`resources.lanes`: a number, or `auto`: measured for fresh seeds, and with more care for a search."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from rich.console import Console

from gansearch.study.axes import Choice, Float, Int
from gansearch.study.config import TrialConfig
from gansearch.study.plan import Plan, Resources
from gansearch.study.roster import Candidate, Roster
from gansearch.study.space import Space
from gansearch.study.spec import StudySpec
from gansearch.training.stacked import choice
from gansearch.tuning import together as module
from gansearch.tuning.connection import connected
from gansearch.tuning.together import _measured, together

PLAIN = TrialConfig(budget={"steps": 3000, "report_every": 3000}).plain()
RATE = {
    "optimizer": {**PLAIN["optimizer"], "generator": {"name": "adam", "lr": Float(1e-5, 1e-2, True)}}
}


@pytest.fixture
def asked(monkeypatch):
    """Calls `together` where so much is measured; what was asked for is in its `ahead`."""

    def ask(lanes, chosen=None, labels=2, seeds=4, workers=2, steps=3000, space=None, **more):
        def measured(resources, ahead, *_):
            ask.ahead = ahead
            return chosen

        ask.ahead = None
        monkeypatch.setattr(module, "_measured", measured)
        plain = {**PLAIN, "budget": {"steps": steps, "report_every": steps}}
        candidates = tuple(Candidate(str(n), "given", plain) for n in range(labels))
        entries = tuple((str(n), seed) for seed in range(seeds) for n in range(labels))
        options = {key: more.pop(key) for key in ("own", "at_once") if key in more}
        complete = more.pop("complete", lambda config: config)
        plan = Plan.model_validate({"resources": {"lanes": lanes, **more.pop("resources", {})}, **more})
        spec = StudySpec(plan, Space({**plain, **RATE, **(space or {})}))
        roster = Roster(candidates, entries)
        known = (None, None, Path(), workers, Console(quiet=True))
        return together(spec, roster, complete, *known, **options)

    return ask


def test_of_another_trainer_nothing_is_measured(asked):
    assert asked("auto", {"a": 8}, own=False) == (1, {})


def test_a_number_is_taken_as_it_is(asked):
    assert asked(8) == (8, None)
    assert asked(1) == (1, None)


def test_auto_takes_the_fastest_but_no_more_than_there_is_to_do(asked):
    assert asked("auto", {"a": 1, "b": 8}, seeds=50) == (8, {"a": 1, "b": 8})
    assert asked("auto", {"a": 1, "b": 8}, seeds=4)[0] == 4
    assert asked("auto", {"a": 1}) == (1, {"a": 1})
    assert asked("auto", {"a": 8}, seeds=50, at_once=5)[0] == 3, "on two workers"


def test_auto_measures_nothing_that_is_over_sooner(asked):
    assert asked("auto", {"a": 8}, labels=1, seeds=4, steps=249) == (1, {})  # 498 steps to a worker
    assert asked("auto", {"a": 8}, labels=1, seeds=4, steps=250)[0] == 2


def searching(asked, trials, chosen, workers=2, **more):
    return asked("auto", chosen, labels=0, workers=workers, search={"trials": trials}, **more)


@pytest.mark.parametrize(
    ("trials", "workers", "lanes"), [(30, 2, 3), (19, 2, 1), (20, 2, 2), (200, 8, 5), (500, 2, 16)]
)
def test_each_lane_of_a_search_is_used_five_times(asked, trials, workers, lanes):
    assert searching(asked, trials, {"a": 16}, workers) == (lanes, {"a": 16} if lanes > 1 else {})


def test_what_is_measured_stands_for_what_the_search_will_train(asked):
    searching(asked, 100, {"a": 4})
    assert asked.ahead.longest is not None
    assert len(asked.ahead.configs) == 1, "learning rates are no shapes"
    assert sum(asked.ahead.steps) == pytest.approx(100 / 2 * 3000 * module.PRUNED)
    assert asked.ahead.longest < math.inf
    searching(asked, 100, {"a": 4}, space={"batch_size": Choice({8: 8, 16: 16})})
    assert {config.batch_size for config in asked.ahead.configs} == {8, 16}
    assert sum(asked.ahead.steps) == pytest.approx(100 / 2 * 3000 * module.PRUNED)


def test_a_search_of_many_shapes_is_trained_one_at_a_time(asked):
    assert searching(asked, 500, {"a": 4}, space={"batch_size": Int(2, 500)}) == (1, {})
    assert asked.ahead is None


def test_where_no_trial_depends_on_another_only_speed_counts(asked):
    blind = {"sampler": "random", "trials": 30}
    lanes, _ = asked("auto", {"a": 16}, labels=0, search=blind, pruner="none")
    assert (lanes, asked.ahead.longest) == (15, math.inf)
    assert sum(asked.ahead.steps) == pytest.approx(30 / 2 * 3000, rel=0.1)
    assert asked("auto", {"a": 16}, labels=0, search=blind)[0] == 3, "for a pruner looks at them"


def test_compiled_on_a_processor_it_is_one(asked):
    assert searching(asked, 100, {"a": 4}, resources={"compile": True}) == (1, {})


def test_what_cannot_be_built_stands_for_nothing(asked):
    assert searching(asked, 100, {"a": 4}, complete=lambda _: None) == (1, {})
    assert asked.ahead is None


def test_the_hours_of_a_search_are_divided_among_its_workers(asked):
    searching(asked, 100, {"a": 4})
    assert asked.ahead.seconds == math.inf
    budget = {"search": {"budget": {"device_hours": 1.0}}}
    asked("auto", {"a": 4}, labels=0, **budget)
    assert asked.ahead.seconds == 1800.0, "two workers of one processor each"
    asked("auto", {"a": 4}, labels=0, resources={"cpus": 4}, **budget)
    assert asked.ahead.seconds == 450.0


def test_where_all_workers_are_here_no_process_starts_to_measure(monkeypatch, tmp_path):
    driver = os.getpid()

    def speeds_of(asked, data, reference, **_):
        assert (data, reference) == ("data", "reference")
        lanes = 4 if os.getpid() == driver else 8
        return {shape: {1: 1.0, lanes: 3.0} for shape in asked.work}

    monkeypatch.setattr(choice, "speeds_of", speeds_of)
    ahead = choice.Asked([TrialConfig()], [1e9], most=8)
    with connected(None) as ray:
        known = ray.put("data"), ray.put("reference"), tmp_path, 2
        for here, lanes in ((True, 4), (False, 8)):
            assert list(_measured(Resources(), ahead, *known, here).values()) == [lanes]


def test_a_process_that_dies_while_it_measures_tells_nothing(monkeypatch, tmp_path):
    """Of want of memory, or with its node: what the others have found counts, and the study begins."""

    def speeds_of(asked, *_, **__):
        try:
            (tmp_path / "here").mkdir()
        except FileExistsError:
            os._exit(1)
        return {shape: {1: 1.0, 8: 3.0} for shape in asked.work}

    monkeypatch.setattr(choice, "speeds_of", speeds_of)
    ahead = choice.Asked([TrialConfig()], [1e9], most=8)
    with connected(None) as ray:
        known = ray.put("data"), ray.put("reference"), tmp_path, 2
        assert list(_measured(Resources(), ahead, *known, False).values()) == [8]

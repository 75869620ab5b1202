"""What is known of trials: the best report, the order, the row, strict JSON."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansearch.study.records import (
    Outcome,
    Report,
    TrialRecord,
    best_report,
    better,
    cost,
    ranked,
    strict_json,
    table_row,
    worse_by,
)

NAN, INF = math.nan, math.inf
VALUES = st.floats(-1e6, 1e6) | st.sampled_from([NAN, INF, -INF])


def curve(*values: float) -> list[Report]:
    return [Report(10 * (i + 1), 640 * i, i + 1.0, {"m": v}, 0.0) for i, v in enumerate(values)]


def record(number: int, *values: float) -> TrialRecord:
    return TrialRecord(number, {"lr": 0.1}, {}, Outcome.COMPLETED, "", curve(*values))


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ((3.0, 1.0, 2.0), (20, 1.0), (10, 3.0)),
        ((2.0, 1.0, 1.0, 2.0), (20, 1.0), (10, 2.0)),  # the first of equals
        ((NAN, 5.0, INF, -INF, 7.0), (20, 5.0), (50, 7.0)),
        ((NAN, INF), None, None),
        ((), None, None),
    ],
)
def test_the_best_report_is_the_first_best_finite_one(values, low, high):
    for goal, wanted in (("min", low), ("max", high)):
        best = best_report(curve(*values), "m", goal)
        assert (None if best is None else (best.step, best.value)) == wanted
    assert best_report(curve(*values), "another", "min") is None


@given(st.lists(VALUES, max_size=6), st.sampled_from(["min", "max"]))
def test_better_and_best_agree(values, goal):
    best = None
    for value in values:
        best = value if better(value, best, goal) else best
    found = best_report(curve(*values), "m", goal)
    assert best == (found.value if found else None)


@given(st.lists(st.lists(VALUES, max_size=3), max_size=6), st.sampled_from(["min", "max"]))
def test_ranked_is_best_first_and_those_without_a_value_last(curves, goal):
    trials = [record(number, *values) for number, values in enumerate(curves)]
    order = ranked(trials[::-1], "m", goal)
    assert sorted(t.number for t in order) == list(range(len(trials)))
    bests = [best.value if (best := trial.best("m", goal)) else None for trial in order]
    valued = [value for value in bests if value is not None]
    assert bests == [*sorted(valued, reverse=goal == "max"), *[None] * (len(bests) - len(valued))]
    for one, two in itertools.pairwise(order):  # equals: by number
        b1, b2 = one.best("m", goal), two.best("m", goal)
        if (b1 and b1.value) == (b2 and b2.value):
            assert one.number < two.number


def test_a_row_holds_best_and_last():
    row = table_row(record(3, 5.0, 2.0, NAN), "m", "min")
    assert row["number"] == 3
    assert (row["outcome"], row["reason"], row["step"], row["best_step"]) == ("completed", "", 30, 20)
    assert (row["best.m"], row["param.lr"], row["seconds"]) == (2.0, 0.1, 3.0)
    assert math.isnan(row["last.m"])
    empty = table_row(TrialRecord(0, {}, {}), "m", "min")
    assert (empty["outcome"], empty["step"], empty["best_step"]) == ("running", 0, None)


@given(
    st.recursive(
        VALUES | st.text() | st.integers() | st.booleans() | st.none(),
        lambda kids: st.lists(kids) | st.dictionaries(st.text(), kids) | st.tuples(kids),
    )
)
def test_strict_json_is_json_and_changes_nothing_finite(value):
    text = json.dumps(strict_json(value), allow_nan=False)
    again = json.loads(text)
    assert json.dumps(strict_json(again)) == text
    if "NaN" not in json.dumps(value) and "Infinity" not in json.dumps(value):
        assert text == json.dumps(value)


def test_outcomes():
    assert {o for o in Outcome if not o.ended} == {Outcome.RUNNING, Outcome.PAUSED, Outcome.INTERRUPTED}
    assert {o for o in Outcome if o.unhealthy} == {Outcome.DIVERGED, Outcome.COLLAPSED, Outcome.STALLED}


@pytest.mark.parametrize(
    ("outcome", "values", "blameless", "standing"),
    [
        (Outcome.COMPLETED, (2.0,), False, "success"),
        (Outcome.COMPLETED, (NAN,), False, "failure"),
        (Outcome.COMPLETED, (), False, "failure"),
        (Outcome.COLLAPSED, (2.0,), False, "failure"),
        (Outcome.FAILED, (2.0,), False, "failure"),
        (Outcome.FAILED, (2.0,), True, "blameless"),
        (Outcome.PRUNED, (2.0,), False, "missing"),
        (Outcome.INTERRUPTED, (2.0,), False, "missing"),
        (Outcome.RUNNING, (2.0,), False, "missing"),
    ],
)
def test_what_a_trial_counts_as(outcome, values, blameless, standing):
    trial = TrialRecord(0, {}, {}, outcome, "", curve(*values), blameless=blameless)
    assert trial.standing("m", "min") == standing
    assert trial.succeeded("m", "max") == (standing == "success")


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from(["min", "max"]))
def test_a_better_value_costs_less(one, other, goal):
    assert better(one, other, goal) == (cost(one, goal) < cost(other, goal))
    assert better(one, other, "min") == better(other, one, "max")


def test_so_many_times_worse():
    assert worse_by(4.1, 2.0, 2.0, "min")
    assert not worse_by(3.9, 2.0, 2.0, "min")
    assert worse_by(0.9, 2.0, 2.0, "max")
    assert not worse_by(1.1, 2.0, 2.0, "max")


@pytest.mark.parametrize("outcome", [None, Outcome.DIVERGED])
def test_a_report_is_read_back_from_what_is_written_down(outcome):
    report = Report(10, 640, 1.5, {"m": 0.1, "n": INF}, 7.0, outcome, "why", {"cpu": 50.0})
    assert Report.of_plain(report.plain()) == report
    words = report.plain() | {"metrics": {"m": 0.1, "n": "inf"}}
    del words["usage"]  # once there was none
    assert Report.of_plain(json.loads(json.dumps(words))) == replace(report, usage={})

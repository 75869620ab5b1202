"""What is known of trials: the best report, the order, the row, strict JSON."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansearch.study.records import (
    Outcome,
    Report,
    TrialRecord,
    best_report,
    better,
    ranked,
    strict_json,
    table_row,
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
    assert {o for o in Outcome if not o.ended} == {Outcome.RUNNING, Outcome.INTERRUPTED}
    assert {o for o in Outcome if o.unhealthy} == {Outcome.DIVERGED, Outcome.COLLAPSED, Outcome.STALLED}

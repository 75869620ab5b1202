"""What trials have cost, by how they ended."""

from __future__ import annotations

import math

import pytest

from gansearch.analysis.tables import cost_words, costs, lanes, lanes_words
from gansearch.study.records import Outcome, Report, TrialRecord


def trial(number, outcome, *seconds):
    reports = [Report(i + 1, 0, spent, {}, 0.0) for i, spent in enumerate(seconds)]
    return TrialRecord(number, {}, {}, outcome, reports=reports)


TRIALS = [
    trial(0, Outcome.COMPLETED, 1800, 3600),
    trial(1, Outcome.DIVERGED, 5400),
    trial(2, Outcome.COMPLETED, 1800),
    trial(3, Outcome.PRUNED, 3580),
    trial(4, Outcome.FAILED),
    trial(5, Outcome.RUNNING, 20),
]


def test_each_trial_s_time_counts_once_for_its_outcome():
    table = costs(TRIALS)
    assert set(table.index[:2]) == {"completed", "diverged"}
    assert list(table.index[2:]) == ["pruned", "running", "failed"]
    assert table["trials"].to_dict() == {
        "completed": 2,
        "diverged": 1,
        "pruned": 1,
        "running": 1,
        "failed": 1,
    }
    assert table["device_seconds"].to_dict() == {
        "completed": 5400,
        "diverged": 5400,
        "pruned": 3580,
        "running": 20,
        "failed": 0,
    }
    assert table["share"].sum() == pytest.approx(1)
    assert table.loc["diverged", "share"] == pytest.approx(0.375)


def test_a_share_of_a_device_costs_its_share():
    quarter, whole = costs(TRIALS, held=0.25), costs(TRIALS)
    assert (quarter["device_seconds"] * 4).equals(whole["device_seconds"])
    assert quarter["share"].equals(whole["share"])


def test_in_words():
    assert cost_words(costs(TRIALS)) == (
        "4.0 h of device time went to trials that completed (38 %), diverged (38 %), "
        "were pruned (25 %) and are running (under 1 %)"
    )
    assert cost_words(costs(TRIALS[1:2], held=0.01)) == (
        "54 s of device time went to trials that diverged (100 %)"
    )


@pytest.mark.parametrize("records", [[], TRIALS[4:5]])
def test_nothing_spent_is_nothing_to_say(records):
    table = costs(records)
    assert cost_words(table) == ""
    assert list(table.columns) == ["trials", "device_seconds", "share"]
    assert all(math.isnan(share) for share in table["share"])


def packed(number, *reports):
    """A trial by its reports: seconds so far, lanes (0: no word of them), whether compiled."""
    metrics = [{"lanes": n} | ({"compiled": 1.0} if c else {}) if n else {} for _, n, c in reports]
    rows = zip(reports, metrics, strict=True)
    made = [Report(i + 1, 0, spent, told, 0.0) for i, ((spent, *_), told) in enumerate(rows)]
    return TrialRecord(number, {}, {}, Outcome.COMPLETED, reports=made)


def test_device_seconds_by_how_many_were_trained_as_one():
    records = [
        packed(0, (10, 8.0, False), (20, 8.0, False), (50, 0, False)),
        packed(1, (40, 8.0, True), (50, 2.0, False)),
    ]
    table = lanes(records, held=2.0)
    assert [tuple(row) for row in table.itertuples(index=False)] == [
        (8, True, 1, 80.0, 0.4),
        (1, False, 1, 60.0, 0.3),
        (8, False, 2, 40.0, 0.2),
        (2, False, 1, 20.0, 0.1),
    ]
    assert lanes_words(table) == (
        "of the device time 40 % trained 8 trials as one and compiled, 30 % trained one by itself, "
        "20 % trained 8 trials as one and 10 % trained 2 trials as one"
    )


@pytest.mark.parametrize("records", [[], TRIALS[4:5], TRIALS])
def test_where_each_was_by_itself_nothing_is_said(records):
    assert lanes_words(lanes(records)) == ""

"""What trials have cost, by how they ended."""

from __future__ import annotations

import math

import pytest

from gansearch.analysis.tables import cost_words, costs
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

"""Simulated workers that train several trials as one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gansearch.search.worker import Coming, Lanes, Worker
from gansearch.study.records import Report, TrialRecord


def trial(number, shape="a"):
    return TrialRecord(number, {"shape": shape}, {})


def coming(seconds, steps=10, reports=3):
    curve = [Report(steps * i, 0, float(seconds * i), {}, 0.0) for i in range(1, reports + 1)]
    return Coming(iter(curve))


def worker(cost, most=4):
    return Worker(Lanes(most, lambda trial: trial.params["shape"], cost))


def run(worker, trials):
    """Every trial to its last report; returns (time, number, step, its seconds) of each."""
    now, told = 0.0, []
    while worker.load:
        now += worker.begin()
        for number, report in worker.end():
            told.append((now, number, report.step, report.seconds))
            record, left = trials[number]
            record.reports.append(report)
            worker.carry(record, left)
    return told


def carrying(worker, *trials):
    held = {record.number: (record, left) for record, left in trials}
    for record, left in trials:
        assert worker.carry(record, left)
    return held


def test_those_of_one_shape_advance_together():
    one = worker(lambda lanes: 1.5 if lanes > 1 else 1.0)
    trials = carrying(one, (trial(0), coming(2)), (trial(1), coming(2)))
    assert run(one, trials) == [
        (3.0, 0, 10, 1.5), (3.0, 1, 10, 1.5), (6.0, 0, 20, 3.0), (6.0, 1, 20, 3.0),
        (9.0, 0, 30, 4.5), (9.0, 1, 30, 4.5),
    ]  # fmt: skip


def test_others_take_turns():
    one = worker(lambda _: 1.0)
    trials = carrying(one, (trial(0, "a"), coming(2)), (trial(1, "b"), coming(3)))
    assert [(at, number) for at, number, *_ in run(one, trials)] == [
        (2.0, 0), (5.0, 1), (7.0, 0), (10.0, 1), (12.0, 0), (15.0, 1),
    ]  # fmt: skip


def test_one_that_joins_on_the_way_is_heard_in_its_own_time():
    """A turn ends where one of them reports: steps are taken by all, reports are each's own."""
    one = worker(lambda lanes: 1.0)
    trials = carrying(one, (trial(0), coming(10)))
    trials |= carrying(one, (trial(1), coming(5, steps=5, reports=2)))
    told = run(one, trials)
    assert [(number, step) for _, number, step, _ in told] == [
        (1, 5),
        (0, 10),
        (1, 10),
        (0, 20),
        (0, 30),
    ]
    # 5 steps as one at a mean of 5 s, twice; then the first alone
    assert [at for at, *_ in told] == [5.0, 10.0, 10.0, 20.0, 30.0]


@pytest.mark.parametrize("cost", [float, lambda lanes: 1.0, lambda lanes: lanes**0.5])
def test_shares_of_the_time_add_up(cost):
    one = worker(cost)
    shapes = "abaab"
    trials = carrying(one, *((trial(n, shapes[n]), coming(n + 1)) for n in range(5)))
    told = run(one, trials)
    last = {number: seconds for _, number, _, seconds in told}
    assert sum(last.values()) == pytest.approx(told[-1][0])
    if cost is float:
        assert told[-1][0] == pytest.approx(3 * (1 + 2 + 3 + 4 + 5)), "nothing is won"


def test_a_trial_is_told_where_nothing_more_was_recorded():
    one, left = worker(float), coming(1, reports=1)
    assert one.carry(trial(0), left)
    one.begin()
    ((_, report),) = one.end()
    assert not one.load
    assert not one.carry(replace(trial(0), reports=[report]), left)

"""Pruning: Ray's ASHA where it is right, ours where it is not, and the rungs after a crash."""

import math
import random
from types import SimpleNamespace

import pytest

from gansearch.study.records import Outcome, Report
from gansearch.tuning.scheduler import PruningScheduler, make_scheduler

CONTINUE, STOP = "CONTINUE", "STOP"


def tune_trial(number):
    return SimpleNamespace(trial_id=f"tune-{random.random()}", config={"number": number})


class Play:
    """Shows a scheduler and a ledger what Ray Tune would, in Tune's order of calls."""

    def __init__(self, ledger, scheduler, report):
        self.ledger, self.scheduler, self.report = ledger, scheduler, report
        self.trials, self.best = {}, {}

    def start(self):
        number = self.ledger.next().number
        self.resume(number)
        return number

    def resume(self, number):
        self.trials[number] = tune_trial(number)
        last = self.ledger.records[number].best("fd_classifier", "min")
        self.best[number] = last.value if last else math.nan
        self.scheduler.on_trial_add(None, self.trials[number])

    def tell(self, number, step, value, outcome=None):
        trial, best = self.trials[number], self.best[number]
        if math.isfinite(value) and not value >= best:
            self.best[number] = value
        result = {"step": step, "objective": self.best[number], "outcome": outcome}
        decision = STOP
        if outcome is None:
            decision = self.scheduler.on_trial_result(None, trial, result)
        self.ledger.report(number, self.report(step, value, outcome))
        if decision == STOP:
            self.scheduler.on_trial_complete(None, trial, result)
            self.ledger.end(number)
        return decision


@pytest.fixture
def play(make_ledger, spec, report):
    def make(changes="search: {trials: 60}"):
        study = spec(changes)
        ledger = make_ledger(study)
        return Play(ledger, make_scheduler(study, ledger), report)

    return make


def rungs(scheduler):
    return [(step, dict(values)) for step, values in scheduler._brackets[0]._rungs]


def test_rungs_begin_where_the_study_says_or_at_a_ninth(play, spec, make_ledger):
    assert [step for step, _ in rungs(play().scheduler)] == [90, 30, 10]
    study = spec("pruner: {name: asha, min_steps: 40, reduction_factor: 2}")
    scheduler = PruningScheduler(study, make_ledger(study))
    assert [step for step, _ in rungs(scheduler)] == [80, 40]


def test_who_falls_behind_is_stopped_and_says_why(play):
    p = play()
    decisions = [p.tell(p.start(), 10, value) for value in (1.0, 2.0, 3.0, 9.0)]
    assert decisions[0] == CONTINUE
    assert decisions[-1] == STOP
    record = p.ledger.records[3]
    assert record.outcome is Outcome.PRUNED
    assert "best 1/3" in record.reason
    assert "step 10" in record.reason


def test_it_is_the_best_so_far_that_counts(play):
    p = play()
    good = p.start()
    p.tell(good, 10, 1.0)
    for value in (2.0, 3.0, 4.0, 5.0):
        p.tell(p.start(), 10, value)
    assert p.tell(good, 30, 100.0) == CONTINUE  # alone at its rung
    assert rungs(p.scheduler)[1] == (30, {str(good): -1.0})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_without_a_finite_objective_a_trial_ends_at_the_first_rung(play, value):
    p = play()
    number = p.start()
    assert p.tell(number, 5, value) == CONTINUE
    assert p.tell(number, 10, value) == STOP
    assert "no finite objective" in p.ledger.records[number].reason
    assert all(not values for _, values in rungs(p.scheduler))
    assert p.tell(p.start(), 10, 50.0) == CONTINUE  # a failure does not raise the bar


@pytest.mark.parametrize("outcome", [Outcome.DIVERGED, Outcome.COLLAPSED, Outcome.STALLED])
def test_a_failed_trial_leaves_no_mark(play, outcome):
    p = play()
    for value in (0.001, math.nan):
        p.tell(p.start(), 10, value, outcome)
    assert all(not values for _, values in rungs(p.scheduler))
    assert [p.ledger.records[n].outcome for n in (0, 1)] == [outcome, outcome]


def test_a_completed_trial_counts_at_the_last_rung(play):
    p = play()
    p.tell(p.start(), 90, 2.0, Outcome.COMPLETED)
    assert rungs(p.scheduler)[0] == (90, {"0": -2.0})


def history(p, events, chance, numbers=None):
    """Random trials, three at a time; returns the decisions."""
    live = numbers if numbers is not None else {}
    decisions = []
    for _ in range(events):
        while len(live) < 3:
            live[p.start()] = 0
        number = chance.choice(sorted(live))
        live[number] += 10
        outcome = Outcome.COMPLETED if live[number] == 90 else None
        value = chance.choice([math.nan, *[chance.uniform(0, 10)] * 9])
        if chance.random() < 0.05:
            outcome = Outcome.DIVERGED
        decisions.append(p.tell(number, live[number], value, outcome))
        if decisions[-1] == STOP:
            del live[number]
    return decisions


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cut", [5, 40])
def test_a_killed_driver_s_rungs_come_back_and_judge_alike(
    make_ledger, spec, report, tmp_path, seed, cut
):
    study = spec("search: {trials: 200}")

    def fresh(name):
        target = tmp_path / "runs" / "study"
        if target.exists():
            target.rename(tmp_path / "runs" / name)
        ledger = make_ledger(study)
        return Play(ledger, make_scheduler(study, ledger), report)

    whole, live = fresh("first"), {}
    chance = random.Random(seed)
    history(whole, cut, chance, live)
    state, at_cut, live_at_cut = chance.getstate(), rungs(whole.scheduler), dict(live)
    expected = history(whole, 40, chance, live)

    killed, live = fresh("second"), {}
    history(killed, cut, random.Random(seed), live)
    ledger = make_ledger(study)  # the same journal, another driver
    resumed = Play(ledger, make_scheduler(study, ledger), report)
    assert rungs(resumed.scheduler) == at_cut
    for number in sorted(live):
        assert ledger.next().number == number
        resumed.resume(number)
    assert live == live_at_cut
    chance.setstate(state)
    assert history(resumed, 40, chance, live) == expected


def test_a_sentence_that_the_driver_did_not_live_to_write_is_carried_out(make_ledger, spec, report):
    study = spec("search: {trials: 60}")
    p = Play(make_ledger(study), None, report)
    p.scheduler = make_scheduler(study, p.ledger)
    for value in (1.0, 2.0, 3.0):
        p.tell(p.start(), 10, value)
    number = p.start()
    p.ledger.report(number, report(10, 99.0))  # killed before Tune was told to stop it
    done = p.ledger.next().number
    p.ledger.report(done, report(90, 1.0, Outcome.COMPLETED))  # killed before its end was noted

    ledger = make_ledger(study)
    make_scheduler(study, ledger)
    assert ledger.records[number].outcome is Outcome.PRUNED
    assert ledger.records[done].outcome is Outcome.COMPLETED
    assert ledger.next().number == 0, "the trials that were under way go on first"


def test_without_a_pruner_nobody_is_stopped(play):
    p = play("pruner: {name: none}")
    assert not isinstance(p.scheduler, PruningScheduler)


def test_reports_come_in_the_driver_s_order(make_ledger, spec, report):
    """A worker's clock may be wrong: the journal keeps the driver's."""
    ledger = make_ledger(spec())
    numbers = [ledger.next().number for _ in range(2)]
    ledger.report(numbers[0], Report(10, 0, 0.0, {"fd_classifier": 1.0}, 5e9))
    ledger.report(numbers[1], Report(10, 0, 0.0, {"fd_classifier": 1.0}, 0.0))
    first, second = (ledger.records[n].reports[0].time for n in numbers)
    assert 0 < first <= second < 4e9

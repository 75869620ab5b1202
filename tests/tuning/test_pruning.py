"""Pruning in a running study: what the ledger hears, and the rungs after a crash.

Whom a pruner stops is tested in tests/search/test_pruners.py.
"""

import math
import random
import time

import pytest

from gansearch.errors import StudyError
from gansearch.search.halving import Asha
from gansearch.search.pruners import Decision, Verdict
from gansearch.study.records import Outcome, Report
from gansearch.tuning.pruning import Pruning, make_pruning

CONTINUE, STOP, PAUSE = "CONTINUE", "STOP", "PAUSE"


class Play:
    """Shows a pruner and a ledger what workers tell, as the dispatcher does."""

    def __init__(self, ledger, pruning, report):
        self.ledger, self.pruning, self.report = ledger, pruning, report

    def start(self):
        return self.ledger.next().number

    def tell(self, number, step, value, outcome=None):
        report = self.report(step, value, outcome)
        self.ledger.report(number, report)
        verdict = self.pruning.judge(number, report)
        if outcome:
            self.ledger.end(number)
        elif verdict.decision is Decision.STOP:
            self.ledger.end(number, Outcome.PRUNED, verdict.reason)
        elif verdict.decision is Decision.PAUSE:
            self.ledger.pause(number, verdict.reason)
            return PAUSE
        return STOP if verdict.decision is Decision.STOP or outcome else CONTINUE


@pytest.fixture
def play(make_ledger, spec, report):
    def make(changes="search: {trials: 60}"):
        study = spec(changes)
        ledger = make_ledger(study)
        return Play(ledger, make_pruning(study, ledger), report)

    return make


def rungs(pruning):
    return {step: list(rung.rewards) for step, rung in pruning.pruner.rungs.items()}


def test_who_falls_behind_is_stopped_and_says_why(play):
    p = play()
    decisions = [p.tell(p.start(), 10, value) for value in (1.0, 2.0, 3.0, 9.0)]
    assert decisions[0] == CONTINUE
    assert decisions[-1] == STOP
    record = p.ledger.records[3]
    assert record.outcome is Outcome.PRUNED
    assert record.reason == "not among the best 1/3 of those that came as far, at step 10"


@pytest.mark.parametrize("outcome", [Outcome.DIVERGED, Outcome.COLLAPSED, Outcome.STALLED])
def test_a_failed_trial_keeps_its_outcome_and_leaves_no_mark(play, outcome):
    p = play()
    for value in (0.001, math.nan):
        p.tell(p.start(), 10, value, outcome)
    assert not any(rungs(p.pruning).values())
    assert [p.ledger.records[n].outcome for n in (0, 1)] == [outcome, outcome]


def test_a_trial_that_ended_in_an_error_holds_no_place_before_and_after_a_restart(play):
    p = play("search: {trials: 60}\npruner: {name: asha, second_chances: true}")
    told = [p.tell(p.start(), 10, value) for value in (4.0, 3.0, 2.0, 1.0)]
    assert told == [PAUSE, PAUSE, CONTINUE, CONTINUE]
    assert not p.pruning.wakes(1)
    p.ledger.end(2, Outcome.FAILED, "RuntimeError")
    p.ledger.end(3, Outcome.FAILED, "RuntimeError")
    for number in (2, 3):
        p.pruning.failed(number)
    assert rungs(p.pruning)[10] == [-4.0, -3.0]
    anew = Asha(p.pruning.pruner._config, second_chances=True)
    again = Pruning(anew, "asha", p.ledger)
    assert rungs(again) == rungs(p.pruning)


def test_a_completed_trial_counts_whether_or_not_its_report_is_written_first(play):
    p = play()
    p.tell(p.start(), 90, 2.0, Outcome.COMPLETED)
    assert rungs(p.pruning) == {90: [-2.0], 30: [], 10: []}


def test_a_report_that_comes_twice_is_judged_once(play):
    p = play("pruner: {name: median, min_trials: 1}")
    number = p.start()
    p.tell(number, 10, 1.0)
    p.tell(p.start(), 90, 0.1, Outcome.COMPLETED)
    p.tell(number, 20, 2.0)
    assert p.tell(number, 20, 2.0) == CONTINUE


class Blunt:
    """A pruner of the user's own: pauses, fails or stops without a word, as it is asked."""

    def __init__(self, config, *, how: str):
        self.how = how

    def judge(self, trial, report):
        if report.step >= 20:
            if self.how == "fail":
                raise KeyError("no such thing")
            return Verdict(Decision.PAUSE if self.how == "pause" else Decision.STOP)
        return Verdict()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("pause", "'test_pruning:Blunt' answers with pause: it has no `choose`"),
        (
            "fail",
            r"'test_pruning:Blunt'.*fails: KeyError: 'no such thing' \(.*test_pruning.py, line",
        ),
    ],
)
def test_a_pruner_that_cannot_be_followed_ends_the_study_resumably(
    make_ledger, spec, report, how, message
):
    study = spec(f"pruner: {{name: 'test_pruning:Blunt', how: {how}}}")
    ledger = make_ledger(study)
    p = Play(ledger, make_pruning(study, ledger), report)
    number = p.start()
    p.tell(number, 10, 1.0)
    with pytest.raises(StudyError, match=message):
        p.tell(number, 20, 1.0)
    with pytest.raises(StudyError, match=message):  # again, as long as it is not mended
        make_pruning(study, make_ledger(study))
    mended = spec("pruner: none")
    again = make_ledger(mended)
    make_pruning(mended, again)
    assert again.next().number == number


def test_a_stop_without_a_reason_gets_one(make_ledger, spec, report):
    study = spec("pruner: {name: 'test_pruning:Blunt', how: stop}")
    ledger = make_ledger(study)
    p = Play(ledger, make_pruning(study, ledger), report)
    number = p.start()
    assert p.tell(number, 20, 1.0) == STOP
    assert ledger.records[number].reason == "stopped by the pruner 'test_pruning:Blunt', at step 20"


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
        return Play(ledger, make_pruning(study, ledger), report)

    whole, live = fresh("first"), {}
    chance = random.Random(seed)
    history(whole, cut, chance, live)
    state, at_cut, live_at_cut = chance.getstate(), rungs(whole.pruning), dict(live)
    expected = history(whole, 40, chance, live)

    killed, live = fresh("second"), {}
    history(killed, cut, random.Random(seed), live)
    ledger = make_ledger(study)  # the same journal, another driver
    resumed = Play(ledger, make_pruning(study, ledger), report)
    assert rungs(resumed.pruning) == at_cut
    for number in sorted(live):
        assert ledger.next().number == number
    assert live == live_at_cut
    chance.setstate(state)
    assert history(resumed, 40, chance, live) == expected


def test_a_sentence_that_the_driver_did_not_live_to_write_is_carried_out(make_ledger, spec, report):
    study = spec("search: {trials: 60}")
    p = Play(make_ledger(study), None, report)
    p.pruning = make_pruning(study, p.ledger)
    for value in (1.0, 2.0, 3.0):
        p.tell(p.start(), 10, value)
    number = p.start()
    p.ledger.report(number, report(10, 99.0))  # killed before Tune was told to stop it
    done = p.ledger.next().number
    p.ledger.report(done, report(90, 1.0, Outcome.COMPLETED))  # killed before its end was noted

    ledger = make_ledger(study)
    make_pruning(study, ledger)
    assert ledger.records[number].outcome is Outcome.PRUNED
    assert ledger.records[done].outcome is Outcome.COMPLETED
    assert ledger.next().number == 0, "the trials that were under way go on first"


def test_without_a_pruner_nobody_is_stopped(play):
    p = play("pruner: {name: none}")
    for value in (1.0, 99.0, 999.0, math.nan):
        number = p.start()
        assert [p.tell(number, step, value) for step in (10, 30, 80)] == [CONTINUE] * 3


def test_reports_come_in_the_driver_s_order(make_ledger, spec, report):
    """A worker's clock may be wrong: the journal keeps the driver's."""
    ledger = make_ledger(spec())
    numbers = [ledger.next().number for _ in range(2)]
    ledger.report(numbers[0], Report(10, 0, 0.0, {"fd_classifier": 1.0}, 5e9))
    ledger.report(numbers[1], Report(10, 0, 0.0, {"fd_classifier": 1.0}, 0.0))
    first, second = (ledger.records[n].reports[0].time for n in numbers)
    assert 0 < first <= second < 4e9


def test_a_clock_that_is_set_back_leaves_the_order_of_reports(make_ledger, spec, report, monkeypatch):
    """A resumed study, on a machine whose clock is behind too, gets its pruner back by that order."""
    study, clock = spec("search: {trials: 60}"), iter([1000.0, 500.0, 500.0, 400.0, 1100.0])
    monkeypatch.setattr(time, "time", lambda: next(clock))
    ledger = make_ledger(study)
    numbers = [ledger.next().number for _ in range(2)]
    told = [(numbers[1], 10), (numbers[0], 10), (numbers[1], 20), (numbers[0], 20), (numbers[0], 30)]
    for number, step in told[:3]:
        ledger.report(number, report(step, 1.0))
    ledger = make_ledger(study)
    for number, step in told[3:]:
        ledger.report(number, report(step, 1.0))
    found = [(each.time, n, each.step) for n in numbers for each in ledger.records[n].reports]
    assert [(number, step) for _, number, step in sorted(found)] == told
    assert max(found)[0] == 1100.0, "the clock's own time as soon as it is ahead again"

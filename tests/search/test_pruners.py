"""Who is stopped for falling behind: pruners by tables of curves, and by what 0.1.0 decided."""

import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from gansearch.search import PRUNERS
from gansearch.search.halving import Rung, place
from gansearch.search.pruners import Decision, quantile
from gansearch.study.config import TrialConfig
from gansearch.study.evaluation import Budget, Objective
from gansearch.study.records import Outcome, Report, TrialRecord

LINES = (Path(__file__).parent / "decisions.json").read_text().splitlines()
REASONS, *RECORDED = map(json.loads, LINES)
OUTCOMES = {"": None, "c": Outcome.COMPLETED, "d": Outcome.DIVERGED}
NAN = math.nan


def config(goal="min", steps=90, every=10):
    return TrialConfig(
        budget=Budget(steps=steps, report_every=every), objective=Objective(metric="m", goal=goal)
    )


class Play:
    """Shows a pruner reports as a study would."""

    def __init__(self, name="asha", goal="min", steps=90, every=10, **options):
        self.make = lambda: PRUNERS.build(name, options, config(goal, steps, every))
        self.pruner, self.trials, self.told = self.make(), {}, []

    def decide(self, number, step, value, outcome=None):
        """The verdict on a report."""
        report = Report(step, 0, 0.0, {} if value is None else {"m": value}, 0.0, outcome)
        reports = [*self.trials.get(number, []), report]
        self.trials[number] = reports
        self.told.append((number, step, value, outcome))
        return self.pruner.judge(TrialRecord(number, {}, {}, reports=list(reports)), report)

    def tell(self, number, step, value, outcome=None):
        """The reason to stop, or nothing."""
        verdict = self.decide(number, step, value, outcome)
        if outcome is not None:
            return ""
        assert bool(verdict.reason) == (verdict.decision is Decision.STOP)
        return verdict.reason

    def restart(self):
        """A new pruner that is shown the reports so far."""
        told, self.pruner, self.trials, self.told = self.told, self.make(), {}, []
        for event in told:
            self.decide(*event)


@pytest.mark.parametrize("index", range(len(RECORDED)))
def test_asha_decides_as_version_0_1_0_did(index):
    case, events = RECORDED[index]
    options = {"reduction_factor": case["factor"]}
    if case["min_steps"] is not None:
        options["min_steps"] = case["min_steps"]
    play = Play("asha", case["goal"], case["steps"], case["every"], **options)
    for i, (number, step, value, outcome, reason) in enumerate(events):
        if i in case["restarts"]:
            play.restart()
        assert play.tell(number, step, value, OUTCOMES[outcome]) == REASONS[reason], (i, number, step)


def test_what_was_recorded_has_all_that_there_is_to_decide():
    cases = [case for case, _ in RECORDED]
    assert {case["kind"] for case in cases} == {"plain", "ties", "nan", "late", "real"}
    assert {case["goal"] for case in cases if case["kind"] != "real"} == {"min", "max"}
    assert any(case["restarts"] for case in cases)
    events = [event for _, events in RECORDED for event in events]
    assert sum(bool(event[-1]) for event in events) > 500
    assert sum("no finite" in REASONS[event[-1]] for event in events) > 30


def rungs(play):
    return list(play.pruner.rungs)


def test_rungs_begin_where_the_study_says_or_at_a_ninth():
    assert rungs(Play()) == [90, 30, 10]
    assert rungs(Play(min_steps=40, reduction_factor=2)) == [80, 40]


def test_who_falls_behind_is_stopped_and_says_why():
    play = Play()
    told = [play.tell(number, 10, value) for number, value in enumerate((1.0, 2.0, 3.0, 9.0))]
    assert told[0] == ""
    assert told[-1] == "not among the best 1/3 of those that came as far, at step 10"


def test_it_is_the_best_so_far_that_counts():
    play = Play()
    play.tell(0, 10, 1.0)
    for number, value in enumerate((2.0, 3.0, 4.0, 5.0), start=1):
        play.tell(number, 10, value)
    assert not play.tell(0, 30, 100.0)  # alone at its rung
    assert play.pruner.rungs[30].rewards == [-1.0]


@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf, None])
@pytest.mark.parametrize("name", ["asha", "median"])
def test_without_a_finite_objective_a_trial_ends_at_the_first_rung(name, value):
    play = Play(name, min_steps=10)
    assert play.tell(0, 5, value) == ""
    assert play.tell(0, 10, value) == "no finite objective by step 10"
    assert play.tell(1, 10, 50.0) == ""  # a failure does not raise the bar


@pytest.mark.parametrize("outcome", [Outcome.DIVERGED, Outcome.COLLAPSED, Outcome.STALLED])
@pytest.mark.parametrize("name", ["asha", "median"])
def test_a_trial_that_a_health_rule_ended_leaves_no_mark(name, outcome):
    play = Play(name, min_steps=10)
    for number in range(20):
        play.tell(number, 10, 0.001, outcome)
    assert play.tell(20, 10, 50.0) == ""


def test_a_completed_trial_counts_at_the_last_rung():
    play = Play()
    play.tell(0, 90, 2.0, Outcome.COMPLETED)
    assert play.pruner.rungs[90].rewards == [-2.0]
    assert play.pruner.rungs[30].rewards == []


def complete(play, curves):
    """Trials 0, 1, ... with these values at steps 10, 20, ..., all completed."""
    for number, curve in enumerate(curves):
        for i, value in enumerate(curve, start=1):
            last = Outcome.COMPLETED if i == len(curve) else None
            assert play.tell(number, 10 * i, value, last) == ""


AVERAGES_3_2_1 = [[3.0, 1.0, 2.0], [4.0, 0.0, 5.0], [1.0, 3.0, 8.0]]
"""Three curves whose running averages are 3, 2, 2; 4, 2, 3; 1, 2, 4."""


@pytest.mark.parametrize(
    ("goal", "curve", "stops_at"),
    [
        ("min", [3.0, 3.0, 3.0], 20),  # the median of averages is 3, 2, 3
        ("min", [3.0, 2.0, 9.0], None),  # 2 is not strictly worse than 2, and stays the best
        ("min", [3.1, 0.0, 0.0], 10),
        ("min", [0.5, 9.0, 9.0], None),  # it is the best so far that is compared
        ("max", [2.9, 9.0, 9.0], 10),
        ("max", [3.0, 1.0, 2.9], None),
        ("min", [NAN, 2.0, 2.0], 10),
    ],
)
def test_the_median_rule_by_a_table_of_curves(goal, curve, stops_at):
    play = Play("median", goal, min_trials=3)
    complete(play, AVERAGES_3_2_1)
    for i, value in enumerate(curve, start=1):
        reason = play.tell(9, 10 * i, value)
        assert bool(reason) == (10 * i == stops_at)
        if reason:
            assert f"at step {stops_at}" in reason or f"by step {stops_at}" in reason
            break


def test_the_median_rule_says_by_how_much():
    play = Play("median", "max", min_trials=3)
    complete(play, AVERAGES_3_2_1)
    assert play.tell(9, 10, 1.5) == (
        "its best, 1.5, is worse than 3, the median of 3 trials' averages, at step 10"
    )


def test_the_median_rule_waits_for_trials_and_steps():
    for options in ({"min_trials": 4}, {"min_trials": 3, "min_steps": 20}):
        play = Play("median", **options)
        complete(play, AVERAGES_3_2_1)
        assert play.tell(9, 10, 99.0) == ""


def test_the_median_is_of_trials_that_have_ended():
    play = Play("median", min_trials=1)
    for number in range(5):
        assert play.tell(number, 10, 1.0) == ""  # under way: nobody's average counts yet
    assert play.tell(9, 10, 99.0) == ""
    play.tell(0, 20, 1.0, Outcome.COMPLETED)
    assert play.tell(8, 10, 99.0)
    assert play.tell(7, 10, 50.0) == ""  # the stopped one counts, too: the median is 50


def test_no_pruner_stops_nobody():
    play = Play("none")
    for number in range(9):
        assert play.tell(number, 90, NAN) == ""


@pytest.mark.parametrize("name", ["asha", "median"])
def test_a_first_step_beyond_the_budget_is_refused(name):
    with pytest.raises(ValueError, match=r"min_steps: is 91, more than budget.steps, 90"):
        Play(name, min_steps=91)


FINITE = some.floats(allow_nan=False, allow_infinity=False, width=64)


@given(some.lists(FINITE, min_size=1, max_size=40), some.integers(2, 12))
def test_the_quantile_is_numpy_s_to_the_last_bit(values, factor):
    ordered = sorted(values)
    with np.errstate(all="ignore"):
        theirs = np.nanpercentile(values, (1 - 1 / factor) * 100)
    ours = quantile(ordered, (1 - 1 / factor) * 100 / 100)
    assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))


def paused(play, *numbers):
    """Records of trials as the ledger has them."""
    return [
        TrialRecord(n, {}, {}, Outcome.PAUSED, reports=list(play.trials[n])) for n in sorted(numbers)
    ]


def test_with_second_chances_who_is_behind_is_paused_and_the_best_third_goes_on():
    play = Play(second_chances=True)
    told = [play.decide(n, 10, value) for n, value in enumerate((4.0, 3.0, 5.0, 6.0, 2.0, 7.0, 1.0))]
    assert [v.decision is Decision.PAUSE for v in told] == [True, True, True, True, False, True, False]
    assert told[1].reason == "1st of 2 at step 10, of which the best 1/3 go on"
    wake = play.pruner.choose(paused(play, 0, 1, 2, 3, 5), True)
    assert wake is None, "the best two of seven go on already"
    for number, value in ((7, 8.0), (8, 9.0)):
        play.decide(number, 10, value)
    wake = play.pruner.choose(paused(play, 0, 1, 2, 3, 5, 7, 8), True)
    assert (wake.number, wake.reason) == (1, "3rd of 9 at step 10, of which the best 1/3 go on")
    assert play.pruner.choose(paused(play, 0, 2, 3, 5, 7, 8), True) is None


def test_those_of_the_highest_rung_go_on_first():
    play = Play(second_chances=True)
    for number, value in enumerate((5.0, 4.0, 3.0)):
        play.decide(number, 10, value)
        play.decide(number, 30, value)
    both = paused(play, 0, 2)
    assert play.pruner.choose(both, True).number == 2
    for number in range(3, 9):
        play.decide(number, 10, 1.0 if number == 3 else 9.0)
    assert play.pruner.choose(paused(play, 2, *range(3, 9)), True).reason.endswith(
        "at step 30, of which the best 1/3 go on"
    )
    assert play.pruner.choose(paused(play, *range(3, 9)), True).number == 3


def crowded():
    """Ten of twelve have gone on from the first rung; 12, which waits, has come into the best third."""
    play = Play(second_chances=True)
    for number, value in enumerate((20.0, 19.0, *range(11, 1, -1))):
        told = play.decide(number, 10, value)
        assert (told.decision is Decision.PAUSE) == (number < 2), "each is better than all before"
        if number >= 2:
            play.decide(number, 20, value)
    told = play.decide(12, 10, 5.5)
    assert told.reason == "5th of 13 at step 10, of which the best 1/3 go on (10 have)"
    for number in (13, 14):
        play.decide(number, 10, 30.0)
    return play, paused(play, 0, 1, 12, 13, 14)


def test_nobody_is_woken_where_enough_have_gone_on_until_no_new_trial_is_left():
    play, waiting = crowded()
    assert play.pruner.choose(waiting, True) is None, "a third of 15 and its root are 8"
    wake = play.pruner.choose(waiting, False)
    assert (wake.number, wake.reason) == (
        12,
        "5th of 15 at step 10, of which the best 1/3 go on (10 have)",
    )


def test_a_newcomer_waits_where_by_far_enough_have_gone_on_but_for_the_default():
    for origin, held in (("", True), ("default", False)):
        play = Play(second_chances=True)
        for number in range(13):
            play.decide(number, 10, 20.0 - number)
            if number >= 2:
                play.decide(number, 20, 20.0 - number)
        report = Report(10, 0, 0.0, {"m": 1.0}, 0.0)
        verdict = play.pruner.judge(TrialRecord(13, {}, {}, reports=[report], origin=origin), report)
        assert (verdict.decision is Decision.PAUSE) == held
        if held:
            assert verdict.reason == "1st of 14 at step 10, of which the best 1/3 go on (11 have)"
            play.trials[13] = [report]
            for number in range(14, 18):
                play.decide(number, 10, 30.0)
            assert play.pruner.choose(paused(play, 0, 13), False).number == 13, "a third of 18 and 8"


def test_those_who_die_and_those_who_were_given_up_take_no_place_of_who_goes_on():
    play, waiting = crowded()
    play.decide(2, 30, NAN, Outcome.DIVERGED)  # the worst of those that went on
    play.pruner.failed(3)
    play.decide(15, 10, 30.0)
    play.decide(16, 10, 30.0)
    assert play.pruner.choose(waiting, True) is None, "a third of 15 and its root: 8 of 8 have gone on"
    play.decide(17, 10, 30.0)  # a third of 16 and its root are 9
    assert play.pruner.choose(waiting, True).number == 12
    given_up = [trial for trial in waiting if trial.number == 12]  # when the study ended before
    assert play.pruner.choose(given_up, True).number == 12


@settings(deadline=None, max_examples=12)
@given(some.integers(0, 10**9), some.integers(1, 8), some.sampled_from(["asha", "hyperband"]))
def test_forecasts_that_change_let_go_no_more_than_a_third_and_what_is_uncertain(seed, workers, name):
    """Nobody goes on beyond the bound, and in the end each has ended or waits."""
    chance, play, trials = random.Random(seed), Play(name, second_chances=True), {}
    laws = {n: (chance.uniform(5, 10), chance.uniform(1, 9), chance.uniform(0.3, 3)) for n in range(60)}
    fresh, live, waiting, ended = list(laws), [], set(), set()
    while True:
        while len(live) < workers:
            wake = play.pruner.choose(paused(play, *waiting), bool(fresh)) if waiting else None
            if wake is not None and "no new trial left" not in wake.reason:
                held = bracket_of(play, wake.number).rungs[play.trials[wake.number][-1].step]
                most = len(held) / 3 + (1 if fresh else 2) * len(held) ** 0.5
                assert sum(trials[n] > held.step for n in held.worth) < most
            if wake is None and not fresh:
                break
            waiting.discard(number := wake.number if wake else fresh.pop(0))
            live.append(number)
        if not live:
            break
        number = chance.choice(live)
        step = trials[number] = trials.get(number, 0) + 10
        begin, end, pace = laws[number]
        outcome = Outcome.COMPLETED if step == 90 else None
        verdict = play.decide(number, step, begin + (end - begin) * (step / 90) ** pace, outcome)
        rung = bracket_of(play, number).rungs.get(step)
        if outcome or verdict.decision is Decision.PAUSE:
            live.remove(number)
            (ended if outcome else waiting).add(number)
        elif rung is not None:
            assert sum(trials[n] > step for n in rung.worth) < len(rung) / 3 + 2 * len(rung) ** 0.5
    assert ended
    assert ended | waiting == set(laws)


def bracket_of(play, number):
    """The successive halving that judges a trial."""
    pruner = play.pruner
    return pruner._bracket(number) if hasattr(pruner, "brackets") else pruner


def test_one_that_a_health_rule_ends_gives_its_place_to_another():
    play = Play(second_chances=True)
    for number, value in enumerate((1.0, 2.0, 3.0, 4.0, 5.0)):
        play.decide(number, 10, value)
    waiting = paused(play, 1, 2, 3, 4)
    assert play.pruner.choose(waiting, True) is None
    play.decide(0, 20, NAN, Outcome.DIVERGED)
    play.decide(5, 10, 9.0)
    assert play.pruner.choose(waiting, True).number == 1


def test_when_new_trials_are_over_what_halving_would_use_is_spent_and_no_more():
    """A study of 27 trials on one worker; a third of those that go on diverge."""
    for share, more in ((0.0, 0), (0.5, 4)):
        play, steps, waiting, ends = Play(second_chances=True), {}, set(), {}
        fresh, live = list(range(27)), None
        while True:
            if live is None:
                wake = play.pruner.choose(paused(play, *waiting), bool(fresh)) if waiting else None
                if wake is None and not fresh:
                    break
                live = wake.number if wake else fresh.pop(0)
                waiting.discard(live)
            steps[live] = steps.get(live, 0) + 10
            dies = live % 10 < 10 * share and steps[live] == 20
            outcome = Outcome.DIVERGED if dies else Outcome.COMPLETED if steps[live] == 90 else None
            verdict = play.decide(live, steps[live], float(live * 7 % 27), outcome)
            if outcome:
                ends[live] = outcome
                live = None
            elif verdict.decision is Decision.PAUSE:
                waiting.add(live)
                live = None
        halving = 27 * 10 + 9 * 20 + 3 * 60
        assert halving <= sum(steps.values()) < halving + 90
        assert sum(s > 10 for s in steps.values()) >= 9 + more
        assert Outcome.COMPLETED in ends.values()


@pytest.mark.parametrize("name", ["asha", "hyperband"])
def test_those_who_were_given_up_when_a_search_ended_are_not_under_way_when_it_is_asked_for_more(name):
    """A study of 9 trials on one worker, which is asked for 27: it spends what halving would of 27."""
    play, steps = Play(name, second_chances=True), {}
    given_up = played_out(play, steps, range(9))
    spent = sum(steps.values())
    assert given_up
    play.restart()
    for number in given_up:
        play.pruner.given_up(number)
    left = played_out(play, steps, range(9, 27))
    assert not left & given_up
    accounts = [bracket._account for bracket in brackets_of(play)]
    assert all(not account.has_left(left) for account in accounts), "and no more"
    assert (
        sum(account.granted for account in accounts)
        <= sum(steps.values())
        < sum(account.granted + 90 for account in accounts)
    )
    assert sum(steps.values()) > 2 * spent


def played_out(play, steps, numbers):
    """One worker trains new trials and whoever may go on, to the end; returns who is paused then."""
    fresh, waiting, live = list(numbers), set(), None
    while True:
        if live is None:
            wake = play.pruner.choose(paused(play, *waiting), bool(fresh)) if waiting else None
            if wake is None and not fresh:
                return waiting
            live = wake.number if wake else fresh.pop(0)
            waiting.discard(live)
        steps[live] = steps.get(live, 0) + 10
        outcome = Outcome.COMPLETED if steps[live] == 90 else None
        verdict = play.decide(live, steps[live], float(live * 7 % 27), outcome)
        if outcome or verdict.decision is Decision.PAUSE:
            waiting |= set() if outcome else {live}
            live = None


def brackets_of(play):
    return getattr(play.pruner, "brackets", [play.pruner])


def test_a_study_has_an_answer_whoever_dies():
    play = Play(second_chances=True)
    for number in range(4):
        play.decide(number, 10, float(number))
    for number in range(3):
        left = paused(play, *range(number, 4))
        assert play.pruner.choose(left, False).number == number
        for step in range(20, 90, 10):
            play.decide(number, step, float(number))
        play.decide(number, 90, NAN, Outcome.DIVERGED)
    assert play.pruner.choose(paused(play, 3), False).number == 3


def test_one_that_ends_in_an_error_gives_its_place_to_another():
    play = Play(second_chances=True)
    for number, value in enumerate((1.0, 2.0, 3.0, 4.0, 5.0)):
        play.decide(number, 10, value)
    play.decide(0, 20, 0.5)
    waiting = paused(play, 1, 2, 3, 4)
    assert play.pruner.choose(waiting, True) is None
    play.pruner.failed(0)
    play.decide(5, 10, 9.0)
    assert play.pruner.choose(waiting, True).number == 1


def test_one_that_ended_in_an_error_is_under_way_no_more():
    play = Play(second_chances=True)
    for number, step in ((0, 10), (1, 10), (1, 20), (1, 30)):
        play.decide(number, step, 1.0)
    assert play.pruner.choose(paused(play, 0), False) is None, "trial 1 takes what steps are left"
    play.pruner.failed(1)
    assert play.pruner.choose(paused(play, 0), False).number == 0


def test_once_no_new_trial_is_left_hyperband_s_paused_ones_go_on_too():
    play = Play("hyperband", second_chances=True)
    assert play.decide(0, 10, 1.0).decision is Decision.PAUSE, "a third of one is none"
    assert play.pruner.choose(paused(play, 0), True) is None
    assert play.pruner.choose(paused(play, 0), False).number == 0


def test_hyperband_s_brackets_are_told_of_errors():
    play = Play("hyperband", second_chances=True)
    play.decide(0, 10, 1.0)
    assert [len(rung) for rung in play.pruner.brackets[0].rungs.values()] == [0, 0, 1]
    for number in (0, 1):  # of 1 nobody has heard
        play.pruner.failed(number)
    assert [len(rung) for rung in play.pruner.brackets[0].rungs.values()] == [0, 0, 0]
    play.pruner.given_up(2)
    assert sum(play.pruner._counts) == 1, "nor of 2, which takes no place in a bracket"


def test_a_place_is_told_as_one_says_it():
    rung = Rung(10)
    for number in range(1, 114):
        rung.enter(number, -float(number))
    report = Report(10, 0, 0.0, {"m": 1.0}, 0.0)
    told = [place(rung, TrialRecord(number, {}, {}, reports=[report])) for number in range(1, 114)]
    assert told[10] == "11th of 113 at step 10"
    said = " ".join(words.partition(" ")[0] for words in told)
    assert said.startswith("1st 2nd 3rd 4th 5th 6th 7th 8th 9th 10th 11th 12th 13th 14th 15th")
    assert "20th 21st 22nd 23rd 24th" in said
    assert said.endswith(
        "101st 102nd 103rd 104th 105th 106th 107th 108th 109th 110th 111th 112th 113th"
    )


@pytest.mark.parametrize("name", ["asha", "hyperband"])
@pytest.mark.parametrize("second_chances", [False, True])
def test_nobody_goes_on_whom_nobody_knows(name, second_chances):
    play = Play(name, second_chances=second_chances)
    stranger = TrialRecord(7, {}, {}, Outcome.PAUSED)
    assert play.pruner.choose([stranger], True) is None
    assert play.pruner.choose([stranger], False) is None


def test_hyperband_deals_trials_to_brackets_in_their_shares():
    play = Play("hyperband")
    assert [list(bracket.rungs) for bracket in play.pruner.brackets] == [[90, 30, 10], [90, 30], [90]]
    for number in range(170):
        play.decide(number, 5, 1.0)
    dealt = list(play.pruner._dealt.values())
    assert [dealt.count(at) for at in range(3)] == [90, 50, 30], "9, 5 and 3 of each round of 17"
    assert dealt[:3] == [0, 1, 2]


def test_all_brackets_learn_from_the_ends_of_each():
    """The first bracket waits at its first rung, the others' trials come to their ends: it is told."""
    play = Play("hyperband", second_chances=True)
    for number in range(30):
        play.decide(number, 5, 100.0)
    first = [number for number in range(30) if play.pruner._dealt[number] == 0]
    for number in first:
        verdict = play.decide(number, 10, 5.0 + number)
        assert "predicted" not in verdict.reason
    for number in set(range(30)) - set(first):
        for step in range(10, 100, 10):
            end = Outcome.COMPLETED if step == 90 else None
            play.decide(number, step, 5.0 + number - step / 30, end)
    wake = play.pruner.choose(paused(play, *first), True)
    assert wake.number == first[0]
    assert "at step 10, of which the best 1/3 go on: predicted " in wake.reason


def test_a_late_bracket_judges_late():
    play = Play("hyperband")
    for number in range(17):
        for step, value in ((10, 1.0 + number), (30, 1.0 + number)):
            if play.tell(number, step, value):
                break
    stopped = {n: v[-1].step for n, v in play.trials.items() if len(v) == 1}
    assert stopped
    assert all(play.pruner._dealt[n] == 0 for n in stopped)


def reports_of(chance, number):
    """A trial's first reports, with values at which ties are likely."""
    length = chance.randint(1, 8)
    dies = chance.random() < 0.2
    for i in range(1, length + 1):
        end = Outcome.DIVERGED if dies and i == length else None
        yield number, 10 * i, float(chance.choice([1, 2, 3, NAN])), end


@settings(deadline=None)
@given(some.integers(0, 10**9), some.integers(2, 4), some.booleans())
def test_what_is_decided_follows_from_the_set_of_reports_not_from_their_order(seed, factor, second):
    """However several workers' reports interleave: each trial's own come by rising steps.

    Without second chances nobody is paused and chosen, and who is stopped depends on who came before.
    """
    chance = random.Random(seed)
    curves = [list(reports_of(chance, number)) for number in range(chance.randint(2, 12))]
    late = chance.randrange(len(curves))
    answers = []
    for _ in range(3):
        play = Play("asha", reduction_factor=factor, second_chances=second)
        left = [list(curve) for curve in curves]
        while any(left):
            play.decide(*chance.choice([curve for curve in left if curve]).pop(0))
        step = curves[late][-1][1] + 10
        verdict = play.decide(late, step, 2.0)
        waiting = paused(play, *range(0, len(curves), 2))
        chosen = [play.pruner.choose(waiting, fresh) for fresh in (True, False) if second]
        answers.append((verdict, chosen))
    assert answers[0] == answers[1] == answers[2]

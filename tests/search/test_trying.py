"""A sampler and a pruner of the user's own that fail: told before there is a study."""

import pytest

from gansearch.errors import StudyError
from gansearch.search import PRUNERS
from gansearch.search.pruners import Decision, Never, Verdict, Wake
from gansearch.search.trying import check_wake, try_plan
from gansearch.study.records import TrialRecord


class Steady:
    """A sampler in order: the first end of each axis, whatever was tried."""

    history, swayed = None, False

    def __init__(self, seed, conditional):
        pass

    def draws(self, past, space):
        yield space.point(lambda name, axis: axis.ends()[0])


class Unmakeable(Steady):
    def __init__(self, seed, conditional):
        {}["seed"]


class Leaving(Steady):
    def draws(self, past, space):
        raise SystemExit(3)


class Astray(Steady):
    def draws(self, past, space):
        yield {"optimizer.generator.lr": 1e9}


class Silent(Steady):
    def draws(self, past, space):
        return iter(())


class NoFuture(Steady):
    """Fails as soon as there is something to learn from."""

    def draws(self, past, space):
        assert not past.trials
        return super().draws(past, space)


class Bare:
    def __init__(self, seed, conditional):
        pass


class Odd(Never):
    """A pruner that does what it is told to."""

    def __init__(self, config, *, how: str = "well"):
        self.how = how

    def judge(self, trial, report):
        if self.how == "fail":
            raise KeyError("no such thing")
        if self.how == "nan":
            return Verdict() if next(iter(report.metrics.values())) > 0 else 1 / 0
        answers = {"well": Verdict(), "pause": Verdict(Decision.PAUSE, "step"), "text": "stop"}
        answers["number"] = Verdict(Decision.STOP, 3)
        return answers.get(self.how)


SAMPLING = "search: {trials: 9, sampler: 'test_trying:%s'}"


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        ("Unmakeable", "'test_trying:Unmakeable', made for trial 0, fails: KeyError: 'seed' (.*, line"),
        ("Leaving", "'test_trying:Leaving', asked for trial 0, fails: SystemExit: 3 (.*, line"),
        ("Astray", "'test_trying:Astray' proposes for trial 0 what cannot be: "),
        ("Silent", "'test_trying:Silent' proposes no point"),
        ("NoFuture", "'test_trying:NoFuture', asked for trial 1, fails: AssertionError"),
        ("Bare", "'test_trying:Bare' has no draws, no history, no swayed"),
    ],
)
def test_a_sampler_that_fails_is_told(spec, sampler, words):
    (told,) = try_plan(spec(SAMPLING % sampler))
    begin, _, end = words.partition("(.*")
    assert told.startswith(f"the sampler {begin}")
    assert end in told


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("fail", "asked about trial 0 at step 10, fails: KeyError: 'no such thing' ("),
        ("nan", "asked about trial 0 at step 10, fails: ZeroDivisionError"),
        ("pause", "answers with pause: it has no `choose`"),
        ("text", "answers with 'stop', which is no Verdict"),
        ("nothing", "answers with None, which is no Verdict"),
        ("number", "reason=3), which is no Verdict"),
    ],
)
def test_a_pruner_that_fails_is_told(spec, how, words):
    (told,) = try_plan(spec(f"pruner: {{name: 'test_trying:Odd', how: {how}}}"))
    assert "the pruner 'test_trying:Odd'" in told
    assert words in told


@pytest.mark.parametrize(
    ("wake", "words"),
    [
        (3, "chooses 3, which is no Wake"),
        (TrialRecord(0, {}, {}), "which is no Wake"),
        (Wake(0, None), "which is no Wake"),
        (Wake(7, "so"), "wakes trial 7, which is not paused"),
        (Wake("0", "so"), "wakes trial 0, which is not paused"),
    ],
)
def test_a_choice_that_is_none_is_told(wake, words):
    paused = [TrialRecord(0, {}, {})]
    assert check_wake(None, paused, "mine") is None
    assert check_wake(Wake(0, "so"), paused, "mine") == Wake(0, "so")
    with pytest.raises(StudyError, match=rf"the pruner 'mine' .*{words}"):
        check_wake(wake, paused, "mine")


def test_both_are_told_at_once(spec):
    text = SAMPLING % "Silent" + "\npruner: {name: 'test_trying:Odd', how: text}"
    assert len(try_plan(spec(text))) == 2


def test_one_in_order_passes(spec):
    assert try_plan(spec(SAMPLING % "Steady" + "\npruner: {name: 'test_trying:Odd'}")) == []


@pytest.mark.parametrize("name", PRUNERS.names)
def test_so_does_each_pruner_of_ours(spec, name):
    assert try_plan(spec(f"pruner: {name}")) == []


def test_a_sampler_that_is_never_asked_is_not_tried(spec):
    given = "stability: {top: 0, configurations: {other: {loss: hinge}}}"
    text = SAMPLING.replace("trials: 9", "trials: 0") % "Silent"
    assert try_plan(spec(f"{text}\n{given}")) == []


def test_a_function_that_is_no_sampler_is_told(spec):
    (told,) = try_plan(spec("search: {trials: 9, sampler: 'json:dumps'}"))
    assert "the sampler 'json:dumps' is given 2 values before its options" in told

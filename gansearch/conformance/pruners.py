"""A pruner judges by what it is shown, and by nothing else."""

from __future__ import annotations

import itertools
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from gansearch.search.pruners import Decision, Pruner, SecondChances, Verdict, Wake
from gansearch.study.config import TrialConfig
from gansearch.study.evaluation import Budget, Objective
from gansearch.study.records import Goal, Outcome, Report, TrialRecord
from gansearch.training.randomness import seed_everything

GOALS: tuple[Goal, ...] = ("min", "max")

STEPS, EVERY = 90, 10
METRIC = "fd_classifier"


class _Told(NamedTuple):
    """A report of one trial, as a pruner is to be shown it."""

    number: int
    report: Report


class _Asked(NamedTuple):
    """A free place, for which a pruner is to choose.

    Attributes:
        paused: by number.
        fresh: whether there are new trials.
    """

    paused: tuple[int, ...]
    fresh: bool


_Event = _Told | _Asked
_Answer = Verdict | Wake | None


def check_pruner(factory: Callable[[TrialConfig], Pruner], *, seeds: int = 3) -> None:
    """A pruner: pure verdicts in words, the same when replayed, whatever a metric may be. One that
    pauses chooses among the paused as purely.

    Args:
        factory: makes it for a study; with its options bound, if it needs some.
        seeds: how many made-up studies it judges, each with curves that rise, fall, are NaN or
            infinite, and trials that complete, fail and come late.
    """
    for seed, goal in itertools.product(range(seeds), GOALS):
        config = TrialConfig(
            budget=Budget(steps=STEPS, report_every=EVERY),
            objective=Objective(metric=METRIC, goal=goal),
        )
        played, events, answers = _Played(factory(config)), list[_Event](), list[_Answer]()
        for event in _study(seed, answers):
            events.append(event)
            answers.append(played.answer(event))
        seed_everything(seed)
        again = _replayed(factory(config), events)
        assert again == answers, "the same reports must get the same verdicts: a study is replayed"
        reports = [event for event in events if isinstance(event, _Told)]
        verdicts = [answer for answer in answers if isinstance(answer, Verdict)]
        assert _replayed(factory(config), reports) == verdicts, (
            "choose must change nothing in the pruner: a resumed study does not ask again"
        )
        renamed = _replayed(factory(config), [_renamed(event) for event in events])
        assert [_decision(answer) for answer in renamed] == [
            _decision(answer, RENAMED) for answer in answers
        ], "a trial's number is but its name: other numbers must get the same verdicts"


RENAMED = 1000
"""What is added to trials' numbers."""


def _renamed(event: _Event) -> _Event:
    if isinstance(event, _Told):
        return _Told(event.number + RENAMED, event.report)
    return _Asked(tuple(number + RENAMED for number in event.paused), event.fresh)


def _decision(answer: _Answer, added: int = 0) -> Decision | int | None:
    if isinstance(answer, Verdict):
        return answer.decision
    return answer.number + added if answer else None


def _study(seed: int, answers: list[_Answer]) -> Iterator[_Event]:
    """Reports of some trials, several at a time; one makes no more after a verdict to stop, and none
    after one to pause until it is chosen.
    """
    chance = random.Random(seed)
    steps: dict[int, int] = {}
    live: list[int] = []
    paused: set[int] = set()
    for _ in range(200):
        while len(live) < 4:
            fresh = len(steps) < 60
            if paused:
                yield _Asked(tuple(sorted(paused)), fresh)
                if isinstance(wake := answers[-1], Wake):
                    paused.remove(wake.number)
                    live.append(wake.number)
                    continue
            if not fresh:
                break
            live.append(len(steps))
            steps[live[-1]] = 0
        if not live:
            return
        number = chance.choice(live)
        steps[number] += EVERY
        kind, step = number % 5, steps[number]
        value = chance.uniform(-1, 10) * (1 if kind else step / STEPS)
        if kind == 1 and chance.random() < 0.5:
            value = chance.choice([math.nan, math.inf, -math.inf])
        if kind == 2 and step < STEPS // 2:
            value = math.nan  # its first finite value comes late
        outcome = Outcome.COMPLETED if step == STEPS else None
        if chance.random() < 0.05:
            outcome = chance.choice([Outcome.DIVERGED, Outcome.COLLAPSED, Outcome.STALLED])
        metrics = {} if kind == 3 and chance.random() < 0.1 else {METRIC: value}
        yield _Told(number, Report(step, 64 * step, 0.1 * step, metrics, 0.0, outcome))
        verdict = answers[-1]
        assert isinstance(verdict, Verdict)
        if outcome is not None or verdict.decision is not Decision.GO_ON:
            live.remove(number)
        if outcome is None and verdict.decision is Decision.PAUSE:
            paused.add(number)


class _Played:
    """A pruner, and what it was shown."""

    def __init__(self, pruner: Pruner) -> None:
        self._pruner = pruner
        self._reports: defaultdict[int, list[Report]] = defaultdict(list)

    def answer(self, event: _Event) -> _Answer:
        """What it says of the next event, as far as the contract says what that must be."""
        if isinstance(event, _Told):
            self._reports[event.number].append(event.report)
            return _judge(self._pruner, event.report, self._trial(event.number))
        assert isinstance(self._pruner, SecondChances), (
            "answers with pause, and has no `choose` to say who goes on"
        )
        paused = [self._trial(number, Outcome.PAUSED) for number in event.paused]
        return _choose(self._pruner, paused, event.fresh)

    def _trial(self, number: int, outcome: Outcome = Outcome.RUNNING) -> TrialRecord:
        config, reports = {"latent_size": 64}, list(self._reports[number])
        return TrialRecord(number, dict(config), config, outcome, reports=reports)


def _judge(pruner: Pruner, report: Report, trial: TrialRecord) -> Verdict:
    before = repr((trial, report))
    try:
        verdict = pruner.judge(trial, report)
    except Exception as error:
        what = f"{report.metrics} at step {report.step}"
        raise AssertionError(f"judge fails on {what}: {type(error).__name__}: {error}") from error
    assert before == repr((trial, report)), "judge must not change the record or the report"
    assert isinstance(verdict, Verdict), f"judge must return a Verdict, not {verdict!r}"
    assert verdict.decision in tuple(Decision), f"{verdict.decision!r} is no Decision"
    if verdict.decision is not Decision.GO_ON:
        assert str(report.step) in verdict.reason, (
            f"a {verdict.decision} needs a reason in words that names the step, not {verdict.reason!r}"
        )
    return verdict


def _choose(pruner: SecondChances, paused: list[TrialRecord], fresh: bool) -> Wake | None:
    before = repr(paused)
    try:
        wake, again = pruner.choose(paused, fresh), pruner.choose(paused, fresh)
        if paused[1:]:
            pruner.choose(paused[1:], fresh)
    except Exception as error:
        what = f"{len(paused)} paused trials"
        raise AssertionError(f"choose fails on {what}: {type(error).__name__}: {error}") from error
    assert before == repr(paused), "choose must not change what it is shown"
    assert wake == again, "choose must give the same answer when it is asked again"
    if wake is None:
        return None
    assert isinstance(wake, Wake), f"choose must return a Wake or None, not {wake!r}"
    steps = {trial.number: trial.step for trial in paused}
    assert wake.number in steps, f"choose must name one that is paused, not {wake.number!r}"
    assert str(steps[wake.number]) in wake.reason, (
        f"to go on needs a reason in words that names the step, not {wake.reason!r}"
    )
    return wake


def _replayed(pruner: Pruner, events: Sequence[_Event]) -> list[_Answer]:
    played = _Played(pruner)
    return [played.answer(event) for event in events]

"""Which trials are stopped for falling behind, each with its reason in words.

A pruner is to a study what a health rule is to a trial: it sees one report after another and answers
with a verdict. It knows nothing of workers, and holds nothing but what the reports told it, so a
resumed study gets its pruner back by showing it the journal again.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from operator import attrgetter
from typing import Protocol, runtime_checkable

from gansearch.study.config import TrialConfig
from gansearch.study.records import Goal, Outcome, Report, TrialRecord, cost
from gansearch.study.sections import Positive


class Decision(StrEnum):
    """What is to become of a trial."""

    GO_ON = "go on"
    STOP = "stop"
    PAUSE = "pause"


@dataclass(frozen=True)
class Verdict:
    """What a pruner says of a report: go on, stop or pause the trial, and why."""

    decision: Decision = Decision.GO_ON
    reason: str = ""


GO_ON = Verdict()


@dataclass(frozen=True)
class Wake:
    """What a pruner says of a free place: this paused trial goes on there, and why."""

    number: int
    reason: str


class Pruner(Protocol):
    """Judges the trials of one study by their reports.

    It is called with the configuration of one of the study's trials, from which it may read what all of
    them share: `budget`, `objective` (whose `goal` is filled in). Its options are the keyword-only
    parameters of its constructor; a `ValueError` from there is told as a mistake in the study file,
    at the option if its text begins with "OPTION: ".

    What it can rely on:

    - It is shown every report of every trial exactly once, in the order in which they came; those of
      one trial by rising steps. A resumed study makes a new pruner and shows it the journal's reports
      in the same order, so its verdicts must be a function of the reports alone: no clock, no global
      random numbers, no files.
    - A report with an `outcome` is the trial's last one: it completed, or a health rule ended it. The
      verdict on it changes nothing. Of trials that end in an error it is told if it `HearsOfErrors`; of
      those that lose a worker it is not.
    - After STOP no more is heard of that trial, whose outcome is `pruned` with the verdict's reason.

    What it must do:

    - STOP and PAUSE come with a reason in words that names the step: it is what a user is shown.
    - A metric may be NaN, infinite or missing in any report.
    - Neither the record nor the report may be changed.

    PAUSE gives the trial's place away, and keeps its checkpoint. A pruner that answers so also has
    `choose`, see `SecondChances`.
    """

    def judge(self, trial: TrialRecord, report: Report) -> Verdict:
        """The verdict on a trial at a report.

        Args:
            trial: as it is known: its number, configuration, and reports up to this one, the last.
            report: the new one. Its `time` is 0, since a replay cannot repeat the clock.
        """
        ...


@runtime_checkable
class SecondChances(Pruner, Protocol):
    """A pruner that pauses trials, and says which of them go on.

    What it can rely on:

    - Whenever a place is free and some trial is paused, it is asked, once for each place. A trial that
      is to go on is not among `paused` the next time, and its next report is judged like any other.
    - When no new trial is left, nothing runs, and it answers None, the study is over: every paused
      trial is `pruned`, for the reason with which it was paused last. Where the study is asked for more
      trials after that, it is told of these if it `HearsOfGivenUp`.

    What it must do:

    - The answer is a function of the reports shown, of `paused` and of `fresh` alone, and changes
      nothing in the pruner: it may be asked again, and of `paused` without some of them. So the same
      journal gives the same decisions, in a resumed study and in a replay.
    - The reason is in words, and names the step at which the trial was paused.
    """

    def choose(self, paused: Sequence[TrialRecord], fresh: bool) -> Wake | None:
        """The paused trial that goes on in a free place; None: a new one, or nobody.

        Args:
            paused: the trials that are paused, by number; one at least. None may be changed.
            fresh: whether a new trial could be started instead.
        """
        ...


class Paused(Mapping[int, TrialRecord]):
    """Paused trials by number, of which one is found without a look at the others: they are thousands.

    Args:
        trials: by rising numbers, as `choose` is given them.
    """

    def __init__(self, trials: Sequence[TrialRecord]) -> None:
        self._trials = trials

    def __getitem__(self, number: int) -> TrialRecord:
        at = bisect_left(self._trials, number, key=attrgetter("number"))
        if at < len(self._trials) and self._trials[at].number == number:
            return self._trials[at]
        raise KeyError(number)

    def __iter__(self) -> Iterator[int]:
        return map(attrgetter("number"), self._trials)

    def __len__(self) -> int:
        return len(self._trials)

    @cached_property
    def numbers(self) -> Set[int]:
        """All of them, which takes a look at each."""
        return frozenset(self)


@runtime_checkable
class HearsOfErrors(Protocol):
    """A pruner that is told of trials that end in an error, about which no report says anything."""

    def failed(self, number: int) -> None:
        """A trial is over, and no more is heard of it.

        A resumed study tells of these when it has shown all reports, so what is made of it must not
        depend on when it is told. It may be told of a trial that never reported.
        """
        ...


@runtime_checkable
class HearsOfGivenUp(Protocol):
    """A pruner with second chances that is told of trials that wait no more: they were given up when
    their search ended, which has been asked for more since.
    """

    def given_up(self, number: int) -> None:
        """A paused trial is over, and no more is heard of it; its reports count as before.

        Told, as of errors, when all reports have been shown.
        """
        ...


class Median:
    """The median stopping rule (Golovin et al. 2017, "Google Vizier", section 3.2.2).

    A trial is stopped at a report if its best objective so far is strictly worse than the median, over
    the other trials, of their running averages up to the same step. Others are those that have
    completed or were stopped by this rule, and came as far; all trials of a study report at the same
    steps. Averages are of finite objectives. A trial that has none by `min_steps` is stopped, and
    leaves no mark; neither does a trial that a health rule ended.

    Args:
        config: of one of the study's trials.
        min_steps: generator steps before which no trial is stopped; None: a ninth of the budget's
            reports, at least one.
        min_trials: other trials that must have come as far.
    """

    def __init__(
        self, config: TrialConfig, *, min_steps: Positive | None = None, min_trials: Positive = 5
    ) -> None:
        self.min_steps = first_judgement(config, min_steps)
        self.min_trials = min_trials
        self._config = config
        self._averages: defaultdict[int, list[float]] = defaultdict(list)  # by step, in rising order

    def judge(self, trial: TrialRecord, report: Report) -> Verdict:
        """Stops a trial whose best is below the median of the others' averages."""
        if report.outcome not in (None, Outcome.COMPLETED):
            return GO_ON
        verdict = self._compare(trial, report) if report.outcome is None else GO_ON
        if report.outcome or verdict.decision is Decision.STOP:
            for step, average in _running_averages(trial, self._config):
                insort(self._averages[step], average)
        return verdict

    def _compare(self, trial: TrialRecord, report: Report) -> Verdict:
        reward = best_reward(trial, self._config)
        if reward is None:
            return without_objective(report, self.min_steps)
        others = self._averages[report.step]
        if report.step < self.min_steps or len(others) < self.min_trials:
            return GO_ON
        median = quantile(others, 0.5)
        if reward >= median:
            return GO_ON
        goal = self._config.objective.towards
        best, usual = (f"{_signed(value, goal):.4g}" for value in (reward, median))
        why = f"its best, {best}, is worse than {usual}, the median of {len(others)} trials' averages"
        return Verdict(Decision.STOP, f"{why}, at step {report.step}")


class Never:
    """Stops no trial."""

    def __init__(self, config: TrialConfig) -> None:
        pass

    def judge(self, trial: TrialRecord, report: Report) -> Verdict:  # noqa: ARG002
        """Goes on."""
        return GO_ON


def first_judgement(config: TrialConfig, min_steps: int | None) -> int:
    """The step before which no trial is judged: as an option says, else a ninth of the reports.

    Raises:
        ValueError: the budget ends before it.
    """
    budget = config.budget
    if min_steps is not None and min_steps > budget.steps:
        raise ValueError(f"min_steps: is {min_steps}, more than budget.steps, {budget.steps}")
    return min_steps or max(budget.steps // budget.report_every // 9, 1) * budget.report_every


def best_reward(trial: TrialRecord, config: TrialConfig) -> float | None:
    """The best objective so far, negated where lower is better; None while none is finite."""
    goal = config.objective.towards
    best = trial.best(config.objective.metric, goal)
    return _signed(best.value, goal) if best else None


def without_objective(report: Report, min_steps: int) -> Verdict:
    """The verdict on a trial that has not had a finite objective: it is given until `min_steps`."""
    if report.step < min_steps:
        return GO_ON
    return Verdict(Decision.STOP, f"no finite objective by step {report.step}")


def quantile(ordered: Sequence[float], share: float) -> float:
    """A quantile of values in rising order, linearly interpolated; to the last bit that of
    `numpy.quantile`, which takes time in proportion to their number.
    """
    at = (len(ordered) - 1) * share
    below = int(at)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    part = at - below
    return low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)


def _running_averages(trial: TrialRecord, config: TrialConfig) -> Iterator[tuple[int, float]]:
    """(step, mean reward up to it) at each report from the first finite objective on."""
    objective, total, count = config.objective, 0.0, 0
    for report in trial.reports:
        value = report.metrics.get(objective.metric, math.nan)
        if math.isfinite(value):
            total, count = total + _signed(value, objective.towards), count + 1
        if count:
            yield report.step, total / count


def _signed(value: float, goal: Goal) -> float:
    """An objective as a reward, and a reward as an objective."""
    return -cost(value, goal)

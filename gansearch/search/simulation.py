"""A search on a simulated clock: a study's own proposer, sampler and pruner, and recorded curves."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import optuna
from optuna.trial import FrozenTrial

from gansearch.journal.changes import Change
from gansearch.journal.encoding import DIRECTION
from gansearch.journal.journal import Journal
from gansearch.journal.opening import Storage
from gansearch.search import PRUNERS
from gansearch.search.contract import Point
from gansearch.search.proposer import Proposer
from gansearch.search.pruners import Decision, Pruner, SecondChances, Verdict, Wake
from gansearch.search.recording import Recording
from gansearch.search.stopping import Ending
from gansearch.search.trying import check_verdict, check_wake
from gansearch.search.view import AnySampler
from gansearch.search.worker import Coming, Lanes, Worker
from gansearch.study.learnt import LEARNT
from gansearch.study.records import Outcome, Report, TrialRecord, better, cost
from gansearch.study.spec import StudySpec


@dataclass
class Played:
    """What a policy did with a recording.

    Attributes:
        best: (seconds since the beginning, best objective so far) at each improvement.
        trials: as they ended, by number.
        seconds: when the search ended.
        workers: how many there were, each of which costs a device all the time.
        cut: trials that the policy would have trained further than they were recorded.
        over: why the study's budget ended it; empty where it did not.
    """

    best: list[tuple[float, float]] = field(default_factory=list)
    trials: list[TrialRecord] = field(default_factory=list)
    seconds: float = 0.0
    workers: int = 1
    cut: int = 0
    over: str = ""

    @property
    def busy(self) -> float:
        """Seconds that trials were trained, over all workers."""
        return sum(trial.seconds for trial in self.trials)

    def reached(self, reached: Callable[[float], bool]) -> float:
        """Device-seconds until the best objective was good enough; infinite if it never was."""
        return next((at * self.workers for at, value in self.best if reached(value)), math.inf)


class Source(Protocol):
    """Where the trials of a simulated search come from."""

    def begin(self) -> tuple[TrialRecord, Sequence[Report]]:
        """The next trial, and the reports that it will make."""
        ...

    def report(self, number: int, report: Report) -> None:
        """A trial has reported."""
        ...

    def pause(self, record: TrialRecord, reason: str) -> TrialRecord:
        """A trial is paused; returns it so."""
        ...

    def wake(self, record: TrialRecord, reason: str) -> TrialRecord:
        """A paused trial goes on; returns it so."""
        ...

    def end(self, record: TrialRecord) -> None:
        """A trial has ended."""
        ...


class Recorded:
    """The recorded trials in the order in which they were proposed.

    Args:
        spec: the study.
        recording: what was recorded of it.
        order: of the curves, by their place; None: as they were numbered.
    """

    def __init__(
        self, spec: StudySpec, recording: Recording, order: Sequence[int] | None = None
    ) -> None:
        self._spec, self._recording = spec, recording
        self._order = iter(range(len(recording.curves)) if order is None else order)
        self._begun = 0

    def begin(self) -> tuple[TrialRecord, Sequence[Report]]:
        """The next."""
        curve = self._recording.curves[next(self._order)]
        number, self._begun = self._begun, self._begun + 1
        config = self._spec.trial(number, lambda name, _: curve.point[name]).plain()
        return TrialRecord(number, curve.point, config, origin=curve.origin), curve.reports

    def report(self, number: int, report: Report) -> None:
        """Nothing: what comes next does not depend on it."""

    def pause(self, record: TrialRecord, reason: str) -> TrialRecord:
        """So much alone."""
        return replace(record, outcome=Outcome.PAUSED, reason=reason)

    def wake(self, record: TrialRecord, reason: str) -> TrialRecord:  # noqa: ARG002
        """So much alone."""
        return replace(record, outcome=Outcome.RUNNING, reason="")

    def end(self, record: TrialRecord) -> None:
        """Nothing."""


class StandIns(Proposer):
    """The study's own proposer, for each of whose proposals the nearest recorded trial stands in.

    Args:
        spec: the study, with the sampler and the seed that are played, and what it learnt from others.
        recording: what was recorded of it.
    """

    def __init__(self, spec: StudySpec, recording: Recording) -> None:
        study = optuna.create_study(direction=DIRECTION[recording.goal])
        study.set_user_attr(LEARNT, [each.plain() for each in spec.learnt])
        steps = spec.example().budget.steps
        nowhere = cast(Storage, _Nowhere())
        super().__init__(spec, Journal(study, nowhere, recording.metric, recording.goal, steps))
        self._recording = recording
        self._taken: dict[int, int] = {}  # the place of its curve, by number

    def begin(self) -> tuple[TrialRecord, Sequence[Report]]:
        """The next proposal's stand-in."""
        record = self.propose(len(self._taken))
        return record, self._recording.curves[self._taken[record.number]].reports

    def report(self, number: int, report: Report) -> None:
        """Write it into the journal."""
        self.journal.report(number, report)

    def pause(self, record: TrialRecord, reason: str) -> TrialRecord:
        """Have the sampler learn of what it is worth by now."""
        paused = self.journal.pause(record, reason)
        self.ended(record.number)
        return paused

    def wake(self, record: TrialRecord, reason: str) -> TrialRecord:
        """Write it into the journal."""
        return self.journal.wake(record, reason)

    def end(self, record: TrialRecord) -> None:
        """Have the sampler learn of it."""
        self.journal.end(record, record.outcome, record.reason)
        self.ended(record.number)

    def choose_point(self, number: int, sampler: AnySampler) -> tuple[Point, str]:
        """A recorded point."""
        point, origin = super().choose_point(number, sampler)
        self._taken[number] = place = self._recording.nearest(point, self._taken.values())
        return dict(self._recording.curves[place].point), origin


class _Nowhere:
    """A journal's storage that keeps nothing: the journal itself knows what was told to it."""

    def begin(self, study_id: int, number: int, template: FrozenTrial) -> int:  # noqa: ARG002
        return number

    def write(self, change: Change) -> None:
        pass

    def note(self, study_id: int, user_attrs: Mapping[str, Any]) -> None:
        pass

    def flush(self) -> None:
        pass


class Simulation:
    """One search: its trials, its workers, and the time.

    A worker with room takes the paused trial that the pruner chooses, else a new one, else trains what
    it has; one without any waits for the next event. Seconds are those of the recorded reports, less
    what is won where trials are trained as one; a worker loses none between trials. When the study's
    budget ends the search, those that are trained come to their end, as in a study.

    Args:
        spec: the study, with the pruner that is played.
        source: where trials come from.
        recording: where they come from in the end.
        workers: how many there are.
        lanes: how each trains several trials as one.
        trials: how many there are to be at most.
        pruner: in place of the study's.
    """

    def __init__(
        self,
        spec: StudySpec,
        source: Source,
        recording: Recording,
        *,
        workers: int = 1,
        lanes: Lanes | None = None,
        trials: int | None = None,
        pruner: Pruner | None = None,
    ) -> None:
        part = spec.plan.pruner
        self.pruner = pruner or PRUNERS.build(part.name, part.options, spec.example())
        self._judge = part.name
        metric, goal = recording.metric, recording.goal
        self._ending = Ending(spec.plan.search, spec.plan.resources, metric, goal)
        self._source, self._recording = source, recording
        self._lanes = lanes or Lanes()
        self._workers = [Worker(self._lanes) for _ in range(workers)]
        self._fresh = min(trials or math.inf, len(recording.curves))
        self._records: dict[int, TrialRecord] = {}
        self._coming: dict[int, Coming] = {}
        self._paused: dict[int, str] = {}  # why, by number
        self._events: list[tuple[float, int, Worker]] = []
        self._turn = itertools.count()
        self.played = Played(workers=workers)

    def run(self, until: Callable[[float], bool] = lambda _: False) -> Played:
        """Play to the end.

        Args:
            until: ends the search when the best objective so far is good enough.
        """
        played = self.played
        self._fill(0.0)
        while self._events:
            now, _, worker = heapq.heappop(self._events)
            played.seconds = now
            improved = [self._hear(worker, *told, now) for told in worker.end()]
            if any(improved) and until(played.best[-1][1]):
                break
            self._occupy(worker, now)
            self._fill(now)
        for number, why in self._paused.items():
            self._end(number, Outcome.PRUNED, why)
        played.trials = [self._records[number] for number in sorted(self._records)]
        return played

    def _fill(self, now: float) -> None:
        """Have workers without a trial take what there is to do."""
        for worker in self._workers:
            if not worker.load:
                self._occupy(worker, now)

    def _occupy(self, worker: Worker, now: float) -> None:
        """Give a worker what it has room for, and have it train to the next report."""
        while worker.load < self._share() and (number := self._next()) is not None:
            self._train(worker, number)
        if worker.load:
            heapq.heappush(self._events, (now + worker.begin(), next(self._turn), worker))

    def _share(self) -> int:
        """How many trials a worker is given: where few are left they are spread over all workers."""
        most, workers = self._lanes.most, len(self._workers)
        if most == 1:
            return 1
        live = sum(worker.load for worker in self._workers)
        return min(most, math.ceil((live + self._startable(most * workers)) / workers))

    def _startable(self, most: int) -> int:
        """How many trials could be begun now, counted up to a number."""
        if self.played.over:
            return 0
        paused, count = sorted(self._paused), int(min(self._fresh, most))
        while count < most and (wake := self._wake(paused)):
            paused.remove(wake.number)
            count += 1
        return count

    def _wake(self, paused: Collection[int]) -> Wake | None:
        """Which of some paused trials goes on in a free place."""
        if not paused or not isinstance(self.pruner, SecondChances):
            return None
        records = [self._records[number] for number in paused]
        return check_wake(self.pruner.choose(records, self._fresh > 0), records, self._judge)

    def _next(self) -> int | None:
        if self.played.over:
            return None
        if wake := self._wake(sorted(self._paused)):
            del self._paused[wake.number]
            record = self._records[wake.number]
            self._records[wake.number] = self._source.wake(record, wake.reason)
            return wake.number
        if self._fresh <= 0:
            return None
        self._fresh -= 1
        record, reports = self._source.begin()
        self._records[record.number], self._coming[record.number] = record, Coming(iter(reports))
        return record.number

    def _train(self, worker: Worker, number: int) -> None:
        """Have a worker train a trial to its next report."""
        record = self._records[number]
        if not worker.carry(record, self._coming[number]):
            self.played.cut += 1
            self._end(number, Outcome.PRUNED, f"recorded to step {record.step} only")

    def _hear(self, worker: Worker, number: int, report: Report, now: float) -> bool:
        """Take a report down and judge it; returns whether it is the best so far."""
        record = self._records[number]
        report = replace(report, time=now)
        record.reports.append(report)
        self._source.report(number, report)
        self._consider(number)
        improved = self._note_best(report, now)
        shown = replace(report, time=0.0)
        trial = replace(record, reports=[*record.reports[:-1], shown], outcome=Outcome.RUNNING)
        verdict = check_verdict(self.pruner.judge(trial, shown), self.pruner, self._judge)
        self._obey(worker, number, report, verdict)
        return improved

    def _obey(self, worker: Worker, number: int, report: Report, verdict: Verdict) -> None:
        if report.outcome is not None:
            self._end(number, report.outcome, report.reason)
        elif verdict.decision is Decision.GO_ON:
            self._train(worker, number)
        elif verdict.decision is Decision.PAUSE:
            self._records[number] = self._source.pause(self._records[number], verdict.reason)
            self._paused[number] = verdict.reason
        else:
            self._end(number, Outcome.PRUNED, verdict.reason)

    def _note_best(self, report: Report, now: float) -> bool:
        value = report.metrics.get(self._recording.metric, math.nan)
        best = self.played.best
        if not better(value, best[-1][1] if best else None, self._recording.goal):
            return False
        best.append((now, value))
        return True

    def _end(self, number: int, outcome: Outcome, reason: str) -> None:
        record = self._records[number]
        record.outcome, record.reason = outcome, reason
        self._source.end(record)
        self._consider(number)

    def _consider(self, number: int) -> None:
        """Note that the budget ends the search, as soon as it does."""
        self.played.over = self.played.over or self._ending.judge(self._records, number)


def within(recording: Recording, share: float) -> Callable[[float], bool]:
    """Whether a value is within a share of the best of a recording."""
    best, goal = recording.best, recording.goal
    return lambda value: cost(value, goal) <= cost(best, goal) + share * abs(best)

"""A worker on a simulated clock and its trials: those of one shape are trained as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from gansearch.study.records import Report, TrialRecord


def _its_own(trial: TrialRecord) -> str:
    return str(trial.number)


@dataclass(frozen=True)
class Lanes:
    """How simulated workers train several trials as one; by default each carries one.

    Attributes:
        most: how many trials a worker carries at most.
        shape: of a trial; those of one shape are trained as one, others in turn.
        cost: seconds of a step of so many as one, over those of a step of one: 1 for one, and below
            their number where something is won.
    """

    most: int = 1
    shape: Callable[[TrialRecord], str] = _its_own
    cost: Callable[[int], float] = float


@dataclass
class Coming:
    """What a trial has not reported yet.

    Attributes:
        reports: as they were recorded.
        won: seconds that it has taken less by now than it would have alone.
    """

    reports: Iterator[Report]
    won: float = 0.0


@dataclass
class _Lane:
    """A carried trial on its way to a report: the steps until then, and the seconds they take alone."""

    coming: Coming
    report: Report
    steps: float
    seconds: float


@dataclass
class Worker:
    """Carries trials; a shape has its turn until one of its trials reports, as in a pack.

    Attributes:
        lanes: how several are trained as one.
    """

    lanes: Lanes
    _turns: dict[str, dict[int, _Lane]] = field(default_factory=dict)

    @property
    def load(self) -> int:
        """How many trials it carries."""
        return sum(map(len, self._turns.values()))

    def carry(self, trial: TrialRecord, coming: Coming) -> bool:
        """Train a trial to its next report; returns False where none was recorded."""
        report = next(coming.reports, None)
        if report is None:
            return False
        seconds = report.seconds - coming.won - trial.seconds
        lane = _Lane(coming, report, report.step - trial.step, seconds)
        self._turns.setdefault(self.lanes.shape(trial), {})[trial.number] = lane
        return True

    def begin(self) -> float:
        """Begin the next turn; returns its seconds."""
        group = next(iter(self._turns.values()))
        steps, many = min(lane.steps for lane in group.values()), len(group)
        alone = [lane.seconds * (steps / lane.steps) for lane in group.values()]
        share = sum(alone) / many * self.lanes.cost(many)
        for lane, seconds in zip(group.values(), alone, strict=True):
            lane.coming.won += seconds - share / many
            lane.steps -= steps
            lane.seconds -= seconds
        return share

    def end(self) -> list[tuple[int, Report]]:
        """End the turn that was begun; returns who has come to a report, whom it carries no more."""
        shape = next(iter(self._turns))
        group = self._turns.pop(shape)
        due = {number: lane for number, lane in group.items() if lane.steps == 0}
        if left := {number: lane for number, lane in group.items() if number not in due}:
            self._turns[shape] = left
        return [
            (number, replace(lane.report, seconds=lane.report.seconds - lane.coming.won))
            for number, lane in due.items()
        ]

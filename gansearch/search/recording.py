"""What came of configurations that were trained once, for policies to be played against."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gansearch.search.contract import Point
from gansearch.search.feasibility import encoded
from gansearch.study.axes import Axis
from gansearch.study.records import Goal, Outcome, Report, TrialRecord, best_report, cost


@dataclass(frozen=True)
class Curve:
    """One configuration and what came of it.

    Attributes:
        number: of the trial that was recorded.
        point: where it lies.
        reports: its curve; the last has an outcome if the trial ended by itself.
        origin: what the study called it, where no sampler had proposed it.
    """

    number: int
    point: Point
    reports: tuple[Report, ...]
    origin: str = ""

    @property
    def whole(self) -> bool:
        """Whether it ended by itself: otherwise nobody knows how it would have gone on."""
        return self.reports[-1].outcome is not None


class Recording:
    """The curves of one study.

    Args:
        axes: of its search space, by name.
        metric: its objective.
        goal: which way that is better.
        curves: at least one.
    """

    def __init__(
        self, axes: Mapping[str, Axis], metric: str, goal: Goal, curves: Sequence[Curve]
    ) -> None:
        self.axes, self.metric, self.goal = dict(axes), metric, goal
        self.curves = list(curves)
        self._places = np.array([encoded(axes, curve.point) for curve in self.curves])

    @property
    def whole(self) -> bool:
        """Whether all its trials ended by themselves, so that any policy can be played exactly."""
        return all(curve.whole for curve in self.curves)

    @property
    def best(self) -> float:
        """The best objective of all reports; NaN if none is finite."""
        return self.best_of(range(len(self.curves)))

    def best_of(self, curves: Iterable[int]) -> float:
        """The best objective of some curves, by their place; NaN if none is finite."""
        bests = [best_report(self.curves[i].reports, self.metric, self.goal) for i in curves]
        values = [best.value for best in bests if best]
        return min(values, key=lambda value: cost(value, self.goal), default=math.nan)

    def nearest(self, point: Point, taken: Collection[int]) -> int:
        """The place of the curve nearest to a point that is not taken; the first of equals.

        Nearest by the Euclidean distance of positions on the axes from -1 to 1 on their own scale; an
        option is 1 from any other, and so is an axis from where it does not exist.

        Raises:
            LookupError: all are taken.
        """
        free = np.array([i not in taken for i in range(len(self.curves))])
        if not free.any():
            raise LookupError("every recorded configuration has been tried")
        gaps = self._places - np.array(encoded(self.axes, point))
        distances = np.where(free, np.square(gaps).sum(axis=1), np.inf)
        return int(np.argmin(distances))


def recording_of(
    trials: Iterable[TrialRecord], axes: Mapping[str, Axis], metric: str, goal: Goal
) -> Recording:
    """What a study's search has recorded; trials that never reported, or died of an error, are none."""
    curves = []
    for trial in trials:
        if not trial.reports or trial.outcome is Outcome.FAILED:
            continue
        *before, last = trial.reports
        own = trial.outcome is Outcome.COMPLETED or trial.outcome.unhealthy
        ended = replace(last, outcome=trial.outcome, reason=trial.reason) if own else last
        curves.append(Curve(trial.number, trial.params, (*before, ended), trial.origin))
    return Recording(axes, metric, goal, curves)

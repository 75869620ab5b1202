"""From a study and its journal to the next trial's configuration."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from optuna.trial import FrozenTrial

from gansearch.errors import StudyError
from gansearch.journal.facts import INSISTED
from gansearch.journal.journal import Journal
from gansearch.search.beliefs import Beliefs
from gansearch.search.feasibility import Feasibility
from gansearch.search.history import is_blameless
from gansearch.search.learning import frozen
from gansearch.search.stopping import Ending
from gansearch.search.trying import drawn, make_sampler
from gansearch.search.view import (
    AnySampler,
    View,
    distribution,
    has_failed,
    is_swayed,
    tried,
)
from gansearch.study.axes import Choice
from gansearch.study.config import trial_seed
from gansearch.study.learnt import LEARNT, Learnt
from gansearch.study.location import Point
from gansearch.study.records import TrialRecord
from gansearch.study.spec import StudySpec

DRAWS = 10
"""How often a sampler is asked again where a proposal is likely to fail."""

ACCEPTED_RISK = 0.2
"""The probability of failure at which a proposal is taken without asking again."""


class Proposer:
    """Asks a sampler for points and writes each into the journal before anyone trains it.

    The first trials are the study's start points, of which the sampler learns as of its own.

    A proposal is a function of the study's seed, the trial's number and what the journal holds, so a
    resumed search proposes what an uninterrupted one would have. It enters the journal whole.

    The sampler looks at a copy of the trials in memory (`View`), and at no more of them than it says it
    can use (`History`), so that a proposal costs the same after thousands of trials. Of its draws the
    first is taken whose probability of failure is acceptable, or else the least risky one:
    `Feasibility` has learned it from the trials that a health rule or an error ended.
    """

    def __init__(self, spec: StudySpec, journal: Journal) -> None:
        self.spec = spec
        self.journal = journal
        axes = spec.space.axes()
        self._axes = axes
        self._minimize = journal.goal == "min"
        self._conditional = any(
            isinstance(option, dict | list)
            for axis in axes.values()
            if isinstance(axis, Choice)
            for option in axis.options.values()
        )
        self._view = View(journal.study.direction, spec.plan.search.seed, journal.frozen)
        self._feasibility = Feasibility(axes)
        self._beliefs = Beliefs(axes, spec.plan.search.sampler.belief, journal.goal)
        insisted = int(journal.facts.get(INSISTED, 0))
        plan, metric = spec.plan, journal.metric
        self._ending = Ending(plan.search, plan.resources, metric, journal.goal, insisted)
        self._learn_from_earlier_studies()
        for trial in journal.study.get_trials(deepcopy=False):
            self._weigh(trial, self._view.add(trial))
        for trial in journal.ended():
            self._learn(trial)

    def _learn_from_earlier_studies(self) -> None:
        """Show the sampler what was learnt when the study was made, whatever became of it since."""
        distributions = {name: distribution(axis) for name, axis in self._axes.items()}
        learnt = map(Learnt.of_plain, self.journal.facts.get(LEARNT, []))
        lessons = [lesson for each in learnt for lesson in each.lessons]
        for number, lesson in enumerate(lessons, start=-len(lessons)):
            trial = frozen(lesson, distributions)
            seen = self._view.learn(trial)
            trial.number = number
            self._learn(trial)
            self._weigh(trial, seen)

    @property
    def total(self) -> int:
        """Trials that the search is to have."""
        return self.spec.plan.search.trials

    def over(self, records: Mapping[int, TrialRecord], number: int | None) -> str:
        """Why no more trials are to begin; empty while they are. See `Ending.judge`."""
        return self._ending.judge(records, number)

    def propose(self, number: int, beside: str | None = None) -> TrialRecord:  # noqa: ARG002
        """The trial of the next free number, new in the journal.

        Raises:
            StudyError: a sampler of the user's own fails, or proposes what is not in the space.
        """
        sampler = make_sampler(self.spec, number, conditional=self._conditional)
        if (asked := self._view.ask(sampler)) != number:
            raise RuntimeError(f"expected to propose trial {number}, not {asked}")
        point, origin = self.choose_point(number, sampler)
        distributions = {name: distribution(self._axes[name]) for name in point}
        self._view.enter(number, point, distributions)
        config = self.spec.trial(number, lambda name, _: point[name]).plain()
        self.journal.begin(number, point, distributions, config, origin=origin)
        return TrialRecord(number, point, config, origin=origin)

    def choose_point(self, number: int, sampler: AnySampler) -> tuple[Point, str]:
        """Where a trial is to lie, and what that is called where no sampler proposed it."""
        if number < len(self.spec.start):
            start = self.spec.start[number]
            return dict(start.point), start.name
        draws = drawn(self._view, sampler, number, self.spec)
        return self._least_risky(sampler, self._believed(draws, number)), ""

    def ended(self, number: int) -> None:
        """Let the sampler see how a trial ended, or what it is worth that is paused."""
        trial = self.journal.frozen(number)
        if trial.state.is_finished():
            self._learn(trial)
        self._weigh(trial, self._view.update(trial))

    def _learn(self, trial: FrozenTrial) -> None:
        """Note whether a trial has failed, in the order of their ends."""
        if not is_blameless(trial):
            self._feasibility.add(trial.params, failed=has_failed(trial))

    def _weigh(self, trial: FrozenTrial, seen: FrozenTrial) -> None:
        """Hold a trial against the beliefs: as it ended, or as it stood when it was paused last."""
        if seen.state.is_finished() and not is_blameless(trial):
            self._beliefs.add(trial.number, tried(seen, self._minimize))

    def _believed(self, draws: Iterator[Point], number: int) -> Iterator[Point]:
        """A sampler's points, or for a share of the proposals others around the axes' defaults."""
        share = self._beliefs.share
        chance = np.random.default_rng(trial_seed(self.spec.plan.search.seed, number, "belief"))
        if not share or chance.random() >= share:
            return draws
        return (self._beliefs.around(point, self.spec.space, chance) for point in draws)

    def _least_risky(self, sampler: AnySampler, draws: Iterator[Point]) -> Point:
        """The first point whose risk is acceptable, or else the least risky one of a few."""
        if not is_swayed(sampler):
            draws = itertools.islice(draws, 1)
        best: tuple[float, Point] | None = None
        for point in itertools.islice(draws, DRAWS):
            risk = self._feasibility.risk(point) if is_swayed(sampler) else 0.0
            if best is None or risk < best[0]:
                best = (risk, point)
            if risk <= ACCEPTED_RISK:
                break
        if best is None:
            raise StudyError(f"the sampler '{self.spec.plan.search.sampler.name}' proposes no point")
        return best[1]

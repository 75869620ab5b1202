"""From a study and its journal to the next trial's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from gansearch.journal.journal import Journal
from gansearch.search import SAMPLERS
from gansearch.search.feasibility import Feasibility
from gansearch.search.history import History
from gansearch.search.samplers import UNSWAYED
from gansearch.study.config import trial_seed
from gansearch.study.records import TrialRecord
from gansearch.study.space import Axis, Choice, Int
from gansearch.study.spec import StudySpec

Point = dict[str, Any]

DRAWS = 10
"""How often a sampler is asked again where a proposal is likely to fail."""

ACCEPTED_RISK = 0.2
"""The probability of failure at which a proposal is taken without asking again."""


class Proposer:
    """Asks a sampler for points and writes each into the journal before anyone trains it.

    A proposal is a function of the study's seed, the trial's number and what the journal holds, so a
    resumed search proposes what an uninterrupted one would have. It enters the journal whole.

    The sampler looks at a copy of the trials in memory, where asking several times costs nothing on
    disk, and at no more of them than it says it can use (`History`), so that a proposal costs the same
    after thousands of trials. Of its draws the first is taken whose probability of failure is
    acceptable, or else the least risky one: `Feasibility` has learned it from the trials that a health
    rule or an error ended.
    """

    def __init__(self, spec: StudySpec, journal: Journal) -> None:
        self.spec = spec
        self.journal = journal
        self._axes = spec.space.axes()
        self._conditional = any(
            isinstance(option, dict | list)
            for axis in self._axes.values()
            if isinstance(axis, Choice)
            for option in axis.options.values()
        )
        self._history = History(journal.study.direction)
        self._view = optuna.create_study(storage=self._history, direction=journal.study.direction)
        self._feasibility = Feasibility(self._axes)
        trials = journal.study.get_trials(deepcopy=False)
        for trial in trials:
            self._view.add_trial(_as_seen(trial))
        ended = [(t.datetime_complete, t.number) for t in trials if t.datetime_complete is not None]
        for _, number in sorted(ended):
            self._learn(trials[number])

    @property
    def total(self) -> int:
        """Trials that the search is to have."""
        return self.spec.plan.search.trials

    def propose(self, number: int) -> TrialRecord:
        """The trial of the next free number, new in the journal."""
        return self._enter(*self._choose(number))

    def _choose(self, number: int) -> tuple[optuna.Trial, Point, dict[str, BaseDistribution]]:
        search = self.spec.plan.search
        seed = trial_seed(search.seed, number, "proposal")
        options = search.sampler.options
        sampler = SAMPLERS.build(search.sampler.name, options, seed, self._conditional)
        self._history.show(getattr(sampler, "history", None))
        self._view.sampler = sampler
        trial = self._view.ask()
        relative_space = sampler.infer_relative_search_space(self._view, self._seen(trial))
        best: tuple[float, Point, dict[str, BaseDistribution]] | None = None
        swayed = search.sampler.name not in UNSWAYED
        for _ in range(DRAWS):
            point, distributions = self._draw(trial, relative_space)
            risk = self._feasibility.risk(point) if swayed else 0.0
            if best is None or risk < best[0]:
                best = (risk, point, distributions)
            if risk <= ACCEPTED_RISK:
                break
        if best is None or trial.number != number:
            raise RuntimeError(f"expected to propose trial {number}, not {trial.number}")
        return trial, best[1], best[2]

    def ended(self, number: int) -> None:
        """Let the sampler see how a trial ended."""
        trial = self.journal.frozen(number)
        if trial.state.is_finished():
            self._learn(trial)
            seen = self._history.get_trial_id_from_study_id_trial_number(self._view._study_id, number)
            for key, value in trial.system_attrs.items():
                self._history.set_trial_system_attr(seen, key, value)
            for step, value in trial.intermediate_values.items():
                self._history.set_trial_intermediate_value(seen, step, value)
            self._history.set_trial_state_values(seen, trial.state, trial.values)

    def _learn(self, trial: FrozenTrial) -> None:
        failed = trial.state == TrialState.FAIL or any(v > 0 for v in trial.constraints.values())
        if not trial.user_attrs.get("blameless"):
            self._feasibility.add(trial.params, failed=failed)

    def _seen(self, trial: optuna.Trial) -> FrozenTrial:
        return self._history.get_trial(trial._trial_id)

    def _draw(
        self, trial: optuna.Trial, relative_space: dict[str, BaseDistribution]
    ) -> tuple[Point, dict[str, BaseDistribution]]:
        """One proposal, through the interface that all of Optuna's samplers have."""
        view, sampler, bare = self._view, self._view.sampler, self._seen(trial)
        relative = sampler.sample_relative(view, bare, relative_space)
        point: Point = {}
        distributions: dict[str, BaseDistribution] = {}

        def suggest(name: str, axis: Axis) -> Any:
            asked = distributions[name] = distribution(axis)
            if name in relative and relative_space[name] == asked:
                point[name] = relative[name]
            elif asked.single():
                point[name] = axis.ends()[0]
            else:
                point[name] = sampler.sample_independent(view, bare, name, asked)
            return point[name]

        self.spec.space.resolve(suggest)
        return point, distributions

    def _enter(
        self, trial: optuna.Trial, point: Point, distributions: Mapping[str, BaseDistribution]
    ) -> TrialRecord:
        for name, value in point.items():
            internal = distributions[name].to_internal_repr(value)
            self._history.set_trial_param(trial._trial_id, name, internal, distributions[name])
        config = self.spec.trial(trial.number, lambda name, _: point[name]).plain()
        self.journal.begin(trial.number, point, distributions, config)
        return TrialRecord(trial.number, point, config)


def distribution(axis: Axis) -> BaseDistribution:
    """An axis as Optuna knows it; a choice by its labels."""
    if isinstance(axis, Choice):
        return CategoricalDistribution(list(axis.options))
    if isinstance(axis, Int):
        return IntDistribution(axis.low, axis.high)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _as_seen(trial: FrozenTrial) -> FrozenTrial:
    """A trial of the journal as the sampler sees it: an interrupted one runs and has no reports yet."""
    ended = trial.state.is_finished()
    return optuna.trial.create_trial(
        state=trial.state if ended else TrialState.RUNNING,
        values=trial.values,
        params=trial.params,
        distributions=trial.distributions,
        system_attrs=trial.system_attrs,
        intermediate_values=trial.intermediate_values if ended else {},
    )

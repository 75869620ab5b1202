"""The trials of one search as its sampler sees them, and the points that it draws from them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from gansearch.journal.facts import CHANCES
from gansearch.search.contract import Past, Sampler, Tried
from gansearch.search.history import BLAMELESS, History, is_blameless
from gansearch.study.axes import Axis, Choice, Int
from gansearch.study.location import Point
from gansearch.study.space import Space

AnySampler = Sampler | BaseSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)


class View:
    """A copy of a search's trials in memory, where asking several times costs nothing on disk.

    Args:
        direction: whether small or large values are good.
        seed: of the search.
        now: a trial of the study as it is now, by number; it may have reported more than is shown.
    """

    def __init__(
        self,
        direction: StudyDirection,
        seed: int = 0,
        now: Callable[[int], FrozenTrial] | None = None,
    ) -> None:
        self._seed, self._now = seed, now
        self._told: dict[int, tuple[Any, Tried]] = {}  # what samplers are told, and of when
        self._before = 0  # trials of earlier studies
        self._minimize = direction == StudyDirection.MINIMIZE
        self._history = History(direction)
        self._study = optuna.create_study(storage=self._history, direction=direction)
        self._nobody = RandomSampler(seed=0)  # whom Optuna asks nothing

    @property
    def trials(self) -> list[FrozenTrial]:
        """The trials that the sampler is shown, which was asked last."""
        return self._study.get_trials(deepcopy=False)

    def learn(self, trial: FrozenTrial) -> FrozenTrial:
        """Show a trial of an earlier study, before any of the study's own; returns what is seen."""
        self._before += 1
        return self.add(trial)

    def add(self, trial: FrozenTrial) -> FrozenTrial:
        """Show the trial of the next number; returns what is seen of it."""
        seen = _as_seen(trial, self._minimize)
        self._study.add_trial(seen)
        return seen

    def ask(self, sampler: AnySampler) -> int:
        """Begin the trial of the next number, whose point a sampler is to propose."""
        self._history.show(history_of(sampler))
        self._study.sampler = sampler if isinstance(sampler, BaseSampler) else self._nobody
        return self._study.ask().number - self._before

    def draws(self, sampler: AnySampler, number: int, space: Space) -> Iterator[Point]:
        """A sampler's points for the trial that was begun last."""
        if isinstance(sampler, BaseSampler):
            return _optuna_draws(sampler, self._study, self._history.get_trial(self._id(number)), space)
        return sampler.draws(self.past(number), space)

    def past(self, number: int) -> Past:
        """What is shown for a trial that was begun, to a sampler that does not know Optuna."""
        return _Shown(self._study, self._id(number), number, self._seed, self._seen)

    def enter(self, number: int, point: Point, distributions: Mapping[str, BaseDistribution]) -> None:
        """Show at which point a trial runs."""
        for name, value in point.items():
            internal = distributions[name].to_internal_repr(value)
            self._history.set_trial_param(self._id(number), name, internal, distributions[name])

    def update(self, trial: FrozenTrial) -> FrozenTrial:
        """Show how a trial has ended, or what it was worth when it was paused; returns what is seen."""
        seen = _as_seen(trial, self._minimize)
        self._history.put(self._id(trial.number), seen)
        self._told.pop(trial.number, None)
        return seen

    def _seen(self, trial: FrozenTrial) -> Tried:
        """A trial that is shown, for a sampler that does not know Optuna."""
        number = trial.number - self._before
        newest = trial if number < 0 or self._now is None else self._now(number)
        when = trial.state, newest.state, len(newest.intermediate_values)
        of, told = self._told.get(number, (None, None))
        if told is None or of != when:
            told = tried(trial, self._minimize, self._before, newest)
            self._told[number] = when, told
        return told

    def _id(self, number: int) -> int:
        place = number + self._before
        return self._history.get_trial_id_from_study_id_trial_number(self._study._study_id, place)


def history_of(sampler: AnySampler) -> int | None:
    """How many ended trials a sampler is shown at most; Optuna's own are shown all of them."""
    if isinstance(sampler, BaseSampler):
        return getattr(sampler, "history", None)
    return sampler.history


def is_swayed(sampler: AnySampler) -> bool:
    """Whether a sampler is to keep away from where trials fail; Optuna's own are."""
    if isinstance(sampler, BaseSampler):
        return getattr(sampler, "swayed", True)
    return sampler.swayed


def _optuna_draws(
    sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial, space: Space
) -> Iterator[Point]:
    """Points for a trial, through the three methods that all of Optuna's samplers have."""
    relative_space = sampler.infer_relative_search_space(study, trial)
    while True:
        relative = sampler.sample_relative(study, trial, relative_space)

        def suggest(name: str, axis: Axis, relative: dict[str, Any] = relative) -> Any:
            asked = distribution(axis)
            if name in relative and relative_space[name] == asked:
                return relative[name]
            if asked.single():
                return axis.ends()[0]
            return sampler.sample_independent(study, trial, name, asked)

        yield space.point(suggest)


class _Shown:
    """What has been tried, for a sampler that does not know Optuna (`contract.Past`)."""

    def __init__(
        self,
        study: optuna.Study,
        asked: int,
        number: int,
        seed: int,
        seen: Callable[[FrozenTrial], Tried],
    ) -> None:
        self._study, self._asked, self.number, self.seed, self._seen = study, asked, number, seed, seen
        self.minimize = study.direction == StudyDirection.MINIMIZE

    @property
    def trials(self) -> list[Tried]:
        """All but the one that is asked for."""
        shown = self._study.get_trials(deepcopy=False)
        return [self._seen(trial) for trial in shown if trial._trial_id != self._asked]


def tried(
    trial: FrozenTrial, minimize: bool, before: int = 0, newest: FrozenTrial | None = None
) -> Tried:
    """A trial of Optuna's as a sampler sees it that does not know Optuna.

    `before`: how many trials of earlier studies have the first numbers. `newest`: the trial with all
    its reports, if it has more.
    """
    running, failed = not trial.state.is_finished(), has_failed(trial)
    curve = _bests(newest or trial, minimize)
    shown = curve if newest is None else _bests(trial, minimize)
    best = None if running else next(reversed(shown.values()), None)
    if trial.state == TrialState.COMPLETE:
        best = trial.value
    pruned = trial.state == TrialState.PRUNED and not failed
    return Tried(trial.number - before, dict(trial.params), running, best, failed, pruned, curve)


def has_failed(trial: FrozenTrial) -> bool:
    """Whether a health rule or an error ended a trial, or it completed without a finite objective."""
    violated = any(v > 0 for v in trial.constraints.values())
    return trial.state == TrialState.FAIL or violated or trial.user_attrs.get(FAILED, False)


def distribution(axis: Axis) -> BaseDistribution:
    """An axis as Optuna knows it; a choice by its labels."""
    if isinstance(axis, Choice):
        return CategoricalDistribution(list(axis.options))
    if isinstance(axis, Int):
        return IntDistribution(axis.low, axis.high)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


FAILED = "failed"
"""The attribute of a trial that is shown with its value although a health rule ended it."""


def _as_seen(trial: FrozenTrial, minimize: bool) -> FrozenTrial:
    """A trial of the journal as the sampler sees it.

    A trial is worth its best report, however it ended: one that a health rule ended after it had a
    value is shown with that value, like one that completed, and only `Feasibility` learns from its end.
    One that failed without a value violates a constraint, by which it ranks behind all others. Pruned
    trials TPE ranks by how far they came and then by their last intermediate value: these are shown as
    the best so far, by which a pruner judges. One that is, or was, paused is shown like a pruned one,
    as it stood when it was paused last. An interrupted one runs, and has no reports yet.
    """
    ended, paused = trial.state.is_finished(), paused_at(trial)
    bests = _bests(trial, minimize, up_to=None if ended else paused)
    best = next(reversed(bests.values()), None)
    collapsed = ended and best is not None and any(v > 0 for v in trial.constraints.values())
    state = trial.state if ended else TrialState.PRUNED if paused else TrialState.RUNNING
    state = TrialState.COMPLETE if collapsed else state
    marks = {FAILED: collapsed, BLAMELESS: is_blameless(trial)}
    value = best if collapsed or state == TrialState.PRUNED else trial.value
    return optuna.trial.create_trial(
        state=state,
        value=value,
        params=trial.params,
        distributions=trial.distributions,
        user_attrs={key: True for key, marked in marks.items() if marked},
        constraints={} if collapsed else trial.constraints,
        intermediate_values=bests if ended or paused else {},
    )


def paused_at(trial: FrozenTrial) -> int | None:
    """The step at which a trial was paused last."""
    chances = trial.user_attrs.get(CHANCES)
    return chances[-1]["step"] if chances else None


def _bests(trial: FrozenTrial, minimize: bool, up_to: int | None = None) -> dict[int, float]:
    """The best objective so far at each report that has a finite one, by step."""
    better = min if minimize else max
    told = [(s, v) for s, v in sorted(trial.intermediate_values.items()) if math.isfinite(v)]
    finite = {step: value for step, value in told if up_to is None or step <= up_to}
    return dict(zip(finite, itertools.accumulate(finite.values(), better), strict=True))

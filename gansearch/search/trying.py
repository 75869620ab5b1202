"""Trying a study's sampler and pruner out before there is a study: nothing is kept."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from numbers import Integral
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from gansearch.errors import RAISED, GansearchError, StudyError
from gansearch.journal.encoding import DIRECTION
from gansearch.search import PRUNERS, SAMPLERS
from gansearch.search.pruners import Decision, Paused, SecondChances, Verdict, Wake
from gansearch.search.stopping import FEWEST
from gansearch.search.view import AnySampler, View, distribution, history_of, is_swayed
from gansearch.study.axes import has_default
from gansearch.study.config import trial_seed
from gansearch.study.location import NotInSpace, Point, placed
from gansearch.study.plan import Sampler
from gansearch.study.records import Outcome, Report, TrialRecord, count
from gansearch.study.registry import is_own
from gansearch.study.spec import StudySpec


def make_sampler(spec: StudySpec, number: int, *, conditional: bool) -> AnySampler:
    """The sampler that is to propose a trial.

    Raises:
        StudyError: one of the user's own cannot be made, or lacks what a sampler has.
    """
    part = spec.plan.search.sampler
    seed = trial_seed(spec.plan.search.seed, number, "proposal")
    with failing(f"the sampler '{part.name}', made for trial {number},"):
        sampler: AnySampler = SAMPLERS.build(part.name, part.options, seed, conditional)
    if not isinstance(sampler, BaseSampler):
        lacking = [key for key in ("draws", "history", "swayed") if not hasattr(sampler, key)]
        if lacking:
            raise StudyError(f"the sampler '{part.name}' has no {', no '.join(lacking)}")
    return sampler


def drawn(view: View, sampler: AnySampler, number: int, spec: StudySpec) -> Iterator[Point]:
    """A sampler's points for a trial, each seen to lie in the space.

    Raises:
        StudyError: one of the user's own fails, or proposes what is not in the space.
    """
    what = f"the sampler '{spec.plan.search.sampler.name}'"
    try:
        with failing(f"{what}, asked for trial {number},"):
            for point in view.draws(sampler, number, spec.space):
                # Optuna's samplers were asked for each value of an axis by itself.
                yield point if isinstance(sampler, BaseSampler) else placed(point, spec.space)
    except NotInSpace as error:
        raise StudyError(f"{what} proposes for trial {number} what cannot be: {error}") from error


@contextmanager
def failing(asked: str) -> Iterator[None]:
    """Have whatever a part of the user's raises told with its line, after what it was `asked`."""
    try:
        yield
    except (GansearchError, NotInSpace):
        raise
    except RAISED as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        assert trace is not None
        line = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
        words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise StudyError(f"{asked} fails: {words} ({line})") from error


Guard = Callable[[str], AbstractContextManager[None]]
"""Sees to it that what is named leaves the process as it was; raises `GansearchError`."""


def _trusting(_: str) -> AbstractContextManager[None]:
    return nullcontext()


def try_plan(spec: StudySpec, guard: Guard = _trusting) -> list[str]:
    """What is wrong with a study's sampler and pruner: two proposals are asked for, and a trial judged.

    Those of the search's trials count alone: where it has none, or all are start points, no sampler
    is ever asked. A sampler of ours is not tried: the tests do that, and it takes a second to load.
    """
    plan = spec.plan
    attempts: dict[str, Callable[[StudySpec], None]] = {f"the pruner '{plan.pruner.name}'": _try_pruner}
    if is_own(plan.search.sampler.name) and plan.search.trials > len(spec.start):
        attempts[f"the sampler '{plan.search.sampler.name}'"] = _try_sampler
    mistakes = []
    for whose, attempt in attempts.items():
        try:
            with guard(whose):
                attempt(spec)
        except GansearchError as error:
            mistakes.append(str(error))
    return mistakes


def _try_sampler(spec: StudySpec) -> None:
    """Ask for a point where nothing has been tried, and for one where something has."""
    axes = spec.space.axes()
    view = View(DIRECTION[spec.goal], spec.plan.search.seed)
    for number in range(2):
        sampler = make_sampler(spec, number, conditional=True)
        with failing(f"the sampler '{spec.plan.search.sampler.name}', asked for trial {number},"):
            view.ask(sampler)
        point = next(drawn(view, sampler, number, spec), None)
        if point is None:
            raise StudyError(f"the sampler '{spec.plan.search.sampler.name}' proposes no point")
        distributions = {name: distribution(axes[name]) for name in point}
        view.enter(number, point, distributions)
        trial = optuna.trial.create_trial(
            state=TrialState.COMPLETE,
            value=1.0,
            params=point,
            distributions=distributions,
            intermediate_values={spec.example().budget.steps: 1.0},
        )
        trial.number, trial.datetime_complete = number, datetime.datetime.now(datetime.UTC)
        view.update(trial)


def _try_pruner(spec: StudySpec) -> None:
    """Have a trial judged: at a report without an objective, at one with it, and at its end."""
    part, config = spec.plan.pruner, spec.example()
    pruner: Any = PRUNERS.build(part.name, part.options, config)
    if not callable(getattr(pruner, "judge", None)):
        raise StudyError(f"the pruner '{part.name}' has no judge")
    budget, metric = config.budget, config.objective.metric
    trial = TrialRecord(0, {}, config.plain())
    steps = list(islice(range(budget.report_every, budget.steps, budget.report_every), 2))
    for step, value in zip([*steps, budget.steps], [math.nan, 1.0, 1.0], strict=False):
        outcome = Outcome.COMPLETED if step == budget.steps else None
        report = Report(step, step * config.batch_size, 0.0, {metric: value}, 0.0, outcome)
        trial.reports.append(report)
        with failing(f"the pruner '{part.name}', asked about trial 0 at step {step},"):
            verdict = pruner.judge(trial, report)
        check_verdict(verdict, pruner, part.name)


def check_verdict(verdict: Any, pruner: object, name: str) -> Verdict:
    """A pruner's answer, as far as it is one; raises `StudyError`."""
    known = tuple(Decision)
    if not (isinstance(verdict, Verdict) and verdict.decision in known) or not isinstance(
        verdict.reason, str
    ):
        raise StudyError(f"the pruner '{name}' answers with {verdict!r}, which is no Verdict")
    if verdict.decision is Decision.PAUSE and not isinstance(pruner, SecondChances):
        why = "it has no `choose` to say who goes on, so it must answer with go on or stop"
        raise StudyError(f"the pruner '{name}' answers with pause: {why}")
    return verdict


def check_wake(wake: Any, paused: Sequence[TrialRecord], name: str) -> Wake | None:
    """Which of the paused trials, by rising numbers, a pruner has go on, as far as it is one; raises
    `StudyError`.
    """
    if wake is None:
        return None
    if not isinstance(wake, Wake) or not isinstance(wake.reason, str):
        raise StudyError(f"the pruner '{name}' chooses {wake!r}, which is no Wake")
    number: Any = wake.number
    if not isinstance(number, Integral) or number not in Paused(paused):
        raise StudyError(f"the pruner '{name}' wakes trial {wake.number}, which is not paused")
    return wake


def idle_plan(spec: StudySpec) -> list[str]:
    """What a plan says of its search and pruner that changes nothing, in words with the mend."""
    return [*_idle_sampler(spec), *_idle_limit(spec), *_idle_pruner(spec)]


def _idle_sampler(spec: StudySpec) -> Iterator[str]:
    """What it is told that it never comes to use."""
    search, believed = spec.plan.search, any(map(has_default, spec.space.axes().values()))
    sampler, trials = search.sampler, search.trials
    asked = trials - len(spec.start)
    if asked <= 0 or is_own(sampler.name):
        return
    random = sampler.options.get("startup_trials", 0)
    usual = SAMPLERS.options(sampler.name).model_fields.get("startup_trials")
    said = usual is not None and random != usual.default
    if said and random >= trials and not search.learn_from:  # an earlier study's trials count, too
        yield (
            f"search.sampler.startup_trials is {random:,}, and the search has "
            f"{count(trials, 'trial')}: {sampler.name} proposes each as if it knew of none: lower it, "
            "or ask for more trials"
        )
    if sampler.belief not in (Sampler().belief, "none") and not believed:
        yield (
            f"search.sampler.belief is {sampler.belief}, and no axis has a default to believe in: "
            "give one to those of which you know something, {log: [1e-5, 1e-2], default: 2e-4}, or "
            "drop it"
        )
    if search.learn_from and not (believed and sampler.belief != "none"):
        made = make_sampler(spec, 0, conditional=False)
        if not is_swayed(made) and history_of(made) is None:
            yield (
                f"search.learn_from changes nothing: the sampler {sampler.name} learns of no trial: "
                "take another, or drop it"
            )


def _idle_limit(spec: StudySpec) -> Iterator[str]:
    """A limit that so few trials never come to."""
    search = spec.plan.search
    if search.budget and search.budget.least_chance is not None and search.trials <= FEWEST:
        yield (
            f"search.budget.least_chance is said, and the search has {count(search.trials, 'trial')}: "
            f"nothing is judged before {FEWEST} have ended: drop it, or ask for more trials"
        )


def _idle_pruner(spec: StudySpec) -> Iterator[str]:
    """What it is told by which it stops no trial."""
    pruner, trials, budget = spec.plan.pruner, spec.plan.search.trials, spec.example().budget
    if not trials or is_own(pruner.name):
        return
    others, first = pruner.options.get("min_trials"), pruner.options.get("min_steps")
    usual = PRUNERS.options(pruner.name).model_fields
    if others is not None and others != usual["min_trials"].default and others >= trials:
        yield (
            f"pruner.min_trials is {others:,}, and a trial has {trials - 1:,} others: {pruner.name} "
            "stops none: lower it, or ask for more trials"
        )
    last = (budget.steps - 1) // budget.report_every * budget.report_every
    if first is not None and first > last:
        yield (
            f"pruner.min_steps is {first:,}, and the last report before a trial's end is at step "
            f"{last:,}: {pruner.name} stops none: lower it, or budget.report_every"
        )

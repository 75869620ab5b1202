"""The part of `gansearch.testing` that is about pruners, samplers, metrics and optimizers."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import math
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import optuna
import torch
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor, nn, optim

from gansearch.metrics import FEATURES
from gansearch.metrics.contract import Activations, Metric, to_arrays, to_tensors
from gansearch.search.contract import Sampler
from gansearch.search.pruners import Decision, Pruner, SecondChances, Verdict, Wake
from gansearch.search.view import View, distribution, history_of, is_swayed
from gansearch.study.axes import Choice, Float, Int
from gansearch.study.config import TrialConfig
from gansearch.study.evaluation import Budget, Objective
from gansearch.study.location import Point, placed
from gansearch.study.records import Goal, Outcome, Report, TrialRecord
from gansearch.study.space import Space

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
        _scatter(seed)
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


def _scatter(seed: int) -> None:
    """Set every global generator of random numbers to something else."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


FLAT = Space({"lr": Float(1e-5, 1e-1, log=True), "beta": Float(0.0, 1.0), "depth": Int(1, 4)})
NESTED = Space(
    {
        "lr": Float(1e-5, 1e-1, log=True),
        "loss": Choice({"hinge": "hinge", "wasserstein": {"weight": Float(0.1, 100, log=True)}}),
        "batch": Choice({16: 16, 64: 64}),
    }
)


def check_sampler(
    factory: Callable[[int, bool], Sampler | BaseSampler], *, sizes: tuple[int, ...] = (0, 1, 12, 40)
) -> None:
    """A sampler: points of the space that follow from its seed and the past alone.

    Args:
        factory: makes it from (seed, conditional); with its options bound, if it needs some.
        sizes: how many trials it is shown: some completed, pruned, failed, without a value or running,
            in a space with axes that exist only under an option and in one without.
    """
    sampler = factory(0, True)
    history, swayed = history_of(sampler), is_swayed(sampler)
    assert history is None or (type(history) is int and history > 0), (
        f"history must be None or a whole number above 0, not {history!r}"
    )
    assert isinstance(swayed, bool), f"swayed must be True or False, not {swayed!r}"
    for space, goal, size in itertools.product((FLAT, NESTED), GOALS, sizes):
        points = _proposed(factory, 1, space, goal, size)
        _scatter(size)
        again = _proposed(factory, 1, space, goal, size)
        assert points == again, f"one seed and one past ({size} trials) must give the same points"
    for space in (FLAT, NESTED):
        firsts = [_proposed(factory, seed, space, "min", 3)[0] for seed in range(8)]
        assert any(first != firsts[0] for first in firsts), "eight seeds give one and the same point"


def _proposed(
    factory: Callable[[int, bool], Sampler | BaseSampler],
    seed: int,
    space: Space,
    goal: Goal,
    size: int,
) -> list[Point]:
    """The first points that a new sampler draws after so many trials."""
    view = View(StudyDirection.MINIMIZE if goal == "min" else StudyDirection.MAXIMIZE, seed)
    trials = [_some_trial(number, space) for number in range(size)]
    for trial in trials:
        view.add(trial)
    sampler = factory(seed, space is NESTED)
    number = view.ask(sampler)
    before = repr(view.trials[:-1])
    try:
        points = list(itertools.islice(view.draws(sampler, number, space), 3))
        assert points, "draws yields no point"
        placed_points = [placed(point, space) for point in points]
    except AssertionError:
        raise
    except Exception as error:
        what = f"draws fails after {size} trials: {type(error).__name__}: {error}"
        raise AssertionError(what) from error
    assert repr(view.trials[:-1]) == before, "draws must not change what it is shown"
    return placed_points


def _some_trial(number: int, space: Space) -> FrozenTrial:
    """In nine: four completed, one of them late; pruned with and without a value; failed; running."""
    chance, axes = random.Random(number), space.axes()

    def suggest(_: str, axis: Any) -> Any:
        if isinstance(axis, Choice):
            return chance.choice(list(axis.options))
        if isinstance(axis, Int):
            return chance.randint(axis.low, axis.high)
        return axis.low * (axis.high / axis.low) ** chance.random() if axis.log else chance.random()

    point = space.point(suggest)
    kind = number % 9
    state = TrialState.COMPLETE if kind < 4 else TrialState.PRUNED
    state = {6: TrialState.FAIL, 7: TrialState.RUNNING}.get(kind, state)
    return optuna.trial.create_trial(
        state=state,
        value=chance.uniform(0, 10) if state == TrialState.COMPLETE else None,
        params=point,
        distributions={name: distribution(axes[name]) for name in point},
        intermediate_values={10: chance.uniform(0, 10)} if kind not in (5, 6) else {},
        constraints={"healthy": 1.5} if kind == 8 else None,
    )


def check_metric(factory: Callable[[], Metric]) -> None:
    """A metric: one plain float that follows from the samples; NaN, and no error, where they are not
    finite.

    A metric whose value depends on the order of its samples says so by an attribute `ordered = True`.
    """
    metric = factory()
    assert metric.goal in GOALS, f"goal must be 'min' or 'max', not {metric.goal!r}"
    assert isinstance(metric.compares_real, bool), "compares_real must be True or False"
    features = metric.features
    assert features is None or features in FEATURES.names or ":" in features, (
        f"features must be None or one of {', '.join(FEATURES.names)}, not {features!r}"
    )
    pixels = features is None
    least = getattr(metric, "least_samples", 0)
    assert isinstance(least, int), f"least_samples must be a whole number, not {least!r}"
    count = max(500, least)
    real, fake = _activations(count + 100, pixels, 0), _activations(count, pixels, 1)
    if features == "mixture":
        real, fake = _of_mixture(real), _of_mixture(fake)
    if getattr(metric, "conditional", False):
        real, fake = _labelled(real), _labelled(fake)
    before = copy.deepcopy((real, fake))
    known = metric.of_real(real)
    assert isinstance(known, dict), f"of_real must return a dict, not {type(known).__name__}"
    for name, tensor in known.items():
        assert isinstance(tensor, Tensor), f"of_real: '{name}' must be a tensor, not {tensor!r}"
    known = to_tensors(to_arrays(known))  # as every trial gets it

    _scatter(0)
    value = _value(metric, fake, known)
    assert math.isfinite(value), f"ordinary samples give {value}"
    _scatter(1)
    assert _value(metric, fake, known) == value, "the same samples must give the same value"
    assert _value(factory(), fake, known) == value, "a new one must give the same value"
    for name, old, new in zip(("real", "fake"), before, (real, fake), strict=True):
        assert _equal(old, new), f"a metric must not change the {name} activations in place"
    if not getattr(metric, "ordered", False):
        order = torch.from_numpy(np.random.RandomState(0).permutation(len(fake.features)))
        mixed = _value(metric, _each(fake, lambda tensor: tensor[order]), known)
        assert math.isclose(mixed, value, rel_tol=1e-4, abs_tol=1e-6), (
            f"another order of the samples gives {mixed} for {value}: say `ordered = True` if it may"
        )
    if not pixels:
        broken = _value(metric, _each(fake, _with_nan), known)
        assert math.isnan(broken), f"samples that are not finite must give NaN, not {broken}"
    if metric.compares_real and metric.goal == "min" and getattr(metric, "judges_quality", True):
        far = _value(metric, _labelled(_activations(count, pixels, 2, far=True)), known)
        assert far > value, (
            f"samples far from the real ones ({far}) must be worse than near ones ({value}): "
            "say `judges_quality = False` if they may not be"
        )
    if family := getattr(metric, "family", None):
        metrics = [metric, factory()]
        shared = to_tensors(to_arrays(family.of_real(metrics, real)))
        both = family.values(metrics, fake, shared)
        assert list(both) == [value, value], f"its family gives {list(both)} for twice {value}"
    with contextlib.suppress(ValueError):  # of a single sample, whose value need not be finite
        _value(metric, _each(fake, lambda tensor: tensor[:1]), known)


def _of_mixture(seen: Activations) -> Activations:
    """The same as distances from equal modes, as the extractor `mixture` gives them."""
    distances = seen.features.abs()
    return Activations(distances, torch.full_like(distances, 1 / distances.shape[1]))


def _value(metric: Metric, fake: Activations, known: dict[str, Tensor]) -> float:
    value = metric(fake, known)
    assert type(value) is float, f"a metric must return a float, not {type(value).__name__} ({value!r})"
    return value


def _activations(count: int, pixels: bool, seed: int, *, far: bool = False) -> Activations:
    """Samples of one distribution, or of another that lies apart."""
    draws = torch.Generator().manual_seed(seed)
    if pixels:
        shape, low, high = (count, 3 * 8 * 8), (200 if far else 0), 256
        return Activations(torch.randint(low, high, shape, generator=draws, dtype=torch.uint8), None)
    features = torch.randn(count, 16, generator=draws) + (5.0 if far else 0.0)
    return Activations(features, (2 * features[:, :10]).softmax(1))


def _labelled(seen: Activations) -> Activations:
    return seen._replace(labels=torch.arange(len(seen.features)) % 10)


def _each(seen: Activations, change: Callable[[Tensor], Tensor]) -> Activations:
    changed = Activations(change(seen.features), change(_probabilities(seen)))
    if seen.labels is None:
        return changed
    return changed._replace(labels=change(seen.labels.double()).nan_to_num().long())


def _probabilities(seen: Activations) -> Any:
    return seen.features[:, :0] if seen.probabilities is None else seen.probabilities


def _with_nan(tensor: Tensor) -> Tensor:
    changed = tensor.clone()
    changed[len(changed) // 2] = math.nan
    return changed


def _equal(left: Activations, right: Activations) -> bool:
    return torch.equal(left.features, right.features) and torch.equal(
        _probabilities(left), _probabilities(right)
    )


def check_optimizer(factory: Callable[[Iterable[nn.Parameter]], optim.Optimizer]) -> None:
    """An optimizer: takes every parameter, descends, goes on exactly from its state, hides no NaN."""
    parameters = _parameters()
    optimizer = factory(iter(parameters))  # as `network.parameters()` is: to be read once
    assert isinstance(optimizer, optim.Optimizer), f"{optimizer!r} is no torch.optim.Optimizer"
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in parameters}, "it must take every parameter, once"
    assert all("lr" in group for group in optimizer.param_groups), "its groups must have a key 'lr'"

    begun = _loss(parameters).item()
    _descend(optimizer, parameters, 50)
    assert all(p.isfinite().all() for p in parameters), "a parameter is not finite after 50 steps"
    assert _loss(parameters).item() < begun, "50 steps do not lower a loss that is a bowl"

    twins = _parameters()
    _scatter(7)
    twin = factory(iter(twins))
    _descend(twin, twins, 25)
    state = _stored(twin.state_dict())
    resumed = factory(iter(twins))
    resumed.load_state_dict(state)
    _descend(resumed, twins, 25)
    for parameter, other in zip(parameters, twins, strict=True):
        assert torch.equal(parameter, other), (
            "25 steps, a state_dict and 25 more must be 50 steps to the last bit"
        )

    parameters[0].grad = torch.full_like(parameters[0], math.nan)
    for parameter in parameters[1:]:
        parameter.grad = None  # of a part of the network that the loss did not reach
    optimizer.step()
    assert not parameters[0].isfinite().all(), (
        "a gradient of NaN must show in the weights: a study is to see that training diverged"
    )


def _parameters() -> list[nn.Parameter]:
    draws = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(*shape, generator=draws)) for shape in ((4, 3), (5,), (1, 2, 2))]


def _loss(parameters: list[nn.Parameter]) -> Tensor:
    return torch.stack([(parameter - 3).square().sum() for parameter in parameters]).sum()


def _descend(optimizer: optim.Optimizer, parameters: list[nn.Parameter], steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        _loss(parameters).backward()
        optimizer.step()


def _stored(state: dict[str, Any]) -> Any:
    """A state as a checkpoint gives it back; raises `AssertionError` where it does not."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    try:
        return torch.load(file, weights_only=True)
    except Exception as error:
        raise AssertionError(f"its state_dict cannot be read from a checkpoint: {error}") from error

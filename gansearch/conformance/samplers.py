"""A sampler proposes points that follow from its seed and the past."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from gansearch.journal.encoding import DIRECTION
from gansearch.search.contract import Sampler
from gansearch.search.view import View, distribution, history_of, is_swayed
from gansearch.study.axes import Choice, Float, Int
from gansearch.study.location import Point, placed
from gansearch.study.records import Goal
from gansearch.study.space import Space
from gansearch.training.randomness import seed_everything

GOALS: tuple[Goal, ...] = ("min", "max")

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
        seed_everything(size)
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
    view = View(DIRECTION[goal], seed)
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

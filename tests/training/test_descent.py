"""Schedules, clipped gradients and lazy penalties: each does what it says and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gansearch.study.networks import Optimizer, Schedule
from gansearch.training.descent import Descent, set_pace
from gansearch.training.optimizers import OPTIMIZERS

BARE = {"name": "mlp", "depth": 1, "width": 16, "norm": "none"}


def weights(trainer):
    networks = (trainer.generator, trainer.discriminator)
    return [value.clone() for network in networks for value in network.state_dict().values()]


def run_out(trainer):
    while not trainer.finished:
        trainer.advance()
    return trainer


def same(left, right):
    return all(torch.equal(a, b) for a, b in zip(weights(left), weights(right), strict=True))


# Schedules


def test_a_schedule_without_anything_changes_nothing():
    assert [Schedule().factor(step, 7) for step in range(7)] == [1.0] * 7


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [1, 0.75, 0.5, 0.25]),
        ({"name": "linear", "end": 0.2}, [1, 0.8, 0.6, 0.4]),
        ("cosine", [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        ({"name": "constant", "warmup": 0.5}, [0.5, 1, 1, 1]),
        ({"name": "constant", "warmup": 0.5, "start": 0.2}, [0.6, 1, 1, 1]),
        ({"name": "linear", "warmup": 0.5}, [0.5, 1, 1, 0.5]),
    ],
)
def test_schedules_of_four_steps(schedule, expected):
    found = [Schedule.model_validate(schedule).factor(step, 4) for step in range(4)]
    assert found == pytest.approx(expected)


@settings(deadline=None)
@given(
    name=st.sampled_from(["constant", "linear", "cosine"]),
    end=st.floats(0, 1),
    warmup=st.floats(0, 0.99),
    start=st.floats(0, 1),
    steps=st.integers(1, 500),
)
def test_a_schedule_stays_between_its_ends(name, end, warmup, start, steps):
    schedule = Schedule(name=name, end=end, warmup=warmup, start=start)
    factors = [schedule.factor(step, steps) for step in range(steps)]
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors)
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


def moved(side, steps, budget, gradient=1.0):
    """Where a number goes from 0, under a gradient that stays."""
    number = torch.nn.Parameter(torch.zeros(1))
    part = Optimizer.model_validate(side)
    optimizer = OPTIMIZERS.build(part.name, part.options, [number])
    descent = Descent(optimizer, [number], part, budget)
    for step in range(steps):
        number.grad = torch.full((1,), gradient)
        descent.step(step)
    return number.item()


def test_the_learning_rate_is_the_schedule_s():
    sgd = {"name": "sgd", "lr": 0.1}
    assert moved(sgd | {"schedule": "linear"}, 4, 4) == pytest.approx(-0.1 * (1 + 0.75 + 0.5 + 0.25))
    assert moved(sgd | {"schedule": "constant"}, 4, 4) == moved(sgd, 4, 4)


@pytest.mark.parametrize(("gradient", "expected"), [(3.0, 0.5), (0.4, 0.4)])
def test_gradients_are_clipped_by_their_norm(gradient, expected):
    sgd = {"name": "sgd", "lr": 1.0, "clip": 0.5}
    assert moved(sgd, 1, 1, gradient) == pytest.approx(-expected, rel=1e-5)


def test_clipping_hides_no_nan():
    assert math.isnan(moved({"name": "sgd", "lr": 1.0, "clip": 0.5}, 1, 1, math.nan))
    assert not math.isfinite(moved({"name": "sgd", "lr": 1.0, "clip": 0.5}, 1, 1, math.inf))


def test_the_reported_gradient_is_the_one_before_clipping(trainer):
    clipped = trainer(optimizer={"generator": {"clip": 1e-6}, "discriminator": {"clip": 1e-6}})
    [report] = [clipped.advance()]
    assert report.metrics["g_grad_norm"] > 1e-4
    assert report.metrics["d_grad_norm"] > 1e-4


def test_the_penalty_s_weight_is_the_schedule_s(trainer):
    real = torch.rand(16, 1, 8, 8)
    penalty = {"name": "r1", "weight": 3.0}
    plain = trainer(loss={"name": "hinge", "penalty": penalty}, discriminator=BARE)
    rising = {"name": "linear", "warmup": 0.5, "end": 0.2}
    scheduled = trainer(
        loss={"name": "hinge", "penalty": penalty | {"schedule": rising}}, discriminator=BARE
    )
    whole = plain._penalise(real, real, None).item()
    for step, factor in [(0, 0.1), (4, 0.5), (10, 1.0), (15, 0.6)]:
        scheduled.step = step
        assert scheduled._penalise(real, real, None).item() == pytest.approx(factor * whole)


# Lazy penalties


@pytest.mark.parametrize("name", ["adam", "rmsprop", "adamw"])
@pytest.mark.parametrize("every", [1, 2, 4, 16])
def test_one_update_more_goes_as_far_and_remembers_as_much(name, every):
    """Karras et al. 2020, appendix B: under a gradient that stays, k + 1 updates are k of before."""
    numbers = [torch.nn.Parameter(torch.zeros(1, dtype=torch.float64)) for _ in range(2)]
    options = {"lr": 1e-3} | ({"weight_decay": 0.0} if name == "adamw" else {})
    plain, paced = (OPTIMIZERS.build(name, options, [number]) for number in numbers)
    set_pace(paced, every)
    more = every + 1 if every > 1 else every
    rounds = 40
    for count, number, optimizer in zip((every, more), numbers, (plain, paced), strict=True):
        for _ in range(rounds * count):
            number.grad = torch.ones_like(number)
            optimizer.step()
    # RMSprop starts with an average of 0, and is faster for as long as that lasts.
    near = 1e-6 if name != "rmsprop" else 0.05
    assert numbers[1].item() == pytest.approx(numbers[0].item(), rel=near)
    for number, optimizer in zip(numbers, (plain, paced), strict=True):
        number.grad = torch.zeros_like(number)
        for _ in range(every if optimizer is plain else more):
            optimizer.step()
    key = "square_avg" if name == "rmsprop" else "exp_avg"
    kept = [
        optimizer.state[n][key].item() for n, optimizer in zip(numbers, (plain, paced), strict=True)
    ]
    assert kept[1] == pytest.approx(kept[0], rel=1e-3)


def test_a_lazy_penalty_sets_back_its_training_s_discriminator_alone(trainer):
    often, lazy = (
        trainer(loss={"name": "hinge", "penalty": {"name": "r1", "every": every}}, discriminator=BARE)
        for every in (1, 4)
    )
    often.advance(), lazy.advance()
    for side, share in (("d_optimizer", 4 / 5), ("g_optimizer", 1.0)):
        before, after = (each.state()[side]["param_groups"][0] for each in (often, lazy))
        assert after["lr"] == pytest.approx(share * before["lr"])
        assert after["betas"] == pytest.approx([beta**share for beta in before["betas"]])


def test_plain_gradient_descent_keeps_its_pace():
    number = torch.nn.Parameter(torch.zeros(1))
    optimizer = OPTIMIZERS.build("sgd", {"lr": 0.1, "momentum": 0.9}, [number])
    set_pace(optimizer, 4)
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert optimizer.param_groups[0]["momentum"] == 0.9


SGD = {"generator": {"name": "sgd", "lr": 0.05}, "discriminator": {"name": "sgd", "lr": 0.05}}


def lazily(trainer, every, weight=0.1, **more):
    penalty = {"name": "r1", "weight": weight, "every": every}
    loss = {"name": "hinge", "penalty": penalty}
    return trainer(loss=loss, optimizer=SGD, discriminator=BARE, **more)


def test_a_lazy_penalty_changes_nothing_but_itself(trainer):
    """With weight 0 the training is that without a penalty, to the last bit."""
    none = run_out(trainer(loss={"name": "hinge"}, optimizer=SGD, discriminator=BARE))
    assert same(none, run_out(lazily(trainer, 4, weight=0.0)))
    assert not same(none, run_out(lazily(trainer, 4)))
    assert same(run_out(lazily(trainer, 1)), run_out(lazily(trainer, 1)))


def test_a_lazy_penalty_comes_every_so_many_updates_and_as_many_times_as_strong(trainer, monkeypatch):
    for turns in (1, 2):
        lazy = lazily(trainer, 3, discriminator_steps=turns)
        seen = []
        original = lazy._penalty
        lazy._penalty = lambda *args, lazy=lazy, original=original, seen=seen: (
            seen.append((lazy.batch_number, original(*args).item())) or original(*args)
        )
        lazy.advance()
        assert len(seen) == -(-5 * turns // 3)
    with torch.no_grad():
        factor = lazily(trainer, 3)
        real = torch.rand(16, 1, 8, 8)
    once = lazily(trainer, 1)
    torch.testing.assert_close(
        factor._penalise(real, real, None), 3 * once._penalise(real, real, None), rtol=1e-6, atol=0
    )


def test_the_reported_loss_holds_a_lazy_penalty_in_the_mean(trainer):
    """At a learning rate of next to nothing every step has the same penalty."""
    still = {side: {"name": "sgd", "lr": 1e-9} for side in SGD}
    found = {}
    for every in (1, 5):
        penalty = {"name": "r1", "weight": 50.0, "every": every}
        made = trainer(loss={"name": "hinge", "penalty": penalty}, optimizer=still, discriminator=BARE)
        found[every] = made.advance().metrics["d_loss"]
    bare = trainer(loss={"name": "hinge"}, optimizer=still, discriminator=BARE).advance()
    assert found[5] == pytest.approx(found[1], rel=0.05)
    assert found[1] > bare.metrics["d_loss"] * 1.01


def test_a_lazy_penalty_in_micro_batches_is_that_of_the_whole_batch(trainer):
    whole, split = lazily(trainer, 2, generator=BARE), lazily(trainer, 2, generator=BARE)
    split.split(4)
    run_out(whole), run_out(split)
    for a, b in zip(weights(whole), weights(split), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)

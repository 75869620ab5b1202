"""All randomness of a training is its own, whatever else its process does; and deterministic
algorithms: asked for, had, and given back to the next trial of the process.
"""

from __future__ import annotations

import copy
import os
import random
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from gansearch.losses.r1 import R1
from gansearch.networks.mlp import Generator
from gansearch.training import checkpoint
from gansearch.training.prepare import prepare
from gansearch.training.randomness import deterministic_algorithms, random_states
from gansearch.training.trainer import Trainer

CUDNN = torch.backends.cudnn


def switches():
    return torch.get_deterministic_debug_mode(), CUDNN.deterministic, CUDNN.benchmark


@pytest.fixture(autouse=True)
def _untouched(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = switches()
    yield
    CUDNN.deterministic, CUDNN.benchmark = before[1:]
    torch.set_deterministic_debug_mode(before[0])
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


@pytest.mark.parametrize("mode", ["default", "warn", "error"])
@pytest.mark.parametrize("benchmark", [False, True])
def test_the_switches_are_put_back_as_they_were(mode, benchmark):
    torch.set_deterministic_debug_mode(mode)
    CUDNN.benchmark = benchmark
    before = switches()
    with deterministic_algorithms(True):
        assert switches() == (2, True, False)
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert switches() == before
    with pytest.raises(KeyError), deterministic_algorithms(True):
        raise KeyError
    assert switches() == before


def test_a_workspace_that_the_user_chose_is_kept(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with deterministic_algorithms(True):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_unasked_nothing_is_touched():
    torch.set_deterministic_debug_mode("warn")  # the user's own
    before = switches()
    with deterministic_algorithms(False):
        assert switches() == before
    assert switches() == before
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_a_trial_has_them_while_it_trains_and_evaluates_and_the_next_does_not(trainer):
    seen = []
    one, other = trainer(deterministic=True), trainer()
    for each in (one, other):
        for network in (each.generator, each.averaged):
            network.register_forward_hook(
                lambda *_: seen.append(torch.are_deterministic_algorithms_enabled())
            )
    one.advance()
    one.grid()
    assert len(seen) > 5
    assert all(seen)
    assert switches()[0] == 0
    seen.clear()
    other.advance()
    assert seen
    assert not any(seen)
    ours, theirs = one.generator.state_dict(), other.generator.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs), "on a CPU it changes nothing"


def test_what_has_no_deterministic_algorithm_is_an_error(trainer):
    one = trainer(deterministic=True)
    noise = torch.zeros(4)
    one.generator.register_forward_hook(
        lambda *_: noise.put_(torch.tensor([0]), torch.ones(1), accumulate=False) and None
    )
    with pytest.raises(RuntimeError, match="deterministic"):
        one.advance()
    assert switches()[0] == 0


class Restless(Generator):
    """A generator of a user's, that draws in every way there is, in evaluation too."""

    def __init__(self, shape, latent_size):
        super().__init__(shape, latent_size, depth=1, width=16)
        self.dropout = nn.Dropout(0.1)

    def forward(self, latents):
        shift = random.random() + np.random.random() + torch.rand(1)
        return super().forward(self.dropout(latents) + shift)


class Smoothed(R1):
    """A penalty of a user's, of the form that knows no `draws`."""

    def __call__(self, critic, real, fake):
        return super().__call__(critic, real + torch.rand_like(real), fake)


class OfSome:
    """A metric of a user's, of some samples that it draws in every way there is, by a seed or not."""

    features, goal, compares_real = None, "max", False

    def __init__(self, *, seed: int | None = None):
        self.seed = seed

    def of_real(self, real):
        return {}

    def __call__(self, fake, real):
        if self.seed is not None:
            random.seed(self.seed), np.random.seed(self.seed), torch.manual_seed(self.seed)
        some = torch.randperm(len(fake.features))[:20]
        return float(fake.features[some].double().mean()) + random.random() + np.random.random()


@pytest.fixture(autouse=True)
def _own_parts(monkeypatch):
    module = types.ModuleType("own_parts")
    module.Restless, module.Smoothed, module.OfSome = Restless, Smoothed, OfSome
    monkeypatch.setitem(sys.modules, "own_parts", module)


DRAWING = {
    "nothing": {},
    "its penalty": {
        "loss": {"name": "wasserstein", "penalty": {"name": "gradient-penalty"}},
        "discriminator": {"name": "mlp", "depth": 1, "width": 16, "norm": "spectral"},
    },
    "around the data": {"loss": {"name": "hinge", "penalty": {"name": "dragan"}}},
    "all of it": {
        "generator": {"name": "own_parts:Restless"},
        "loss": {"name": "hinge", "penalty": {"name": "own_parts:Smoothed"}},
        "ema": None,
    },
}


STANDING = {side: {"name": "sgd", "lr": 1e-30} for side in ("generator", "discriminator")}
"""Optimizers with which weights stay what they are."""


def exact(trainer):
    """Curve and weights, without what depends on the clock."""
    curve = [{**r.metrics, "images_per_second": 0} for r in trainer.reports]
    networks = (trainer.generator, trainer.discriminator, trainer.averaged)
    return curve, [t.tolist() for n in networks for t in n.state_dict().values()]


def run_out(trainer):
    while not trainer.finished:
        trainer.advance()
    return exact(trainer)


@pytest.mark.parametrize("sections", DRAWING.values(), ids=DRAWING)
def test_a_training_is_the_same_alone_and_beside_others(trainer, sections, tmp_path):
    alone = run_out(trainer(seed=3, **sections))
    torch.manual_seed(99)
    others = [trainer(seed=4, **sections), trainer(seed=5, **DRAWING["all of it"])]
    np.random.seed(5)
    one = trainer(seed=3, **sections)
    while not one.finished:
        for other in others:
            other.advance()
            other.grid()
        random.random(), torch.rand(3)
        one.advance()
        one.grid()  # to look at it changes nothing
        if one.step == 10:  # and so it is after a change of process
            checkpoint.save(tmp_path, 10, one.state())
            one = trainer(seed=3, **sections)
            one.load(checkpoint.latest(tmp_path))
    assert exact(one) == alone
    assert run_out(others[0]) != alone


@pytest.mark.parametrize("options", [{}, {"seed": 7}], ids=["that draws", "that seeds all"])
def test_a_metric_leaves_the_training_as_it_is(tiny, digits, places, options):
    measured = {"samples": 50, "metrics": [{"name": "own_parts:OfSome", **options}]}
    objective = {"metric": "own_parts:OfSome", "goal": "max"}
    plain, config = (
        tiny(**DRAWING["all of it"], **more)
        for more in ({}, {"evaluation": measured, "objective": objective})
    )
    with_it, without = (
        run_out(Trainer(each, digits, prepare(each, digits, places))) for each in (config, plain)
    )
    assert with_it[1] == without[1], "the weights"


def test_a_metric_that_draws_gives_the_same_for_the_same_samples(tiny, digits, places):
    evaluation = {"samples": 50, "metrics": [{"name": "own_parts:OfSome"}]}
    objective = {"metric": "own_parts:OfSome", "goal": "max"}
    config = tiny(evaluation=evaluation, objective=objective, optimizer=STANDING)
    trainer = Trainer(config, digits, prepare(config, digits, places))
    run_out(trainer)
    assert len({report.metrics["own_parts:OfSome"] for report in trainer.reports}) == 1


def test_the_process_s_own_randomness_is_left_alone(trainer):
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    before = str(random_states(torch.device("cpu")))
    one = trainer(**DRAWING["all of it"])
    one.advance()
    trainer(**DRAWING["all of it"]).load(one.state())
    one.grid()
    assert str(random_states(torch.device("cpu"))) == before


def test_samples_of_a_noisy_generator_are_a_matter_of_their_seed(trainer):
    one = trainer(**DRAWING["all of it"])
    first = one.generate(20, 7)
    torch.rand(5)
    assert torch.equal(one.generate(20, 7), first)
    assert not torch.equal(one.generate(20, 8), first)


def test_a_failed_step_gives_the_generators_back(trainer):
    one = trainer()
    one._loss = None
    before = torch.get_rng_state()
    with pytest.raises(AttributeError):
        one.advance()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_from_before_penalties_had_a_generator_goes_on(trainer):
    one = trainer(**DRAWING["its penalty"])
    one.advance()
    state = one.state()
    del state["penalty"]
    again, twice = trainer(**DRAWING["its penalty"]), trainer(**DRAWING["its penalty"])
    again.load(copy.deepcopy(state)), twice.load(copy.deepcopy(state))
    assert run_out(again) == run_out(twice)
    assert run_out(one) != exact(again), "its penalty's draws begin anew"

"""Several generators as one, and what tells them apart."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from gansearch.data.domain import Images
from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.networks.mixture import Mixture
from gansearch.study.config import TrialConfig
from gansearch.testing import check_generator
from gansearch.training.building import build_generator
from gansearch.training.completion import complete
from gansearch.training.telling import Telling, last_layer

BARE = {"name": "mlp", "depth": 1, "width": 16, "norm": "none"}
CLASSED = Images((1, 8, 8), ("a", "b", "c"), (5, 3, 2))


def mixture(domain, latent_size, *, count=3, **options):
    build = partial(GENERATORS.find("mlp"), domain, latent_size, width=8, **options)
    return Mixture(build, count)


def test_it_keeps_the_contract():
    check_generator(mixture, ((1, 8, 8),))


def test_with_classes():
    network = mixture(CLASSED, 5, conditional=True)
    assert network.conditional
    assert network(torch.randn(4, 5), torch.tensor([0, 1, 2, 0])).shape == (4, 1, 8, 8)


class Tells(nn.Module):
    """Gives back what it is given."""

    def forward(self, latents):
        return latents


def test_each_has_an_equal_share_and_sees_normal_latents():
    latents = torch.randn(40_000, 3, generator=torch.Generator().manual_seed(0))
    several = Mixture(Tells, 5)
    turns, seen = several.turns(latents), several(latents)
    assert np.bincount(turns.numpy(), minlength=5) == pytest.approx(8000, rel=0.04)
    for turn in range(5):
        found = seen[turns == turn].numpy()
        assert stats.kstest(found[:, 0], "norm").pvalue > 1e-3
        assert np.corrcoef(found.T) == pytest.approx(np.eye(3), abs=0.05)
    assert torch.equal(seen[:, 1:], latents[:, 1:])
    bounds = stats.norm.ppf([0.2, 0.4, 0.6, 0.8])
    assert np.array_equal(np.searchsorted(bounds, latents[:, 0].numpy()), turns.numpy())


def test_of_one_it_is_the_generator():
    latents = torch.randn(100, 4)
    torch.testing.assert_close(Mixture(Tells, 1)(latents), latents, rtol=1e-4, atol=1e-4)


def test_a_sample_is_of_the_generator_whose_turn_it_is():
    torch.manual_seed(0)
    several, latents = mixture((1, 8, 8), 5, norm="none"), torch.randn(20, 5)
    turns, inner = several._turns(latents)
    for latent, turn, sample in zip(inner, turns, several(latents), strict=True):
        torch.testing.assert_close(several.members[turn](latent[None])[0], sample)


def test_far_latents_stay_finite():
    latents = torch.tensor([[100.0, 0.0], [-100.0, 0.0], [9.0, 0.0]])
    assert Mixture(Tells, 4)(latents).isfinite().all()
    assert Mixture(Tells, 4).turns(latents).tolist() == [3, 0, 3]


@pytest.mark.parametrize("name", DISCRIMINATORS.names)
def test_the_last_layer_of_each_discriminator_is_known(name):
    network = DISCRIMINATORS.find(name)((1, 8, 8), width=8)
    layer = last_layer(network)
    seen = []
    layer.register_forward_hook(lambda _, inputs, output: seen.append(output))
    logits = network(torch.randn(4, 1, 8, 8))
    assert torch.equal(seen[0].squeeze(-1), logits)


def test_the_classifier_is_the_cross_entropy_of_whose_sample_it_is():
    torch.manual_seed(0)
    judge = nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.Linear(7, 1))
    several, latents = Mixture(Tells, 3), torch.randn(50, 4)
    telling = Telling(several.turns, 3, judge)
    samples = torch.randn(50, 1, 8, 8)
    judge(samples)
    logits = telling.layer(judge[1](samples.flatten(1))).detach().double().numpy()
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(shares[np.arange(50), several.turns(latents)]).mean()
    assert telling.loss(latents).item() == pytest.approx(expected, rel=1e-5)


SEVERAL = {
    "generator": BARE | {"mixture": 3, "diversity": 0.5},
    "discriminator": BARE,
    "loss": {"name": "relativistic-paired", "penalty": "r1"},
}


def run_out(trainer):
    while not trainer.finished:
        trainer.advance()
    return trainer


def state_of(trainer):
    return {
        f"{name} {key}": value.clone()
        for name, network in (("g", trainer.generator), ("d", trainer.discriminator))
        for key, value in network.state_dict().items()
    }


def same(left, right):
    return all(torch.equal(value, right[key]) for key, value in left.items())


def test_a_training_goes_on_exactly(trainer):
    whole, begun, rest = trainer(**SEVERAL), trainer(**SEVERAL), trainer(**SEVERAL)
    run_out(whole), begun.advance()
    rest.load(begun.state())
    run_out(rest)
    assert same(state_of(whole), state_of(rest))
    assert torch.equal(whole._telling.layer.weight, rest._telling.layer.weight)


def test_both_networks_learn_from_whose_sample_it_is(trainer):
    without = run_out(trainer(**SEVERAL | {"generator": BARE | {"mixture": 3}}))
    with_ = trainer(**SEVERAL)
    start = with_._telling.layer.weight.clone()
    run_out(with_)
    assert not torch.equal(start, with_._telling.layer.weight)
    assert not same(state_of(without), state_of(with_))
    assert {key.split(".")[1] for key in state_of(with_) if "members" in key} == {"0", "1", "2"}


def test_a_mixture_is_exported_and_built_again():
    config = TrialConfig.model_validate({"generator": BARE | {"mixture": 2}, "latent_size": 4})
    network = build_generator(config, Images((1, 8, 8)), torch.device("cpu"))
    again = build_generator(config, Images((1, 8, 8)), torch.device("cpu"))
    again.load_state_dict(network.state_dict())
    latents = torch.randn(5, 4)
    assert torch.equal(network(latents), again(latents))


def test_what_cannot_be_told_apart_is_refused():
    def mistakes(**sections):
        tree = {"generator": "mlp", "discriminator": "mlp"} | sections
        _, found = complete(TrialConfig.model_validate(tree), Images((1, 8, 8)))
        return dict(found)

    here = ("generator", "diversity")
    assert "a single generator" in mistakes(generator=BARE | {"diversity": 1.0})[here]
    several = BARE | {"mixture": 2, "diversity": 1.0}
    assert "a pack holds" in mistakes(generator=several, discriminator=BARE | {"pack": 2})[here]
    assert mistakes(generator=several) == {}

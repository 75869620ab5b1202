"""bfloat16: which passes are in it, what stays in float32, and that it trains all the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gansearch.losses.hinge import Hinge
from gansearch.networks.norms import SpectralNorm
from gansearch.study.records import Outcome

MLP = {"name": "mlp", "depth": 2, "width": 32}
CONVOLUTIONS = {"name": "dcgan", "width": 8}
HEALTH = {"collapsed": False, "stalled": False}  # twenty steps of training are not a health to judge
CONFIGURATIONS = {
    "batch norm": {"discriminator": MLP | {"norm": "batch"}},
    "gradient penalty": {
        "loss": {"name": "wasserstein", "penalty": {"name": "gradient-penalty"}},
        "discriminator": MLP | {"norm": "layer"},
        "discriminator_steps": 2,
    },
    "r1 and spectral norm": {
        "generator": CONVOLUTIONS,
        "discriminator": CONVOLUTIONS | {"norm": "spectral"},
        "loss": {"name": "hinge", "penalty": {"name": "r1", "weight": 1.0}},
    },
    "dragan": {"loss": {"name": "non-saturating", "penalty": {"name": "dragan"}}},
    "layer norm on maps": {
        "generator": CONVOLUTIONS,
        "discriminator": CONVOLUTIONS | {"norm": "layer"},
    },
}


SEEDS = range(5)
TOLERANCES = [  # relative, and at least
    *((name, 0.05, 0.02) for name in ("d_loss", "g_loss", "d_weight_growth", "g_weight_growth")),
    *((name, 0.2, 0.0) for name in ("d_grad_norm", "g_grad_norm")),
]


@pytest.mark.parametrize("sections", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_it_trains_as_float32_does_but_for_rounding(trainer, sections):
    """Of five seeds the median: a sample that rounding carries over a kink of the critic moves its
    slope, and the penalty on it, by more than rounding would.
    """

    def pair(seed):
        return [
            run_out(trainer(**sections, seed=seed, health=HEALTH, precision=precision))
            for precision in ("bfloat16", "float32")
        ]

    pairs = [pair(seed) for seed in SEEDS]
    for name, share, least in TOLERANCES:
        ours, theirs = (
            np.array([[report.metrics[name] for report in each.reports] for each in side])
            for side in zip(*pairs, strict=True)
        )
        off = np.abs(ours - theirs) / np.maximum(np.abs(theirs) * share, least)
        assert (np.median(off, axis=0) < 1).all(), name
    for rough, exact in pairs:
        assert rough.reports[-1].outcome is Outcome.COMPLETED
        assert [r.metrics["d_loss"] for r in rough.reports] != [
            r.metrics["d_loss"] for r in exact.reports
        ]
        held = [*_weights(rough), *_of(rough._g_optimizer), *_of(rough._d_optimizer)]
        assert {tensor.dtype for tensor in held if tensor.is_floating_point()} == {torch.float32}


def run_out(trainer):
    """One after the other, for what the penalties draw is from the process's own generator."""
    while not trainer.finished:
        trainer.advance()
    return trainer


def _weights(trainer):
    networks = (trainer.generator, trainer.discriminator, trainer.averaged)
    return [tensor for network in networks for tensor in network.state_dict().values()]


def _of(optimizer):
    return [value for state in optimizer.state.values() for value in state.values()]


def test_only_the_passes_of_training_are_in_it(trainer):
    seen = set()

    def watch(network, name):
        layer = next(m for m in network.modules() if isinstance(m, nn.Linear))
        layer.register_forward_hook(lambda _, __, out: seen.add((name, where[-1], out.dtype)))

    where = ["training"]
    one = trainer(precision="bfloat16", loss={"name": "hinge", "penalty": {"name": "r1"}})
    for name in ("generator", "discriminator", "averaged"):
        watch(getattr(one, name), name)
    penalty, loss = one._penalty, Hinge()
    dtypes = []

    class Watched(Hinge):
        def d(self, real, fake):
            dtypes.extend([real.dtype, fake.dtype])
            return loss.d(real, fake)

        def g(self, real, fake):
            dtypes.append(fake.dtype)
            return loss.g(real, fake)

    def penalised(critic, real, fake):
        where.append("penalty")
        assert real.dtype == fake.dtype == torch.float32
        value = penalty(critic, real, fake)
        where.pop()
        return value

    one._loss, one._penalty = Watched(), penalised
    one.advance()
    assert seen == {
        ("generator", "training", torch.bfloat16),
        ("discriminator", "training", torch.bfloat16),
        ("discriminator", "penalty", torch.float32),
        ("averaged", "training", torch.float32),
    }
    assert set(dtypes) == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")


def test_a_weight_is_rounded_anew_after_each_update(trainer):
    """Autocast remembers what it has rounded: a pass of long ago must not be repeated."""
    one = trainer(precision="bfloat16", ema=None, generator=MLP | {"norm": "none"})
    latents = one._latents(4)
    first = one._pass(one.generator, latents)
    assert torch.equal(one._pass(one.generator, latents), first)
    one.advance()
    one.generator.train()
    assert not torch.equal(one._pass(one.generator, latents), first)


def test_a_singular_value_is_never_rounded(monkeypatch):
    layer = nn.Linear(8, 6)
    norm = SpectralNorm(layer.weight)
    expected = norm.eval()(layer.weight)
    within = []
    mv = torch.mv
    monkeypatch.setattr(
        torch, "mv", lambda *args: within.append(torch.is_autocast_enabled("cpu")) or mv(*args)
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(norm.eval()(layer.weight), expected)
        norm.train()(layer.weight)
        assert torch.is_autocast_enabled("cpu")
    assert within == [False] * 4, "one by itself, and three with a step of the power iteration"

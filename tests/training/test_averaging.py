"""Averaged weights are evaluated with statistics of their own; non-finite samples are an outcome."""

import math

import pytest
import torch
from torch import nn

from gansearch.data.domain import Images
from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome
from gansearch.training.averaging import BATCHES, count_statistics, counting_layers, settle
from gansearch.training.sampling import NonFiniteSamples, generate

CPU = torch.device("cpu")
DOMAIN = Images((1, 2, 2))
CONFIG = TrialConfig.model_validate({"batch_size": 64, "latent_size": 8, "seed": 3})


def network(norm=nn.BatchNorm1d, dropout=0.0):
    return nn.Sequential(nn.Linear(8, 6), norm(6), nn.Dropout(dropout), nn.ReLU(), nn.Linear(6, 4))


def test_statistics_are_those_of_the_averaged_weights():
    live, average = network(), network().eval()
    live(torch.randn(256, 8) * 5)  # statistics that fit neither
    settle(average, live, CONFIG, DOMAIN, CPU)
    noise = torch.Generator().manual_seed(7)
    hidden = average[0](torch.randn((100_000, 8), generator=noise))
    assert torch.allclose(average[1].running_mean, hidden.mean(0), atol=0.1)
    assert torch.allclose(average[1].running_var, hidden.var(0), rtol=0.3)
    assert not torch.allclose(average[1].running_var, live[1].running_var, rtol=0.3)


def test_each_pass_weighs_the_same():
    one = network().eval()
    batches = [torch.randn(16, 8) for _ in range(5)]
    count_statistics(one, counting_layers(one), [(batch,) for batch in batches])
    means = torch.stack([one[0](batch).mean(0) for batch in batches])
    spreads = torch.stack([one[0](batch).var(0) for batch in batches])
    assert torch.allclose(one[1].running_mean, means.mean(0), atol=1e-6)
    assert torch.allclose(one[1].running_var, spreads.mean(0), atol=1e-6)
    assert one[1].momentum == 0.1
    assert not any(module.training for module in one.modules())


def test_settling_is_repeatable_and_touches_nothing_else():
    live, average = network(dropout=0.5).train(), network(dropout=0.5).eval()
    before = {name: value.clone() for name, value in live.state_dict().items()}
    weights = [p.clone() for p in average.parameters()]
    drawn = torch.get_rng_state()
    settle(average, live, CONFIG, DOMAIN, CPU)
    first = [b.clone() for b in average.buffers()]
    torch.randn(10)
    average[1].running_mean.fill_(math.nan)
    settle(average, live, CONFIG, DOMAIN, CPU)
    assert all(torch.equal(a, b) for a, b in zip(first, average.buffers(), strict=True))
    assert all(torch.equal(value, live.state_dict()[name]) for name, value in before.items())
    assert all(torch.equal(a, b) for a, b in zip(weights, average.parameters(), strict=True))
    torch.set_rng_state(drawn)
    state = torch.get_rng_state()
    settle(average, live, CONFIG, DOMAIN, CPU)
    assert torch.equal(state, torch.get_rng_state())
    assert live.training


@pytest.mark.parametrize("norm", [nn.LayerNorm, lambda n: nn.BatchNorm1d(n, track_running_stats=False)])
def test_without_running_statistics_nothing_is_passed_through(norm):
    live, average = network(norm), network(norm).eval()
    average.forward = lambda *_: pytest.fail("a pass")
    average.register_buffer("own", torch.zeros(2))
    live.register_buffer("own", torch.ones(2))
    settle(average, live, CONFIG, DOMAIN, CPU)
    assert average.own.tolist() == [1, 1], "other buffers are the live network's"


def test_instance_norm_that_tracks_counts_too():
    live = nn.Sequential(nn.Unflatten(1, (2, 4)), nn.InstanceNorm1d(2, track_running_stats=True))
    average = nn.Sequential(nn.Unflatten(1, (2, 4)), nn.InstanceNorm1d(2, track_running_stats=True))
    live[1].running_mean.fill_(50)
    settle(average.eval(), live, CONFIG, DOMAIN, CPU)
    assert average[1].running_mean.abs().max() < 0.5


def test_reports_samples_and_checkpoints_are_made_with_them(trainer):
    one = trainer(generator={"name": "mlp", "depth": 1, "width": 16, "norm": "batch"}, ema=0.99)
    one.advance()
    ours, theirs = one.averaged.state_dict(), one.generator.state_dict()
    layer = next(name for name in ours if name.endswith("running_var"))
    assert not torch.equal(ours[layer], theirs[layer])
    assert torch.equal(one.state()["averaged"][layer], ours[layer])
    again = trainer(generator={"name": "mlp", "depth": 1, "width": 16, "norm": "batch"}, ema=0.99)
    again.load(one.state())
    assert again.grid().tobytes() == one.grid().tobytes()
    assert torch.equal(again.averaged.state_dict()[layer], ours[layer])
    said = one.provenance()["fd_classifier"]["statistics"]
    assert said == f"recomputed for the averaged weights, {BATCHES} x 16 samples"


@pytest.mark.parametrize(("norm", "ema"), [("none", 0.99), ("batch", None)])
def test_provenance_is_silent_where_nothing_was_recomputed(trainer, norm, ema):
    one = trainer(generator={"name": "mlp", "depth": 1, "width": 16, "norm": norm}, ema=ema)
    assert "statistics" not in one.provenance()["fd_classifier"]


def test_they_are_counted_once_a_report(trainer, monkeypatch):
    from gansearch.training import lifecycle as module

    seen = []
    counted = module.settle
    monkeypatch.setattr(module, "settle", lambda *a: (seen.append(1), counted(*a)))
    one = trainer(generator={"name": "mlp", "depth": 1, "width": 16, "norm": "batch"}, ema=0.99)
    one.advance()
    one.grid()
    one.state()
    assert len(seen) == 1
    one.advance()
    assert len(seen) == 2


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_samples_that_are_not_finite_are_no_picture(bad):
    one = nn.Linear(8, 4)
    one.bias.data[2] = bad
    with pytest.raises(NonFiniteSamples, match="not finite"):
        generate(one, 5, 8, 1, CPU, Images((1, 2, 2)))


def spoil(layer, *_):
    if not layer.training:
        layer.running_var.fill_(math.nan)


def test_a_generator_that_turns_non_finite_through_a_buffer_has_diverged(trainer):
    section = {"name": "mlp", "depth": 1, "width": 16, "norm": "batch"}
    one = trainer(generator=section, ema=None)
    one.advance()
    layers = counting_layers(one.generator)
    layers[0].register_forward_pre_hook(spoil)
    report = one.advance()
    assert math.isfinite(report.metrics["g_loss"]), "training itself does not use the buffer"
    assert math.isfinite(report.metrics["g_weight_growth"])
    assert math.isnan(report.metrics["fd_classifier"])
    assert math.isnan(report.metrics["diversity"])
    assert report.outcome is Outcome.DIVERGED
    assert "the generator's samples are not finite" in report.reason
    assert one.grid() is None

"""The loop: exact continuation, data order, what a report holds, and that failures show."""

import math
import time
from itertools import accumulate, count
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import softplus

from gansearch.data.domain import Images
from gansearch.errors import StorageError
from gansearch.losses import LOSSES
from gansearch.study.records import Outcome, Report
from gansearch.training import checkpoint
from gansearch.training.measuring import COMPILED, LANES, MEASURED, Window, gradient_norm, weight_scale
from gansearch.training.order import DataOrder
from gansearch.training.sampling import generate, update_average

TIMED = {"images_per_second"}
IMAGES = Images((1, 8, 8))


def exact(report):
    """What of a report does not depend on the clock."""
    metrics = {name: value for name, value in report.metrics.items() if name not in TIMED}
    return report.step, report.images, metrics, report.outcome, report.reason


def run_out(trainer):
    while not trainer.finished:
        trainer.advance()
    return [exact(report) for report in trainer.reports]


CONFIGURATIONS = {
    "default": {},
    "critic": {
        "loss": {"name": "wasserstein", "penalty": {"name": "gradient-penalty"}},
        "discriminator_steps": 3,
        "discriminator": {"name": "mlp", "depth": 2, "width": 16, "norm": "layer"},
    },
    "convolutions": {
        "generator": {"name": "dcgan", "width": 8},
        "discriminator": {"name": "dcgan", "width": 8, "norm": "spectral"},
        "loss": {"name": "hinge", "penalty": {"name": "r1"}},
        "ema": None,
    },
    "clipped": {
        "loss": {"name": "wasserstein", "penalty": {"name": "clipping", "bound": 0.02}},
        "discriminator": {"name": "mlp", "depth": 1, "width": 16, "norm": "none"},
    },
    "around the data": {"loss": {"name": "non-saturating", "penalty": {"name": "dragan"}}},
    "bfloat16": {
        "generator": {"name": "dcgan", "width": 8},
        "discriminator": {"name": "dcgan", "width": 8, "norm": "spectral"},
        "loss": {"name": "wasserstein", "penalty": {"name": "gradient-penalty"}},
        "precision": "bfloat16",
    },
    "remembering": {
        "loss": {"name": "minimax", "flipping": 0.1, "penalty": {"name": "lecam", "every": 3}},
        "discriminator_steps": 2,
    },
    "scheduled": {
        "loss": {
            "name": "relativistic-paired",
            "penalty": {"name": "r1-r2", "schedule": {"name": "constant", "warmup": 0.7}},
        },
        "optimizer": {
            "generator": {"schedule": {"name": "cosine", "warmup": 0.3}, "clip": 0.1},
            "discriminator": {"schedule": "linear"},
        },
    },
    "other optimizers": {
        "optimizer": {
            "generator": {"name": "rmsprop", "lr": 1e-3},
            "discriminator": {"name": "sgd", "lr": 1e-2, "momentum": 0.9},
        }
    },
}


@pytest.mark.parametrize("sections", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_continuing_from_a_checkpoint_is_bit_for_bit_the_same(trainer, sections, tmp_path):
    whole = trainer(**sections)
    expected = run_out(whole)

    first = trainer(**sections)
    first.advance()
    first.advance()
    checkpoint.save(tmp_path, first.step, first.state())
    torch.manual_seed(12345)  # another process would have another state
    torch.rand(7)
    second = trainer(**sections)
    second.load(checkpoint.latest(tmp_path))

    assert run_out(second) == expected
    for name in ("generator", "discriminator", "averaged"):
        ours, theirs = getattr(second, name).state_dict(), getattr(whole, name).state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name


def test_a_rule_s_patience_goes_on_over_checkpoints(trainer):
    ill = {"health": {"collapsed": {"deaf": 100.0, "patience": 3}}}  # no samples differ so much
    whole = run_out(trainer(**ill))
    assert whole[-1][3] is Outcome.COLLAPSED
    one = trainer(**ill)
    while not one.finished:
        one.advance()
        state, one = one.state(), trainer(**ill)
        one.load(state)
    assert [exact(report) for report in one.reports] == whole


def test_a_seed_decides_everything(trainer):
    assert run_out(trainer(seed=3)) == run_out(trainer(seed=3))
    assert run_out(trainer(seed=3)) != run_out(trainer(seed=4))


def test_reporting_more_often_does_not_change_training(trainer):
    often = trainer(budget={"steps": 20, "report_every": 2})
    seldom = trainer(budget={"steps": 20, "report_every": 20})
    run_out(often), run_out(seldom)
    ours, theirs = often.generator.state_dict(), seldom.generator.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_checkpoint_of_another_configuration_is_refused(trainer):
    state = trainer(seed=1).state()
    with pytest.raises(ValueError, match="another configuration"):
        trainer(seed=2).load(state)


def test_a_checkpoint_whose_networks_other_code_has_built_is_no_failure_of_its_configuration(trainer):
    state = trainer().state()
    name, weight = next((k, v) for k, v in state["discriminator"].items() if v.dim() > 1)
    state["discriminator"] = {**state["discriminator"], name: weight[:1]}
    with pytest.raises(StorageError, match="network 'discriminator' was built by other code"):
        trainer().load(state)


def test_what_else_is_amiss_as_networks_are_filled_is_told_as_it_is(trainer):
    def exhausted(*_):
        raise RuntimeError("CUDA out of memory")

    one = trainer()
    one.generator.register_load_state_dict_pre_hook(exhausted)
    with pytest.raises(RuntimeError, match="CUDA out of memory"):
        one.load(trainer().state())


def test_reports_come_as_asked_and_end_completed(trainer):
    one = trainer(budget={"steps": 12, "report_every": 5}, discriminator_steps=2)
    run_out(one)
    assert [r.step for r in one.reports] == [5, 10, 12]
    assert [r.images for r in one.reports] == [5 * 2 * 16, 10 * 2 * 16, 12 * 2 * 16]
    assert [r.outcome for r in one.reports] == [None, None, Outcome.COMPLETED]
    assert [r.reason for r in one.reports] == ["", "", ""]
    growth = [one.reports[0].metrics[f"{side}_weight_growth"] for side in "dg"]
    assert growth == pytest.approx([1, 1], abs=0.2), "after five steps hardly any"
    assert set(one.reports[0].metrics) == {*MEASURED, "fd_classifier"}
    assert all(math.isfinite(v) for v in one.reports[0].metrics.values())
    assert one.reports[0].seconds < one.reports[2].seconds
    with pytest.raises(RuntimeError, match="ended"):
        one.advance()


def test_seconds_are_training_and_measuring_and_the_rate_is_of_training_alone(trainer, monkeypatch):
    clock = (float(looks**2) for looks in count())  # at the begin and the end of each of the two
    own = SimpleNamespace(perf_counter=clock.__next__, time=time.time)
    monkeypatch.setattr("gansearch.training.lifecycle.time", own)
    budget = {"steps": 120, "report_every": 40}
    one = trainer(budget=budget)
    one.advance()
    resumed = trainer(budget=budget)
    resumed.load(one.state())
    resumed.advance(), resumed.advance()
    assert [report.step for report in resumed.reports] == [40, 80, 120], "none between, as at a look"
    trained, measured = (1, 9, 17), (5, 13, 21)
    rates = [report.metrics["images_per_second"] for report in resumed.reports]
    assert rates == pytest.approx([40 * 16 / seconds for seconds in trained])
    spent = [sum(pair) for pair in zip(trained, measured, strict=True)]
    assert [report.seconds for report in resumed.reports] == list(accumulate(spent))


@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_clipping_holds_the_whole_critic_and_nothing_else_within_its_bound(trainer, norm):
    sections = {
        "discriminator": {"name": "mlp", "depth": 2, "width": 16, "norm": norm},
        "discriminator_steps": 2,
        "unsound": "allow",
    }
    bound, rate = 0.03, 2e-4
    loss = {"name": "wasserstein", "penalty": {"name": "clipping", "bound": bound}}
    one = trainer(loss=loss, **sections)
    seen = []
    held = one._constraint.constrain

    def watch(parameters):
        seen.append(max(p.abs().max().item() for p in parameters))
        held(parameters)
        assert not torch.is_grad_enabled()

    one._constraint.constrain = watch
    one.advance()
    assert len(seen) == 5 * 2, "after each of the critic's steps"
    assert seen[0] > 0.1, "it begins outside"
    # Adam's step is at most some ten rates (Kingma and Ba 2015, section 2.1): then it is back inside.
    assert max(seen[1:]) < bound + 10 * rate
    weights = list(one.discriminator.parameters())
    assert {*map(id, weights)} == {*map(id, one._d_parameters)}
    assert max(p.abs().max().item() for p in weights) <= bound * (1 + 1e-6)
    assert max(p.abs().max().item() for p in one.generator.parameters()) > bound


def test_an_infinite_learning_rate_diverges_in_words(trainer):
    one = trainer(
        optimizer={
            "generator": {"name": "sgd", "lr": 1e30},
            "discriminator": {"name": "sgd", "lr": 1e30},
        },
        budget={"steps": 1000, "report_every": 500},
    )
    last = run_out(one)[-1]
    assert last[3] is Outcome.DIVERGED
    assert "nan" in last[4] or "inf" in last[4]
    assert one.step <= 50, "non-finite losses are seen between reports"
    assert math.isnan(one.reports[-1].metrics["fd_classifier"])


def test_where_no_rule_ends_what_is_not_finite_it_reports_as_ever(trainer):
    endless = {"name": "sgd", "lr": 1e30}
    one = trainer(
        optimizer={"generator": endless, "discriminator": endless},
        budget={"steps": 130, "report_every": 65},
        health={"diverged": False, "collapsed": False, "stalled": False},
    )
    run_out(one)
    assert [(r.step, r.outcome) for r in one.reports] == [(65, None), (130, Outcome.COMPLETED)]
    assert math.isnan(one.reports[0].metrics["d_loss"])


def test_provenance_says_how_many_reports_were_made_in_lanes_and_by_compiled_code(trainer):
    trained = trainer()
    made = [{}, {"lanes": 4.0}, {}, {"compiled": 1.0}]
    trained.reports = [Report(10 * i, 0, 0.0, metrics, 0.0) for i, metrics in enumerate(made, 1)]
    told = {key: trained.provenance()[key]["over"] for key in ("lanes", "compiled")}
    assert told["lanes"] == f"{LANES['lanes']}: 1 at 3 reports, 4 at 1 report"
    assert told["compiled"] == f"{COMPILED['compiled']}: 1 report"


def test_provenance_says_how_each_metric_is_made(trainer):
    provenance = trainer(ema=None).provenance()["fd_classifier"]
    assert provenance["fake_samples"] == 50
    assert provenance["real_samples"] == 1500
    assert provenance["split"] == "train"
    assert provenance["ema"] is False
    assert provenance["features"] == "classifier"
    assert len(provenance["features_hash"]) == 16
    assert trainer().provenance()["fd_classifier"]["ema"] is True


def test_evaluation_is_of_the_averaged_generator(trainer):
    one = trainer(ema=0.99)
    one.advance()
    samples = one.generate(5, seed=1)
    device = torch.device("cpu")
    assert torch.equal(samples, generate(one.averaged, 5, 8, 1, device, IMAGES))
    assert not torch.equal(samples, generate(one.generator.eval(), 5, 8, 1, device, IMAGES))


def test_read_only_pixels_are_not_copied(tiny, digits, reference, recwarn):
    from dataclasses import replace

    from gansearch.training.trainer import Trainer

    pixels = digits.images.copy()
    pixels.flags.writeable = False
    one = Trainer(tiny(), replace(digits, images=pixels), reference)
    assert one._samples.data_ptr() == pixels.ctypes.data
    assert not recwarn.list


# Losses


def test_losses_are_means_over_updates_and_errors_those_of_the_last_batches():
    window = Window(torch.device("cpu"), 2)
    window.add_discriminator(torch.tensor(9.0), 1.0, torch.tensor([-9.0]), torch.tensor([9.0]))
    for loss, real, fake in ((1.0, [2.0, -1.0], [-3.0, 0.5]), (3.0, [4.0, 0.0], [-1.0, -2.0])):
        window.add_discriminator(torch.tensor(loss), 0.5, torch.tensor(real), torch.tensor(fake))
    for loss, share in ((2.0, 1.0), (5.0, 0.25), (9.0, 0.75)):
        window.add_generator(torch.tensor(loss), share)
    names = ("d_loss", "g_loss", "d_error_real", "d_error_fake", "d_accuracy")
    found = window.metrics(LOSSES.build("non-saturating", {}))
    assert [found[name] for name in names] == [5.5, 5.0, 0.5, 0.25, 0.625]
    critic = window.metrics(LOSSES.build("wasserstein", {}))  # by the middle of both means, -1 / 16
    assert [critic[name] for name in names] == [5.5, 5.0, 0.25, 0.25, 0.75]


def test_a_report_tells_the_losses_of_its_networks(trainer):
    still = {"generator": {"lr": 1e-12}, "discriminator": {"lr": 1e-12}}
    at_rest = trainer(optimizer=still)
    told = at_rest.advance().metrics
    latents = torch.randn(4000, at_rest.config.latent_size)
    with torch.no_grad():
        answers = at_rest.discriminator(at_rest.generator(latents))
    assert told["g_loss"] == pytest.approx(softplus(-answers).mean().item(), rel=0.05)


# Data order


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 5), st.integers(0, 30))
def test_a_batch_depends_on_its_number_alone(count, size, seed, first):
    order, device = DataOrder(count, size, seed), torch.device("cpu")
    whole = list(order.batches(0, first + 5, device))
    part = list(order.batches(first, 5, device))
    assert all(torch.equal(a, b) for a, b in zip(whole[first:], part, strict=True))
    assert all(len(batch) == size and batch.max() < count for batch in part)


def test_an_epoch_shows_every_image_once_and_epochs_differ():
    order, device = DataOrder(20, 5, 0), torch.device("cpu")
    first, second = (torch.cat(list(order.batches(4 * e, 4, device))) for e in (0, 1))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(20))
    assert first.tolist() != second.tolist()


# Small formulas


@given(st.lists(st.integers(0, 255), min_size=1))
def test_pixels_survive_the_way_to_the_network_and_back(values):
    pixels = torch.tensor(values, dtype=torch.uint8)
    scaled = IMAGES.encode(pixels)
    assert scaled.min() >= -1
    assert scaled.max() <= 1
    assert torch.equal(IMAGES.decode(scaled), pixels)


def test_the_average_forgets_its_start_and_then_decays_as_told():
    average, live = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(average.weight, 100.0)
    torch.nn.init.constant_(live.weight, 1.0)
    expected = 100.0
    for step in range(200):
        update_average(average, live, 0.9, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * 1.0
    assert average.weight.item() == pytest.approx(expected, rel=1e-5)
    assert average.weight.item() == pytest.approx(1.0, abs=1e-3)


def test_norms_are_what_they_say():
    network = torch.nn.Linear(2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[3.0, 0.0]]))
        network.bias.fill_(4.0)
    network(torch.tensor([[1.0, 2.0]])).sum().backward()
    assert weight_scale(network) == pytest.approx(math.sqrt((9 + 0 + 16) / 3))
    assert gradient_norm(network).item() == pytest.approx(math.sqrt(1 + 4 + 1))


# What the review of the first draft found


def test_training_noise_is_not_the_stream_of_the_initial_weights(trainer):
    one = trainer(seed=5)
    torch.manual_seed(5)
    weights = torch.randn(16)
    assert not torch.allclose(one._latents(2).flatten(), weights)


def test_a_user_s_frozen_layers_stay_frozen(trainer):
    one = trainer()
    frozen = next(one.discriminator.parameters())
    frozen.requires_grad_(False)
    one._d_parameters = [p for p in one.discriminator.parameters() if p.requires_grad]
    before = frozen.clone()
    one.advance()
    assert not frozen.requires_grad
    assert torch.equal(frozen, before)


def test_a_checkpoint_with_a_key_less_is_still_the_same_configuration(trainer):
    one = trainer()
    state = one.state()
    del state["config"]["health"]["stalled"]["min_doubt"]  # from before there was such a key
    trainer().load(state)


def test_relativistic_losses_are_given_the_real_logits(trainer, monkeypatch):
    import sys
    import types

    from gansearch.losses.hinge import Hinge

    class Relativistic(Hinge):
        g_uses_real = True

        def g(self, real, fake):
            assert real.shape == fake.shape
            return (real.detach() - fake).mean(-1)

    module = types.ModuleType("relativistic")
    module.Relativistic = Relativistic
    monkeypatch.setitem(sys.modules, "relativistic", module)
    run_out(trainer(loss={"name": "relativistic:Relativistic"}))

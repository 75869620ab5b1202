"""A variational autoencoder, trained by the contract of every training."""

from __future__ import annotations

import warnings

import pytest
import torch
import yaml

from gansearch.errors import Doubt, InvalidInput
from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome
from gansearch.training import checkpoint
from gansearch.training.completion import complete
from gansearch.training.dry_run import rehearse
from gansearch.training.export_folder import read_model
from gansearch.training.health import Health
from gansearch.training.lifecycle import batch_norm_momenta
from gansearch.training.measuring import GAME, VARIATIONAL
from gansearch.training.pack import Start
from gansearch.training.prepare import LocalPaths
from gansearch.training.stacked.pack import FusedPack
from gansearch.training.stacked.shape import why_alone
from gansearch.training.standalone import train
from gansearch.training.trainer import Trainer
from gansearch.training.validation import load_study
from gansearch.training.variational import VariationalTrainer, build_trainer

MLP = {"name": "mlp", "depth": 1, "width": 32, "norm": "batch"}


@pytest.fixture
def vae(tiny, digits, reference):
    def make(loss=None, **sections):
        sections = {"generator": MLP, "discriminator": MLP} | sections
        config = tiny(loss={"name": "vae", "lr": 1e-3} | (loss or {}), **sections)
        return build_trainer(config, digits, reference)

    return make


def run(trainer):
    while not trainer.finished:
        trainer.advance()
    return trainer.reports


def test_who_trains_what(tiny, digits, reference, vae):
    assert type(build_trainer(tiny(), digits, reference)) is Trainer
    assert type(vae()) is VariationalTrainer


def test_it_learns_to_reconstruct_and_its_samples_get_better(vae):
    reports = run(vae(budget={"steps": 600, "report_every": 100}))
    first, last = reports[0].metrics, reports[-1].metrics
    assert set(VARIATIONAL) <= set(first)
    assert not set(GAME) & set(first)
    assert last["elbo"] > first["elbo"]
    assert last["fd_classifier"] < 0.5 * first["fd_classifier"]
    assert last["kl"] > 1, "the latents are used"
    assert last["g_loss"] + last["kl"] == pytest.approx(-last["elbo"])
    assert reports[-1].outcome is Outcome.COMPLETED


def test_beta_is_what_is_minimised_and_not_what_is_told(vae):
    plain, heavy = (run(vae({"beta": beta}))[-1].metrics for beta in (1.0, 20.0))
    assert plain["d_loss"] == pytest.approx(plain["g_loss"] + plain["kl"])
    assert heavy["d_loss"] == pytest.approx(heavy["g_loss"] + 20 * heavy["kl"])
    assert heavy["kl"] < plain["kl"]


def test_its_own_learning_rate_is_that_of_both_networks(vae):
    trainer = vae({"lr": 0.02})
    rates = [o.param_groups[0]["lr"] for o in (trainer._g_optimizer, trainer._d_optimizer)]
    assert rates == [0.02, 0.02]
    trainer = vae({"lr": None}, optimizer={"generator": {"lr": 0.1}, "discriminator": {"lr": 0.3}})
    rates = [o.param_groups[0]["lr"] for o in (trainer._g_optimizer, trainer._d_optimizer)]
    assert rates == [0.1, 0.3]


@pytest.mark.parametrize("sections", [{}, {"precision": "bfloat16"}, {"ema": None}])
def test_it_goes_on_bit_for_bit(vae, tmp_path, sections):
    whole, begun = vae(**sections), vae(**sections)
    run(whole)
    begun.advance()
    checkpoint.save(tmp_path, 5, begun.state())
    resumed = vae(**sections)
    resumed.load(checkpoint.load(checkpoint.path_of(tmp_path, 5)))
    run(resumed)
    for key in ("generator", "discriminator", "averaged"):
        for name, value in whole.state()[key].items():
            assert torch.equal(value, resumed.state()[key][name]), (key, name)
    strip = ("images_per_second",)
    for one, other in zip(whole.reports, resumed.reports, strict=True):
        assert {k: v for k, v in one.metrics.items() if k not in strip} == {
            k: v for k, v in other.metrics.items() if k not in strip
        }


def test_micro_batches_add_up(vae):
    plain = {"generator": MLP | {"norm": "none"}, "discriminator": MLP | {"norm": "none"}}
    whole, split = (vae({"std": 0.5}, **plain) for _ in range(2))
    split.split(4)
    whole.advance()
    split.advance()
    for one, other in zip(whole.generator.parameters(), split.generator.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_running_averages_reach_back_as_far_in_micro_batches(vae):
    trainer = vae()
    (before, *_) = batch_norm_momenta(trainer.generator).values()
    trainer.split(4)
    (after, *_) = batch_norm_momenta(trainer.generator).values()
    assert (1 - after) ** 4 == pytest.approx(1 - before), "four passes a step move them as one did"


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "bernoulli"])
@pytest.mark.parametrize("name", ["dcgan", "sndcgan", "resnet", "r3"])
def test_every_network_is_an_encoder(vae, likelihood, name):
    size = {"name": name, "width": 4}
    report = vae({"likelihood": likelihood}, generator=size, discriminator=size).advance()
    assert torch.isfinite(torch.tensor([report.metrics["elbo"], report.metrics["kl"]])).all()


def test_classes_are_told_to_both(vae):
    told = MLP | {"conditional": True}
    trainer = vae(generator=told, discriminator=told)
    run(trainer)
    assert trainer.generate(20, 0).shape[0] == 20


def test_an_export_and_its_samples(tiny, digits, tmp_path, places):
    config = tiny(loss={"name": "vae", "lr": 1e-3}, generator=MLP, discriminator=MLP)
    reports = train(config, digits, tmp_path / "model", places)
    assert reports[-1].outcome is Outcome.COMPLETED
    model = read_model(tmp_path / "model")
    assert model.sample(12, 3).shape == (12, *digits.shape)
    assert torch.equal(model.sample(12, 3), model.sample(12, 3))
    assert (tmp_path / "model" / "samples.png").is_file()


def test_it_is_trained_alone_and_cannot_stall(tiny):
    config = tiny(loss="vae")
    assert why_alone(config) == "loss: 'vae' has a step of its own"
    rules = [type(rule).__name__ for rule in Health(config).rules]
    assert rules == ["Divergence", "Collapse"]


def test_a_pack_trains_it_beside_games(tiny, digits, reference):
    """Of the same networks, games in lanes and autoencoders alone."""
    configs = [tiny(seed=seed, loss=loss) for loss in ("hinge", "vae") for seed in (1, 2)]
    pack = FusedPack(lambda config: build_trainer(config, digits, reference))
    pack.begin([Start(number, config) for number, config in enumerate(configs)])
    ended = {}
    while pack.due():
        for number, report in pack.advance():
            if report.outcome:
                ended[number] = report
                pack.stop([number])
    assert {number: report.outcome for number, report in ended.items()} == dict.fromkeys(
        range(4), Outcome.COMPLETED
    )
    assert [ended[number].metrics.get("lanes") for number in range(4)] == [2, 2, None, None]


def test_a_divergence_names_its_networks(vae):
    trainer = vae(
        {"lr": None}, optimizer={"generator": {"name": "sgd", "lr": 1e9}, "discriminator": {"lr": 1e-3}}
    )
    last = run(trainer)[-1]
    assert last.outcome is Outcome.DIVERGED
    assert "coder" in last.reason


@pytest.mark.parametrize(
    ("sections", "place", "words"),
    [
        ({"loss": {"name": "vae", "penalty": "r1"}}, ("loss", "penalty"), "drop it"),
        ({"generator": MLP | {"mixture": 2}}, ("generator", "mixture"), "has one decoder"),
        ({"discriminator": MLP | {"pack": 2}}, ("discriminator", "pack"), "drop it"),
        ({"discriminator": MLP | {"noise": 0.1}}, ("discriminator", "noise"), "drop it"),
        ({"discriminator": MLP | {"augment": "ada"}}, ("discriminator", "augment"), "drop it"),
        ({"discriminator_steps": 2}, ("discriminator_steps",), "say 1"),
        ({"objective": {"metric": "d_accuracy", "goal": "min"}}, ("objective", "metric"), "in a game"),
        (
            {
                "generator": MLP | {"conditional": True},
                "discriminator": {"name": "dcgan", "conditional": True},
            },
            ("discriminator",),
            "take mlp with `classes: embedding`",
        ),
        ({"loss": {"name": "vae", "likelihood": "bernoulli", "std": 1.0}}, ("loss",), "has none"),
    ],
)
def test_what_is_of_a_game_is_refused(digits, sections, place, words):
    tree = {"generator": MLP, "discriminator": MLP, "loss": {"name": "vae"}} | sections
    _, found = complete(TrialConfig.model_validate(tree), digits.domain)
    assert [path for path, _ in found] == [place]
    assert words in found[0][1]


def test_a_study_searches_it_beside_games(tmp_path):
    study = {
        "question": "Is a GAN worth it?",
        "generator": MLP,
        "discriminator": MLP,
        "loss": {
            "choice": [
                "hinge",
                {"name": "vae", "beta": {"log": [0.1, 10]}, "lr": {"log": [1e-4, 1e-2]}},
            ]
        },
        "evaluation": {"metrics": [], "samples": 20},
        "objective": {"metric": "diversity", "goal": "max"},
        "search": {"trials": 2},
    }
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(study))
    spec, data = load_study(file, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Doubt)
        assert rehearse(spec, data, LocalPaths(tmp_path, tmp_path)) == 2
    file.write_text(yaml.safe_dump(study | {"discriminator_steps": 3}))
    with pytest.raises(InvalidInput, match=r"discriminator_steps.*updates both networks at once"):
        load_study(file, tmp_path)


def test_bernoulli_pixels_are_of_images(tmp_path):
    tree = {"data": "ring", "loss": {"name": "vae", "likelihood": "bernoulli"}}
    from gansearch.data.load import load

    points = load("ring", {"samples": 100}, root=tmp_path, split="train")
    _, found = complete(TrialConfig.model_validate(tree), points.domain)
    assert [path for path, _ in found] == [("loss", "likelihood")]
    good = tree | {"loss": {"name": "vae"}}
    assert complete(TrialConfig.model_validate(good), points.domain)[1] == []

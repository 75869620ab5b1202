"""Networks that are told the class: trained, resumed, in a pack, exported, sampled by class."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gansearch
from gansearch.data.domain import Images, Points
from gansearch.errors import UserError
from gansearch.networks.mlp import Discriminator, Generator
from gansearch.study.config import TrialConfig
from gansearch.testing import check_discriminator, check_generator
from gansearch.training.export_folder import read_model
from gansearch.training.pack import SequentialPack, Start
from gansearch.training.trainer import Trainer

NETWORK = {"name": "mlp", "depth": 1, "width": 16, "conditional": True}
WITH_CLASSES = (
    Images((1, 8, 8), ("nought", "one", "two"), (5, 3, 2)),
    Points((2,), ("left", "right"), (4, 4)),
)
CONFIG = """\
data: {name: ring, samples: 8000}
generator: {name: mlp, depth: 2, width: 64, conditional: true}
discriminator: {name: mlp, depth: 2, width: 64, norm: none, conditional: true}
loss: {name: non-saturating, penalty: {name: r1, weight: 0.1}}
optimizer: {generator: {lr: 0.002}, discriminator: {lr: 0.002}}
batch_size: 128
latent_size: 2
ema: 0.99
budget: {steps: 400, report_every: 200}
evaluation: {samples: 500, metrics: [modes]}
objective: {metric: modes, goal: max}
seed: 1
"""


@pytest.fixture
def make(trainer):
    def build(norm="batch", ema=0.9, **sections):
        networks = {"generator": NETWORK | {"norm": norm}, "discriminator": NETWORK | {"norm": "none"}}
        return trainer(**networks, ema=ema, **sections)

    return build


def run_out(trainer):
    while not trainer.finished:
        trainer.advance()
    return [{k: v for k, v in r.metrics.items() if k != "images_per_second"} for r in trainer.reports]


@pytest.mark.parametrize("told", ["generator", "discriminator"])
def test_networks_of_which_one_alone_is_told_the_classes_are_refused(tiny, digits, reference, told):
    tree = tiny().plain()  # as a point of a space may be, of which `check` sees the example
    tree[told] |= {"conditional": True}
    with pytest.raises(ValueError, match="must both be conditional, or neither"):
        Trainer(TrialConfig.model_validate(tree), digits, reference)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("ema", [0.9, None])
def test_it_trains_and_resumes_to_the_bit(make, norm, ema):
    whole, begun, resumed = (make(norm, ema) for _ in range(3))
    curve = run_out(whole)
    begun.advance()
    resumed.load(begun.state())
    assert run_out(resumed) == curve
    assert np.isfinite([value for metrics in curve for value in metrics.values()]).all()
    ours, theirs = resumed.averaged.state_dict(), whole.averaged.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert resumed.grid().tobytes() == whole.grid().tobytes()


def test_statistics_are_counted_over_the_classes_as_the_data_have_them(make):
    one = make()
    one.advance()
    layer = next(m for m in one._evaluated().modules() if isinstance(m, torch.nn.BatchNorm1d))
    seen = []
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    count = 20_000
    latents = torch.randn(count, one.config.latent_size)
    one.averaged(latents, torch.from_numpy(one.domain.labels_as_drawn(count, 7)))
    hidden = torch.cat(seen)
    # 8 x 16 samples of a spread of about 1: their mean lies within some 0.1 of the true one
    assert torch.allclose(layer.running_mean, hidden.mean(0), atol=0.35)
    assert torch.allclose(layer.running_var, hidden.var(0), rtol=0.6)


def test_in_micro_batches_each_sample_keeps_its_class(make):
    whole, pieces = make("none"), make("none")
    pieces.split(4)
    exact, split = (run_out(each) for each in (whole, pieces))
    for one, other in zip(exact, split, strict=True):
        for name in ("d_loss", "g_loss", "fd_classifier"):
            assert one[name] == pytest.approx(other[name], rel=1e-3)


def test_a_pack_trains_it_as_it_would_be_alone(make, digits, reference):
    alone = {seed: run_out(make(seed=seed)) for seed in (0, 1)}
    configs = {seed: make(seed=seed).config for seed in alone}
    pack = SequentialPack(lambda config: Trainer(config, digits, reference))
    pack.begin([Start(seed, config) for seed, config in configs.items()])
    curves = {seed: [] for seed in alone}
    while pack.due():
        for number, report in pack.advance():
            metrics = {k: v for k, v in report.metrics.items() if k != "images_per_second"}
            curves[number].append(metrics)
            if report.outcome:
                pack.stop([number])
    assert curves == alone


def test_the_networks_pass_the_conformance_tests():
    def generator(domain, latent_size):
        return Generator(domain, latent_size, width=8, conditional=True)

    def discriminator(domain):
        return Discriminator(domain, width=8, conditional=True)

    check_generator(generator, WITH_CLASSES)
    check_discriminator(discriminator, WITH_CLASSES)


def test_what_it_is_asked_for_is_what_it_learns(tmp_path, capsys):
    """Class 3 of eight lies at 135 degrees: the exported generator knows, by number, after a second."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    gansearch.train(tmp_path / "config.yaml", tmp_path / "model", device="cpu")
    model = read_model(tmp_path / "model")
    for label in (0, 3, 6):
        points = model.sample(200, seed=5, label=str(label)).numpy()
        turn = np.angle(np.exp(-2j * np.pi * label / 8) * (points[:, 0] + 1j * points[:, 1]))
        assert (np.abs(turn) < np.pi / 8).mean() > 0.8, label
    mixed = model.sample(800, seed=5).numpy()
    octants = np.round(np.angle(mixed[:, 0] + 1j * mixed[:, 1]) / (np.pi / 4)).astype(int) % 8
    assert (np.bincount(octants, minlength=8) > 40).all()
    with pytest.raises(UserError, match="there is no class '8': they are 0, 1"):
        model.sample(1, seed=5, label="8")
    capsys.readouterr()

"""Whether a discriminator knows its training samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from gansearch.data.load import load
from gansearch.errors import DataError
from gansearch.losses import LOSSES
from gansearch.metrics.reference import HeldOut, load_reference, save_reference
from gansearch.study.document import parse_document
from gansearch.training.dry_run import rehearse
from gansearch.training.overfitting import HELD_OUT, Exam
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.trainer import Trainer
from gansearch.training.validation import read_study
from gansearch.training.variational import build_trainer

SECTION = {"evaluation": {"samples": 50, "metrics": [{"name": "fd_classifier"}], "held_out": 100}}


class Brightness(nn.Module):
    """Calls a sample real by its mean; of a pack, by that of all of it."""

    def forward(self, samples):
        return samples.flatten(1).mean(1)


def stored(*levels):
    return np.stack([np.full((1, 8, 8), level, np.uint8) for level in levels])


def exam(tiny, digits, known, held, count=100, **discriminator):
    asked = {"evaluation": SECTION["evaluation"] | {"held_out": count}, "batch_size": 12}
    config = tiny(**asked, discriminator={"name": "mlp", "width": 16, "depth": 1, **discriminator})
    return Exam(config, torch.from_numpy(known), None, HeldOut(held, None), digits.domain)


def test_the_gap_is_between_training_and_held_out_samples(tiny, digits):
    asked = exam(tiny, digits, stored(200, 200, 200, 50), stored(200, 50, 50, 50))
    found = asked.ask(Brightness(), LOSSES.build("hinge", {}), torch.zeros(4, 1, 8, 8).byte(), None)
    assert found == {"d_real_train": 0.75, "d_real_held_out": 0.25, "d_gap": 0.5}


def test_a_critic_decides_in_the_middle_of_its_means(tiny, digits):
    known, held = stored(250, 250), stored(250, 180)
    fakes = torch.from_numpy(stored(150, 150))
    found = exam(tiny, digits, known, held).ask(
        Brightness(), LOSSES.build("wasserstein", {}), fakes, None
    )
    assert (found["d_real_train"], found["d_real_held_out"]) == (1.0, 0.5)


def test_packs_are_judged_as_one(tiny, digits):
    known, held = stored(255, 255, 255), stored(255, 0, 0)
    asked = exam(tiny, digits, known, held, pack=2)
    seen = []

    class Counting(Brightness):
        def forward(self, samples):
            seen.append(tuple(samples.shape))
            return super().forward(samples)

    asked.ask(Counting(), LOSSES.build("hinge", {}), torch.from_numpy(stored(0, 0)), None)
    assert seen == [(1, 2, 8, 8), (1, 2, 8, 8)]


def test_a_pack_is_never_cut_in_two(tiny, digits):
    """However many samples are asked about at once: 3 do not divide 256."""
    bright = np.tile(stored(200), (300, 1, 1, 1))
    asked = exam(tiny, digits, bright, bright, count=300, pack=3)
    found = asked.ask(Brightness(), LOSSES.build("hinge", {}), torch.zeros(3, 1, 8, 8).byte(), None)
    assert found == {"d_real_train": 1.0, "d_real_held_out": 1.0, "d_gap": 0.0}


def test_a_discriminator_of_few_samples_learns_them_by_heart(tiny, digits, places):
    config = tiny(
        **SECTION,
        generator={"name": "mlp", "depth": 2, "width": 128},
        discriminator={"name": "mlp", "depth": 2, "width": 256, "norm": "none"},
        budget={"steps": 300, "report_every": 300},
        batch_size=32,
        optimizer={"generator": {"lr": 1e-3}, "discriminator": {"lr": 1e-3}},
    )
    known = prepare(config, digits, places)
    gaps = {}
    for count in (64, len(digits.samples)):
        data = digits.pick(np.arange(count))
        (report,) = [Trainer(config, data, known).advance()]
        gaps[count] = report.metrics["d_gap"]
        assert report.metrics["d_gap"] == pytest.approx(
            report.metrics["d_real_train"] - report.metrics["d_real_held_out"]
        )
    assert gaps[64] > 0.3
    assert gaps[64] > 2 * abs(gaps[len(digits.samples)])


def test_what_is_asked_changes_no_curve_and_is_read_again(tiny, digits, places, reference, tmp_path):
    config = tiny(**SECTION)
    known = prepare(config, digits, places)
    save_reference(known, tmp_path / "reference")
    read = load_reference(tmp_path / "reference")
    np.testing.assert_array_equal(read.held_out.samples, known.held_out.samples)
    np.testing.assert_array_equal(read.held_out.labels, known.held_out.labels)
    one, other = Trainer(config, digits, read), Trainer(tiny(), digits, reference)
    ours, theirs = one.advance().metrics, other.advance().metrics
    assert set(ours) - set(theirs) == set(HELD_OUT)
    assert set(HELD_OUT) <= set(one.provenance())
    assert all(ours[k] == theirs[k] for k in theirs if k != "images_per_second")
    ours, theirs = one.advance().metrics, other.advance().metrics
    assert all(ours[k] == theirs[k] for k in theirs if k != "images_per_second")


def test_classes_are_told(tiny, digits, places):
    told = {"name": "mlp", "depth": 1, "width": 16, "conditional": True}
    config = tiny(**SECTION, generator=told, discriminator=told, loss="wasserstein")
    assert "d_gap" in Trainer(config, digits, prepare(config, digits, places)).advance().metrics


def test_an_autoencoder_has_none(tiny, digits, places):
    config = tiny(**SECTION, loss="vae")
    report = build_trainer(config, digits, prepare(config, digits, places)).advance()
    assert "d_gap" not in report.metrics


def test_too_many_are_refused(tiny, digits, places):
    many = {"evaluation": {**SECTION["evaluation"], "held_out": 10_000}}
    with pytest.raises(DataError, match=r"evaluation.held_out: 10000 are asked for"):
        prepare(tiny(**many), digits, places)


def test_check_refuses_them_where_a_run_does(tmp_path):
    asked = {"metrics": ["fd_classifier"], "samples": 50, "held_out": 298}
    network = {"name": "mlp", "depth": 1, "width": 8}
    tree = {"evaluation": asked, "generator": network, "discriminator": network}
    spec, data = read_study(parse_document(yaml.safe_dump(tree), "study.yaml"), tmp_path)
    with pytest.raises(DataError, match="298 are asked for, and the test split of digits has 297"):
        rehearse(spec, data, LocalPaths(tmp_path, tmp_path))


def test_points_have_held_out_ones_too(tiny, places, tmp_path):
    from gansearch.study.config import TrialConfig
    from gansearch.training.completion import complete

    data = load("ring", {"samples": 500}, root=tmp_path, split="train")
    tree = {
        "data": {"name": "ring", "samples": 500},
        "evaluation": {"held_out": 40, "samples": 20},
        "batch_size": 16,
        "budget": {"steps": 2, "report_every": 2},
    }
    config, found = complete(TrialConfig.model_validate(tree), data.domain)
    assert not found
    assert "d_gap" in Trainer(config, data, prepare(config, data, places)).advance().metrics

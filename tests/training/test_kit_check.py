"""`check` trains a step of what the kit offers, of points and of classes too, and doubts nothing."""

from __future__ import annotations

import warnings

import pytest
import yaml

from gansearch.errors import Doubt
from gansearch.training.dry_run import rehearse
from gansearch.training.prepare import LocalPaths
from gansearch.training.validation import load_study

MLP = {"name": "mlp", "depth": 1, "width": 8}
STUDY = {
    "question": "Does it work?",
    "generator": MLP,
    "discriminator": MLP,
    "latent_size": 4,
    "batch_size": 16,
    "evaluation": {"metrics": [], "samples": 20},
    "objective": {"metric": "g_loss", "goal": "min"},
    "search": {"trials": 1},
}

SECTIONS = {
    "classes": {"generator": MLP | {"conditional": True}, "discriminator": MLP | {"conditional": True}},
    "conditional norm": {
        "generator": {"name": "resnet", "width": 4, "norm": "conditional-batch", "conditional": True},
        "discriminator": {"name": "sndcgan", "width": 4, "conditional": True},
    },
    "points": {"data": "ring", "generator": MLP | {"mixture": 3, "diversity": 1.0}},
    "a ratio": {
        "optimizer": {
            "generator": {"lr": {"log": [1e-4, 1e-2]}},
            "discriminator": {"lr": {"ratio": {"of": "optimizer.generator.lr", "log": [0.5, 2]}}},
        }
    },
    "packs or noise": {
        "discriminator": {
            "choice": [MLP | {"pack": 2}, MLP | {"noise": {"std": {"log": [0.01, 1]}}}, MLP]
        }
    },
}


@pytest.mark.parametrize("name", SECTIONS)
def test_a_study_is_tried_out(tmp_path, name):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(STUDY | SECTIONS[name]))
    spec, data = load_study(file, tmp_path)
    again = tmp_path / "again.yaml"
    again.write_text(spec.to_yaml())
    assert load_study(again, tmp_path)[0].digest == spec.digest
    with warnings.catch_warnings():
        warnings.simplefilter("error", Doubt)
        assert rehearse(spec, data, LocalPaths(tmp_path, tmp_path)) >= 1

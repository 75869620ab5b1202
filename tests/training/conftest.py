from pathlib import Path

import pytest

from gansearch.study.config import TrialConfig
from gansearch.training.completion import complete
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.trainer import Trainer


@pytest.fixture(scope="session")
def places(tmp_path_factory) -> LocalPaths:
    root = tmp_path_factory.mktemp("places")
    return LocalPaths(root / "data", root / "cache")


@pytest.fixture(scope="session")
def digits():
    from gansearch.data.load import load

    return load("digits", {}, root=Path(), split="train")


@pytest.fixture(scope="session")
def tiny(digits):
    """A small, complete configuration; keyword arguments replace its sections."""

    def make(**sections) -> TrialConfig:
        tree = {
            "generator": {"name": "mlp", "depth": 1, "width": 16},
            "discriminator": {"name": "mlp", "depth": 1, "width": 16},
            "batch_size": 16,
            "latent_size": 8,
            "budget": {"steps": 20, "report_every": 5},
            "evaluation": {"samples": 50, "metrics": [{"name": "fd_classifier"}]},
        }
        config, found = complete(TrialConfig.model_validate(tree | sections), digits.domain)
        assert not found
        return config

    return make


@pytest.fixture(scope="session")
def reference(tiny, digits, places):
    return prepare(tiny(), digits, places)


@pytest.fixture
def trainer(tiny, digits, reference):
    def make(**sections) -> Trainer:
        return Trainer(tiny(**sections), digits, reference)

    return make

"""Real MLflow throughout: a SQLite store, migrated once and copied for each test."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from gansearch.tracking import Tracker, default_store
from gansearch.tracking.client import open_client

from .helpers import STUDY


@pytest.fixture(scope="session")
def migrated(tmp_path_factory):
    uri, _ = default_store(root := tmp_path_factory.mktemp("migrated"))
    open_client(uri).search_experiments()
    return root / "mlflow.db"


@pytest.fixture
def runs_dir(tmp_path, migrated):
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def samples(tmp_path) -> Callable[[int, int], Path | None]:
    """A grid at every second report."""
    (tmp_path / "png").mkdir()

    def sample(number: int, step: int) -> Path | None:
        path = tmp_path / "png" / f"{number}-{step}.png"
        if step % 200:
            return None
        if not path.exists():
            Image.new("RGB", (8, 8), (step % 256, number, 0)).save(path)
        return path

    return sample


@pytest.fixture
def tracker(runs_dir, samples) -> Callable[..., Tracker]:
    """Trackers on this test's own store, unless another is given."""

    def make(uri: str | None = None, **options) -> Tracker:
        default, artifacts = default_store(runs_dir)
        options = {
            "metric": "fd",
            "goal": "min",
            "artifacts": None if uri else artifacts,
            "study_file": "question: which loss?\n",
            "study_tags": {"gansearch.version": "0"},
            "samples": samples,
            "interval": 0.05,
        } | options
        return Tracker(uri or default, STUDY, **options)

    return make

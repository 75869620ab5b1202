from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gansearch.data.images import ImageData


def make_stripes(count: int = 400, *, seed: int = 0, channels: int = 1, size: int = 12) -> ImageData:
    """Three classes that differ in the direction and the place of a bright stripe, with noise."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 60, (count, channels, size, size), dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % 3
    images[labels == 0, :, 3:6, :] += 150
    images[labels == 1, :, :, 3:6] += 150
    images[labels == 2, :, :, 8:10] += 150
    return ImageData("stripes", "train", images, labels, 3)


@pytest.fixture(scope="session")
def stripes() -> Callable[..., ImageData]:
    return make_stripes


@pytest.fixture(scope="session")
def data() -> ImageData:
    return make_stripes()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the whole session: the classifier of `data` is trained once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def body_file() -> Path:
    """The real Inception weights, without their head."""
    root = Path(os.environ.get("GANSEARCH_DATA", "no-data"))
    path = root / "inception" / "fid_inception_v3_2015-12-05_body.pt"
    if not path.is_file():
        pytest.skip(f"needs {path} (set GANSEARCH_DATA)")
    return path


@pytest.fixture(scope="session")
def cifar() -> np.ndarray:
    """Real CIFAR-10 images, uint8 N x 3 x 32 x 32."""
    path = Path(os.environ.get("GANSEARCH_DATA", "no-data")) / "cifar-10-batches-bin"
    if not path.is_dir():
        pytest.skip(f"needs {path} (set GANSEARCH_DATA)")
    records = np.fromfile(path / "data_batch_1.bin", np.uint8).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32)

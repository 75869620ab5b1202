from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest


@pytest.fixture(scope="session")
def fashion_root(tmp_path_factory):
    """A folder of data sets with a tiny Fashion-MNIST and MNIST, written by the format."""
    root = tmp_path_factory.mktemp("data")
    chance = np.random.default_rng(0)
    splits = (("train", 40), ("t10k", 20))
    for name, (prefix, count) in itertools.product(("FashionMNIST", "MNIST"), splits):
        raw = root / name / "raw"
        raw.mkdir(parents=True, exist_ok=True)
        images = chance.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = struct.pack(">HBB", 0, 8, array.ndim)
            sizes = struct.pack(f">{array.ndim}I", *array.shape)
            (raw / f"{prefix}-{kind}-ubyte").write_bytes(header + sizes + array.tobytes())
    return root

"""Tiny data sets, written byte by byte in the formats that their publishers describe."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest


def write_idx(file: Path, array: np.ndarray) -> None:
    """LeCun's IDX: two zero bytes, 8 for uint8, the number of axes, their sizes, the values."""
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    file.write_bytes(header + array.tobytes())


@pytest.fixture
def pixels():
    return np.random.default_rng(0)


@pytest.fixture
def idx_root(tmp_path, pixels):
    """A root with MNIST and Fashion-MNIST of 20 train and 10 test images, and what is in them."""
    written = {}
    for kind in ("MNIST", "FashionMNIST"):
        raw = tmp_path / kind / "raw"
        raw.mkdir(parents=True)
        for prefix, split, count in (("train", "train", 20), ("t10k", "test", 10)):
            images = pixels.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            labels = (np.arange(count) % 10).astype(np.uint8)
            write_idx(raw / f"{prefix}-images-idx3-ubyte", images)
            write_idx(raw / f"{prefix}-labels-idx1-ubyte", labels)
            written[kind, split] = images, labels
    return tmp_path, written


@pytest.fixture
def cifar_root(tmp_path, pixels):
    """A root with the binary CIFAR-10, three images a batch, and what is in it."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    written = {}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        images = pixels.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
        labels = pixels.integers(0, 10, 3, dtype=np.uint8)
        rows = [bytes([label]) + image.tobytes() for label, image in zip(labels, images, strict=True)]
        (folder / f"{name}.bin").write_bytes(b"".join(rows))
        written[name] = images, labels
    return tmp_path, written

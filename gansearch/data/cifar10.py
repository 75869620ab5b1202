"""CIFAR-10 in either of its official forms, the binary or the Python version."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gansearch.data.download import datasets, ensure, reading
from gansearch.data.images import ImageData

TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = ("test_batch",)
RECORD = 1 + 3 * 32 * 32
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10(root: Path, split: str, _image_size: int | None) -> ImageData:
    """50,000 train and 10,000 test images, 32 x 32, RGB, 10 classes (Krizhevsky 2009).

    Reads `cifar-10-batches-bin` below the root if it is complete, else `cifar-10-batches-py`,
    which is downloaded if it is missing. Raises `DataError`.
    """
    batches = TRAIN if split == "train" else TEST
    binary = root / "cifar-10-batches-bin"
    if all((binary / f"{batch}.bin").is_file() for batch in TRAIN + TEST):
        images, labels = _read_binary(binary, batches)
    else:
        images, labels = _read_python(root, split)
    return ImageData("cifar10", split, images, labels, 10, names=NAMES)


def _read_binary(folder: Path, batches: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Records of one label byte and 3,072 pixel bytes, channel by channel, row by row."""
    with reading("cifar10", folder):
        records = np.concatenate(
            [np.fromfile(folder / f"{batch}.bin", np.uint8).reshape(-1, RECORD) for batch in batches]
        )
    images = np.ascontiguousarray(records[:, 1:]).reshape(-1, 3, 32, 32)
    return images, records[:, 0].astype(np.int64)


def _read_python(root: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    folder = datasets().CIFAR10.base_folder
    ensure(
        "cifar10",
        root,
        [f"{folder}/{file}" for file in (*TRAIN, *TEST, "batches.meta")],
        lambda into: datasets().CIFAR10(into, download=True),
        instead="cifar-10-batches-bin (the official binary version)",
    )
    with reading("cifar10", root / folder):
        found = datasets().CIFAR10(root, train=split == "train")
    images = np.ascontiguousarray(found.data.transpose(0, 3, 1, 2))
    return images, np.array(found.targets, np.int64)

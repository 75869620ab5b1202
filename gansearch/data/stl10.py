"""STL-10: larger photographs, few of them with labels, in torchvision's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gansearch.data.download import datasets, ensure, reading
from gansearch.data.images import ImageData

NAMES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
SIDE = 96


def stl10(root: Path, split: str, _image_size: int | None, *, unlabeled: bool = False) -> ImageData:
    """5,000 train and 8,000 test images, 96 x 96, RGB, 10 classes (Coates et al. 2011).

    Reads `stl10_binary` below the root, where torchvision puts it. GANs are mostly trained on the
    unlabelled images, brought to 48 x 48 (`image_size: 48`) or 64 x 64.

    Args:
        root: the folder that holds all data sets.
        split: "train" or "test".
        unlabeled: train on the 100,000 images without labels besides; then there are no classes.

    Raises:
        DataError: the files are missing or damaged.
    """
    folder = "stl10_binary"
    with_labels = [f"{split}_X.bin", f"{split}_y.bin"]
    without = ["unlabeled_X.bin"] if unlabeled else []
    files = [f"{folder}/{file}" for file in (*with_labels, *without)]
    ensure("stl10", root, files, lambda into: datasets().STL10(into, download=True))
    with reading("stl10", root / folder):
        images = _images(root / folder / with_labels[0])
        labels = np.fromfile(root / folder / with_labels[1], np.uint8).astype(np.int64) - 1
        if not unlabeled:
            return ImageData("stl10", split, images, labels, 10, names=NAMES)
        if split == "train":
            images = np.concatenate([images, _images(root / folder / without[0])])
    return ImageData("stl10", split, images, None, 0)


def _images(file: Path) -> np.ndarray:
    """uint8 [N, 3, 96, 96]; the file holds each channel column by column."""
    stored = np.fromfile(file, np.uint8).reshape(-1, 3, SIDE, SIDE)
    return np.ascontiguousarray(stored.transpose(0, 1, 3, 2))

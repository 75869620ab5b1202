"""SVHN: house numbers photographed in streets, in torchvision's layout."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from gansearch.data.download import datasets, ensure, reading
from gansearch.data.images import ImageData


def svhn(root: Path, split: str, _image_size: int | None, *, extra: bool = False) -> ImageData:
    """73,257 train and 26,032 test images of digits, 32 x 32, RGB, 10 classes (Netzer et al. 2011).

    Reads `train_32x32.mat` and its like below the root, where torchvision puts them.

    Args:
        root: the folder that holds all data sets.
        split: "train" or "test".
        extra: train on the 531,131 easier images of `extra_32x32.mat` besides.

    Raises:
        DataError: the files are missing or damaged.
    """
    parts = ["train", "extra"] if split == "train" and extra else [split]
    images, labels = [], []
    for part in parts:
        file = f"{part}_32x32.mat"
        ensure("svhn", root, [file], partial(_download, part))
        with reading("svhn", root / file):
            from scipy.io import loadmat  # noqa: PLC0415

            found = loadmat(root / file)
            images.append(np.ascontiguousarray(found["X"].transpose(3, 2, 0, 1)))
            labels.append(found["y"].reshape(-1).astype(np.int64) % 10)  # the digit 0 is class 10 there
    return ImageData("svhn", split, np.concatenate(images), np.concatenate(labels), 10)


def _download(part: str, into: Path) -> None:
    datasets().SVHN(into, split=part, download=True)

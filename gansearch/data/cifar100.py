"""CIFAR-100 in either of its official forms, the binary or the Python version."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gansearch.data.download import datasets, ensure, reading
from gansearch.data.images import ImageData

RECORD = 2 + 3 * 32 * 32


def cifar100(root: Path, split: str, _image_size: int | None) -> ImageData:
    """50,000 train and 10,000 test images, 32 x 32, RGB, 100 classes (Krizhevsky 2009).

    Reads `cifar-100-binary` below the root if it is complete, else `cifar-100-python`, which is
    downloaded if it is missing. The labels are the fine ones. Raises `DataError`.
    """
    binary = root / "cifar-100-binary"
    if all((binary / f"{name}.bin").is_file() for name in ("train", "test")):
        images, labels, names = _read_binary(binary, split)
    else:
        images, labels, names = _read_python(root, split)
    return ImageData("cifar100", split, images, labels, 100, names=names)


def _read_binary(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Records of a coarse and a fine label and 3,072 pixel bytes, channel by channel, row by row."""
    with reading("cifar100", folder):
        records = np.fromfile(folder / f"{split}.bin", np.uint8).reshape(-1, RECORD)
        known = folder / "fine_label_names.txt"
        names = tuple(known.read_text().split()) if known.is_file() else ()
    images = np.ascontiguousarray(records[:, 2:]).reshape(-1, 3, 32, 32)
    return images, records[:, 1].astype(np.int64), names


def _read_python(root: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    folder = datasets().CIFAR100.base_folder
    ensure(
        "cifar100",
        root,
        [f"{folder}/{file}" for file in ("train", "test", "meta")],
        lambda into: datasets().CIFAR100(into, download=True),
        instead="cifar-100-binary (the official binary version)",
    )
    with reading("cifar100", root / folder):
        found = datasets().CIFAR100(root, train=split == "train")
    images = np.ascontiguousarray(found.data.transpose(0, 3, 1, 2))
    return images, np.array(found.targets, np.int64), tuple(found.classes)

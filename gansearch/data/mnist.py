"""MNIST and Fashion-MNIST: 60,000 train and 10,000 test images, 28 x 28, gray, 10 classes.

Read by torchvision from its usual layout, `MNIST/raw` and `FashionMNIST/raw` below the root.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gansearch.data.download import datasets, ensure, reading
from gansearch.data.images import ImageData

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def mnist(root: Path, split: str, _image_size: int | None) -> ImageData:
    """Handwritten digits, 28 x 28, gray, 10 classes, 60,000 train, 10,000 test (LeCun et al. 1998).

    Raises `DataError`.
    """
    return _load("mnist", datasets().MNIST, root, split)


def fashion_mnist(root: Path, split: str, _image_size: int | None) -> ImageData:
    """Clothes, 28 x 28, gray, 10 classes, 60,000 train, 10,000 test.

    Xiao et al. 2017 (arXiv 1708.07747). Raises `DataError`.
    """
    return _load("fashion-mnist", datasets().FashionMNIST, root, split)


def _load(name: str, kind: Any, root: Path, split: str) -> ImageData:
    folder = f"{kind.__name__}/raw"
    ensure(name, root, [f"{folder}/{file}" for file in FILES], lambda into: kind(into, download=True))
    with reading(name, root / folder):
        found = kind(root, train=split == "train")
    names = tuple(found.classes) if name == "fashion-mnist" else ()
    return ImageData(name, split, found.data[:, None].numpy(), found.targets.numpy(), 10, names=names)

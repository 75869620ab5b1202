"""Handwritten digits of 8 x 8 pixels that come with scikit-learn: no download, done in seconds."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from gansearch.data.images import ImageData

TRAIN = 1500


def digits(_root: Path, split: str, _image_size: int | None) -> ImageData:
    """1,797 gray images of 10 digits; the first 1,500 train, the last 297 test.

    The set is ordered by writer, so the last ones come from other hands than the first. Pixels
    0..16 are spread over 0..255. (Alpaydin and Kaynak 1998, UCI Optical Recognition of
    Handwritten Digits.)
    """
    table = _table()
    pixels, target = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    here = slice(None, TRAIN) if split == "train" else slice(TRAIN, None)
    images = np.rint(pixels[here, None] * (255 / 16)).astype(np.uint8)
    return ImageData("digits", split, images, target[here].astype(np.int64), 10)


@functools.cache
def _table() -> np.ndarray:
    """What scikit-learn has: a row an image, its 64 pixels and its digit. The package itself is not
    imported, since SciPy and pandas would come with it.
    """
    package = find_spec("sklearn")
    assert package is not None, "scikit-learn is a dependency"
    assert package.origin is not None
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return np.loadtxt(file, delimiter=",")

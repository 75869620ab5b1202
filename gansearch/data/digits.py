"""Handwritten digits of 8 x 8 pixels that come with scikit-learn: no download, done in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from gansearch.data.images import ImageData

TRAIN = 1500


def digits(_root: Path, split: str, _image_size: int | None) -> ImageData:
    """1,797 gray images of 10 digits; the first 1,500 train, the last 297 test.

    The set is ordered by writer, so the last ones come from other hands than the first. Pixels
    0..16 are spread over 0..255. (Alpaydin and Kaynak 1998, UCI Optical Recognition of
    Handwritten Digits.)
    """
    found = load_digits()
    here = slice(None, TRAIN) if split == "train" else slice(TRAIN, None)
    images = np.rint(found.images[here, None] * (255 / 16)).astype(np.uint8)
    return ImageData("digits", split, images, found.target[here].astype(np.int64), 10)

"""Stacked digits: two or three small images as the channels of one, a mode for each combination."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from gansearch.data.digits import digits as small_digits
from gansearch.data.images import ImageData
from gansearch.data.mnist import fashion_mnist, mnist

SOURCES = {"mnist": mnist, "fashion-mnist": fashion_mnist, "digits": small_digits}


def stacked_mnist(
    root: Path,
    split: str,
    image_size: int | None,
    *,
    digits: Literal[2, 3] = 3,
    samples: Annotated[int, Field(ge=2, le=10_000_000)] = 128_000,
    source: Literal["mnist", "fashion-mnist", "digits"] = "mnist",
) -> ImageData:
    """Three digits in one image, a channel each: 1,000 modes, which are the classes.

    Srivastava et al. 2017 (arXiv 1705.07761); Lin et al. 2018 (arXiv 1712.04086), whose 128,000 images
    are drawn as here: each channel an image of the source at random. Always the same ones.

    Args:
        root: the folder that holds all data sets.
        split: "train" or "test"; the test images are of the source's own, a tenth as many.
        image_size: of the source's images; 28 for MNIST, and 32 fits most networks.
        digits: how many channels hold a digit; of two the third stays black, and there are 100 modes.
        samples: training images.
        source: what is stacked; `digits`, of 8 x 8, needs no download.

    Raises:
        DataError: the source is missing or damaged.
    """
    found = SOURCES[source](root, split, image_size)
    assert found.labels is not None
    count = max(samples // 10, 2) if split == "test" else samples
    chance = np.random.default_rng([digits, split == "test"])
    rows = chance.integers(0, len(found.images), (count, digits))
    images = np.zeros((count, 3, *found.images.shape[2:]), np.uint8)
    images[:, :digits] = found.images[rows, 0]
    places = 10 ** np.arange(digits)[::-1]
    labels = (found.labels[rows] * places).sum(1)
    names = tuple(f"{mode:0{digits}d}" for mode in range(10**digits))
    name = "stacked-mnist" if source == "mnist" else f"stacked-{source}"
    return ImageData(name, split, images, labels, 10**digits, names=names)

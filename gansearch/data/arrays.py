"""A user's own arrays: `.npy`, or `.npz` with labels beside."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from gansearch.data.array_file import read_arrays
from gansearch.data.images import ImageData
from gansearch.data.points import PointData, of_points


def image_array(root: Path, split: str, _image_size: int | None, *, path: str) -> ImageData:
    """Images of your own in one NumPy file, `.npy` or `.npz`, uint8 from 0 to 255.

    A file is N x H x W, N x H x W x C or N x C x H x W, C is 1 or 3. Of an `.npz` the arrays are called
    `images` and, if there are any, `labels` (whole numbers from 0, N of them); or `train_images`,
    `train_labels`, `test_images` and `test_labels`. What has no test images is split here: about one
    sample in ten, always the same ones, is for testing. Nothing pickled is read.

    Args:
        root: the folder that holds all data sets.
        split: "train" or "test".
        path: the file, absolute or below the root.

    Raises:
        DataError: there is no such file, or it does not hold such arrays.
    """
    own = read_arrays("image-array", root, path, "images", _pixels)
    samples, labels = own.part(split)
    return ImageData(
        "image-array",
        split,
        np.ascontiguousarray(samples),
        labels,
        own.classes(labels),
        notes=own.notes,
    )


@of_points
def point_array(
    root: Path,
    split: str,
    _image_size: int | None,
    *,
    path: str,
    scale: Annotated[float | None, Field(gt=0)] = None,
) -> PointData:
    """Points of your own in one NumPy file, `.npy` or `.npz`, N x D numbers.

    Of an `.npz` the arrays are called `points` and `labels`, with `train_` or `test_` before them if
    they are split; what has no test points has about one in ten, always the same ones, for testing.
    Nothing pickled is read.

    Args:
        root: the folder that holds all data sets.
        split: "train" or "test".
        path: the file, absolute or below the root.
        scale: the units of the data that are 1 for the networks; None: the largest absolute value of
            the training points.

    Raises:
        DataError: there is no such file, or it does not hold such arrays.
    """
    own = read_arrays("point-array", root, path, "points", _rows)
    points, labels = own.part(split)
    training, _ = own.part("train")
    unit = float(np.abs(training.astype(np.float64)).max(initial=0.0)) if scale is None else scale
    return PointData(
        "point-array",
        split,
        points.astype(np.float32),
        labels,
        own.classes(labels),
        scale=unit if unit > 0 else 1.0,
        notes=own.notes,
    )


def _pixels(images: np.ndarray) -> np.ndarray:
    """uint8 N x C x H x W, whichever way the channels lie; raises `ValueError` with what is wrong."""
    shape = " x ".join(map(str, images.shape))
    if images.ndim not in (3, 4):
        raise ValueError(f"has the shape {shape}, not N x H x W, N x H x W x C or N x C x H x W")
    if images.dtype != np.uint8:
        raise ValueError(f"holds {images.dtype}, not uint8: bring it to 0..255 first")
    if images.ndim == 3:
        return images[:, None]
    if images.shape[1] in (1, 3):
        return images
    if images.shape[3] in (1, 3):
        return images.transpose(0, 3, 1, 2)
    mend = ""
    if 4 in images.shape[1::2]:  # transparency
        mend = f": take the first three, [{':, :3' if images.shape[1] == 4 else '..., :3'}]"
    raise ValueError(
        f"has the shape {shape}: neither the second nor the last are 1 or 3 channels{mend}"
    )


def _rows(points: np.ndarray) -> np.ndarray:
    """Real numbers N x D; raises `ValueError` with what is wrong."""
    if points.ndim != 2:
        mend = ": use [:, None] for points of one number" if points.ndim == 1 else ""
        raise ValueError(f"has the shape {' x '.join(map(str, points.shape))}, not N x D{mend}")
    if points.dtype.kind not in "iuf":
        raise ValueError(f"holds {points.dtype}, not real numbers")
    with np.errstate(over="ignore"):
        seen = points.astype(np.float32)
    if not np.isfinite(seen).all():
        raise ValueError(
            "holds values that are not finite, or too large for float32: mend or scale them"
        )
    if points.any() and not seen.any():
        raise ValueError("holds values too small for float32: scale them")
    return points

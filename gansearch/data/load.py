"""Load a data set by name: find the loader, check what it gives, resize it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import interpolate

from gansearch import files
from gansearch.data import DATASETS, DataSet, ImageData, PointData
from gansearch.errors import DataError


def load(
    name: str,
    options: Mapping[str, Any],
    *,
    root: Path,
    split: Literal["train", "test"],
    image_size: int | None = None,
) -> DataSet:
    """One split of a data set, whole and in memory.

    Args:
        name: a name in `DATASETS`, or `package.module:function`.
        options: the loader's own options.
        root: the folder that holds all data sets; missing ones are downloaded into it.
        split: which part of the data.
        image_size: height and width of images in pixels; None keeps the data set's own.

    Raises:
        UnknownPart: no data set of that name.
        DataError: the files are missing, damaged, or hold neither square images of 1 or 3
            channels nor points, or points are to be resized, or memory does not hold them.
        ValueError: an option that the loader does not have, or a value it does not take.
    """
    try:
        data = DATASETS.build(name, options, files.expanded(root), split, image_size)
    except MemoryError as error:
        mend = " (data.image_size may be too large)" if image_size else ""
        raise DataError(f"data set '{name}': memory does not hold it: {error}{mend}") from error
    given: Any = data  # by a loader of the user's own
    if not isinstance(given, ImageData | PointData):
        kind = type(given).__name__
        raise DataError(f"data set '{name}': gives {kind}, not ImageData or PointData (gansearch.data)")
    validate(data)
    if isinstance(data, PointData):
        if image_size is not None:
            raise DataError(f"data set '{name}' holds points: data.image_size is for images")
        return data
    if image_size is None or image_size == data.shape[1]:
        return data
    try:
        return replace(data, images=resize(data.images, image_size))
    except (MemoryError, RuntimeError) as error:  # RuntimeError: torch's words for no memory
        words = f"its images cannot be brought to data.image_size {image_size}: {error}"
        raise DataError(f"data set '{name}': {words}") from error


def resize(images: np.ndarray, size: int, *, chunk: int = 4096) -> np.ndarray:
    """uint8 [N, C, H, W] -> uint8 [N, C, size, size], bilinear, antialiased where it shrinks.

    Works through `chunk` images at a time, which bounds the memory besides the two arrays.
    """
    resized = np.empty((*images.shape[:2], size, size), np.uint8)
    for start in range(0, len(images), chunk):
        part = torch.from_numpy(np.ascontiguousarray(images[start : start + chunk]))
        resized[start : start + chunk] = interpolate(
            part, size=(size, size), mode="bilinear", antialias=True
        ).numpy()
    return resized


def validate(data: DataSet) -> None:
    """Raise `DataError` with all that `ImageData` or `PointData` promises and this one breaks."""
    if wrong := _wrong_arrays(data) or _wrong_values(data):
        raise DataError(f"data set '{data.name}' ({data.split}): {'; '.join(wrong)}")


def _wrong_arrays(data: DataSet) -> list[str]:
    """What is no array of NumPy's: a list, a tensor."""
    noun = "images" if isinstance(data, ImageData) else "points"
    arrays = {noun: data.samples, "labels": data.labels}
    return [
        f"{what} are of type {type(array).__name__}, not NumPy's array"
        for what, array in arrays.items()
        if not isinstance(array, np.ndarray) and (array is not None or what != "labels")
    ]


def _wrong_values(data: DataSet) -> list[str]:
    """What is wrong in arrays of NumPy's."""
    if isinstance(data, PointData):
        return [*_wrong_points(data), *_wrong_labels(data)]
    wrong = _wrong_images(data.images)
    if data.images.ndim == 4:  # else there are no images to which labels could belong
        wrong += _wrong_labels(data)
    return wrong


def _wrong_images(images: np.ndarray) -> list[str]:
    if images.ndim != 4:
        return [f"images have shape {images.shape}, not N x C x H x W"]
    count, channels, height, width = images.shape
    wrong = []
    if images.dtype != np.uint8:
        wrong.append(f"images are {images.dtype}, not uint8")
    if not count:
        wrong.append("there are no images")
    if not height * width:
        wrong.append(f"images are {height}x{width}, without a pixel")
    if channels not in {1, 3}:
        wrong.append(f"images have {channels} channels, not 1 or 3")
    if height != width:
        wrong.append(f"images are {height}x{width}, not square: crop or pad them")
    return wrong


def _wrong_points(data: PointData) -> list[str]:
    points, mixture = data.points, data.mixture
    if points.ndim != 2 or not points.shape[1]:
        return [f"points have shape {points.shape}, not N x D"]
    wrong = []
    if points.dtype != np.float32:
        wrong.append(f"points are {points.dtype}, not float32")
    if not len(points):
        wrong.append("there are no points")
    if not np.isfinite(points).all():
        wrong.append("points are not finite")
    if not (np.isfinite(data.scale) and data.scale > 0):
        wrong.append(f"the scale is {data.scale}, not above 0")
    if mixture and mixture.centres.shape != (len(mixture.weights), points.shape[1]):
        wrong.append(f"the mixture's centres have shape {mixture.centres.shape}, not K x D")
    return wrong


def _wrong_labels(data: DataSet) -> list[str]:
    labels, classes = data.labels, data.classes
    if labels is None:
        return [] if classes == 0 else [f"{classes} classes but no labels"]
    if labels.dtype != np.int64 or labels.shape != data.samples.shape[:1]:
        one = data.domain.noun
        return [f"labels are {labels.dtype} {labels.shape}, not int64, one for each {one}"]
    if data.names and len(data.names) != classes:
        return [f"{len(data.names)} names for {classes} classes"]
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        return [f"labels lie in {labels.min()}..{labels.max()}, not in 0..{classes - 1}"]
    return []

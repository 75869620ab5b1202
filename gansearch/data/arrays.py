"""A user's own arrays: `.npy`, or `.npz` with labels beside."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from gansearch.data.images import ImageData
from gansearch.data.points import PointData, of_points
from gansearch.errors import DataError

EVERY = 10
"""Of a file that is not split, one sample in so many is for testing."""


def image_array(root: Path, split: str, _image_size: int | None, *, path: str) -> ImageData:
    """Images of your own in one NumPy file, `.npy` or `.npz`, uint8 from 0 to 255.

    A file is N x H x W, N x H x W x C or N x C x H x W, C is 1 or 3. Of an `.npz` the arrays are called
    `images` and, if there are any, `labels` (whole numbers from 0, N of them); or `train_images`,
    `train_labels`, `test_images` and `test_labels`. What is not split so is split here: about one
    sample in ten, always the same ones, is for testing. Nothing pickled is read.

    Args:
        root: the folder that holds all data sets.
        split: "train" or "test".
        path: the file, absolute or below the root.

    Raises:
        DataError: there is no such file, or it does not hold such arrays.
    """
    images, labels = _of_split(_read("image-array", root, path), split, "images", "image-array")
    if images.dtype != np.uint8:
        raise DataError(
            f"data set 'image-array': {path} holds {images.dtype}, not uint8: bring it to 0..255 first"
        )
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    classes = _classes(labels)
    return ImageData("image-array", split, np.ascontiguousarray(images), labels, classes)


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
    they are split; else about one in ten, always the same ones, is for testing. Nothing pickled is
    read.

    Args:
        root: the folder that holds all data sets.
        split: "train" or "test".
        path: the file, absolute or below the root.
        scale: the units of the data that are 1 for the networks; None: the largest absolute value of
            the training points.

    Raises:
        DataError: there is no such file, or it does not hold such arrays.
    """
    arrays = _read("point-array", root, path)
    points, labels = _of_split(arrays, split, "points", "point-array")
    training, _ = _of_split(arrays, "train", "points", "point-array")
    if not np.issubdtype(points.dtype, np.number) or np.iscomplexobj(points):
        raise DataError(f"data set 'point-array': {path} holds {points.dtype}, not real numbers")
    unit = float(np.abs(training.astype(np.float64)).max(initial=0.0)) if scale is None else scale
    return PointData(
        "point-array",
        split,
        points.astype(np.float32),
        labels,
        _classes(labels),
        scale=unit if unit > 0 else 1.0,
    )


def _read(name: str, root: Path, path: str) -> Mapping[str, np.ndarray]:
    """The arrays of a file by their names; of an `.npy` the one has none."""
    try:
        file = root / Path(path).expanduser()
        if not file.is_file():
            raise DataError(
                f"data set '{name}': there is no file {file.absolute()}; "
                "data.path is absolute or lies below --data DIR (or GANSEARCH_DATA)"
            )
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"": found}
        with found:
            return {key: found[key] for key in found.files}
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"data set '{name}': {path} cannot be read: {error}") from error


def _of_split(
    arrays: Mapping[str, np.ndarray], split: str, key: str, name: str
) -> tuple[np.ndarray, np.ndarray | None]:
    """The samples and labels of one split."""
    if f"{split}_{key}" in arrays:
        samples, labels = arrays[f"{split}_{key}"], arrays.get(f"{split}_labels")
        return samples, _whole(labels, name)
    alone = next(iter(arrays)) if len(arrays) == 1 else key
    if alone not in arrays:
        known = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"data set '{name}': there is no array '{key}' (there are: {known})")
    samples, labels = arrays[alone], arrays.get("labels") if alone == key else None
    if samples.ndim == 0:
        raise DataError(f"data set '{name}': '{alone}' is a single value, not {key}")
    if labels is not None and len(labels) != len(samples):
        raise DataError(f"data set '{name}': {len(labels)} labels for {len(samples)} {key}")
    test = np.random.default_rng(0).permutation(len(samples)) % EVERY == 0
    rows = test if split == "test" else ~test
    return samples[rows], _whole(None if labels is None else labels[rows], name)


def _whole(labels: np.ndarray | None, name: str) -> np.ndarray | None:
    if labels is None or np.issubdtype(labels.dtype, np.integer):
        return None if labels is None else labels.reshape(-1).astype(np.int64)
    raise DataError(f"data set '{name}': labels are {labels.dtype}, not whole numbers")


def _classes(labels: np.ndarray | None) -> int:
    return 0 if labels is None or not len(labels) else int(labels.max()) + 1

"""A user's own images: a folder of files, or of one subfolder for each class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from gansearch.data.images import ImageData
from gansearch.errors import DataError

TEST_SHARE = 10
"""One image in so many is a test image."""


def image_folder(
    root: Path,
    split: str,
    image_size: int | None,
    *,
    path: str,
    channels: Literal[1, 3] = 3,
) -> ImageData:
    """All images of a folder in any format that Pillow reads, centre-cropped square and resized.

    Subfolders are classes, numbered in the order of their names; a flat folder has no labels.
    About one image in ten is for testing, chosen by a hash of its path below the folder: adding
    images moves none from one split to the other, and every machine makes the same split. Files
    with other suffixes and hidden ones are passed over; transparency is dropped.

    Args:
        root: the folder that holds all data sets.
        split: "train" or "test".
        image_size: height and width of the result in pixels; needed, as photos differ in size.
        path: the folder, absolute or below the root.
        channels: 3 for RGB, 1 for gray.

    Raises:
        DataError: no such folder, no images in it, no `image_size`, or images that cannot be read.
    """
    folder = root / Path(path).expanduser()
    if image_size is None:
        raise DataError("data set 'image-folder' has no size of its own: set data.image_size")
    files = _find(folder)
    classes = _classes(folder, files)
    here = [file for file in files if _is_test(file) == (split == "test")]
    if not here:
        raise DataError(f"none of the {len(files)} images in {folder} is a {split} image: add some")
    images = _read_all(folder, here, image_size, channels)
    labels = np.array([classes.index(file.parts[0]) for file in here], np.int64) if classes else None
    return ImageData("image-folder", split, images, labels, len(classes))


def _find(folder: Path) -> list[Path]:
    """The image files of a folder and all below it, relative to it, in order."""
    if not folder.is_dir():
        raise DataError(
            f"data set 'image-folder': there is no folder {folder.absolute()}; "
            "data.path is absolute or lies below --data DIR (or GANSEARCH_DATA)"
        )
    suffixes = {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    below = (file.relative_to(folder) for file in sorted(folder.rglob("*")) if file.is_file())
    found = [
        file
        for file in below
        if file.suffix.lower() in suffixes and not any(p.startswith(".") for p in file.parts)
    ]
    if not found:
        raise DataError(f"data set 'image-folder': there are no images in {folder.absolute()}")
    return found


def _classes(folder: Path, files: Sequence[Path]) -> list[str]:
    """The names of the subfolders that hold images; empty for a flat folder."""
    classes = sorted({file.parts[0] for file in files if len(file.parts) > 1})
    loose = [file for file in files if len(file.parts) == 1]
    if classes and loose:
        raise DataError(
            f"data set 'image-folder': {folder.absolute()} has both images ({loose[0]}) and "
            f"subfolders with images ({classes[0]}/): use one or the other"
        )
    return classes


def _is_test(file: Path) -> bool:
    seen = hashlib.sha256(file.as_posix().encode()).digest()
    return int.from_bytes(seen[:8], "big") % TEST_SHARE == 0


def _read_all(folder: Path, files: Sequence[Path], size: int, channels: int) -> np.ndarray:
    """uint8 [N, channels, size, size]; a `DataError` lists the first ten images of bad ones."""
    images = np.empty((len(files), channels, size, size), np.uint8)
    bad: list[str] = []

    def read(index: int) -> None:
        try:
            images[index] = _read(folder / files[index], size, channels)
        except Exception as error:  # each format has failures of its own
            bad.append(f"{files[index]}: {error}")

    with ThreadPoolExecutor() as pool:  # Pillow decodes and resizes without the interpreter's lock
        list(pool.map(read, range(len(files))))
    if bad:
        bad.sort()
        lines = [
            f"data set 'image-folder': {len(bad)} images in {folder} cannot be read",
            *bad[:10],
        ]
        more = [f"and {len(bad) - 10} more"] if len(bad) > 10 else []
        raise DataError("\n  ".join(lines + more))
    return images


def _read(file: Path, size: int, channels: int) -> np.ndarray:
    with Image.open(file) as image:
        if image.mode.startswith(("I", "F")):  # Pillow would clip them at 255 without a word
            raise ValueError(f"more than 8 bits a channel (mode {image.mode})")
        upright = ImageOps.exif_transpose(image).convert("RGB" if channels == 3 else "L")
        square = ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1)

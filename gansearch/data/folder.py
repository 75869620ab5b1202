"""A user's own images: a folder of files, or of one subfolder for each class."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np

from gansearch.data.decoding import Unreadable, decode
from gansearch.data.images import ImageData
from gansearch.data.layout import Layout, arrange
from gansearch.data.walk import Walk, shown, walk
from gansearch.errors import DataError
from gansearch.study.records import count


def image_folder(
    root: Path,
    split: str,
    image_size: int | None,
    *,
    path: str,
    channels: Literal[1, 3] = 3,
) -> ImageData:
    """All images of a folder in any format that Pillow decodes, centre-cropped square and resized.

    Subfolders are classes, numbered in the order of their names; a flat folder has no labels.
    Folders `train/` and `test/` (or `val/`, `valid/`, ...), at the top or in every class folder, are
    the splits. Without them about one image in ten is for testing, chosen by a hash of its path below
    the folder: adding images moves none from one split to the other, and every machine makes the same
    split. Links are followed, and no folder is read twice. What is passed over (hidden files, other
    suffixes) and what is lost (further frames, bits beyond the eighth, transparency) stands in `notes`.

    Args:
        root: the folder that holds all data sets.
        split: "train" or "test".
        image_size: height and width of the result in pixels; needed, as photos differ in size.
        path: the folder, absolute or below the root.
        channels: 3 for RGB, 1 for gray.

    Raises:
        DataError: no such folder, no images in it, no `image_size`, folders that can be read in two
            ways, or files that cannot be read.
    """
    folder = _folder(root, path)
    if image_size is None:
        raise DataError("data set 'image-folder' has no size of its own: set data.image_size")
    found = walk(folder)
    if found.wrong:
        raise DataError(_listed(f"{len(found.wrong)} entries of {folder} cannot be read", found.wrong))
    if not found.images:
        passed = f"; passed over: {found.passed_over}" if found.passed else ""
        raise DataError(f"data set 'image-folder': there are no images in {folder.absolute()}{passed}")
    layout = arrange(folder, found.images)
    here = layout.test if split == "test" else layout.train
    if not here:
        raise DataError(
            f"of {count(len(found.images), 'image')} in {folder} none is a {split} image: add some"
        )
    images, lost = _read_all(folder, here, image_size, channels)
    names = [layout.class_of(file) for file in here] if layout.classes else []
    if None in names:  # labelled for training, and loose for testing
        labels, classes = None, []
    else:
        number = {name: index for index, name in enumerate(layout.classes)}
        labels = np.array([number[name] for name in names if name], np.int64) if names else None
        classes = list(layout.classes)
    notes = (*_notes(found, layout), *lost)
    return ImageData(
        "image-folder", split, images, labels, len(classes), notes=notes, names=tuple(classes)
    )


def _folder(root: Path, path: str) -> Path:
    try:
        folder = root / Path(path).expanduser()
        if folder.is_dir():
            return folder
        place = shown(folder.absolute())
        if folder.exists():
            raise DataError(f"data set 'image-folder': {place} is a file, no folder: unpack it first")
    except (OSError, RuntimeError, ValueError) as error:  # no permission, no such user, no such name
        raise DataError(f"data set 'image-folder': data.path {path!r}: {error}") from error
    raise DataError(
        f"data set 'image-folder': there is no folder {place}; "
        "data.path is absolute or lies below --data DIR (or GANSEARCH_DATA)"
    )


def _notes(found: Walk, layout: Layout) -> list[str]:
    """What was found: files, splits, classes, and what is passed over."""
    counts = f"{len(layout.train):,} for training + {len(layout.test):,} for testing"
    notes = [f"{count(len(found.images), 'file')} of images: {counts}; {layout.words}"]
    if layout.classes:
        told = layout.counts()
        more = f", and {len(told) - 12} more" if len(told) > 12 else ""
        notes.append(f"{len(told)} classes (training + testing): {', '.join(told[:12])}{more}")
    else:
        notes.append("no class folders: no labels")
    notes.append(f"passed over: {found.passed_over or 'nothing'}")
    return notes


def _read_all(
    folder: Path, files: Sequence[Path], size: int, channels: int
) -> tuple[np.ndarray, list[str]]:
    """uint8 [N, channels, size, size], and what was lost of how many, with an example of each."""
    images = np.empty((len(files), channels, size, size), np.uint8)
    bad: list[str] = []
    lost: dict[str, list[str]] = defaultdict(list)

    def read(index: int) -> None:
        name = shown(files[index])
        try:
            images[index], losses = decode(folder / files[index], size, channels)
        except Unreadable as error:
            bad.append(f"{name}: {error}")
            return
        for loss in losses:
            lost[loss].append(name)

    with warnings.catch_warnings():  # Pillow's words on large images, damaged EXIF data, ...
        warnings.simplefilter("ignore")
        with ThreadPoolExecutor() as pool:  # Pillow decodes without the interpreter's lock
            list(pool.map(read, range(len(files))))
    if bad:
        raise DataError(_listed(f"{count(len(bad), 'image')} in {folder} cannot be read", bad))
    return images, [
        f"{len(names):,} of the {len(files):,} images read {loss} ({min(names)})"
        for loss, names in sorted(lost.items())
    ]


def _listed(head: str, lines: list[str]) -> str:
    """A message with the first ten lines and the number of the others."""
    lines = sorted(lines)
    more = [f"and {len(lines) - 10} more"] if len(lines) > 10 else []
    return "\n  ".join([f"data set 'image-folder': {head}", *lines[:10], *more])

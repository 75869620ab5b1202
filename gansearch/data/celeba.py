"""CelebA: faces of celebrities, aligned, in torchvision's layout."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from gansearch.data.decoding import Unreadable, decode
from gansearch.data.download import datasets, ensure, reading
from gansearch.data.images import ImageData
from gansearch.errors import DataError

PARTITION = "celeba/list_eval_partition.txt"
IMAGES = "celeba/img_align_celeba"
SPLITS = {"train": ("0",), "test": ("2",)}


def celeba(root: Path, split: str, image_size: int | None) -> ImageData:
    """162,770 train and 19,962 test faces, 178 x 218, RGB, no classes (Liu et al. 2015, arXiv
    1411.7766).

    Reads `celeba/img_align_celeba` and `celeba/list_eval_partition.txt` below the root, where
    torchvision puts them. Images are cut to their middle square and resized; 19,867 for validation
    are left out.

    Args:
        root: the folder that holds all data sets.
        split: "train" or "test".
        image_size: height and width of the result in pixels; needed.

    Raises:
        DataError: no `image_size`, or the files are missing or damaged.
    """
    if image_size is None:
        raise DataError("data set 'celeba' is not square: set data.image_size (64 is usual)")
    ensure("celeba", root, [PARTITION], lambda into: datasets().CelebA(into, download=True))
    with reading("celeba", root / PARTITION):
        rows = [line.split() for line in (root / PARTITION).read_text().splitlines() if line.strip()]
        names = [name for name, part in rows if part in SPLITS[split]]
    images = np.empty((len(names), 3, image_size, image_size), np.uint8)

    def read(index: int) -> None:
        images[index], _ = decode(root / IMAGES / names[index], image_size, 3)

    try:
        with ThreadPoolExecutor() as pool:  # Pillow decodes without the interpreter's lock
            list(pool.map(read, range(len(names))))
    except Unreadable as error:
        place = root / IMAGES
        raise DataError(f"data set 'celeba': an image in {place} cannot be read: {error}") from error
    return ImageData("celeba", split, images, None, 0)

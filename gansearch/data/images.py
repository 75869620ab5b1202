"""A data set in memory: one uint8 array and its labels."""

from __future__ import annotations

import hashlib
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np

from gansearch.data.domain import Images, class_counts, class_names


@dataclass(frozen=True)
class ImageData:
    """Images held as they are trained on, in plain arrays that Ray shares between processes.

    Attributes:
        name: the data set ("fashion-mnist").
        split: "train" or "test".
        images: uint8, N x C x H x W, C is 1 or 3, H = W, values 0..255.
        labels: int64, N, values 0..classes-1; None where the data set has none.
        classes: how many classes there are; 0 without labels.
        notes: what the loader found and passed over, a line each; `gansearch check` prints them.
        names: of the classes; empty: their numbers.
    """

    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray | None
    classes: int
    _: KW_ONLY
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def samples(self) -> np.ndarray:
        """The images, as every kind of data calls its samples."""
        return self.images

    @property
    def domain(self) -> Images:
        """What is learnt."""
        names = class_names(self.names, self.classes)
        return Images(self.shape, names, class_counts(self.labels, self.classes))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def digest(self) -> str:
        """SHA-256 over shape, pixels and labels, as 16 hex digits: what caches are keyed by."""
        seen = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        seen.update(np.ascontiguousarray(self.images).data)
        if self.labels is not None:
            seen.update(np.ascontiguousarray(self.labels).data)
        return seen.hexdigest()[:16]

    def pick(self, rows: np.ndarray) -> ImageData:
        """Some of it."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, images=self.images[rows], labels=labels)

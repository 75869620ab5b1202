"""Points in memory, and data sets of them: mixtures of Gaussians that are known, and a single point."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import Field

from gansearch.data.domain import SHOWN, Points, class_counts, class_names

Loader = TypeVar("Loader", bound=Callable[..., "PointData"])


@dataclass(frozen=True)
class Mixture:
    """The Gaussians that a data set is known to be drawn from, all round and of one width.

    Attributes:
        centres: float64, K x D.
        deviation: the standard deviation of each in each direction.
        weights: float64, K: their shares, which sum to 1.
    """

    centres: np.ndarray
    deviation: float
    weights: np.ndarray


@dataclass(frozen=True)
class PointData:
    """Points held as they are, in plain arrays that Ray shares between processes.

    Attributes:
        name: the data set ("ring").
        split: "train" or "test".
        points: float32, N x D, finite.
        labels: int64, N, values 0..classes-1; None where the data set has none.
        classes: how many classes there are; 0 without labels.
        names: of the classes; empty: their numbers.
        scale: the units of the data that are to be 1 for the networks.
        mixture: what the points are drawn from, where that is known.
        notes: as of `ImageData`.
    """

    name: str
    split: str
    points: np.ndarray
    labels: np.ndarray | None = None
    classes: int = 0
    _: KW_ONLY
    names: tuple[str, ...] = ()
    scale: float = 1.0
    mixture: Mixture | None = None
    notes: tuple[str, ...] = ()

    @property
    def samples(self) -> np.ndarray:
        """The points, as every kind of data calls its samples."""
        return self.points

    @property
    def shape(self) -> tuple[int, ...]:
        """(D,)."""
        return tuple(self.points.shape[1:])

    @property
    def domain(self) -> Points:
        """What is learnt."""
        rows = np.linspace(0, len(self.points) - 1, min(SHOWN, len(self.points))).astype(int)
        return Points(
            self.shape,
            class_names(self.names, self.classes),
            class_counts(self.labels, self.classes),
            self.scale,
            len(self.mixture.centres) if self.mixture else 0,
            tuple(map(tuple, self.points[rows].tolist())),
        )

    @property
    def digest(self) -> str:
        """SHA-256 over shape, values, scale and labels, as 16 hex digits."""
        about = ("points", self.points.shape, self.classes, self.scale)
        seen = hashlib.sha256(repr(about).encode())
        seen.update(np.ascontiguousarray(self.points).data)
        if self.labels is not None:
            seen.update(np.ascontiguousarray(self.labels).data)
        return seen.hexdigest()[:16]

    def pick(self, rows: np.ndarray) -> PointData:
        """Some of it."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, points=self.points[rows], labels=labels)


def of_points(loader: Loader) -> Loader:
    """Mark a loader as one of points, so that a study's defaults are a point's without its data."""
    loader.kind = "points"  # type: ignore[attr-defined]
    return loader


Count = Annotated[int, Field(ge=2, le=10_000_000)]
Deviation = Annotated[float, Field(gt=0)]


@of_points
def ring(
    _root: Path,
    split: str,
    _image_size: int | None,
    *,
    modes: Annotated[int, Field(ge=1, le=1000)] = 8,
    deviation: Deviation = 0.01,
    samples: Count = 100_000,
) -> PointData:
    """Gaussians on the unit circle, each a class (`2D-ring`; Lin et al. 2018, arXiv 1712.04086).

    Args:
        modes: how many; 8 there.
        deviation: the standard deviation of each, 0.01 there.
        samples: training points, 100,000 there; a tenth as many are for testing.
    """
    angles = 2 * np.pi * np.arange(modes) / modes
    centres = np.column_stack([np.cos(angles), np.sin(angles)])
    return _drawn("ring", split, centres, deviation, samples, scale=1.0)


@of_points
def grid(
    _root: Path,
    split: str,
    _image_size: int | None,
    *,
    side: Annotated[int, Field(ge=1, le=32)] = 5,
    deviation: Deviation = 0.05,
    samples: Count = 100_000,
) -> PointData:
    """Gaussians 2 apart on a square grid, each a class (`2D-grid`; Lin et al. 2018, arXiv 1712.04086).

    Args:
        side: how many along each side; 5 there, from -4 to 4.
        deviation: the standard deviation of each, 0.05 there.
        samples: training points, 100,000 there; a tenth as many are for testing.
    """
    along = 2.0 * np.arange(side) - (side - 1)
    centres = np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)
    return _drawn("grid", split, centres, deviation, samples, scale=float(max(side - 1, 1)))


@of_points
def dirac(
    _root: Path,
    split: str,
    _image_size: int | None,
    *,
    at: float = 0.0,
    dim: Annotated[int, Field(ge=1)] = 1,
) -> PointData:
    """One point, again and again: what the Dirac-GAN learns (Mescheder et al. 2018, arXiv 1801.04406).

    Args:
        at: each of its coordinates.
        dim: how many it has; 1 there.
    """
    count = 64 if split == "train" else 32
    return PointData("dirac", split, np.full((count, dim), at, np.float32))


def _drawn(
    name: str, split: str, centres: np.ndarray, deviation: float, samples: int, scale: float
) -> PointData:
    """Points of a mixture whose Gaussians are equally likely, always the same ones."""
    test = split == "test"
    chance = np.random.default_rng([len(centres), test])
    count = max(samples // 10, 2) if test else samples
    labels = chance.integers(0, len(centres), count)
    points = centres[labels] + deviation * chance.standard_normal((count, centres.shape[1]))
    mixture = Mixture(centres, deviation, np.full(len(centres), 1 / len(centres)))
    return PointData(
        name,
        split,
        points.astype(np.float32),
        labels,
        len(centres),
        scale=scale,
        mixture=mixture,
    )

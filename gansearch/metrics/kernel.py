"""The Kernel Inception Distance: a distance without a bias, and so of use where samples are few.

Binkowski et al., "Demystifying MMD GANs" (arXiv 1801.01401), section 4: the squared maximum mean
discrepancy of two sets of features under the kernel k(x, y) = (x . y / d + 1)^3, by its unbiased
estimator, averaged over subsets. torch-fidelity is followed to the digit: 100 subsets of 1,000, drawn
by NumPy's `RandomState(2020)`.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gansearch.metrics.contract import Activations, Goal, RealStatistics

SEED = 2020  # torch-fidelity's
LEAF = 128  # points of which all products are made, though half of them would do


class KernelDistance:
    """The kernel distance in the space of one extractor's features (`kernel_distance`).

    Args:
        subsets: it is the mean over so many pairs of subsets.
        subset_size: samples in a subset, of either side.
    """

    features: str | None
    goal: Goal = "min"
    compares_real = True
    ordered = True  # the subsets are drawn by the samples' places

    def __init__(
        self,
        *,
        subsets: Annotated[int, Field(ge=1)] = 100,
        subset_size: Annotated[int, Field(ge=2)] = 1000,
    ) -> None:
        self.subsets, self.subset_size = subsets, subset_size
        self._within: tuple[Tensor, int, float] | None = None

    @property
    def least_samples(self) -> int:
        """Of either side: a subset."""
        return self.subset_size

    def of_real(self, real: Activations) -> dict[str, Tensor]:
        """The real features; raises `ValueError` if they are fewer than a subset."""
        _enough(len(real.features), self.subset_size, "real")
        return {"features": real.features}

    def __call__(self, fake: Activations, real: RealStatistics) -> float:
        """About 0 for equal distributions, also a little below, and unbounded above.

        NaN for non-finite features; `ValueError` for fewer samples than a subset has.
        """
        made, given = fake.features, real["features"]
        if not torch.isfinite(made).all():
            return math.nan
        _enough(len(made), self.subset_size, "generated")
        sides = _Sides(made, given, self.subsets, self.subset_size)
        if self._within is None or self._within[0] is not given or self._within[1] != len(made):
            self._within = given, len(made), sides.within_real()
        return sides.distance(self._within[2])


class KernelInceptionDistance(KernelDistance):
    """The Kernel Inception Distance (KID), on torch-fidelity's Inception.

    Binkowski et al. 2018 (arXiv 1801.01401). Its estimator has no bias, so values of different sample
    counts can be compared, but their noise differs; a little below 0 is as good as 0.

    Args:
        subsets: it is the mean over so many pairs of subsets.
        subset_size: samples in a subset, of either side.
    """

    features = "inception"
    kind = "images"


class KernelClassifierDistance(KernelDistance):
    """The kernel distance on a small classifier's features: for CPUs. Not a KID, not comparable.

    Binkowski et al. 2018 (arXiv 1801.01401).

    Args:
        subsets: it is the mean over so many pairs of subsets.
        subset_size: samples in a subset, of either side.
    """

    features = "classifier"
    kind = "images"


def kernel_distance(
    fake: Tensor, real: Tensor, *, subsets: int = 100, subset_size: int = 1000
) -> float:
    """The mean over pairs of subsets of the unbiased squared MMD of N x d and M x d features.

    Raises:
        ValueError: for fewer samples than a subset has.
    """
    _enough(len(fake), subset_size, "generated")
    _enough(len(real), subset_size, "real")
    sides = _Sides(fake, real, subsets, subset_size)
    return sides.distance(sides.within_real())


def _enough(count: int, size: int, side: str) -> None:
    if count < size:
        raise ValueError(
            f"a kernel distance of subsets of {size:,} needs as many {side} samples, not {count:,}: "
            "ask for more samples, or for a smaller subset_size"
        )


class _Seen(NamedTuple):
    """Features about the real ones' mean, c: x = c + u.

    The kernel needs x . y = c . c + c . u + c . v + u . v. The last is a product of small numbers, for
    which float32 serves; the others are made in float64, once.

    Attributes:
        near: N x d, u, in the features' own precision.
        along: N, c . u, float64.
    """

    near: Tensor
    along: Tensor

    def pick(self, rows: np.ndarray) -> _Seen:
        chosen = torch.from_numpy(rows).to(self.near.device)
        return _Seen(self.near[chosen], self.along[chosen])


class _Sides:
    """Generated and real features, and which of them are in which subset."""

    def __init__(self, fake: Tensor, real: Tensor, subsets: int, size: int) -> None:
        dtype = torch.float64 if torch.float64 in (fake.dtype, real.dtype) else torch.float32
        self._centre = real.mean(0, dtype=torch.float64)
        self._level = float(self._centre @ self._centre)
        self._fake, self._real = (self._seen(side, dtype) for side in (fake, real))
        self._width, self._size = fake.shape[1], size
        random = np.random.RandomState(SEED)
        self._rows = [
            tuple(random.choice(len(side), size, replace=False) for side in (fake, real))
            for _ in range(subsets)
        ]

    def within_real(self) -> float:
        """The mean kernel of two different real samples, the same from report to report."""
        return self._mean([self._within(self._real.pick(real)) for _, real in self._rows])

    def distance(self, within_real: float) -> float:
        pairs = self._size * (self._size - 1)
        made, between = [], []
        for fake_rows, real_rows in self._rows:
            fake, real = self._fake.pick(fake_rows), self._real.pick(real_rows)
            made.append(self._within(fake))
            between.append(self._between(fake, real))
        mean_between = math.fsum(between) / len(between) / self._size**2
        return math.fsum(made) / len(made) / pairs + within_real - 2 * mean_between

    def _mean(self, sums: list[float]) -> float:
        return math.fsum(sums) / len(sums) / (self._size * (self._size - 1))

    def _seen(self, side: Tensor, dtype: torch.dtype) -> _Seen:
        near = torch.empty_like(side, dtype=dtype)
        along = side.new_empty(len(side), dtype=torch.float64)
        for rows in torch.split(torch.arange(len(side), device=side.device), 4096):
            offset = side[rows].double() - self._centre
            near[rows], along[rows] = offset.to(dtype), offset @ self._centre
        return _Seen(near, along)

    def _between(self, left: _Seen, right: _Seen) -> float:
        """The sum of the kernel over all pairs of one of each."""
        products = (left.near @ right.near.T).double()
        products += left.along[:, None] + self._level
        products += right.along
        kernel = products.div_(self._width).add_(1)
        return float((kernel * kernel).mul_(kernel).sum())

    def _within(self, side: _Seen) -> float:
        """The sum of the kernel over all pairs of two different ones, each both ways."""
        count = len(side.near)
        if count <= LEAF:
            squares = side.near.double().square().sum(1) + 2 * side.along + self._level
            return self._between(side, side) - float((squares / self._width + 1).pow(3).sum())
        half = count // 2
        first = _Seen(side.near[:half], side.along[:half])
        second = _Seen(side.near[half:], side.along[half:])
        return self._within(first) + self._within(second) + 2 * self._between(first, second)

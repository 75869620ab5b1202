"""The Kernel Inception Distance: a distance without a bias, and so of use where samples are few.

Binkowski et al., "Demystifying MMD GANs" (arXiv 1801.01401), section 4: the squared maximum mean
discrepancy of two sets of features under the kernel k(x, y) = (x . y / d + 1)^3, by its unbiased
estimator, averaged over subsets. torch-fidelity is followed to the digit: 100 subsets of 1,000, drawn
by NumPy's `RandomState(2020)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gansearch.metrics.contract import Activations, Goal, RealStatistics

SEED = 2020  # torch-fidelity's
TILE = 512  # samples of either side of which all products are made at once: 1 MiB in float32


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

    With s = 1 + (c . c + c . u + c . v) / d and q = u . v / d the kernel is (s + q)^3, or
    s^3 + q (3 s^2 + q (3 s + q)). Sums of s^3 have a closed form; the rest is small: float32 serves.

    Attributes:
        near: N x d, u, in the features' own precision.
        along: N, (c . u + c . c / 2) / d + 1 / 2, float64: the two sides' sum is s.
        member: S x N, whether a sample is in a subset, 0 or 1, of `near`'s type.
    """

    near: Tensor
    along: Tensor
    member: Tensor

    def only(self, rows: slice | Tensor, subsets: slice = slice(None)) -> _Seen:
        """Some of the samples, and of the subsets."""
        return _Seen(self.near[rows], self.along[rows], self.member[subsets, rows])


class _Sides:
    """Generated and real features, and which of them are in which subset.

    The kernel of a pair of samples is computed once, and counted as often as a subset has both; or, if
    that is less, for each subset anew.
    """

    def __init__(self, fake: Tensor, real: Tensor, subsets: int, size: int) -> None:
        dtype = torch.float64 if torch.float64 in (fake.dtype, real.dtype) else torch.float32
        self._centre = real.mean(0, dtype=torch.float64)
        self._subsets, self._size = subsets, size
        random = np.random.RandomState(SEED)
        drawn = [
            [random.choice(len(side), size, replace=False) for side in (fake, real)]
            for _ in range(subsets)
        ]
        self._fake, self._real = (
            self._seen(side, [rows[i] for rows in drawn], dtype) for i, side in enumerate((fake, real))
        )

    def within_real(self) -> float:
        """The mean kernel of two different real samples, the same from report to report."""
        return self._within(self._real)

    def distance(self, within_real: float) -> float:
        return self._within(self._fake) + within_real - 2 * self._between()

    def _seen(self, side: Tensor, drawn: list[np.ndarray], dtype: torch.dtype) -> _Seen:
        near = torch.empty_like(side, dtype=dtype)
        along = side.new_empty(len(side), dtype=torch.float64)
        for rows in _tiles(len(side)):
            offset = side[rows].double() - self._centre
            near[rows] = offset
            along[rows] = offset @ self._centre
        along.add_(self._centre @ self._centre / 2).div_(side.shape[1]).add_(0.5)
        member = near.new_zeros((len(drawn), len(side)))
        for rows, chosen in zip(member, drawn, strict=True):
            rows[torch.from_numpy(chosen).to(rows.device)] = 1
        return _Seen(near, along, member)

    def _within(self, side: _Seen) -> float:
        """The mean kernel of two different samples of a subset."""
        sums = [_sum_within(part) for part, _ in self._parts(side, side)]
        return math.fsum(sums) / (self._subsets * self._size * (self._size - 1))

    def _between(self) -> float:
        """The mean kernel of a generated and a real sample of a pair of subsets."""
        sums = [_sum_between(left, right) for left, right in self._parts(self._fake, self._real)]
        return math.fsum(sums) / (self._subsets * self._size**2)

    def _parts(self, left: _Seen, right: _Seen) -> Iterator[tuple[_Seen, _Seen]]:
        """The two sides, such that all pairs of a part are to be looked at."""
        if len(left.near) * len(right.near) <= self._subsets * self._size**2:
            yield left, right
            return
        for i in range(self._subsets):
            one, other = (
                side.only(side.member[i].nonzero()[:, 0], slice(i, i + 1)) for side in (left, right)
            )
            yield one, other


def _sum_between(left: _Seen, right: _Seen) -> float:
    """The sum of the kernel over pairs of one of each, each as often as a subset has both."""
    cubes = _cubes(left, right)
    rest = [
        _rest(left.only(rows), right.only(columns))
        for rows in _tiles(len(left.near))
        for columns in _tiles(len(right.near))
    ]
    return math.fsum([cubes, *rest])


def _sum_within(side: _Seen) -> float:
    """The sum of the kernel over pairs of two different ones, each both ways."""
    alone = side.member.sum(0, dtype=torch.float64) @ (2 * side.along).pow_(3)
    sums = [_cubes(side, side), -float(alone)]
    for rows in _tiles(len(side.near)):
        some = side.only(rows)
        sums += [2 * _rest(some, side.only(before)) for before in _tiles(rows.start)]
        sums.append(_rest(some, some, same=True))
    return math.fsum(sums)


def _cubes(left: _Seen, right: _Seen) -> float:
    """The sum of s^3 over pairs, each as often as a subset has both: by the binomial theorem."""
    one, other = (
        torch.stack([side.along**power for power in range(4)], 1).T @ side.member.double().T
        for side in (left, right)
    )
    return float(sum(math.comb(3, n) * (one[n] @ other[3 - n]) for n in range(4)))


def _rest(left: _Seen, right: _Seen, *, same: bool = False) -> float:
    """The sum of the kernel less s^3 over pairs, each as often as a subset has both.

    `same`: the two sides are one, and no sample is its own pair.
    """
    often = left.member.T @ right.member
    if same:
        often.fill_diagonal_(0)
    products = (left.near @ right.near.T).div_(left.near.shape[1])
    level = left.along[:, None].to(products) + right.along.to(products)
    rest = torch.add(products, level, alpha=3).mul_(products)
    rest.add_(level.square_(), alpha=3).mul_(products).mul_(often)
    return float(rest.sum(dtype=torch.float64))


def _tiles(count: int) -> Iterator[slice]:
    return (slice(start, min(start + TILE, count)) for start in range(0, count, TILE))

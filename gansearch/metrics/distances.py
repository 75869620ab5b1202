"""Which points lie in whose neighbourhood, exactly, at the price of products in float32.

A product of float32 matrices gives all squared distances, each within a known bound of the exact one
(Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 3.1: a sum of d products
is off by at most d u / (1 - d u) of the sum of their sizes, in whatever order it is taken). What lies
within the bound of its threshold is computed again: in float64, and what is near even then from the
differences themselves. So each answer is that of exact distances, and no N x M matrix is ever held.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 2**20  # distances held at a time: 4 MiB in float32, which a cache keeps
DIFFERENCES = 2**20  # held at a time where distances are computed from them: 8 MiB
CHUNK = 4096  # rows converted to float64 at a time
SPARE = 3  # candidates beyond the neighbours that are asked for
MANY = 1 / 64  # of a block's answers: if more are uncertain, the block is computed again in float64


class Balls(NamedTuple):
    """A ball about each of N points.

    Attributes:
        squares: N, float64, their squared radii.
        closed: whether what lies at the radius itself is within.
    """

    squares: Tensor
    closed: bool


class Held(NamedTuple):
    """What the balls about M centres hold of N points.

    Attributes:
        counts: N, int64, in how many of the balls each point lies.
        met: M, bool, whether a ball holds any point.
    """

    counts: Tensor
    met: Tensor


class Cloud(NamedTuple):
    """Points as they are multiplied: about a common centre, where products are small.

    Attributes:
        given: N x d, as they were.
        near: N x d, less the centre and divided by the scale, float32 or float64.
        squares: N, the squared lengths of those.
        slack: N; a squared distance is known to within the sum of its two points' slacks.
        scale: what they were divided by.
    """

    given: Tensor
    near: Tensor
    squares: Tensor
    slack: Tensor
    scale: float

    def __len__(self) -> int:
        return len(self.given)


class Frame(NamedTuple):
    """Where the origin is put, and what is called 1."""

    centre: Tensor
    scale: float

    @classmethod
    def of(cls, points: Tensor) -> Frame:
        """That of N x d points: their mean, and their root mean square distance from it."""
        centre = points.mean(0, dtype=torch.float64)
        total = sum(
            (rows.double() - centre).square().sum().item() for rows in torch.split(points, CHUNK)
        )
        return cls(centre, math.sqrt(total / len(points)) or 1.0)

    def cloud(self, points: Tensor, dtype: torch.dtype) -> Cloud:
        """N x d points as seen from here, in the precision of a type."""
        near = torch.empty_like(points, dtype=dtype)
        for here, rows in zip(torch.split(near, CHUNK), torch.split(points, CHUNK), strict=True):
            here.copy_((rows.double() - self.centre) / self.scale)
        squares = torch.linalg.vector_norm(near, dim=1, dtype=torch.float64).square()
        unit = (points.shape[1] + 8) * torch.finfo(dtype).eps / 2  # 8: centring, lengths, their sum
        slack = 2.02 * unit / (1 - unit) * squares  # as (a + b)^2 is at most 2 a^2 + 2 b^2
        return Cloud(points, near, squares.to(dtype), slack.to(dtype), self.scale)


def exact_squares(left: Tensor, right: Tensor) -> Tensor:
    """Squared distances of the rows of two P x d tensors, pair by pair, from their differences."""
    size = max(DIFFERENCES // left.shape[1], 1)
    pieces = zip(torch.split(left, size), torch.split(right, size), strict=True)
    return torch.cat([(a.double() - b).square_().sum(1) for a, b in pieces])


def nearest_squares(points: Tensor, count: int) -> Tensor:
    """The squared distances of each of N x d finite points from its nearest others.

    Returns:
        N x count, float64, rising along each row. A point that occurs twice is at 0 from its double.

    Raises:
        ValueError: there are no more than `count` points.
    """
    if len(points) <= count:
        raise ValueError(f"{count} neighbours need more than {count} samples, not {len(points)}")
    frame = Frame.of(points)
    found = points.new_empty((len(points), count), dtype=torch.float64)
    rows = torch.arange(len(points), device=points.device)
    for dtype in (torch.float32, torch.float64):
        cloud = frame.cloud(points, dtype)
        size = max(BLOCK // len(points), 1)
        rows = torch.cat([_search(cloud, these, found) for these in torch.split(rows, size)])
        if not len(rows):
            break
    return found  # rows that are left have neighbours which float64 itself cannot tell apart


def _search(cloud: Cloud, rows: Tensor, found: Tensor) -> Tensor:
    """Fill in rows of `found`; returns those for which a nearer point may have been overlooked.

    The candidates are the points of the least lower bounds. No other point is nearer than the greatest
    of these bounds, so a row is certain where enough candidates are.
    """
    count, others = found.shape[1], len(cloud) - 1
    bounds = torch.addmm(cloud.squares - cloud.slack, cloud.near[rows], cloud.near.T, alpha=-2)
    bounds += (cloud.squares - cloud.slack)[rows, None]
    bounds[torch.arange(len(rows), device=rows.device), rows] = math.inf  # itself
    least, candidates = bounds.topk(min(count + SPARE, others), largest=False)
    origins = rows.repeat_interleave(candidates.shape[1])
    squares = exact_squares(cloud.given[origins], cloud.given[candidates.flatten()])
    found[rows] = squares.view_as(candidates).sort(1).values[:, :count]
    if candidates.shape[1] == others:
        return rows[:0]
    beyond = least[:, -1].double() * cloud.scale**2
    return rows[~(found[rows, -1] <= beyond.clamp_min(0))]  # nothing is nearer than 0


def nearest_of(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Which of M x d finite centres is nearest to each of N x d finite points: the first, of several.

    Returns:
        N indices, int64, and the N squared distances, float64.
    """
    frame = Frame.of(centres)
    found = points.new_zeros(len(points), dtype=torch.int64)
    squares = points.new_full((len(points),), math.inf, dtype=torch.float64)
    rows = torch.arange(len(points), device=points.device)
    kept = min(1 + SPARE, len(centres))
    for dtype in (torch.float32, torch.float64):
        left, right = frame.cloud(points, dtype), frame.cloud(centres, dtype)
        unsure = [rows[:0]]
        for these in torch.split(rows, max(BLOCK // len(centres), 1)):
            bounds = torch.addmm(right.squares - right.slack, left.near[these], right.near.T, alpha=-2)
            bounds += (left.squares - left.slack)[these, None]
            least, candidates = bounds.nan_to_num_(nan=-math.inf).topk(kept, largest=False)
            candidates = candidates.sort(1).values  # so that the first of equally near ones is found
            origins = these.repeat_interleave(kept)
            exact = exact_squares(points[origins], centres[candidates.flatten()]).view_as(candidates)
            squares[these], place = exact.min(1)
            found[these] = candidates.gather(1, place[:, None])[:, 0]
            if kept < len(centres):
                beyond = least.max(1).values.double() * right.scale**2
                unsure.append(these[~(squares[these] <= beyond.clamp_min(0))])
        rows = torch.cat(unsure)
    return found, squares


def memberships(
    points: Tensor,
    centres: Tensor,
    about_centres: Sequence[Balls] = (),
    about_points: Sequence[Balls] = (),
) -> tuple[list[Held], list[Tensor]]:
    """Which of N x d finite points lie in balls about M x d centres, and the other way round.

    Args:
        points: N x d.
        centres: M x d.
        about_centres: balls about the centres, in which points are looked for.
        about_points: balls about the points, in which centres are looked for.

    Returns:
        For each of the first what they hold; for each of the second whether any of them holds a centre,
        M bool.
    """
    pair = _Pair(points, centres)
    counts = [points.new_zeros(len(points), dtype=torch.int64) for _ in about_centres]
    met = [points.new_zeros(len(centres), dtype=torch.bool) for _ in about_centres]
    found = [points.new_zeros(len(centres), dtype=torch.bool) for _ in about_points]
    for rows in pair.blocks():
        squares = pair.squares(rows, torch.float32)
        for i, balls in enumerate(about_centres):
            within = pair.within(rows, squares, balls.squares[None, :], balls.closed)
            counts[i][rows] = within.sum(1)
            met[i] |= within.any(0)
        for i, balls in enumerate(about_points):
            found[i] |= pair.within(rows, squares, balls.squares[rows, None], balls.closed).any(0)
    return [Held(*each) for each in zip(counts, met, strict=True)], found


class _Pair:
    """Points and centres, in both precisions; the finer is made when it is first needed."""

    def __init__(self, points: Tensor, centres: Tensor) -> None:
        self._given = points, centres
        self._frame = Frame.of(centres)
        self._clouds: dict[torch.dtype, tuple[Cloud, Cloud]] = {}

    def blocks(self) -> Iterator[slice]:
        """Slices of the points, each making a block of squared distances from all centres."""
        points, centres = self._given
        size = max(BLOCK // len(centres), 1)
        return (slice(i, min(i + size, len(points))) for i in range(0, len(points), size))

    def squares(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """The squared distances of some points from all centres, in the frame's units."""
        points, centres = self._seen(dtype)
        found = torch.addmm(centres.squares, points.near[rows], centres.near.T, alpha=-2)
        return found.add_(points.squares[rows, None])

    def within(self, rows: slice, squares: Tensor, bounds: Tensor, closed: bool) -> Tensor:
        """Whether the distances are within bounds, given as squares and as they may be broadcast."""
        points, centres = self._seen(squares.dtype)
        scaled = (bounds / self._frame.scale**2).to(squares.dtype)
        excess = squares - scaled
        inside = excess <= 0
        excess.abs_().sub_(centres.slack)
        rounding = 2 * torch.finfo(squares.dtype).eps * scaled  # of the bound itself
        excess.sub_(rounding)
        unsure = (excess > points.slack[rows, None]).logical_not_()  # so that NaN is unsure too
        if not unsure.any():
            return inside
        i, j = unsure.nonzero(as_tuple=True)
        if squares.dtype == torch.float32 and len(i) > MANY * unsure.numel():
            return self.within(rows, self.squares(rows, torch.float64), bounds, closed)
        given = self._given
        exact = exact_squares(given[0][rows][i], given[1][j])
        limit = bounds.expand_as(squares)[i, j]
        inside[i, j] = exact <= limit if closed else exact < limit
        return inside

    def _seen(self, dtype: torch.dtype) -> tuple[Cloud, Cloud]:
        if dtype not in self._clouds:
            points, centres = (self._frame.cloud(each, dtype) for each in self._given)
            self._clouds[dtype] = points, centres
        return self._clouds[dtype]

"""Which points lie in whose neighbourhood, exactly, at the price of products in float32.

Products of float32 matrices give all squared distances, each within a known bound of the exact one
(Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 3.1: a sum of n products
is off by at most n u / (1 - n u) of the sum of their sizes, in whatever order it is taken). What lies
within the bound of its threshold is computed again: in float64, and what is near even then from the
differences themselves. So each answer is that of exact distances; they are looked at tile by tile, and
no N x M matrix is ever held.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ROWS, COLUMNS = 512, 2048  # of a tile of distances: 4 MiB in float32; the one divides the other
RUN = 256  # features whose products are summed at once: the bound grows with it, not with all of them
GROUP = 16  # columns of which only the least is looked at first
DIFFERENCES = 2**17  # held at a time where distances are computed from them: 1 MiB in float64
SPARE = 3  # candidates beyond the neighbours that are asked for
FEW = 8  # numbers of a point up to which a tree finds neighbours sooner than tiles do
MANY = 1 / 64  # of a tile's answers: if more are uncertain, the tile is computed again in float64


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
        near: N x d, less the centre and divided by the scale, float32 or float64.
        squares: N, the squared lengths of those.
        slack: N; a squared distance is known to within the sum of its two points' slacks.
    """

    near: Tensor
    squares: Tensor
    slack: Tensor

    def after(self, count: int) -> Cloud:
        """All but the first so many."""
        return Cloud(*(part[count:] for part in self))


class Frame(NamedTuple):
    """Where the origin is put, and what is called 1."""

    centre: Tensor
    scale: float

    @classmethod
    def of(cls, points: Tensor) -> Frame:
        """That of N x d points: their mean, and their root mean square distance from it."""
        centre = points.mean(0, dtype=torch.float64)
        total = sum(
            (rows.double() - centre).square_().sum().item() for rows in torch.split(points, ROWS)
        )
        return cls(centre, math.sqrt(total / len(points)) or 1.0)

    def cloud(self, points: Tensor, dtype: torch.dtype) -> Cloud:
        """N x d points as seen from here, in the precision of a type."""
        near = torch.empty_like(points, dtype=dtype)
        for here, rows in zip(torch.split(near, ROWS), torch.split(points, ROWS), strict=True):
            here.copy_((rows.double() - self.centre).div_(self.scale))
        squares = torch.linalg.vector_norm(near, dim=1, dtype=torch.float64).square()
        # One rounding each of the RUN products' sums, of these sums' sum, and sixteen: of the points
        # (four), the lengths (one), what is added to the products (ten or less).
        width = points.shape[1]
        unit = (min(width, RUN) + -(-width // RUN) + 16) * torch.finfo(dtype).eps / 2
        slack = 1.01 * unit / (1 - unit) * squares  # as 2 |a b| is at most a^2 + b^2
        return Cloud(near, squares.to(dtype), slack.to(dtype))


def exact_squares(left: Tensor, right: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Squared distances of P pairs of rows, from their differences, float64."""
    size = max(DIFFERENCES // left.shape[1], 1)
    found = left.new_empty(len(i), dtype=torch.float64)
    pieces = zip(torch.split(i, size), torch.split(j, size), torch.split(found, size), strict=True)
    for a, b, here in pieces:
        apart = left[a].double().sub_(right[b])
        torch.sum(apart.square_(), 1, out=here)
    return found


def lower_bounds(left: Cloud, right: Cloud) -> Tensor:
    """What the squared distances of N points from M others are at least, N x M; each is at most twice
    the sum of its two slacks more. What overflows or is not known is -inf, or the greatest number.
    """
    found = (right.squares - right.slack).expand(len(left.near), -1)
    for some in _tiles(left.near.shape[1], RUN):
        found = torch.addmm(found, left.near[:, some], right.near[:, some].T, alpha=-2)
    found += (left.squares - left.slack)[:, None]
    return found.nan_to_num_(nan=-math.inf, neginf=-math.inf)


def nearest_squares(points: Tensor, count: int) -> Tensor:
    """The squared distances of each of N x d finite points from its nearest others.

    Returns:
        N x count, float64, rising along each row. A point that occurs twice is at 0 from its double.

    Raises:
        ValueError: there are no more than `count` points.
    """
    if len(points) <= count:
        told = "1 neighbour needs" if count == 1 else f"{count} neighbours need"
        raise ValueError(f"{told} more than {count} sample{'s'[: count - 1]}, not {len(points)}")
    if points.shape[1] <= FEW:
        return _by_tree(points, count)
    frame, kept = Frame.of(points), min(count + SPARE, len(points) - 1)
    least = _among_themselves(frame, points, kept)
    squares, certain = least.exactly(points, points, count, frame.scale)
    found = squares.sort(1).values[:, :count]
    if kept < len(points) - 1 and not certain.all():
        rows = (~certain).nonzero()[:, 0]
        least = _nearest(frame, points[rows], points, kept, torch.float64, own=rows)
        squares, _ = least.exactly(points[rows], points, count, frame.scale)
        found[rows] = squares.sort(1).values[:, :count]  # which float64 can tell apart, or are equal
    return found


def _by_tree(points: Tensor, count: int) -> Tensor:
    """What `nearest_squares` returns, by SciPy's k-d tree: of points of few numbers, such as those of a
    ring, there may be 100,000.
    """
    from scipy.spatial import KDTree  # noqa: PLC0415

    numbers = points.double().cpu().numpy()
    kept = min(count + SPARE, len(points) - 1) + 1  # one is the point itself, or its double
    places = torch.from_numpy(KDTree(numbers).query(numbers, kept)[1]).to(points.device)
    own = torch.arange(len(points), device=points.device).repeat_interleave(kept)
    squares = exact_squares(points, points, own, places.flatten()).view(-1, kept)
    return squares.sort(1).values[:, 1 : count + 1]


def nearest_of(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Which of M x d finite centres is nearest to each of N x d finite points: the first, of several.

    Returns:
        N indices, int64, and the N squared distances, float64.
    """
    frame, kept = Frame.of(centres), min(1 + SPARE, len(centres))
    found = points.new_zeros(len(points), dtype=torch.int64)
    squares = points.new_zeros(len(points), dtype=torch.float64)
    rows = torch.arange(len(points), device=points.device)
    for dtype in (torch.float32, torch.float64):
        least = _nearest(frame, points[rows], centres, kept, dtype).in_order()
        exact, certain = least.exactly(points[rows], centres, 1, frame.scale)
        squares[rows], place = exact.min(1)
        found[rows] = least.places.gather(1, place[:, None])[:, 0]
        if kept == len(centres) or certain.all():
            break
        rows = rows[~certain]
    return found, squares


class _Least(NamedTuple):
    """The candidates for N points' nearest others: those of the least lower bounds so far.

    Attributes:
        bounds: N x kept, of their squared distances, in the frame's units.
        places: N x kept, int64, which they are.
    """

    bounds: Tensor
    places: Tensor

    @classmethod
    def none_yet(cls, count: int, kept: int, like: Tensor, dtype: torch.dtype) -> _Least:
        bounds = like.new_full((count, kept), math.inf, dtype=dtype)
        return cls(bounds, torch.zeros_like(bounds, dtype=torch.int64))

    def see(self, rows: slice, lower: Tensor, first: int) -> None:
        """Take in lower bounds, R x C, of some points' distances from the others from a place on."""
        values, places = _least_of(lower, self.bounds.shape[1])
        values, places = (
            torch.cat([known[rows], new], 1)
            for known, new in ((self.bounds, values), (self.places, places + first))
        )
        self.bounds[rows], chosen = values.topk(self.bounds.shape[1], largest=False)
        self.places[rows] = places.gather(1, chosen)

    def in_order(self) -> _Least:
        """The same, each point's candidates by their places."""
        places, order = self.places.sort(1)
        return _Least(self.bounds.gather(1, order), places)

    def exactly(
        self, points: Tensor, others: Tensor, count: int, scale: float
    ) -> tuple[Tensor, Tensor]:
        """The exact squared distances of the candidates that may be among the `count` nearest.

        Returns:
            N x kept, float64, inf for the candidates that are none of these; and whether no other
            point than the candidates can be one, N bool.
        """
        bounds = self.bounds.double() * scale**2
        squares = torch.full_like(bounds, math.inf)
        asked = bounds <= bounds.kthvalue(count, dim=1, keepdim=True).values
        for _ in range(2):
            i, k = asked.nonzero(as_tuple=True)
            squares[i, k] = exact_squares(points, others, i, self.places[i, k])
            farthest = squares.kthvalue(count, dim=1).values
            asked = (bounds <= farthest[:, None]) & squares.isinf()
        return squares, farthest <= bounds.amax(1).clamp_min_(0)  # nothing is nearer than 0


def _least_of(lower: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The least of each row of R x C numbers and where they are; all of them, if they are fewer.

    They lie in the groups of columns whose least numbers are the least.
    """
    columns = lower.shape[1]
    size = columns // GROUP
    if size <= 2 * count:
        return lower.topk(min(count, columns), largest=False)
    groups = lower[:, : GROUP * size].view(-1, GROUP, size).amin(1).topk(count, largest=False)
    within = torch.arange(0, GROUP * size, size, device=lower.device)
    places = (groups.indices[:, :, None] + within).flatten(1)
    rest = torch.arange(GROUP * size, columns, device=lower.device)
    places = torch.cat([places, rest.expand(len(lower), -1)], 1)
    values, chosen = lower.gather(1, places).topk(count, largest=False)
    return values, places.gather(1, chosen)


def _among_themselves(frame: Frame, points: Tensor, kept: int) -> _Least:
    """Each point's candidates among the others, in float32; each distance is computed once."""
    least = _Least.none_yet(len(points), kept, points, torch.float32)
    for columns in _tiles(len(points), COLUMNS):
        right = frame.cloud(points[columns], torch.float32)
        for rows in _tiles(columns.stop, ROWS):
            left = frame.cloud(points[rows], torch.float32)
            first = max(rows.start, columns.start)
            lower = lower_bounds(left, right.after(first - columns.start))
            if first == rows.start:
                lower.fill_diagonal_(math.inf)  # itself
            least.see(rows, lower, first)
            beyond = max(rows.stop, columns.start)
            if beyond < columns.stop:
                others = slice(beyond, columns.stop)
                least.see(others, lower[:, beyond - first :].T, rows.start)
    return least


def _nearest(
    frame: Frame,
    points: Tensor,
    centres: Tensor,
    kept: int,
    dtype: torch.dtype,
    own: Tensor | None = None,
) -> _Least:
    """Each point's candidates among the centres, of which it is not its `own`, N, itself."""
    least = _Least.none_yet(len(points), kept, points, dtype)
    for columns in _tiles(len(centres), COLUMNS):
        right = frame.cloud(centres[columns], dtype)
        for rows in _tiles(len(points), ROWS):
            lower = lower_bounds(frame.cloud(points[rows], dtype), right)
            if own is not None:
                at = own[rows] - columns.start
                here = ((at >= 0) & (at < lower.shape[1])).nonzero()[:, 0]
                lower[here, at[here]] = math.inf
            least.see(rows, lower, columns.start)
    return least


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
    frame = Frame.of(centres)
    counts = [points.new_zeros(len(points), dtype=torch.int64) for _ in about_centres]
    met = [points.new_zeros(len(centres), dtype=torch.bool) for _ in about_centres]
    found = [points.new_zeros(len(centres), dtype=torch.bool) for _ in about_points]
    for columns in _tiles(len(centres), COLUMNS):
        right = frame.cloud(centres[columns], torch.float32)
        for rows in _tiles(len(points), ROWS):
            left = frame.cloud(points[rows], torch.float32)
            tile = _Tile(frame, points[rows], centres[columns], left, right)
            lower = lower_bounds(left, right)
            for count, seen, balls in zip(counts, met, about_centres, strict=True):
                i, j = tile.within(lower, balls.squares[None, columns], balls.closed)
                count[rows] += torch.bincount(i, minlength=len(left.near))
                seen[columns][j] = True
            for seen, balls in zip(found, about_points, strict=True):
                _, j = tile.within(lower, balls.squares[rows, None], balls.closed)
                seen[columns][j] = True
    return [Held(*each) for each in zip(counts, met, strict=True)], found


class _Tile(NamedTuple):
    """Some points and some centres, as they were given and as they are multiplied."""

    frame: Frame
    points: Tensor
    centres: Tensor
    left: Cloud
    right: Cloud

    def within(self, lower: Tensor, bounds: Tensor, closed: bool) -> tuple[Tensor, Tensor]:
        """The pairs that are no farther apart than bounds.

        Args:
            lower: R x C, lower bounds on the squared distances.
            bounds: R x 1 or 1 x C, float64, squares.
            closed: whether those at a bound itself are.

        Returns:
            Their rows and columns, int64.
        """
        rounding = 4 * torch.finfo(lower.dtype).eps  # of the bound in this precision
        scaled = bounds / self.frame.scale**2
        i, j = (lower <= (scaled * (1 + rounding)).to(lower.dtype)).nonzero(as_tuple=True)
        upper = lower[i, j] + 2.02 * (self.left.slack[i] + self.right.slack[j])
        inside = upper < (scaled * (1 - rounding)).expand(lower.shape)[i, j]
        unsure = (~inside).nonzero()[:, 0]
        if lower.dtype == torch.float32 and len(unsure) > MANY * lower.numel():
            left, right = (self.frame.cloud(p, torch.float64) for p in (self.points, self.centres))
            finer = self._replace(left=left, right=right)
            return finer.within(lower_bounds(left, right), bounds, closed)
        exact = exact_squares(self.points, self.centres, i[unsure], j[unsure])
        limit = bounds.expand(lower.shape)[i[unsure], j[unsure]]
        inside[unsure] = exact <= limit if closed else exact < limit
        return i[inside], j[inside]


def _tiles(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))

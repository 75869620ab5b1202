"""How samples of seeds compare with each other, and how sure that is; see `statistics`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from gansearch.analysis.statistics import (
    TAIL,
    Array,
    Interval,
    Z,
    binomial_bounds,
    resamples,
    row_statistics,
    statistic,
)


def probability_better(a: ArrayLike, b: ArrayLike) -> Interval:
    """P(a value of A is smaller than one of B), ties half; see `better_bounds`.

    Args:
        a: costs, m of them; smaller is better, a failure is inf, so two failures tie.
        b: costs, n of them.
    """
    first, second = np.asarray(a, float), np.asarray(b, float)
    if not len(first) or not len(second):
        return Interval(None)
    p, low, high = better_bounds(first[None], second[None])
    return Interval(float(p[0]), float(low[0]), float(high[0]))


def probabilities_better(costs: Sequence[Array]) -> dict[tuple[int, int], Interval]:
    """`probability_better` of every two samples, by their places (i, j) with i < j."""
    chances = {}
    for i, a in enumerate(costs):
        sizes: dict[int, list[int]] = {}  # samples of one size go together, which is much faster
        for j in range(i + 1, len(costs)):
            sizes.setdefault(len(costs[j]), []).append(j)
        for others in sizes.values():
            b = np.stack([costs[j] for j in others])
            bounds = better_bounds(np.broadcast_to(a, (len(others), len(a))), b)
            for j, p, low, high in zip(others, *bounds, strict=True):
                chances[i, j] = Interval(float(p), float(low), float(high))
    return chances


def better_bounds(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """P(A beats B) of many pairs of samples, with its bounds: R x m, R x n -> R each, three times.

    A score interval: the bounds are those theta that lie z standard errors, taken at theta, from the
    estimate p. The variance at theta has the form of Hanley and McNeil (1982) as in method 5 of
    Newcombe (2006, part 2), V(theta), which does not vanish where the samples do not overlap; but it
    supposes two distributions of one form, and covers 90 % only where they are not (one with two modes,
    say, and one between them). So it is multiplied by the ratio of the unbiased variance of p (DeLong
    1988; Brunner and Munzel 2000) to V(p), drawn towards 1 by n / (n + 8), as the ratio is noise with
    few seeds (8 was chosen by simulation). Over the pairs of `benchmarks.coverage` it covers 93 to 97 %
    with 5 seeds each, 94.5 to 97 % with 10 and 94 to 96 % with 50. Unequal numbers: 92 to 98 % with 10
    and 50; of 5 and 50 the five decide, and where they are the ones that vary more, 87 % is the worst.
    """
    m, n = a.shape[-1], b.shape[-1]
    wins = (a[:, :, None] < b[:, None, :]) + 0.5 * (a[:, :, None] == b[:, None, :])
    p = wins.mean(axis=(1, 2))
    ratio = np.ones_like(p)
    if min(m, n) > 1:
        observed = wins.mean(axis=2).var(axis=1, ddof=1) / m + wins.mean(axis=1).var(axis=1, ddof=1) / n
        known = observed > 0
        few = 2 * m * n / (m + n)
        trust = few / (few + 8)
        ratio[known] = 1 + trust * (observed[known] / _hanley_mcneil(p[known], m, n) - 1)

    def gap(theta: Array) -> Array:
        return np.asarray((p - theta) ** 2 - Z**2 * ratio * _hanley_mcneil(theta, m, n))

    return p, _crossing(gap, p, np.zeros_like(p)), _crossing(gap, p, np.ones_like(p))


def _hanley_mcneil(theta: Array, m: int, n: int) -> Array:
    """The variance of the estimate of P(A beats B), if that is theta (Newcombe 2006, method 5)."""
    spread = (1 - theta) / (2 - theta) + theta / (1 + theta)
    return np.asarray(theta * (1 - theta) * (1 + ((m + n) / 2 - 1) * spread) / (m * n))


def _crossing(gap: Callable[[Array], Array], inside: Array, outside: Array) -> Array:
    """Where `gap` turns from negative, inside, to positive, outside; by bisection."""
    for _ in range(50):
        middle = (inside + outside) / 2
        beyond = gap(middle) > 0
        inside, outside = np.where(beyond, inside, middle), np.where(beyond, middle, outside)
    return np.asarray((inside + outside) / 2)


def ratio_interval(above: ArrayLike, below: ArrayLike, name: str = "iqm") -> Interval:
    """A statistic of one sample over that of another, independent one; positive values only.

    The bounds are the bootstrap's for the logarithm of the ratio, widened as in `intervals` with the
    degrees of freedom of Welch and Satterthwaite.
    """
    samples = [np.sort(np.asarray(values, float)) for values in (above, below)]
    if not all(len(sample) for sample in samples) or min(sample[0] for sample in samples) <= 0:
        return Interval(None)
    logs = [math.log(statistic(sample, name)) for sample in samples]
    value = logs[0] - logs[1]
    if min(len(sample) for sample in samples) < 3:
        return Interval(math.exp(value))
    draws = [np.log(row_statistics(sample[resamples(len(sample))], name)) for sample in samples]
    freedom = _welch([float(d.var()) for d in draws], [len(sample) for sample in samples])
    shuffled = np.random.default_rng(0).permutation(draws[1])  # the same n has the same resamples
    low, high = np.quantile(draws[0] - shuffled, [TAIL, 1 - TAIL])
    widening = stdtrit(freedom, 1 - TAIL) / Z
    return Interval.of(
        *np.exp([value, value - widening * (value - low), value + widening * (high - value)])
    )


def _welch(variances: Sequence[float], sizes: Sequence[int]) -> float:
    """Degrees of freedom of a difference of two estimates with these variances."""
    if sum(variances) == 0:
        return float(min(sizes) - 1)
    parts = sum(v**2 / (n - 1) for v, n in zip(variances, sizes, strict=True))
    return sum(variances) ** 2 / parts


@dataclass(frozen=True)
class Rank:
    """Where one of several configurations stands, 1 the best, and how sure that is.

    Attributes:
        score: by which it is ranked, smaller is better; None where failures reach into it.
        rank: equals share the smaller number.
        low, high: of the rank, a bootstrap interval over seeds; None with fewer than 3, whose resamples
            hardly differ.
        first: probability of being first; None likewise.
    """

    score: float | None
    rank: int
    low: int | None
    high: int | None
    first: float | None


def ranks(costs: Sequence[Array], score: str = "iqm") -> list[Rank]:
    """The rank of each of several samples among all.

    The interval of a rank is the percentile bootstrap's, in which every sample is resampled by itself
    (one of 2 values, too, which knows little of its own spread). It errs on the safe side: of
    configurations half a standard deviation apart, `benchmarks.coverage` finds the true rank within it
    in 99 %.

    Args:
        costs: of the seeds of each configuration, at least one; smaller is better, a failure is inf.
        score: one of `iqm`, `median`, `mean`, `q90`, and then the share of failures; or `success`: the
            share of failures, and then the IQM.
    """
    samples = [np.sort(np.asarray(sample, float)) for sample in costs]
    if not samples:
        return []
    points = np.array([_keys(sample, score) for sample in samples])
    draws = np.stack([_drawn_keys(sample, score, k) for k, sample in enumerate(samples)], axis=1)
    point = _competition_ranks(points[None])[0]
    ranks = _competition_ranks(draws)
    firsts = ranks == 1
    first = (firsts / firsts.sum(axis=1, keepdims=True)).mean(axis=0)
    low, high = np.quantile(ranks, [TAIL, 1 - TAIL], axis=0, method="inverted_cdf")
    certainty = [
        (int(a), int(b), float(f)) if len(sample) >= 3 else (None, None, None)
        for sample, a, b, f in zip(samples, low, high, first, strict=True)
    ]
    return [
        Rank(float(s) if math.isfinite(s) else None, int(r), *bounds)
        for s, r, bounds in zip(points[:, 0], point, certainty, strict=True)
    ]


def _keys(ordered: Array, score: str) -> Array:
    """By what samples are ranked, along the last axis: a score, and what decides between equals."""
    failures = np.isinf(ordered).mean(axis=-1)
    if score == "success":
        return np.stack([failures, row_statistics(ordered, "iqm")], axis=-1)
    return np.stack([row_statistics(ordered, score), failures], axis=-1)


def _drawn_keys(ordered: Array, score: str, k: int) -> Array:
    """The same of every resample, in an order of the k-th sample's own: samples are independent."""
    keys = _keys(ordered[resamples(len(ordered))], score)
    return keys[np.random.default_rng(k).permutation(len(keys))]


def _competition_ranks(keys: Array) -> Array:
    """Ranks from 1 in every row, R x n x 2 -> R x n; equals share the smallest."""
    order = np.lexsort((keys[..., 1], keys[..., 0]), axis=-1)
    ordered = np.take_along_axis(keys, order[..., None], axis=1)
    fresh = np.ones(order.shape, bool)
    fresh[:, 1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=-1)
    rank = np.maximum.accumulate(np.where(fresh, np.arange(1, order.shape[1] + 1), 0), axis=-1)
    result = np.empty_like(rank)
    np.put_along_axis(result, order, rank, -1)
    return result


def performance_profile(costs: ArrayLike, thresholds: ArrayLike) -> tuple[Array, Array, Array]:
    """The share of all values at most each threshold, failures never, with pointwise bounds."""
    ordered = np.sort(np.asarray(costs, float))
    reached = np.searchsorted(ordered, np.asarray(thresholds, float), "right")
    low, high = binomial_bounds(reached, len(ordered))
    return reached / len(ordered), low, high

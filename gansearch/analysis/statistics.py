"""What a sample of seeds says about a configuration, and how sure that is: arrays in, intervals out.

Every interval is a two-sided one at 95 %. The construction of each was chosen by simulation: as
`python -m benchmarks.coverage` shows, the percentile bootstrap that most code uses covers the truth in
only about 90 % of studies with five seeds. Where a sample is too small to say something, `None` stands
in its place, never a number. Nothing here draws from a global generator: the same values give the same
interval.

Costs: where values of two configurations are compared, smaller is better and a failure is `inf`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv, stdtrit

Array = NDArray[np.float64]

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
Z = 1.959963984540054
RESAMPLES = 10_000
"""Bootstrap resamples; their seed is fixed, so a report is the same whenever it is made."""

WIDENING = 0.75
"""See `_widening`."""

BAND_RESAMPLES = 1000
"""Of a search's trials, which can be thousands."""

STATISTICS = ("iqm", "median", "mean", "sd", "q10", "q90")
"""Statistics of a sample by the name of their column: see `statistic`."""

_LEVELS = {"median": 0.5, "q10": 0.1, "q90": 0.9}


@dataclass(frozen=True)
class Interval:
    """A value and the 95 % interval around it; None where it cannot be said."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, value: float, low: float = math.nan, high: float = math.nan) -> Interval:
        """From numbers, of which what is not finite cannot be said."""
        return cls(*(float(x) if math.isfinite(x) else None for x in (value, low, high)))


# --- one sample -----------------------------------------------------------------------------------


def success_rate(successes: int, counted: int) -> Interval:
    """The share of successes, with the interval of `binomial_bounds`; all None where nothing counts."""
    if counted == 0:
        return Interval(None)
    low, high = binomial_bounds(successes, counted)
    return Interval(successes / counted, float(low), float(high))


def binomial_bounds(successes: ArrayLike, counted: ArrayLike) -> tuple[Array, Array]:
    """Jeffreys' interval of a share: quantiles of Beta(k + 1/2, n - k + 1/2), with 0 at k = 0 and 1 at
    k = n (Brown, Cai and DasGupta 2001, section 3.1).

    On average over all shares it covers 95.8 % of the time with 5 seeds, 95.3 % with 10 and 95.0 %
    with 50. At a single share no interval can promise that: 5 seeds have 6 possible results, and the
    worst share is covered 89 % of the time (10 seeds: 87 %, 50: 88 %; Wilson's 83 to 84 %).
    """
    k, n = np.asarray(successes, float), np.asarray(counted, float)
    low = np.where(k == 0, 0.0, betaincinv(k + 0.5, n - k + 0.5, TAIL))
    high = np.where(k == n, 1.0, betaincinv(k + 0.5, n - k + 0.5, 1 - TAIL))
    return low, high


def statistic(values: ArrayLike, name: str) -> float:
    """A statistic of a sample by its name; NaN of an empty one.

    - `iqm`: interquartile mean, the mean of the middle half. Where a quarter of the sample is no whole
      number, the values at the quartiles count in part, so that it is always exactly half of the
      sample that is averaged (`scipy.stats.trim_mean(x, 0.25)` trims whole values, so less than it
      says; the two are equal where 4 divides n);
    - `median`, `mean`; `sd`: with n - 1, so NaN of a single value;
    - `q10`, `q90`: quantiles, interpolated linearly (type 7 of Hyndman and Fan 1996).

    A value may be infinite: so is then every statistic in which it has a part.
    """
    ordered = np.sort(np.asarray(values, float))
    return float(_statistic(ordered, name)) if len(ordered) else math.nan


def interval(values: ArrayLike, name: str) -> Interval:
    """A statistic of finite values with its interval; see `intervals`."""
    sample = np.asarray(values, float)
    if not len(sample):
        return Interval(None)
    value, low, high = intervals(sample[None, :], name)
    return Interval.of(value[0], low[0], high[0])


def describe(values: ArrayLike) -> dict[str, Interval]:
    """Every one of `STATISTICS` of finite values, with its interval."""
    return {name: interval(values, name) for name in STATISTICS}


def intervals(samples: Array, name: str) -> tuple[Array, Array, Array]:
    """A statistic of each of many samples of one size, and its bounds; NaN where it cannot be said.

    The bounds are the percentile bootstrap's, moved away from the value by `_widening`. Those of the
    IQM cover, as `benchmarks.coverage` measures, 94 to 96.5 % with 5, 10 and 50 seeds, over
    distributions with long tails, skew or two modes; without widening, 91 % with 5. The limits:

    - fewer than 3 seeds tell nothing of their own spread, so there are no bounds; 3 seeds cover 78 to
      91 %, 4 cover 89 to 95 %; the median, which even the range of 4 seeds misses in one study of 8,
      has bounds from 5 on;
    - two modes far apart: 5 seeds may all fall into one of them (one study in 16, if both are as
      likely), and no interval that is made of these seeds can know of the other;
    - mean and standard deviation of long tails depend on values that few seeds have seen: the mean of a
      lognormal with sigma 1 is covered about 83 % of the time with 5 seeds and 90 % with 50. Compare
      by IQM;
    - `sd` has Bonett's interval (2006), which covered better than every bootstrap, from 5 seeds on;
    - `q10` and `q90` have exact bounds, that are values of the sample: a bootstrap of 50 seeds covers
      90 %. Most often one side cannot be said: the upper bound of `q90` needs 36 seeds.

    Args:
        samples: finite values, R x n.
        name: one of `STATISTICS`.

    Returns:
        The values, the lower and the upper bounds, R each.
    """
    ordered = np.sort(samples, axis=-1)
    n = ordered.shape[-1]
    value = _statistic(ordered, name)
    unsaid = np.full(len(ordered), math.nan)
    if name == "sd":
        return value, *(_bonett(ordered) if n >= 5 else (unsaid, unsaid))
    if n < 3 or (name == "median" and n < 5):
        return value, unsaid, unsaid
    if name in ("q10", "q90"):
        return value, *_order_statistics(ordered, _LEVELS[name])
    draws = np.stack([_statistic(sample[_resamples(n)], name) for sample in ordered])
    low, high = np.quantile(draws, [TAIL, 1 - TAIL], axis=-1)
    wider = _widening(n - 1) if name != "mean" else _widening(n - 1, 1.0) * math.sqrt(n / (n - 1))
    return value, value - wider * (value - low), value + wider * (high - value)


def _widening(freedom: float, power: float = WIDENING) -> float:
    """How much longer than the bootstrap's an interval from few seeds is to be: (t / z) ** power.

    A bootstrap interval of a mean is too short by about the ratio of Student's quantile to the normal
    one, and once more by sqrt(n / (n - 1)). Hesterberg (2015, "What Teachers Should Know About the
    Bootstrap") mends both by taking more extreme percentiles; but those of five values cannot leave
    their range, outside which the truth lies in 6 % of studies at least, so here the distance from the
    value grows. For the IQM and the median that is too much, as the bootstrap overstates their variance
    in small samples; in the simulation 3/4 of the first correction, on the log scale, lands
    them in the middle between 93 and 97 %, from 5 seeds to 50.
    """
    return float((stdtrit(freedom, 1 - TAIL) / Z) ** power)


def _statistic(ordered: Array, name: str) -> Array:
    """A statistic along the last axis, in which values ascend and may end infinite."""
    n = ordered.shape[-1]
    if name == "sd":
        if n < 2:
            return np.full(ordered.shape[:-1], math.nan)
        return np.where(ordered[..., 0] == ordered[..., -1], 0.0, ordered.std(axis=-1, ddof=1))
    weights = _weights(n, name)
    used = np.flatnonzero(weights)
    part = ordered[..., used[0] : used[-1] + 1]
    # inf * weight is inf where there is no zero weight; equal values must not differ by rounding.
    return np.asarray(np.clip(part @ weights[used[0] : used[-1] + 1], part[..., 0], part[..., -1]))


def _weights(n: int, name: str) -> Array:
    """What each order statistic of n values weighs in an L-statistic, smallest first."""
    if name == "mean":
        return np.full(n, 1 / n)
    if name == "iqm":
        return np.asarray(np.diff(np.clip(np.arange(n + 1), n / 4, 3 * n / 4)) / (n / 2))
    position = round(_LEVELS[name] * (n - 1), 9)  # a whole one gives its neighbour no weight
    return np.asarray(np.maximum(1 - np.abs(np.arange(n) - position), 0.0))


@lru_cache(maxsize=64)
def _resamples(n: int) -> NDArray[np.int32]:
    """Positions in a sorted sample of n values, B x n, in order: so each resample is sorted, too."""
    positions = np.random.default_rng(n).integers(0, n, (RESAMPLES, n), dtype=np.int32)
    return np.sort(positions, axis=1)


def _order_statistics(ordered: Array, level: float) -> tuple[Array, Array]:
    """Bounds of a quantile that hold whatever the distribution (David and Nagaraja 2003, section 7.1).

    The l-th value is below the quantile unless fewer than l are, and that number is binomial.
    """
    n = ordered.shape[-1]
    at_most = bdtr(np.arange(n), n, level)  # P(at most k values lie below the quantile), k = 0 .. n - 1
    below, above = np.flatnonzero(at_most <= TAIL), np.flatnonzero(at_most >= 1 - TAIL)
    unsaid = np.full(len(ordered), math.nan)
    low = ordered[:, below[-1]] if len(below) else unsaid
    return low, ordered[:, above[0]] if len(above) else unsaid


def _bonett(ordered: Array) -> tuple[Array, Array]:
    """Bounds of the standard deviation (Bonett 2006), NaN where all are equal."""
    n = ordered.shape[-1]
    variance = ordered.var(axis=-1, ddof=1)
    trimmed = int(n / (2 * math.sqrt(n - 4)))
    middle = ordered[..., trimmed : n - trimmed] if 2 * trimmed < n else ordered
    with np.errstate(divide="ignore", invalid="ignore"):
        fourth = ((ordered - middle.mean(axis=-1, keepdims=True)) ** 4).sum(axis=-1)
        kurtosis = n * fourth / ((n - 1) * variance) ** 2
        scale = n / (n - Z)
        error = scale * np.sqrt((kurtosis - (n - 3) / n) / (n - 1))
        centre = np.log(scale * variance)
        bounds = np.exp((centre - Z * error) / 2), np.exp((centre + Z * error) / 2)
    spread = ordered[..., 0] < ordered[..., -1]
    return np.where(spread, bounds[0], math.nan), np.where(spread, bounds[1], math.nan)


# --- two samples ----------------------------------------------------------------------------------


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
    draws = [np.log(_statistic(sample[_resamples(len(sample))], name)) for sample in samples]
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


# --- many samples ---------------------------------------------------------------------------------


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
        return np.stack([failures, _statistic(ordered, "iqm")], axis=-1)
    return np.stack([_statistic(ordered, score), failures], axis=-1)


def _drawn_keys(ordered: Array, score: str, k: int) -> Array:
    """The same of every resample, in an order of the k-th sample's own: samples are independent."""
    keys = _keys(ordered[_resamples(len(ordered))], score)
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


# --- times and budgets ----------------------------------------------------------------------------


def time_to(times: ArrayLike, reached: ArrayLike) -> Interval:
    """The median time at which something is reached, where some runs never do or have not yet.

    The product-limit estimate of Kaplan and Meier (1958), with the interval of Brookmeyer and Crowley
    (1982) on the log-log scale: the times at which the band around the curve crosses one half. None:
    the curve, or the band, does not come down to one half.

    Args:
        times: when it was reached or, if it was not, how long it has been watched for.
        reached: whether it was.
    """
    from scipy.stats import CensoredData, ecdf  # noqa: PLC0415  # slow to import

    time, event = np.asarray(times, float), np.asarray(reached, bool)
    if not event.any():
        return Interval(None)
    survival = ecdf(CensoredData(uncensored=time[event], right=time[~event])).sf
    with warnings.catch_warnings():  # where the curve is 1 or 0 the band is undefined, NaN
        warnings.simplefilter("ignore", RuntimeWarning)
        band = survival.confidence_interval(CONFIDENCE, method="log-log")

    over = survival.probabilities == 0  # all have arrived: a share of 0 among as many as there were
    least = np.where(over, 0.0, band.low.probabilities)
    most = np.where(over, binomial_bounds(0, len(time))[1], band.high.probabilities)
    return Interval.of(
        *(_first(survival.quantiles[c <= 0.5]) for c in (survival.probabilities, least, most))
    )


def _first(times: Array) -> float:
    return float(times[0]) if len(times) else math.nan


@dataclass(frozen=True)
class ExpectedBest:
    """What a search of k trials would have found, for each of `trials`; arrays of one length.

    Attributes:
        trials: k.
        value: the expected smallest cost among k trials, if at least one of them has a value; NaN where
            none ever has.
        low, high: a pointwise 95 % band, bootstrap over the trials.
        none: probability that none of the k trials has a value.
    """

    trials: NDArray[np.int64]
    value: Array
    low: Array
    high: Array
    none: Array


def expected_best(costs: ArrayLike, trials: ArrayLike | None = None) -> ExpectedBest:
    """The expected best of k out of n trials, drawn without replacement: exact, for any k up to n.

    With the costs in ascending order, the i-th is the best of k with probability
    C(n - i, k - 1) / C(n, k). This is the mean over all subsets of k, so it is unbiased for a search of
    k fresh trials (Tang et al. 2020, "Showing Your Work Doesn't Always Work"); the estimator of Dodge
    et al. (2019), which draws with replacement, is pessimistic near k = n.

    The band resamples trials. In simulation it covers 93 to 95 % up to k = n / 10 (87 % at k = 1 of 50
    skewed values), 91 to 93 % at n / 5, 80 % at n / 2 and 60 % at n, where the best of all is one value
    and no resample holds a better one.

    Args:
        costs: of n trials, smaller is better; inf or NaN: the trial has no value.
        trials: each k, from 1 to n; None: all of them, or about 100 evenly spaced in their logarithm.
    """
    sample = np.asarray(costs, float)
    ordered = np.sort(np.where(np.isfinite(sample), sample, math.inf))
    n = len(ordered)
    ks = _budgets(n) if trials is None else np.asarray(trials, np.int64)
    if len(ks) and (ks.min() < 1 or ks.max() > n):
        raise ValueError(f"k is from 1 to the number of trials, {n}; got {ks.min()} to {ks.max()}")
    weights = _best_weights(n, ks)
    value, chance = _expectation(ordered[None], weights)
    rng = np.random.default_rng(n)
    draws = np.empty((BAND_RESAMPLES, len(ks)))
    for start in range(0, BAND_RESAMPLES, 100):  # of 5,000 trials, 100 resamples are 4 MB
        positions = np.sort(rng.integers(0, n, (100, n)), axis=1) if n else np.zeros((100, 0), int)
        draws[start : start + 100] = _expectation(ordered[positions], weights)[0]
    low, high = _quantiles_of_said(draws)
    return ExpectedBest(ks, value[0], low, high, np.clip(1 - chance[0], 0, 1))


def _budgets(n: int) -> NDArray[np.int64]:
    if n <= 100:
        return np.arange(1, n + 1)
    return np.unique(np.geomspace(1, n, 120).round().astype(np.int64))


def _best_weights(n: int, ks: NDArray[np.int64]) -> Array:
    """P(the i-th smallest of n is the best of k drawn without replacement): K x n.

    Being the best is not being among the better ones drawn, times being drawn: a product without
    differences, so without cancellation, and without factorials.
    """
    i, k = np.arange(n), ks[:, None]
    spared = np.maximum(n - k - i, 0) / (n - i)
    none_better = np.cumprod(np.hstack([np.ones((len(ks), 1)), spared]), axis=1)[:, :n]
    return none_better * np.minimum(k / (n - i), 1.0)


def _expectation(ordered: Array, weights: Array) -> tuple[Array, Array]:
    """The mean of the best, given that there is one, and the probability that there is: B x K each."""
    there = np.isfinite(ordered)
    total = np.where(there, ordered, 0.0) @ weights.T
    chance = there.astype(float) @ weights.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance > 0, total / chance, math.nan), chance


def _quantiles_of_said(draws: Array) -> tuple[Array, Array]:
    """Both tails of every column, over the resamples that had a value; NaN where none had."""
    bounds = np.full((2, draws.shape[1]), math.nan)
    said = ~np.isnan(draws).all(axis=0)
    if said.any():
        bounds[:, said] = np.nanquantile(draws[:, said], [TAIL, 1 - TAIL], axis=0)
    return bounds[0], bounds[1]

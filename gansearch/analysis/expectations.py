"""How long a configuration needs, and what a larger search would have found; see `statistics`."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gansearch.analysis.statistics import CONFIDENCE, TAIL, Array, Interval, binomial_bounds

BAND_RESAMPLES = 1000
"""Of a search's trials, which can be thousands."""


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

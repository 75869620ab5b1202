"""Do the 95 % intervals of a stability study hold the truth in 95 % of studies?

    python -m benchmarks.coverage [--repetitions 2000] [--seed 0] [--wide]

Studies are drawn from distributions whose truth is known, and each one's intervals are made by
`gansearch.analysis.statistics` as a report makes them. A row is one statistic, a column one number of
seeds, a cell the share of studies, in per cent, whose interval holds the truth; 2,000 repetitions tell
it to within 1 % (two standard errors). `percentile` is the plain percentile bootstrap, for comparison.

- success rate: exact, not simulated: the mean over all rates from 0 to 1, the worst rate, and single
  ones; a few seeds have few possible results, so coverage jumps with the rate;
- IQM and P(A beats B): over distributions that metrics have been seen to have. FID is often near
  lognormal; `two modes` are five standard deviations apart, so that some seeds collapse;
- `--wide`: the other statistics, 3, 4 and 20 seeds, harder distributions;
- the ratio of two configurations' IQMs, as a tolerance study has it;
- the winner's curse: 30 configurations of one seed each, whose true values differ by half the noise of
  a seed; the best one of this search, beside the median of its 10 fresh seeds and its true value;
- rank: five configurations, 10 seeds each, whose IQMs differ; how often the interval of the rank holds
  the true rank;
- many pairs: of configurations that are all the same, how often a report says that the first is better
  than some other.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from gansearch.analysis.comparisons import better_bounds, ranks, ratio_interval
from gansearch.analysis.statistics import TAIL, binomial_bounds, intervals, resamples, row_statistics

Array = NDArray[np.float64]
SEEDS = (5, 10, 50)
WIDE_SEEDS = (3, 4, 5, 10, 20, 50)
GRID = 400_000


@dataclass(frozen=True)
class Distribution:
    """A distribution of a metric over seeds, by its quantile function."""

    name: str
    quantile: Callable[[Array], Array]

    def studies(self, repetitions: int, seeds: int, seed: int) -> Array:
        """Values of `seeds` seeds in each of many studies."""
        rng = np.random.default_rng([seed, seeds, zlib.crc32(self.name.encode())])
        return np.asarray(self.quantile(rng.random((repetitions, seeds))))

    def truth(self, name: str) -> float:
        """A statistic of the distribution itself."""
        levels = {"median": 0.5, "q10": 0.1, "q90": 0.9}
        if name in levels:
            return float(self.quantile(np.array([levels[name]]))[0])
        grid = (np.arange(GRID) + 0.5) / GRID
        values = self.quantile(0.25 + grid / 2 if name == "iqm" else grid)
        return float(values.std() if name == "sd" else values.mean())


def mixture(share: float, gap: float) -> Callable[[Array], Array]:
    """Quantiles of two normal modes: `share` around 0, the rest around `gap`."""
    levels = np.linspace(-6, gap + 6, 20001)
    below = share * stats.norm.cdf(levels) + (1 - share) * stats.norm.cdf(levels - gap)
    return lambda u: np.interp(u, below, levels)


NORMAL = Distribution("normal", stats.norm.ppf)
LOGNORMAL = Distribution("lognormal, sigma 0.5", stats.lognorm(0.5).ppf)
MODES = Distribution("two modes, 1 : 1", mixture(0.5, 5.0))
HEAVY = Distribution("Student's t, 2 degrees", stats.t(2).ppf)
UNEVEN = Distribution("two modes, 4 : 1", mixture(0.8, 5.0))
COMMON = (NORMAL, LOGNORMAL, MODES, HEAVY, UNEVEN)
HARD = (
    Distribution("two modes, 7 : 3", mixture(0.7, 5.0)),
    Distribution("lognormal, sigma 1", stats.lognorm(1.0).ppf),
    Distribution("exponential", stats.expon.ppf),
    Distribution("Cauchy", stats.cauchy.ppf),
)


def covered(truth: float, low: Array, high: Array) -> float:
    """The share of intervals that hold the truth; a bound that is not said excludes nothing."""
    return float(np.mean(~(low > truth) & ~(high < truth)))


def coverage(distribution: Distribution, name: str, seeds: int, repetitions: int, seed: int) -> float:
    """Coverage of a statistic's interval."""
    samples = distribution.studies(repetitions, seeds, seed)
    _, low, high = intervals(samples, name)
    return covered(distribution.truth(name), low, high)


def percentile_coverage(
    distribution: Distribution, name: str, seeds: int, repetitions: int, seed: int
) -> float:
    """The same of the plain percentile bootstrap."""
    samples = distribution.studies(repetitions, seeds, seed)
    draws = np.stack([row_statistics(x[resamples(seeds)], name) for x in np.sort(samples)])
    low, high = np.quantile(draws, [TAIL, 1 - TAIL], axis=-1)
    return covered(distribution.truth(name), low, high)


@dataclass(frozen=True)
class Contest:
    """Two configurations, and P(a seed of the first has the smaller value), ties half."""

    name: str
    a: Callable[[Array], Array]
    b: Callable[[Array], Array]
    truth: float


def contests() -> list[Contest]:
    """Pairs of distributions, some far apart, some unlike each other, some that fail."""

    def shifted(quantile: Callable[[Array], Array], by: float) -> Callable[[Array], Array]:
        return lambda u: quantile(u) + by

    def failing(quantile: Callable[[Array], Array], share: float) -> Callable[[Array], Array]:
        return lambda u: np.where(u < share, np.inf, quantile((u - share) / (1 - share)))

    def contest(name: str, a: Callable[[Array], Array], b: Callable[[Array], Array]) -> Contest:
        u = (np.arange(4000) + 0.5) / 4000
        x, y = a(u), np.sort(b(u))
        losing, tied = np.searchsorted(y, x, "left"), np.searchsorted(y, x, "right")
        return Contest(name, a, b, float(np.mean(1 - (losing + tied) / 2 / len(u))))

    normal, lognormal, modes, heavy = (d.quantile for d in (NORMAL, LOGNORMAL, MODES, HEAVY))
    return [
        *(contest(f"normal, {gap:g} apart", normal, shifted(normal, gap)) for gap in (0.0, 1.0, 2.0)),
        contest("normal, sd 1 and 3", normal, lambda u: 1 + 3 * normal(u)),
        contest("lognormal, B 1.5 times A", lognormal, lambda u: 1.5 * lognormal(u)),
        contest("lognormal, B 2.7 times A", lognormal, lambda u: 2.7 * lognormal(u)),
        contest("two modes, 1 apart", modes, shifted(modes, 1.0)),
        contest("two modes and one between", modes, shifted(normal, 2.5)),
        contest("Student's t, 1 apart", heavy, shifted(heavy, 1.0)),
        contest("normal, 30 and 10 % fail", failing(normal, 0.3), failing(shifted(normal, 0.5), 0.1)),
    ]


def contest_coverage(contest: Contest, m: int, n: int, repetitions: int, seed: int) -> float:
    """Coverage of the interval of P(A beats B), with m and n seeds."""
    rng = np.random.default_rng([seed, m, n, zlib.crc32(contest.name.encode())])
    hits = 0.0
    for start in range(0, repetitions, 250):
        size = min(250, repetitions - start)
        _, low, high = better_bounds(contest.a(rng.random((size, m))), contest.b(rng.random((size, n))))
        hits += covered(contest.truth, low, high) * size
    return hits / repetitions


def success_coverage(seeds: int, rates: Array) -> Array:
    """Exact coverage of the interval of the success rate, at each rate."""
    counts = np.arange(seeds + 1)
    low, high = binomial_bounds(counts, seeds)
    chance = stats.binom.pmf(counts, seeds, rates[:, None])
    return np.asarray((chance * ((low <= rates[:, None]) & (rates[:, None] <= high))).sum(axis=1))


def ratio_coverage(distribution: Distribution, seeds: int, repetitions: int, seed: int) -> float:
    """Coverage of the interval of a ratio of two IQMs, which is 1.3."""
    above = 1.3 * distribution.studies(repetitions, seeds, seed)
    below = distribution.studies(repetitions, seeds, seed + 1)
    found = [ratio_interval(a, b) for a, b in zip(above, below, strict=True)]
    return sum(r.low <= 1.3 <= r.high for r in found if r.low and r.high) / repetitions


@dataclass(frozen=True)
class Curse:
    """Means over studies, in units of a seed's noise: smaller is better, 0 the middle of the space."""

    searched: float
    confirmed: float
    true: float


def curse(repetitions: int, seed: int, trials: int = 30, seeds: int = 10) -> Curse:
    """What a search says of its best trial, what fresh seeds say, and the truth."""
    rng = np.random.default_rng(seed)
    true = 0.5 * rng.standard_normal((repetitions, trials))
    searched = true + rng.standard_normal(true.shape)
    best = searched.argmin(axis=1)[:, None]
    chosen = np.take_along_axis(true, best, 1)[:, 0]
    fresh = chosen[:, None] + rng.standard_normal((repetitions, seeds))
    found = np.take_along_axis(searched, best, 1)
    return Curse(float(found.mean()), float(np.median(fresh, axis=1).mean()), float(chosen.mean()))


def rank_coverage(repetitions: int, seed: int, seeds: int, gap: float = 0.5) -> float:
    """How often the interval of a rank holds the true one, over five configurations `gap` apart."""
    rng = np.random.default_rng([seed, seeds])
    hits = 0
    for _ in range(repetitions):
        places = ranks([rng.standard_normal(seeds) + gap * k for k in range(5)])
        hits += sum(
            place.low is not None and place.high is not None and place.low <= k + 1 <= place.high
            for k, place in enumerate(places)
        )
    return hits / (5 * repetitions)


def told_apart_by_chance(count: int, repetitions: int, seed: int, seeds: int) -> float:
    """How often, of so many configurations that are all the same, the first seems better than some."""
    rng = np.random.default_rng([seed, seeds, count])
    hits = 0
    for _ in range(repetitions):
        costs = np.sort(rng.standard_normal((count, seeds)))
        first = int(row_statistics(costs, "iqm").argmin())
        others = np.delete(costs, first, axis=0)
        _, low, _ = better_bounds(np.broadcast_to(costs[first], others.shape), others)
        hits += bool((low.round(2) > 0.5).any())
    return hits / repetitions


def table(rows: list[tuple[str, list[str]]], columns: list[str]) -> None:
    width = max(len(name) for name, _ in rows) + 2
    print(" " * width + "".join(f"{column:>12}" for column in columns))
    for name, cells in rows:
        print(f"{name:<{width}}" + "".join(f"{cell:>12}" for cell in cells))
    print()


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wide", action="store_true")
    given = parser.parse_args()
    n, seed = given.repetitions, given.seed
    sizes = WIDE_SEEDS if given.wide else SEEDS
    heads = [f"{size} seeds" for size in sizes]

    rates = (np.arange(4000) + 0.5) / 4000
    exact = {size: success_coverage(size, rates) for size in sizes}
    rows = [
        ("success rate, mean over rates", [percent(exact[size].mean()) for size in sizes]),
        ("worst rate", [percent(exact[size].min()) for size in sizes]),
        ("  which is", [f"{rates[exact[size].argmin()]:.2f}" for size in sizes]),
    ]
    for rate in (0.5, 0.7, 0.8, 0.9, 0.95):
        cells = [percent(success_coverage(size, np.array([rate]))[0]) for size in sizes]
        rows.append((f"success rate {rate:g}", cells))
    table(rows, heads)

    distributions = COMMON + HARD if given.wide else COMMON
    names = ("iqm", "median", "mean", "sd", "q10", "q90") if given.wide else ("iqm",)
    for name in names:
        rows = []
        for d in distributions:
            if name in ("mean", "sd") and d.name in ("Cauchy", HEAVY.name):
                continue  # they have none
            rows.append((f"{name}: {d.name}", [percent(coverage(d, name, s, n, seed)) for s in sizes]))
        if name == "iqm":
            for d in distributions[:3]:
                cells = [percent(percentile_coverage(d, name, s, n, seed)) for s in sizes]
                rows.append((f"percentile: {d.name}", cells))
        table(rows, heads)

    rows = [
        (f"P = {c.truth:.2f}: {c.name}", [percent(contest_coverage(c, s, s, n, seed)) for s in sizes])
        for c in contests()
    ]
    table(rows, heads)
    uneven = [(5, 10), (5, 50), (10, 50), (50, 5)]
    rows = [
        (
            f"P = {c.truth:.2f}: {c.name}",
            [percent(contest_coverage(c, a, b, n, seed)) for a, b in uneven],
        )
        for c in contests()
    ]
    table(rows, [f"{a} and {b}" for a, b in uneven])

    positive = [d for d in distributions if d.quantile(np.array([1e-9]))[0] > 0]
    table(
        [
            (f"ratio of IQMs: {d.name}", [percent(ratio_coverage(d, s, n, seed)) for s in sizes])
            for d in positive
        ],
        heads,
    )

    found = curse(max(n, 2000), seed)
    print("the winner's curse, mean value of the search's best (a seed's noise is 1):")
    print(f"  searched {found.searched:.2f}, confirmed {found.confirmed:.2f}, true {found.true:.2f}\n")
    few = max(n // 10, 20)
    cells = [percent(rank_coverage(few, seed, s)) for s in sizes]
    table([("rank, five configurations", cells)], heads)
    rows = [
        (
            f"the first of {count} alike seems better than some other",
            [percent(told_apart_by_chance(count, n, seed, s)) for s in sizes],
        )
        for count in (2, 5, 12)
    ]
    table(rows, heads)


if __name__ == "__main__":
    main()

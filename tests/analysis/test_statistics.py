"""Statistics of seeds: closed forms, independent implementations, and coverage where truth is known."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq
from scipy.special import gammaln

from benchmarks import coverage as truth
from gansearch.analysis import comparisons
from gansearch.analysis.comparisons import (
    performance_profile,
    probabilities_better,
    probability_better,
    ranks,
    ratio_interval,
)
from gansearch.analysis.expectations import expected_best, time_to
from gansearch.analysis.statistics import (
    STATISTICS,
    Interval,
    interval,
    intervals,
    statistic,
    success_rate,
)

INF = math.inf
values = st.floats(0.5, 500).map(lambda x: round(x, 3))


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# --- shares ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "n"), [(1, 5), (4, 5), (7, 10), (49, 50)])
def test_success_rate_is_jeffreys(k, n):
    found = success_rate(k, n)
    assert found.value == k / n
    assert found.low == pytest.approx(stats.beta.ppf(0.025, k + 0.5, n - k + 0.5), rel=1e-9)
    assert found.high == pytest.approx(stats.beta.ppf(0.975, k + 0.5, n - k + 0.5), rel=1e-9)


def test_none_and_all_succeeding_reach_the_ends():
    assert success_rate(0, 10).low == 0.0
    assert success_rate(10, 10).high == 1.0
    assert success_rate(10, 10).low == pytest.approx(0.7828, abs=1e-4)  # Beta(10.5, 0.5) at 2.5 %
    assert success_rate(0, 0) == Interval(None, None, None)


@pytest.mark.parametrize(("seeds", "worst"), [(5, 0.89), (10, 0.86), (50, 0.88)])
def test_success_rate_covers_on_average_and_at_worst_as_it_says(seeds, worst):
    rates = (np.arange(2000) + 0.5) / 2000
    covered = truth.success_coverage(seeds, rates)
    assert 0.93 < covered.mean() < 0.97
    assert worst < covered.min() < worst + 0.02


# --- statistics of one sample ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 8, 20, 48])
def test_iqm_is_scipys_where_a_quarter_is_whole(n):
    sample = np.random.default_rng(n).lognormal(size=n)
    assert statistic(sample, "iqm") == pytest.approx(stats.trim_mean(sample, 0.25), rel=1e-12)


def test_iqm_counts_values_at_the_quartiles_in_part():
    assert statistic([9, 1, 5, 100, 3], "iqm") == pytest.approx((0.75 * 3 + 5 + 0.75 * 9) / 2.5)
    assert statistic([1, 2, 30], "iqm") == pytest.approx((0.25 * 1 + 2 + 0.25 * 30) / 1.5)


@given(st.lists(values, min_size=2, max_size=40))
def test_statistics_are_numpys(sample):
    known = {
        "median": np.median(sample),
        "mean": np.mean(sample),
        "sd": np.std(sample, ddof=1),
        "q10": np.quantile(sample, 0.1),
        "q90": np.quantile(sample, 0.9),
    }
    for name, value in known.items():
        assert statistic(sample, name) == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_failures_reach_a_statistic_only_where_they_have_a_part_in_it():
    one, three = [1.0, 2.0, 3.0, INF], [1.0, INF, INF, INF]
    assert statistic(one, "iqm") == 2.5
    assert statistic(three, "iqm") == INF
    assert statistic([*range(10), INF], "q90") == 9.0  # the tenth of eleven, and nothing of the last
    assert statistic(one, "mean") == INF


@settings(max_examples=25, deadline=None)
@given(st.lists(values, min_size=5, max_size=12, unique=True), st.randoms())
def test_intervals_do_not_depend_on_order_and_move_with_the_values(sample, random):
    for name in STATISTICS:
        first = interval(sample, name)
        shuffled = random.sample(sample, len(sample))
        assert interval(shuffled, name) == first
        scaled = interval(10 * np.array(sample), name)
        for end in ("value", "low", "high"):
            was, now = getattr(first, end), getattr(scaled, end)
            assert (was is None and now is None) or now == pytest.approx(10 * was, rel=1e-6, abs=1e-6)
        assert first.low is None or first.low <= first.value
        assert first.high is None or first.high >= first.value


@pytest.mark.parametrize("name", STATISTICS)
def test_intervals_of_many_samples_are_those_of_each(name):
    samples = np.random.default_rng(4).lognormal(size=(3, 40)) * [[1.0], [10.0], [0.1]]
    for sample, *found in zip(samples, *intervals(samples, name), strict=True):
        alone = interval(sample, name)
        assert found == pytest.approx([alone.value, alone.low, alone.high])


def test_what_few_values_cannot_say_is_none():
    assert interval([], "iqm") == Interval(None, None, None)
    assert interval([3.0], "iqm") == Interval(3.0, None, None)
    assert interval([3.0], "sd") == Interval(None, None, None)
    assert interval([3.0, 4.0], "mean") == Interval(3.5, None, None)
    assert interval([3.0, 4.0, 5.0], "iqm").low is not None
    assert interval(range(4), "median").low is None  # both extremes miss a median too often
    assert interval(range(5), "median").low is not None
    assert interval(range(35), "q90").high is None
    assert interval(range(36), "q90").high == 35  # 0.9 ** 36 < 0.025
    assert interval(range(35), "q90").low is not None
    assert interval(range(36), "q10").low == 0
    assert interval(range(4), "sd").low is None
    assert interval([1, 2, 2, 2, 2], "sd").low is not None
    assert interval([1, 1, 1, 1, 2], "sd").low is not None


def test_equal_values_have_an_interval_of_no_width():
    for name in STATISTICS:
        found = interval([0.1] * 7, name)
        if name == "sd":
            assert found.value == 0
            assert found.low is None
        elif name in ("q10", "q90"):
            assert found.value == 0.1
        else:
            assert (found.value, found.low, found.high) == (0.1, 0.1, 0.1)


@pytest.mark.parametrize(("name", "level"), [("q10", 0.1), ("q90", 0.9)])
@pytest.mark.parametrize("n", [10, 40, 50])
def test_bounds_of_quantiles_are_the_narrowest_that_always_hold(name, level, n):
    found = interval(np.arange(1, n + 1), name)  # so that a value is its rank
    below = stats.binom(n, level)  # how many values are below the quantile
    for bound, missed in (
        (found.low, lambda r: below.cdf(r - 1)),
        (found.high, lambda r: below.sf(r - 1)),
    ):
        if bound is not None:
            inwards = bound + (1 if bound == found.low else -1)
            assert missed(bound) <= 0.025 < missed(inwards)
    assert (found.high is None) == (level**n > 0.025)
    assert (found.low is None) == ((1 - level) ** n > 0.025)


@pytest.mark.parametrize("n", [5, 9, 16])
def test_the_interval_of_a_mean_is_about_students(n):
    x = stats.norm.ppf((np.arange(n) + 0.5) / n)
    found = interval(x, "mean")
    half = stats.t.ppf(0.975, n - 1) * x.std(ddof=1) / math.sqrt(n)
    assert found.high - found.value == pytest.approx(half, rel=0.04)
    assert found.value - found.low == pytest.approx(half, rel=0.04)


@pytest.mark.parametrize("n", [5, 6, 12])
def test_bonetts_interval_of_a_standard_deviation(n):
    # The paper's formula written out for one sample: c = n / (n - z), gamma_4 about a trimmed mean.
    x = np.random.default_rng(2).normal(size=n) ** 3
    n, z = len(x), stats.norm.ppf(0.975)
    cut = int(n * (1 / (2 * math.sqrt(n - 4))))
    middle = np.mean(np.sort(x)[cut : n - cut])
    gamma = n * np.sum((x - middle) ** 4) / np.sum((x - x.mean()) ** 2) ** 2
    c = n / (n - z)
    se = c * math.sqrt((gamma - (n - 3) / n) / (n - 1))
    centre = math.log(c * np.var(x, ddof=1))
    found = interval(x, "sd")
    assert found.low == pytest.approx(math.sqrt(math.exp(centre - z * se)), rel=1e-6)
    assert found.high == pytest.approx(math.sqrt(math.exp(centre + z * se)), rel=1e-6)


# --- coverage: studies whose truth is known -------------------------------------------------------


@pytest.mark.parametrize("seeds", [5, 10])
@pytest.mark.parametrize("distribution", truth.COMMON[:3], ids=lambda d: d.name)
def test_iqm_covers(distribution, seeds):
    assert 0.93 <= truth.coverage(distribution, "iqm", seeds, 2000, seed=0) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [5, 10, 50])
@pytest.mark.parametrize("distribution", truth.COMMON, ids=lambda d: d.name)
def test_iqm_covers_over_all_distributions(distribution, seeds):
    assert 0.93 <= truth.coverage(distribution, "iqm", seeds, 2000, seed=0) <= 0.97


@pytest.mark.parametrize("distribution", truth.COMMON[:2], ids=lambda d: d.name)
def test_the_percentile_bootstrap_does_not(distribution):
    assert truth.percentile_coverage(distribution, "iqm", 5, 2000, seed=1) < 0.93


@pytest.mark.parametrize("seeds", [5, 10, 50])
@pytest.mark.parametrize("contest", truth.contests(), ids=lambda c: c.name)
def test_probability_of_beating_covers(contest, seeds):
    repetitions = 2000 if seeds < 50 else 500
    low, high = (0.925, 0.975) if seeds < 50 else (0.92, 0.98)
    assert low < truth.contest_coverage(contest, seeds, seeds, repetitions, seed=1) < high


def test_a_wald_interval_of_beating_does_not():
    """What the simulation would say of the interval that a normal approximation gives."""
    rng = np.random.default_rng(0)
    hits, repetitions, p = 0, 1000, stats.norm.cdf(2 / math.sqrt(2))
    for _ in range(repetitions):
        wins = rng.normal(size=(5, 1)) < rng.normal(2, 1, size=(1, 5))
        error = math.sqrt(wins.mean(1).var(ddof=1) / 5 + wins.mean(0).var(ddof=1) / 5)
        hits += abs(wins.mean() - p) <= 1.96 * error
    assert hits / repetitions < 0.75


@pytest.mark.parametrize("seeds", [5, 10])
def test_ratio_covers(seeds):
    rng = np.random.default_rng(3)
    repetitions, hits = 500, 0
    for _ in range(repetitions):
        above, below = 1.3 * rng.lognormal(0, 0.4, seeds), rng.lognormal(0, 0.4, seeds)
        found = ratio_interval(above, below)
        hits += found.low <= 1.3 <= found.high
    assert 0.92 < hits / repetitions < 0.985


def test_the_searchs_best_value_is_biased_and_the_confirmed_one_is_not():
    found = truth.curse(4000, seed=0)
    assert found.searched < found.true - 1  # a whole standard deviation of a seed
    assert found.confirmed == pytest.approx(found.true, abs=0.03)


# --- two samples ----------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=9),
    st.lists(st.integers(0, 9), min_size=1, max_size=9),
)
def test_probability_is_mann_whitneys(a, b):
    found = probability_better(a, b)
    u = (
        stats.mannwhitneyu(b, a, method="asymptotic").statistic
        if len({*a, *b}) > 1
        else len(a) * len(b) / 2
    )
    assert found.value == pytest.approx(u / (len(a) * len(b)))
    assert 0 <= found.low <= found.value <= found.high <= 1
    other = probability_better(b, a)
    assert other.low == pytest.approx(1 - found.high, abs=1e-9)
    assert other.high == pytest.approx(1 - found.low, abs=1e-9)


def test_failures_lose_to_any_value_and_tie_with_each_other():
    assert probability_better([1.0], [INF]).value == 1.0
    assert probability_better([INF], [INF]).value == 0.5
    assert probability_better([1.0, INF], [2.0, INF]).value == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert probability_better([], [1.0]) == Interval(None)


@pytest.mark.parametrize(("a", "b"), [(range(0, 12, 2), range(1, 23, 2)), ([1, 4, 6], [2, 5, 9])])
def test_with_overlap_the_bounds_are_the_roots_of_what_it_says(a, b):
    """Newcombe's variance times its ratio to DeLong's, drawn towards 1 by n / (n + 8)."""
    m, n, z = len(a), len(b), stats.norm.ppf(0.975)
    losses = [np.mean([x < y for y in b]) for x in a], [np.mean([x < y for x in a]) for y in b]
    p = float(np.mean(losses[0]))
    seen = np.var(losses[0], ddof=1) / m + np.var(losses[1], ddof=1) / n
    few = stats.hmean([m, n])

    def variance(theta):
        spread = (1 - theta) / (2 - theta) + theta / (1 + theta)
        return theta * (1 - theta) * (1 + ((m + n) / 2 - 1) * spread) / (m * n)

    ratio = 1 + few / (few + 8) * (seen / variance(p) - 1)

    def gap(theta):
        return (p - theta) ** 2 - z**2 * ratio * variance(theta)

    found = probability_better(a, b)
    assert found.value == pytest.approx(p)
    assert found.low == pytest.approx(brentq(gap, 1e-9, p), abs=1e-9)
    assert found.high == pytest.approx(brentq(gap, p, 1 - 1e-9), abs=1e-9)


def test_without_overlap_the_bound_is_newcombes_fifth():
    found = probability_better(range(6), range(10, 16))
    z, m = stats.norm.ppf(0.975), 6

    def equation(theta):  # Newcombe 2006, part 2: V with N* = (m + n) / 2 - 1
        spread = 1 + (m - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (1 - theta) - z * math.sqrt(theta * (1 - theta) * spread / m**2)

    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(brentq(equation, 0.01, 0.999), abs=1e-9)


def test_all_pairs_are_the_pairs_one_by_one():
    rng = np.random.default_rng(0)
    samples = [np.append(rng.normal(size=n), INF) for n in (4, 7, 4, 5)]
    found = probabilities_better(samples)
    assert sorted(found) == list(itertools.combinations(range(4), 2))
    for (i, j), p in found.items():
        assert p == probability_better(samples[i], samples[j])


def test_ratio():
    assert ratio_interval([2.0, 4.0], [1.0, 2.0]) == Interval(pytest.approx(2.0), None, None)
    assert ratio_interval([1.0, -1.0], [1.0]) == Interval(None)
    assert ratio_interval([], [1.0]) == Interval(None)
    assert ratio_interval([0.0, 1.0, 2.0], [1.0, 2.0, 3.0]) == Interval(None)
    assert ratio_interval([1.0, 2.0], [1.0, 2.0, 3.0]).low is None, "the smaller decides"
    assert ratio_interval([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).low is not None
    assert ratio_interval([1.0] * 3, [1.0] * 4) == Interval(1.0, 1.0, 1.0)
    equal = ratio_interval([3.0] * 5, [2.0] * 5)
    assert (equal.low, equal.value, equal.high) == pytest.approx((1.5, 1.5, 1.5))
    twice = ratio_interval(np.arange(2.0, 12.0), np.arange(1.0, 6.0, 0.5))
    assert twice.low < 2 < twice.high


def test_the_freedom_of_a_difference_is_welchs():
    random = np.random.default_rng(0)
    above, below = random.normal(size=5), 3 * random.normal(size=12)
    parts = [float(sample.var(ddof=1)) / len(sample) for sample in (above, below)]
    assert comparisons._welch(parts, [5, 12]) == pytest.approx(
        stats.ttest_ind(above, below, equal_var=False).df
    )


# --- ranks and profiles ---------------------------------------------------------------------------


def test_ranks_far_apart_are_certain():
    samples = [np.arange(5) + 100.0 * k for k in (2, 0, 1)]
    found = ranks(samples)
    assert [(r.rank, r.low, r.high, r.first) for r in found] == [
        (3, 3, 3, 0),
        (1, 1, 1, 1),
        (2, 2, 2, 0),
    ]
    assert [r.score for r in found] == pytest.approx([202.0, 2.0, 102.0])


def test_ranks_of_alike_samples_are_not():
    rng = np.random.default_rng(0)
    found = ranks([rng.normal(size=10) for _ in range(6)])
    assert sorted(r.rank for r in found) == [1, 2, 3, 4, 5, 6]
    assert sum(r.first for r in found) == pytest.approx(1)
    assert all(r.low <= r.rank <= r.high for r in found)
    assert max(r.high - r.low for r in found) >= 4


def test_where_failures_reach_the_score_it_ranks_by_success():
    some = np.array([1.0, 2.0, INF, INF])
    none, most, good = np.full(4, INF), np.array([1.0, INF, INF, INF]), np.array([9.0, 9.0, 9.0, INF])
    found = ranks([none, some, most, good])
    assert [r.rank for r in found] == [4, 2, 3, 1]
    assert [r.score for r in found] == [None, None, None, 9.0]


def test_equal_samples_share_a_rank_and_the_first_place():
    found = ranks([np.full(5, 7.0), np.full(8, 7.0), np.full(5, 8.0)])
    assert [(r.rank, r.first) for r in found] == [(1, 0.5), (1, 0.5), (3, 0.0)]
    assert ranks([]) == []


def test_ranks_of_one_or_two_seeds_are_not_sure():
    found = ranks([np.array([1.0]), np.arange(2.0, 7.0)])
    assert [r.rank for r in found] == [1, 2]
    assert (found[0].low, found[0].high, found[0].first) == (None, None, None)
    assert (found[1].low, found[1].high) == (2, 2)
    pair, three = ranks([np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0])])
    assert (pair.low, three.low) == (None, 2)


def test_ranking_by_success_and_by_the_pessimists_value():
    steady, lucky = np.full(10, 5.0), np.append(np.ones(8), [INF, INF])
    assert [r.rank for r in ranks([steady, lucky])] == [2, 1]
    assert [r.rank for r in ranks([steady, lucky], "q90")] == [1, 2]
    assert [r.rank for r in ranks([steady, lucky], "success")] == [1, 2]
    assert [r.rank for r in ranks([steady, steady - 1], "success")] == [2, 1]
    sure = ranks([steady, lucky], "success")
    luck = 0.8**10  # that a resample of the lucky has no failure: then the better IQM decides
    assert [r.first for r in sure] == pytest.approx([1 - luck, luck], abs=0.02)
    assert [(r.low, r.high) for r in sure] == [(1, 2), (1, 2)]
    half, third = np.array([1.0, INF]), np.array([5.0] * 7 + [INF] * 3)
    assert [r.rank for r in ranks([half, third], "success")] == [2, 1], "shares, and not numbers"


def test_profile_counts_failures_as_never():
    share, low, high = performance_profile([1.0, 2.0, INF, 2.0], [0.5, 1.0, 2.0, 99.0])
    assert share.tolist() == [0, 0.25, 0.75, 0.75]
    assert low[0] == 0
    assert (low <= share).all()
    assert (share <= high).all()
    assert high[3] < 1


# --- budgets --------------------------------------------------------------------------------------


def brute_force(costs, k):
    """The mean of the best over all subsets of k that have a value, and the share that have none."""
    bests = [min(subset) for subset in itertools.combinations(costs, k)]
    said = [best for best in bests if math.isfinite(best)]
    return (np.mean(said) if said else math.nan), 1 - len(said) / len(bests)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(values, st.just(INF)), min_size=1, max_size=9))
def test_expected_best_is_the_mean_over_all_subsets(costs):
    found = expected_best(costs)
    assert found.trials.tolist() == list(range(1, len(costs) + 1))
    for k, value, none in zip(found.trials, found.value, found.none, strict=True):
        mean, never = brute_force(costs, k)
        assert value == pytest.approx(mean, rel=1e-9, nan_ok=True)
        assert none == pytest.approx(never, abs=1e-9)


def test_expected_best_of_thousands_of_trials():
    costs = np.random.default_rng(0).lognormal(size=5000)
    found = expected_best(costs)
    assert found.value[0] == pytest.approx(costs.mean())
    assert found.value[-1] == costs.min()
    assert (np.diff(found.value) < 0).all()
    k = int(found.trials[60])
    i = np.arange(1, 5000 - k + 2)
    logs = gammaln(5000 - i + 1) - gammaln(k) - gammaln(5000 - i - k + 2)
    logs -= gammaln(5001) - gammaln(k + 1) - gammaln(5001 - k)
    assert found.value[60] == pytest.approx(np.exp(logs) @ np.sort(costs)[: len(i)], rel=1e-8)
    assert (found.low <= found.value + 1e-12).all()
    assert (found.low[:60] < found.high[:60]).all()


def test_expected_best_band_covers_small_budgets():
    rng = np.random.default_rng(1)
    true = 1 / 6  # the expected smallest of 5 uniform values
    hits = sum(
        bool(found.low[0] <= true <= found.high[0])
        for found in (expected_best(rng.random(60), [5]) for _ in range(200))
    )
    assert 0.89 < hits / 200 < 0.99


def test_expected_best_of_nothing():
    assert len(expected_best([]).trials) == 0
    none = expected_best([INF, math.nan])
    assert np.isnan(none.value).all()
    assert np.isnan(none.low).all()
    assert none.none.tolist() == [1.0, 1.0]
    for ks in ([0, 4], [0, 2], [2, 4]):
        words = f"from 1 to the number of trials, 3; got {ks[0]} to {ks[1]}"
        with pytest.raises(ValueError, match=words):
            expected_best([1.0, 2.0, 3.0], ks)


def test_the_band_is_of_the_resamples_that_have_a_value():
    found = expected_best([1.0, INF, INF])  # of whose resamples 8 in 27 have none
    assert found.low.tolist() == found.high.tolist() == [1.0] * 3


# --- times ----------------------------------------------------------------------------------------

SIX_MP = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
RELAPSED = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0]
PLACEBO = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]


def test_median_time_of_freireichs_trial():
    """Weeks of remission, Freireich et al. 1963; medians as every textbook has them."""
    treated = time_to(SIX_MP, RELAPSED)
    assert (treated.value, treated.low, treated.high) == (23, 13, None)
    placebo = time_to(PLACEBO, [True] * 21)
    assert (placebo.value, placebo.low, placebo.high) == (8, 4, 11)


def test_times_that_cannot_be_said():
    assert time_to([], []) == Interval(None)
    assert time_to([10, 20], [False, False]) == Interval(None)
    assert time_to([10.0], [True]) == Interval(10.0, 10.0, None), "of none left in one, half may be"
    assert time_to([5, 9, 9], [True, False, False]).value is None


def test_all_at_once():
    found = time_to([100.0] * 10, [True] * 10)
    assert (found.value, found.low, found.high) == (100, 100, 100)

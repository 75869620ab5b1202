"""What a larger search would have found: expected best value against trials and against seconds.

After Lucic et al. 2018, "Are GANs created equal?" (arXiv 1711.10337), figure 4, by the exact estimator
of `statistics.expected_best`.

A trial's value is that of its best report with a finite value, however it ended, which is what the
leaderboard ranks; a trial without one has none. All that ended count, but those that their machine
ended do not. Both curves read the trials as a random sample of the search space: for an adaptive
sampler, or where pruning compares trials with one another, they describe that search, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gansearch.analysis.evidence import Evidence
from gansearch.analysis.expectations import expected_best
from gansearch.analysis.trials import Array, families, of_family, table_of
from gansearch.study.records import TrialRecord, cost

NODES = 60
"""Points of a curve at most."""

ORDERS = 400
"""Random orders of the trials over which a curve against seconds is the mean."""

_TRIALS = ("family", "trials", "expected", "low", "high", "p_none")
_SECONDS = ("family", "seconds", "expected", "low", "high", "p_none")


def budget_curves(evidence: Evidence) -> pd.DataFrame:
    """The expected best value of k trials, for each loss family and (`all`) for all of them together.

    The band is a bootstrap's over the trials, 95 % at each point. It is too narrow at the right end,
    where the curve hangs on the few best trials and no resample holds a better one.

    Returns:
        `family`, `trials` (k, from 1 to all there are), `expected` (given that at least one of the k
        trials has a value), `low`, `high`, `p_none` (the probability that none has). At most 60 rows a
        family; a family of which no trial has a value has no row, and is named in `attrs["words"]`.
    """
    rows, without = [], []
    for family in families(evidence.search):
        costs, _ = _ended(of_family(evidence.search, family), evidence)
        if not np.isfinite(costs).any():
            without.append(family)
            continue
        expected = expected_best(costs, _upto(len(costs)))
        bounds = _values(expected.value, expected.low, expected.high, evidence)
        rows.append(_rows(_TRIALS, family, expected.trials, *bounds, expected.none))
    return _curves(rows, _TRIALS, without)


def seconds_curves(evidence: Evidence) -> pd.DataFrame:
    """The expected best value found in so many seconds of training, for each loss family and for all.

    One trial after the other, in random order, as long as the seconds suffice to end it: the mean over
    400 orders (seeded). Seconds are those of training and evaluation, times the share of a GPU, or the
    CPUs, that a trial had. The curve begins at the mean trial's seconds and ends at the sum of all.

    The band is that of `budget_curves` at the number of trials that these seconds hold on average, laid
    around the curve: orders of every resample would add their own noise to it.

    Returns:
        `family`, `seconds`, `expected` (given that a trial with a value ended in time), `low`, `high`,
        `p_none` (the share of the orders in which none did); else as `budget_curves`.
    """
    rows, without = [], []
    for family in families(evidence.search):
        costs, seconds = _ended(of_family(evidence.search, family), evidence)
        if not np.isfinite(costs).any() or not seconds.sum() > 0:
            without.append(family)
            continue
        budgets = np.unique(np.geomspace(seconds.mean(), seconds.sum(), NODES))
        expected, none = _in_random_order(costs, seconds, budgets)
        below, above = _deviations(costs, budgets / seconds.mean())
        bounds = _values(expected, expected + below, expected + above, evidence)
        columns = [column[none < 1] for column in (budgets, *bounds, none)]
        rows.append(_rows(_SECONDS, family, *columns))
    return _curves(rows, _SECONDS, without)


def _upto(n: int) -> Array:
    """Numbers of trials up to n, evenly spaced in their logarithm, each once."""
    return np.unique(np.geomspace(1, n, NODES).round())


def _ended(records: Sequence[TrialRecord], evidence: Evidence) -> tuple[Array, Array]:
    """Costs (small is good, infinite: no value), best first; and the device-seconds of each trial."""
    ended = [record for record in records if record.outcome.ended and not record.blameless]
    bests = [record.best(evidence.metric, evidence.goal) for record in ended]
    costs = np.array([cost(best.value, evidence.goal) if best else math.inf for best in bests])
    seconds = evidence.devices * np.array([record.seconds for record in ended])
    order = np.argsort(costs, kind="stable")
    return costs[order], seconds[order]


def _in_random_order(costs: Array, seconds: Array, budgets: Array) -> tuple[Array, Array]:
    """Mean least cost of the trials that end within each budget; and the share of orders without."""
    rng = np.random.default_rng(0)
    best = np.empty((ORDERS, len(budgets)))
    for row in best:
        order = rng.permutation(len(costs))
        reached = np.concatenate([[math.inf], np.minimum.accumulate(costs[order])])
        used = np.cumsum(seconds[order])
        row[:] = reached[np.searchsorted(used, budgets * (1 + 1e-9), "right")]
    finite = np.isfinite(best)
    counts = finite.sum(axis=0)
    return np.where(finite, best, 0.0).sum(axis=0) / np.maximum(counts, 1), 1 - counts / ORDERS


def _deviations(costs: Array, trials: Array) -> tuple[Array, Array]:
    """How far the band of the expected best of so many trials, 1 to n, lies below and above it."""
    expected = expected_best(costs, _upto(len(costs)))
    low, high = (
        np.interp(np.log(trials), np.log(expected.trials), bound - expected.value)
        for bound in (expected.low, expected.high)
    )
    return np.asarray(low), np.asarray(high)


def _values(expected: Array, low: Array, high: Array, evidence: Evidence) -> tuple[Array, Array, Array]:
    """Values from costs, the band around them."""
    low, high = np.minimum(low, expected), np.maximum(high, expected)
    return (expected, low, high) if evidence.goal == "min" else (-expected, -high, -low)


def _rows(columns: Sequence[str], family: str, *values: Any) -> pd.DataFrame:
    table = pd.DataFrame(dict(zip(columns[1:], values, strict=True)))
    table.insert(0, columns[0], family)
    return table


def _curves(
    tables: Sequence[pd.DataFrame], columns: Sequence[str], without: Sequence[str]
) -> pd.DataFrame:
    words = f"no trial with a value: {', '.join(without)}" if without else ""
    if not tables:
        return table_of([], columns, words=words or "no trials yet")
    table = pd.concat(tables, ignore_index=True)
    table.attrs["words"] = words
    return table

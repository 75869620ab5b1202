"""Where training succeeds: maps of the probability of success, and how large a learning rate may be.

The probability at a point is that of a training with these coordinates whose other axes are drawn as
those of the counted trainings were: the search's trials, and the seeds of the stability study, each at
its configuration's place. (The configurations were chosen for their success, but their seeds were not:
at that place they are evidence like any other. `seeds=False` leaves them out.) A sampler such as TPE
looks away from where training fails, which makes a map less sure there, and moves the other axes
towards what works: random search makes the cleanest.

Estimator: a Beta posterior with Jeffreys' prior, whose counts are weighted by a Gaussian kernel, 1 at
its centre, on the unit square of the axes' own scales:

    p = (sum w y + 1/2) / (sum w + 1)
    interval: the 2.5 % and 97.5 % quantiles of Beta(sum w y + 1/2, sum w (1 - y) + 1/2)

Far from every trial that is 1/2 with the interval [0, 1], as it should be. Smoothing flattens the map,
by about half the squared bandwidth times the curvature; what keeps the intervals honest all the same
is a bandwidth of 0.7 of that under which each trial is best predicted from the others, and that `sum w`
trials are counted where smooth data are worth about twice as many.

By simulation, with 20 to 1,000 random trials, the intervals hold the truth at 94 to 99 % of a map's
points where success falls from 90 to 10 % over a sixth of the range or more, and at 90 to 98 % where it
does so over a twelfth; the points that are missed lie along that cliff.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaincc, betaincinv

from gansearch.analysis.evidence import Evidence
from gansearch.analysis.trials import (
    ALL,
    RATES,
    Array,
    Coordinate,
    Sample,
    families,
    numeric,
    of_family,
    path_and_options,
    table_of,
    weighed,
)
from gansearch.study.config import loss_family
from gansearch.study.records import TrialRecord

BANDWIDTHS = (0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.27)
"""Standard deviations of the kernel that are tried, as shares of an axis' range."""

UNDERSMOOTHING = 0.7
"""The most likely bandwidth balances bias and variance; an honest interval needs less bias."""

JUDGED = 1000
"""Trials at most on which a bandwidth is judged, each predicted from all the others."""

FEWEST = 3.0
"""Sum of the kernel's weights below which a place has too few trials to say that nine in ten succeed,
or that they do not: if all of three do, Jeffreys' posterior gives that a probability of 0.59."""

TAIL = 0.025
RATE_NODES = 201

_TOO_FEW_AXES = "a map needs two numeric axes, and the search has fewer"
_NO_TRIAL = "no trial counts yet"
_PRUNED = "a pruned trial counts as a success by the share of the budget that it survived"

_MAP = ["x", "y", "p", "low", "high", "n_effective"]
_POINTS = ["number", "x", "y", "outcome", "family", "counted", "weight"]
_RATES = ["family", "axis", "rate", "low", "high", "safe_from", "trials", "words"]


def stability_map(
    evidence: Evidence,
    x: str | None = None,
    y: str | None = None,
    family: str | None = None,
    grid: int = 40,
    *,
    seeds: bool = True,
) -> pd.DataFrame:
    """The probability of success over two numeric axes.

    Args:
        evidence: the study.
        x: an axis, or a path in the configuration at which axes lie; None: the generator's learning
            rate, or where it is no axis the first numeric one.
        y: the same; None: the discriminator's learning rate, or the next numeric axis.
        family: a loss family; None or `all`: every trial.
        grid: points along each axis.
        seeds: count the stability study's trials too.

    Returns:
        grid x grid rows, y fastest: `x`, `y`, `p`, `low`, `high` (95 %), `n_effective` (the kernel's
        sum of weights). In `attrs`: `x`, `y`, `x_log`, `y_log`, `family`, `bandwidth`, the counts
        `counted`, `succeeded`, `failed`, `pruned`, `uncounted`, `enough` (whether any place has trials
        enough, see `FEWEST`), and `words`. Empty, with a reason in `words`, where there are no two
        numeric axes or no trial counts.

    Raises:
        ValueError: `x` or `y` is named and is no numeric axis.
    """
    pair = _pair(evidence, x, y)
    if pair is None:
        return table_of([], _MAP, family=family or ALL, words=_TOO_FEW_AXES)
    records = of_family(_records(evidence, seeds), family)
    sample = Sample.of(records, pair, evidence)
    attributes = _attributes(pair, family) | _counts(records, sample)
    if not len(sample):
        return table_of([], _MAP, **attributes | {"words": _NO_TRIAL, "enough": False})
    bandwidth = _bandwidth(sample)
    nodes = np.linspace(0, 1, grid)
    along_x, along_y = (_kernel(nodes, sample.unit[:, i], bandwidth) for i in (0, 1))
    won = (along_x @ (along_y * (sample.weight * sample.success)).T).ravel()
    total = (along_x @ (along_y * sample.weight).T).ravel()
    lost = np.maximum(total - won, 0.0)
    low, high = _bounds(won, lost)
    xs, ys = (np.asarray(axis.values(nodes)) for axis in pair)
    columns = [np.repeat(xs, grid), np.tile(ys, grid), (won + 0.5) / (total + 1), low, high, total]
    attributes |= {"bandwidth": bandwidth, "enough": _has_enough(sample, bandwidth)}
    if not attributes["enough"]:
        attributes["words"] = _not_enough(sample)
    return table_of(np.column_stack(columns), _MAP, **attributes)


def map_points(
    evidence: Evidence,
    x: str | None = None,
    y: str | None = None,
    family: str | None = None,
    *,
    seeds: bool = True,
) -> pd.DataFrame:
    """The trials of a map, to be drawn on it.

    Returns:
        `number`, `x`, `y`, `outcome` (its word), `family`, `counted` (whether it tells of success),
        `weight` (with which it counts, 0 to 1); `attrs` as `stability_map` has them.
    """
    pair = _pair(evidence, x, y)
    if pair is None:
        return table_of([], _POINTS, family=family or ALL, words=_TOO_FEW_AXES)
    records = of_family(_records(evidence, seeds), family)
    rows = []
    for record in records:
        at = [axis.read(record, evidence.axes) for axis in pair]
        judged = weighed(record, evidence)
        weight = judged[1] if judged else 0.0
        kind = loss_family(record.config)
        if None not in at:
            rows.append((record.number, *at, record.outcome.value, kind, judged is not None, weight))
    counts = _counts(records, Sample.of(records, pair, evidence))
    return table_of(rows, _POINTS, **_attributes(pair, family) | counts)


def safe_rates(evidence: Evidence, level: float = 0.9, *, seeds: bool = True) -> pd.DataFrame:
    """The largest learning rate at which training is safe: it succeeds with probability `level`.

    For each family and each learning rate by itself, over the other axes as the counted trials have
    them: the search's, and (`seeds`) those of the stability study. Too small a rate can fail as well as
    too large a one (a network that hardly learns loses), so nothing is assumed to be monotone: the safe
    range is the widest run of rates at each of which the probability is, more likely than not, at least
    `level` (the posterior's median is). The largest safe rate is its upper end, `safe_from` its lower
    one.

    The interval asks the same posterior for more and for less: up to `low` the probability is at least
    `level` almost surely (97.5 %), and beyond `high` almost surely not. By simulation it holds the
    truth in 95 % or more of the searches with 20 to 1,000 trials, where a bootstrap over the trials,
    which knows only of failures that were seen, does in 80 to 90 % of those with 20 or 50.

    Returns:
        `family`, `axis`, `rate`, `low`, `high`, `safe_from`, `trials` (that counted), `words`. None
        where there is no such rate: `rate`, where none is likely to be safe, or no rate has trials
        enough near it to tell (`FEWEST`; `words` says which); `low`, where none is almost surely;
        `high`, where it is all but excluded that any is.
    """
    rows = []
    paths = {path_and_options(name, evidence.axes)[0] for name in numeric(evidence.axes)}
    others = sorted(path for path in paths if path.endswith(".lr") and path not in RATES)
    rates = [*(path for path in RATES if path in paths), *others]
    records = _records(evidence, seeds)
    for family in families(records):
        for rate in rates:
            axis = Coordinate.of(rate, evidence.axes)
            sample = Sample.of(of_family(records, family), [axis], evidence)
            rows.append({"family": family, "axis": rate} | _safe_rate(axis, sample, level))
    if not rows:
        words = "no learning rate is an axis" if records else _NO_TRIAL
        return table_of([], _RATES, words=words)
    return table_of(rows, _RATES, dtype=object)


def _safe_rate(axis: Coordinate, sample: Sample, level: float) -> dict[str, object]:
    limit: dict[str, object] = dict.fromkeys(("rate", "low", "high", "safe_from"))
    limit["trials"] = len(sample)
    if not len(sample):
        return limit | {"words": _NO_TRIAL}
    nodes = np.linspace(0, 1, RATE_NODES)
    kernel = _kernel(nodes, sample.unit[:, 0], _bandwidth(sample)) * sample.weight
    won, lost = kernel @ sample.success, kernel @ (1 - sample.success)
    safe = betaincc(won + 0.5, lost + 0.5, level)
    enough = won + lost >= FEWEST
    rates = [float(rate) for rate in axis.values(nodes)]
    likely = _widest((safe >= 0.5) & enough)
    if likely is None:
        possible = _widest(safe >= TAIL)
        limit["high"] = rates[possible[1]] if possible else None
        if not enough.any():
            return limit | {"words": _not_enough(sample)}
        p = np.where(enough, (won + 0.5) / (won + lost + 1), 0.0)
        where = "nowhere" if enough.all() else "nowhere that has trials enough"
        return limit | {"words": f"{where}: at best {100 * p.max():.0f} %, at {rates[p.argmax()]:.2g}"}
    start, stop = likely
    within = (nodes >= nodes[start]) & (nodes <= nodes[stop])
    surely = _widest((safe >= 1 - TAIL) & within)
    beyond = np.flatnonzero(safe[stop:] < TAIL)
    return limit | {
        "rate": rates[stop],
        "low": rates[surely[1]] if surely else None,
        "high": rates[stop + beyond[0] - 1 if len(beyond) else -1],
        "safe_from": rates[start],
        "words": _safe_words(start == 0, stop == RATE_NODES - 1),
    }


def _has_enough(sample: Sample, bandwidth: float) -> bool:
    """Whether any trial has trials enough around it, itself among them."""
    centres = sample.unit[:JUDGED]
    near = [_kernel(centres[:, i], sample.unit[:, i], bandwidth) for i in range(sample.unit.shape[1])]
    return bool((np.prod(near, axis=0) @ sample.weight >= FEWEST).any())


def _not_enough(sample: Sample) -> str:
    return f"not enough trials ({len(sample)})"


def _safe_words(from_low_end: bool, to_high_end: bool) -> str:
    if to_high_end:
        return "over the whole range" if from_low_end else "from this rate to the end of the range"
    return "up to this rate" if from_low_end else "between these rates"


def _widest(flags: NDArray[np.bool_]) -> tuple[int, int] | None:
    """First and last place of the longest run of True; None if there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    runs = edges.reshape(-1, 2)
    if not len(runs):
        return None
    start, end = runs[np.argmax(runs[:, 1] - runs[:, 0])]
    return int(start), int(end) - 1


def _bounds(won: Array, lost: Array) -> tuple[Array, Array]:
    """Jeffreys' interval; from 0 where hardly a success was seen, to 1 where hardly a failure was."""
    low, high = (betaincinv(won + 0.5, lost + 0.5, q) for q in (TAIL, 1 - TAIL))
    return np.where(won < 0.5, 0.0, low), np.where(lost < 0.5, 1.0, high)


def _kernel(nodes: Array, at: Array, bandwidth: float) -> Array:
    """Gaussian weights, nodes x trials, 1 at the centre."""
    return np.asarray(np.exp(-0.5 * ((nodes[:, None] - at[None, :]) / bandwidth) ** 2))


def _bandwidth(sample: Sample) -> float:
    """That under which the trials, each left out, are most likely, made smaller by `UNDERSMOOTHING`."""
    n = len(sample)
    judged = np.arange(n) if n <= JUDGED else np.sort(np.random.default_rng(0).choice(n, JUDGED, False))
    distance = np.zeros((len(judged), n), dtype=np.float32)
    for column in sample.unit.T.astype(np.float32):
        distance += (column[judged, None] - column[None, :]) ** 2
    success, weight = sample.success[judged], sample.weight[judged]
    counts = np.stack([sample.weight * sample.success, sample.weight], axis=1).astype(np.float32)

    def likelihood(bandwidth: float) -> float:
        won, total = (np.exp(distance / (-2 * bandwidth**2)) @ counts).astype(float).T
        p = (won - weight * success + 0.5) / (total - weight + 1)
        return float(np.sum(weight * np.log(np.where(success > 0, p, 1 - p))))

    return UNDERSMOOTHING * max(BANDWIDTHS, key=likelihood)


def _pair(evidence: Evidence, x: str | None, y: str | None) -> tuple[Coordinate, Coordinate] | None:
    """The coordinates of a map; None where no two are to be had."""
    axes = evidence.axes
    names = numeric(axes)
    paths = [path_and_options(name, axes)[0] for name in names]
    # An axis that several options have, as a penalty's weight, is one coordinate by its path.
    usual = [rate for rate in RATES if rate in paths] + [
        path if paths.count(path) > 1 else name
        for name, path in zip(names, paths, strict=True)
        if path not in RATES
    ]
    first = x or next((name for name in usual if name != y), None)
    second = y or next((name for name in usual if name != first), None)
    if first is None or second is None:
        return None
    return Coordinate.of(first, axes), Coordinate.of(second, axes)


def _records(evidence: Evidence, seeds: bool) -> list[TrialRecord]:
    return [*evidence.search, *evidence.stability] if seeds else evidence.search


def _attributes(pair: tuple[Coordinate, Coordinate], family: str | None) -> dict[str, object]:
    x, y = pair
    return {"x": x.name, "y": y.name, "x_log": x.log, "y_log": y.log, "family": family or ALL}


def _counts(records: Sequence[TrialRecord], sample: Sample) -> dict[str, object]:
    failed = int(np.sum(sample.success == 0))
    pruned = int(np.sum((sample.success == 1) & (sample.weight < 1)))
    return {
        "counted": len(sample),
        "succeeded": len(sample) - failed - pruned,
        "failed": failed,
        "pruned": pruned,
        "uncounted": len(records) - len(sample),
        "words": _PRUNED if pruned else "",
    }

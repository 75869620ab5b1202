"""What mattered: which axes decide the value, and which decide whether training fails at all.

Importance is a share: of what the axes do to the target, the part of each; the shares of one evaluator
and one target sum to 1. Two of Optuna's evaluators, because they ask different questions:

- `ped-anova` (Watanabe et al. 2023, arXiv 2304.10255; for axes under an option, arXiv 2601.20800): how
  far the best tenth of the trials (for failure: those that failed) lies from all of them along an axis.
  It knows every axis, and sees each by itself.
- `fanova` (Hutter et al. 2014): the share of a random forest's variance that an axis explains alone.
  Optuna's drops every axis that a trial lacks, without a word, and shares its effect out among the
  others. Here a trial that lacks an axis gets a value drawn at random along it: that explains nothing,
  and the axis explains what it does where it exists.

Both are blind to signs, to interactions, and to how sure they are: they point where to look.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from gansearch.analysis.evidence import Evidence
from gansearch.analysis.trials import Coordinate, reading, table_of, weighed
from gansearch.study.axes import Axis, Choice, Float, Int
from gansearch.study.config import loss_family
from gansearch.study.records import Outcome, TrialRecord, cost, ranked

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TRIALS = 1000
"""Trials at most from which importance is computed, evenly spaced over the search."""

FEWEST = 10
"""Trials below which there is nothing to say about importance."""

TOP, TOP_TRIALS = 0.1, 5
"""The share of the trials that `ped-anova` calls good, and how many these are at least."""

TREES, DEPTH = 64, 4
"""The forest of `fanova`. Optuna's own depth, 64, fits the noise between seeds: an axis without any
effect then gets up to a sixth of the importance, and 1,000 trials take half a minute."""

_IMPORTANCE = ("axis", "target", "importance", "evaluator")
_SLICES = ("axis", "x", "value", "outcome", "family", "number")


def importance(evidence: Evidence) -> pd.DataFrame:
    """The importance of each axis for the best value and for failure.

    The value is replaced by its rank, so that a few enormous ones do not decide. Failure is 1 or 0 over
    all the trials that count; a pruned one is no failure.

    Returns:
        `axis`, `target` (`value` or `failure`), `importance` (a share), `evaluator`; the most important
        first. In `attrs`: `trials` (target -> how many were used), and `words`, which say what could
        not be said.
    """
    judged = [(record, weighed(record, evidence)) for record in evidence.search]
    counted = [(record, j[0]) for record, j in judged if j is not None]
    bests = [(record, record.best(evidence.metric, evidence.goal)) for record, _ in counted]
    values = [(record, best.value) for record, best in bests if best is not None]
    ranks = rankdata([cost(value, evidence.goal) for _, value in values])
    targets = {
        "value": [(record, float(rank)) for (record, _), rank in zip(values, ranks, strict=True)],
        "failure": [(record, float(success)) for record, success in counted],
    }
    rows: list[tuple[Any, ...]] = []
    words: list[str] = []
    used = {}
    for target, all_known in targets.items():
        known = _evenly(all_known, TRIALS)
        used[target] = len(known)
        reason = _unsaid(target, known, evidence.axes)
        if reason:
            words.append(reason)
            continue
        for evaluator, shares in _shares(known, evidence.axes, target).items():
            rows += [(axis, target, share, evaluator) for axis, share in shares.items()]
    return table_of(
        sorted(rows, key=lambda row: (row[1] != "value", row[3] != "ped-anova", -row[2])),
        _IMPORTANCE,
        trials=used,
        words="; ".join(words),
    )


def _unsaid(target: str, known: Sequence[tuple[TrialRecord, float]], axes: Mapping[str, Axis]) -> str:
    """Why the importance for a target cannot be said; empty if it can."""
    what = f"what mattered for {'the value' if target == 'value' else 'failure'}"
    numbers = [number for _, number in known]
    if not axes:
        return f"{what}: the search has no axes"
    if len(numbers) < FEWEST:
        return f"{what}: too few trials to say ({len(numbers)} of at least {FEWEST})"
    if len(set(numbers)) == 1:
        if target == "value":
            return f"{what}: all trials have the same value"
        return f"{what}: no trial failed" if numbers[0] else f"{what}: every trial failed"
    if not _varied(record for record, _ in known):
        return f"{what}: all trials lie at the same point"
    return ""


def _shares(
    known: Sequence[tuple[TrialRecord, float]], axes: Mapping[str, Axis], target: str
) -> dict[str, dict[str, float]]:
    """Importance by evaluator and axis; the target is to be small."""
    import optuna  # noqa: PLC0415
    from optuna.importance import (  # noqa: PLC0415
        FanovaImportanceEvaluator,
        PedAnovaImportanceEvaluator,
        get_param_importances,
    )

    study, whole = (optuna.create_study(direction="minimize") for _ in range(2))
    chance = np.random.default_rng(0)
    distributions = {name: _distribution(axis) for name, axis in axes.items()}
    logarithmic = {name for name, axis in axes.items() if isinstance(axis, Float) and axis.log}
    varied = _varied([record for record, _ in known])
    for record, number in known:
        params = {n: math.log10(v) if n in logarithmic else v for n, v in record.params.items()}
        drawn = {name: _anywhere(axis, chance) for name, axis in axes.items() if name not in params}
        for one, its in ((study, params), (whole, params | drawn)):
            its = {name: value for name, value in its.items() if name in varied}  # noqa: PLW2901
            present = {name: distributions[name] for name in its}
            one.add_trial(optuna.trial.create_trial(value=number, params=its, distributions=present))
    # Failure: whatever share up to theirs is asked for, the zeros tie, and are all taken.
    zeros = float(np.mean([number == 0 for _, number in known]))
    top = min(TOP, zeros) if target == "failure" else max(TOP, TOP_TRIALS / len(known))
    evaluators = {
        "ped-anova": PedAnovaImportanceEvaluator(target_quantile=top),
        "fanova": FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=0),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            name: get_param_importances(whole if name == "fanova" else study, evaluator=evaluator)
            | {axis: 0.0 for axis in axes if axis not in varied}
            for name, evaluator in evaluators.items()
        }


def _varied(records: Iterable[TrialRecord]) -> set[str]:
    """The axes that have several values in some trials. One that has not explains nothing, but
    `ped-anova` sees a density of few trials there and a narrower one of many, and calls that a lot.
    """
    values: dict[str, set[Any]] = {}
    for record in records:
        for name, value in record.params.items():
            values.setdefault(name, set()).add(value)
    return {name for name, seen in values.items() if len(seen) > 1}


def _anywhere(axis: Axis, chance: np.random.Generator) -> Any:
    """Some value of an axis, on its own scale."""
    if isinstance(axis, Choice):
        return list(axis.options)[chance.integers(len(axis.options))]
    if isinstance(axis, Int):
        return int(chance.integers(axis.low, axis.high + 1))
    ends = (math.log10(axis.low), math.log10(axis.high)) if axis.log else (axis.low, axis.high)
    return float(chance.uniform(*ends))


def _distribution(axis: Axis) -> BaseDistribution:
    """An axis on its own scale as Optuna knows it; a choice by its labels.

    A logarithmic one in its logarithm: fANOVA would average over the values themselves, of which nine
    tenths lie in the last decade.
    """
    from optuna.distributions import (  # noqa: PLC0415
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(axis, Choice):
        return CategoricalDistribution(list(axis.options))
    if isinstance(axis, Int):
        return IntDistribution(axis.low, axis.high)
    if axis.log:
        return FloatDistribution(math.log10(axis.low), math.log10(axis.high))
    return FloatDistribution(axis.low, axis.high)


def outcomes_by(evidence: Evidence, axis: str, bins: int = 8) -> pd.DataFrame:
    """How the search's trials ended along one axis.

    Args:
        evidence: the study.
        axis: its name.
        bins: of a numeric axis, equally wide on its own scale; an integer axis has one for each value
            where those are no more.

    Returns:
        A row for each option or range, in order and by its label; a column for each `Outcome` by its
        word, with counts. In `attrs`: `axis`, `edges` (of the bins; None for options) and `absent`, the
        trials that do not have this axis.
    """
    kind = evidence.axes[axis]
    known = [(reading(record, axis, evidence.axes), record) for record in evidence.search]
    present = [(value, record) for value, record in known if axis in record.params]
    values = [value for value, _ in present]
    edges = None
    if isinstance(kind, Choice):
        labels = [str(label) for label in kind.options]
        bin_of = [labels.index(str(value)) for value in values]
    elif isinstance(kind, Int) and kind.high - kind.low < bins:
        labels = [str(value) for value in range(kind.low, kind.high + 1)]
        bin_of = [int(value) - kind.low for value in values]
    else:
        scale = Coordinate.of(axis, evidence.axes)
        edges = [float(edge) for edge in scale.values(np.linspace(0, 1, bins + 1))]
        labels = [f"{low:.2g} to {high:.2g}" for low, high in itertools.pairwise(edges)]
        unit = scale.unit(np.asarray(values, dtype=float)) if values else np.empty(0)
        bin_of = np.clip((unit * bins).astype(int), 0, bins - 1).tolist()
    counts = np.zeros((len(labels), len(Outcome)), dtype=int)
    order = list(Outcome)
    for row, (_, record) in zip(bin_of, present, strict=True):
        counts[row, order.index(record.outcome)] += 1
    absent = len(known) - len(present)
    table = table_of(counts, [o.value for o in Outcome], axis=axis, edges=edges, absent=absent)
    table.index = pd.Index(labels, name=axis)
    return table


def slices(evidence: Evidence) -> pd.DataFrame:
    """Each trial along each axis that it has.

    Returns:
        `axis`, `x` (a number, or an option's label as text), `value` (of the best report; NaN where
        there is none), `outcome` (its word), `family`, `number`.
    """
    rows, axes = [], list(evidence.axes.items())
    for record in evidence.search:
        best = record.best(evidence.metric, evidence.goal)
        value = best.value if best else np.nan
        rest = (value, record.outcome.value, loss_family(record.config), record.number)
        rows += [
            (name, _shown(record, name, axis), *rest) for name, axis in axes if name in record.params
        ]
    return table_of(rows, _SLICES)


def parallel(evidence: Evidence, limit: int = 500) -> pd.DataFrame:
    """Trials over all the axes, for parallel coordinates: the best ones, and the rest evenly chosen.

    Args:
        evidence: the study.
        limit: trials at most; a fifth of them, or all if there are no more, are the best.

    Returns:
        `number`, `family`, `outcome`, `value` (NaN where there is none) and a column for each axis
        (missing where a trial does not have it), the best first. In `attrs`: `trials`, how many there
        are.
    """
    order = ranked(evidence.search, evidence.metric, evidence.goal)
    first = len(order) if len(order) <= limit else max(limit // 5, 1)
    chosen = [*order[:first], *_evenly(order[first:], limit - first)]
    rows = []
    for record in chosen:
        best = record.best(evidence.metric, evidence.goal)
        about = (
            record.number,
            loss_family(record.config),
            record.outcome.value,
            best.value if best else np.nan,
        )
        rows.append((*about, *(_shown(record, name, axis) for name, axis in evidence.axes.items())))
    columns = ("number", "family", "outcome", "value", *evidence.axes)
    return table_of(rows, columns, trials=len(order))


def _shown(record: TrialRecord, name: str, axis: Axis) -> float | str | None:
    """A trial's value of an axis; of a choice the label as text, since a column of numbers alone would
    make `32.0` of 32 and take `null` for missing. None where the trial does not have the axis.
    """
    value = record.params.get(name)
    return str(value) if isinstance(axis, Choice) and name in record.params else value


def _evenly(items: Sequence[Any], limit: int) -> list[Any]:
    """At most so many of them, evenly spaced, in order."""
    if len(items) <= limit:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, limit).round().astype(int)]

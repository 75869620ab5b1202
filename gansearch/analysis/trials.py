"""Trials as points of the search space: where each lies, and what it says about success.

A coordinate is read from a trial's axes where it has them, and else from its configuration, so that
the seeds of a stability study, which have no axes, and axes under an option are found too.

What is a success or a failure is told by `TrialRecord.standing`; here, how much each trial counts.
One that completed with a finite value of the objective is one success; one that diverged, collapsed,
stalled or failed is one failure, and so is one that completed without ever having a finite value. A
**pruned** or **paused** trial was healthy until it was stopped: it counts as a part of a success, its
share of the budget, because that is what it survived. A running or an interrupted trial does not count
yet, and one that its machine ended does not count at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gansearch.analysis.evidence import Evidence
from gansearch.study.axes import Axis, Choice, Float, Int
from gansearch.study.config import loss_family
from gansearch.study.records import Outcome, TrialRecord

Array = NDArray[np.float64]

ALL = "all"
"""Stands for all loss families together."""

RATES = ("optimizer.generator.lr", "optimizer.discriminator.lr")
"""The two learning rates, by their paths in a configuration."""


def families(records: Sequence[TrialRecord]) -> list[str]:
    """The loss families of trials, the most frequent first; before them `all`, if there are several."""
    counts = Counter(loss_family(record.config) for record in records)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return [ALL, *names] if len(names) > 1 else names


def of_family(records: Sequence[TrialRecord], family: str | None) -> list[TrialRecord]:
    """The trials of one loss family; None or `all`: every trial."""
    if family in (None, ALL):
        return list(records)
    return [record for record in records if loss_family(record.config) == family]


def weighed(record: TrialRecord, evidence: Evidence) -> tuple[bool, float] | None:
    """Whether a trial succeeded, and its weight in (0, 1]; None where it does not count."""
    if record.outcome in (Outcome.PRUNED, Outcome.PAUSED):
        share = min(record.step / evidence.steps, 1.0)
        return (True, share) if share > 0 else None
    standing = record.standing(evidence.metric, evidence.goal)
    return (standing == "success", 1.0) if standing in ("success", "failure") else None


@dataclass(frozen=True)
class Coordinate:
    """A numeric axis of the space as one dimension of a map.

    Attributes:
        name: the axis, or a path in the configuration at which axes lie.
        low: the least value.
        high: the largest.
        log: whether its scale is logarithmic.
    """

    name: str
    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, name: str, axes: Mapping[str, Axis]) -> Coordinate:
        """A coordinate by the name of an axis, or by the path at which one or several axes lie.

        Raises:
            ValueError: no numeric axis is there.
        """
        under = [axis for n, axis in axes.items() if path_and_options(n, axes)[0] == name]
        named = [axes[name]] if name in axes else under
        ranges = [axis for axis in named if isinstance(axis, Float | Int)]
        if not ranges:
            raise ValueError(
                f"'{name}' is no numeric axis; there are: {', '.join(numeric(axes)) or 'none'}"
            )
        low, high = min(axis.low for axis in ranges), max(axis.high for axis in ranges)
        log = all(isinstance(axis, Float) and axis.log for axis in ranges)
        return cls(name, float(low), float(high), log)

    def read(self, record: TrialRecord, axes: Mapping[str, Axis]) -> float | None:
        """Where a trial lies; None if it has no such value."""
        value = reading(record, self.name, axes)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if value > 0 or not self.log else None

    def unit(self, values: ArrayLike) -> Array:
        """Values on the axis' own scale, `low` at 0 and `high` at 1."""
        low, high = self._ends()
        scaled = np.log10(values) if self.log else np.asarray(values, dtype=float)
        return np.asarray((scaled - low) / (high - low), dtype=float)

    def values(self, unit: ArrayLike) -> Array:
        """The inverse of `unit`."""
        low, high = self._ends()
        scaled = low + np.asarray(unit, dtype=float) * (high - low)
        return np.clip(10.0**scaled if self.log else scaled, self.low, self.high)

    def _ends(self) -> tuple[float, float]:
        return (
            (float(np.log10(self.low)), float(np.log10(self.high)))
            if self.log
            else (self.low, self.high)
        )


@dataclass(frozen=True)
class Sample:
    """The trials that count, as arrays over n of them.

    Attributes:
        unit: n x d, each coordinate on its own scale, its range at [0, 1].
        success: n, 1 or 0.
        weight: n, in (0, 1].
    """

    unit: Array
    success: Array
    weight: Array

    @classmethod
    def of(
        cls, records: Sequence[TrialRecord], coordinates: Sequence[Coordinate], evidence: Evidence
    ) -> Sample:
        """Of those trials that count and have all the coordinates."""
        rows, success, weight = [], [], []
        for record in records:
            judged = weighed(record, evidence)
            values = [coordinate.read(record, evidence.axes) for coordinate in coordinates]
            if judged is not None and None not in values:
                rows.append(values)
                success.append(float(judged[0]))
                weight.append(judged[1])
        values_ = np.asarray(rows, dtype=float).reshape(-1, len(coordinates))
        columns = [c.unit(column) for c, column in zip(coordinates, values_.T, strict=True)]
        return cls(np.stack(columns, axis=1), np.asarray(success), np.asarray(weight))

    def __len__(self) -> int:
        return len(self.success)


def numeric(axes: Mapping[str, Axis]) -> list[str]:
    """The axes that are numbers, by name: those that every trial has first."""
    names = [name for name, axis in axes.items() if isinstance(axis, Float | Int)]
    return sorted(names, key=lambda name: bool(path_and_options(name, axes)[1]))


def reading(record: TrialRecord, name: str, axes: Mapping[str, Axis]) -> Any:
    """A trial's value of an axis (of a choice: the label), or at a path; None if it has none."""
    if name in record.params:
        return record.params[name]
    return value_at(record.config, name, axes)


def value_at(config: Mapping[str, Any], name: str, axes: Mapping[str, Axis]) -> Any:
    """A configuration's value of an axis, or at a path; None if it has none."""
    path, options = path_and_options(name, axes)
    if any(not _is_option(_at(config, at), label) for at, label in options):
        return None
    value = _at(config, path)
    axis = axes.get(name)
    if isinstance(axis, Choice):
        return next((label for label in axis.options if _is_option(value, str(label))), None)
    return value


def path_and_options(name: str, axes: Mapping[str, Axis]) -> tuple[str, list[tuple[str, str]]]:
    """An axis' path in the configuration, and the options under which it exists, as (path, label).

    `loss.wasserstein.penalty.weight` is at `loss.penalty.weight`, where `loss` is `wasserstein`.
    """
    path, options = name, []
    choices = [
        (n, axis) for n, axis in axes.items() if isinstance(axis, Choice) and name.startswith(f"{n}.")
    ]
    for above, choice in sorted(choices, key=lambda pair: len(pair[0]), reverse=True):
        leading = [str(label) for label in choice.options if f"{name}.".startswith(f"{above}.{label}.")]
        if leading:  # labels may hold dots: `my.parts:Loss`
            label = max(leading, key=len)
            path = above + path[len(f"{above}.{label}") :]
            options.append((path_and_options(above, axes)[0], label))
    return path, options


def _at(config: Any, path: str) -> Any:
    """What stands at a dotted path; None where nothing does."""
    for key in path.split("."):
        if isinstance(config, Mapping):
            config = config.get(key)
        elif isinstance(config, list) and key.isdigit() and int(key) < len(config):
            config = config[int(key)]
        else:
            return None
    return config


def _is_option(value: Any, label: str) -> bool:
    """Whether a value is the option of that label: the value itself, or the name of the part."""
    return str(value.get("name") if isinstance(value, Mapping) else value) == label


def table_of(rows: Any, columns: Sequence[str], dtype: Any = None, **attributes: Any) -> pd.DataFrame:
    """A table with these columns, also where it has no row, and with what is to be known of it."""
    table = pd.DataFrame(rows, columns=list(columns), dtype=dtype)
    table.attrs.update(attributes)
    return table

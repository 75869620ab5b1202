"""Asking metrics for what they know and for their values, those of one family in one pass."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

from torch import Tensor

from gansearch.errors import DataError, Doubt
from gansearch.metrics.contract import Activations, Metric, RealStatistics
from gansearch.metrics.door import (
    MetricError,
    check_some,
    finite,
    statistics_of,
    told_in_place,
    value_of,
    versions,
)


def passes(metrics: Mapping[str, Metric]) -> list[dict[str, Metric]]:
    """The metrics in groups, each of which one pass over one extractor's activations serves."""
    groups: dict[tuple[str | None, int], dict[str, Metric]] = {}
    for name, metric in metrics.items():
        family = getattr(metric, "family", None)
        groups.setdefault((metric.features, id(family or metric)), {})[name] = metric
    return list(groups.values())


def of_real(group: Mapping[str, Metric], real: Activations) -> dict[str, Tensor]:
    """What the metrics of one pass need to know of the real samples.

    Raises:
        DataError: the metrics cannot do with these samples.
        MetricError: what is given is no dict of tensors.
    """
    name, metric = next(iter(group.items()))
    family = getattr(metric, "family", None)
    if not finite(real):
        raise DataError(f"the metric '{name}': the real images' activations are not finite")
    before = versions(*real)
    try:
        given = family.of_real(list(group.values()), real) if family else metric.of_real(real)
    except ValueError as error:  # as one that cannot do with so few images raises it
        raise DataError(f"the metric '{name}' cannot use these images: {error}") from error
    _doubt_changes(name, before, *real)
    return statistics_of(name, given)


def values_of(group: Mapping[str, Metric], fake: Activations, real: RealStatistics) -> dict[str, float]:
    """The values of the metrics of one pass: NaN where an activation is not finite, and no metric is
    asked then, which might give a number that hides it.

    Raises:
        ValueError: too few samples.
        MetricError: what is given is no number.
    """
    check_some(fake.features)
    if not finite(fake):
        return dict.fromkeys(group, math.nan)
    name, metric = next(iter(group.items()))
    family = getattr(metric, "family", None)
    before = versions(*fake, *real.values())
    given = family.values(list(group.values()), fake, real) if family else [metric(fake, real)]
    _doubt_changes(name, before, *fake, *real.values())
    if len(given) != len(group):
        raise MetricError(f"the family of '{name}' gives {len(given)} values for {len(group)} metrics")
    return {each: value_of(each, value) for each, value in zip(group, given, strict=True)}


def _doubt_changes(name: str, before: list[int], *given: object) -> None:
    """Warn of a metric that has changed what it was given: a study that has begun goes on with it."""
    if versions(*given) != before:
        warnings.warn(told_in_place(f"the metric '{name}'"), Doubt, stacklevel=2)

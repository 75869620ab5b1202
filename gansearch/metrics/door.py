"""The one door for what metrics return: plain floats and tensors come in, all else is told by name."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gansearch.errors import DataError, UnknownPart, UserError, nearest
from gansearch.metrics.contract import Activations, Metric
from gansearch.study.records import count

GOALS = ("min", "max", None)


class MetricError(UserError):
    """A metric that does not keep the contract."""


def features_named(name: str) -> str | None:
    """What a metric's option `features` means: an extractor, or None for `raw`.

    Raises:
        UnknownPart: there is no such extractor; one of the user's own is looked for when it is used.
    """
    from gansearch.metrics import FEATURES  # noqa: PLC0415  which imports nothing, but is above this

    known = ("raw", *FEATURES.names)
    if name not in known and ":" not in name:
        raise UnknownPart(f"unknown feature extractor '{name}'{nearest(name, known)}")
    return None if name == "raw" else name


def check_some(features: Tensor) -> None:
    """Raises `ValueError` where there is not one generated sample."""
    if not len(features):
        raise ValueError("there are no generated samples, and so nothing to measure")


def check_metric(name: str, metric: Any) -> Metric:
    """A metric with all that is asked of one; raises `MetricError`."""
    lacking = [
        key for key in ("features", "goal", "compares_real", "of_real") if not hasattr(metric, key)
    ]
    if lacking:
        raise MetricError(f"the metric '{name}' has no {', no '.join(lacking)}")
    if not callable(metric):
        raise MetricError(f"the metric '{name}' cannot be called: it has no __call__(fake, real)")
    if metric.goal not in GOALS:
        raise MetricError(f"the metric '{name}' has the goal {metric.goal!r}, not 'min' or 'max'")
    _check_calls(name, metric)
    _check_attributes(name, metric)
    found: Metric = metric
    return found


def _check_calls(name: str, metric: Any) -> None:
    """Raises `MetricError` for a metric that cannot be asked as it will be."""
    calls = {"__call__(fake, real)": (metric, 2), "of_real(real)": (metric.of_real, 1)}
    family = getattr(metric, "family", None)
    if family is not None:
        lacking = [key for key in ("of_real", "values") if not callable(getattr(family, key, None))]
        if lacking:
            raise MetricError(f"the metric '{name}': its family has no {', no '.join(lacking)}")
    for call, (method, given) in calls.items():
        try:
            inspect.signature(method).bind(*[None] * given)
        except TypeError as error:
            raise MetricError(f"the metric '{name}' cannot be asked as {call}: {error}") from error
        except ValueError:  # one that is written in C does not say
            continue


def _check_attributes(name: str, metric: Any) -> None:
    """Raises `MetricError` for attributes of a metric that are not what they say."""
    features, least = metric.features, getattr(metric, "least_samples", 1)
    if features is not None and not isinstance(features, str):
        wanted = "an extractor's name, or None for the samples' own numbers"
        raise MetricError(f"the metric '{name}': features is {features!r}, not {wanted}")
    try:
        features_named(features or "raw")
    except UnknownPart as error:
        raise MetricError(f"the metric '{name}': {error}") from error
    if metric.compares_real not in (True, False):
        raise MetricError(
            f"the metric '{name}': compares_real is {metric.compares_real!r}, not True or False"
        )
    if isinstance(least, bool) or not isinstance(least, Integral) or least < 1:
        raise MetricError(f"the metric '{name}': least_samples is {least!r}, not an integer above 0")
    of_class = getattr(metric, "least_of_a_class", 0)
    if isinstance(of_class, bool) or not isinstance(of_class, Integral) or of_class < 0:
        raise MetricError(f"the metric '{name}': least_of_a_class is {of_class!r}, not an integer")


def kind_of(metric: Metric) -> str | None:
    """Which samples a metric is for, as it or its extractor says, "images" or "points"; None: any."""
    from gansearch.metrics import FEATURES  # noqa: PLC0415

    own: str | None = getattr(metric, "kind", None)
    if own is None and metric.features in FEATURES.names:
        return getattr(FEATURES.find(metric.features), "kind", None)
    return own


def width_of(features: str | None) -> int | None:
    """How many features an extractor of ours gives; None where that depends on the data."""
    from gansearch.metrics import FEATURES  # noqa: PLC0415

    known = features is not None and features in FEATURES.names
    return getattr(FEATURES.find(features), "width", None) if known and features else None


def least_samples(metric: Metric) -> int:
    """The fewest samples of either side with which a metric has a value."""
    return int(getattr(metric, "least_samples", 1))


def least_in(metric: Metric, width: int | None) -> int:
    """The fewest generated samples with which a metric has a value in so many features, as far as that
    is known.
    """
    grows = getattr(metric, "least_of", None)
    least = least_samples(metric)
    return least if grows is None or width is None else max(least, int(grows(width)))


def check_samples(name: str, metric: Metric, width: int, samples: int) -> None:
    """Raises `DataError` where fewer samples are generated than a metric needs in its features."""
    if samples < (least := least_in(metric, width)):
        raise DataError(
            f"the metric '{name}' needs at least {least:,} generated samples in {width:,} features, "
            f"and {samples:,} are asked for"
        )


def least_of_a_class(metric: Metric) -> int:
    """The fewest samples of each class, of either side, with which a metric has a value; 0: any."""
    return int(getattr(metric, "least_of_a_class", 0))


def check_class(label: int, found: int, least: int) -> None:
    """Raises `ValueError` where a class has fewer real samples than a metric needs of each."""
    if found < least:
        raise ValueError(f"class {label} has {count(found, 'real sample')}, and it takes {least}")


def value_of(name: str, given: Any) -> float:
    """What a metric gave as a plain float; infinity, which no table and no tracker can show, is NaN.

    Python's and NumPy's real numbers are taken, and tensors and arrays without axes.

    Raises:
        MetricError: for anything else, by the metric's name.
    """
    plain = given
    if (isinstance(given, Tensor | np.ndarray) and given.ndim == 0) or isinstance(given, np.generic):
        plain = given.item()
    if isinstance(plain, bool) or not isinstance(plain, int | float):
        raise MetricError(
            f"the metric '{name}' gives {described(given)}, and must give one number: a float, or NaN "
            "where there is none"
        )
    try:
        value = float(plain)
    except OverflowError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def statistics_of(name: str, given: Any) -> dict[str, Tensor]:
    """What a metric's `of_real` gave, as tensors by name; raises `MetricError` for anything else."""
    if not isinstance(given, Mapping):
        raise MetricError(
            f"the metric '{name}': of_real gives {described(given)}, and must give a dict of tensors"
        )
    found = {}
    for key, value in given.items():
        try:
            found[str(key)] = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise MetricError(
                f"the metric '{name}': of_real gives {described(value)} as '{key}', not a tensor"
            ) from error
        if found[str(key)].layout != torch.strided:
            raise MetricError(
                f"the metric '{name}': of_real gives a sparse tensor as '{key}': make it dense"
            )
    return found


def finite(seen: Activations) -> bool:
    """Whether every activation is a number."""
    return all(part is None or bool(torch.isfinite(part).all()) for part in seen)


def versions(*given: Any) -> list[int]:
    """How often the tensors among what is given have been changed in place: two answers differ where a
    part has done so in between.
    """
    return [each._version for each in given if isinstance(each, Tensor) and not each.is_inference()]


def told_in_place(name: str) -> str:
    """What is wrong with a part that has changed what it was given, in words."""
    mend = "make a new tensor (`x * 2` for `x.mul_(2)`, `inplace=False` in a first layer)"
    return f"{name} changes in place what it is given, which others use after it: {mend}"


def described(value: Any) -> str:
    """A value in words: its type, and its shape or what it is where that is short."""
    if isinstance(value, Tensor | np.ndarray):
        kind = "a tensor" if isinstance(value, Tensor) else "an array"
        return f"{kind} of shape {[*value.shape]}, {value.dtype}"
    if value is None:
        return "None"
    shown = repr(value)
    sized = f" of {len(value)}" if isinstance(value, list | tuple | dict) else ""
    kind = type(value).__name__
    return f"{kind}{sized}: {shown}" if len(shown) <= 40 else f"{kind}{sized}"

"""A metric's value follows from the activations alone."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gansearch.metrics import FEATURES
from gansearch.metrics.contract import Activations, Metric, to_arrays, to_tensors
from gansearch.study.records import Goal
from gansearch.training.randomness import seed_everything

GOALS: tuple[Goal, ...] = ("min", "max")


def check_metric(factory: Callable[[], Metric]) -> None:
    """A metric: one plain float that follows from the samples; NaN, and no error, where they are not
    finite.

    A metric whose value depends on the order of its samples says so by an attribute `ordered = True`.
    """
    metric = factory()
    assert metric.goal in GOALS, f"goal must be 'min' or 'max', not {metric.goal!r}"
    assert isinstance(metric.compares_real, bool), "compares_real must be True or False"
    features = metric.features
    assert features is None or features in FEATURES.names or ":" in features, (
        f"features must be None or one of {', '.join(FEATURES.names)}, not {features!r}"
    )
    pixels = features is None
    least = getattr(metric, "least_samples", 0)
    assert isinstance(least, int), f"least_samples must be a whole number, not {least!r}"
    count = max(500, least)
    real, fake = _activations(count + 100, pixels, 0), _activations(count, pixels, 1)
    if features == "mixture":
        real, fake = _of_mixture(real), _of_mixture(fake)
    if getattr(metric, "conditional", False):
        real, fake = _labelled(real), _labelled(fake)
    before = copy.deepcopy((real, fake))
    known = metric.of_real(real)
    assert isinstance(known, dict), f"of_real must return a dict, not {type(known).__name__}"
    for name, tensor in known.items():
        assert isinstance(tensor, Tensor), f"of_real: '{name}' must be a tensor, not {tensor!r}"
    known = to_tensors(to_arrays(known))  # as every trial gets it

    seed_everything(0)
    value = _value(metric, fake, known)
    assert math.isfinite(value), f"ordinary samples give {value}"
    seed_everything(1)
    assert _value(metric, fake, known) == value, "the same samples must give the same value"
    assert _value(factory(), fake, known) == value, "a new one must give the same value"
    for name, old, new in zip(("real", "fake"), before, (real, fake), strict=True):
        assert _equal(old, new), f"a metric must not change the {name} activations in place"
    if not getattr(metric, "ordered", False):
        order = torch.from_numpy(np.random.RandomState(0).permutation(len(fake.features)))
        mixed = _value(metric, _each(fake, lambda tensor: tensor[order]), known)
        assert math.isclose(mixed, value, rel_tol=1e-4, abs_tol=1e-6), (
            f"another order of the samples gives {mixed} for {value}: say `ordered = True` if it may"
        )
    if not pixels:
        broken = _value(metric, _each(fake, _with_nan), known)
        assert math.isnan(broken), f"samples that are not finite must give NaN, not {broken}"
    if metric.compares_real and metric.goal == "min" and getattr(metric, "judges_quality", True):
        far = _value(metric, _labelled(_activations(count, pixels, 2, far=True)), known)
        assert far > value, (
            f"samples far from the real ones ({far}) must be worse than near ones ({value}): "
            "say `judges_quality = False` if they may not be"
        )
    if family := getattr(metric, "family", None):
        metrics = [metric, factory()]
        shared = to_tensors(to_arrays(family.of_real(metrics, real)))
        both = family.values(metrics, fake, shared)
        assert list(both) == [value, value], f"its family gives {list(both)} for twice {value}"
    with contextlib.suppress(ValueError):  # of a single sample, whose value need not be finite
        _value(metric, _each(fake, lambda tensor: tensor[:1]), known)


def _of_mixture(seen: Activations) -> Activations:
    """The same as distances from equal modes, as the extractor `mixture` gives them."""
    distances = seen.features.abs()
    return Activations(distances, torch.full_like(distances, 1 / distances.shape[1]))


def _value(metric: Metric, fake: Activations, known: dict[str, Tensor]) -> float:
    value = metric(fake, known)
    assert type(value) is float, f"a metric must return a float, not {type(value).__name__} ({value!r})"
    return value


def _activations(count: int, pixels: bool, seed: int, *, far: bool = False) -> Activations:
    """Samples of one distribution, or of another that lies apart."""
    draws = torch.Generator().manual_seed(seed)
    if pixels:
        shape, low, high = (count, 3 * 8 * 8), (200 if far else 0), 256
        return Activations(torch.randint(low, high, shape, generator=draws, dtype=torch.uint8), None)
    features = torch.randn(count, 16, generator=draws) + (5.0 if far else 0.0)
    return Activations(features, (2 * features[:, :10]).softmax(1))


def _labelled(seen: Activations) -> Activations:
    return seen._replace(labels=torch.arange(len(seen.features)) % 10)


def _each(seen: Activations, change: Callable[[Tensor], Tensor]) -> Activations:
    changed = Activations(change(seen.features), change(_probabilities(seen)))
    if seen.labels is None:
        return changed
    return changed._replace(labels=change(seen.labels.double()).nan_to_num().long())


def _probabilities(seen: Activations) -> Any:
    return seen.features[:, :0] if seen.probabilities is None else seen.probabilities


def _with_nan(tensor: Tensor) -> Tensor:
    changed = tensor.clone()
    changed[len(changed) // 2] = math.nan
    return changed


def _equal(left: Activations, right: Activations) -> bool:
    return torch.equal(left.features, right.features) and torch.equal(
        _probabilities(left), _probabilities(right)
    )

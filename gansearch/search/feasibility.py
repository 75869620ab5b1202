"""Where training is likely to fail, learned from where it has.

A sampler knows that failed trials are bad, but where the best values lie next to the region of failure
(the largest learning rate that still holds) it keeps stepping into it. A model of the failure's
probability beside the sampler's own makes the search wary, as in Bayesian optimisation with unknown
constraints (Gelbart et al. 2014, arXiv 1403.5607).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from gansearch.study.axes import Axis, Choice, Float

Array = NDArray[np.float64]

NEEDED = 2
"""Trials of either kind that must be known before anything is said."""

REMEMBERED = 500
"""The model is of the newest trials only, so that its cost stays bounded."""

NEWS = 0.02
"""It is fitted again when this share of what it remembers is new; at which trials depends only on how
many have ended, so a resumed study has the same model."""


class Feasibility:
    """A logistic regression on the axes, their squares and products, fitted when it is asked.

    What it says is a function of the trials and of the order in which they ended.

    Numbers are scaled to [-1, 1] along their axis, labels are one-hot, an axis that does not exist at a
    point is 0.

    Args:
        axes: the search space's axes by name.
    """

    def __init__(self, axes: Mapping[str, Axis]) -> None:
        self._axes = dict(axes)
        self._known: list[tuple[list[float], bool]] = []
        self._fitted = 0
        self._model: _Regression | None = None
        self._threads = ThreadpoolController()  # looks for libraries, which takes longer than a fit

    def add(self, point: Mapping[str, Any], *, failed: bool) -> None:
        """Learn how a trial at a point ended; trials are to be told of in the order of their ends."""
        self._known.append((encoded(self._axes, point), failed))

    def risk(self, point: Mapping[str, Any]) -> float:
        """Probability that a trial at this point fails; 0 while too little is known."""
        known = len(self._known)
        every = max(1, int(NEWS * min(known, REMEMBERED)))
        if self._fitted != known - known % every:
            self._fitted = known - known % every
            self._model = self._fit(self._known[: self._fitted][-REMEMBERED:])
        if self._model is None:
            return 0.0
        return self._model.risk(np.array(encoded(self._axes, point)))

    def _fit(self, known: list[tuple[list[float], bool]]) -> _Regression | None:
        failures = sum(failed for _, failed in known)
        if not NEEDED <= failures <= len(known) - NEEDED:
            return None
        points, failed = zip(*known, strict=True)
        # Not before there is something to fit: SciPy's statistics and pandas come with it.
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

        model = LogisticRegression(max_iter=200)
        with self._threads.limit(limits=1):  # a small problem, beside workers that need the cores
            model.fit(_features(np.array(points)), failed)
        return _Regression(model.coef_, model.intercept_)


@dataclass(frozen=True)
class _Regression:
    """A logistic regression that was fitted, without what scikit-learn checks at each question."""

    weights: Array  # shape [1, F]
    bias: Array  # shape [1]

    def risk(self, code: Array) -> float:
        """The probability of failure at an encoded point, shape [D]."""
        from scipy.special import expit  # noqa: PLC0415  it loads much of SciPy

        return float(expit(_features(code[None]) @ self.weights.T + self.bias)[0, 0])


_pairs = cache(np.triu_indices)


def _features(codes: Array) -> Array:
    """Encoded points, shape [N, D], with their squares and products, shape [N, D + D (D + 1) / 2]."""
    first, second = _pairs(codes.shape[1])
    features: Array = np.concatenate([codes, codes[:, first] * codes[:, second]], axis=1)
    return features


def encoded(axes: Mapping[str, Axis], point: Mapping[str, Any]) -> list[float]:
    """A point as numbers: positions on the axes from -1 to 1, labels one-hot, 0 for an axis that does
    not exist there.
    """
    code: list[float] = []
    for name, axis in axes.items():
        if isinstance(axis, Choice):
            code += [float(name in point and point[name] == label) for label in axis.options]
        else:
            code.append(_position(point[name], axis) if name in point else 0.0)
    return code


def _position(value: float, axis: Axis) -> float:
    """Where a value lies on its axis: -1 at the low end, 1 at the high one."""
    low, high = (float(end) for end in axis.ends())
    if isinstance(axis, Float) and axis.log:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return 2 * (value - low) / (high - low) - 1

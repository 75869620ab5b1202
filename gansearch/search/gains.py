"""What trials still gain after a rung: a Gaussian process.

It knows how good they were there, how fast they had been getting better, and their configuration (with
a small learning rate a slow start is normal). The simplest model expects the same gain of all, which
ranks trials as they stand; another one is taken where it makes what was gained likelier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SPREAD = 0.6
"""Deviation of a configuration's numbers, where the covariance falls with the distance 1."""

Array = np.ndarray


class Places:
    """Configurations as points: numbers on their own scale, of one variance, and labels one-hot.

    Args:
        known: configurations that tell the scales: a number is taken by its logarithm where it is
            positive and spans more than a decade.
    """

    def __init__(self, known: Sequence[Mapping[str, object]]) -> None:
        self._labels: list[tuple[str, object]] = []
        self._numbers: list[tuple[str, bool, float, float]] = []  # name, log, mean, deviation
        for name in dict.fromkeys(name for params in known for name in params):
            values = [params[name] for params in known if name in params]
            if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
                numbers = np.array(values, float)
                log = bool(numbers.min() > 0 and numbers.max() > 10 * numbers.min())
                numbers = np.log(numbers) if log else numbers
                self._numbers.append((name, log, float(numbers.mean()), float(numbers.std()) or 1.0))
            else:
                self._labels += [(name, value) for value in dict.fromkeys(values)]

    def of(self, params: Mapping[str, Any]) -> list[float]:
        """One configuration, as shape [D]; a number that does not exist there is at its mean."""
        place = []
        for name, log, mean, deviation in self._numbers:
            value = params.get(name)
            if isinstance(value, int | float) and (value > 0 or not log):
                at = math.log(value) if log else float(value)
                place.append(SPREAD * (at - mean) / deviation)
            else:
                place.append(0.0)
        return place + [float(params.get(name, _NOTHING) == value) for name, value in self._labels]


_NOTHING = object()


@dataclass(frozen=True)
class Kernel:
    """What gains are supposed to depend on: variances, as shares of what there is to explain.

    Attributes:
        place: alike configurations gain alike.
        alike: of these, those with alike curves.
        linear: a gain is linear in level and pace.
        noise: what nothing tells.
        prior: log-probability, up to a constant: simple ones first, until the gains speak for others.
    """

    place: float
    alike: float
    linear: float
    noise: float
    prior: float

    def between(self, near: Array, alike: Array, shapes: Array, others: Array) -> Array:
        """Covariance of trials with others, shape [M, N].

        Args:
            near: likeness of their configurations, in [0, 1], shape [M, N].
            alike: of configurations and shapes.
            shapes, others: of shapes [M, 2] and [N, 2].
        """
        covariance: Array = self.place * near + self.alike * alike + self.linear * (shapes @ others.T)
        return covariance

    def own(self, shapes: Array) -> Array:
        """Variance of trials without what nothing tells, shape [M]."""
        variance: Array = self.place + self.alike + self.linear * np.square(shapes).sum(axis=1)
        return variance


KERNELS = (
    Kernel(0.0, 0.0, 0.0, 1.0, 0.0),
    Kernel(0.0, 0.0, 0.5, 0.5, -1.0),
    Kernel(0.4, 0.3, 0.1, 0.2, -2.0),
    Kernel(0.5, 0.4, 0.2, 0.05, -2.0),
)
"""The first expects the same gain of all, which ranks them as they stand."""


class Gains:
    """What is gained after one rung.

    Args:
        shapes: levels and paces of curves, shape [N, 2].
        places: their configurations', shape [N, D].
        gains: what they gained, shape [N].
        doubts: variances of that, shape [N].
    """

    def __init__(self, shapes: Array, places: Array, gains: Array, doubts: Array) -> None:
        from scipy.linalg import solve_triangular  # noqa: PLC0415  it loads much of SciPy

        self._centre, self._width = shapes.mean(axis=0), shapes.std(axis=0) + 1e-9
        self._shapes, self._places = (shapes - self._centre) / self._width, places
        self._mean, self._deviation = float(gains.mean()), float(gains.std()) + 1e-9
        scaled, best = (gains - self._mean) / self._deviation, -math.inf
        near, alike = _likeness(self._shapes, places, self._shapes, places)
        diagonal, noises = np.diag_indices(len(gains)), doubts / self._deviation**2
        for kernel in KERNELS:
            own = kernel.between(near, alike, self._shapes, self._shapes)
            own[diagonal] += kernel.noise + noises
            root = np.linalg.cholesky(own)
            half = solve_triangular(root, scaled, lower=True, check_finite=False)
            variance = _scale(float(half @ half), len(gains))
            told = kernel.prior - np.log(np.diag(root)).sum()
            told -= (len(gains) + 2) / 2 * math.log(variance)
            if told > best:
                best, self.kernel, likeliest = told, kernel, root
        self._inverse = np.linalg.inv(likeliest)
        self._weights = self._inverse.T @ (self._inverse @ scaled)
        self._variance = _scale(float(scaled @ self._weights), len(gains)) * self._deviation**2

    def of(self, shapes: Array, places: Array) -> tuple[Array, Array]:
        """Mean and variance of what trials still gain, each of shape [M]."""
        shapes = (shapes - self._centre) / self._width
        near, alike = _likeness(shapes, places, self._shapes, self._places)
        cross = self.kernel.between(near, alike, shapes, self._shapes)
        unknown = self.kernel.own(shapes) - np.square(self._inverse @ cross.T).sum(axis=0)
        mean = cross @ self._weights * self._deviation + self._mean
        return mean, (np.maximum(unknown, 0) + self.kernel.noise) * self._variance


def _scale(misfit: float, count: int) -> float:
    """The scale that makes gains likeliest, drawn to their deviation a little."""
    return (misfit + 2) / (count + 2)


def _likeness(shapes: Array, places: Array, others: Array, their_places: Array) -> tuple[Array, Array]:
    """How alike configurations are, and how alike in curves, too; in [0, 1], each of shape [M, N]."""
    near = np.exp(-0.5 * _squares(places, their_places))
    return near, near * np.exp(-0.5 * _squares(shapes, others))


def _squares(some: Array, others: Array) -> Array:
    """Squared distances, shape [M, N]."""
    mixed = some @ others.T
    squares: Array = np.square(some).sum(axis=1)[:, None] + np.square(others).sum(axis=1) - 2 * mixed
    return np.asarray(np.maximum(squares, 0.0))

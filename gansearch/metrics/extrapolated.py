"""A Frechet distance as of infinitely many generated samples, and how far off that may be.

Chong and Forsyth, "Effectively Unbiased FID and Inception Score and where to find them" (arXiv
1911.07023), section 3: the distance of N samples is too high by about c / N, where c depends on the
generator, so that the order of two generators may turn with N. A line through distances of several N
against 1 / N gives the one at 0. Here the samples are dealt into j equal parts for j = 1 to 4, each
part is measured, and the line is fitted to the mean of each j: every sample is used for every point.

To first order the result is as noisy as the distance of all samples, whose variance is that of its
influence function over N. With T = A (A^T S A)^(-1/2) A^T the optimal map from the generated Gaussian
(m, S) to the real one (n, A A^T), a sample x moves the distance by 2 (m - n) . (x - m) +
(x - m)^T (I - T) (x - m). What the line leaves over is added to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gansearch.metrics.contract import Activations, Goal, RealStatistics
from gansearch.metrics.door import features_named
from gansearch.metrics.frechet import Gaussian, fit, frechet_distance, moments

PARTS = 4
"""Into how many parts the samples are dealt at most. A part must have more samples than there are
features: with fewer the distance is not along a line."""


class Extrapolated(NamedTuple):
    """A distance at infinitely many samples.

    Attributes:
        distance: the line at 1 / N = 0; may be below 0 by about its error.
        error: its standard error, over other samples of the same generator.
    """

    distance: float
    error: float


def extrapolate(features: Tensor, real: Gaussian) -> Extrapolated:
    """The distance of N x d features from `real`, for N to infinity; NaN where they are not finite.

    Raises:
        ValueError: for fewer than 4 (d + 1) samples.
    """
    count, width = features.shape
    if count < PARTS * (width + 1):
        raise ValueError(
            f"to extrapolate a Frechet distance of {width:,} features takes {PARTS * (width + 1):,} "
            f"samples or more, not {count:,}"
        )
    if not torch.isfinite(features).all():
        return Extrapolated(math.nan, math.nan)
    order = torch.from_numpy(np.random.RandomState(2020).permutation(count)).to(features.device)
    dealt = features[order]
    sizes = [count // parts for parts in range(1, PARTS + 1)]
    means = [
        sum(frechet_distance(part, real) for part in _parts(dealt, parts, size)) / parts
        for parts, size in enumerate(sizes, start=1)
    ]
    inverse = np.array([1 / size for size in sizes])
    design = np.stack([np.ones(PARTS), inverse], axis=1)
    (distance, slope), *_ = np.linalg.lstsq(design, np.array(means), rcond=None)
    left_over = np.array(means) - distance - slope * inverse
    spread = np.linalg.inv(design.T @ design)[0, 0] * (left_over @ left_over) / (PARTS - 2)
    return Extrapolated(float(distance), math.hypot(math.sqrt(spread), sampling_error(features, real)))


def _parts(dealt: Tensor, parts: int, size: int) -> list[Tensor]:
    return [dealt[i * size : (i + 1) * size] for i in range(parts)]


def sampling_error(features: Tensor, real: Gaussian) -> float:
    """The standard error of the Frechet distance of N x d features, N > d, to first order in 1 / N.

    0 where both Gaussians are the same: then the distance is of second order in the samples.
    """
    mean, covariance = moments(features)
    eigenvalues, vectors = torch.linalg.eigh(real.factor.T @ covariance @ real.factor)
    kept = eigenvalues > eigenvalues[-1] * 1e-12
    root = real.factor @ (vectors[:, kept] * eigenvalues[kept].pow(-0.25))  # T = root @ root.T
    pieces = []
    for rows in torch.split(features, 8192):
        centred = rows.double() - mean
        linear = 2 * centred @ (mean - real.mean)
        pieces.append(linear + centred.square().sum(1) - (centred @ root).square().sum(1))
    return float(torch.cat(pieces).std()) / math.sqrt(len(features))


class Extrapolation:
    """The pass that a distance and its error share."""

    def of_real(self, metrics: Sequence[FrechetInfinity], real: Activations) -> dict[str, Tensor]:  # noqa: ARG002
        """The Gaussian of the real features."""
        return fit(real.features)._asdict()

    def values(
        self, metrics: Sequence[FrechetInfinity], fake: Activations, real: RealStatistics
    ) -> list[float]:
        """The values; see `extrapolate`."""
        found = extrapolate(fake.features, Gaussian(**real))
        return [metric.of(found) for metric in metrics]


class FrechetInfinity:
    """The Frechet distance of infinitely many generated samples, by extrapolation (FID-infinity).

    Chong and Forsyth 2020 (arXiv 1911.07023). In units of the features squared; about 0 for a perfect
    generator, and also a little below. Distances of different sample counts can be compared, within
    their errors (`fd_infinity_error`); the real side's count counts as ever. It takes more than four
    samples for each feature (Inception has 2,048).

    Args:
        features: in whose activations: `inception` for a FID; or `raw`: the samples' own numbers.
    """

    family = Extrapolation()
    goal: Goal = "min"
    compares_real = True
    ordered = True  # the samples are dealt by their places
    least_samples = 2

    def __init__(self, *, features: str = "classifier") -> None:
        self.features = features_named(features)

    def least_of(self, width: int) -> int:
        """Of generated ones, in so many features."""
        return PARTS * (width + 1)

    def of_real(self, real: Activations) -> dict[str, Tensor]:
        """The Gaussian of the real features."""
        return self.family.of_real([self], real)

    def __call__(self, fake: Activations, real: RealStatistics) -> float:
        """The value; NaN for non-finite features, `ValueError` for too few samples."""
        return self.family.values([self], fake, real)[0]

    def of(self, found: Extrapolated) -> float:
        """The value, of what the pass has found."""
        return found.distance


class FrechetInfinityError(FrechetInfinity):
    """The standard error of `fd_infinity`: how far it may be off by the chance of the samples.

    To first order, by the distance's influence function, and what the extrapolation leaves over. Two
    generators whose `fd_infinity` differ by less than twice it are not told apart.

    Args:
        features: as `fd_infinity` has them.
    """

    def of(self, found: Extrapolated) -> float:
        """0 or more, in the distance's units."""
        return found.error

"""The Frechet distance between features of real and of generated images.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium"
(arXiv 1706.08500): with a Gaussian fitted to each side, the squared 2-Wasserstein distance is

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

and lower is better. With S1 = A A^T, S1 S2 has the eigenvalues of the symmetric A^T S2 A, so the
last trace is a sum of square roots of real, non-negative numbers: no `sqrtm`, no complex residue.
Where one side has no more samples than features, its centred samples are such a factor themselves
and a smaller Gram matrix has the same eigenvalues (FastFID, arXiv 2009.14075). All in float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gansearch.metrics.contract import Activations, Goal, RealStatistics

CHUNK = 8192  # rows converted to float64 at a time: 128 MiB at 2048 features


class Gaussian(NamedTuple):
    """A normal distribution as the distance needs it, float64.

    Attributes:
        mean: d.
        factor: d x r with covariance = factor @ factor.T; r is d, or N where N <= d.
        trace: of the covariance, a scalar.
    """

    mean: Tensor
    factor: Tensor
    trace: Tensor


class FrechetDistance:
    """The Frechet distance in the space of one extractor's features (`frechet_distance`)."""

    features: str | None
    goal: Goal = "min"
    compares_real = True
    least_samples = 2

    def of_real(self, real: Activations) -> dict[str, Tensor]:
        """The Gaussian of the real features; the decomposition is paid once per study."""
        return fit(real.features)._asdict()

    def __call__(self, fake: Activations, real: RealStatistics) -> float:
        """The distance, 0 or more; NaN for non-finite features, `ValueError` below 2 samples."""
        return frechet_distance(fake.features, Gaussian(**real))


class InceptionDistance(FrechetDistance):
    """The standard Frechet Inception Distance (FID), on torch-fidelity's Inception.

    Heusel et al. 2017 (arXiv 1706.08500).
    Its bias falls with the number of samples; compare only values of the same number.
    """

    features = "inception"
    kind = "images"


class ClassifierDistance(FrechetDistance):
    """The Frechet distance on a small classifier's features: for CPUs. Not a FID, not comparable."""

    features = "classifier"
    kind = "images"


class DinoDistance(FrechetDistance):
    """The Frechet distance on DINOv2's features, from a file of yours (`GANSEARCH_DINOV2`).

    Stein et al. 2023, "Exposing flaws of generative model evaluation metrics" (arXiv 2306.04675), who
    find that it agrees with people where FID does not. Not comparable with a FID, nor between sizes of
    DINOv2.
    """

    features = "dinov2"
    kind = "images"


class ClipDistance(FrechetDistance):
    """The Frechet distance on the features of CLIP's images, from a file of yours (`GANSEARCH_CLIP`).

    Kynkaanniemi et al. 2023, "The Role of ImageNet Classes in Frechet Inception Distance" (arXiv
    2203.06026). Not comparable with a FID, nor between CLIP's sizes.
    """

    features = "clip"
    kind = "images"


class RawDistance(FrechetDistance):
    """The Frechet distance on the samples' own numbers: coordinates of points, in their units squared.

    It compares mean and covariance alone, and is blind to all else: a normal distribution of the data's
    covariance has the distance 0, whatever the data's modes are.
    """

    features = None


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d) and covariance (d x d, divided by N - 1) of N x d features, in float64.

    Raises:
        ValueError: for fewer than 2 samples.
    """
    mean = _mean(features)
    scatter = features.new_zeros(2 * mean.shape, dtype=torch.float64)
    for chunk in torch.split(features, CHUNK):
        centred = chunk.double() - mean
        scatter.addmm_(centred.T, centred)
    return mean, scatter / (len(features) - 1)


def fit(features: Tensor) -> Gaussian:
    """The Gaussian of N x d features.

    Eigenvalues below zero, which only rounding makes, are set to zero; no others are touched.

    Raises:
        ValueError: for fewer than 2 samples, or features that are not finite.
    """
    if not torch.isfinite(features).all():
        raise ValueError("the features to compare with are not finite")
    if len(features) <= features.shape[1]:
        mean = _mean(features)
        factor = (features.double() - mean).T / math.sqrt(len(features) - 1)
    else:
        mean, covariance = moments(features)
        eigenvalues, vectors = torch.linalg.eigh(covariance)
        factor = vectors * eigenvalues.clamp_min(0).sqrt()
    return Gaussian(mean, factor, factor.square().sum())


def frechet_distance(features: Tensor, real: Gaussian) -> float:
    """The squared distance between the Gaussian of N x d features and `real`, on one device.

    It is 0 for equal moments and unbounded above; rounding may leave it about 1e-7 of the traces
    below 0. Eigenvalues below zero are clipped as in `fit`.

    Raises:
        ValueError: for fewer than 2 samples. Features that are not finite give NaN instead.
    """
    mean = _mean(features)
    if not torch.isfinite(features).all():
        return math.nan
    if len(features) > real.factor.shape[1]:
        return distance_of_moments(*moments(features), real)
    centred = (features.double() - mean) / math.sqrt(len(features) - 1)
    projected = centred @ real.factor
    return _distance(mean, centred.square().sum(), projected @ projected.T, real)


def distance_of_moments(mean: Tensor, covariance: Tensor, real: Gaussian) -> float:
    """The squared distance of the Gaussian with a mean (d) and a covariance (d x d) from `real`."""
    gram = real.factor.T @ covariance @ real.factor
    return _distance(mean, covariance.trace(), gram, real)


def _distance(mean: Tensor, trace: Tensor, gram: Tensor, real: Gaussian) -> float:
    """The distance, where `gram` has the eigenvalues of the product of both covariances."""
    overlap = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().sum()
    return float((mean - real.mean).square().sum() + trace + real.trace - 2 * overlap)


def _mean(features: Tensor) -> Tensor:
    if len(features) < 2:
        raise ValueError(f"a Frechet distance needs at least 2 samples, not {len(features)}")
    return features.mean(0, dtype=torch.float64)

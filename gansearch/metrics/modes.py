"""How well the modes of a known mixture of Gaussians are met, as studies of mode collapse count it.

Lin et al., "PacGAN: The power of two samples in generative adversarial networks" (arXiv 1712.04086),
section 4.1, whose table 1 has all three of ring and grid; the measures are those of Srivastava et al.,
"VEEGAN" (arXiv 1705.07761). A sample is of high quality where it lies within three standard deviations
of a mode's centre.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from gansearch.data import DataSet, PointData
from gansearch.errors import DataError
from gansearch.metrics.contract import Activations, Goal, RealStatistics, Weights, to_tensors

NEAR = 3.0
"""Standard deviations from a mode's centre within which a sample is of high quality."""


class Mixture:
    """The distances of points from the modes of the mixture that they are known to be drawn from.

    `features` are those distances in standard deviations, N x K; `probabilities` the modes' shares in
    the mixture, the same for each point.
    """

    kind = "points"

    def __init__(self, weights: Weights, device: torch.device) -> None:
        known = to_tensors(weights.arrays, device)
        self._centres, self._deviation = known["centres"], known["deviation"]
        self._shares = known["weights"]

    @staticmethod
    def obtain(data: DataSet, *, cache_dir: Path, weights_file: Path | None = None) -> Weights:  # noqa: ARG004
        """The mixture of a data set; raises `DataError` where none is known."""
        if not isinstance(data, PointData) or data.mixture is None:
            raise DataError(
                f"data set '{data.name}' is not known to be a mixture of Gaussians, so modes, "
                "high_quality and reverse_kl have nothing to count by: ask for fd_raw"
            )
        known = data.mixture
        deviation = torch.tensor(known.deviation, dtype=torch.float64).numpy()
        arrays = {"centres": known.centres, "deviation": deviation, "weights": known.weights}
        return Weights.of(arrays)

    def __call__(self, points: Tensor) -> Activations:
        """Distances and shares, N x K each, of points N x D."""
        at = points.to(self._centres.device, self._centres.dtype)
        distances = torch.cdist(at, self._centres, compute_mode="donot_use_mm_for_euclid_dist")
        return Activations(distances / self._deviation, self._shares.expand(len(at), -1))


class OfMixture:
    """A measure of samples by the modes of the mixture."""

    features: str | None = "mixture"
    kind = "points"
    compares_real = False
    goal: Goal

    def of_real(self, real: Activations) -> dict[str, Tensor]:  # noqa: ARG002
        """Nothing: the mixture itself is known."""
        return {}

    def __call__(self, fake: Activations, real: RealStatistics) -> float:  # noqa: ARG002
        """The value; NaN where a sample is not finite."""
        if not torch.isfinite(fake.features).all() or fake.probabilities is None:
            return math.nan
        distance, nearest = fake.features.min(1)
        return self.of(distance, nearest, fake.probabilities[0])

    def of(self, distance: Tensor, nearest: Tensor, shares: Tensor) -> float:
        """The value for N samples.

        Args:
            distance: N, of each from its nearest mode, in standard deviations.
            nearest: N, int64, which mode that is.
            shares: K, of the modes in the mixture.
        """
        raise NotImplementedError


class Modes(OfMixture):
    """The modes with at least one sample of high quality, from 0 to K.

    Lin et al. 2018 (arXiv 1712.04086), table 1. It grows with the number of samples; 2,500 there.
    """

    goal: Goal = "max"

    def of(self, distance: Tensor, nearest: Tensor, shares: Tensor) -> float:  # noqa: ARG002
        """A whole number."""
        return float(torch.unique(nearest[distance <= NEAR]).numel())


class HighQuality(OfMixture):
    """The share of the samples within three standard deviations of a mode.

    Lin et al. 2018 (arXiv 1712.04086), table 1. In the plane 0.989 of the data themselves are.
    """

    goal: Goal = "max"

    def of(self, distance: Tensor, nearest: Tensor, shares: Tensor) -> float:  # noqa: ARG002
        """0 to 1."""
        return float((distance <= NEAR).double().mean())


class ReverseKL(OfMixture):
    """The divergence KL(generated || target) of the modes, each sample counted to its nearest mode.

    Lin et al. 2018 (arXiv 1712.04086), table 1. In nats; 0 where the modes are met as often as they
    should be, ln K where one of K equal modes has all samples. It does not see how near they are.
    """

    goal: Goal = "min"

    def of(self, distance: Tensor, nearest: Tensor, shares: Tensor) -> float:  # noqa: ARG002
        """0 or more."""
        made = torch.bincount(nearest, minlength=len(shares)).to(shares) / len(nearest)
        return float((torch.xlogy(made, made) - torch.xlogy(made, shares)).sum().clamp_min(0))


class ModeOverlap(OfMixture):
    """What generated and target distribution share, mode by mode: the sum of min(made, target).

    Of each mode only samples of high quality count, so it is 1 - the total variation distance between
    the two where all that lies elsewhere is one more class. It falls with lost modes and with samples
    between the modes, either of which `high_quality` or `reverse_kl` alone does not see.
    """

    goal: Goal = "max"

    def of(self, distance: Tensor, nearest: Tensor, shares: Tensor) -> float:
        """0 to 1."""
        near = torch.bincount(nearest[distance <= NEAR], minlength=len(shares))
        return float(torch.minimum(near.to(shares) / len(nearest), shares).sum())

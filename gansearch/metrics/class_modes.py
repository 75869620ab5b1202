"""Classes as modes: how many of them a generator of images meets, and how evenly.

Of stacked digits, where every combination is a class, it is the count of Srivastava et al. 2017
(arXiv 1705.07761) and Lin et al. 2018 (arXiv 1712.04086, tables 2 and 3): of 1,000 modes, by the
classifier's word, on 26,000 samples there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gansearch.metrics.contract import Activations, Goal, RealStatistics
from gansearch.metrics.door import features_named


class OfClasses:
    """A measure of how samples fall to the classes that a classifier takes them for.

    Args:
        features: whose classes: `classifier`, trained on the data's labels, or `digits`, which of
            stacked digits tells each channel's; its accuracy is in the provenance.
    """

    kind = "images"
    compares_real = True
    goal: Goal

    def __init__(self, *, features: str = "classifier") -> None:
        self.features: str | None = features_named(features)

    def of_real(self, real: Activations) -> dict[str, Tensor]:
        """The classes' shares of the real samples, by the classifier's word as for generated ones."""
        return {"shares": _shares(real)}

    def __call__(self, fake: Activations, real: RealStatistics) -> float:
        """The value; NaN where an activation is not finite."""
        if fake.probabilities is None or not torch.isfinite(fake.probabilities).all():
            return math.nan
        return self.of(_shares(fake), real["shares"].to(fake.probabilities.device))

    def of(self, made: Tensor, shares: Tensor) -> float:
        """The value for the classes' shares, K float64 that sum to 1, of generated and real samples."""
        raise NotImplementedError


class ClassModes(OfClasses):
    """The classes that at least one generated sample is taken for, from 1 to K.

    Lin et al. 2018 (arXiv 1712.04086), tables 2 and 3. It grows with the number of samples, 26,000
    there: the floor tells what real samples have at the same count.

    Args:
        features: whose classes: `classifier`, trained on the data's labels, or `digits`, which of
            stacked digits tells each channel's.
    """

    goal: Goal = "max"

    def of(self, made: Tensor, shares: Tensor) -> float:  # noqa: ARG002
        """A whole number."""
        return float((made > 0).sum())


class ClassKL(OfClasses):
    """The divergence KL(generated || real) of the classes' shares, in nats.

    Lin et al. 2018 (arXiv 1712.04086), tables 2 and 3. 0 where classes are met as often as in the data,
    ln K where one of K equal ones has all samples; NaN where a generated sample is of a class that no
    real one is taken for. Of few samples it is too high: the floor tells how much.

    Args:
        features: whose classes: `classifier`, trained on the data's labels, or `digits`, which of
            stacked digits tells each channel's.
    """

    goal: Goal = "min"

    def of(self, made: Tensor, shares: Tensor) -> float:
        """0 or more."""
        return float((torch.xlogy(made, made) - torch.xlogy(made, shares)).sum().clamp_min(0))


def _shares(seen: Activations) -> Tensor:
    if seen.probabilities is None:
        raise ValueError("these features know no classes: take `classifier`")
    taken = seen.probabilities.argmax(1)
    counts = torch.bincount(taken, minlength=seen.probabilities.shape[1]).double()
    return counts / len(taken)

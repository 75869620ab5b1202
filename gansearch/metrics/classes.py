"""Measures of a generator that is told a class: does it draw it, and as the data have it?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gansearch.metrics.contract import Activations, Goal, RealStatistics
from gansearch.metrics.door import check_class, features_named
from gansearch.metrics.frechet import Gaussian, fit, frechet_distance

FEWEST = 2
"""Samples of a class of which a Gaussian can be fitted."""


class ClassAccuracy:
    """The share of the generated samples that a classifier takes for the class that was asked for.

    From 0 to 1; the floor is what the classifier gets of real samples, which it was trained on where
    `evaluation.split` is `train`. Of a generator that ignores its class it is one over the number of
    classes. It is Ravuri and Vinyals' (arXiv 1905.10887) score the other way round, and as blind to
    variety as precision is: one good image a class has 1.
    """

    features: str | None = "classifier"
    goal: Goal = "max"
    compares_real = False
    conditional = True

    def of_real(self, real: Activations) -> dict[str, Tensor]:  # noqa: ARG002
        """Nothing."""
        return {}

    def __call__(self, fake: Activations, real: RealStatistics) -> float:  # noqa: ARG002
        """0 to 1; NaN where an activation is not finite; `ValueError` without classes."""
        labels = _labels(fake, "generated")
        if fake.probabilities is None or not torch.isfinite(fake.probabilities).all():
            return math.nan
        return float((fake.probabilities.argmax(1) == labels).double().mean())


class ClassPass:
    """The distances of all classes, which their mean and the worst of them share."""

    def of_real(self, metrics: Sequence[ClassDistance], real: Activations) -> dict[str, Tensor]:  # noqa: ARG002
        """The Gaussian of each class's real features.

        Raises:
            ValueError: the real samples have no classes, or a class fewer than two.
        """
        labels = _labels(real, "real")
        known: dict[str, Tensor] = {}
        for label in torch.unique(labels).tolist():
            own = real.features[labels == label]
            check_class(label, len(own), FEWEST)
            known |= {f"{label}/{part}": t for part, t in fit(own)._asdict().items()}
        return known

    def values(
        self, metrics: Sequence[ClassDistance], fake: Activations, real: RealStatistics
    ) -> list[float]:
        """The values; NaN where features are not finite, or a class has fewer than two samples."""
        labels = _labels(fake, "generated")
        classes = [int(name.partition("/")[0]) for name in real if name.endswith("/mean")]
        counts = [int((labels == label).sum()) for label in classes]
        if min(counts) < FEWEST or not torch.isfinite(fake.features).all():
            return [math.nan] * len(metrics)
        distances = [
            frechet_distance(
                fake.features[labels == label],
                Gaussian(*(real[f"{label}/{part}"] for part in Gaussian._fields)),
            )
            for label in classes
        ]
        return [metric.of(distances) for metric in metrics]


class ClassDistance:
    """The Frechet distance within each class, as its mean over the classes (intra-class FID).

    Miyato and Koyama 2018 (arXiv 1802.05637). It sees what the distance of all classes together does
    not: samples of the wrong class. Of few samples a class its floor is high: look at it.

    Args:
        features: in whose activations, or `raw`: the samples' own numbers.
    """

    family = ClassPass()
    goal: Goal = "min"
    compares_real = True
    conditional = True
    least_of_a_class = FEWEST

    def __init__(self, *, features: str = "classifier") -> None:
        self.features = features_named(features)

    def of_real(self, real: Activations) -> dict[str, Tensor]:
        """The Gaussian of each class; see `ClassPass.of_real`."""
        return self.family.of_real([self], real)

    def __call__(self, fake: Activations, real: RealStatistics) -> float:
        """0 or more; see `ClassPass.values`."""
        return self.family.values([self], fake, real)[0]

    def of(self, distances: Sequence[float]) -> float:
        """The value, of the classes' distances."""
        return math.fsum(distances) / len(distances)


class WorstClassDistance(ClassDistance):
    """The Frechet distance within a class, of the class where it is greatest.

    Miyato and Koyama 2018 (arXiv 1802.05637) have the mean.

    Args:
        features: in whose activations, or `raw`: the samples' own numbers.
    """

    def of(self, distances: Sequence[float]) -> float:
        """The greatest distance."""
        return max(distances)


def _labels(seen: Activations, side: str) -> Tensor:
    if seen.labels is None:
        raise ValueError(f"the {side} samples have no classes, which this metric is about")
    return seen.labels

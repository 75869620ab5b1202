"""Does the generator copy what it was trained on?

Alaa et al., "How Faithful is your Synthetic Data?" (arXiv 2102.08921): a generated sample is not
authentic where it is nearer to the real sample that is its nearest than any other real sample is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gansearch.metrics.contract import Activations, Goal, RealStatistics
from gansearch.metrics.distances import nearest_of, nearest_squares
from gansearch.metrics.door import check_some, features_named
from gansearch.metrics.neighbours import check_repeats


class Memorisation:
    """The share of the generated samples that are nearer to a real one than that is to any other.

    From 0 to 1. Alaa et al. 2022 (arXiv 2102.08921), 1 less its authenticity. A generator of copies has
    1, held-out real samples a third to a half (the floor tells how many), one whose samples lie far
    from all data 0: it is no measure of quality. Above the floor it is a sign of copies, where
    `evaluation.split` is `train`: of another split's samples there are none to be copied. A real sample
    that occurs twice has no reach, and even its copies do not count: data with more than a few such are
    refused.

    Args:
        features: in whose activations, or `raw`: the samples' own numbers.
    """

    goal: Goal = "min"
    compares_real = True
    judges_quality = False
    least_samples = 1
    may_occur = 1

    def __init__(self, *, features: str = "classifier") -> None:
        self.features = features_named(features)

    def check_repeats(self, nearest: Tensor) -> None:
        """Raises `ValueError` where too many real samples have others at a squared distance of 0."""
        check_repeats(nearest, "once", "they have no reach, and copies of them would not count")

    def of_real(self, real: Activations) -> dict[str, Tensor]:
        """The real features and their squared distances to the nearest others.

        Raises:
            ValueError: for one sample, or where more than one in a hundred occurs more than once.
        """
        nearest = nearest_squares(real.features, 1)[:, 0]
        self.check_repeats(nearest)
        return {"features": real.features, "nearest": nearest}

    def __call__(self, fake: Activations, real: RealStatistics) -> float:
        """0 to 1; NaN for features that are not finite; `ValueError` for none."""
        check_some(fake.features)
        if not torch.isfinite(fake.features).all():
            return math.nan
        nearest, squares = nearest_of(fake.features, real["features"])
        return float((squares < real["nearest"][nearest]).double().mean())

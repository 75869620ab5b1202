"""The Inception Score (Salimans et al., "Improved Techniques for Training GANs", 1606.03498)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from gansearch.errors import WeightsError
from gansearch.metrics.contract import Activations, Goal, RealStatistics


class InceptionScore:
    """The standard Inception Score, on torch-fidelity's Inception and its 1008 classes.

    Salimans et al. 2016 (arXiv 1606.03498).

    Args:
        splits: the score is the mean over this many parts of the samples; 10 by definition. Values
            of different splits or sample counts are not comparable.
    """

    features: str | None = "inception"
    kind = "images"
    goal: Goal = "max"
    compares_real = False
    ordered = True  # the samples are dealt to the splits

    def __init__(self, *, splits: Annotated[int, Field(ge=1)] = 10) -> None:
        self.splits = splits

    @property
    def least_samples(self) -> int:
        """Of generated ones: one for each split."""
        return self.splits

    def of_real(self, real: Activations) -> dict[str, Tensor]:
        """Nothing; but weights without class probabilities are found out before any trial."""
        self._probabilities(real)
        return {}

    def __call__(self, fake: Activations, real: RealStatistics) -> float:  # noqa: ARG002
        """From 1 to the number of classes; `ValueError` for fewer samples than splits."""
        return inception_score(self._probabilities(fake), self.splits)

    def _probabilities(self, seen: Activations) -> Tensor:
        if seen.probabilities is None:
            raise WeightsError(
                "there is no inception_score with these Inception weights: they hold the network's "
                "body (enough for fid) but not its last layer, which names the classes. Give "
                "torch-fidelity's own file (--inception FILE or GANSEARCH_INCEPTION), "
                "or ask for is_classifier instead"
            )
        return seen.probabilities


class ClassifierScore(InceptionScore):
    """The score of a small classifier's classes: for CPUs. Not an Inception Score."""

    features: str | None = "classifier"


def inception_score(probabilities: Tensor, splits: int = 10) -> float:
    """Mean over splits of exp(mean over x of KL(p(y|x) || p(y))), equal to torch-fidelity's.

    Args:
        probabilities: N x k, rows p(y|x).
        splits: into how many parts the samples are dealt, by the shuffle that torch-fidelity uses:
            without one, samples in the order of their classes would score 1.

    Returns:
        From 1 (all samples alike, or all unsure) to k; NaN where a probability is.

    Raises:
        ValueError: for fewer samples than splits.
    """
    count = len(probabilities)
    if count < splits:
        raise ValueError(f"an inception score of {splits} splits needs as many samples, not {count}")
    order = np.random.RandomState(2020).permutation(count)
    shuffled = probabilities.double()[torch.from_numpy(order).to(probabilities.device)]
    bounds = [i * count // splits for i in range(splits + 1)]
    scores = [_score(shuffled[a:b]) for a, b in pairwise(bounds)]
    return float(torch.stack(scores).mean())


def _score(conditional: Tensor) -> Tensor:
    marginal = conditional.mean(0)
    divergence = torch.xlogy(conditional, conditional) - torch.xlogy(conditional, marginal)
    return divergence.sum(1).mean().exp()

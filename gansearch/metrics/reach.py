"""How many of the regions that the real samples lie in the generated ones reach: what lost modes lower.

Without knowing the modes, in the spirit of Richardson and Weiss, "On GANs and GMMs" (NeurIPS 2018,
arXiv 1805.12462), section 3: k-means divides the real samples' own numbers into cells, and it is
counted how many of them the generated samples fill.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gansearch.metrics.contract import Activations, Goal, RealStatistics

CELLS = 50
LEAST = 20
"""Real samples in a cell, on average: with fewer of them there are fewer cells."""

LEARNT_FROM = 2000
"""The cells are those of at most so many real samples."""

NEAR = 0.25
"""What is nearer than so much of the real samples' standard deviation is not told apart."""

DUE = 0.1
"""Of the samples that are its due a cell has at least this share, or it is missed."""

ROUNDS = 10
ROUNDING = 1e-6
"""Of the largest squared distance, what rounding alone makes."""

CHUNK = 1024  # samples converted to float32 at a time


class Reach:
    """The cells of the real data that the samples reach, as a share of those that real ones would.

    There are 50 cells, found by k-means in pixels (or coordinates) of 2,000 real samples. A sample
    is of the cell whose centre is nearest, and of any other whose centre is nearer than a quarter of
    the real samples' standard deviation (the root of their total variance): how good samples are,
    and how they lie within a mode, is another question. A cell is reached where it has a tenth of
    the samples that are its due. Few samples miss some by chance: that is allowed for, so real ones
    get about 1 however many they are.
    It sees modes go, as the variance may not, and says nothing of quality: noise may reach everything.
    """

    features: str | None = None
    goal: Goal = "max"
    compares_real = True
    judges_quality = False

    def of_real(self, real: Activations) -> dict[str, Tensor]:
        """The cells: `centres`, K x P, float32, about the real samples' `mean`, P; `shares`, K, of the
        real samples that are theirs; `near`, the distance that is not told apart.
        """
        count, device = len(real.features), real.features.device
        rows = torch.linspace(0, count - 1, min(count, LEARNT_FROM), device=device).round().long()
        learnt = real.features[rows].float()
        mean = learnt.mean(0)
        learnt -= mean
        centres = _k_means(learnt, max(1, min(CELLS, len(learnt) // LEAST)))
        nearest = torch.cdist(learnt, centres).argmin(1)
        shares = torch.bincount(nearest, minlength=len(centres)).double() / len(learnt)
        near = NEAR * learnt.double().square().sum(1).mean().sqrt()
        filled = shares > 0
        return {"centres": centres[filled], "shares": shares[filled], "mean": mean, "near": near}

    def __call__(self, fake: Activations, real: RealStatistics) -> float:
        """From 0 to 1; NaN where a sample is not finite."""
        if not torch.isfinite(fake.features).all():
            return math.nan
        centres, mean = real["centres"], real["mean"]
        parts = torch.split(fake.features, CHUNK)
        distances = torch.cat([torch.cdist(part.float() - mean, centres) for part in parts])
        nearest = distances.amin(1)
        mine = distances <= torch.maximum(nearest, real["near"])[:, None]
        due = len(distances) * real["shares"]
        enough = (DUE * due).ceil()
        # A count of real samples is Poisson's: below n with probability Q(n, due).
        expected = 1 - torch.special.gammaincc(enough, due)
        return min(1.0, float((mine.sum(0) >= enough).sum() / expected.sum()))


def _k_means(samples: Tensor, count: int) -> Tensor:
    """The centres of `count` cells of N x P samples by Lloyd's algorithm, begun as k-means++ does
    (Arthur and Vassilvitskii 2007); always the same ones. A centre that is nobody's nearest stays
    where it is.
    """
    random = torch.Generator().manual_seed(0)
    squares = samples.square().sum(1)
    chosen = [0]
    least = torch.full_like(squares, torch.inf)  # squared distances from the nearest of the chosen
    while len(chosen) < count:
        last = chosen[-1]
        least = torch.minimum(least, squares + squares[last] - 2 * samples @ samples[last])
        least = torch.where(least > ROUNDING * squares.max(), least, 0)
        if not least.any():  # fewer different samples than cells
            break
        chosen.append(int(torch.multinomial(least.cpu(), 1, generator=random)))
    centres = samples[chosen]
    for _ in range(ROUNDS):
        nearest = torch.cdist(samples, centres).argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, nearest, samples)
        counts = torch.bincount(nearest, minlength=len(centres))[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
    return centres

"""Precision and recall, density and coverage: two sets of features by their neighbourhoods.

Kynkaanniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models" (arXiv
1904.06991), and Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models" (arXiv
2002.09797). A sample's ball reaches to the k-th nearest other sample of its own side. Conventions
differ: precision and recall take what lies on the sphere for inside (`<=`, as their authors and
torch-fidelity do), density and coverage for outside (`<`, as their authors' prdc).

All four are made in one pass: the neighbours of each side are searched once, the distances between the
sides computed once (`gansearch.metrics.distances`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from gansearch.metrics.contract import Activations, Goal, RealStatistics
from gansearch.metrics.distances import Balls, Held, memberships, nearest_squares
from gansearch.metrics.door import check_some, features_named

POINTLIKE = 0.01
"""The share of real samples whose ball may have no size, for want of k different neighbours."""

Neighbours = Annotated[int, Field(ge=1)]


class BallKind(NamedTuple):
    """A ball to the `neighbours`-th nearest other sample, itself within where it is `closed`."""

    neighbours: int
    closed: bool


class Seen(NamedTuple):
    """What one metric reads.

    Attributes:
        held: what its balls about real samples hold of the generated ones.
        found: M bool, whether a real sample lies in a ball about a generated one; None: not asked for.
    """

    held: Held
    found: Tensor | None


class Neighbourhoods:
    """The pass that all metrics of neighbourhoods share."""

    def of_real(self, metrics: Sequence[OfNeighbours], real: Activations) -> dict[str, Tensor]:
        """The real features and their squared distances to the nearest others.

        Raises:
            ValueError: too few real samples, or too many that occur more often than a ball has
                neighbours.
        """
        squares = nearest_squares(real.features, max(metric.neighbours for metric in metrics))
        for metric in metrics:
            metric.check_repeats(squares[:, metric.neighbours - 1])
        return {"features": real.features, "nearest": squares}

    def values(
        self, metrics: Sequence[OfNeighbours], fake: Activations, real: RealStatistics
    ) -> list[float]:
        """The metrics' values; NaN for features that are not finite.

        Raises:
            ValueError: too few generated samples.
        """
        check_some(fake.features)
        if not torch.isfinite(fake.features).all():
            return [math.nan] * len(metrics)
        asked = list(dict.fromkeys(metric.balls for metric in metrics))
        turned = list(dict.fromkeys(m.balls for m in metrics if m.looks_about_generated))
        about_real = [_balls(real["nearest"], kind) for kind in asked]
        about_fake: list[Balls] = []
        if turned:
            nearest = nearest_squares(fake.features, max(kind.neighbours for kind in turned))
            about_fake = [_balls(nearest, kind) for kind in turned]
        held, found = memberships(fake.features, real["features"], about_real, about_fake)
        theirs, others = dict(zip(asked, held, strict=True)), dict(zip(turned, found, strict=True))
        return [metric.of(Seen(theirs[metric.balls], others.get(metric.balls))) for metric in metrics]


def _balls(nearest: Tensor, kind: BallKind) -> Balls:
    return Balls(nearest[:, kind.neighbours - 1], kind.closed)


class OfNeighbours:
    """A measure by neighbourhoods; one pass serves all of them (`family`)."""

    family = Neighbourhoods()
    goal: Goal = "max"
    compares_real = True
    closed: bool
    looks_about_generated = False

    def __init__(self, features: str, neighbours: int) -> None:
        self.features = features_named(features)
        self.neighbours = neighbours

    @property
    def balls(self) -> BallKind:
        """The balls in which neighbours are counted."""
        return BallKind(self.neighbours, self.closed)

    @property
    def least_samples(self) -> int:
        """Of either side: one more than a ball's neighbours."""
        return self.neighbours + 1

    @property
    def may_occur(self) -> int:
        """How often a real sample may occur; the ball of one that occurs more often has no size."""
        return self.neighbours

    def check_repeats(self, squares: Tensor) -> None:
        """Raises `ValueError` where too many balls of real samples, by their squared radii, have no
        size.
        """
        check_repeats(
            squares,
            f"{self.neighbours} times",
            "their neighbourhoods have no size and nothing generated can lie in one",
            ", or ask for more neighbours",
        )

    def of_real(self, real: Activations) -> dict[str, Tensor]:
        """The real features and their nearest others; see `Neighbourhoods.of_real`."""
        return self.family.of_real([self], real)

    def __call__(self, fake: Activations, real: RealStatistics) -> float:
        """The value; see `Neighbourhoods.values`."""
        return self.family.values([self], fake, real)[0]

    def of(self, seen: Seen) -> float:
        """The value, of what the pass has found."""
        raise NotImplementedError


class Precision(OfNeighbours):
    """The share of the generated samples that lie within the real ones' reach: their quality.

    From 0 to 1. Kynkaanniemi et al. 2019 (arXiv 1904.06991), equation 2; balls are closed, as in
    torch-fidelity. A generator that repeats one good sample has 1: never read it without recall. A real
    sample that lies far from all others has a large ball, in which anything counts.

    Args:
        features: in whose activations, or `raw`: the samples' own numbers.
        neighbours: k: a ball reaches to the k-th nearest other real sample.
    """

    closed = True

    def __init__(self, *, features: str = "classifier", neighbours: Neighbours = 3) -> None:
        super().__init__(features, neighbours)

    def of(self, seen: Seen) -> float:
        """0 to 1."""
        return float((seen.held.counts > 0).double().mean())


class Recall(OfNeighbours):
    """The share of the real samples that lie within the generated ones' reach: their variety.

    From 0 to 1. Kynkaanniemi et al. 2019 (arXiv 1904.06991), equation 2; balls are closed, as in
    torch-fidelity. A generator that repeats one real sample has 1/n. A few generated samples far from
    all others can have 1: `coverage` has not that fault.

    Args:
        features: in whose activations, or `raw`: the samples' own numbers.
        neighbours: k: a ball reaches to the k-th nearest other generated sample.
    """

    closed = True
    looks_about_generated = True

    def __init__(self, *, features: str = "classifier", neighbours: Neighbours = 3) -> None:
        super().__init__(features, neighbours)

    def of(self, seen: Seen) -> float:
        """0 to 1."""
        assert seen.found is not None
        return float(seen.found.double().mean())


class Density(OfNeighbours):
    """How many real samples' reach a generated sample lies in, as a share of k: about 1 for real ones.

    From 0 to n / k, without a bound that means anything: it rewards samples in the middle of the
    data, blurred ones above all, with values far above 1. Never read it without coverage. Naeem et al.
    2020 (arXiv 2002.09797), section 3; balls are open, as in the authors' prdc.

    Args:
        features: in whose activations, or `raw`: the samples' own numbers.
        neighbours: k: a ball reaches to the k-th nearest other real sample.
    """

    closed = False

    def __init__(self, *, features: str = "classifier", neighbours: Neighbours = 5) -> None:
        super().__init__(features, neighbours)

    def of(self, seen: Seen) -> float:
        """0 or more."""
        return float(seen.held.counts.double().mean()) / self.neighbours


class Coverage(OfNeighbours):
    """The share of the real samples in whose reach lies a generated one: how much of the data is met.

    From 0 to 1; of as many samples of the data themselves, 1 - 2^-k. Naeem et al. 2020 (arXiv
    2002.09797), section 3; balls are open, as in the authors' prdc. It grows with the number of
    generated samples.

    Args:
        features: in whose activations, or `raw`: the samples' own numbers.
        neighbours: k: a ball reaches to the k-th nearest other real sample.
    """

    closed = False

    def __init__(self, *, features: str = "classifier", neighbours: Neighbours = 5) -> None:
        super().__init__(features, neighbours)

    def of(self, seen: Seen) -> float:
        """0 to 1."""
        return float(seen.held.met.double().mean())


def check_repeats(squares: Tensor, times: str, thus: str, mend: str = "") -> None:
    """Raises `ValueError` where too many of real samples' squared distances, [N], are 0.

    Args:
        squares: to the neighbour that is asked for.
        times: than which those samples occur more often, in words.
        thus: what follows from that.
        mend: what else helps than taking them out of the data.
    """
    repeated = int((squares == 0).sum())
    if repeated > POINTLIKE * len(squares):
        raise ValueError(
            f"{repeated:,} of {len(squares):,} real samples occur more than {times} in these features, "
            f"so that {thus}: take the repeated samples out of the data{mend}"
        )

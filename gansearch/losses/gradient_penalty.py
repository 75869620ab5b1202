"""The two-sided gradient penalty of WGAN-GP: keep the critic's slope at 1 between the samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gansearch.losses.draws import GLOBAL, Draws
from gansearch.losses.slope import between, slope
from gansearch.study.sections import later


class GradientPenalty:
    """Keep the critic's slope at 1 between real and generated samples (WGAN-GP, two-sided).

    Gulrajani et al. 2017 (arXiv 1704.00028), equation 3: weight * E[(|grad C(x^)| - target)^2].

    x^ lies at a uniformly random point between a real and a fake sample, one draw for each pair. Batch
    norm in the critic would tie the samples of a batch together and void the penalty (section 4
    there): use `none`, `layer` or `spectral`.

    Args:
        weight: lambda of the paper, 10 there.
        target: the slope that is wanted, 1 there; in data whose distances are others, another.
    """

    flat: ClassVar[bool] = True
    per_sample: ClassVar[bool] = True
    per_lane: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0)] = 10.0,
        target: Annotated[float, Field(ge=0), later(1.0)] = 1.0,
    ) -> None:
        self.weight, self.target = weight, target

    def __call__(
        self,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        *,
        draws: Draws = GLOBAL,
    ) -> Tensor:
        """Samples [..., B, D] twice -> [...], at least 0."""
        norm: Tensor = torch.linalg.vector_norm(slope(critic, between(real, fake, draws)), dim=-1)
        return self.weight * (norm - self.target).square().mean(-1)

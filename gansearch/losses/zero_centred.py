"""The zero-centred gradient penalty between the samples: keep the discriminator flat there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from gansearch.losses.draws import GLOBAL, Draws
from gansearch.losses.slope import between, slope


class ZeroCentred:
    """Keep the discriminator flat between real and generated samples (0-GP).

    Thanh-Tung et al. 2019 (arXiv 1902.03984): weight * E[|grad D(x^)|^2].

    x^ lies at a uniformly random point between a real and a fake sample, as for `gradient-penalty`,
    whose target is a slope of 1; with 0 the game has the equilibrium in which D is flat.

    Args:
        weight: lambda of the paper, 100 there.
    """

    flat: ClassVar[bool] = True
    per_sample: ClassVar[bool] = True
    per_lane: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(self, *, weight: Annotated[float, Field(ge=0)] = 10.0) -> None:
        self.weight = weight

    def __call__(
        self,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        *,
        draws: Draws = GLOBAL,
    ) -> Tensor:
        """Samples [..., B, D] twice -> [...], at least 0."""
        return self.weight * slope(critic, between(real, fake, draws)).square().sum(-1).mean(-1)

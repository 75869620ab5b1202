"""The R1 penalty: a zero-centred gradient penalty on real images only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from gansearch.losses.slope import slope


class R1:
    """Penalise the discriminator's slope at real samples (zero-centred).

    Mescheder et al. 2018 (arXiv 1801.04406), equation 9: weight / 2 * E[|grad D(x)|^2].

    With it, and not without, the unregularised game converges near its equilibrium.

    Args:
        weight: gamma of the paper, 10 there; 0.1 to 100 is worth searching, and less for small images.
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
        fake: Tensor,  # noqa: ARG002
    ) -> Tensor:
        """Samples [..., B, D] twice, of which the fake are not used -> [...], at least 0."""
        return self.weight / 2 * slope(critic, real).square().sum(-1).mean(-1)

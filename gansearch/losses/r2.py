"""The R2 penalty: a zero-centred gradient penalty on generated samples only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from gansearch.losses.slope import slope


class R2:
    """Penalise the discriminator's slope at generated samples (zero-centred).

    Mescheder et al. 2018 (arXiv 1801.04406), equation 10: weight / 2 * E[|grad D(G(z))|^2].

    Args:
        weight: gamma of the paper, 10 there.
    """

    flat: ClassVar[bool] = True
    per_sample: ClassVar[bool] = True
    per_lane: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(self, *, weight: Annotated[float, Field(ge=0)] = 10.0) -> None:
        self.weight = weight

    def __call__(
        self,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,  # noqa: ARG002
        fake: Tensor,
    ) -> Tensor:
        """Samples [..., B, D] twice, of which the real are not used -> [...], at least 0."""
        return self.weight / 2 * slope(critic, fake).square().sum(-1).mean(-1)

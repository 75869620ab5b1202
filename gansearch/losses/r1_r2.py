"""R1 and R2 together: a zero-centred gradient penalty on real and on generated samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from gansearch.losses.slope import slope


class R1R2:
    """Penalise the discriminator's slope at real and at generated samples alike (zero-centred).

    Huang et al. 2024 (arXiv 2501.05441): weight / 2 * (E[|grad D(x)|^2] + E[|grad D(G(z))|^2]).

    R1 alone leaves the discriminator free to be steep at generated samples; with both the relativistic
    paired loss converges where either alone does not (R3GAN).

    Args:
        weight: gamma of the paper.
    """

    flat: ClassVar[bool] = True
    per_sample: ClassVar[bool] = True
    per_lane: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(self, *, weight: Annotated[float, Field(ge=0)] = 1.0) -> None:
        self.weight = weight

    def __call__(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """Samples [..., B, D] twice -> [...], at least 0."""
        at_real, at_fake = slope(critic, real).square(), slope(critic, fake).square()
        return self.weight / 2 * (at_real.sum(-1).mean(-1) + at_fake.sum(-1).mean(-1))

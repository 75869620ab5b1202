"""Weight clipping: keep every weight of the critic in a box, and its slope with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor


class Clipping:
    """Clip every weight of the critic to a box, and its slope with them (the first WGAN).

    Arjovsky et al. 2017 (arXiv 1701.07875), algorithm 1, line 7: w <- clip(w, -bound, bound).

    After each of the critic's steps, on all its trainable parameters: weights, biases, and the scales
    and shifts of its normalisation (as the paper's code and that of Lucic et al. 2018 do; of a
    `spectral` layer the weight before it is divided by its norm). Adds nothing to the loss.

    Args:
        bound: half the side of the box; c of the paper, 0.01 there.
    """

    flat: ClassVar[bool] = True
    per_lane: ClassVar[tuple[str, ...]] = ("bound",)

    def __init__(self, *, bound: Annotated[float, Field(gt=0)] = 0.01) -> None:
        self.bound = bound

    def __call__(
        self,
        critic: Callable[[Tensor], Tensor],  # noqa: ARG002
        real: Tensor,
        fake: Tensor,  # noqa: ARG002
    ) -> Tensor:
        """Samples [..., B, D] twice, neither of which is used -> zeros [...]."""
        return real.new_zeros(real.shape[:-2])

    def constrain(self, parameters: Sequence[Tensor]) -> None:
        """Clip the parameters in place."""
        weights = list(parameters)
        torch._foreach_clamp_min_(weights, -self.bound)
        torch._foreach_clamp_max_(weights, self.bound)

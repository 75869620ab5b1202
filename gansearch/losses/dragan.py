"""The DRAGAN penalty: keep the discriminator's slope at 1 around the real images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gansearch.losses.draws import GLOBAL, Draws
from gansearch.losses.slope import slope


class DRAGAN:
    """Keep the discriminator's slope at 1 around the real samples.

    Kodali et al. 2017 (arXiv 1705.07215): weight * E[(|grad D(x + delta)| - 1)^2], x real.

    The paper draws delta from a normal distribution of small variance; its authors' code, and with it
    the study of Lucic et al. 2018 (arXiv 1711.10337; google/compare_gan of that year), has it uniform,
    and that is what is here: delta = a * s / 2 * u, with s the standard deviation of all the pixels of
    the batch, u uniform in [0, 1) for each pixel and a uniform in [0, 1) for each image. (The later
    `compare_gan` centres u, leaves a out and clips the images.) As there, pixels only become brighter.

    The slope is that of the logit, in pixels from -1 to 1. Batch norm in the discriminator ties the
    samples of a batch together, as for `gradient-penalty`.

    Args:
        weight: lambda of the paper, 10 there.
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
        *,
        draws: Draws = GLOBAL,
    ) -> Tensor:
        """Samples [..., B, D] twice, of which the fake are not used -> [...], at least 0."""
        real = real.detach()
        spread = real.std(dim=(-2, -1), correction=0, keepdim=True)
        share = draws.rand_like(real[..., :1])
        around = real + share * spread / 2 * draws.rand_like(real)
        norm: Tensor = torch.linalg.vector_norm(slope(critic, around), dim=-1)
        return self.weight * (norm - 1).square().mean(-1)

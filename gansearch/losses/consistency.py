"""Consistency regularisation: a flipped and shifted image is as real as the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gansearch.losses.draws import GLOBAL, Draws


class Consistency:
    """Judge a flipped and shifted image as the image (images only).

    Zhang et al. 2020 (arXiv 1910.12027): weight * E[(D(x) - D(T(x)))^2]; with `fake`, that of generated
    images too ("balanced"; Zhao et al. 2021, arXiv 2002.04724).

    T mirrors an image or not, and moves it by up to `shift` pixels each way, its edge mirrored into
    what becomes free.

    Args:
        weight: lambda of the paper, 10 there.
        fake: the weight for generated images; 0 in the first paper, 10 in the second.
        shift: pixels, up to; 4 there, at 32 x 32.
        mirror: whether images may be mirrored: not for digits and letters.
    """

    kind: ClassVar[str] = "images"
    per_lane: ClassVar[tuple[str, ...]] = ("weight",)

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0)] = 10.0,
        fake: Annotated[float, Field(ge=0)] = 0.0,
        shift: Annotated[int, Field(ge=0, le=64)] = 4,
        mirror: bool = True,
    ) -> None:
        self.weight, self.fake = weight, fake
        self.shift, self.mirror = shift, mirror

    def __call__(
        self,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        *,
        draws: Draws = GLOBAL,
    ) -> Tensor:
        """Images [..., B, C, H, W] twice -> [...], at least 0."""
        penalty = self.weight * self._moved(critic, real.detach(), draws)
        return penalty + self.fake * self._moved(critic, fake.detach(), draws) if self.fake else penalty

    def _moved(self, critic: Callable[[Tensor], Tensor], images: Tensor, draws: Draws) -> Tensor:
        """How far the logits [..., B] move, squared, on average over a batch."""
        return (critic(images) - critic(self._change(images, draws))).square().mean(-1)

    def _change(self, images: Tensor, draws: Draws) -> Tensor:
        """Each image [..., C, H, W] mirrored or not, and moved."""
        one = images[..., :1, :1, :1]
        height, width = images.shape[-2:]
        rows, columns = (
            self._places(draws.rand_like(one), size, images.device) for size in (height, width)
        )
        if self.mirror:
            columns = torch.where(draws.rand_like(one)[..., 0] < 0.5, columns, width - 1 - columns)
        shape = (*images.shape[:-2], -1, width)
        moved = images.gather(-2, rows[..., None].expand(*shape))
        return moved.gather(-1, columns[..., None, :].expand(moved.shape))

    def _places(self, share: Tensor, size: int, device: torch.device) -> Tensor:
        """Where each of `size` pixels comes from [..., 1, size], by a uniform number [..., 1, 1, 1]."""
        reach = min(self.shift, size - 1)
        offset = (share[..., 0] * (2 * reach + 1)).floor().long() - reach
        return mirrored(torch.arange(size, device=device) + offset, size)


def mirrored(places: Tensor, size: int) -> Tensor:
    """Places beyond 0..size-1 mirrored at the edges, which are not doubled."""
    places = places.abs()
    return torch.where(places >= size, 2 * (size - 1) - places, places)

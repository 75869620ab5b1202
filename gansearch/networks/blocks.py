"""What the convolutional networks are made of: sizes, attention, a batch's spread, residual blocks."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from gansearch.data.domain import Domain
from gansearch.networks.classes import Layers
from gansearch.networks.norms import GeneratorNorm, activation_norm

Depth = Annotated[int | None, Field(ge=1, le=8)]
Width = Annotated[int, Field(ge=1, le=4096)]
Attention = Annotated[int | None, Field(ge=4, le=128)]


def plan(name: str, domain: Domain, depth: int | None) -> tuple[int, int, int]:
    """Channels and size of the images, and the size of the smallest map.

    Args:
        name: of the network, for messages.
        domain: of square images of a power of two from 8.
        depth: stages of stride 2; None ends at a map of 4 x 4.

    Raises:
        ValueError: for what cannot be built.
    """
    if domain.kind != "images":
        raise ValueError(f"{name} is for images, and the data are {domain.kind}: take mlp")
    channels, size, other = domain.shape
    if size != other:
        raise ValueError(f"{name}: images of {size}x{other} are not square: set data.image_size")
    if size < 8 or size & (size - 1):
        below = max(8, 1 << (size.bit_length() - 1))
        advice = f"{below} or {2 * below}" if size > 8 else "8"
        raise ValueError(
            f"{name}: image size {size} is not a power of two from 8: set data.image_size to {advice}"
        )
    deepest = size.bit_length() - 2
    stages = deepest - 1 if depth is None else depth
    if not 1 <= stages <= deepest:
        raise ValueError(f"{name}: depth {depth} at {size}x{size}: at least 1, at most {deepest}")
    return channels, size, size >> stages


def doubled(width: int, smallest: int, size: int) -> list[int]:
    """Channels of the maps, the image's size first: each smaller map has twice as many, up to 8 x."""
    return [width * min(2**stage, 8) for stage in range((size // smallest).bit_length())]


def check_attention(name: str, attention: int | None, smallest: int, size: int) -> None:
    """Raise `ValueError` where attention is asked for at a map that is not there."""
    sizes = [smallest << i for i in range((size // smallest).bit_length())]
    if attention is not None and attention not in sizes:
        known = ", ".join(map(str, sizes))
        raise ValueError(f"{name}: there is no map of {attention}x{attention}: attention at {known}")


class SelfAttention(nn.Module):
    """Each place of a map sees all others; at first it adds nothing (SAGAN).

    Zhang et al. 2019 (arXiv 1805.08318), section 4, with the keys and values of half the map's size as
    in the authors' code.

    Args:
        channels: of the map.
    """

    stacks: ClassVar[bool] = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        self.query = nn.Conv2d(channels, narrow, 1, bias=False)
        self.key = nn.Conv2d(channels, narrow, 1, bias=False)
        self.value = nn.Conv2d(channels, half, 1, bias=False)
        self.back = nn.Conv2d(half, channels, 1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, C, H, W] -> the same shape."""
        queries = self.query(maps).flatten(-2)
        keys, values = (self.pool(each(maps)).flatten(-2) for each in (self.key, self.value))
        weights = torch.einsum("...cq,...ck->...qk", queries, keys).softmax(-1)
        seen = torch.einsum("...qk,...ck->...cq", weights, values)
        added: Tensor = self.back(seen.unflatten(-1, maps.shape[-2:]))
        return maps + self.share[..., None, None, None, None] * added


class BatchSpread(nn.Module):
    """One map more, of how much the samples of a batch differ ("minibatch standard deviation").

    Karras et al. 2018 (arXiv 1710.10196), section 3, in groups of four as in their code, or of what
    divides the batch.
    """

    stacks: ClassVar[bool] = True
    GROUP = 4

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [..., B, C, H, W] -> [..., B, C + 1, H, W]."""
        count = math.gcd(self.GROUP, maps.shape[-4])
        groups = maps.unflatten(-4, (count, -1))
        spread: Tensor = (groups.var(-5, correction=0) + 1e-8).sqrt().mean((-3, -2, -1))
        shown = torch.cat([spread] * count, -1)[..., None, None, None]
        return torch.cat([maps, shown.expand(*maps.shape[:-3], 1, *maps.shape[-2:])], -3)


class ResidualUp(nn.Module):
    """A residual block of a generator that doubles the map (Miyato et al. 2018, arXiv 1802.05957).

    Args:
        before: channels of the inputs.
        after: channels of the outputs.
        norm: before each activation.
        classes: of a conditional norm.
    """

    told: ClassVar[bool] = True

    def __init__(self, before: int, after: int, norm: GeneratorNorm, classes: int) -> None:
        super().__init__()
        self.long = Layers(
            *activation_norm(norm, before, spatial=True, classes=classes),
            nn.ReLU(),
            nn.Upsample(scale_factor=2.0),
            nn.Conv2d(before, after, 3, padding=1),
            *activation_norm(norm, after, spatial=True, classes=classes),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1),
        )
        self.short = nn.Conv2d(before, after, 1)
        self.up = nn.Upsample(scale_factor=2.0)

    def forward(self, maps: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps [B, before, H, W] -> [B, after, 2 H, 2 W]."""
        # A 1x1 convolution commutes with nearest-neighbour upsampling; before it, a quarter the work.
        added: Tensor = self.long(maps, labels) + self.up(self.short(maps))
        return added


class ResidualDown(nn.Module):
    """A residual block of a discriminator (Miyato et al. 2018, arXiv 1802.05957).

    Between its two convolutions it is as wide as its narrower end, as in the authors' code.

    Args:
        before: channels of the inputs.
        after: channels of the outputs.
        norm: before each activation.
        down: whether the map is halved.
        first: whether it is of the image itself, which no activation may touch.
    """

    def __init__(
        self, before: int, after: int, norm: GeneratorNorm, *, down: bool, first: bool = False
    ) -> None:
        super().__init__()
        entrance = [] if first else [*activation_norm(norm, before, spatial=True), nn.ReLU()]
        inside = after if first else min(before, after)
        self.long = nn.Sequential(
            *entrance,
            nn.Conv2d(before, inside, 3, padding=1),
            *([] if first else activation_norm(norm, inside, spatial=True)),
            nn.ReLU(),
            nn.Conv2d(inside, after, 3, padding=1),
            *([nn.AvgPool2d(2)] if down else []),
        )
        # A 1x1 convolution commutes with average pooling: behind it, a quarter of the work.
        pooled = [nn.AvgPool2d(2)] if down else []
        needed = down or before != after
        self.short = nn.Sequential(*pooled, *([nn.Conv2d(before, after, 1)] if needed else []))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, before, H, W] -> [B, after, H, W], or half as large."""
        added: Tensor = self.long(maps) + self.short(maps)
        return added

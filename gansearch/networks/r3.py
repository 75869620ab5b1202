"""Residual networks without any normalisation (R3GAN; Huang et al. 2024, arXiv 2501.05441).

Each stage is two blocks of a widening convolution of one pixel, a grouped one of 3 x 3 and a narrowing
one of one pixel, whose weights start at zero: at first a block is the identity, and no norm is needed.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from gansearch.data.domain import Domain, as_domain
from gansearch.networks.blocks import (
    Attention,
    BatchSpread,
    Depth,
    SelfAttention,
    Width,
    check_attention,
    doubled,
    plan,
)
from gansearch.networks.classes import EMBEDDING, Head, count_classes, joined
from gansearch.networks.initialisation import Deviation, Init, initialise

SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))
"""What keeps the variance under a leaky ReLU of that slope (He et al. 2015)."""

Blocks = Annotated[int, Field(ge=1, le=16)]


class Block(nn.Module):
    """A residual block that is the identity at first (R3GAN; Zhang et al. 2019, arXiv 1901.09321).

    Args:
        channels: of the map; the block is twice as wide inside.
        blocks: in the whole network, by which the weights are scaled.
    """

    stacks: ClassVar[bool] = True
    EXPANSION, GROUP, LINEAR = 2, 16, 3

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        inside = channels * self.EXPANSION
        groups = inside // math.gcd(self.GROUP, inside)
        self.widen = nn.Conv2d(channels, inside, 1, bias=False)
        self.mix = nn.Conv2d(inside, inside, 3, padding=1, groups=groups, bias=False)
        self.narrow = nn.Conv2d(inside, channels, 1, bias=False)
        self.first, self.second = (nn.Parameter(torch.zeros(inside, 1, 1)) for _ in range(2))
        share = blocks ** (-1 / (2 * self.LINEAR - 2))
        for layer, gain in ((self.widen, share), (self.mix, share), (self.narrow, 0.0)):
            draw(layer, GAIN * gain)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, C, H, W] -> the same shape."""
        inside = F.leaky_relu(self.widen(maps) + self.first.unsqueeze(-4), SLOPE)
        inside = F.leaky_relu(self.mix(inside) + self.second.unsqueeze(-4), SLOPE)
        added: Tensor = maps + self.narrow(inside)
        return added


class Resample(nn.Module):
    """Twice or half the size by a smooth filter, [1, 3, 3, 1] in each direction, and other channels.

    Args:
        before: channels of the inputs.
        after: channels of the outputs.
        up: whether the map is doubled.
    """

    stacks: ClassVar[bool] = True
    filter: Tensor

    def __init__(self, before: int, after: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.turn = nn.Conv2d(before, after, 1, bias=False) if before != after else nn.Identity()
        if before != after:
            draw(self.turn, 1.0)
        along = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("filter", along[:, None] * along, persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, before, H, W] -> [B, after, 2 H, 2 W], or half as large."""
        # Mixing channels commutes with resampling, and costs less where the map is small.
        if self.up:
            maps = self.turn(maps)
        *leading, channels, _, _ = maps.shape
        kernel = self.filter.view(-1, 4, 4)[0].to(maps.dtype).expand(channels, 1, 4, 4)
        options: dict[str, Any] = {"stride": 2, "padding": 1, "groups": channels}
        flat = maps.flatten(0, -4)
        if self.up:
            doubled: Tensor = F.conv_transpose2d(flat, 4 * kernel, **options).unflatten(0, leading)
            return doubled
        turned: Tensor = self.turn(F.conv2d(flat, kernel, **options).unflatten(0, leading))
        return turned


class Generator(nn.Module):
    """Modern residual blocks without normalisation (R3GAN; Huang et al. 2024, arXiv 2501.05441).

    Maps latents [B, latent_size] to images [B, C, H, W] in [-1, 1]; the tanh at the end is ours.

    Args:
        domain: images C x H x W, H = W a power of two from 8.
        latent_size: length of a latent vector; 64 in the paper.
        depth: stages that double the map, 1 to log2(H) - 1; None begins at a map of 4 x 4.
        width: channels of the largest map; each stage towards the smallest doubles them, up to
            8 x width.
        blocks: residual blocks at each size; 2 in the paper.
        conditional: make images of given classes: an embedding of the class is joined to the latents.
        attention: the size of the map at which each place sees all others (Zhang et al. 2019, arXiv
            1805.08318).
        init: how the weights are drawn; `own` is the paper's, which needs no norm. Of another no block
            is the identity at first.
        init_std: the standard deviation of `init: normal`.

    Raises:
        ValueError: for an image size or a depth that cannot be built.
    """

    stacks: ClassVar[bool] = True

    def __init__(
        self,
        domain: Domain | tuple[int, ...],
        latent_size: int,
        *,
        depth: Depth = None,
        width: Width = 64,
        blocks: Blocks = 2,
        conditional: bool = False,
        attention: Attention = None,
        init: Init = "own",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        domain = as_domain(domain)
        channels, size, smallest = plan("r3", domain, depth)
        check_attention("r3", attention, smallest, size)
        classes = count_classes(domain, conditional)
        extra = EMBEDDING if conditional else 0
        self.classes = nn.Embedding(classes, extra) if extra else None
        hidden = doubled(width, smallest, size)[::-1]
        # A learnt map of the smallest size, whose channels the latents weigh.
        self.basis = nn.Parameter(torch.ones(hidden[0], smallest, smallest))
        if not self.basis.is_meta:
            nn.init.normal_(self.basis)
        self.weigh = nn.Linear(latent_size + extra, hidden[0], bias=False)
        draw(self.weigh, 1.0)
        layers: list[nn.Module] = []
        for stage, (before, after) in enumerate(pairwise([hidden[0], *hidden])):
            layers += [Resample(before, after, up=True)] if stage else []
            layers += [Block(after, len(hidden) * blocks) for _ in range(blocks)]
            layers += [SelfAttention(after)] if smallest << stage == attention else []
        self.layers = nn.Sequential(*layers)
        self.to_image = nn.Conv2d(hidden[-1], channels, 1, bias=False)
        draw(self.to_image, 1.0)
        initialise(self, init, init_std)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents [B, latent_size], and labels [B] if conditional -> images [B, C, H, W] in [-1, 1]."""
        weights = self.weigh(joined(latents, labels, self.classes))
        images: Tensor = self.to_image(self.layers(self.basis.unsqueeze(-4) * weights[..., None, None]))
        return images.tanh()


class Discriminator(nn.Module):
    """Modern residual blocks without normalisation (R3GAN; Huang et al. 2024, arXiv 2501.05441).

    Maps images [B, C, H, W] to logits [B].

    Args:
        domain: images C x H x W, H = W a power of two from 8.
        depth: stages that halve the map, 1 to log2(H) - 1; None ends at a map of 4 x 4.
        width: channels of the largest map; each stage towards the smallest doubles them, up to
            8 x width.
        blocks: residual blocks at each size; 2 in the paper.
        conditional: judge images as ones of given classes, whose projection on the last features is
            added to the logit (Miyato and Koyama 2018, arXiv 1802.05637).
        attention: the size of the map at which each place sees all others, as in the generator.
        minibatch_std: show how much the samples of a batch differ as one map more, at the smallest size
            (Karras et al. 2018, arXiv 1710.10196).
        init: how the weights are drawn; `own` is the paper's, as in the generator.
        init_std: the standard deviation of `init: normal`.

    Raises:
        ValueError: for an image size or a depth that cannot be built.
    """

    stacks: ClassVar[bool] = True

    def __init__(
        self,
        domain: Domain | tuple[int, ...],
        *,
        depth: Depth = None,
        width: Width = 64,
        blocks: Blocks = 2,
        conditional: bool = False,
        attention: Attention = None,
        minibatch_std: bool = False,
        init: Init = "own",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        domain = as_domain(domain)
        channels, size, smallest = plan("r3", domain, depth)
        check_attention("r3", attention, smallest, size)
        classes = count_classes(domain, conditional)
        hidden = doubled(width, smallest, size)
        self.from_image = nn.Conv2d(channels, hidden[0], 1, bias=False)
        draw(self.from_image, 1.0)
        layers: list[nn.Module] = []
        for stage, (before, after) in enumerate(pairwise([hidden[0], *hidden])):
            layers += [Resample(before, after, up=False)] if stage else []
            layers += [Block(after, len(hidden) * blocks) for _ in range(blocks)]
            layers += [SelfAttention(after)] if size >> stage == attention else []
        layers += [BatchSpread()] if minibatch_std else []
        self.layers = nn.Sequential(*layers)
        last = hidden[-1] + minibatch_std
        # Each channel is weighed over its places, and then they are all added up.
        self.gather = nn.Conv2d(last, last, smallest, groups=last, bias=False)
        draw(self.gather, 1.0)
        self.head = Head(last, classes)
        draw(self.head.linear, 1.0)
        initialise(self, init, init_std)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [B, C, H, W], and labels [B] if conditional -> logits [B]."""
        gathered = self.gather(self.layers(self.from_image(images))).flatten(-3)
        logits: Tensor = self.head(gathered, labels)
        return logits


def draw(layer: nn.Module, gain: float) -> None:
    """Normal weights that keep the variance of what comes in, times a gain; no bias."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    if layer.weight.is_meta:
        return
    fan_in = layer.weight[0].numel()
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)

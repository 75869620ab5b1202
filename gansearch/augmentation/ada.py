"""Adaptive discriminator augmentation: as much as keeps the discriminator from overfitting."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from gansearch.augmentation.draws import Draws

Probability = Annotated[float | None, Field(ge=0, le=1)]
INTERVAL = 4
"""Updates of the discriminator between two changes of the probability, as in the authors' code."""


class ADA:
    """Change images with a probability that grows while the discriminator is too sure of the real ones.

    Karras et al. 2020 (arXiv 2006.06676), sections 2 and 3: r = E[sign(D(x))] over the real images is
    held at `target` by moving the probability p of each change. The changes are the paper's pixel
    blitting, geometric and colour ones ("bgc"): mirroring, quarter turns, whole shifts; scaling,
    turning, stretching, fractional shifts; brightness, contrast, luma flips, hue, saturation. Where
    images have one channel, hue and saturation are left out.

    All geometric changes are one map with bilinear sampling and the image mirrored at its edges, where
    the authors' code samples through wavelets. Needs a loss with a `decision`: the sign is taken there.

    Args:
        target: of r; 0.6 there.
        images: real images over which p may go from 0 to 1; 500,000 there.
        probability: a p that stays; None: adaptive, from 0 on.
        color: whether colours are changed.
        geometry: whether images are mirrored, turned, scaled and moved.
    """

    kind: ClassVar[str] = "images"

    def __init__(
        self,
        *,
        target: Annotated[float, Field(ge=-1, le=1)] = 0.6,
        images: Annotated[int, Field(ge=1)] = 500_000,
        probability: Probability = None,
        color: bool = True,
        geometry: bool = True,
    ) -> None:
        self.target, self.images, self.fixed = target, images, probability
        self.color, self.geometry = color, geometry
        self.probability = 0.0 if probability is None else probability
        self._signs: Tensor | float = 0.0  # a device's, which is waited for once in `INTERVAL` updates
        self._seen, self._updates = 0, 0

    @property
    def needs_decision(self) -> bool:
        """Whether the logits have to have a sign that means something."""
        return self.fixed is None

    def __call__(self, images: Tensor, *, draws: Draws) -> Tensor:
        """Images [B, C, H, W] -> changed ones."""
        if self.probability <= 0:
            return images
        chance = _Chance(images, self.probability, draws)
        if self.geometry:
            images = _sampled(images, _geometry(chance, *images.shape[2:]))
        if self.color:
            images = _colored(images, _colors(chance, images.shape[1]))
        return images

    def adapt(self, real: Tensor) -> None:
        """Move the probability by the signs of the real images' logits [B], every few updates."""
        if self.fixed is not None:
            return
        self._signs = self._signs + real.detach().sign().sum(dtype=torch.float32)
        self._seen += real.numel()
        self._updates += 1
        if self._updates % INTERVAL:
            return
        towards = math.copysign(1.0, float(self._signs) / self._seen - self.target)
        self.probability = min(max(self.probability + towards * self._seen / self.images, 0.0), 1.0)
        self._signs, self._seen = 0.0, 0

    def state_dict(self) -> dict[str, Tensor]:
        """The probability and what is counted for its next change."""
        known = (self.probability, float(self._signs), self._seen, self._updates)
        return {"known": torch.tensor(known, dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        self.probability, self._signs, seen, updates = state["known"].tolist()
        self._seen, self._updates = int(seen), int(updates)


class _Chance:
    """Random numbers for each image, of changes that happen with one probability."""

    def __init__(self, images: Tensor, probability: float, draws: Draws) -> None:
        self._one, self._probability, self._draws = images[:, 0, 0, 0].detach(), probability, draws

    def uniform(self) -> Tensor:
        """[B] in [0, 1)."""
        return self._draws.rand_like(self._one)

    def normal(self) -> Tensor:
        """[B], standard."""
        return self._draws.randn_like(self._one)

    def happens(self, value: Tensor, otherwise: float, probability: float | None = None) -> Tensor:
        """A value for those images that are changed, and what changes nothing for the others."""
        p = self._probability if probability is None else probability
        return torch.where(self.uniform() < p, value, torch.full_like(value, otherwise))

    def whole(self, count: int) -> Tensor:
        """[B], one of 0 to count - 1."""
        return (self.uniform() * count).floor()

    @property
    def turning(self) -> float:
        """The probability of each of two turns, such that one of them happens with the given one."""
        return 1 - math.sqrt(1 - self._probability)


def _geometry(chance: _Chance, height: int, width: int) -> Tensor:
    """For each image where its pixels come from, [B, 3, 3], in coordinates from -1 to 1."""
    zero = torch.zeros_like(chance.uniform())
    one = zero + 1
    mirror = chance.happens(1 - 2 * chance.whole(2), 1.0)
    quarter = chance.happens(chance.whole(4), 0.0) * (math.pi / 2)
    shifts = [
        chance.happens((2 * chance.uniform() - 1) * 0.125, 0.0).mul(size).round().div(size) * 2
        for size in (width, height)
    ]
    scale = chance.happens(torch.exp2(0.2 * chance.normal()), 1.0)
    before = chance.happens((2 * chance.uniform() - 1) * math.pi, 0.0, chance.turning)
    stretch = chance.happens(torch.exp2(0.2 * chance.normal()), 1.0)
    after = chance.happens((2 * chance.uniform() - 1) * math.pi, 0.0, chance.turning)
    parts = [chance.happens(0.125 * chance.normal(), 0.0) * 2 for _ in range(2)]
    steps = [
        _matrix(mirror, zero, zero, zero, one, zero),
        _turn(quarter),
        _matrix(one, zero, shifts[0], zero, one, shifts[1]),
        _matrix(scale, zero, zero, zero, scale, zero),
        _turn(before),
        _matrix(stretch, zero, zero, zero, 1 / stretch, zero),
        _turn(after),
        _matrix(one, zero, parts[0], zero, one, parts[1]),
    ]
    whole = steps[0]
    for step in steps[1:]:
        whole = whole @ step
    return whole


def _matrix(*rows: Tensor) -> Tensor:
    """Two rows of three numbers [B] each -> [B, 3, 3]."""
    zero, one = torch.zeros_like(rows[0]), torch.ones_like(rows[0])
    return torch.stack([*rows, zero, zero, one], -1).view(-1, 3, 3)


def _turn(angle: Tensor) -> Tensor:
    zero = torch.zeros_like(angle)
    return _matrix(angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero)


def _sampled(images: Tensor, places: Tensor) -> Tensor:
    grid = F.affine_grid(places[:, :2], list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, "bilinear", "reflection", align_corners=False)


def _colors(chance: _Chance, channels: int) -> Tensor:
    """For each image its change of colours, [B, channels, channels + 1], the last column added."""
    count = chance.uniform().shape[0]
    luma = torch.full((channels, 1), 1 / math.sqrt(channels)).to(chance.uniform())
    along = (luma @ luma.T).expand(count, -1, -1)
    eye = torch.eye(channels).to(luma).expand(count, -1, -1)
    brightness = chance.happens(0.2 * chance.normal(), 0.0)
    contrast = chance.happens(torch.exp2(0.5 * chance.normal()), 1.0)
    flip = chance.happens(chance.whole(2), 0.0)
    change = contrast[:, None, None] * (eye - 2 * flip[:, None, None] * along)
    added = (change @ torch.ones_like(luma)).squeeze(-1) * brightness[:, None]
    if channels == 3:
        hue = chance.happens((2 * chance.uniform() - 1) * math.pi, 0.0)[:, None, None]
        saturation = chance.happens(torch.exp2(chance.normal()), 1.0)[:, None, None]
        side = 1 / math.sqrt(3)
        across = torch.tensor([[0.0, -side, side], [side, 0.0, -side], [-side, side, 0.0]]).to(luma)
        turned = hue.cos() * eye + (1 - hue.cos()) * along + hue.sin() * across
        colourful = along + (eye - along) * saturation
        change, added = colourful @ turned @ change, (colourful @ turned @ added[..., None]).squeeze(-1)
    return torch.cat([change, added[..., None]], -1)


def _colored(images: Tensor, colors: Tensor) -> Tensor:
    flat = images.flatten(2)
    return (colors[..., :-1] @ flat + colors[..., -1:]).view_as(images)

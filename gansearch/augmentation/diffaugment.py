"""DiffAugment: the same few differentiable changes for real and generated images."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gansearch.augmentation.draws import Draws


class DiffAugment:
    """Change colours, move, and cut out a square, real and generated images alike.

    Zhao et al. 2020 (arXiv 2006.10738), in the order and with the ranges of the authors' code:
    brightness (added, up to 0.5 either way), saturation (times 0 to 2), contrast (times 0.5 to 1.5),
    then a shift with zeros behind, then a square of zeros.

    Args:
        color: whether colours are changed.
        translation: the largest shift, as a share of the size; 0.125 there, 0: none.
        cutout: side of the square, as a share of the size; 0.5 there, 0: none.
    """

    kind: ClassVar[str] = "images"

    def __init__(
        self,
        *,
        color: bool = True,
        translation: Annotated[float, Field(ge=0, le=1)] = 0.125,
        cutout: Annotated[float, Field(ge=0, le=1)] = 0.5,
    ) -> None:
        self.color, self.translation, self.cutout = color, translation, cutout

    def __call__(self, images: Tensor, *, draws: Draws) -> Tensor:
        """Images [B, C, H, W] -> changed ones."""
        if self.color:
            images = self._colored(images, draws)
        if self.translation:
            images = self._moved(images, draws)
        return self._cut(images, draws) if self.cutout else images

    def _colored(self, images: Tensor, draws: Draws) -> Tensor:
        one = images[:, :1, :1, :1]
        images = images + (draws.rand_like(one) - 0.5)
        grey = images.mean(1, keepdim=True)
        images = torch.lerp(grey, images, 2 * draws.rand_like(one))
        mean = images.mean((1, 2, 3), keepdim=True)
        return torch.lerp(mean, images, draws.rand_like(one) + 0.5)

    def _moved(self, images: Tensor, draws: Draws) -> Tensor:
        """Each image moved by whole pixels, zeros behind it."""
        height, width = images.shape[2:]
        rows, down = self._places(images, height, draws)
        columns, right = self._places(images, width, draws)
        # Row by row and column by column: the gather of each is an index for the whole line.
        moved = images.gather(2, rows[:, None, :, None].expand_as(images))
        moved = moved.gather(3, columns[:, None, None, :].expand_as(images))
        return moved * (down[:, None, :, None] & right[:, None, None, :])

    def _places(self, images: Tensor, size: int, draws: Draws) -> tuple[Tensor, Tensor]:
        """Where each pixel of a line comes from [B, size], and whether that is in the image."""
        reach = int(size * self.translation + 0.5)
        share = draws.rand_like(images[:, 0, :1, 0])
        shift = (share * (2 * reach + 1)).floor().long() - reach
        places = torch.arange(size, device=images.device) + shift
        return places.clamp(0, size - 1), (places >= 0) & (places < size)

    def _cut(self, images: Tensor, draws: Draws) -> Tensor:
        """A square of zeros at a random place, which may reach over the edge."""
        inside = [self._square(images, size, draws) for size in images.shape[2:]]
        return images * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])

    def _square(self, images: Tensor, size: int, draws: Draws) -> Tensor:
        """Which places of a line [B, size] lie in the square."""
        side = int(size * self.cutout + 0.5)
        choices = size + (1 - side % 2)
        middle = (draws.rand_like(images[:, 0, :1, 0]) * choices).floor().long()
        places = torch.arange(size, device=images.device)
        first = middle - side // 2
        return (places >= first) & (places < first + side)

"""Augmentations of what the discriminator sees, real and generated alike: one part one file.

An augmentation is called as `augment(images, draws=draws)` with images [B, C, H, W] about -1 to 1 and
gives the same shape; it is differentiable in the images, each image is changed for itself, and random
numbers come from `draws` alone. A part is added by its file and one line below; a user's own needs no
line, only its name `package.module:Thing`. `gansearch.testing.check_augmentation` tells whether it
keeps the contract. Importing this package does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from gansearch.study.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from gansearch.augmentation.draws import Draws


class Augmentation(Protocol):
    """Changes images at random, so that the discriminator cannot learn the few real ones by heart."""

    def __call__(self, images: Tensor, *, draws: Draws) -> Tensor:
        """Images [B, C, H, W] -> changed ones of the same shape."""
        ...


@runtime_checkable
class Adaptive(Protocol):
    """An augmentation that learns from the training how strong to be; its state is in checkpoints."""

    def adapt(self, real: Tensor) -> None:
        """Take note of the real samples' logits [B] of an update, less the loss's decision."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """What it has learnt."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        ...


AUGMENTATIONS: Registry[Augmentation] = Registry(
    "augmentation",
    {
        "diffaugment": "gansearch.augmentation.diffaugment:DiffAugment",
        "ada": "gansearch.augmentation.ada:ADA",
    },
)

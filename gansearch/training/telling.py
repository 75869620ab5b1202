"""Generators of a mixture that are to be told apart, so that each keeps to modes of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Telling:
    """A classifier of which generator made a sample, on the discriminator's last features (MGAN).

    Hoang et al. 2018 (arXiv 1708.02556), equation 3: it shares all the discriminator's layers but the
    last, and both it and the generators gain where it is right.

    Args:
        turns: says of latents which of the generators makes a sample of each.
        count: of the generators.
        discriminator: whose last layer is linear, to one number.

    Attributes:
        layer: the classifier's own.
    """

    def __init__(self, turns: Callable[[Tensor], Tensor], count: int, discriminator: nn.Module) -> None:
        last = last_layer(discriminator)
        assert last is not None, "checked before"
        self.layer = nn.Linear(last.in_features, count)
        self._turns = turns
        self._seen: Tensor | None = None
        last.register_forward_pre_hook(self._look)

    def loss(self, latents: Tensor) -> Tensor:
        """The cross-entropy of whose sample each is -> [].

        Args:
            latents: [B, latent_size], of the samples that the discriminator has judged last.
        """
        assert self._seen is not None
        return cross_entropy(self.layer(self._seen.float()), self._turns(latents))

    def _look(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._seen = inputs[0]


def last_layer(discriminator: nn.Module) -> nn.Linear | None:
    """The last linear layer of a network that gives one number; None where there is none."""
    linear = [m for m in discriminator.modules() if isinstance(m, nn.Linear) and m.out_features == 1]
    return linear[-1] if linear else None

"""The minimax game of the first GAN: the generator minimises what the discriminator maximises."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus


class Minimax:
    """The first GAN's game: the generator minimises what the discriminator maximises.

    Goodfellow et al. 2014 (arXiv 1406.2661), equation 1, with D = sigmoid(logit).

    d = E[-log D(x)] + E[-log(1 - D(G(z)))],  g = E[log(1 - D(G(z)))].

    Written in softplus, finite at any logit: -log D = softplus(-logit). The generator's gradient
    vanishes where the discriminator is sure ("saturates"); see `NonSaturating`.
    """

    g_uses_real: ClassVar[bool] = False
    decision: ClassVar[float | None] = 0.0

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        """Logits [..., B] twice -> [...], at least 0; 2 log 2 where the discriminator guesses."""
        return softplus(-real).mean(-1) + softplus(fake).mean(-1)

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:  # noqa: ARG002
        """Logits [..., B] -> [...], at most 0; -log 2 where the discriminator guesses."""
        return -softplus(fake).mean(-1)

"""The loss most GANs are trained with: minimax with a generator loss that does not saturate."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from gansearch.losses.minimax import Minimax


class NonSaturating(Minimax):
    """Minimax with a generator loss that does not saturate: the loss of most GANs.

    Goodfellow et al. 2014 (arXiv 1406.2661), section 3: d as in `Minimax`, g = E[-log D(G(z))].

    The same fixed point, with a strong gradient while the discriminator wins.
    """

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:  # noqa: ARG002
        """Logits [..., B] -> [...], at least 0; log 2 where the discriminator guesses."""
        return softplus(-fake).mean(-1)

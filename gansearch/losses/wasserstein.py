"""The Wasserstein loss: the critic's estimate of the earth mover's distance."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor


class Wasserstein:
    """The critic's estimate of the earth mover's distance.

    Arjovsky et al. 2017 (arXiv 1701.07875), equation 2 and algorithm 1.

    d = E[C(G(z))] - E[C(x)],  g = -E[C(G(z))].

    -d estimates the distance only while the critic is Lipschitz: combine it with
    `gradient-penalty`, `clipping` or a discriminator of `norm: spectral`; without one it runs away.
    """

    g_uses_real: ClassVar[bool] = False
    decision: ClassVar[float | None] = None

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        """Logits [..., B] twice -> [...], of any sign; negative while the critic is ahead."""
        return fake.mean(-1) - real.mean(-1)

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:  # noqa: ARG002
        """Logits [..., B] -> [...], of any sign."""
        return -fake.mean(-1)

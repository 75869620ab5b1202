"""The least-squares loss: regress the discriminator's output on 1 for real and 0 for fake."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor


class LeastSquares:
    """Regress the discriminator's output on 1 for real and 0 for fake.

    Mao et al. 2017 (arXiv 1611.04076), equation 9: the 0-1 coding, a = 0, b = c = 1.

    d = 1/2 E[(D(x) - 1)^2] + 1/2 E[D(G(z))^2],  g = 1/2 E[(D(G(z)) - 1)^2].
    """

    g_uses_real: ClassVar[bool] = False
    decision: ClassVar[float | None] = 0.5

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        """Logits [..., B] twice -> [...], at least 0; 1/4 where every output is 1/2."""
        return ((real - 1).square().mean(-1) + fake.square().mean(-1)) / 2

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:  # noqa: ARG002
        """Logits [..., B] -> [...], at least 0."""
        return (fake - 1).square().mean(-1) / 2

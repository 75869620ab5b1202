"""The hinge loss: samples beyond the margin no longer move the discriminator."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import relu


class Hinge:
    """Samples beyond the margin no longer move the discriminator.

    Lim and Ye 2017 (arXiv 1705.02894); Miyato et al. 2018 (arXiv 1802.05957), equations 16, 17.

    d = E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))],  g = -E[D(G(z))].
    """

    g_uses_real: ClassVar[bool] = False
    decision: ClassVar[float | None] = 0.0

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        """Logits [..., B] twice -> [...], at least 0; 2 where every logit is 0."""
        return relu(1 - real).mean(-1) + relu(1 + fake).mean(-1)

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:  # noqa: ARG002
        """Logits [..., B] -> [...], of any sign."""
        return -fake.mean(-1)

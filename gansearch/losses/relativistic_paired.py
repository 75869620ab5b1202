"""The relativistic paired loss: is a real sample more real than the fake one beside it?"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus


class RelativisticPaired:
    """Is each real sample more real than the fake one beside it (RpGAN; R3GAN with `r1-r2`)?

    Jolicoeur-Martineau 2019 (arXiv 1807.00734); Huang et al. 2024 (arXiv 2501.05441), whose R3GAN is
    this loss with `r1-r2` beside it.

    d = E[-log sigmoid(C(x) - C(G(z)))],  g = E[-log sigmoid(C(G(z)) - C(x))].

    The generator is compared with every real sample, so that dropping a mode costs it.
    """

    g_uses_real: ClassVar[bool] = True
    decision: ClassVar[float | None] = None

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        """Logits [..., B] twice -> [...], at least 0; log 2 where all logits are equal."""
        return softplus(fake - real).mean(-1)

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Logits [..., B] twice -> [...], at least 0; log 2 where all logits are equal."""
        assert real is not None
        return softplus(real - fake).mean(-1)

"""The relativistic average loss: is a real sample more real than the average fake one?"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus


class RelativisticAverage:
    """Is a real sample more real than the average fake one, and the other way round (RaSGAN)?

    Jolicoeur-Martineau 2019 (arXiv 1807.00734), with D(x) = sigmoid(C(x) - E[C(G(z))]) and
    D(G(z)) = sigmoid(C(G(z)) - E[C(x)]).

    d = E[-log D(x)] + E[-log(1 - D(G(z)))],  g = E[-log(1 - D(x))] + E[-log D(G(z))].

    Of a batch in micro-batches the averages are those of a piece.
    """

    g_uses_real: ClassVar[bool] = True
    decision: ClassVar[float | None] = None

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        """Logits [..., B] twice -> [...], at least 0; 2 log 2 where all logits are equal."""
        ahead, behind = _apart(real, fake)
        return softplus(-ahead).mean(-1) + softplus(behind).mean(-1)

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Logits [..., B] twice -> [...], at least 0; 2 log 2 where all logits are equal."""
        assert real is not None
        ahead, behind = _apart(real, fake)
        return softplus(ahead).mean(-1) + softplus(-behind).mean(-1)


def _apart(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Each logit against the mean of the other kind."""
    return real - fake.mean(-1, keepdim=True), fake - real.mean(-1, keepdim=True)

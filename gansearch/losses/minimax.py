"""The minimax game of the first GAN: the generator minimises what the discriminator maximises."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from gansearch.losses.draws import Draws
from gansearch.study.sections import later

Share = Annotated[float, Field(ge=0, lt=0.5), later(0.0)]


class Minimax:
    """The first GAN's game: the generator minimises what the discriminator maximises.

    Goodfellow et al. 2014 (arXiv 1406.2661), equation 1, with D = sigmoid(logit).

    d = E[-log D(x)] + E[-log(1 - D(G(z)))],  g = E[log(1 - D(G(z)))].

    Written in softplus, finite at any logit: -log D = softplus(-logit). The generator's gradient
    vanishes where the discriminator is sure ("saturates"); see `NonSaturating`.

    Both options change what the discriminator is taught, and nothing for the generator. With either a
    sure discriminator is punished too, so that its `d_doubt` has a bottom above 0.

    Args:
        smoothing: the label of real samples is 1 less this (one-sided label smoothing; Salimans et al.
            2016, arXiv 1606.03498, section 3.4; 0.1 there).
        flipping: share of the labels, of real and of fake samples, that are the wrong ones, drawn anew
            for each batch.
    """

    g_uses_real: ClassVar[bool] = False
    decision: float | None = 0.0

    def __init__(self, *, smoothing: Share = 0.0, flipping: Share = 0.0) -> None:
        self.smoothing, self.flipping = smoothing, flipping
        if smoothing:  # an undecided discriminator says half of a real label
            self.decision = math.log((1 - smoothing) / (1 + smoothing))

    def d(self, real: Tensor, fake: Tensor, *, draws: Draws | None = None) -> Tensor:
        """Logits [..., B] twice -> [...], at least 0; 2 log 2 where the discriminator guesses and its
        labels are true.

        Args:
            real: logits.
            fake: logits.
            draws: by which labels are flipped; None: the loss that is to be expected.
        """
        if not self.smoothing and not self.flipping:
            return softplus(-real).mean(-1) + softplus(fake).mean(-1)
        of_real = torch.lerp(self._as_real(real), softplus(real), self._flipped(real, draws))
        of_fake = torch.lerp(softplus(fake), self._as_real(fake), self._flipped(fake, draws))
        return of_real.mean(-1) + of_fake.mean(-1)

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:  # noqa: ARG002
        """Logits [..., B] -> [...], at most 0; -log 2 where the discriminator guesses."""
        return -softplus(fake).mean(-1)

    def _as_real(self, logits: Tensor) -> Tensor:
        """The loss of samples that are labelled real."""
        return (1 - self.smoothing) * softplus(-logits) + self.smoothing * softplus(logits)

    def _flipped(self, logits: Tensor, draws: Draws | None) -> Tensor:
        """How far each label is flipped: 0 or 1 where that is drawn, else the share."""
        if draws is None or not self.flipping:
            return torch.full_like(logits, self.flipping)
        return (draws.rand_like(logits) < self.flipping).to(logits.dtype)

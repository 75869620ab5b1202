"""The LeCam regularisation: hold the logits near the average of those of the other kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor


class LeCam:
    """Hold logits near the average of those of the other kind, which helps where data are few.

    Tseng et al. 2021 (arXiv 2104.03310): weight * (E[(D(x) - a_F)^2] + E[(D(G(z)) - a_R)^2]).

    a_F and a_R are exponential moving averages of the mean logits of generated and of real samples,
    from 0 on; they are part of a training's state. (The authors' code cuts both differences off at 0,
    and so departs from their equation, which is what is here.)

    Args:
        weight: lambda of the paper, 0.3 there for BigGAN and 0.01 for StyleGAN2.
        decay: of the averages, per update of the discriminator; gamma of the paper, 0.99 there.
    """

    flat: ClassVar[bool] = True
    per_lane: ClassVar[tuple[str, ...]] = ("weight", "decay")

    def __init__(
        self,
        *,
        weight: Annotated[float, Field(ge=0)] = 0.3,
        decay: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    ) -> None:
        self.weight, self.decay = weight, decay
        self._real, self._fake = torch.zeros(()), torch.zeros(())

    def __call__(self, critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """Samples [..., B, D] twice -> [...], at least 0."""
        real_logits, fake_logits = critic(real.detach()), critic(fake.detach())
        of_real = (real_logits - self._fake.to(real_logits)[..., None]).square()
        of_fake = (fake_logits - self._real.to(fake_logits)[..., None]).square()
        return self.weight * (of_real.mean(-1) + of_fake.mean(-1))

    def observe(self, real: Tensor, fake: Tensor) -> None:
        """Move the averages by the logits [..., B] of one update."""
        self._real = torch.lerp(real.detach().mean(-1), self._real.to(real), self.decay)
        self._fake = torch.lerp(fake.detach().mean(-1), self._fake.to(fake), self.decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages."""
        return {"real": self._real, "fake": self._fake}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state_dict` gave."""
        self._real, self._fake = state["real"], state["fake"]

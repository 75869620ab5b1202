"""What the discriminator sees of samples: augmented, under noise, several at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gansearch.augmentation import AUGMENTATIONS, Adaptive
from gansearch.losses import Loss
from gansearch.losses.draws import Draws
from gansearch.study.config import TrialConfig


class View:
    """How a configuration shows samples to its discriminator. Without options they are what they are.

    Real and generated samples are shown alike, in the updates of both networks, each time with random
    numbers of their own; penalties are given what the discriminator sees.

    Args:
        config: the trial's.
        loss: whose decision an adaptive augmentation asks.
        chance: random numbers of this training.

    Attributes:
        plain: whether samples are shown as they are.
    """

    def __init__(self, config: TrialConfig, loss: Loss, chance: torch.Generator) -> None:
        shown, self._steps = config.discriminator, config.budget.steps
        part, self._noise, self._pack = shown.augment, shown.noise, shown.pack
        self._augment = AUGMENTATIONS.build(part.name, part.options) if part else None
        self._decision = getattr(loss, "decision", None) or 0.0
        self._draws = Draws(chance)
        learning: object = self._augment
        self._adaptive = learning if isinstance(learning, Adaptive) else None
        self.plain = self._augment is None and self._noise is None and self._pack == 1

    def __call__(self, samples: Tensor, step: int) -> Tensor:
        """Samples [B, ...] -> what is judged in one of the generator's updates, from 0 on:
        [B / pack, ...], where those of a pack lie behind one another on the first axis of a sample.
        """
        if self.plain:
            return samples
        if self._augment is not None:
            samples = self._augment(samples, draws=self._draws)
        if self._noise is not None:
            deviation = self._noise.at(step, self._steps)
            samples = samples + deviation * self._draws.randn_like(samples)
        if self._pack == 1:
            return samples
        return samples.reshape(-1, self._pack * samples.shape[1], *samples.shape[2:])

    def learn(self, real: Tensor) -> None:
        """Take note of the logits [B] of real samples, after an update of the discriminator."""
        if self._adaptive is not None:
            self._adaptive.adapt(real - self._decision)

    def metrics(self) -> dict[str, float]:
        """What a report holds of it: how strong an adaptive augmentation is."""
        probability = getattr(self._adaptive, "probability", None)
        return {} if probability is None else {"augmented": float(probability)}

    def state_dict(self) -> dict[str, Any]:
        """What an adaptive augmentation has learnt."""
        return self._adaptive.state_dict() if self._adaptive else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        if self._adaptive is not None:
            self._adaptive.load_state_dict(state)

"""Whether a discriminator knows its training samples: what it says of them and of held-out ones.

It has seen the one and not the other, and both are real: a discriminator that has not memorised calls
real as many of either (Brock et al. 2019, arXiv 1809.11096, section 4.2, and Karras et al. 2020, arXiv
2006.06676, figure 1, look at it so).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gansearch.data.domain import Domain
from gansearch.losses import Loss
from gansearch.metrics.reference import HeldOut
from gansearch.study.config import TrialConfig

HELD_OUT = {
    "d_real_train": "share of training samples that the discriminator calls real",
    "d_real_held_out": "share of as many held-out samples that it calls real",
    "d_gap": "d_real_train less d_real_held_out: how much of it is memory",
}
"""What reports hold where `evaluation.held_out` asks for it, of plain samples, in evaluation mode."""

AT_ONCE = 256


class Exam:
    """The samples that a discriminator is asked about at each report, always the same ones.

    Args:
        config: the trial's.
        samples: the training samples as they are stored, on the trainer's device.
        labels: their classes, where the discriminator is told them.
        held: the held-out ones.
        domain: of either.
    """

    def __init__(
        self,
        config: TrialConfig,
        samples: Tensor,
        labels: Tensor | None,
        held: HeldOut,
        domain: Domain,
    ) -> None:
        self._pack, self._domain = config.discriminator.pack, domain
        count = min(config.evaluation.held_out or 0, len(samples), len(held.samples))
        count -= count % self._pack
        rows = torch.from_numpy(np.random.default_rng(0).permutation(len(samples))[:count])
        rows = rows.to(samples.device)
        self._known = samples[rows]
        self._known_labels = None if labels is None else labels[rows]
        # Copies: the arrays may be shared between processes, which do not write into them.
        self._other = torch.tensor(held.samples[:count], device=samples.device)
        told = labels is not None and held.labels is not None
        other = torch.tensor(held.labels[:count], device=samples.device) if told else None  # type: ignore[index]
        self._other_labels = other

    @torch.no_grad()
    def ask(
        self, discriminator: nn.Module, loss: Loss, fakes: Tensor, labels: Tensor | None
    ) -> dict[str, float]:
        """What `HELD_OUT` names.

        Args:
            discriminator: is left in evaluation mode.
            loss: says from which logit on a sample is called real; of a critic it is the middle between
                its means on training samples and on generated ones.
            fakes: generated samples as they are stored.
            labels: their classes, where there are some.
        """
        discriminator.eval()
        known = self._logits(discriminator, self._known, self._known_labels)
        other = self._logits(discriminator, self._other, self._other_labels)
        threshold = loss.decision
        if threshold is None:
            even = len(fakes) - len(fakes) % self._pack
            shown = None if labels is None else labels[:even].to(fakes.device)
            made = self._logits(discriminator, fakes[:even], shown)
            threshold = float((known.mean() + made.mean()) / 2)
        train, held_out = (float((logits > threshold).double().mean()) for logits in (known, other))
        return {"d_real_train": train, "d_real_held_out": held_out, "d_gap": train - held_out}

    def _logits(self, network: nn.Module, samples: Tensor, labels: Tensor | None) -> Tensor:
        size = max(AT_ONCE - AT_ONCE % self._pack, self._pack)
        found = []
        for start in range(0, len(samples), size):
            shown = self._domain.encode(samples[start : start + size])
            shown = shown.reshape(-1, self._pack * shown.shape[1], *shown.shape[2:])
            told = () if labels is None else (labels[start : start + size],)
            found.append(network(shown, *told).float())
        return torch.cat(found)

"""What a training measures of itself between two reports."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gansearch.losses import Loss

JUDGED_BATCHES = 8
"""The discriminator's error rates are counted over its last so many batches before a report."""


LAST_BATCHES = f"the discriminator's last {JUDGED_BATCHES} training batches"


MEASURED = {
    "d_loss": "mean over the steps since the last report, penalty included",
    "g_loss": "mean over the steps since the last report",
    "d_grad_norm": "the last step before the report",
    "g_grad_norm": "the last step before the report",
    "d_weight_growth": "root mean square of all weights, as a multiple of the start's",
    "g_weight_growth": "root mean square of all weights, as a multiple of the start's",
    "d_accuracy": LAST_BATCHES,
    "d_error_real": LAST_BATCHES,
    "d_error_fake": LAST_BATCHES,
    "d_doubt": LAST_BATCHES,
    "diversity": "the evaluated samples",
    "reach": "the evaluated samples",
    "images_per_second": "real images through the discriminator since the last report, per second",
}
"""What every report holds besides the metrics that the configuration asks for, and over what."""


JUDGED = ("diversity", "reach")
"""The metrics among `MEASURED`: every training is measured by them, for the health rules."""


GAME = ("d_accuracy", "d_error_real", "d_error_fake", "d_doubt")
"""The measurements that only two networks in a game have."""


VARIATIONAL = {key: over for key, over in MEASURED.items() if key not in GAME} | {
    "d_loss": "nats a sample: the negative evidence lower bound, its divergence times beta",
    "g_loss": "nats a sample: the reconstruction's side of it, which is all that the decoder descends",
    "kl": "nats a sample: the divergence of the posterior from the prior, without beta",
    "elbo": "nats a sample: the evidence lower bound of training batches, with beta 1",
}
"""What every report of a variational autoencoder holds; d is its encoder, g its decoder."""


AUGMENTED = {"augmented": "the probability of each change by the adaptive augmentation"}
"""What reports hold where there is one."""


SPLIT = {"microbatches": "pieces in which each batch was computed, for want of memory"}
"""What reports hold while there is more than one."""


LANES = {
    "lanes": "trainings computed as one, stacked on a leading axis, the most at a time since the last "
    "report"
}
"""What reports hold while a training is one of several."""


COMPILED = {"compiled": "1: the step was compiled code, always or for a time since the last report"}
"""What reports hold while it is (`resources.compile`)."""


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was asked for: a clock tells only then how long it took."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Window:
    """What is gathered between two reports, on the device and without waiting for it.

    Args:
        device: where the training is.
        judged: how many of the discriminator's last batches, or pieces of them, its errors are counted
            over.

    Attributes:
        d_loss, g_loss: sums of the losses, [].
        d_count, g_count: updates that they are of; a piece is its share of one.
        d_grad_norm, g_grad_norm: of the last step, []; NaN until they are measured.
    """

    def __init__(self, device: torch.device, judged: int) -> None:
        self.d_loss = torch.zeros((), device=device)
        self.g_loss = torch.zeros((), device=device)
        self.d_grad_norm = self.g_grad_norm = torch.full((), math.nan)
        self.d_count = self.g_count = 0.0
        self._judged = judged
        self._logits: list[tuple[Tensor, Tensor]] = []

    def add_discriminator(self, loss: Tensor, share: float, real: Tensor, fake: Tensor) -> None:
        """Add a (share of a) discriminator step: its loss, and its logits on real and fake samples."""
        self.d_loss.add_(loss.detach(), alpha=share)
        self.d_count += share
        self._logits.append((real.detach(), fake.detach()))
        if len(self._logits) > self._judged:
            self._logits.pop(0)

    def add_generator(self, loss: Tensor, share: float) -> None:
        """Add a (share of a) generator step's loss."""
        self.g_loss.add_(loss.detach(), alpha=share)
        self.g_count += share

    def take_logits(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        """Let the discriminator's last batches be these: logits on real and fake samples of each."""
        self._logits = pairs

    def finite(self) -> bool:
        """Whether both losses have been finite so far; waits for the device."""
        return bool(torch.isfinite(self.d_loss + self.g_loss))

    def metrics(self, loss: Loss) -> dict[str, float]:
        """What `MEASURED` names of losses, gradients and the discriminator's errors."""
        real, fake = (torch.cat(side) for side in zip(*self._logits, strict=True))
        decision = (real.mean() + fake.mean()) / 2 if loss.decision is None else loss.decision
        threshold = float(decision)
        missed, fooled = (real <= threshold).float().mean(), (fake > threshold).float().mean()
        return {
            "d_loss": (self.d_loss / self.d_count).item(),
            "g_loss": (self.g_loss / self.g_count).item(),
            "d_grad_norm": self.d_grad_norm.item(),
            "g_grad_norm": self.g_grad_norm.item(),
            "d_accuracy": 1 - (missed + fooled).item() / 2,
            "d_error_real": missed.item(),
            "d_error_fake": fooled.item(),
            "d_doubt": doubt(loss, real, fake, threshold),
        }


def gradient_norm(network: nn.Module) -> Tensor:
    """Euclidean norm over all the gradients of a network, as a scalar tensor."""
    return nn.utils.get_total_norm(p.grad for p in network.parameters() if p.grad is not None)


def doubt(loss: Loss, real: Tensor, fake: Tensor, decision: float) -> float:
    """The discriminator's loss as a share of an undecided one's: 1, it guesses; 0, it is sure of every
    image, and its verdict hardly changes from one generated image to another, so that nothing is left
    in it to learn from. A critic's loss has no bottom to compare with (Wasserstein): always 1.
    """
    undecided = loss.d(torch.full_like(real, decision), torch.full_like(fake, decision)).item()
    return loss.d(real, fake).item() / undecided if undecided > 0 else 1.0


@torch.no_grad()
def weight_scale(network: nn.Module) -> float:
    """Root mean square of all the weights; NaN where one is."""
    count = sum(p.numel() for p in network.parameters())
    return nn.utils.get_total_norm(network.parameters()).item() / math.sqrt(count)

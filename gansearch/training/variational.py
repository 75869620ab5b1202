"""How a variational autoencoder trains: as a GAN does, but for its step.

It is the baseline of a study of GANs: the same data, budget, reports, health rules, checkpoints,
samples and exports. The generator is its decoder, and what stands under `discriminator` its encoder.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gansearch.data import DataSet
from gansearch.losses import is_variational
from gansearch.losses.vae import VAE, Elbo
from gansearch.metrics.reference import Reference
from gansearch.study.config import TrialConfig
from gansearch.training.building import build_vae
from gansearch.training.lifecycle import Training, backward
from gansearch.training.measuring import VARIATIONAL, Window, gradient_norm
from gansearch.training.sampling import update_average
from gansearch.training.trainer import Trainer


def build_trainer(
    config: TrialConfig,
    data: DataSet,
    reference: Reference,
    device: str = "cpu",
    *,
    begun: bool = False,
) -> Training:
    """The trainer of a configuration: of two networks in a game, or of a variational autoencoder."""
    kind: type[Training] = VariationalTrainer if is_variational(config.loss.name) else Trainer
    return kind(config, data, reference, device, begun=begun)


class ElboWindow(Window):
    """What is gathered between two reports of a variational autoencoder."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device, 0)
        self._kl = torch.zeros((), device=device)

    def add(self, loss: Tensor, elbo: Elbo, share: float) -> None:
        """Add a (share of a) step: what is minimised, and the two sides of the bound."""
        self.d_loss.add_(loss.detach(), alpha=share)
        self.g_loss.add_(elbo.reconstruction.detach(), alpha=share)
        self._kl.add_(elbo.kl.detach(), alpha=share)
        self.d_count += share
        self.g_count += share

    def bound(self) -> dict[str, float]:
        """What `VARIATIONAL` names of losses and gradients."""
        reconstruction, kl = (self.g_loss / self.g_count).item(), (self._kl / self.g_count).item()
        return {
            "d_loss": (self.d_loss / self.d_count).item(),
            "g_loss": reconstruction,
            "d_grad_norm": self.d_grad_norm.item(),
            "g_grad_norm": self.g_grad_norm.item(),
            "kl": kl,
            "elbo": -(reconstruction + kl),
        }


class VariationalTrainer(Training):
    """One variational autoencoder in training (Kingma and Welling 2014, arXiv 1312.6114).

    Args:
        config: what to train, completed, with a loss that is variational.
        data: the training samples.
        reference: the real side of the metrics.
        device: where to train, as torch names it.
        begun: see `Training`.
    """

    measured, again = VARIATIONAL, 0

    def __init__(
        self,
        config: TrialConfig,
        data: DataSet,
        reference: Reference,
        device: str = "cpu",
        *,
        begun: bool = False,
    ) -> None:
        super().__init__(config, data, reference, device, begun=begun)
        self._vae: VAE = build_vae(config)

    def _window(self) -> Window:
        return ElboWindow(self.device)

    def _gathered(self, window: Window) -> dict[str, float]:
        assert isinstance(window, ElboWindow)
        return window.bound()

    def _step(self, batches: Iterator[Tensor], window: Window, *, measure: bool) -> None:
        """One update of both networks: samples to latents, and back.

        Each batch is computed in micro-batches, whose gradients add up.
        """
        assert isinstance(window, ElboWindow)
        chance = self._latents(self.config.batch_size)
        rows = next(batches)
        real = self.domain.encode(self._samples[rows])
        labels = None if self._labels is None else self._labels[rows]
        self._d_optimizer.zero_grad()
        self._g_optimizer.zero_grad()
        for share, samples, noise, classes in self._pieces(real, chance, labels):
            posterior = self._pass(self.discriminator, samples, classes)
            mean, log_variance = posterior.chunk(2, dim=-1)
            latents = mean + (log_variance / 2).exp() * noise
            elbo = self._vae(samples, self._pass(self.generator, latents, classes), mean, log_variance)
            loss = self._vae.loss(elbo)
            backward(loss, share)
            window.add(loss, elbo, share)
        if measure:
            window.d_grad_norm = gradient_norm(self.discriminator)
            window.g_grad_norm = gradient_norm(self.generator)
        self._d_descent.step(self.step)
        self._g_descent.step(self.step)
        if self.config.ema is not None:
            update_average(self.averaged, self.generator, self.config.ema, self.step)

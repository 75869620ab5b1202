"""GAN training loops as others have them, written plainly, on networks of ours.

Both are given the images on the device, as ours has them, so that it is the loops which are compared.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from gansearch.data.images import ImageData
from gansearch.study.config import TrialConfig
from gansearch.training.building import build_discriminator, build_generator


class Loop:
    """What both loops have: networks, images, optimizers.

    Args:
        config: a configuration of unconditional networks.
        data: images.
        device: where to train.
    """

    def __init__(self, config: TrialConfig, data: ImageData, device: str) -> None:
        self.device = torch.device(device)
        self.images = torch.from_numpy(data.images).to(self.device)
        self.batch, self.latent = config.batch_size, config.latent_size
        torch.manual_seed(config.seed)
        self.generator = build_generator(config, data.domain, self.device)
        self.discriminator = build_discriminator(config, data.domain, self.device)
        self.g_optimizer = _adam(self.generator)
        self.d_optimizer = _adam(self.discriminator)
        self.told: list[float] = []

    def train(self, steps: int) -> None:
        """Make so many updates of the generator."""
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        """One update of each network."""
        raise NotImplementedError

    def real(self) -> Tensor:
        """A batch of images, -1 to 1."""
        rows = torch.randint(len(self.images), (self.batch,), device=self.device)
        return self.images[rows].float() / 127.5 - 1

    def fakes(self) -> Tensor:
        """Made by the generator, with their graph."""
        images: Tensor = self.generator(torch.randn(self.batch, self.latent, device=self.device))
        return images


class Tutorial(Loop):
    """PyTorch's DCGAN tutorial: two backward passes of the discriminator, and its figures each step."""

    def step(self) -> None:
        """One update of each network."""
        criterion = nn.BCELoss()
        ones = torch.full((self.batch,), 1.0, device=self.device)
        zeros = torch.full((self.batch,), 0.0, device=self.device)
        self.discriminator.zero_grad()
        output = self.discriminator(self.real()).sigmoid()
        d_real = criterion(output, ones)
        d_real.backward()
        judged = output.mean().item()
        fake = self.fakes()
        output = self.discriminator(fake.detach()).sigmoid()
        d_fake = criterion(output, zeros)
        d_fake.backward()
        fooled = output.mean().item()
        self.d_optimizer.step()

        self.generator.zero_grad()
        output = self.discriminator(fake).sigmoid()
        g_loss = criterion(output, ones)
        g_loss.backward()
        self.g_optimizer.step()
        self.told = [judged, fooled, output.mean().item(), g_loss.item(), (d_real + d_fake).item()]


class Mimicry(Loop):
    """As torch-mimicry trains: fakes made anew for the generator, and its probabilities each step."""

    def step(self) -> None:
        """One update of each network."""
        self.discriminator.zero_grad()
        real_logits = self.discriminator(self.real())
        fake_logits = self.discriminator(self.fakes().detach())
        d_loss = binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
        d_loss = d_loss + binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
        d_loss.backward()
        self.d_optimizer.step()
        self.told = [logits.sigmoid().mean().item() for logits in (real_logits, fake_logits)]

        self.generator.zero_grad()
        logits = self.discriminator(self.fakes())
        g_loss = binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
        g_loss.backward()
        self.g_optimizer.step()


def _adam(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))

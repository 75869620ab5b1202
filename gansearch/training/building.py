"""The parts of a training, built from its configuration."""

from __future__ import annotations

import torch
from torch import nn

from gansearch.losses import LOSSES, PENALTIES, Loss, Penalty
from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.study.config import Optimizer, TrialConfig
from gansearch.training.optimizers import OPTIMIZERS

Shape = tuple[int, int, int]


def build_generator(config: TrialConfig, shape: Shape, device: torch.device) -> nn.Module:
    """A fresh generator of images of a shape (C, H, W); raises `ValueError` for one it cannot do."""
    part = config.generator
    with _birthplace(device):
        return GENERATORS.build(part.name, part.options, shape, config.latent_size).to(device)


def build_discriminator(config: TrialConfig, shape: Shape, device: torch.device) -> nn.Module:
    """A fresh discriminator of images of a shape (C, H, W); raises `ValueError` as above."""
    part = config.discriminator
    with _birthplace(device):
        return DISCRIMINATORS.build(part.name, part.options, shape).to(device)


def _birthplace(device: torch.device) -> torch.device:
    """Networks are initialised on the CPU, so that a seed means the same start on any device."""
    return device if device.type == "meta" else torch.device("cpu")


def build_loss(config: TrialConfig) -> tuple[Loss, Penalty | None]:
    """The loss and the penalty that a configuration names."""
    loss = LOSSES.build(config.loss.name, config.loss.options)
    penalty = config.loss.penalty
    return loss, PENALTIES.build(penalty.name, penalty.options) if penalty else None


def build_optimizer(side: Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of one network."""
    return OPTIMIZERS.build(side.name, side.options, network.parameters())

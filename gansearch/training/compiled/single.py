"""One training in the place of K: its network as it is, behind a leading axis of 1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn, optim

from gansearch.networks.stacked import CannotStack
from gansearch.training.stacked.optimizers import places, rule_of
from gansearch.training.stacked.side import Side


class SingleSide(Side):
    """One side of one GAN, of any architecture, with its weights in one row.

    Args:
        networks: the one.
        optimizers: its own.

    Raises:
        CannotStack: an optimizer that is not known, or weights that are frozen.
    """

    def __init__(self, networks: Sequence[nn.Module], optimizers: Sequence[optim.Optimizer]) -> None:
        (network,) = networks
        if not all(parameter.requires_grad for parameter in network.parameters()):
            raise CannotStack("a network with frozen weights")
        self.networks, self.network, self.takes_turns = [network], network, False
        self.names = [name for name, _ in network.named_parameters()]
        self.places, width = places(network.parameters())
        self.parameters = list(network.parameters())
        self.weights = torch.zeros(1, width, device=self.parameters[0].device)
        self.gradients = torch.zeros_like(self.weights)
        for parameter, part in zip(self.parameters, self.split(self.weights), strict=True):
            part[0].copy_(parameter.detach())
        kind = rule_of(optimizers[0])
        self.optimizer = kind(optimizers, self.weights, self.gradients, self.places)
        self._lend(0)

    def take(self, row: int, network: nn.Module, optimizer: optim.Optimizer) -> None:
        """One training is no other's place."""
        raise NotImplementedError

    def _lend(self, row: int) -> None:
        for parameter, part in zip(self.parameters, self.split(self.weights), strict=True):
            parameter.data = part[row]

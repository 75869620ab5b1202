"""One side of K GANs: K generators or K discriminators, with their optimizers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn, optim

from gansearch.networks.stacked import CannotStack, OwnLayer, stack, stacked_name
from gansearch.training.stacked.optimizers import by_parameter, places, rule_of


class Side:
    """K networks of one architecture as one.

    All weights are one tensor, and so are all gradients, which makes clearing, updating and averaging
    them one operation each. The networks themselves, and their optimizers, hold views of them: what is
    asked of a training alone (samples, a checkpoint, its weights' size) is asked of it as it is.

    Args:
        networks: alone.
        optimizers: each network's own.

    Attributes:
        network: what makes a pass of all of them, on the leading axis.
        takes_turns: whether batches must come in turn (`StackedNetwork.takes_turns`).
        names: of its parameters, in the order of `places`.
        places: where each lies in a row of weights.

    Raises:
        CannotStack: there is no way to.
    """

    def __init__(self, networks: Sequence[nn.Module], optimizers: Sequence[optim.Optimizer]) -> None:
        if not all(parameter.requires_grad for parameter in networks[0].parameters()):
            raise CannotStack("a network with frozen weights")
        self.networks = list(networks)
        self.names = self._as_one()
        ours = dict(self.network.named_parameters())
        self.parameters = [ours[name] for name in self.names]
        self.places, width = places(networks[0].parameters())
        self.weights = torch.zeros(len(networks), width, device=self.parameters[0].device)
        self.gradients = torch.zeros_like(self.weights)
        for parameter, part in zip(self.parameters, self.split(self.weights), strict=True):
            part.copy_(parameter.detach())
        self.optimizer = rule_of(optimizers[0])(optimizers, self.weights, self.gradients, self.places)
        self._view()

    def _as_one(self) -> list[str]:
        """Make the network; returns the names of its parameters in the order of a training's own."""
        self.stacked = stack(self.networks)
        self.network, self.takes_turns = self.stacked.network, self.stacked.takes_turns
        return [stacked_name(name) for name, _ in self.networks[0].named_parameters()]

    def _view(self) -> None:
        """Have the network's tensors, and each training's own, be views of what all lie in."""
        parts, gradients = self.split(self.weights), self.split(self.gradients)
        for parameter, part, gradient in zip(self.parameters, parts, gradients, strict=True):
            parameter.data, parameter.grad = part, gradient
        self._own = [layer for layer in self.network.modules() if isinstance(layer, OwnLayer)]
        own = {id(parameter) for layer in self._own for parameter in layer.parameters()}
        self._added_to = [p.grad for p in self.parameters if p.grad is not None and id(p) not in own]
        for row in range(len(self.networks)):
            self._lend(row)

    def split(self, flat: Tensor) -> list[Tensor]:
        """Views of [K, P] by parameter, each [K, ...]."""
        return by_parameter(flat, self.places)

    @torch.no_grad()
    def take(self, row: int, network: nn.Module, optimizer: optim.Optimizer) -> None:
        """Let a row be another network's, as it is."""
        for parameter, part in zip(network.parameters(), self.split(self.weights), strict=True):
            part[row].copy_(parameter)
        ours = dict(self.network.named_buffers())
        for name, buffer in network.named_buffers():
            ours[stacked_name(name)][row].copy_(buffer)
        self.networks[row] = network
        self.optimizer.take(row, optimizer)
        self._lend(row)

    def _lend(self, row: int) -> None:
        """Have a network's own tensors be views of a row, and what it had besides be free."""
        network = self.networks[row]
        for parameter, part in zip(network.parameters(), self.split(self.weights), strict=True):
            parameter.data, parameter.grad = part[row], None
        self.give(row)

    def give(self, row: int) -> None:
        """Have a network's buffers be those of its row, also where a pass has put new ones in their
        place (`self.mean = 0.9 * self.mean + ...`).
        """
        ours = dict(self.network.named_buffers())
        for name, buffer in self.networks[row].named_buffers():
            buffer.data = ours[stacked_name(name)][row]

    @torch.no_grad()
    def clear(self) -> None:
        """Forget all gradients, before the passes from which new ones come. Those that a layer computes
        itself are overwritten, which saves writing and reading them once more; see `settle`.
        """
        for layer in self._own:
            layer.stale = True
        if self._added_to:
            torch._foreach_zero_(self._added_to)

    def settle(self) -> None:
        """Have those be 0 that have not come since `clear`: no pass went through their layers."""
        for layer in self._own:
            layer.settle()

    def norms(self) -> Tensor:
        """Euclidean norm over all the gradients of each network, [K]."""
        norms: Tensor = torch.linalg.vector_norm(self.gradients, dim=1)
        return norms

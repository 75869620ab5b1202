"""One training in the place of K: its network as it is, behind a leading axis of 1."""

from __future__ import annotations

from torch import nn, optim

from gansearch.training.stacked.side import Side


class SingleSide(Side):
    """One side of one GAN, of any architecture, with its weights in one row.

    Args:
        networks: the one.
        optimizers: its own.

    Raises:
        CannotStack: an optimizer that is not known, or weights that are frozen.
    """

    def _as_one(self) -> list[str]:
        (self.network,) = self.networks
        self.takes_turns = False
        return [name for name, _ in self.network.named_parameters()]

    def _view(self) -> None:
        for parameter, part in zip(self.parameters, self.split(self.weights), strict=True):
            parameter.data = part[0]

    def give(self, row: int) -> None:
        """Its buffers are its own at any time."""

    def take(self, row: int, network: nn.Module, optimizer: optim.Optimizer) -> None:
        """One training is no other's place."""
        raise NotImplementedError

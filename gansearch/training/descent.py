"""One network's optimizer and what is done around each of its steps: clipping, a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn, optim

from gansearch.study.networks import Optimizer


class Descent:
    """An optimizer as a configuration wants it used. Without options it is the optimizer alone.

    Nothing is remembered from step to step but by the optimizer: a schedule follows from the number of
    the step, so that a training which goes on from a checkpoint goes on exactly.

    Args:
        optimizer: of the network.
        parameters: all that it updates.
        side: its section of the configuration.
        steps: the budget's.

    Attributes:
        clip: the largest Euclidean norm of the gradient; None: any.
    """

    def __init__(
        self, optimizer: optim.Optimizer, parameters: Sequence[Tensor], side: Optimizer, steps: int
    ) -> None:
        self.optimizer = optimizer
        self.clip = side.clip
        self._parameters = list(parameters)
        self._schedule, self._steps = side.schedule, steps
        self._rates = [group["lr"] for group in optimizer.param_groups]

    def step(self, number: int) -> None:
        """Update the parameters by their gradients; `number` is the generator's, from 0."""
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self._parameters, self.clip)
        self.set_rate(number)
        self.optimizer.step()

    @property
    def scheduled(self) -> bool:
        """Whether the learning rate follows a schedule."""
        return self._schedule is not None

    def set_rate(self, number: int) -> None:
        """Set the learning rate to the schedule's, where there is one."""
        if self._schedule is None:
            return
        factor = self._schedule.factor(number, self._steps)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor


def set_pace(optimizer: optim.Optimizer, every: int) -> None:
    """Set an optimizer back for one update more in every so many, that of a lazy penalty.

    Karras et al. 2020 (arXiv 1912.04958), appendix B: with c = k / (k + 1) the learning rate becomes
    c lr, and the decay of each average b^c, so that k + 1 updates go as far, and remember as much, as
    k did. That is for optimizers which divide the gradient by its size (`betas`, `alpha`): under plain
    gradient descent k + 1 updates go no further than k, for the gradient of one of them is another's.
    """
    if every == 1:
        return
    share = every / (every + 1)
    for group in optimizer.param_groups:
        pace: dict[str, Any] = {}
        if "betas" in group:
            pace["betas"] = tuple(beta**share for beta in group["betas"])
        if "alpha" in group:
            pace["alpha"] = group["alpha"] ** share
        if pace:
            group.update(pace, lr=group["lr"] * share)

"""Optimizers of K networks at once, each with its own settings.

Weights are one tensor, [K, P]: row k is all of network k's. The rules are torch's, of torch's own
optimizers that each training alone has, whose states they take over and give back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn, optim

from gansearch.networks.stacked import CannotStack
from gansearch.training import optimizers

Places = Sequence[tuple[int, torch.Size]]
"""Of each parameter of a network: where it begins in a row, and its shape."""

LINE = 16
"""Numbers in a cache line of 64 bytes, at which vectorised kernels are fastest."""


class StackedOptimizer:
    """What the rules have in common.

    Args:
        alone: each network's own optimizer.
        weights: [K, P].
        gradients: [K, P].
        places: where each parameter lies in a row.

    Attributes:
        moments: torch's name of a state, [K, P] here -> the option that it is there for; "": always.
        odd: torch's options that it does not know.
        counts: whether torch's own counts its updates.

    Raises:
        CannotStack: an option of torch's that is not among ours.
    """

    moments: ClassVar[dict[str, str]]
    odd: ClassVar[tuple[str, ...]] = ("maximize", "differentiable")
    counts: ClassVar[bool] = True

    def __init__(
        self, alone: Sequence[optim.Optimizer], weights: Tensor, gradients: Tensor, places: Places
    ) -> None:
        self.weights, self.gradients, self.places = weights, gradients, places
        self.optimizers = list(alone)
        self.made = torch.zeros(len(alone), device=weights.device)
        self.steps = list(self.made)
        self.states = {name: torch.zeros_like(weights) for name in self.moments}
        for row, optimizer in enumerate(alone):
            self.take(row, optimizer)

    @torch.no_grad()
    def take(self, row: int, optimizer: optim.Optimizer) -> None:
        """Let a row be an optimizer's: go on from its state, which it holds as views from now on, with
        its settings.
        """
        (group,) = optimizer.param_groups
        if wrong := [name for name in self.odd if group.get(name)]:
            raise CannotStack(f"an optimizer with {' and '.join(wrong)}")
        self.optimizers[row] = optimizer
        self.steps[row].zero_()
        for state in self.states.values():
            state[row].zero_()
        for parameter, (start, shape) in zip(group["params"], self.places, strict=True):
            known = optimizer.state.get(parameter, {})
            if "step" in known:
                self.steps[row].fill_(float(known["step"]))
            for name, state in self.states.items():
                if known.get(name) is not None:
                    state[row, start : start + shape.numel()].view(shape).copy_(known[name])
        if optimizer.state:
            self.give(row)
        self.read_settings()

    def read_settings(self) -> None:
        """Take each row's settings as its own optimizer has them now."""
        self._columns: dict[str, float | Tensor] = {}
        self._alike = [
            (
                settings,
                [
                    [tensor[row] for row in rows]
                    for tensor in (self.weights, self.gradients, *self.states.values())
                ],
                [self.steps[row] for row in rows],
            )
            for settings, rows in self._by_settings()
        ]

    def give(self, row: int) -> None:
        """Have a row's own optimizer hold the state that it would have alone, as views."""
        optimizer = self.optimizers[row]
        (group,) = optimizer.param_groups
        for parameter, (start, shape) in zip(group["params"], self.places, strict=True):
            held: dict[str, Tensor] = {"step": self.steps[row].clone()} if self.counts else {}
            for name, option in self.moments.items():
                if not option or group[option] > 0:
                    state = self.states[name][row, start : start + shape.numel()]
                    held[name] = state.view(shape)
            if held:
                optimizer.state[parameter] = held

    def step(self) -> None:
        """Update all weights."""
        raise NotImplementedError

    def column(self, option: str) -> float | Tensor:
        """An option of each row: a number where all are alike, otherwise [K, 1]."""
        if option not in self._columns:
            each = [float(optimizer.param_groups[0][option]) for optimizer in self.optimizers]
            alike = len(set(each)) == 1
            column = self.weights.new_tensor(each).unsqueeze(1)
            self._columns[option] = each[0] if alike else column
        return self._columns[option]

    def _by_settings(self) -> Iterator[tuple[dict[str, Any], list[int]]]:
        """Settings, and the rows that have them."""
        rows, groups = defaultdict(list), {}
        for row, optimizer in enumerate(self.optimizers):
            settings = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
            key = repr(settings)
            rows[key].append(row)
            groups[key] = settings
        return ((groups[key], held) for key, held in rows.items())


class Adam(StackedOptimizer):
    """Adam and AdamW: torch's fused kernel, once for all rows of the same settings."""

    moments: ClassVar[dict[str, str]] = {"exp_avg": "", "exp_avg_sq": ""}
    odd = ("maximize", "differentiable", "amsgrad", "capturable")

    @torch.no_grad()
    def step(self) -> None:
        """Update all weights."""
        self.made += 1
        for settings, rows, steps in self._alike:
            decoupled = settings["decoupled_weight_decay"]
            rule: Any = torch._fused_adamw_ if decoupled else torch._fused_adam_
            beta1, beta2 = settings["betas"]
            rule(
                *rows,
                [],
                steps,
                amsgrad=False,
                lr=settings["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=settings["weight_decay"],
                eps=settings["eps"],
                maximize=False,
            )


class RMSprop(StackedOptimizer):
    """RMSprop: s = alpha s + (1 - alpha) g^2; w = w - lr g / (sqrt(s) + eps)."""

    moments: ClassVar[dict[str, str]] = {"square_avg": ""}
    odd = ("maximize", "differentiable", "centered", "momentum", "weight_decay", "capturable")

    @torch.no_grad()
    def step(self) -> None:
        """Update all weights."""
        self.made += 1
        square, alpha, gradient = self.states["square_avg"], self.column("alpha"), self.gradients
        square.mul_(alpha).add_(gradient.square().mul_(1 - alpha))
        spread = square.sqrt().add_(self.column("eps"))
        self.weights.sub_(torch.div(gradient, spread, out=spread).mul_(self.column("lr")))


class SGD(StackedOptimizer):
    """Gradient descent: b = momentum b + g; w = w - lr b."""

    moments: ClassVar[dict[str, str]] = {"momentum_buffer": "momentum"}
    odd = ("maximize", "differentiable", "nesterov", "dampening", "weight_decay")
    counts = False

    @torch.no_grad()
    def step(self) -> None:
        """Update all weights."""
        momentum, direction = self.column("momentum"), self.gradients
        if isinstance(momentum, Tensor) or momentum:
            direction = self.states["momentum_buffer"].mul_(momentum).add_(direction)
        self.weights.sub_(direction * self.column("lr"))


RULES: dict[type[optim.Optimizer], type[StackedOptimizer]] = {
    optim.Adam: Adam,
    optim.AdamW: Adam,
    optim.RMSprop: RMSprop,
    optim.SGD: SGD,
    optimizers.Adam: Adam,
    optimizers.AdamW: Adam,
    optimizers.RMSprop: RMSprop,
    optimizers.SGD: SGD,
}


def rule_of(optimizer: optim.Optimizer) -> type[StackedOptimizer]:
    """How optimizers of a kind are stacked; raises `CannotStack` where there is no way."""
    if type(optimizer) not in RULES or len(optimizer.param_groups) != 1:
        raise CannotStack(f"an optimizer {type(optimizer).__qualname__}")
    return RULES[type(optimizer)]


def places(parameters: Iterable[nn.Parameter]) -> tuple[list[tuple[int, torch.Size]], int]:
    """Where parameters of a network lie in a row, and how long it is; each begins at a cache line."""
    found, end = [], 0
    for parameter in parameters:
        found.append((end, parameter.shape))
        end += -(-parameter.numel() // LINE) * LINE
    return found, end


def by_parameter(flat: Tensor, where: Places) -> list[Tensor]:
    """Views of rows [K, P] by parameter, each [K, ...]."""
    count = len(flat)
    return [flat[:, start : start + shape.numel()].view(count, *shape) for start, shape in where]

"""The rules of optimizers as functions, for K networks at once, each with its own settings.

They are those of `gansearch.training.stacked.optimizers`, and so torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from gansearch.training.stacked.optimizers import SGD, Adam, RMSprop, StackedOptimizer

Settings = Mapping[str, Tensor]
"""Option -> its value for each network, float64 [K, 1]."""

States = Mapping[str, Tensor]
"""What an optimizer remembers, by torch's name, each [K, P]; `step`: updates made, float64 [K, 1]."""

Rule = Callable[[Tensor, Tensor, States, Settings], Tensor]
"""Weights and gradients [K, P] -> new weights; states are changed in place."""


def adam(weights: Tensor, gradients: Tensor, states: States, settings: Settings) -> Tensor:
    """Adam."""
    states["step"].add_(1)
    rate, first, second = settings["lr"], settings["beta1"], settings["beta2"]
    mean, square = states["exp_avg"], states["exp_avg_sq"]
    mean.lerp_(gradients, _as(1 - first, weights))
    square.mul_(_as(second, weights)).add_(_as(1 - second, weights) * gradients.square())
    # In float64, for 1 - 0.999 has but four digits in float32.
    pace = rate / (1 - first.pow(states["step"]))
    length = (1 - second.pow(states["step"])).sqrt()
    spread = square.sqrt() / _as(length, weights) + _as(settings["eps"], weights)
    return weights - _as(pace, weights) * mean / spread


def adamw(weights: Tensor, gradients: Tensor, states: States, settings: Settings) -> Tensor:
    """Adam with decoupled weight decay."""
    kept = 1 - settings["lr"] * settings["weight_decay"]
    return adam(weights * _as(kept, weights), gradients, states, settings)


def rmsprop(weights: Tensor, gradients: Tensor, states: States, settings: Settings) -> Tensor:
    """RMSprop."""
    states["step"].add_(1)
    square, kept = states["square_avg"], settings["alpha"]
    square.mul_(_as(kept, weights)).add_(_as(1 - kept, weights) * gradients.square())
    spread = square.sqrt() + _as(settings["eps"], weights)
    return weights - _as(settings["lr"], weights) * gradients / spread


def sgd(weights: Tensor, gradients: Tensor, states: States, settings: Settings) -> Tensor:
    """Gradient descent, with momentum."""
    direction = states["momentum_buffer"]
    direction.mul_(_as(settings["momentum"], weights)).add_(gradients)
    return weights - _as(settings["lr"], weights) * direction


def plain_sgd(weights: Tensor, gradients: Tensor, states: States, settings: Settings) -> Tensor:  # noqa: ARG001
    """Gradient descent where no network has momentum."""
    return weights - _as(settings["lr"], weights) * gradients


def rule_of(optimizer: StackedOptimizer) -> Rule:
    """The rule of an optimizer."""
    groups = [alone.param_groups[0] for alone in optimizer.optimizers]
    if isinstance(optimizer, Adam):
        return adamw if groups[0]["decoupled_weight_decay"] else adam
    if isinstance(optimizer, RMSprop):
        return rmsprop
    assert isinstance(optimizer, SGD)
    return sgd if any(group["momentum"] for group in groups) else plain_sgd


OPTIONS: dict[Rule, tuple[str, ...]] = {
    adam: ("lr", "eps", "beta1", "beta2"),
    adamw: ("lr", "eps", "beta1", "beta2", "weight_decay"),
    rmsprop: ("lr", "alpha", "eps"),
    sgd: ("lr", "momentum"),
    plain_sgd: ("lr",),
}
"""What a rule reads of its settings."""


def setting(optimizer: torch.optim.Optimizer, option: str) -> float:
    """A setting of one network's own optimizer."""
    (group,) = optimizer.param_groups
    if option in ("beta1", "beta2"):
        return float(group["betas"][option == "beta2"])
    return float(group[option])


def _as(column: Tensor, weights: Tensor) -> Tensor:
    return column.to(weights.dtype)

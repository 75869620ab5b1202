"""An optimizer goes on from its state to the bit."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn, optim

from gansearch.training.randomness import seed_everything


def check_optimizer(factory: Callable[[Iterable[nn.Parameter]], optim.Optimizer]) -> None:
    """An optimizer: takes every parameter, descends, goes on exactly from its state, hides no NaN."""
    parameters = _parameters()
    optimizer = factory(iter(parameters))  # as `network.parameters()` is: to be read once
    assert isinstance(optimizer, optim.Optimizer), f"{optimizer!r} is no torch.optim.Optimizer"
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in parameters}, "it must take every parameter, once"
    assert all("lr" in group for group in optimizer.param_groups), "its groups must have a key 'lr'"

    begun = _loss(parameters).item()
    _descend(optimizer, parameters, 50)
    assert all(p.isfinite().all() for p in parameters), "a parameter is not finite after 50 steps"
    assert _loss(parameters).item() < begun, "50 steps do not lower a loss that is a bowl"

    twins = _parameters()
    seed_everything(7)
    twin = factory(iter(twins))
    _descend(twin, twins, 25)
    state = _stored(twin.state_dict())
    resumed = factory(iter(twins))
    resumed.load_state_dict(state)
    _descend(resumed, twins, 25)
    for parameter, other in zip(parameters, twins, strict=True):
        assert torch.equal(parameter, other), (
            "25 steps, a state_dict and 25 more must be 50 steps to the last bit"
        )

    parameters[0].grad = torch.full_like(parameters[0], math.nan)
    for parameter in parameters[1:]:
        parameter.grad = None  # of a part of the network that the loss did not reach
    optimizer.step()
    assert not parameters[0].isfinite().all(), (
        "a gradient of NaN must show in the weights: a study is to see that training diverged"
    )


def _parameters() -> list[nn.Parameter]:
    draws = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(*shape, generator=draws)) for shape in ((4, 3), (5,), (1, 2, 2))]


def _loss(parameters: list[nn.Parameter]) -> Tensor:
    return torch.stack([(parameter - 3).square().sum() for parameter in parameters]).sum()


def _descend(optimizer: optim.Optimizer, parameters: list[nn.Parameter], steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        _loss(parameters).backward()
        optimizer.step()


def _stored(state: dict[str, Any]) -> Any:
    """A state as a checkpoint gives it back; raises `AssertionError` where it does not."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    try:
        return torch.load(file, weights_only=True)
    except Exception as error:
        raise AssertionError(f"its state_dict cannot be read from a checkpoint: {error}") from error

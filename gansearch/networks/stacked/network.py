"""Whole networks stacked."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from gansearch.networks.blocks import BatchSpread
from gansearch.networks.classes import Layers
from gansearch.networks.stacked.batch_norm import BatchNorm
from gansearch.networks.stacked.convolution import SpectralConvolution
from gansearch.networks.stacked.layers import CannotStack, PerChannel, stacked_layer
from gansearch.networks.stacked.linear import Linear, stacked_parameter
from gansearch.networks.stacked.oddities import oddity
from gansearch.networks.stacked.row import OwnLayer, Row


class StackedNetwork(nn.Module):
    """K networks as one; called as one of them, with [K, B, ...] for each [B, ...].

    Args:
        networks: alone, of one architecture; they stay as they are.

    Raises:
        CannotStack: they cannot be, in words.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        if reason := why_not(type(networks[0])):
            raise CannotStack(reason)
        if odd := oddity(networks[0]):
            raise CannotStack(odd)
        self.network = _replaced(networks)
        layers = list(self.network.modules())
        self._own = [layer for layer in layers if isinstance(layer, OwnLayer)]
        self._by_pass = [layer for layer in layers if isinstance(layer, Linear | PerChannel)]
        one_by_one = BatchNorm | SpectralConvolution | BatchSpread
        self.takes_turns = any(isinstance(layer, one_by_one) for layer in layers)
        """Whether batches must come in turn: samples of one see each other, or weights are divided anew
        for each.
        """

    def forward(self, *inputs: Tensor) -> Tensor:
        """What a network takes, each [K, B, ...] -> [K, B, ...]."""
        outputs: Tensor = self.network(*inputs)
        return outputs

    def in_turn(self, count: int) -> AbstractContextManager[None]:
        """See `in_turn`. Not for networks that take turns."""
        return in_turn(self._by_pass, count)

    def differentiable_twice(self, *inputs: Tensor) -> Tensor:
        """Do what `forward` does, for a gradient that is differentiated again, or under autocast."""
        for layer in self._own:
            layer.own_backward = False
        try:
            return self.forward(*inputs)
        finally:
            for layer in self._own:
                layer.own_backward = True


@contextmanager
def in_turn(layers: Iterable[nn.Module], count: int) -> Iterator[None]:
    """While it is open, a stacked network of these layers is given so many batches behind one another,
    [K, count * B, ...], that it would have seen in turn.
    """
    by_pass = [layer for layer in layers if isinstance(layer, Linear | PerChannel)]
    for layer in by_pass:
        layer.passes = count
    try:
        yield
    finally:
        for layer in by_pass:
            layer.passes = 1


def why_not(network: Callable[..., Any]) -> str:
    """Why networks of a kind cannot be stacked; empty where they say that they can."""
    if getattr(network, "stacks", False):
        return ""
    name = f"{network.__module__}.{getattr(network, '__qualname__', network)}"
    return f"{name} does not say that it stacks"


def _replaced(networks: Sequence[nn.Module]) -> nn.Module:
    """A copy of the first network in which layers are those of all."""
    first = networks[0]
    memo: dict[int, Any] = {}
    for name, module in first.named_modules():
        if "." in name and any(_is_layer(first, above) for above in _above(name)):
            continue
        if module is first:
            continue
        stacked = stacked_layer([network.get_submodule(name) for network in networks])
        if stacked is not None:
            memo[id(module)] = stacked
    replaced = copy.deepcopy(first, memo)
    _stack_own(replaced, networks)
    _join_activations(replaced)
    _join_rows(replaced)
    replaced._forward_hooks.clear()  # they look at what a network alone returns
    return replaced


def _stack_own(replaced: nn.Module, networks: Sequence[nn.Module]) -> None:
    """Have containers' own parameters and buffers be those of all networks, [K, ...]."""
    for name, module in networks[0].named_modules():
        if not getattr(type(module), "stacks", False):
            continue
        container, alone = replaced.get_submodule(name), [n.get_submodule(name) for n in networks]
        for kind in ("_parameters", "_buffers"):
            for own, tensor in getattr(module, kind).items():
                each = [getattr(one, own) for one in alone]
                if tensor is not None:
                    joined = stacked_parameter(each) if kind == "_parameters" else torch.stack(each)
                    getattr(container, kind)[own] = joined


def _join_activations(network: nn.Module) -> None:
    """Have layers in a row do the leaky ReLU that stands behind them with their own work; not those
    that stand in several places, behind which may be something else.
    """
    stand = Counter(id(each) for above in network.modules() for each in above._modules.values())
    for row in network.modules():
        if type(row).forward not in (nn.Sequential.forward, Layers.forward):
            continue
        for (_, layer), (name, behind) in pairwise(_places(row)):
            slope = 0.0 if isinstance(behind, nn.ReLU) else getattr(behind, "negative_slope", None)
            if hasattr(layer, "slope") and slope is not None and slope >= 0 and stand[id(layer)] == 1:
                layer.slope = slope  # type: ignore[assignment]
                row._modules[name] = nn.Identity()


def _join_rows(network: nn.Module) -> None:
    """Have neighbours in a row that compute their own gradients do so as one."""
    for above in list(network.modules()):
        for name, row in above.named_children():
            if type(row) in (nn.Sequential, Layers):
                above._modules[name] = Row(OrderedDict(_places(row)))


def _places(row: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules of a row by name; one that stands in it twice, twice, as `named_children` has not."""
    return [(name, module) for name, module in row._modules.items() if module is not None]


def _above(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))


def _is_layer(network: nn.Module, name: str) -> bool:
    module = network.get_submodule(name)
    return hasattr(module, "parametrizations") or not list(module.children())


def stack(networks: Sequence[nn.Module]) -> StackedNetwork:
    """K networks of one architecture as one, on a leading axis."""
    return StackedNetwork(networks)


SPECTRAL = {
    ".parametrizations.weight.original": ".weight",
    ".parametrizations.weight.0.u": ".u",
    ".parametrizations.weight.0.v": ".v",
}


def stacked_name(name: str) -> str:
    """What a parameter or buffer of a network alone is called in the stacked one."""
    for alone, stacked in SPECTRAL.items():
        if name.endswith(alone):
            return name.removesuffix(alone) + stacked
    return name

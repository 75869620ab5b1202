"""The stacked counterparts of layers, by type."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gansearch.networks.stacked.batch_norm import BatchNorm
from gansearch.networks.stacked.convolution import (
    Convolution,
    PerMap,
    SpectralConvolution,
    apart,
    joined,
)
from gansearch.networks.stacked.linear import (
    Linear,
    SpectralLinear,
    is_spectral,
    stacked_parameter,
)

Layers = Sequence[nn.Module]

MAPS = 5
"""Axes of maps: K, B, C, H, W."""


class CannotStack(Exception):
    """A network that cannot be stacked, and why."""


class PerChannel(nn.Module):
    """K scales and shifts, [K, C], behind a normalisation within each sample that has none.

    Args:
        layers: alone, `GroupNorm` or `LayerNorm` of one shape.

    Attributes:
        passes: how many batches are behind one another: see `Linear`.
    """

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.passes = 1
        self.own = copy.deepcopy(layers[0])
        self.own.weight = self.own.bias = None  # type: ignore[assignment]
        weights, biases = ([getattr(layer, name) for layer in layers] for name in ("weight", "bias"))
        self.weight = None if weights[0] is None else stacked_parameter(weights)
        self.bias = None if biases[0] is None else stacked_parameter(biases)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [K, B, C, ...] or [K, B, ..., C] -> the same shape."""
        if isinstance(self.own, nn.GroupNorm) and inputs.dim() == MAPS:
            return self._of_maps(inputs, self.own)
        outputs: Tensor = self.own(inputs.flatten(0, 1)).view(inputs.shape)
        outputs = outputs.unflatten(1, (self.passes, -1))
        if self.weight is not None:
            outputs = outputs * self._spread(self.weight, inputs)
        if self.bias is not None:
            outputs = outputs + self._spread(self.bias, inputs)
        return outputs.flatten(1, 2)

    def _of_maps(self, inputs: Tensor, own: nn.GroupNorm) -> Tensor:
        """Normalise the K networks' groups as those of one network with K times as many channels."""
        count = len(inputs)
        scale, shift = (None if each is None else each.flatten() for each in (self.weight, self.bias))
        groups = own.num_groups * count
        return apart(nn.functional.group_norm(joined(inputs), groups, scale, shift, own.eps), count)

    def _spread(self, each: Tensor, inputs: Tensor) -> Tensor:
        """A parameter [K, ...] as one for each pass of inputs [K, B, ...]."""
        count, inner = len(each), inputs.dim() - 2
        if isinstance(self.own, nn.GroupNorm):
            shape = (count, 1, 1, -1, *[1] * (inner - 1))
        else:
            own = each.shape[1:]
            shape = (count, 1, 1, *[1] * (inner - len(own)), *own)
        return each.view(shape).expand(-1, self.passes, *[-1] * (inner + 1))


class Embedding(nn.Module):
    """K tables of N rows: classes [K, ...] -> [K, ..., D].

    Args:
        layers: alone, of one shape.
    """

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.weight = stacked_parameter([layer.weight for layer in layers])  # type: ignore[misc]

    def forward(self, labels: Tensor) -> Tensor:
        """Labels [K, ...] -> [K, ..., D]."""
        count, rows, width = self.weight.shape
        first = rows * torch.arange(count, device=labels.device)
        own = labels + first.view(-1, *[1] * (labels.dim() - 1))
        return nn.functional.embedding(own, self.weight.reshape(-1, width))


def _linear(layers: Sequence[Any]) -> nn.Module:
    if is_spectral(layers[0]):
        return SpectralLinear(layers)
    if hasattr(layers[0], "parametrizations"):
        raise CannotStack("a parametrized weight other than norm: spectral")
    return Linear(layers)


def _convolution(layers: Sequence[Any]) -> nn.Module:
    first = layers[0]
    if first.padding_mode != "zeros":
        raise CannotStack(f"a convolution with padding_mode {first.padding_mode}")
    if is_spectral(first):
        return SpectralConvolution(layers)
    if hasattr(first, "parametrizations"):
        raise CannotStack("a parametrized weight other than norm: spectral")
    return Convolution(layers)


def _embedding(layers: Sequence[Any]) -> nn.Module:
    first = layers[0]
    if first.padding_idx is not None or first.max_norm is not None or first.scale_grad_by_freq:
        raise CannotStack("an embedding with a padding_idx, max_norm or scale_grad_by_freq")
    return Embedding(layers)


def _flatten(layers: Sequence[Any]) -> nn.Module:
    start, end = layers[0].start_dim, layers[0].end_dim
    return nn.Flatten(start if start < 0 else start + 1, end if end < 0 else end + 1)


def _unflatten(layers: Sequence[Any]) -> nn.Module:
    dim = layers[0].dim
    return nn.Unflatten(dim if dim < 0 else dim + 1, layers[0].unflattened_size)


def _alike(layers: Layers) -> nn.Module:
    """Of a layer that works on each number by itself; never in place, for others' backward passes may
    need what it is given.
    """
    layer = copy.deepcopy(layers[0])
    if hasattr(layer, "inplace"):
        layer.inplace = False  # type: ignore[assignment]
    return layer


STACKERS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.ConvTranspose2d: _convolution,
    nn.BatchNorm1d: BatchNorm,
    nn.BatchNorm2d: BatchNorm,
    nn.GroupNorm: PerChannel,
    nn.LayerNorm: PerChannel,
    nn.Embedding: _embedding,
    nn.Flatten: _flatten,
    nn.Unflatten: _unflatten,
    **dict.fromkeys(
        (
            nn.AvgPool2d,
            nn.MaxPool2d,
            nn.AdaptiveAvgPool2d,
            nn.Upsample,
            nn.ZeroPad2d,
            nn.ReflectionPad2d,
        ),
        PerMap,
    ),
    **dict.fromkeys(
        (
            nn.ReLU,
            nn.LeakyReLU,
            nn.ELU,
            nn.SELU,
            nn.GELU,
            nn.SiLU,
            nn.Mish,
            nn.Tanh,
            nn.Sigmoid,
            nn.Softplus,
            nn.Hardtanh,
            nn.ReLU6,
            nn.Identity,
        ),
        _alike,
    ),
}
"""What stacks layers of a type. One that draws random numbers, as dropout, is not among them: each
training has its own.
"""


def stacked_layer(layers: Layers) -> nn.Module | None:
    """The counterpart of layers of one type; None for a container, whose parts are stacked one by one,
    and whose own tensors are where it says that it `stacks`.

    Raises:
        CannotStack: there is none.
    """
    kind = type(layers[0])
    original = kind.__mro__[1] if hasattr(layers[0], "parametrizations") else kind
    if original in STACKERS:
        return STACKERS[original](layers)
    first = layers[0]
    own = [*first.parameters(recurse=False), *first.buffers(recurse=False)]
    contains = list(first.children()) or isinstance(first, nn.Sequential)  # which may hold nothing
    if (own or not contains) and not getattr(kind, "stacks", False):
        raise CannotStack(f"a layer {kind.__module__}.{kind.__qualname__}")
    return None

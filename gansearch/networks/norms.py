"""Normalisation by name, and spectral normalisation that `torch.func` can stack.

`batch`, `layer` and `none` act on activations and stand after a layer; `spectral` acts on the
weights of the layer itself.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

GeneratorNorm = Literal["batch", "none"]
DiscriminatorNorm = Literal["none", "batch", "layer", "spectral"]


def activation_norm(norm: DiscriminatorNorm, features: int, *, spatial: bool) -> list[nn.Module]:
    """The module to put after a layer of so many features, in a list; none for most names."""
    if norm == "batch":
        return [nn.BatchNorm2d(features) if spatial else nn.BatchNorm1d(features)]
    if norm == "layer":
        # One group over channels and pixels is layer norm, whatever the size of the map.
        return [nn.GroupNorm(1, features)]
    return []


def spectral_norm(network: nn.Module) -> None:
    """Divide the weight of every linear and convolutional layer by its largest singular value.

    Call it on a network that is already initialised: the power iteration starts from its weights.
    """
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d):
            register_parametrization(layer, "weight", SpectralNorm(layer.weight))


class SpectralNorm(nn.Module):
    """Miyato et al. 2018 (arXiv 1802.05957), algorithm 1: weight / sigma(weight).

    One step of power iteration for each forward pass in training mode, none in evaluation. Torch's
    own version writes its vectors with `out=`, which `torch.func.vmap` refuses; this one copies
    them, so that networks stacked by `torch.func.stack_module_state` each keep their own.

    On the meta device, where a network is built only to see whether it can be, there is nothing to
    compute, and torch would load its compiler (2 s) for it.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, *, warm_up: int = 15, eps: float = 1e-12) -> None:
        super().__init__()
        self.eps = eps
        rows, columns = weight.flatten(1).shape
        self.register_buffer("u", _normal(weight.new_empty(rows)))
        self.register_buffer("v", _normal(weight.new_empty(columns)))
        for _ in range(0 if weight.is_meta else warm_up):
            self._iterate(weight.detach().flatten(1))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight [out, ...] scaled to a largest singular value of about 1."""
        if weight.is_meta:
            return weight
        with _full_precision(weight.device.type):
            matrix = weight.flatten(1)
            if self.training:
                u, v = self._iterate(matrix.detach())
            else:
                u, v = self.u, self.v
            # Not torch.dot: under autocast the two may differ in precision, which it refuses.
            return weight / (u * torch.mv(matrix, v)).sum()

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        v = nn.functional.normalize(torch.mv(matrix.T, self.u), dim=0, eps=self.eps)
        u = nn.functional.normalize(torch.mv(matrix, v), dim=0, eps=self.eps)
        # The fresh vectors go into the graph and their copies into the buffers, so that a second
        # forward pass before the backward one overwrites nothing that autograd still needs.
        self.u.copy_(u)
        self.v.copy_(v)
        return u, v


def _normal(vector: Tensor) -> Tensor:
    """A vector filled with normal numbers."""
    return vector if vector.is_meta else vector.normal_()


def _full_precision(device_type: str) -> AbstractContextManager[Any]:
    """Out of an autocast: on a GPU it has `torch.mv` round the singular value to bfloat16."""
    known = torch.amp.is_autocast_available(device_type)  # the meta device has none
    if known and torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()

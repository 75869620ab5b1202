"""Normalisation by name, and spectral normalisation that `torch.func` can stack.

`spectral` acts on the weights of a layer itself, and stands beside no other; all others act on
activations and stand after a layer: `batch` (Ioffe and Szegedy 2015, arXiv 1502.03167),
`conditional-batch` (Dumoulin et al. 2017, arXiv 1610.07629), `layer` (Ba et al. 2016, arXiv
1607.06450), `group` (Wu and He 2018, arXiv 1803.08494), `instance` (Ulyanov et al. 2016, arXiv
1607.08022).
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

GeneratorNorm = Literal["batch", "none", "conditional-batch", "layer", "group", "instance", "spectral"]
DiscriminatorNorm = Literal["none", "batch", "layer", "spectral", "group", "instance"]

FlatGeneratorNorm = Literal["batch", "none", "conditional-batch", "layer", "group", "spectral"]
FlatDiscriminatorNorm = Literal["none", "batch", "layer", "spectral", "group"]
"""Norms of networks without feature maps; `instance` over a single number would leave nothing."""

GROUPS = 32
"""Of `group`, as its paper has it; fewer where they do not divide the features."""

GROUPED = 16
"""Features of a group without maps, at least, which is the paper's other setting: of a single number
nothing would be left, and of two which is the larger.
"""


def activation_norm(
    norm: GeneratorNorm | DiscriminatorNorm, features: int, *, spatial: bool, classes: int = 0
) -> list[nn.Module]:
    """The module to put after a layer of so many features, in a list; none for `none`, `spectral`.

    Args:
        norm: its name.
        features: of the layer.
        spatial: whether they are maps.
        classes: of `conditional-batch`: how many.
    """
    if norm == "batch":
        return [nn.BatchNorm2d(features) if spatial else nn.BatchNorm1d(features)]
    if norm == "conditional-batch":
        return [ConditionalBatchNorm(features, classes, spatial=spatial)]
    if norm == "layer":
        # One group over channels and pixels is layer norm, whatever the size of the map.
        return [nn.GroupNorm(1, features)]
    if norm == "group":
        groups = math.gcd(GROUPS, features)
        while not spatial and groups > 1 and features // groups < GROUPED:
            groups //= 2  # it is a power of two
        return [nn.GroupNorm(groups, features)]
    if norm == "instance":
        return [nn.GroupNorm(features, features)]
    return []


def biased(norm: str) -> bool:
    """Whether a layer in front of a norm has a bias of its own: the mean of a batch takes it away."""
    return norm not in ("batch", "conditional-batch")


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose scale and shift are the class's (Dumoulin et al. 2017, arXiv 1610.07629).

    Args:
        features: of its inputs.
        classes: how many.
        spatial: whether the inputs are maps.
    """

    told: ClassVar[bool] = True

    def __init__(self, features: int, classes: int, *, spatial: bool) -> None:
        super().__init__()
        kind = nn.BatchNorm2d if spatial else nn.BatchNorm1d
        self.norm = kind(features, affine=False)
        self.scale, self.shift = nn.Embedding(classes, features), nn.Embedding(classes, features)
        if not self.scale.weight.is_meta:
            nn.init.normal_(self.scale.weight, 1.0, 0.02)  # or all classes would begin alike
            nn.init.zeros_(self.shift.weight)

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        """Inputs [B, F, ...], and labels [B] -> normalised, [B, F, ...]."""
        assert labels is not None
        normed: Tensor = self.norm(inputs)
        shape = (*labels.shape, -1, *[1] * (normed.dim() - labels.dim() - 1))
        scale, shift = self.scale(labels).view(shape), self.shift(labels).view(shape)
        return torch.addcmul(shift, normed, scale)


def spectral_norm(network: nn.Module) -> None:
    """Divide the weight of every linear and convolutional layer by its largest singular value.

    Call it on a network that is already initialised: the power iteration starts from its weights.
    """
    for layer in list(network.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            turned = isinstance(layer, nn.ConvTranspose2d)  # its weight is [in, out, ...]
            register_parametrization(layer, "weight", SpectralNorm(layer.weight, turned=turned))


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

    def __init__(
        self, weight: Tensor, *, warm_up: int = 15, eps: float = 1e-12, turned: bool = False
    ) -> None:
        super().__init__()
        self.eps, self.turned = eps, turned
        rows, columns = self._matrix(weight).shape
        self.register_buffer("u", _normal(weight.new_empty(rows)))
        self.register_buffer("v", _normal(weight.new_empty(columns)))
        for _ in range(0 if weight.is_meta else warm_up):
            self._iterate(self._matrix(weight.detach()))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight [out, ...], or turned, scaled to a largest singular value of about 1."""
        if weight.is_meta:
            return weight
        with _full_precision(weight.device.type):
            matrix = self._matrix(weight)
            if self.training:
                u, v = self._iterate(matrix.detach())
            else:
                u, v = self.u, self.v
            # Not torch.dot: under autocast the two may differ in precision, which it refuses.
            return weight / (u * torch.mv(matrix, v)).sum()

    def _matrix(self, weight: Tensor) -> Tensor:
        """The weight as a matrix of a row for each output."""
        return (weight.transpose(0, 1) if self.turned else weight).flatten(1)

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

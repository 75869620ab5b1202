"""Convolutions of K networks: one of K groups, each group a network's own channels.

Between such layers maps [K, B, C, H, W] lie in memory as [B, H, W, K, C]: those of one network with
K x C channels, channels last, in which a grouped convolution of few channels is fastest on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gansearch.networks.stacked.linear import (
    length,
    original_weight,
    spectral_of,
    stacked_parameter,
)


def joined(maps: Tensor) -> Tensor:
    """Maps [K, B, C, H, W] as those of one network, [B, K * C, H, W] with channels last; a view where
    they lie so already.
    """
    count, batch, channels, height, width = maps.shape
    rows = maps.permute(1, 3, 4, 0, 2).reshape(batch, height, width, count * channels)
    # Of one channel a view would do, in which all that follows would lie as in no other pass.
    return rows.contiguous().permute(0, 3, 1, 2)


def apart(maps: Tensor, count: int) -> Tensor:
    """Maps [B, K * C, H, W] as those of K networks, a view [K, B, C, H, W]."""
    return maps.view(len(maps), count, -1, *maps.shape[2:]).transpose(0, 1)


class Convolution(nn.Module):
    """K convolutions or transposed ones: [K, B, C, H, W] -> [K, B, C', H', W'].

    Args:
        layers: alone, of one shape, `Conv2d` or `ConvTranspose2d`.

    Attributes:
        slope: of the leaky ReLU behind it, which it does too; None: there is none.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        first = layers[0]
        self.slope: float | None = None
        self.weight = stacked_parameter([original_weight(layer) for layer in layers])
        self.bias = None if first.bias is None else stacked_parameter([layer.bias for layer in layers])
        self.options: dict[str, Any] = {
            name: getattr(first, name) for name in ("stride", "padding", "dilation")
        }
        self.options["groups"] = first.groups * len(layers)
        self.convolve: Callable[..., Tensor] = nn.functional.conv2d
        if isinstance(first, nn.ConvTranspose2d):
            self.convolve = nn.functional.conv_transpose2d
            self.options["output_padding"] = first.output_padding

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [K, B, C, H, W] -> [K, B, C', H', W']."""
        bias = None if self.bias is None else self.bias.flatten()
        outputs = self.convolve(joined(maps), _filters(self.used()), bias, **self.options)
        if self.slope is not None:
            nn.functional.leaky_relu_(outputs, self.slope)
        return apart(outputs, len(self.weight))

    def used(self) -> Tensor:
        """The weights that it convolves with, [K, ...]."""
        return self.weight


class SpectralConvolution(Convolution):
    """K convolutions whose weights are divided by their largest singular values.

    The same power iteration as `gansearch.networks.norms.SpectralNorm`, once for each pass.

    Args:
        layers: alone, of one shape.
    """

    u: Tensor
    v: Tensor

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__(layers)
        norms = [spectral_of(layer) for layer in layers]
        self.eps, self.turned = norms[0].eps, norms[0].turned
        self.register_buffer("u", torch.stack([norm.u for norm in norms]))
        self.register_buffer("v", torch.stack([norm.v for norm in norms]))

    def used(self) -> Tensor:
        """The weights [K, ...], each network's scaled to a largest singular value of about 1."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = (self.weight.transpose(1, 2) if self.turned else self.weight).flatten(2)
            u, v = self._vectors(matrix.detach())
            sigma = (u * torch.bmm(v, matrix.mT)).sum((1, 2))
            return self.weight / sigma.view(-1, *[1] * (self.weight.dim() - 1))

    @torch.no_grad()
    def _vectors(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """Singular vectors [K, 1, out] and [K, 1, in] of matrices [K, out, in]."""
        u, v = self.u.unsqueeze(1), self.v.unsqueeze(1)
        if self.training:
            v = torch.bmm(u, matrix)
            v /= length(v, self.eps)
            u = torch.bmm(v, matrix.mT)
            u /= length(u, self.eps)
            self.u.copy_(u.squeeze(1))
            self.v.copy_(v.squeeze(1))
        return u, v


class PerMap(nn.Module):
    """A layer without weights that works on each map by itself: [K, B, C, ...] -> [K, B, C, ...].

    Args:
        layers: alone, alike.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.own, self.count = layers[0], len(layers)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [K, B, C, H, W] -> [K, B, C, H', W']."""
        return apart(self.own(joined(maps)), self.count)


def _filters(weights: Tensor) -> Tensor:
    """Weights [K, M, N, h, w] as those of one network, [K * M, N, h, w] with channels last."""
    return weights.permute(0, 1, 3, 4, 2).flatten(0, 1).permute(0, 3, 1, 2)

"""Batch norm of K networks: exactly that of K x C channels, each with its own batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gansearch.networks.stacked.convolution import apart, joined
from gansearch.networks.stacked.linear import stacked_parameter
from gansearch.networks.stacked.row import (
    Asked,
    Gradients,
    OwnLayer,
    activated,
    before_activation,
    into,
)


class BatchNorm(OwnLayer):
    """K batch norms: [K, B, C, ...] -> the same shape.

    Their own rule, of rows of numbers in training: a = f(y), y = w n + b, n = (x - mean) / s, s =
    sqrt(variance + eps), f a leaky ReLU or none. With dy = f'(y) da: db = sum of dy, dw = sum of n dy,
    dx = w / s (dy - (db + n dw) / B).

    Args:
        layers: alone, of one shape.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, layers: Sequence[_BatchNorm]) -> None:
        super().__init__()
        first = layers[0]
        self.eps, self.momentum = first.eps, first.momentum
        for name in ("weight", "bias"):
            each = [getattr(layer, name) for layer in layers]
            setattr(self, name, None if each[0] is None else stacked_parameter(each))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            each = [getattr(layer, name) for layer in layers]
            self.register_buffer(name, None if each[0] is None else torch.stack(each))

    def ready(self, inputs: Tensor) -> bool:
        """Whether the layer's own rule is for such inputs."""
        return (
            super().ready(inputs)
            and self.training
            and inputs.dim() == 3  # [K, B, C]
            and self.weight is not None
            and self.bias is not None
        )

    def plain(self, inputs: Tensor) -> Tensor:
        """Inputs [K, B, C, ...] -> the same shape, each channel to mean 0 and variance 1."""
        count, _, channels, *_ = inputs.shape
        weight, bias = self.weight, self.bias
        # As channels of one network: [B, K * C, ...].
        maps = inputs.dim() == 5
        wide = joined(inputs) if maps else inputs.transpose(0, 1).flatten(1, 2)
        counting = self.training or self.running_mean is None
        mean, variance = (
            None if each is None else each.detach().clone().reshape(-1)
            for each in (self.running_mean, self.running_var)
        )
        scale, shift = (None if p is None else p.reshape(-1) for p in (weight, bias))
        outputs = nn.functional.batch_norm(
            wide, mean, variance, scale, shift, counting, self._weight_of_this_batch(), self.eps
        )
        if self.training:
            for ours, moved in ((self.running_mean, mean), (self.running_var, variance)):
                if ours is not None and moved is not None:
                    ours.copy_(moved.view(count, channels))
            self._count()
        return activated(apart(outputs, count), self.slope)

    def push(self, inputs: Tensor, ours: bool) -> tuple[Tensor, list[Tensor]]:
        """See `OwnLayer`. (Torch's own `var_mean` over rows takes ten times as long as two sums.)"""
        assert self.weight is not None
        assert self.bias is not None
        rows = inputs.shape[1]
        mean = inputs.sum(1).div_(rows)
        centred = torch.sub(inputs, mean.unsqueeze(1), out=inputs if ours else None)
        variance = torch.linalg.vecdot(centred, centred, dim=1).div_(rows)
        inverse = (variance + self.eps).rsqrt_()
        scale = (self.weight * inverse).unsqueeze(1)
        outputs = torch.addcmul(self.bias.unsqueeze(1), centred, scale)
        self._follow(mean, variance, rows)
        if self.slope is None:
            return outputs, [centred, inverse, scale]
        nn.functional.leaky_relu_(outputs, self.slope)
        return outputs, [centred, inverse, scale, outputs]

    def pull(self, kept: Sequence[Tensor], gradient: Tensor, asked: Asked) -> Gradients:
        """See `OwnLayer`."""
        centred, inverse, scale, *outputs = kept
        ours = asked.ours or self.slope is not None
        if self.slope is not None:
            gradient = before_activation(gradient, outputs[0], self.slope, asked.ours)
        of_bias, product = gradient.sum(1), gradient * centred
        of_weight = product.sum(1).mul_(inverse)
        of_inputs = None
        if asked.inputs:
            # dx = scale (dy - (db + (x - mean) dw / s) / B)
            share = (of_weight * inverse).unsqueeze(1)
            mean = torch.addcmul(of_bias.unsqueeze(1), centred, share, out=product)
            of_inputs = torch.sub(
                gradient, mean, alpha=1 / centred.shape[1], out=gradient if ours else None
            )
            of_inputs *= scale
        if not asked.parameters:
            return Gradients(of_inputs, [None, None])
        assert self.weight is not None
        assert self.bias is not None
        stale = self.stale
        own = [into(self.weight, of_weight, stale), into(self.bias, of_bias, stale)]
        return Gradients(of_inputs, own)

    def _weight_of_this_batch(self) -> float:
        if self.momentum is not None:
            return self.momentum
        raise NotImplementedError("batch norm with momentum=None")

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, rows: int) -> None:
        """Move the running averages, [K, C], to a batch's; of the variance, the unbiased one."""
        if self.running_mean is None or self.running_var is None:
            return
        weight = self._weight_of_this_batch()
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance * (rows / (rows - 1)), weight)
        self._count()

    def _count(self) -> None:
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)

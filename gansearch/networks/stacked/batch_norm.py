"""Batch norm of K networks: exactly that of K x C channels, each with its own batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from gansearch.networks.stacked.convolution import apart, joined
from gansearch.networks.stacked.linear import activated, into, stacked_parameter


class BatchNorm(nn.Module):
    """K batch norms: [K, B, C, ...] -> the same shape.

    Args:
        layers: alone, of one shape.

    Attributes:
        slope: of the leaky ReLU behind it, which it does too; None: there is none.
        own_backward: whether gradients are computed by the layer's own rule, which is faster and can be
            differentiated but once.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(self, layers: Sequence[_BatchNorm]) -> None:
        super().__init__()
        first = layers[0]
        self.own_backward = True
        self.slope: float | None = None
        self.eps, self.momentum = first.eps, first.momentum
        for name in ("weight", "bias"):
            each = [getattr(layer, name) for layer in layers]
            setattr(self, name, None if each[0] is None else stacked_parameter(each))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            each = [getattr(layer, name) for layer in layers]
            self.register_buffer(name, None if each[0] is None else torch.stack(each))

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [K, B, C, ...] -> the same shape, each channel to mean 0 and variance 1."""
        count, _, channels, *_ = inputs.shape
        plain = inputs.dim() == 3 and inputs.dtype == torch.float32
        weight, bias = self.weight, self.bias
        if self.training and self.own_backward and plain and weight is not None and bias is not None:
            normal, of_batch, spread = _normalised(inputs, weight, bias, self.eps, self.slope)
            self._follow(of_batch, spread, inputs.shape[1])
            return normal
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


def _normalised(
    inputs: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs [K, B, C], means [K, C] and biased variances [K, C]."""
    found: tuple[Tensor, Tensor, Tensor]
    found = _Normalise.apply(inputs, weight, bias, eps, slope)
    return found


class _Normalise(torch.autograd.Function):
    """a = f(y), y = w (x - mean) / s + b, s = sqrt(variance + eps), over the rows of K batches; f a
    leaky ReLU or none.

    Backward, with n = (x - mean) / s: dw = sum of n dy, db = sum of dy,
    dx = w / s (dy - (db + n dw) / B). (Torch's own `var_mean` over rows takes ten times as
    long as two sums.)
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor, eps: float, slope: float | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean = inputs.mean(1)
        normal = inputs - mean.unsqueeze(1)
        variance = normal.square().mean(1)
        inverse = (variance + eps).rsqrt()
        normal *= inverse.unsqueeze(1)
        outputs = torch.addcmul(bias.unsqueeze(1), normal, weight.unsqueeze(1))
        if slope is not None:
            nn.functional.leaky_relu_(outputs, slope)
        ctx.save_for_backward(normal, inverse, weight, outputs)
        ctx.weight, ctx.bias, ctx.slope = weight, bias, slope
        ctx.mark_non_differentiable(mean, variance)
        return outputs, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        normal, inverse, weight, outputs = ctx.saved_tensors
        if ctx.slope is not None:
            gradient = torch.ops.aten.leaky_relu_backward(gradient, outputs, ctx.slope, True)
        of_bias, of_weight = gradient.sum(1), (gradient * normal).sum(1)
        rows = gradient.shape[1]
        of_inputs = None
        if ctx.needs_input_grad[0]:
            of_inputs = torch.addcmul(gradient, normal, of_weight.unsqueeze(1), value=-1 / rows)
            of_inputs -= (of_bias / rows).unsqueeze(1)
            of_inputs *= (weight * inverse).unsqueeze(1)
        _, for_weight, for_bias, *_ = ctx.needs_input_grad
        left = into(ctx.weight, of_weight) if for_weight else None
        return of_inputs, left, into(ctx.bias, of_bias) if for_bias else None, None, None

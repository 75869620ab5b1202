"""Linear layers of K networks: one batched product in place of K, and their backward pass likewise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from gansearch.networks.norms import SpectralNorm


class Linear(nn.Module):
    """K linear layers: [K, B, in] -> [K, B, out].

    Args:
        layers: alone, of one shape.

    Attributes:
        slope: of the leaky ReLU behind it, which it does too; None: there is none.
        own_backward: whether gradients are computed by the layer's own rule, which is faster and can be
            differentiated but once.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.own_backward = True
        self.slope: float | None = None
        self.weight = stacked_parameter([layer.weight for layer in layers])
        self.in_features, self.out_features = layers[0].in_features, layers[0].out_features
        has_bias = layers[0].bias is not None
        self.bias = stacked_parameter([layer.bias for layer in layers]) if has_bias else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [K, B, in] -> [K, B, out]."""
        if self.own_backward and inputs.dtype == torch.float32:
            return _linear(inputs, self.weight, self.bias, self.slope, None, None, None)
        if self.bias is None:
            return activated(torch.bmm(inputs, self.weight.mT), self.slope)
        outputs = torch.baddbmm(self.bias.unsqueeze(1), inputs, self.weight.mT)
        return activated(outputs, self.slope)


class SpectralLinear(nn.Module):
    """K linear layers whose weights are divided by their largest singular values.

    The same power iteration as `gansearch.networks.norms.SpectralNorm`, once for each pass; outputs are
    divided in place of weights, which is the same and less work. In two passes at once
    (`passes`) each has its own iteration, one after the other, as if the passes came in turn.

    Args:
        layers: alone, of one shape.
    """

    u: Tensor
    v: Tensor

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        norms = [spectral_of(layer) for layer in layers]
        self.eps, self.passes, self.own_backward = norms[0].eps, 1, True
        self.slope: float | None = None
        self.weight = stacked_parameter([original_weight(layer) for layer in layers])
        self.in_features, self.out_features = layers[0].in_features, layers[0].out_features
        has_bias = layers[0].bias is not None
        self.bias = stacked_parameter([layer.bias for layer in layers]) if has_bias else None
        self.register_buffer("u", torch.stack([norm.u for norm in norms]))
        self.register_buffer("v", torch.stack([norm.v for norm in norms]))

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [K, B, in] -> [K, B, out]; of P passes at once, [K, P * B, in] -> [K, P * B, out]."""
        if self.own_backward and inputs.dtype == torch.float32:
            u, v, sigma = self._singular()
            return _linear(inputs, self.weight, self.bias, self.slope, u, v, sigma)
        with torch.autocast(inputs.device.type, enabled=False):
            u, v, _ = self._singular()
            sigma = (u * torch.bmm(v, self.weight.mT)).sum(-1)  # now it follows the weights
        outputs = torch.bmm(inputs, self.weight.mT)
        kind, (count, rows, width) = outputs.dtype, outputs.shape
        outputs = outputs.float().view(count, self.passes, rows // self.passes, width)
        outputs = (outputs / sigma[..., None, None]).view(count, rows, width)
        outputs = outputs if self.bias is None else outputs + self.bias.unsqueeze(1)
        return activated(outputs.to(kind), self.slope)

    @torch.no_grad()
    def _singular(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of each pass: vectors [K, P, out] and [K, P, in], and the singular values [K, P]."""
        weight, us, vs, sigmas = self.weight, [], [], []
        u, v = self.u.unsqueeze(1), self.v.unsqueeze(1)
        if not self.training:
            return u, v, (u * torch.bmm(v, weight.mT)).sum(-1)
        for _ in range(self.passes):
            # Rows from the left, [K, 1, n] x [K, n, m]: many times as fast as columns from the right.
            v, _length = normalised(torch.bmm(u, weight), self.eps)
            u, sigma = normalised(torch.bmm(v, weight.mT), self.eps)  # u W v is the length of W v
            us.append(u)
            vs.append(v)
            sigmas.append(sigma)
        self.u.copy_(u.squeeze(1))
        self.v.copy_(v.squeeze(1))
        if self.passes == 1:
            return u, v, sigmas[0].squeeze(-1)
        return torch.cat(us, 1), torch.cat(vs, 1), torch.cat(sigmas, 1).squeeze(-1)


def normalised(rows: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Rows [K, 1, n] made 1 long, in place, and how long they were, [K, 1, 1]."""
    length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_min_(eps)
    return rows.div_(length), length


def activated(outputs: Tensor, slope: float | None) -> Tensor:
    """Outputs behind a leaky ReLU, or as they are."""
    return outputs if slope is None else nn.functional.leaky_relu(outputs, slope)


def _linear(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    slope: float | None,
    u: Tensor | None,
    v: Tensor | None,
    sigma: Tensor | None,
) -> Tensor:
    outputs: Tensor
    outputs = _Linear.apply(inputs, weight, bias, slope, u, v, sigma)
    return outputs


class _Linear(torch.autograd.Function):
    """a = f(y), y = x W^T / sigma + b of K layers, sigma = u W v of P passes, or 1; f a leaky ReLU, or
    none.

    Backward: with dy = f'(y) da and h = dy / sigma, dx = h W, dW = h^T x - sum over passes of
    <h, y - b> u v^T, db = sum of dy; and since f(y) = f'(y) y, <dy, y> is <da, a>. Where weights have
    a gradient already, the product itself adds to it, which saves two passes through memory.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        slope: float | None,
        u: Tensor | None,
        v: Tensor | None,
        sigma: Tensor | None,
    ) -> Tensor:
        ctx.weight, ctx.bias, ctx.slope, ctx.spectral = weight, bias, slope, sigma is not None
        if bias is None or sigma is not None:
            outputs = torch.bmm(inputs, weight.mT)
        else:
            outputs = torch.baddbmm(bias.unsqueeze(1), inputs, weight.mT)
        if sigma is not None:
            scaled, share = _by_pass(outputs, sigma), (1 / sigma)[..., None, None]
            if bias is None:
                scaled.mul_(share)
            else:
                torch.addcmul(bias[:, None, None], scaled, share, out=scaled)
        if slope is not None:
            nn.functional.leaky_relu_(outputs, slope)
        ctx.save_for_backward(inputs, weight, outputs, *(() if sigma is None else (u, v, sigma)))
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, outputs, *spectral = ctx.saved_tensors
        for_inputs, for_weight, for_bias, *_ = ctx.needs_input_grad
        inner = gradient
        if ctx.slope is not None:
            inner = torch.ops.aten.leaky_relu_backward(gradient, outputs, ctx.slope, True)
        of_weight = of_bias = None
        if spectral:
            u, v, sigma = spectral
            share = (1 / sigma)[..., None, None]
            inner = (_by_pass(inner, sigma) * share).view(inner.shape)
        if for_weight:
            of_weight = _product_into(ctx.weight, inner, inputs)
        if for_weight and spectral:
            slope = (_by_pass(gradient, sigma) * _by_pass(outputs, sigma)).sum((-2, -1)) / sigma
            if ctx.bias is not None:
                summed = _by_pass(inner, sigma).sum(2)
                slope -= (summed * ctx.bias.unsqueeze(1)).sum(-1)
                of_bias = into(ctx.bias, (summed * sigma.unsqueeze(-1)).sum(1))
            there = ctx.weight.grad if of_weight is None else of_weight
            there.baddbmm_((u * slope.unsqueeze(-1)).mT, v, alpha=-1)
        elif for_bias:
            of_bias = into(ctx.bias, inner.sum(1))
        of_inputs = torch.bmm(inner, weight) if for_inputs else None
        return of_inputs, of_weight, of_bias, None, None, None, None


def _by_pass(rows: Tensor, sigma: Tensor) -> Tensor:
    """[K, P * B, n] as [K, P, B, n]."""
    count, turns = sigma.shape
    return rows.reshape(count, turns, -1, rows.shape[-1])


def into(parameter: Tensor, gradient: Tensor) -> Tensor | None:
    """Add to the gradient that is there; give it back where there is none."""
    if parameter.grad is None:
        return gradient
    parameter.grad.add_(gradient)
    return None


def _product_into(weight: Tensor, gradient: Tensor, inputs: Tensor) -> Tensor | None:
    """Add h^T x to the gradient that is there; give it back where there is none."""
    if weight.grad is None:
        return torch.bmm(gradient.mT, inputs)
    weight.grad.baddbmm_(gradient.mT, inputs)
    return None


def stacked_parameter(alone: Sequence[Tensor]) -> nn.Parameter:
    """Parameters of K layers as one, [K, ...]."""
    return nn.Parameter(torch.stack([each.detach() for each in alone]))


def is_spectral(layer: nn.Module) -> bool:
    """Whether a layer's weight is divided by its largest singular value."""
    found = getattr(layer, "parametrizations", None)
    return found is not None and isinstance(found["weight"][0], SpectralNorm)


def spectral_of(layer: nn.Module) -> SpectralNorm:
    """What divides a layer's weight."""
    norm = layer.parametrizations["weight"][0]  # type: ignore[index]
    assert isinstance(norm, SpectralNorm)
    return norm


def original_weight(layer: nn.Module) -> Tensor:
    """A layer's weight before it is divided."""
    weight: Tensor = layer.parametrizations["weight"].original  # type: ignore[index, union-attr]
    return weight

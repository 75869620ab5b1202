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
        own_backward: whether gradients are computed by the layer's own rule, which is faster and can be
            differentiated but once.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.own_backward = True
        self.weight = stacked_parameter([layer.weight for layer in layers])
        self.in_features, self.out_features = layers[0].in_features, layers[0].out_features
        has_bias = layers[0].bias is not None
        self.bias = stacked_parameter([layer.bias for layer in layers]) if has_bias else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [K, B, in] -> [K, B, out]."""
        if self.own_backward and inputs.dtype == torch.float32:
            return _linear(inputs, self.weight, self.bias, None, None, None)
        if self.bias is None:
            return torch.bmm(inputs, self.weight.mT)
        return torch.baddbmm(self.bias.unsqueeze(1), inputs, self.weight.mT)


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
        self.weight = stacked_parameter([original_weight(layer) for layer in layers])
        self.in_features, self.out_features = layers[0].in_features, layers[0].out_features
        has_bias = layers[0].bias is not None
        self.bias = stacked_parameter([layer.bias for layer in layers]) if has_bias else None
        self.register_buffer("u", torch.stack([norm.u for norm in norms]))
        self.register_buffer("v", torch.stack([norm.v for norm in norms]))

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [K, B, in] -> [K, B, out]; of P passes at once, [K, P * B, in] -> [K, P * B, out]."""
        u, v, sigma = self._singular()
        if self.own_backward and inputs.dtype == torch.float32:
            return _linear(inputs, self.weight, self.bias, u, v, sigma)
        with torch.autocast(inputs.device.type, enabled=False):
            sigma = (u * torch.bmm(v, self.weight.mT)).sum(-1)  # now it follows the weights
        outputs = torch.bmm(inputs, self.weight.mT)
        kind, (count, rows, width) = outputs.dtype, outputs.shape
        outputs = outputs.float().view(count, self.passes, rows // self.passes, width)
        outputs = (outputs / sigma[..., None, None]).view(count, rows, width)
        return (outputs if self.bias is None else outputs + self.bias.unsqueeze(1)).to(kind)

    @torch.no_grad()
    def _singular(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of each pass: vectors [K, P, out] and [K, P, in], and the singular values [K, P]."""
        weight, us, vs, sigmas = self.weight, [], [], []
        u, v = self.u.unsqueeze(1), self.v.unsqueeze(1)
        for _ in range(self.passes):
            # Rows from the left, [K, 1, n] x [K, n, m]: many times as fast as columns from the right.
            if self.training:
                v = nn.functional.normalize(torch.bmm(u, weight), dim=-1, eps=self.eps)
            longest = torch.bmm(v, weight.mT)
            if self.training:
                u = nn.functional.normalize(longest, dim=-1, eps=self.eps)
            us.append(u)
            vs.append(v)
            sigmas.append((u * longest).sum(-1))
        if self.training:
            self.u.copy_(u.squeeze(1))
            self.v.copy_(v.squeeze(1))
        return torch.cat(us, 1), torch.cat(vs, 1), torch.cat(sigmas, 1)


def _linear(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    u: Tensor | None,
    v: Tensor | None,
    sigma: Tensor | None,
) -> Tensor:
    outputs: Tensor = _Linear.apply(inputs, weight, bias, u, v, sigma)
    return outputs


class _Linear(torch.autograd.Function):
    """y = x W^T / sigma + b of K layers, sigma = u W v of P passes, or 1.

    Backward: with h = dy / sigma, dx = h W, dW = h^T x - sum over passes of <h, y - b> u v^T, db = sum
    of dy. Where weights have a gradient already, the product itself adds to it, which saves two passes
    through memory.
    """

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        u: Tensor | None,
        v: Tensor | None,
        sigma: Tensor | None,
    ) -> Tensor:
        ctx.weight, ctx.bias = weight, bias
        if sigma is None:
            ctx.save_for_backward(inputs, weight)
            if bias is None:
                return torch.bmm(inputs, weight.mT)
            return torch.baddbmm(bias.unsqueeze(1), inputs, weight.mT)
        outputs = torch.bmm(inputs, weight.mT)
        scaled = _by_pass(outputs, sigma)
        if bias is None:
            scaled.div_(sigma[..., None, None])
        else:
            torch.addcmul(bias[:, None, None], scaled, (1 / sigma)[..., None, None], out=scaled)
        ctx.save_for_backward(inputs, weight, u, v, sigma, outputs)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, *spectral = ctx.saved_tensors
        for_inputs, for_weight, for_bias, *_ = ctx.needs_input_grad
        if not spectral:
            of_weight = _product_into(ctx.weight, gradient, inputs) if for_weight else None
            of_bias = _into(ctx.bias, gradient.sum(1)) if for_bias else None
            of_inputs = torch.bmm(gradient, weight) if for_inputs else None
            return of_inputs, of_weight, of_bias, None, None, None
        u, v, sigma, outputs = spectral
        by_pass = _by_pass(gradient, sigma) / sigma[..., None, None]
        scaled, of_weight, of_bias = by_pass.view(gradient.shape), None, None
        if for_weight:
            summed = by_pass.sum(2)
            of_weight = _product_into(ctx.weight, scaled, inputs)
            slope = (by_pass * _by_pass(outputs, sigma)).sum((-2, -1))
            if ctx.bias is not None:
                slope -= (summed * ctx.bias.unsqueeze(1)).sum(-1)
                of_bias = _into(ctx.bias, (summed * sigma.unsqueeze(-1)).sum(1))
            into = ctx.weight.grad if of_weight is None else of_weight
            into.baddbmm_((u * slope.unsqueeze(-1)).mT, v, alpha=-1)
        of_inputs = torch.bmm(scaled, weight) if for_inputs else None
        return of_inputs, of_weight, of_bias, None, None, None


def _by_pass(rows: Tensor, sigma: Tensor) -> Tensor:
    """[K, P * B, n] as [K, P, B, n]."""
    count, turns = sigma.shape
    return rows.reshape(count, turns, -1, rows.shape[-1])


def _into(parameter: Tensor, gradient: Tensor) -> Tensor | None:
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

"""Linear layers of K networks: one batched product in place of K, and their backward pass likewise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gansearch.networks.norms import SpectralNorm
from gansearch.networks.stacked.row import (
    Asked,
    Gradients,
    OwnLayer,
    activated,
    before_activation,
    by_inputs,
    into,
    product_into,
)


class Linear(OwnLayer):
    """K linear layers: [K, B, in] -> [K, B, out].

    Their own rule, with a = f(y), y = x W^T + b, f a leaky ReLU or none, and dy = f'(y) da: dx = dy W,
    dW = dy^T x, db = sum of dy.

    Of several passes at once (`passes`) dy is summed for each by itself, as if they came in turn: what
    real and generated samples say of a unit that is in one regime for all of them cancels to 0 where a
    loss is linear, and not to a rounding error, of which Adam would make a whole step.

    Args:
        layers: alone, of one shape.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.passes = 1
        self.weight = stacked_parameter([original_weight(layer) for layer in layers])
        self.in_features, self.out_features = layers[0].in_features, layers[0].out_features
        has_bias = layers[0].bias is not None
        self.bias = stacked_parameter([layer.bias for layer in layers]) if has_bias else None

    def plain(self, inputs: Tensor) -> Tensor:
        """Inputs [K, B, in] -> [K, B, out]."""
        if self.bias is None:
            return activated(torch.bmm(inputs, self.weight.mT), self.slope)
        outputs = torch.baddbmm(self.bias.unsqueeze(1), inputs, self.weight.mT)
        return activated(outputs, self.slope)

    def push(self, inputs: Tensor, ours: bool) -> tuple[Tensor, list[Tensor]]:  # noqa: ARG002
        """See `OwnLayer`."""
        outputs = torch.bmm(inputs, self.weight.mT)
        if self.bias is not None:
            outputs += self.bias.unsqueeze(1)  # faster than a product that adds
        by_pass = inputs.unflatten(1, (self.passes, -1))
        if self.slope is None:
            return outputs, [by_pass]
        nn.functional.leaky_relu_(outputs, self.slope)
        return outputs, [by_pass, outputs]

    def pull(self, kept: Sequence[Tensor], gradient: Tensor, asked: Asked) -> Gradients:
        """See `OwnLayer`."""
        by_pass, *outputs = kept
        if self.slope is not None:
            gradient = before_activation(gradient, outputs[0], self.slope, asked.ours)
        own: list[Tensor | None] = [None] * (1 if self.bias is None else 2)
        if asked.parameters:
            own[0] = product_into(self.weight, gradient, by_pass.flatten(1, 2), self.stale)
            if self.bias is not None:
                summed = gradient.unflatten(1, by_pass.shape[1:3]).sum(2)
                own[1] = into(self.bias, summed.sum(1), self.stale)
        return Gradients(by_inputs(gradient, self.weight) if asked.inputs else None, own)


class SpectralLinear(Linear):
    """K linear layers whose weights are divided by their largest singular values.

    The same power iteration as `gansearch.networks.norms.SpectralNorm`, once for each pass; outputs are
    divided in place of weights, which is the same and less work. In two passes at once
    (`passes`) each has its own iteration, one after the other, as if the passes came in turn.

    Their own rule: y = x W^T / sigma + b, sigma = u W v of each of P passes. With h = dy / sigma, dx =
    h W, dW = h^T x - sum over passes of <h, y - b> u v^T. For <h, y - b> nothing need be multiplied:
    since f(y) = f'(y) y, <dy, y> is <da, a>, which the layer behind knows as its <dx, x>, and that is
    <dy, y - b>.

    Args:
        layers: alone, of one shape.
    """

    u: Tensor
    v: Tensor

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__(layers)
        norms = [spectral_of(layer) for layer in layers]
        self.eps = norms[0].eps
        self.register_buffer("u", torch.stack([norm.u for norm in norms]))
        self.register_buffer("v", torch.stack([norm.v for norm in norms]))

    @property
    def keeps_outputs(self) -> bool:
        """Whether `pull` needs what `push` returned as it was."""
        return True

    def plain(self, inputs: Tensor) -> Tensor:
        """Inputs [K, B, in] -> [K, B, out]; of P passes at once, [K, P * B, in] -> [K, P * B, out]."""
        with torch.autocast(inputs.device.type, enabled=False):
            with torch.no_grad():
                u, v, _ = self._singular()
            sigma = (u * torch.bmm(v, self.weight.mT)).sum(-1)  # now it follows the weights
        outputs = torch.bmm(inputs, self.weight.mT)
        kind, (count, rows, width) = outputs.dtype, outputs.shape
        outputs = outputs.float().view(count, self.passes, rows // self.passes, width)
        outputs = (outputs / sigma[..., None, None]).view(count, rows, width)
        outputs = outputs if self.bias is None else outputs + self.bias.unsqueeze(1)
        return activated(outputs.to(kind), self.slope)

    def push(self, inputs: Tensor, ours: bool) -> tuple[Tensor, list[Tensor]]:  # noqa: ARG002
        """See `OwnLayer`."""
        u, v, sigma = self._singular()
        share = sigma.reciprocal()[..., None, None]
        outputs = torch.bmm(inputs, self.weight.mT)
        scaled = _by_pass(outputs, sigma)
        if self.bias is None:
            scaled.mul_(share)
        else:
            torch.addcmul(self.bias[:, None, None], scaled, share, out=scaled)
        if self.slope is not None:
            nn.functional.leaky_relu_(outputs, self.slope)
        return outputs, [inputs, outputs, u, v, sigma, share]

    def pull(self, kept: Sequence[Tensor], gradient: Tensor, asked: Asked) -> Gradients:
        """See `OwnLayer`."""
        inputs, outputs, u, v, sigma, share = kept
        weight, bias = self.weight, self.bias
        own: list[Tensor | None] = [None] * (1 if bias is None else 2)
        product = asked.product  # none, unless parameters are asked for
        if asked.parameters and product is None:
            product = (gradient * outputs).reshape(*sigma.shape, -1).sum(-1)
        ours = asked.ours or self.slope is not None
        gradient = before_activation(gradient, outputs, self.slope, asked.ours)
        inner = _by_pass(gradient, sigma)
        if product is not None and bias is not None:
            summed = inner.sum(2)
            product = product - (summed * bias.unsqueeze(1)).sum(-1)
            own[1] = into(bias, summed.sum(1), self.stale)
        inner = inner.mul_(share) if ours else inner * share
        gradient = inner.view(outputs.shape)
        if product is not None:
            own[0] = product_into(weight, gradient, inputs, self.stale)
            there = weight.grad if own[0] is None else own[0]
            assert there is not None
            there.baddbmm_((u * (product / sigma).unsqueeze(-1)).mT, v, alpha=-1)
        return Gradients(by_inputs(gradient, weight) if asked.inputs else None, own, product)

    def _singular(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of each pass: vectors [K, P, out] and [K, P, in], and the singular values [K, P]; where no
        gradients are kept.
        """
        weight, turned = self.weight, self.weight.mT
        held = u, v = self.u.unsqueeze(1), self.v.unsqueeze(1)
        if not self.training:
            return u, v, (u * torch.bmm(v, turned)).sum(-1)
        us, vs, sigmas = [], [], []
        for _ in range(self.passes):
            # Rows from the left, [K, 1, n] x [K, n, m]: many times as fast as columns from the right.
            v = torch.bmm(u, weight)
            vs.append(v.div_(length(v, self.eps)))
            u = torch.bmm(v, turned)
            sigmas.append(length(u, self.eps))  # u W v is the length of W v
            us.append(u.div_(sigmas[-1]))
        held[0].copy_(u)
        held[1].copy_(v)
        if self.passes > 1:
            u, v = torch.cat(us, 1), torch.cat(vs, 1)
        return u, v, (sigmas[0] if self.passes == 1 else torch.cat(sigmas, 1)).squeeze(-1)


def length(rows: Tensor, eps: float) -> Tensor:
    """How long rows [K, 1, n] are, [K, 1, 1], and no less than eps."""
    found: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return found.clamp_min_(eps)


def _by_pass(rows: Tensor, sigma: Tensor) -> Tensor:
    """[K, P * B, n] as [K, P, B, n]."""
    return rows.reshape(*sigma.shape, -1, rows.shape[-1])


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
    """A layer's weight, before it is divided where it is."""
    weight: Tensor
    weight = layer.parametrizations["weight"].original if is_spectral(layer) else layer.weight  # type: ignore[index, union-attr, assignment]
    return weight

"""Stacked layers in a row that compute their gradients themselves: one node of autograd for all.

A step of small networks is mostly the cost of asking for operations, and of memory that is asked for
anew. What autograd would do for each layer is done here in a plain loop, from the last layer to the
first, and gradients are changed in place wherever nobody else looks at them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Asked(NamedTuple):
    """What is asked of `OwnLayer.pull`.

    Attributes:
        ours: whether nobody else needs the memory of the gradient that it is given.
        inputs: whether the gradient by the inputs is wanted.
        parameters: whether those by the parameters are.
        product: of each pass, [K, P], the gradient's with the layer's outputs, all numbers of it added
            up; None where it is not known.
    """

    ours: bool
    inputs: bool
    parameters: bool
    product: Tensor | None


class Gradients(NamedTuple):
    """What `OwnLayer.pull` found.

    Attributes:
        inputs: the gradient by them; None where it is not wanted.
        parameters: those by the parameters, in their order; None where it is not wanted, or has been
            added where it belongs.
        product: of the first with the inputs, as in `Asked`; None where it is not known.
    """

    inputs: Tensor | None
    parameters: Sequence[Tensor | None]
    product: Tensor | None = None


class OwnLayer(nn.Module):
    """A stacked layer that computes its gradients itself.

    Attributes:
        slope: of the leaky ReLU behind it, which it does too; None: there is none.
        own_backward: whether gradients are computed by the layer's own rule, which is faster and can be
            differentiated but once.
        stale: whether its parameters' gradients are those of a step before, to be overwritten.
    """

    def __init__(self) -> None:
        super().__init__()
        self.own_backward = True
        self.slope: float | None = None
        self.stale = False

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, bool):  # torch would look whether it is a parameter, a buffer, a module
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [K, B, ...] -> outputs [K, B, ...]."""
        if self.ready(inputs):
            return through([self], inputs)
        self.settle()  # autograd adds to what is there
        return self.plain(inputs)

    @torch.no_grad()
    def settle(self) -> None:
        """Have gradients that nothing has taken the place of be 0."""
        if self.stale:
            for parameter in self.parameters(recurse=False):
                if parameter.grad is not None:
                    parameter.grad.zero_()
            self.stale = False

    def ready(self, inputs: Tensor) -> bool:
        """Whether the layer's own rule is for such inputs."""
        return self.own_backward and inputs.dtype == torch.float32

    @property
    def keeps_outputs(self) -> bool:
        """Whether `pull` needs what `push` returned as it was."""
        return self.slope is not None

    @abstractmethod
    def plain(self, inputs: Tensor) -> Tensor:
        """The same, for autograd to differentiate."""

    @abstractmethod
    def push(self, inputs: Tensor, ours: bool) -> tuple[Tensor, list[Tensor]]:
        """Outputs, and what `pull` needs; where inputs are `ours`, nobody else needs their memory."""

    @abstractmethod
    def pull(self, kept: Sequence[Tensor], gradient: Tensor, asked: Asked) -> Gradients:
        """Gradients by the inputs and the layer's parameters, by that of the outputs."""


class Row(nn.Sequential):
    """Layers one after another; neighbours that compute their own gradients do so in one.

    Labels are given to those that have `told = True`, as in `gansearch.networks.classes.Layers`.
    """

    def __init__(self, *layers: Any) -> None:
        super().__init__(*layers)
        self.runs: list[list[nn.Module]] = []
        for layer in self:
            if isinstance(layer, nn.Identity):
                continue
            own = isinstance(layer, OwnLayer)
            if own and self.runs and isinstance(self.runs[-1][-1], OwnLayer):
                self.runs[-1].append(layer)
            else:
                self.runs.append([layer])

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        """Inputs [K, B, ...], and labels [K, B] where any layer is told them -> outputs [K, B, ...]."""
        for run in self.runs:
            ready = [layer for layer in run if isinstance(layer, OwnLayer) and layer.ready(inputs)]
            if len(ready) == len(run):
                inputs = through(ready, inputs)
                continue
            for layer in run:
                told = getattr(layer, "told", False)
                inputs = layer(inputs, labels) if told else layer(inputs)
        return inputs


def through(layers: Sequence[OwnLayer], inputs: Tensor) -> Tensor:
    """What comes of inputs behind all of the layers, each of which is ready for them."""
    parameters = [p for layer in layers for p in layer._parameters.values() if p is not None]
    outputs: Tensor = _Through.apply(layers, inputs, *parameters)
    return outputs


class _Through(torch.autograd.Function):
    """The layers' `push` in their order, and `pull` in the other."""

    @staticmethod
    def forward(ctx: Any, layers: Sequence[OwnLayer], inputs: Tensor, *_: Tensor) -> Tensor:
        ctx.layers, ctx.counts, saved = layers, [], []
        ours = False
        for layer in layers:
            inputs, kept = layer.push(inputs, ours)
            ours = not layer.keeps_outputs
            ctx.counts.append(len(kept))
            saved += kept
        ctx.save_for_backward(*saved)
        return inputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved, found = list(ctx.saved_tensors), list[Tensor | None]()
        _, first, *by_parameters = ctx.needs_input_grad
        passed: Tensor | None = gradient
        product: Tensor | None = None
        last = len(ctx.layers) - 1
        for number in range(last, -1, -1):
            layer, count = ctx.layers[number], ctx.counts[number]
            kept = saved[len(saved) - count :]
            del saved[len(saved) - count :]
            assert passed is not None
            asked = Asked(number < last, number > 0 or first, any(by_parameters), product)
            passed, own, product = layer.pull(kept, passed, asked)
            if asked.parameters:
                layer.stale = False
            found[:0] = own
        return None, passed, *found


def into(parameter: Tensor, gradient: Tensor, stale: bool) -> Tensor | None:
    """Add to the gradient that is there, or overwrite it if it is stale; give it back where there is
    none.
    """
    if parameter.grad is None:
        return gradient
    if stale:
        parameter.grad.copy_(gradient)
    else:
        parameter.grad.add_(gradient)
    return None


def product_into(weight: Tensor, gradient: Tensor, inputs: Tensor, stale: bool) -> Tensor | None:
    """Do with h^T x what `into` does. The product itself adds or overwrites, which saves two passes
    through memory.
    """
    if weight.grad is None:
        return torch.bmm(gradient.mT, inputs)
    if stale:
        torch.bmm(gradient.mT, inputs, out=weight.grad)
    else:
        weight.grad.baddbmm_(gradient.mT, inputs)
    return None


def by_inputs(gradient: Tensor, weight: Tensor) -> Tensor:
    """Gradients dy W by the inputs: of a single output no sums, for which a product of matrices takes
    three times as long.
    """
    return gradient * weight if weight.shape[1] == 1 else torch.bmm(gradient, weight)


def activated(outputs: Tensor, slope: float | None) -> Tensor:
    """Outputs behind a leaky ReLU, or as they are."""
    return outputs if slope is None else nn.functional.leaky_relu(outputs, slope)


_leaky_relu_backward = torch.ops.aten.leaky_relu_backward.grad_input


def before_activation(gradient: Tensor, outputs: Tensor, slope: float | None, ours: bool) -> Tensor:
    """The gradient in front of a leaky ReLU, by its outputs; in place where it is ours."""
    if slope is None:
        return gradient
    there = gradient if ours else torch.empty_like(gradient)
    _leaky_relu_backward(gradient, outputs, slope, True, grad_input=there)
    return there

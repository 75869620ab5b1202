"""Are networks in a stack what they are alone? `gansearch.testing.check_stacked` asks it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from gansearch.networks.stacked.layers import CannotStack
from gansearch.networks.stacked.network import StackedNetwork, stack, stacked_name, why_not

COUNT = "count axes from the last one, for a stack has one more in front, of the networks"
APART = (
    "samples of a batch see each other, or a pass changes what the next one gives, which only batch "
    "norm and norm: spectral may do"
)

Inputs = Sequence[Tensor]
"""What a pass is given, each [K, B, ...]: latents or samples, and labels where they are told."""


def chance() -> tuple[object, ...]:
    """Where the global generators of random numbers are, Python's, NumPy's and torch's, to compare."""
    _, numbers, place, *_ = cast("tuple[Any, ...]", np.random.get_state(legacy=True))
    return random.getstate(), numbers.tobytes(), place, torch.get_rng_state().numpy().tobytes()


def told(networks: int, samples: int, classes: int) -> Tensor:
    """Labels [K, B], of each network others than the next one's."""
    return (torch.arange(samples) + torch.arange(networks).unsqueeze(1)) % classes


class StackCheck:
    """Compares networks in a stack with each alone: outputs, gradients, running statistics.

    Args:
        alone: K of one kind, of different weights, in training mode; they stay as they are.
        first: of one pass.
        second: of the next, of the same shapes.
        judges: whether they are discriminators, which may be given two batches at once.
        where: what they are built for, in words.

    Attributes:
        unreached: names of parameters that no gradient has reached.

    Raises:
        AssertionError: they are not, where, and what to do; from its methods.
    """

    def __init__(
        self, alone: Sequence[nn.Module], first: Inputs, second: Inputs, *, judges: bool, where: str
    ) -> None:
        self.alone, self.passes, self.judges, self.where = alone, (first, second), judges, where
        self.unreached: set[str] = set()
        reason = why_not(type(alone[0]))
        assert not reason, f"{reason}: write `stacks = True` in the class"

    def run(self) -> None:
        """All that there is to compare."""
        for twice in (False, True):
            self.trained(twice=twice)
        if self.judges:
            self.two_batches()
        self.evaluated()
        self.apart()

    def trained(self, *, twice: bool) -> None:
        """Two passes one after the other and the gradients of both, by their own rules or, where these
        are to be differentiated `twice`, by autograd.
        """
        stacked, theirs = self._stack(), self._copies()
        for inputs in self.passes:
            network = stacked.differentiable_twice if twice else stacked
            expected = self._each(theirs, inputs)  # what fails alone too is told as it is
            outputs = self._pass(network, inputs)
            shape = [*expected.shape]
            assert [*outputs.shape] == shape, (
                f"{self.where}: a stack must give {shape}, not {[*outputs.shape]}: {COUNT}"
            )
            self._same(outputs, expected, "outputs")
            # Random weights on the outputs: a plain sum may cancel in a normalisation.
            weights = torch.randn(shape, generator=torch.Generator().manual_seed(3))
            torch.autograd.backward([(outputs * weights).sum(), (expected * weights).sum()])
        self._gradients(dict(stacked.network.named_parameters()), theirs)
        ours = dict(stacked.network.named_buffers())
        for name, _ in theirs[0].named_buffers():
            own = torch.stack([network.get_buffer(name) for network in theirs])
            self._same(ours[stacked_name(name)], own, f"'{name}' after two passes")

    def two_batches(self) -> None:
        """Real and generated samples are judged in one pass, where the stack says that it may be."""
        stacked, theirs = self._stack(), self._copies()
        if stacked.takes_turns:
            return
        first, second = self.passes
        with stacked.in_turn(2):
            both = self._pass(stacked, [torch.cat(pair, 1) for pair in zip(first, second, strict=True)])
        expected = torch.cat([self._each(theirs, inputs) for inputs in self.passes], 1)
        self._same(both, expected, "outputs of two batches in one pass", why=APART)

    def evaluated(self) -> None:
        """Outputs in evaluation mode."""
        stacked, theirs = self._stack().eval(), [network.eval() for network in self._copies()]
        inputs = self.passes[0]
        outputs = self._pass(stacked, inputs)
        self._same(outputs, self._each(theirs, inputs), "outputs in evaluation mode")

    def apart(self) -> None:
        """One network's numbers never reach another's, NaN neither."""
        first, *labels = self.passes[0]
        broken = first.clone()
        broken[1] = torch.nan
        before, after = (self._pass(self._stack(), [given, *labels]) for given in (first, broken))
        for row in {*range(len(self.alone))} - {1}:
            assert torch.equal(before[row], after[row]), (
                f"{self.where}: NaN in one network reaches another: {COUNT}"
            )

    def _stack(self) -> StackedNetwork:
        try:
            return stack(self.alone)
        except CannotStack as why:
            raise AssertionError(f"it cannot be stacked: {why}") from None

    def _copies(self) -> list[nn.Module]:
        return [copy.deepcopy(network) for network in self.alone]

    def _pass(self, network: Callable[..., Tensor], inputs: Inputs) -> Tensor:
        """A pass through a stack, whose errors are told for what they most likely are."""
        before = chance()
        try:
            outputs = network(*inputs)
        except Exception as error:  # whatever a network of the user's raises
            given = [*inputs[0].shape]
            text = f"{self.where}: `forward` fails in a stack, on {given}: {error}\n{COUNT}"
            raise AssertionError(text) from error
        assert chance() == before, (
            f"{self.where}: `forward` draws random numbers, of which each training has its own"
        )
        return outputs

    def _each(self, networks: Sequence[nn.Module], inputs: Inputs) -> Tensor:
        own = zip(*inputs, strict=True)
        return torch.stack([net(*given) for net, given in zip(networks, own, strict=True)])

    def _gradients(self, ours: Mapping[str, Tensor], theirs: Sequence[nn.Module]) -> None:
        gradients = [p.grad for network in theirs for p in network.parameters() if p.grad is not None]
        size = float(torch.cat([gradient.flatten() for gradient in gradients]).norm())
        for name, _ in theirs[0].named_parameters():
            assert stacked_name(name) in ours, f"'{name}' is not among the stack's parameters"
            found = ours[stacked_name(name)].grad
            each = [network.get_parameter(name).grad for network in theirs]
            known = [gradient for gradient in each if gradient is not None]
            assert (found is None) == (not known), (
                f"{self.where}: a gradient reaches '{name}' in a stack, or alone, but not in both"
            )
            if found is None:
                self.unreached.add(name)
            else:
                self._same(found, torch.stack(known), f"the gradient of '{name}'", size)

    def _same(
        self, found: Tensor, expected: Tensor, what: str, size: float = 0.0, why: str = COUNT
    ) -> None:
        """That they are up to rounding, relative to their size and a little to that of the whole."""
        found, expected = found.detach().double(), expected.detach().double()
        bound = 1e-4 * float(expected.norm()) + 1e-5 * size + 1e-6
        same = found.shape == expected.shape and float((found - expected).norm()) <= bound
        assert same, f"{self.where}: in a stack, {what} differ from each network's alone: {why}"

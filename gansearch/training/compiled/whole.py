"""A step of K trainings as one function of tensors: passes, gradients, updates, averages.

What it is given first are tensors that it changes in place, so that the same tensors are handed to it
at every step; random numbers are drawn outside, from each training's own generators. It holds no
weights and no settings of its own, so that what is compiled of it serves all trainings of its shape.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gansearch.data.domain import Domain
from gansearch.losses import Constraint, Loss
from gansearch.losses.draws import Draws, drawing_from
from gansearch.losses.flat import on_samples
from gansearch.networks.stacked import OwnLayer, in_turn
from gansearch.study.config import TrialConfig
from gansearch.training.compiled.rules import Rule
from gansearch.training.stacked.optimizers import Places, by_parameter

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Sided:
    """One side's structure.

    Attributes:
        network: without weights (on the meta device).
        names: of its parameters, in the order of `places`.
        buffers: names of its buffers.
        places: of its parameters in a row of weights.
        width: of a row.
        rule: of its optimizer.
        single: whether it is a network alone, that knows no leading axis.
        takes_turns: whether batches must come in turn, for their samples see each other, say.
    """

    network: nn.Module
    names: list[str]
    buffers: list[str]
    places: Places
    width: int
    rule: Rule
    single: bool
    takes_turns: bool

    def split(self, weights: Tensor) -> list[Tensor]:
        """Weights [K, P] by parameter, each [K, ...], or [...] of a network alone."""
        parts = by_parameter(weights, self.places)
        return [part.squeeze(0) for part in parts] if self.single else parts

    def joined(self, gradients: Sequence[Tensor]) -> Tensor:
        """The other way, with zeros in what no parameter has."""
        count = 1 if self.single else len(gradients[0])
        parts, end = [], 0
        for (start, shape), gradient in zip(self.places, gradients, strict=True):
            if start > end:
                parts.append(gradient.new_zeros(count, start - end))
            parts.append(gradient.reshape(count, -1))
            end = start + shape.numel()
        if self.width > end:
            parts.append(gradients[0].new_zeros(count, self.width - end))
        return torch.cat(parts, 1)

    def __call__(
        self, weights: Sequence[Tensor], buffers: Mapping[str, Tensor], *inputs: Tensor
    ) -> Tensor:
        """A pass: [K, B, ...] -> [K, B, ...]."""
        own = {**dict(zip(self.names, weights, strict=True)), **buffers}
        given = tuple(each.squeeze(0) for each in inputs) if self.single else inputs
        passed: Tensor = functional_call(self.network, own, given)
        with torch.no_grad():
            for name, buffer in buffers.items():
                if own[name] is not buffer:  # a pass has put a new one in its place
                    buffer.copy_(own[name])
        return passed.unsqueeze(0) if self.single else passed


class Given(Draws):
    """Random numbers that were drawn before."""

    def __init__(self, drawn: Sequence[Tensor]) -> None:
        super().__init__()
        self._drawn = iter(drawn)

    def rand_like(self, like: Tensor) -> Tensor:  # noqa: ARG002
        """The next ones."""
        return next(self._drawn)

    def randn_like(self, like: Tensor) -> Tensor:  # noqa: ARG002
        """The next ones."""
        return next(self._drawn)


@dataclass(frozen=True)
class Whole:
    """The step. See `__call__`.

    Attributes:
        config: of the first of the trainings, for what is the same in all.
        domain: what is learnt.
        generator: its side.
        discriminator: likewise.
        losses: each kind of loss, and the rows that have it.
        penalty: what is added to the discriminator's loss, if anything.
        constraints: of each row, what keeps its discriminator within bounds; empty: nothing does.
    """

    config: TrialConfig
    domain: Domain
    generator: Sided
    discriminator: Sided
    losses: list[tuple[Loss, list[int]]]
    penalty: Any
    constraints: list[Constraint]

    @torch.enable_grad()
    def __call__(
        self,
        state: Tensors,
        settings: Tensors,
        data: Sequence[Tensor],
        latents: Tensor,
        rows: Tensor,
        draws: Draws,
        *,
        both: bool,
    ) -> list[Tensor]:
        """An update of the discriminators and, if `both`, one of the generators.

        Args:
            state: what it changes in place, by name; see `gansearch.training.compiled.step`.
            settings: of optimizers, averages and penalties, float64 [K, 1].
            data: all training samples, as stored, and their labels where networks are told them.
            latents: [K, B, Z].
            rows: of each training's batch, [K, B].
            draws: where the penalty has its random numbers from.
            both: whether it is the last of a step's updates of the discriminators.

        Returns:
            Logits of real and of generated samples, [K, B] each; norms of the gradients, [K], of the
            discriminators and, if `both`, of the generators.
        """
        samples, *labelled = data
        real = self.domain.encode(samples[rows.flatten()])
        real = real.view(*rows.shape, *real.shape[1:])
        labels = [each[rows] for each in labelled]
        g_weights, d_weights = (self._leaves(state, side) for side in ("g", "d"))

        # The discriminators learn to tell real samples from generated ones.
        with torch.set_grad_enabled(both):
            fakes = self._pass("g", g_weights, state, latents, *labels)
        seen = fakes.detach()
        real_logits, fake_logits = self._judged(d_weights, state, real, seen, labels)
        loss = self._of_each(lambda loss, part: loss.d(part(real_logits), part(fake_logits)))
        if self.penalty is not None:
            loss = loss + self._penalised(d_weights, state, settings, real, seen, labels, draws)
        d_norms = self._update("d", loss, d_weights, state, settings)
        state["d_loss"].add_(loss.detach())
        self._constrain(state["d_weights"])
        judged = [real_logits.detach(), fake_logits.detach()]
        if not both:
            return [*judged, d_norms]

        # The generators answer the discriminators as they are now.
        d_weights = self.discriminator.split(state["d_weights"].detach())
        fake_logits = self._pass("d", d_weights, state, fakes, *labels)
        compared: Tensor | None = None
        if self.losses[0][0].g_uses_real:  # and so do all others (`shape_of`)
            compared = self._pass("d", d_weights, state, real, *labels)

        def of(loss: Loss, part: Callable[[Tensor], Tensor]) -> Tensor:
            return loss.g(None if compared is None else part(compared), part(fake_logits))

        loss = self._of_each(of)
        g_norms = self._update("g", loss, g_weights, state, settings)
        state["g_loss"].add_(loss.detach())
        self._average(state, settings)
        return [*judged, d_norms, g_norms]

    def _side(self, side: str) -> Sided:
        return self.generator if side == "g" else self.discriminator

    def _leaves(self, state: Tensors, side: str) -> list[Tensor]:
        """A side's weights by parameter, of which gradients are computed."""
        parts = self._side(side).split(state[f"{side}_weights"].detach())
        return [part.requires_grad_() for part in parts]

    def _pass(self, side: str, weights: Sequence[Tensor], state: Tensors, *inputs: Tensor) -> Tensor:
        """A pass through K networks in the configurations' precision; float32 comes out."""
        network = self._side(side)
        buffers = {name: state[f"{side}.{name}"] for name in network.buffers}
        if self.config.precision == "float32":
            return network(weights, buffers, *inputs)
        # Rounded weights are not remembered: an update lies between two passes, in the same function.
        kind = inputs[0].device.type
        with torch.autocast(kind, torch.bfloat16, cache_enabled=False):
            return network(weights, buffers, *inputs).float()

    def _judged(
        self,
        weights: Sequence[Tensor],
        state: Tensors,
        real: Tensor,
        seen: Tensor,
        labels: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Logits of real and generated samples, of two passes, or of one where that is the same."""
        side = self.discriminator
        if side.takes_turns or side.single:
            real_logits = self._pass("d", weights, state, real, *labels)
            return real_logits, self._pass("d", weights, state, seen, *labels)
        told = [torch.cat([each, each], 1) for each in labels]
        with in_turn(side.network.modules(), 2):
            logits = self._pass("d", weights, state, torch.cat([real, seen], 1), *told)
        size = real.shape[1]
        return logits[:, :size], logits[:, size:]

    def _penalised(
        self,
        weights: Sequence[Tensor],
        state: Tensors,
        settings: Tensors,
        real: Tensor,
        seen: Tensor,
        labels: list[Tensor],
        draws: Draws,
    ) -> Tensor:
        """The penalty of each training, [K]; the critic is judged in float32."""
        side, single = self.discriminator, self.discriminator.single
        buffers = {name: state[f"d.{name}"] for name in side.buffers}
        part = copy.copy(self.penalty)
        for name, value in settings.items():
            if name.startswith("penalty."):
                column = value.squeeze(1).to(real.dtype)
                setattr(part, name.removeprefix("penalty."), column.squeeze(0) if single else column)
        penalty = on_samples(
            drawing_from(draws, part), flat=bool(getattr(part, "flat", False)), leading=2 - single
        )
        if not single:
            return penalty(lambda given: side(weights, buffers, given, *labels), real, seen)

        def critic(given: Tensor) -> Tensor:
            return side(weights, buffers, given.unsqueeze(0), *labels).squeeze(0)

        return penalty(critic, real.squeeze(0), seen.squeeze(0)).unsqueeze(0)

    def _of_each(self, of: Callable[[Loss, Callable[[Tensor], Tensor]], Tensor]) -> Tensor:
        """The loss of each training, [K]: each kind is computed once, of the rows that have it."""
        if self.discriminator.single:
            return of(self.losses[0][0], lambda logits: logits.squeeze(0)).unsqueeze(0)
        if len(self.losses) == 1:
            return of(self.losses[0][0], lambda logits: logits)
        found: dict[int, Tensor] = {}
        for loss, rows in self.losses:
            part = of(loss, lambda logits, rows=rows: torch.stack([logits[row] for row in rows]))  # type: ignore[misc]
            found |= dict(zip(rows, part.unbind(0), strict=True))
        return torch.stack([found[row] for row in sorted(found)])

    def _update(
        self, side: str, loss: Tensor, weights: Sequence[Tensor], state: Tensors, settings: Tensors
    ) -> Tensor:
        """Have weights follow their gradients, whose norms are returned, [K]."""
        network, prefix = self._side(side), f"{side}_"
        ones = torch.ones_like(loss)
        found: Sequence[Tensor | None] = torch.autograd.grad(loss, weights, ones, allow_unused=True)
        pairs = zip(weights, found, strict=True)
        given = [torch.zeros_like(weight) if each is None else each for weight, each in pairs]
        with torch.no_grad():
            gradients = network.joined(given)
            own = {
                name.removeprefix(prefix): each
                for name, each in state.items()
                if name.startswith(prefix)
            }
            options = {
                name.removeprefix(prefix): each
                for name, each in settings.items()
                if name.startswith(prefix)
            }
            row = own["weights"]
            new = network.rule(row, gradients, own, options)
            for (start, shape), each in zip(network.places, found, strict=True):
                if each is None:  # an optimizer of torch's passes over it, and shrinks it neither
                    unused = slice(start, start + shape.numel())
                    new[:, unused] = row[:, unused]
            row.copy_(new)
            norms: Tensor = torch.linalg.vector_norm(gradients, dim=1)
            return norms

    @torch.no_grad()
    def _constrain(self, weights: Tensor) -> None:
        for row, constraint in enumerate(self.constraints):
            parts = self.discriminator.split(weights)
            constraint.constrain(parts if self.discriminator.single else [part[row] for part in parts])

    @torch.no_grad()
    def _average(self, state: Tensors, settings: Tensors) -> None:
        """The averaged generators follow (`gansearch.training.sampling.share_of_live`)."""
        step = state["step"]
        if self.config.ema is not None:
            follow = 1 - torch.minimum(settings["ema"], (1 + step) / (10 + step))
            average = state["averages"]
            average.lerp_(state["g_weights"], follow.to(average.dtype))
        step.add_(1)


def structure(network: nn.Module) -> nn.Module:
    """A copy of a network without its weights, whose gradients can be differentiated once more."""
    bare = copy.deepcopy(network).to("meta")
    bare._forward_hooks.clear()  # they look at what a network first returns
    for layer in bare.modules():
        if isinstance(layer, OwnLayer):
            layer.own_backward = False
    return bare.train()

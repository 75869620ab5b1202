"""How K trainings of one architecture train as one: the step of `Trainer`, stacked."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn, optim

from gansearch.losses import Observer, Penalty
from gansearch.networks.stacked import CannotStack
from gansearch.study.records import Report
from gansearch.training.measuring import JUDGED_BATCHES, Window, wait_for
from gansearch.training.randomness import deterministic_algorithms
from gansearch.training.sampling import share_of_live
from gansearch.training.stacked.descents import Descents
from gansearch.training.stacked.memory import keep_memory
from gansearch.training.stacked.parts import Losses, constraints, on_lanes, stacked_part
from gansearch.training.stacked.proof import why_unlike
from gansearch.training.stacked.side import Side
from gansearch.training.trainer import Trainer, frozen


class Row:
    """A training among others: what it has gathered since its last report.

    Args:
        trainer: the training, whose tensors are views of the stacked ones.

    Attributes:
        lanes: the most that were trained as one with it.
        compiled: whether compiled code has trained it.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.noise = trainer, trainer.inside.noise
        self.begin()

    def begin(self) -> None:
        """Begin with what is to come after a report."""
        trainer, per_step = self.trainer, self.trainer.config.discriminator_steps
        self.target = trainer.next_report
        self.first, self.seconds = trainer.step, 0.0
        self.lanes, self.compiled = 1, False
        self.batches: Iterator[Tensor] = trainer.inside.order.batches(
            trainer.batch_number, (self.target - trainer.step) * per_step, trainer.device
        )

    @property
    def left(self) -> int:
        """Steps to the next report."""
        return self.target - self.trainer.step


class Lanes:
    """Trainings of one architecture as one.

    Each has its own weights, optimizer's state and settings, order of samples, noise and losses. Sums
    over a training's numbers never go over those of another, so that one full of NaN leaves the others'
    as they are, to the bit.

    Args:
        trainers: of configurations of one shape (`gansearch.training.stacked.shape`).
        before: in which some of them were until now, maybe between two reports.

    Raises:
        CannotStack: something in them has no stacked counterpart, or is not the same in a stack.
    """

    rows: list[Row]
    compiled: ClassVar[bool] = False
    """Whether its step is compiled code."""

    @property
    def takes(self) -> bool:
        """Whether a row may be another training's."""
        return True

    def __init__(self, trainers: Sequence[Trainer], before: Lanes | None = None) -> None:
        if before is not None:
            for number in range(len(before.rows)):
                before.give(number)
        first = trainers[0]
        if len(trainers) > 1 and (reason := why_unlike(first.config, first.domain)):
            raise CannotStack(reason)
        if first.device.type == "cpu":
            keep_memory()
        self.config, self.device, self.domain = first.config, first.device, first.domain
        inside = [trainer.inside for trainer in trainers]
        self.rows = [Row(trainer) for trainer in trainers]
        self._generator = self._side(
            [t.generator for t in trainers], [i.g_descent.optimizer for i in inside]
        )
        self._discriminator = self._side(
            [t.discriminator for t in trainers], [i.d_descent.optimizer for i in inside]
        )
        self._averages = torch.zeros_like(self._generator.weights)
        for row in range(len(trainers)):
            self._take_average(row)
        self._samples, self._labels = inside[0].samples, inside[0].labels
        self._every = first.config.loss.penalty.every if first.config.loss.penalty else 1
        self._d_loss = torch.zeros(len(trainers), device=self.device)
        self._g_loss = torch.zeros_like(self._d_loss)
        self._norms: tuple[Tensor, Tensor] | None = None
        self._logits: list[tuple[Tensor, Tensor]] = []
        self._settle_parts()
        if before is not None:
            self._go_on_from(before)

    def _side(self, networks: Sequence[nn.Module], optimizers: Sequence[optim.Optimizer]) -> Side:
        return Side(networks, optimizers)

    def _go_on_from(self, before: Lanes) -> None:
        """Take over what has been gathered since the last reports."""
        was = {id(row.trainer): number for number, row in enumerate(before.rows)}
        known = [(k, was[id(row.trainer)]) for k, row in enumerate(self.rows) if id(row.trainer) in was]
        for ours, theirs in known:
            self.rows[ours] = before.rows[theirs]
            self._d_loss[ours], self._g_loss[ours] = before._d_loss[theirs], before._g_loss[theirs]
        for pair in before._logits:
            both = [side.new_full((len(self.rows), side.shape[1]), math.nan) for side in pair]
            for ours, theirs in known:
                for side, old in zip(both, pair, strict=True):
                    side[ours] = old[theirs]
            self._logits.append((both[0], both[1]))
        if before._norms is not None:
            d_norms, g_norms = (torch.full_like(self._d_loss, math.nan) for _ in range(2))
            for ours, theirs in known:
                d_norms[ours], g_norms[ours] = (norms[theirs] for norms in before._norms)
            self._norms = d_norms, g_norms

    def is_amid(self, trainer: Trainer) -> bool:
        """Whether a training is between two reports."""
        return any(row.trainer is trainer and trainer.step > row.first for row in self.rows)

    def take(self, row: int, trainer: Trainer) -> None:
        """Let a row be another training, which goes on from where it is; the rest stays as it is."""
        for number in range(len(self.rows)):
            self._give_memory(number)
        inside = trainer.inside
        self.rows[row] = Row(trainer)
        self._generator.take(row, trainer.generator, inside.g_descent.optimizer)
        self._discriminator.take(row, trainer.discriminator, inside.d_descent.optimizer)
        self._take_average(row)
        self._clear(row)
        self._settle_parts()

    def _take_average(self, row: int) -> None:
        average = self.rows[row].trainer.averaged.parameters()
        for parameter, part in zip(average, self._generator.split(self._averages), strict=True):
            part[row].copy_(parameter)
            parameter.data = part[row]

    def _settle_parts(self) -> None:
        trainers = [row.trainer for row in self.rows]
        self._loss, part = Losses(trainers, self.device), stacked_part(trainers)
        self._penalty = on_lanes(part, trainers) if part is not None else None
        self._observer = part if isinstance(part, Observer) else None
        self._constraints = constraints(trainers)
        inside = [trainer.inside for trainer in trainers]
        self._views = [each.view for each in inside]
        self._plain = all(view.plain for view in self._views)
        self._g_descents = Descents(self._generator, [each.g_descent for each in inside])
        self._d_descents = Descents(self._discriminator, [each.d_descent for each in inside])

    # To the next report

    def train(self) -> list[int]:
        """Train all to where one is at its next report, or its losses are no longer finite; returns the
        rows that are.
        """
        begun = time.perf_counter()
        due = self.run(min(row.left for row in self.rows))
        wait_for(self.device)
        share = (time.perf_counter() - begun) / len(self.rows)
        for row in self.rows:
            row.seconds += share
            row.lanes = max(row.lanes, len(self.rows))
            row.compiled = row.compiled or self.compiled
        return due

    def run(self, steps: int) -> list[int]:
        """Train all for so many steps, or until a loss is no longer finite; returns as `train` does."""
        self._generator.network.train()
        self._discriminator.network.train()
        with warnings.catch_warnings(), deterministic_algorithms(self.config.deterministic):
            # Gradients lie as weights do, which is not how torch would lay them out.
            warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout")
            return self._train(steps)

    def _train(self, steps: int) -> list[int]:
        for step in range(steps):
            self._step(measure=step + 1 == steps)
            for row in self.rows:
                row.trainer.step += 1
            looked_at = [k for k, row in enumerate(self.rows) if row.left and row.trainer.looks]
            if looked_at:
                finite = torch.isfinite(self._d_loss + self._g_loss).tolist()
                blown_up = [k for k in looked_at if not finite[k]]
                if blown_up:
                    return blown_up + [k for k, row in enumerate(self.rows) if not row.left]
        return [k for k, row in enumerate(self.rows) if not row.left]

    def report(self, number: int) -> Report:
        """Make a row's report, and begin with what comes after it."""
        row, trainer = self.rows[number], self.rows[number].trainer
        self.give(number)
        try:
            steps = trainer.step - row.first
            batches = steps * self.config.discriminator_steps
            return trainer.report(
                self._window(number, steps),
                batches,
                row.seconds,
                row.lanes,
                compiled=row.compiled,
            )
        finally:
            self._clear(number)
            if not trainer.finished:
                row.begin()

    def give(self, number: int) -> None:
        """Have a row's training hold all that it would have alone; its weights it holds at any time."""
        for side in (self._generator, self._discriminator):
            side.give(number)
            side.optimizer.give(number)
        self._give_memory(number)

    def _give_memory(self, number: int) -> None:
        """Have a row's penalty remember what it would alone."""
        if self._observer is not None:
            own: Any = self.rows[number].trainer.inside.penalty
            memory = self._observer.state_dict()
            own.load_state_dict({name: each[number].clone() for name, each in memory.items()})

    def _window(self, number: int, steps: int) -> Window:
        """What a training alone would have gathered."""
        window, row = Window(self.device, JUDGED_BATCHES), self.rows[number]
        window.d_loss, window.g_loss = self._d_loss[number], self._g_loss[number]
        window.d_count = float(steps * self.config.discriminator_steps)
        window.g_count = float(steps)
        if self._norms is not None and not row.left:
            window.d_grad_norm, window.g_grad_norm = (norms[number] for norms in self._norms)
        pairs = self._logits[-min(int(window.d_count), JUDGED_BATCHES) :]
        window.take_logits([(real[number], fake[number]) for real, fake in pairs])
        return window

    def _clear(self, number: int) -> None:
        self._d_loss[number] = self._g_loss[number] = 0.0

    # A step

    def _step(self, *, measure: bool) -> None:
        """The discriminators' updates and then one of the generators (`Trainer._step`)."""
        turns = self.config.discriminator_steps
        generator, discriminator = self._generator, self._discriminator
        generator.clear()

        # The discriminators learn to tell real samples from generated ones.
        for turn in range(turns):
            latents = self._latents()
            real, labels = self._batch()
            with torch.set_grad_enabled(turn + 1 == turns):
                fakes = self._pass(generator, latents, labels)
            seen_real, seen_fake = self._shown(real), self._shown(fakes.detach())
            discriminator.clear()
            if discriminator.stacked.takes_turns:
                real_logits = self._pass(discriminator, seen_real, labels)
                fake_logits = self._pass(discriminator, seen_fake, labels)
            else:  # one pass in place of two, which are as if they were in turn
                both = None if labels is None else torch.cat([labels, labels], 1)
                with discriminator.stacked.in_turn(2):
                    logits = self._pass(discriminator, torch.cat([seen_real, seen_fake], 1), both)
                real_logits, fake_logits = logits.unflatten(1, (2, -1)).unbind(1)
            loss = self._loss.d(real_logits, fake_logits)
            penalty = self._penalty if self._is_due(turn) else None
            if penalty is not None and self._every == 1:
                loss = loss + self._weighed(penalty(self._critic(labels), seen_real, seen_fake))
            self._backward(loss)
            discriminator.settle()
            self._d_loss += loss.detach()
            judged = real_logits.detach(), fake_logits.detach()
            self._note(*judged)
            self._logits = [*self._logits[1 - JUDGED_BATCHES :], judged]
            if measure:
                d_norms = discriminator.norms()
            self._d_descents.step(self._numbers)
            if penalty is not None and self._every > 1:
                self._penalise_lazily(penalty, seen_real, seen_fake, labels)
            if self._constraints:
                with torch.no_grad():
                    for constraint, parameters in self._constraints:
                        constraint.constrain(parameters)

        # The generators answer the discriminators as they are now, on the last of these batches.
        with frozen(discriminator.parameters):
            fake_logits = self._pass(discriminator, self._shown(fakes), labels)
            compared = None
            if self._loss.g_uses_real:
                compared = self._pass(discriminator, self._shown(real), labels)
            loss = self._loss.g(compared, fake_logits)
            self._backward(loss)
            generator.settle()
            self._g_loss += loss.detach()
            if measure:
                self._norms = d_norms, generator.norms()
            self._g_descents.step(self._numbers)
        self._average()

    def _is_due(self, turn: int) -> bool:
        """Whether an update is one with the penalties: for all or for none (`shape_of`)."""
        return (self.rows[0].trainer.batch_number + turn) % self._every == 0

    def _penalise_lazily(
        self, penalty: Penalty, real: Tensor, fake: Tensor, labels: Tensor | None
    ) -> None:
        """An update by the penalties alone, after that by the losses, on the same samples."""
        self._discriminator.clear()
        weighed = self._weighed(penalty(self._critic(labels), real, fake))
        self._backward(weighed)
        self._discriminator.settle()
        self._d_loss += weighed.detach()
        self._d_descents.step(self._numbers)

    @property
    def _numbers(self) -> list[int]:
        """Each training's step, from 0 on."""
        return [row.trainer.step for row in self.rows]

    def _shown(self, samples: Tensor) -> Tensor:
        """Samples [K, B, ...] as each training's discriminator sees them in this step."""
        if self._plain:
            return samples
        each = zip(self._views, samples, self._numbers, strict=True)
        return torch.stack([view(own, number) for view, own, number in each])

    def _note(self, real_logits: Tensor, fake_logits: Tensor) -> None:
        """Let those parts know of an update's logits, [K, B], that learn from them."""
        if self._observer is not None:
            self._observer.observe(real_logits, fake_logits)
        if not self._plain:
            for view, own in zip(self._views, real_logits, strict=True):
                view.learn(own)

    def _weighed(self, penalties: Tensor) -> Tensor:
        """Penalties [K] as they count in this step, each by the schedule of its weight."""
        configs = [row.trainer.config for row in self.rows]
        factors = [
            config.loss.penalty.factor(step, config.budget.steps) if config.loss.penalty else 1.0
            for config, step in zip(configs, self._numbers, strict=True)
        ]
        return penalties if set(factors) == {1.0} else penalties * penalties.new_tensor(factors)

    def _latents(self) -> Tensor:
        size = (len(self.rows), self.config.batch_size, self.config.latent_size)
        latents = torch.empty(size, device=self.device)
        for row, own in zip(self.rows, latents, strict=True):
            own.normal_(generator=row.noise)
        return latents

    def _batch(self) -> tuple[Tensor, Tensor | None]:
        """Each training's own real samples, [K, B, ...], and their labels, [K, B]."""
        rows = torch.stack([next(row.batches) for row in self.rows])
        real = self.domain.encode(self._samples.index_select(0, rows.flatten()))
        labels = None if self._labels is None else self._labels[rows]
        return real.view(*rows.shape, *real.shape[1:]), labels

    def _pass(self, side: Side, batch: Tensor, labels: Tensor | None) -> Tensor:
        """A pass through K networks in the configurations' precision; float32 comes out."""
        inputs = (batch,) if labels is None else (batch, labels)
        if self.config.precision == "float32":
            passed: Tensor = side.stacked(*inputs)
            return passed
        with torch.autocast(self.device.type, torch.bfloat16):
            passed = side.stacked.differentiable_twice(*inputs)
        return passed.float()

    def _critic(self, labels: Tensor | None) -> Callable[[Tensor], Tensor]:
        network = self._discriminator.stacked.differentiable_twice
        return network if labels is None else lambda samples: network(samples, labels)

    def _backward(self, loss: Tensor) -> None:
        loss.sum().backward()  # given ones for each, torch would load its compiler to compare shapes

    @torch.no_grad()
    def _average(self) -> None:
        """The averaged generators follow (`update_average`)."""
        if self.config.ema is None:
            return
        shares = []
        for row in self.rows:
            decay = row.trainer.config.ema
            assert decay is not None
            shares.append(share_of_live(decay, row.trainer.step))
        if len(set(shares)) == 1:
            self._averages.lerp_(self._generator.weights, shares[0])
        else:
            each = self._averages.new_tensor(shares).unsqueeze(1)
            self._averages.lerp_(self._generator.weights, each)

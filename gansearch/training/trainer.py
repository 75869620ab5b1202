"""How one GAN trains: a step of the game between its two networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gansearch.data import DataSet
from gansearch.losses import Constraint, Loss, Observer, Penalty
from gansearch.losses.draws import Draws, drawing_from
from gansearch.losses.flat import on_samples
from gansearch.metrics.reference import Reference
from gansearch.networks.mixture import Mixture
from gansearch.study.config import TrialConfig
from gansearch.training.building import build_loss
from gansearch.training.descent import Descent
from gansearch.training.lifecycle import Training, backward
from gansearch.training.measuring import (
    AUGMENTED,
    JUDGED_BATCHES,
    MEASURED,
    Window,
    gradient_norm,
)
from gansearch.training.order import DataOrder
from gansearch.training.outputs import check_penalty_gradient, check_penalty_output
from gansearch.training.overfitting import HELD_OUT, Exam
from gansearch.training.sampling import update_average
from gansearch.training.telling import Telling
from gansearch.training.view import View


@dataclass(frozen=True)
class Inside:
    """What a training is made of, besides its networks.

    Attributes:
        samples: the training samples as they are stored, on its device.
        labels: their classes, where the networks are given them.
        order: which samples each batch holds.
        loss: what both networks minimise.
        penalty: what is added to the discriminator's loss, if anything.
        noise: random numbers for latents.
        chance: random numbers for the penalty.
        flips: random numbers for the loss.
        view: how samples are shown to the discriminator.
        g_descent: the generator's optimizer, as it is used.
        d_descent: the discriminator's.
    """

    samples: Tensor
    labels: Tensor | None
    order: DataOrder
    loss: Loss
    penalty: Penalty | None
    noise: torch.Generator
    chance: torch.Generator
    flips: torch.Generator
    view: View
    g_descent: Descent
    d_descent: Descent


class _Batch(NamedTuple):
    """What an update of the discriminator was made of, for that of the generator."""

    real: Tensor
    latents: Tensor
    labels: Tensor | None
    fakes: Tensor | None
    """With their graph; None where they are to be made again."""


@contextmanager
def frozen(parameters: Iterable[Tensor]) -> Iterator[None]:
    """While it is open, no gradients are computed of these parameters, which saves their cost."""
    held = list(parameters)
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


class Trainer(Training):
    """One GAN in training.

    Args:
        config: what to train, completed (every part's default filled in).
        data: the training samples, which may be read-only and shared between processes.
        reference: the real side of the metrics, from `gansearch.training.prepare`.
        device: where to train, as torch names it.
        begun: see `Training`.
    """

    measured, again = MEASURED, 1

    def __init__(
        self,
        config: TrialConfig,
        data: DataSet,
        reference: Reference,
        device: str = "cpu",
        *,
        begun: bool = False,
    ) -> None:
        super().__init__(config, data, reference, device, begun=begun)
        self._d_parameters = [p for p in self.discriminator.parameters() if p.requires_grad]
        part: object = self._part
        self._constraint = part if isinstance(part, Constraint) else None
        self._observer = part if isinstance(part, Observer) else None
        self._chance, self._flips = self._stream("penalty"), self._stream("labels")
        self._penalty = self._penalty_of(self._part) if self._part else None
        self._d_loss = drawing_from(Draws(self._flips), self._loss.d)
        self._seen = self._stream("view")
        self._view = View(config, self._loss, self._seen)
        self._exam: Exam | None = None
        if reference.held_out is not None and config.evaluation.held_out is not None:
            held_out = reference.held_out
            self._exam = Exam(config, self._samples, self._labels, held_out, self.domain)

    def _begin(self) -> list[nn.Module]:
        self._loss, self._part = build_loss(self.config)
        self._telling = self._telling_of(self.config)
        return [self._telling.layer] if self._telling is not None else []

    @property
    def inside(self) -> Inside:
        """What it is made of, for whoever trains several as one (`gansearch.training.stacked`)."""
        return Inside(
            self._samples,
            self._labels,
            self._order,
            self._loss,
            self._part,
            self._noise,
            self._chance,
            self._flips,
            self._view,
            self._g_descent,
            self._d_descent,
        )

    @property
    def since_penalty(self) -> int:
        """Updates of the discriminator since its lazy penalty was due; 0 where it is at each."""
        return self.batch_number % self._every

    def _window(self) -> Window:
        return Window(self.device, JUDGED_BATCHES * self.microbatches)

    def _step(self, batches: Iterator[Tensor], window: Window, *, measure: bool) -> None:
        """The discriminator's updates and then one of the generator.

        Each batch is computed in micro-batches, whose gradients add up: one piece is the whole, unless
        memory is short. Fakes are made with their graph where it serves twice: a step's last batch of
        them trains both networks, as is common (PyTorch's DCGAN tutorial does so), which saves a pass
        through the generator. Of several pieces the graphs together would take the memory that
        splitting is to save.

        Where classes are learnt, fakes are asked for those of the real batch beside them: classes are
        as frequent as in the data, and a pair of a real and a fake sample is of one class.
        """
        for turn in range(self.config.discriminator_steps):
            batch = self._update_discriminator(batches, turn, window, measure=measure)
        with frozen(self._d_parameters):
            self._update_generator(batch, window, measure=measure)

        # The averaged generator, which is evaluated and exported, follows.
        if self.config.ema is not None:
            update_average(self.averaged, self.generator, self.config.ema, self.step)

    def _update_discriminator(
        self, batches: Iterator[Tensor], turn: int, window: Window, *, measure: bool
    ) -> _Batch:
        """The discriminator learns to tell real samples from generated ones; returns what it saw."""
        keep = self.microbatches == 1 and turn + 1 == self.config.discriminator_steps
        latents = self._latents(self.config.batch_size)
        rows = next(batches)
        real = self.domain.encode(self._samples[rows])
        labels = None if self._labels is None else self._labels[rows]
        due = self._penalty is not None and (self.batch_number + turn) % self._every == 0
        shown: list[tuple[float, Tensor, Tensor, Tensor | None]] = []
        self._d_optimizer.zero_grad()
        for share, reals, origins, classes in self._pieces(real, latents, labels):
            with torch.set_grad_enabled(keep):
                fakes = self._pass(self.generator, origins, classes)
            seen_real, seen_fake = self._show(reals), self._show(fakes.detach())
            real_logits = self._pass(self.discriminator, seen_real, classes)
            fake_logits = self._pass(self.discriminator, seen_fake, classes)
            loss = self._d_loss(real_logits, fake_logits)
            if self._telling is not None:
                loss = loss + self._telling.loss(origins)
            if due and self._every == 1:
                loss = loss + self._penalise(seen_real, seen_fake, classes)
            elif due:
                shown.append((share, seen_real, seen_fake, classes))
            backward(loss, share)
            window.add_discriminator(loss, share, real_logits, fake_logits)
            self._note(real_logits, fake_logits)
        if measure:
            window.d_grad_norm = gradient_norm(self.discriminator)
        self._d_descent.step(self.step)
        if shown:
            self._penalise_lazily(shown, window)
        if self._constraint is not None:
            with torch.no_grad():
                self._constraint.constrain(self._d_parameters)
        return _Batch(real, latents, labels, fakes if keep else None)

    def _update_generator(self, batch: _Batch, window: Window, *, measure: bool) -> None:
        """The generator answers the discriminator as it is now, on the last of its batches."""
        self._g_optimizer.zero_grad()
        for share, reals, origins, classes in self._pieces(batch.real, batch.latents, batch.labels):
            fakes = batch.fakes
            if fakes is None:
                fakes = self._pass(self.generator, origins, classes)
            fake_logits = self._pass(self.discriminator, self._show(fakes), classes)
            told = self._telling.loss(origins) if self._telling is not None else None
            compared = None
            if self._loss.g_uses_real:
                compared = self._pass(self.discriminator, self._show(reals), classes)
            loss = self._loss.g(compared, fake_logits)
            if told is not None:
                loss = loss + self.config.generator.diversity * told
            backward(loss, share)
            window.add_generator(loss, share)
        if measure:
            window.g_grad_norm = gradient_norm(self.generator)
        self._g_descent.step(self.step)

    def _show(self, samples: Tensor) -> Tensor:
        """Samples as the discriminator sees them in this step."""
        return self._view(samples, self.step)

    def _note(self, real_logits: Tensor, fake_logits: Tensor) -> None:
        """Let those parts know of an update's logits that learn from them."""
        if self._observer is not None:
            self._observer.observe(real_logits, fake_logits)
        self._view.learn(real_logits)

    def _telling_of(self, config: TrialConfig) -> Telling | None:
        """What tells a mixture's generators apart, where that is asked for."""
        if not config.generator.diversity or not isinstance(self.generator, Mixture):
            return None
        count = config.generator.mixture
        telling = Telling(self.generator.turns, count, self.discriminator)
        telling.layer.to(self.device)
        return telling

    def _penalise(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> Tensor:
        """The penalty as it counts in this step; a slope of bfloat16 is too coarse to be held at 1."""
        assert self._penalty is not None
        assert self.config.loss.penalty is not None
        penalty = self._penalty(self._critic(labels), real, fake)
        check_penalty_output(penalty, self.config)
        factor = self.config.loss.penalty.factor(self.step, self.config.budget.steps)
        return penalty if factor == 1 else penalty * factor

    def try_penalty(self) -> None:
        """Raise `OutputError` for a penalty by which nothing is learnt, of real samples alone."""
        if self._penalty is None or self._constraint is not None:
            return
        rows = slice(self.config.batch_size)
        labels = None if self._labels is None else self._labels[rows]
        seen = self._show(self.domain.encode(self._samples[rows]))
        check_penalty_gradient(
            self._penalty, self._critic(labels), (seen, seen.flip(0)), self._d_parameters, self.config
        )

    def _penalise_lazily(
        self, pieces: Iterable[tuple[float, Tensor, Tensor, Tensor | None]], window: Window
    ) -> None:
        """An update by the penalty alone, after that by the loss, on the same samples."""
        self._d_optimizer.zero_grad()
        for share, reals, seen, classes in pieces:
            penalty = self._penalise(reals, seen, classes)
            backward(penalty, share)
            window.d_loss.add_(penalty.detach(), alpha=share)
        for parameter in self._d_parameters:  # no slope depends on the last bias: by 0, as StyleGAN2's
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._d_descent.step(self.step)

    def _critic(self, labels: Tensor | None) -> Callable[[Tensor], Tensor]:
        """The discriminator as a penalty is given it, with the batch's classes in it."""
        network = self.discriminator
        return network if labels is None else lambda samples: network(samples, labels)

    def _penalty_of(self, part: Penalty) -> Penalty:
        """A penalty with this training's random numbers, on samples of its data."""
        drawing = drawing_from(Draws(self._chance), part)
        return on_samples(drawing, flat=bool(getattr(part, "flat", False)))

    def _gathered(self, window: Window) -> dict[str, float]:
        return window.metrics(self._loss) | self._view.metrics()

    def _asked(self, fake: Tensor | None, labels: Tensor | None) -> dict[str, float]:
        if self._exam is None:
            return {}
        if fake is None:
            return dict.fromkeys(HELD_OUT, math.nan)
        return self._exam.ask(self.discriminator, self._loss, fake, labels)

    def _measured_besides(self) -> dict[str, str]:
        augmented = AUGMENTED if self._view.metrics() else {}
        return augmented | (HELD_OUT if self._exam is not None else {})

    def _own_state(self) -> dict[str, Any]:
        return {
            "penalty": self._chance.get_state(),
            "labels": self._flips.get_state(),
            "telling": self._telling.layer.state_dict() if self._telling else {},
            "view": self._seen.get_state(),
            "adapted": self._view.state_dict(),
            "observed": self._observer.state_dict() if self._observer else {},
        }

    def _load_own(self, state: Mapping[str, Any]) -> None:
        if "penalty" in state:  # none, where penalties still drew from the global generators
            self._go_on_drawing(self._chance, state, "penalty")
        if "labels" in state:
            self._go_on_drawing(self._flips, state, "labels")
        if self._telling is not None:
            self._telling.layer.load_state_dict(state["telling"])
        if "view" in state:
            self._go_on_drawing(self._seen, state, "view")
            self._view.load_state_dict(state["adapted"])
        if self._observer is not None:
            self._observer.load_state_dict(state["observed"])

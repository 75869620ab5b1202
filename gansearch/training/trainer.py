"""How one GAN trains: from a configuration to a curve of reports.

The loop is a plain one. What a study adds to it is done once per report, not per step: evaluation,
gradient norms, health. Between reports a step costs what a hand-written step costs, and nothing
waits for the GPU but a look at the losses every `LOOK_EVERY` steps.
"""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from gansearch.data import DataSet
from gansearch.losses import Constraint, Loss, Observer, Penalty
from gansearch.losses.draws import Draws, drawing_from, takes_draws
from gansearch.losses.flat import on_samples
from gansearch.metrics.reference import Evaluator, Reference, provenance_of
from gansearch.networks.mixture import Mixture
from gansearch.study.config import FINAL, TrialConfig, trial_seed
from gansearch.study.records import Outcome, Report
from gansearch.training.averaging import settle, statistics_words
from gansearch.training.building import (
    build_discriminator,
    build_generator,
    build_loss,
    build_optimizer,
    is_conditional,
    judged_shape,
    own_rate,
    same_training,
)
from gansearch.training.descent import Descent, set_pace
from gansearch.training.health import Health
from gansearch.training.measuring import (
    AUGMENTED,
    COMPILED,
    JUDGED_BATCHES,
    LANES,
    MEASURED,
    SPLIT,
    Window,
    gradient_norm,
    wait_for,
    weight_scale,
)
from gansearch.training.order import DataOrder
from gansearch.training.outputs import check_first_output
from gansearch.training.overfitting import HELD_OUT, Exam
from gansearch.training.randomness import OwnRandomness, deterministic_algorithms, seeded
from gansearch.training.sampling import (
    AT_ONCE,
    EVALUATION_SEED,
    GRID_SEED,
    NonFiniteSamples,
    generate,
    picture_size,
    update_average,
)
from gansearch.training.telling import Telling
from gansearch.training.view import View

LOOK_EVERY = 50
"""Steps between two looks at whether the losses are still finite; each waits for the device."""


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
        g_optimizer: the generator's.
        d_optimizer: the discriminator's.
    """

    samples: Tensor
    labels: Tensor | None
    order: DataOrder
    loss: Loss
    penalty: Penalty | None
    noise: torch.Generator
    chance: torch.Generator
    g_optimizer: torch.optim.Optimizer
    d_optimizer: torch.optim.Optimizer


class _Batch(NamedTuple):
    """What an update of the discriminator was made of, for that of the generator."""

    real: Tensor
    latents: Tensor
    labels: Tensor | None
    fakes: Tensor | None
    """With their graph; None where they are to be made again."""


class Trainer:
    """One GAN in training.

    Args:
        config: what to train, completed (every part's default filled in).
        data: the training samples, which may be read-only and shared between processes.
        reference: the real side of the metrics, from `gansearch.metrics.prepare`.
        device: where to train, as torch names it.

    Attributes:
        step: generator updates so far.
        reports: the curve so far.
        microbatches: how many pieces each batch is computed in, see `split`.
        measured: what every report holds, and over what.
        again: passes through the generator in a step of micro-batches, besides the discriminator's.
    """

    measured, again = MEASURED, 1

    def __init__(
        self, config: TrialConfig, data: DataSet, reference: Reference, device: str = "cpu"
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.step, self._seconds, self.microbatches = 0, 0.0, 1
        self.reports: list[Report] = []
        self._random = OwnRandomness(config.seed, self.device)
        self.domain = data.domain
        self._samples = _as_tensor(data.samples).to(self.device)
        with self._random.in_use():
            self.generator = build_generator(config, self.domain, self.device)
            self.discriminator = build_discriminator(config, self.domain, self.device)
            self._loss, penalty = build_loss(config)
            self._telling = self._telling_of(config)
        self._labels = self._labels_of(data)
        self._d_parameters = [p for p in self.discriminator.parameters() if p.requires_grad]
        self.averaged = copy.deepcopy(self.generator).requires_grad_(False)
        self.averaged.eval()
        check_first_output(self.generator, "generator", data.shape, config, self.device)
        judged = judged_shape(config)
        check_first_output(self.discriminator, "discriminator", judged, config, self.device)
        # The step whose averaged weights have their statistics; the best report's, where wanted.
        self._settled, self._best = -1, dict[str, Tensor]()
        sides = config.optimizer
        rate = own_rate(config)
        self._g_optimizer = build_optimizer(sides.generator, self.generator, rate)
        learning = nn.ModuleList([self.discriminator])
        if self._telling is not None:
            learning.append(self._telling.layer)
        self._d_optimizer = build_optimizer(sides.discriminator, learning, rate)
        part: object = penalty
        self._part = penalty
        self._constraint = part if isinstance(part, Constraint) else None
        self._observer = part if isinstance(part, Observer) else None
        self._noise, self._chance = self._stream("noise"), self._stream("penalty")
        self._flips = self._stream("labels")
        self._penalty = self._penalty_of(penalty) if penalty else None
        self._seen = self._stream("view")
        self._view = View(config, self._loss, self._seen)
        self._draws_labels = takes_draws(getattr(self._loss, "d", None))
        self._every = config.loss.penalty.every if config.loss.penalty else 1
        self._weight = config.loss.penalty.schedule if config.loss.penalty else None
        set_pace(self._d_optimizer, self._every)
        steps = config.budget.steps
        self._g_descent = Descent(
            self._g_optimizer, list(self.generator.parameters()), sides.generator, steps
        )
        self._d_descent = Descent(
            self._d_optimizer, list(learning.parameters()), sides.discriminator, steps
        )
        self._order = DataOrder(len(self._samples), config.batch_size, config.seed)
        self._momenta = batch_norm_momenta(self.generator)
        self._evaluator = Evaluator(reference, device=str(self.device))
        self._final = reference.final if config.evaluation.final else None
        self._exam = self._exam_of(reference)
        self._health = Health(config, self.domain.noun)
        self._start_scale = {
            "d": weight_scale(self.discriminator),
            "g": weight_scale(self.generator),
        }

    @property
    def finished(self) -> bool:
        """Whether the last report was the last."""
        return bool(self.reports) and self.reports[-1].outcome is not None

    @property
    def batch_number(self) -> int:
        """Real batches that the discriminator has seen."""
        return self.step * self.config.discriminator_steps

    def provenance(self) -> dict[str, dict[str, Any]]:
        """Metric name -> features, their hash, sample counts, split, EMA or not."""
        samples = self.config.evaluation.samples
        evaluated = self._evaluator.provenance(samples, ema=self.config.ema is not None)
        how = statistics_words(self.averaged, self.config)
        evaluated = {name: origin | how for name, origin in evaluated.items()}
        own = self.measured | SPLIT if self.microbatches > 1 else self.measured
        own = own | AUGMENTED if self._view.metrics() else own
        own = own | HELD_OUT if self._exam is not None else own
        own = own | self._how_trained()
        if self._final is not None and self.config.evaluation.final is not None:
            samples = self.config.evaluation.final.samples
            last = provenance_of(self._final, samples, ema=self.config.ema is not None)
            of = {"of": "the best report's weights, at the end of the trial"}
            evaluated |= {f"{FINAL}{name}": origin | how | of for name, origin in last.items()}
        return {name: {"features": None, "over": over} for name, over in own.items()} | evaluated

    def _how_trained(self) -> dict[str, str]:
        """What is told of reports that were made in lanes, or by compiled code, and how many were."""
        counts = Counter(int(report.metrics.get("lanes", 1)) for report in self.reports)
        told = ", ".join(f"{lanes} at {count}" for lanes, count in sorted(counts.items()))
        own = {key: f"{over}: {told} reports" for key, over in LANES.items() if counts.keys() - {1}}
        compiled = sum("compiled" in report.metrics for report in self.reports)
        return own | {k: f"{over}: {compiled} reports" for k, over in COMPILED.items() if compiled}

    def split(self, microbatches: int) -> None:
        """From here on, compute each batch in so many equal pieces, for less memory and more time.

        Gradients are added up (gradient accumulation), so that an update is still one of the whole
        batch, of the same images and noise, up to rounding. What looks at a batch as a whole sees a
        piece: batch norm ("ghost batch norm", Hoffer et al. 2017, arXiv 1705.08741), DRAGAN's standard
        deviation, a user's own relativistic loss.

        Raises:
            ValueError: pieces of fewer than two images.
        """
        packs = self.config.batch_size // self.config.discriminator.pack
        if microbatches > 1 and packs // microbatches < 2:
            raise ValueError(f"a batch of {self.config.batch_size} has no {microbatches} micro-batches")
        self.microbatches = microbatches
        # A step has more passes through the generator then, each of which moves the running averages
        # of its batch norm: by less, so that they reach back over as many steps as before.
        turns = self.config.discriminator_steps
        passes = turns if microbatches == 1 else microbatches * (turns + self.again)
        for layer, momentum in self._momenta.items():
            layer.momentum = momentum if passes == turns else 1 - (1 - momentum) ** (turns / passes)

    def advance(self) -> Report:
        """Train to the next report and make it.

        The report carries an outcome where it is the last: `completed` at the end of the budget, or
        what a health rule calls it. Raises `RuntimeError` after that.
        """
        if self.finished:
            raise RuntimeError(f"this trial has ended: {self.reports[-1].outcome}")
        begun, seen = time.perf_counter(), self.batch_number
        with self._random.in_use(), deterministic_algorithms(self.config.deterministic):
            window = self._train_to(self.next_report)
        wait_for(self.device)
        return self.report(window, self.batch_number - seen, time.perf_counter() - begun)

    @property
    def next_report(self) -> int:
        """The step of the report that comes next."""
        budget = self.config.budget
        return min((self.step // budget.report_every + 1) * budget.report_every, budget.steps)

    def report(
        self,
        window: Window,
        batches: int,
        trained: float,
        lanes: int = 1,
        *,
        compiled: bool = False,
    ) -> Report:
        """Make the report of what has been trained since the last.

        Args:
            window: what was gathered meanwhile.
            batches: real batches that the discriminator has seen.
            trained: seconds of the device that it took, of several trainings as one this one's share.
            lanes: how many were trained as one.
            compiled: whether by compiled code.
        """
        begun = time.perf_counter()
        with self._random.in_use(), deterministic_algorithms(self.config.deterministic):
            metrics = self._measure(window)
        metrics["images_per_second"] = batches * self.config.batch_size / max(trained, 1e-9)
        if self.microbatches > 1:
            metrics["microbatches"] = float(self.microbatches)
        if lanes > 1:
            metrics["lanes"] = float(lanes)
        if compiled:
            metrics["compiled"] = 1.0
        self._seconds += trained + time.perf_counter() - begun
        report = self._judge(metrics)
        self.reports.append(report)
        return report

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
            self._g_optimizer,
            self._d_optimizer,
        )

    @torch.no_grad()
    def generate(self, count: int, seed: int) -> Tensor:
        """Samples from the evaluated generator as they are stored, on the trainer's device; of a
        conditional one with the classes as often as the data have them.

        Raises `NonFiniteSamples`.
        """
        labels = self._labels_of_samples(count, seed)
        return self._generate(count, seed, None if labels is None else labels.numpy())

    def _labels_of_samples(self, count: int, seed: int) -> Tensor | None:
        """The classes that `generate` asks for; None where the networks are told none."""
        if self._labels is None:
            return None
        return torch.from_numpy(self.domain.labels_as_drawn(count, seed))

    def _generate(self, count: int, seed: int, labels: np.ndarray | None) -> Tensor:
        with deterministic_algorithms(self.config.deterministic):
            return self._samples_of(self._evaluated(), count, seed, labels)

    def _samples_of(
        self, network: nn.Module, count: int, seed: int, labels: np.ndarray | None
    ) -> Tensor:
        """Samples of a network like the evaluated one."""
        size, at_once = self.config.latent_size, max(AT_ONCE // self.microbatches, 1)
        with seeded(seed, self.device):
            return generate(network, count, size, seed, self.device, self.domain, at_once, labels)

    @torch.no_grad()
    def grid(self) -> Image | None:
        """The picture of fixed-noise samples that a series shows; of classes, one after another. None
        where they are not finite.
        """
        count = picture_size(self.domain)
        labels = None if self._labels is None else self.domain.labels_in_order(count)
        try:
            samples = self._generate(count, self.config.seed + GRID_SEED, labels)
        except NonFiniteSamples:
            return None
        return self.domain.draw(samples)

    def _finite(self, count: int, seed: int) -> Tensor | None:
        """What `generate` makes; None where it is not finite."""
        try:
            return self.generate(count, seed)
        except NonFiniteSamples:
            return None

    def state(self) -> dict[str, Any]:
        """All that continuing needs, as tensors and plain values (`torch.load(weights_only=True)`
        reads it): a trainer that loads it goes on bit for bit as this one would (on the CPU).
        """
        return {
            "config": self.config.plain(),
            "domain": self.domain.plain(),
            "step": self.step,
            "microbatches": self.microbatches,
            "seconds": self._seconds,
            "reports": [report.plain() for report in self.reports],
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "averaged": self.averaged.state_dict(),
            "g_optimizer": self._g_optimizer.state_dict(),
            "d_optimizer": self._d_optimizer.state_dict(),
            "start_scale": self._start_scale,
            "device": self.device.type,
            "noise": self._noise.get_state(),
            "penalty": self._chance.get_state(),
            "labels": self._flips.get_state(),
            "telling": self._telling.layer.state_dict() if self._telling else {},
            "view": self._seen.get_state(),
            "adapted": self._view.state_dict(),
            "observed": self._observer.state_dict() if self._observer else {},
            "random": self._random.state(),
            **({"best": self._best} if self._best else {}),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave; raises `ValueError` if another training made it."""
        if not same_training(TrialConfig.model_validate(state["config"]), self.config):
            raise ValueError("the checkpoint was made by another configuration")
        if state["device"] != self.device.type:
            raise ValueError(f"the checkpoint was made on {state['device']}, not {self.device.type}")
        self.step, self._seconds = state["step"], state["seconds"]
        self.split(state.get("microbatches", 1))  # once there was no such key
        self.reports = [Report.of_plain(each) for each in state["reports"]]
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.averaged.load_state_dict(state["averaged"])
        self._settled = -1
        self._g_optimizer.load_state_dict(state["g_optimizer"])
        self._d_optimizer.load_state_dict(state["d_optimizer"])
        self._start_scale = state["start_scale"]
        self._noise.set_state(state["noise"].cpu())
        if "penalty" in state:  # once penalties drew from the global generators
            self._chance.set_state(state["penalty"].cpu())
        if "labels" in state:
            self._flips.set_state(state["labels"].cpu())
        if self._telling is not None:
            self._telling.layer.load_state_dict(state["telling"])
        if "view" in state:
            self._seen.set_state(state["view"].cpu())
            self._view.load_state_dict(state["adapted"])
        if self._observer is not None:
            self._observer.load_state_dict(state["observed"])
        self._random.load(state["random"])
        self._best = state.get("best", {})
        self._health = Health(self.config, self.domain.noun)
        self._health.replay(self.reports)

    # Training

    def _train_to(self, target: int) -> Window:
        """Train up to a step, or until the losses are no longer finite."""
        self.generator.train()
        self.discriminator.train()
        window = self._window()
        first, per_step = self.batch_number, self.config.discriminator_steps
        batches = self._order.batches(first, (target - self.step) * per_step, self.device)
        while self.step < target:
            last = self.step + 1 == target
            self._step(batches, window, measure=last)
            self.step += 1
            if self.step % LOOK_EVERY == 0 and not last and not window.finite():
                break
        return window

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

    def _d_loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss, with this training's random numbers where it draws any."""
        if not self._draws_labels:
            return self._loss.d(real, fake)
        drawing: Callable[..., Tensor] = self._loss.d
        return drawing(real, fake, draws=Draws(self._flips))

    def _penalise(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> Tensor:
        """The penalty as it counts in this step; a slope of bfloat16 is too coarse to be held at 1."""
        assert self._penalty is not None
        penalty = self._penalty(self._critic(labels), real, fake)
        factor = float(self._every)
        if self._weight is not None:
            factor *= self._weight.factor(self.step, self.config.budget.steps)
        return penalty if factor == 1 else penalty * factor

    def _penalise_lazily(
        self, pieces: Iterable[tuple[float, Tensor, Tensor, Tensor | None]], window: Window
    ) -> None:
        """An update by the penalty alone, after that by the loss, on the same samples."""
        self._d_optimizer.zero_grad()
        for share, reals, seen, classes in pieces:
            penalty = self._penalise(reals, seen, classes)
            backward(penalty, share)
            window.d_loss.add_(penalty.detach(), alpha=share)
        self._d_descent.step(self.step)

    def _pieces(
        self, real: Tensor, latents: Tensor, labels: Tensor | None
    ) -> Iterable[tuple[float, Tensor, Tensor, Tensor | None]]:
        """A batch, its latents and its labels in micro-batches, each after its share of the whole."""
        count = self.microbatches
        if count == 1:
            return [(1.0, real, latents, labels)]
        packs = torch.arange(0, len(real), self.config.discriminator.pack)  # which stay together
        ends = [int(piece[0]) for piece in packs.tensor_split(count)[1:]]
        classes = [None] * count if labels is None else labels.tensor_split(ends)
        pieces = zip(real.tensor_split(ends), latents.tensor_split(ends), classes, strict=True)
        return [(len(reals) / len(real), reals, origins, these) for reals, origins, these in pieces]

    def _critic(self, labels: Tensor | None) -> Callable[[Tensor], Tensor]:
        """The discriminator as a penalty is given it, with the batch's classes in it."""
        network = self.discriminator
        return network if labels is None else lambda samples: network(samples, labels)

    def _penalty_of(self, part: Penalty) -> Penalty:
        """A penalty with this training's random numbers, on samples of its data."""
        drawing = drawing_from(Draws(self._chance), part)
        return on_samples(drawing, flat=bool(getattr(part, "flat", False)))

    def _labels_of(self, data: DataSet) -> Tensor | None:
        """The labels, where the networks want them; raises `ValueError` if only one of them does."""
        wanted = {is_conditional(self.generator), is_conditional(self.discriminator)}
        if len(wanted) > 1:
            raise ValueError("generator and discriminator must both be conditional, or neither")
        if wanted == {False} or data.labels is None:
            return None
        return _as_tensor(data.labels).to(self.device)

    def _pass(self, network: nn.Module, batch: Tensor, labels: Tensor | None = None) -> Tensor:
        """A pass through a network in the configuration's precision; float32 comes out."""
        inputs = (batch,) if labels is None else (batch, labels)
        if self.config.precision == "float32":
            passed: Tensor = network(*inputs)
            return passed
        # One autocast for each pass: it remembers the weights that it has rounded until it closes, and
        # would go on with them after an update, or without the graph of a pass that had no gradient.
        with torch.autocast(self.device.type, torch.bfloat16):
            passed = network(*inputs)
        return passed.float()

    def _exam_of(self, reference: Reference) -> Exam | None:
        """What the discriminator is asked at each report, where that is wanted."""
        if reference.held_out is None or self.config.evaluation.held_out is None:
            return None
        return Exam(self.config, self._samples, self._labels, reference.held_out, self.domain)

    def _stream(self, purpose: str) -> torch.Generator:
        """Random numbers of their own: under the training's seed all streams would begin alike."""
        seed = trial_seed(self.config.seed, 0, purpose)
        return torch.Generator(self.device).manual_seed(seed)

    def _latents(self, count: int) -> Tensor:
        size = (count, self.config.latent_size)
        return torch.randn(size, generator=self._noise, device=self.device)

    # Measuring

    def _evaluated(self) -> nn.Module:
        """The generator that metrics and samples are made with, in evaluation mode."""
        if self.config.ema is None:
            return self.generator.eval()
        if self._settled != self.step:
            live, pieces = self.generator, self.microbatches
            settle(self.averaged, live, self.config, self.domain, self.device, pieces)
            self._settled = self.step
        return self.averaged

    def _measure(self, window: Window) -> dict[str, float]:
        """The report's metrics. Where samples are not finite nothing is measured: NaN says so."""
        metrics = window.metrics(self._loss) | self._view.metrics()
        for key, network in (("d", self.discriminator), ("g", self.generator)):
            growth = weight_scale(network) / max(self._start_scale[key], 1e-3)
            metrics[f"{key}_weight_growth"] = growth
        evaluation, seed = self.config.evaluation, self.config.seed + EVALUATION_SEED
        alive = math.isfinite(metrics["g_weight_growth"])
        if alive and (images := self._finite(evaluation.samples, seed)) is not None:
            labels = self._labels_of_samples(len(images), seed)
            if self._exam is not None:
                metrics |= self._exam.ask(self.discriminator, self._loss, images, labels)
            return metrics | self._evaluator.evaluate(images, labels)
        names = [part.name for part in evaluation.metrics]
        names += HELD_OUT if self._exam is not None else []
        return metrics | dict.fromkeys([*names, "diversity"], math.nan)

    def _judge(self, metrics: dict[str, float]) -> Report:
        outcome = Outcome.COMPLETED if self.step >= self.config.budget.steps else None
        images = self.batch_number * self.config.batch_size
        plain = Report(self.step, images, self._seconds, metrics, time.time())
        verdict = self._health.observe(plain)
        outcome = verdict.outcome or outcome
        if self._final is not None:
            metrics |= self._at_the_end(plain, ended=outcome is not None)
        reason = "; ".join(filter(None, [verdict.reason, self._split_words() if outcome else ""]))
        return Report(self.step, images, self._seconds, metrics, plain.time, outcome, reason)

    def _at_the_end(self, report: Report, *, ended: bool) -> dict[str, float]:
        """Remember the best weights; of a trial that ends, measure them as `evaluation.final` says."""
        assert self._final is not None
        best = self.config.best([*self.reports, report])
        if best is not None and best.step == self.step:
            self._best = {k: v.detach().clone() for k, v in self._evaluated().state_dict().items()}
        if not ended:
            return {}
        final = self.config.evaluation.final
        assert final is not None
        seed, found = self.config.seed + EVALUATION_SEED, dict[str, float]()
        with self._random.in_use(), deterministic_algorithms(self.config.deterministic):
            network = copy.deepcopy(self._evaluated())
            if self._best:
                network.load_state_dict(self._best)
                labels = self._labels_of_samples(final.samples, seed)
                told = None if labels is None else labels.numpy()
                with suppress(NonFiniteSamples):  # they are more than were finite
                    samples = self._samples_of(network, final.samples, seed, told)
                    found = Evaluator(self._final, self.device).evaluate(samples, labels)
        names = [name for name, _ in self._final.metrics]
        return {f"{FINAL}{name}": found.get(name, math.nan) for name in names}

    def _split_words(self) -> str:
        size, pieces = self.config.batch_size, self.microbatches
        return f"its batches of {size} were computed in {pieces} pieces" if pieces > 1 else ""


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


def backward(loss: Tensor, share: float) -> None:
    """Add a share of a loss's gradients to those that are there."""
    weight = None if share == 1 else torch.full_like(loss, share)
    loss.backward(weight)  # type: ignore[no-untyped-call]


def batch_norm_momenta(network: nn.Module) -> dict[nn.modules.batchnorm._BatchNorm, float]:
    """How much a pass moves the running averages of each batch norm of a network."""
    kind = nn.modules.batchnorm._BatchNorm
    return {m: m.momentum for m in network.modules() if isinstance(m, kind) and m.momentum is not None}


def _as_tensor(array: np.ndarray) -> Tensor:
    """A tensor over the array's own memory, which other processes may share and nobody writes to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")
        return torch.from_numpy(array)

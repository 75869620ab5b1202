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
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gansearch.data.images import ImageData
from gansearch.losses import LOSSES, PENALTIES, Constraint, Loss, Penalty
from gansearch.metrics.reference import Evaluator, Reference
from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.study.config import Optimizer, TrialConfig, trial_seed
from gansearch.study.records import Outcome, Report
from gansearch.training.health import Health
from gansearch.training.optimizers import OPTIMIZERS
from gansearch.training.randomness import (
    deterministic_algorithms,
    random_states,
    restore_random_states,
    seed_everything,
)

LOOK_EVERY = 50
"""Steps between two looks at whether the losses are still finite; each waits for the device."""

JUDGED_BATCHES = 8
"""The discriminator's error rates are counted over its last so many batches before a report."""

AT_ONCE = 256
"""Images generated in one pass where no gradient is wanted."""

GRID_SIZE = 64
"""Images in the fixed-noise sample grid."""

Shape = tuple[int, int, int]

EVALUATION_SEED, GRID_SEED = 1, 2
"""Offsets of the evaluation's noise: the same at every report, so that curves differ by the network
alone, and apart from the training noise."""

LAST_BATCHES = f"the discriminator's last {JUDGED_BATCHES} training batches"
MEASURED = {
    "d_loss": "mean over the steps since the last report, penalty included",
    "g_loss": "mean over the steps since the last report",
    "d_grad_norm": "the last step before the report",
    "g_grad_norm": "the last step before the report",
    "d_weight_growth": "root mean square of all weights, as a multiple of the start's",
    "g_weight_growth": "root mean square of all weights, as a multiple of the start's",
    "d_accuracy": LAST_BATCHES,
    "d_error_real": LAST_BATCHES,
    "d_error_fake": LAST_BATCHES,
    "d_doubt": LAST_BATCHES,
    "diversity": "the evaluated samples",
    "images_per_second": "real images through the discriminator since the last report, per second",
}
"""What every report holds besides the metrics that the configuration asks for, and over what."""

SPLIT = {"microbatches": "pieces in which each batch was computed, for want of memory"}
"""What reports hold while there is more than one."""


class Trainer:
    """One GAN in training.

    Args:
        config: what to train, completed (every part's default filled in).
        data: the training images; their pixels may be read-only and shared between processes.
        reference: the real side of the metrics, from `gansearch.metrics.prepare`.
        device: where to train, as torch names it.

    Attributes:
        step: generator updates so far.
        reports: the curve so far.
        microbatches: how many pieces each batch is computed in, see `split`.
    """

    def __init__(
        self, config: TrialConfig, data: ImageData, reference: Reference, device: str = "cpu"
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.step = 0
        self.reports: list[Report] = []
        self.microbatches = 1
        self._seconds = 0.0
        seed_everything(config.seed)  # initial weights, and whatever a part draws by itself
        self._pixels = _as_tensor(data.images).to(self.device)
        self.generator = build_generator(config, data.shape, self.device)
        self.discriminator = build_discriminator(config, data.shape, self.device)
        self._d_parameters = [p for p in self.discriminator.parameters() if p.requires_grad]
        self.averaged = copy.deepcopy(self.generator).requires_grad_(False)
        self.averaged.eval()
        sides = config.optimizer
        self._g_optimizer = _build_optimizer(sides.generator, self.generator)
        self._d_optimizer = _build_optimizer(sides.discriminator, self.discriminator)
        self._loss, self._penalty = build_loss(config)
        part: object = self._penalty
        self._constraint = part if isinstance(part, Constraint) else None
        # A stream of its own: with the initial weights' it would begin with the same numbers.
        noise_seed = trial_seed(config.seed, 0, "noise")
        self._noise = torch.Generator(self.device).manual_seed(noise_seed)
        self._order = DataOrder(len(self._pixels), config.batch_size, config.seed)
        self._momenta = batch_norm_momenta(self.generator)
        self._evaluator = Evaluator(reference, device=str(self.device))
        self._health = Health(config)
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
        own = MEASURED | SPLIT if self.microbatches > 1 else MEASURED
        return {name: {"features": None, "over": over} for name, over in own.items()} | evaluated

    def split(self, microbatches: int) -> None:
        """From here on, compute each batch in so many equal pieces, for less memory and more time.

        Gradients are added up (gradient accumulation), so that an update is still one of the whole
        batch, of the same images and noise, up to rounding. What looks at a batch as a whole sees a
        piece: batch norm ("ghost batch norm", Hoffer et al. 2017, arXiv 1705.08741), DRAGAN's standard
        deviation, a user's own relativistic loss.

        Raises:
            ValueError: pieces of fewer than two images.
        """
        if microbatches > 1 and self.config.batch_size // microbatches < 2:
            raise ValueError(f"a batch of {self.config.batch_size} has no {microbatches} micro-batches")
        self.microbatches = microbatches
        # A step has more passes through the generator then, each of which moves the running averages
        # of its batch norm: by less, so that they reach back over as many steps as before.
        turns = self.config.discriminator_steps
        passes = turns if microbatches == 1 else microbatches * (turns + 1)
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
        budget = self.config.budget
        target = min((self.step // budget.report_every + 1) * budget.report_every, budget.steps)
        with deterministic_algorithms(self.config.deterministic):
            window = self._train_to(target)
            trained = time.perf_counter() - begun
            metrics = self._measure(window)
        metrics["images_per_second"] = (
            (self.batch_number - seen) * self.config.batch_size / max(trained, 1e-9)
        )
        if self.microbatches > 1:
            metrics["microbatches"] = float(self.microbatches)
        self._seconds += time.perf_counter() - begun
        report = self._judge(metrics)
        self.reports.append(report)
        return report

    @torch.no_grad()
    def generate(self, count: int, seed: int) -> Tensor:
        """Images from the evaluated generator: uint8, count x C x H x W, on the trainer's device."""
        network, at_once = self._evaluated(), max(AT_ONCE // self.microbatches, 1)
        with deterministic_algorithms(self.config.deterministic):
            return generate(network, count, self.config.latent_size, seed, self.device, at_once)

    def grid(self) -> Tensor:
        """The fixed-noise samples that an image series shows: uint8, GRID_SIZE x C x H x W."""
        return self.generate(GRID_SIZE, self.config.seed + GRID_SEED)

    def state(self) -> dict[str, Any]:
        """All that continuing needs, as tensors and plain values (`torch.load(weights_only=True)`
        reads it): a trainer that loads it goes on bit for bit as this one would (on the CPU).
        """
        return {
            "config": self.config.plain(),
            "image_shape": list(self._pixels.shape[1:]),
            "step": self.step,
            "microbatches": self.microbatches,
            "seconds": self._seconds,
            "reports": [asdict(report) | {"outcome": _text(report.outcome)} for report in self.reports],
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "averaged": self.averaged.state_dict(),
            "g_optimizer": self._g_optimizer.state_dict(),
            "d_optimizer": self._d_optimizer.state_dict(),
            "start_scale": self._start_scale,
            "device": self.device.type,
            "noise": self._noise.get_state(),
            "random": random_states(self.device),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave; raises `ValueError` if another configuration made it."""
        if TrialConfig.model_validate(state["config"]) != self.config:
            raise ValueError("the checkpoint was made by another configuration")
        if state["device"] != self.device.type:
            raise ValueError(f"the checkpoint was made on {state['device']}, not {self.device.type}")
        self.step, self._seconds = state["step"], state["seconds"]
        self.split(state.get("microbatches", 1))  # once there was no such key
        self.reports = [
            Report(**r | {"outcome": Outcome(r["outcome"]) if r["outcome"] else None})
            for r in state["reports"]
        ]
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.averaged.load_state_dict(state["averaged"])
        self._g_optimizer.load_state_dict(state["g_optimizer"])
        self._d_optimizer.load_state_dict(state["d_optimizer"])
        self._start_scale = state["start_scale"]
        self._noise.set_state(state["noise"].cpu())
        restore_random_states(state["random"], self.device)
        self._health = Health(self.config)
        self._health.replay(self.reports)

    # Training

    def _train_to(self, target: int) -> _Window:
        """Train up to a step, or until the losses are no longer finite."""
        self.generator.train()
        self.discriminator.train()
        window = _Window(self.device, JUDGED_BATCHES * self.microbatches)
        first, per_step = self.batch_number, self.config.discriminator_steps
        batches = self._order.batches(first, (target - self.step) * per_step, self.device)
        while self.step < target:
            last = self.step + 1 == target
            for turn in range(per_step):
                latents = self._latents(self.config.batch_size)
                fake = self._generate_for(latents, generator_too=turn + 1 == per_step)
                real = scale(self._pixels[next(batches)])
                self._update_discriminator(real, fake.detach(), window, measure=last)
            self._update_generator(real, latents, fake, window, measure=last)
            self.step += 1
            if self.step % LOOK_EVERY == 0 and not last and not window.finite():
                break
        return window

    def _generate_for(self, latents: Tensor, *, generator_too: bool) -> Tensor:
        """A batch of fakes. A step's last batch serves the generator's update too, as is common
        (PyTorch's DCGAN tutorial does so): that saves a pass through the generator. Of micro-batches
        no graph is kept, for together they would take the memory that splitting is to save.
        """
        with torch.set_grad_enabled(generator_too and self.microbatches == 1):
            parts = [self._pass(self.generator, part) for _, (part,) in self._pieces(latents)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _pass(self, network: nn.Module, batch: Tensor) -> Tensor:
        """A pass through a network in the configuration's precision; float32 comes out."""
        if self.config.precision == "float32":
            passed: Tensor = network(batch)
            return passed
        # One autocast for each pass: it remembers the weights that it has rounded until it closes, and
        # would go on with them after an update, or without the graph of a pass that had no gradient.
        with torch.autocast(self.device.type, torch.bfloat16):
            passed = network(batch)
        return passed.float()

    def _pieces(self, *batches: Tensor) -> Iterable[tuple[float, tuple[Tensor, ...]]]:
        """Batches of one length in micro-batches, each with its share of the whole."""
        if self.microbatches == 1:
            return [(1.0, batches)]
        split = zip(*(batch.tensor_split(self.microbatches) for batch in batches), strict=True)
        return [(len(parts[0]) / len(batches[0]), parts) for parts in split]

    def _update_discriminator(
        self, real: Tensor, fake: Tensor, window: _Window, *, measure: bool
    ) -> None:
        self._d_optimizer.zero_grad()
        for share, (reals, fakes) in self._pieces(real, fake):
            real_logits = self._pass(self.discriminator, reals)
            fake_logits = self._pass(self.discriminator, fakes)
            loss = self._loss.d(real_logits, fake_logits)
            if self._penalty is not None:  # a slope of bfloat16 is too coarse to be held at 1
                loss = loss + self._penalty(self.discriminator, reals, fakes)
            backward(loss, share)
            window.add_discriminator(loss, share, real_logits, fake_logits)
        if measure:
            window.d_grad_norm = gradient_norm(self.discriminator)
        self._d_optimizer.step()
        if self._constraint is not None:
            with torch.no_grad():
                self._constraint.constrain(self._d_parameters)

    def _update_generator(
        self, real: Tensor, latents: Tensor, fake: Tensor, window: _Window, *, measure: bool
    ) -> None:
        for parameter in self._d_parameters:  # their gradients are not wanted here: save them
            parameter.requires_grad_(False)
        self._g_optimizer.zero_grad()
        for share, (reals, origins, fakes) in self._pieces(real, latents, fake):
            again = fakes if self.microbatches == 1 else self._pass(self.generator, origins)
            fake_logits = self._pass(self.discriminator, again)
            real_logits = self._pass(self.discriminator, reals) if self._loss.g_uses_real else None
            loss = self._loss.g(real_logits, fake_logits)
            backward(loss, share)
            window.add_generator(loss, share)
        if measure:
            window.g_grad_norm = gradient_norm(self.generator)
        self._g_optimizer.step()
        for parameter in self._d_parameters:
            parameter.requires_grad_(True)
        if self.config.ema is not None:
            update_average(self.averaged, self.generator, self.config.ema, self.step)

    def _latents(self, count: int) -> Tensor:
        size = (count, self.config.latent_size)
        return torch.randn(size, generator=self._noise, device=self.device)

    # Measuring

    def _evaluated(self) -> nn.Module:
        """The generator that metrics and samples are made with, in evaluation mode."""
        if self.config.ema is None:
            return self.generator.eval()
        for ours, live in zip(self.averaged.buffers(), self.generator.buffers(), strict=True):
            ours.copy_(live)  # running statistics are averages already
        return self.averaged

    def _measure(self, window: _Window) -> dict[str, float]:
        """The report's metrics. A network that is no longer finite is not evaluated: NaN says so."""
        metrics = window.metrics(self._loss)
        for key, network in (("d", self.discriminator), ("g", self.generator)):
            growth = weight_scale(network) / max(self._start_scale[key], 1e-3)
            metrics[f"{key}_weight_growth"] = growth
        if math.isfinite(metrics["g_weight_growth"]):
            samples = self.config.evaluation.samples
            images = self.generate(samples, self.config.seed + EVALUATION_SEED)
            return metrics | self._evaluator.evaluate(images)
        names = [part.name for part in self.config.evaluation.metrics]
        return metrics | dict.fromkeys([*names, "diversity"], math.nan)

    def _judge(self, metrics: dict[str, float]) -> Report:
        outcome = Outcome.COMPLETED if self.step >= self.config.budget.steps else None
        images = self.batch_number * self.config.batch_size
        plain = Report(self.step, images, self._seconds, metrics, time.time())
        verdict = self._health.observe(plain)
        outcome = verdict.outcome or outcome
        reason = "; ".join(filter(None, [verdict.reason, self._split_words() if outcome else ""]))
        return Report(self.step, images, self._seconds, metrics, plain.time, outcome, reason)

    def _split_words(self) -> str:
        size, pieces = self.config.batch_size, self.microbatches
        return f"its batches of {size} were computed in {pieces} pieces" if pieces > 1 else ""


class _Window:
    """What is gathered between two reports, on the device and without waiting for it."""

    def __init__(self, device: torch.device, judged: int) -> None:
        self.d_loss = torch.zeros((), device=device)
        self.g_loss = torch.zeros((), device=device)
        self.d_grad_norm = self.g_grad_norm = torch.full((), math.nan)
        self.d_count = self.g_count = 0.0
        self._judged = judged
        self._logits: list[tuple[Tensor, Tensor]] = []

    def add_discriminator(self, loss: Tensor, share: float, real: Tensor, fake: Tensor) -> None:
        self.d_loss.add_(loss.detach(), alpha=share)
        self.d_count += share
        self._logits.append((real.detach(), fake.detach()))
        if len(self._logits) > self._judged:
            self._logits.pop(0)

    def add_generator(self, loss: Tensor, share: float) -> None:
        self.g_loss.add_(loss.detach(), alpha=share)
        self.g_count += share

    def finite(self) -> bool:
        return bool(torch.isfinite(self.d_loss + self.g_loss))

    def metrics(self, loss: Loss) -> dict[str, float]:
        real, fake = (torch.cat(side) for side in zip(*self._logits, strict=True))
        decision = (real.mean() + fake.mean()) / 2 if loss.decision is None else loss.decision
        threshold = float(decision)
        missed, fooled = (real <= threshold).float().mean(), (fake > threshold).float().mean()
        return {
            "d_loss": (self.d_loss / self.d_count).item(),
            "g_loss": (self.g_loss / self.g_count).item(),
            "d_grad_norm": self.d_grad_norm.item(),
            "g_grad_norm": self.g_grad_norm.item(),
            "d_accuracy": 1 - (missed + fooled).item() / 2,
            "d_error_real": missed.item(),
            "d_error_fake": fooled.item(),
            "d_doubt": doubt(loss, real, fake, threshold),
        }


class DataOrder:
    """Which images each batch holds: every epoch a fresh permutation, the last partial batch left
    out. A batch is a function of its number and the seed alone, so a data position is a number.

    Args:
        count: images; fewer than `batch_size` are drawn with repetition.
        batch_size: images in a batch.
        seed: fixes every permutation.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.per_epoch = max(count // batch_size, 1)

    def batches(self, first: int, number: int, device: torch.device) -> Iterator[Tensor]:
        """Indices, int64 of length batch_size, of `number` batches from the `first`-th on."""
        epoch, order = -1, torch.empty(0)
        for batch in range(first, first + number):
            if batch // self.per_epoch != epoch:
                epoch = batch // self.per_epoch
                order = self._permutation(epoch).to(device)
            start = batch % self.per_epoch * self.batch_size
            yield order[start : start + self.batch_size]

    def _permutation(self, epoch: int) -> Tensor:
        chance = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        if self.count < self.batch_size:
            return torch.randint(self.count, (self.batch_size,), generator=chance)
        return torch.randperm(self.count, generator=chance)


def build_generator(config: TrialConfig, shape: Shape, device: torch.device) -> nn.Module:
    """A fresh generator of images of a shape (C, H, W); raises `ValueError` for one it cannot do."""
    part = config.generator
    with _birthplace(device):
        return GENERATORS.build(part.name, part.options, shape, config.latent_size).to(device)


def build_discriminator(config: TrialConfig, shape: Shape, device: torch.device) -> nn.Module:
    """A fresh discriminator of images of a shape (C, H, W); raises `ValueError` as above."""
    part = config.discriminator
    with _birthplace(device):
        return DISCRIMINATORS.build(part.name, part.options, shape).to(device)


def _birthplace(device: torch.device) -> torch.device:
    """Networks are initialised on the CPU, so that a seed means the same start on any device."""
    return device if device.type == "meta" else torch.device("cpu")


def build_loss(config: TrialConfig) -> tuple[Loss, Penalty | None]:
    """The loss and the penalty that a configuration names."""
    loss = LOSSES.build(config.loss.name, config.loss.options)
    penalty = config.loss.penalty
    return loss, PENALTIES.build(penalty.name, penalty.options) if penalty else None


def _build_optimizer(side: Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    return OPTIMIZERS.build(side.name, side.options, network.parameters())


@torch.no_grad()
def generate(
    network: nn.Module,
    count: int,
    latent_size: int,
    seed: int,
    device: torch.device,
    at_once: int = AT_ONCE,
) -> Tensor:
    """Images of a generator in evaluation mode: uint8, count x C x H x W; a seed, the same images,
    up to rounding however many are made `at_once`.
    """
    noise = torch.Generator(device).manual_seed(seed)
    batches = []
    for start in range(0, count, AT_ONCE):
        size = (min(AT_ONCE, count - start), latent_size)
        latents = torch.randn(size, generator=noise, device=device)
        batches += [unscale(network(part)) for part in torch.split(latents, at_once)]
    return torch.cat(batches)


def scale(pixels: Tensor) -> Tensor:
    """uint8 0..255 -> float32 -1..1, the range of tanh."""
    return pixels.float().mul_(1 / 127.5).sub_(1)


def unscale(images: Tensor) -> Tensor:
    """float -1..1 -> uint8 0..255, rounded; what lies outside is cut off as an image file would."""
    return images.mul(127.5).add_(127.5).round_().clamp_(0, 255).to(torch.uint8)


@torch.no_grad()
def update_average(average: nn.Module, live: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights (Yazici et al. 2019, arXiv 1806.04498).

    The decay rises with the step as (1 + t) / (10 + t), so that the average forgets the random
    start; TensorFlow's `ExponentialMovingAverage(num_updates)` does the same.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(live.parameters()), weight)


def backward(loss: Tensor, share: float) -> None:
    """Add a share of a loss's gradients to those that are there."""
    weight = None if share == 1 else torch.full_like(loss, share)
    loss.backward(weight)  # type: ignore[no-untyped-call]


def batch_norm_momenta(network: nn.Module) -> dict[nn.modules.batchnorm._BatchNorm, float]:
    """How much a pass moves the running averages of each batch norm of a network."""
    kind = nn.modules.batchnorm._BatchNorm
    return {m: m.momentum for m in network.modules() if isinstance(m, kind) and m.momentum is not None}


def gradient_norm(network: nn.Module) -> Tensor:
    """Euclidean norm over all the gradients of a network, as a scalar tensor."""
    return nn.utils.get_total_norm(p.grad for p in network.parameters() if p.grad is not None)


def doubt(loss: Loss, real: Tensor, fake: Tensor, decision: float) -> float:
    """The discriminator's loss as a share of an undecided one's: 1, it guesses; 0, it is sure of every
    image, and its verdict hardly changes from one generated image to another, so that nothing is left
    in it to learn from. A critic's loss has no bottom to compare with (Wasserstein): always 1.
    """
    undecided = loss.d(torch.full_like(real, decision), torch.full_like(fake, decision)).item()
    return loss.d(real, fake).item() / undecided if undecided > 0 else 1.0


@torch.no_grad()
def weight_scale(network: nn.Module) -> float:
    """Root mean square of all the weights; NaN where one is."""
    count = sum(p.numel() for p in network.parameters())
    return nn.utils.get_total_norm(network.parameters()).item() / math.sqrt(count)


def _as_tensor(pixels: np.ndarray) -> Tensor:
    """A tensor over the array's own memory, which other processes may share and nobody writes to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")
        return torch.from_numpy(pixels)


def _text(outcome: Outcome | None) -> str | None:
    return outcome.value if outcome else None

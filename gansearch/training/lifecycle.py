"""The life of one training: from a configuration to a curve of reports.

The loop is a plain one. What a study adds to it is done once per report, not per step: evaluation,
gradient norms, health. Between reports a step costs what a hand-written step costs, and nothing
waits for the GPU but a look at the losses every `LOOK_EVERY` steps.

It is one long file because it is one class: what it holds, what a checkpoint holds and what goes on
from one must be read side by side, or a resumed training would no longer be the same to the bit.
"""

from __future__ import annotations

import copy
import logging
import math
import time
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor, nn

from gansearch.data import DataSet
from gansearch.errors import StorageError
from gansearch.metrics.reference import Evaluator, Reference, provenance_of
from gansearch.study.config import TrialConfig, trial_seed
from gansearch.study.evaluation import FINAL
from gansearch.study.records import Outcome, Report, count
from gansearch.training.averaging import settle, statistics_words
from gansearch.training.building import (
    build_discriminator,
    build_generator,
    build_optimizer,
    is_conditional,
    judged_shape,
    own_rate,
    same_training,
)
from gansearch.training.descent import Descent, set_pace
from gansearch.training.health import Health
from gansearch.training.measuring import (
    COMPILED,
    LANES,
    SPLIT,
    Window,
    wait_for,
    weight_scale,
)
from gansearch.training.order import DataOrder
from gansearch.training.outputs import OutputError, check_first_output
from gansearch.training.randomness import OwnRandomness, deterministic_algorithms, seeded
from gansearch.training.sampling import (
    AT_ONCE,
    EVALUATION_SEED,
    GRID_SEED,
    NonFiniteSamples,
    generate,
    picture_size,
)
from gansearch.training.transfer import from_scratch

log = logging.getLogger(__name__)

LOOK_EVERY = 50
"""Steps between two looks at whether the losses are still finite; each waits for the device."""


class Training(ABC):
    """One training: its life but for what a step is, which is its kind's own.

    Args:
        config: what to train, completed (every part's default filled in).
        data: the training samples, which may be read-only and shared between processes.
        reference: the real side of the metrics, from `gansearch.training.prepare`.
        device: where to train, as torch names it.
        begun: it is to go on from a state, and needs nothing any more of what it began with.

    Attributes:
        step: generator updates so far.
        reports: the curve so far.
        microbatches: how many pieces each batch is computed in, see `split`.
        measured: what every report holds, and over what.
        again: passes through the generator in a step of micro-batches, besides the discriminator's.
    """

    measured: ClassVar[Mapping[str, str]]
    again: ClassVar[int]

    def __init__(
        self,
        config: TrialConfig,
        data: DataSet,
        reference: Reference,
        device: str = "cpu",
        *,
        begun: bool = False,
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.step, self._seconds, self.microbatches = 0, 0.0, 1
        self.reports: list[Report] = []
        self._random = OwnRandomness(config.seed, self.device)
        self.domain = data.domain
        self._samples = _as_tensor(data.samples).to(self.device)
        built = from_scratch(config) if begun else config
        with self._random.in_use():
            self.generator = build_generator(built, self.domain, self.device)
            self.discriminator = build_discriminator(built, self.domain, self.device)
            beside = self._begin()
        self._labels = self._labels_of(data)
        self.averaged = self._copied(self.generator).requires_grad_(False)
        self.averaged.eval()
        check_first_output(self.generator, "generator", data.shape, config, self.device)
        judged = judged_shape(config)
        check_first_output(self.discriminator, "discriminator", judged, config, self.device)
        # The step whose averaged weights have their statistics; the best report's, where wanted.
        self._settled, self._best = -1, dict[str, Tensor]()
        sides = config.optimizer
        rate = own_rate(config)
        self._g_optimizer = build_optimizer(sides.generator, self.generator, rate)
        learning = nn.ModuleList([self.discriminator, *beside])
        self._d_optimizer = build_optimizer(sides.discriminator, learning, rate)
        self._noise = self._stream("noise")
        self._every = config.loss.penalty.every if config.loss.penalty else 1
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
        self._health = self._rules()
        self._start_scale = {
            "d": weight_scale(self.discriminator),
            "g": weight_scale(self.generator),
        }

    def _copied(self, generator: nn.Module) -> nn.Module:
        """A generator like it, which is to be its average."""
        try:
            return copy.deepcopy(generator)
        except Exception as error:  # of whatever a network of the user's holds
            raise OutputError(
                f"the generator '{self.config.generator.name}' cannot be copied, as for its average: "
                f"{error}; keep open files, locks and tensors that were computed of its weights out of "
                "its attributes"
            ) from error

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
        own = dict(self.measured) | self._measured_besides()
        own = own | SPLIT if self.microbatches > 1 else own
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
        told = ", ".join(f"{lanes} at {count(n, 'report')}" for lanes, n in sorted(counts.items()))
        own = {key: f"{over}: {told}" for key, over in LANES.items() if counts.keys() - {1}}
        compiled = sum("compiled" in report.metrics for report in self.reports)
        return own | {
            k: f"{over}: {count(compiled, 'report')}" for k, over in COMPILED.items() if compiled
        }

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

    @property
    def looks(self) -> bool:
        """Whether it looks, between two reports, whether its losses are finite: where no rule would end
        it for that, it reports when it should.
        """
        return self.step % LOOK_EVERY == 0 and bool(self.config.health.diverged)

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
            lanes: how many were trained as one, at most.
            compiled: whether by compiled code, if only for a time.
        """
        begun, seed = time.perf_counter(), self.config.seed + EVALUATION_SEED
        # What a metric draws, or seeds, is none of the training's, which goes on as if not measured.
        with seeded(seed, self.device), deterministic_algorithms(self.config.deterministic):
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
            "random": self._random.state(),
            **self._own_state(),
            **({"best": self._best} if self._best else {}),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave; raises `ValueError` if another training made it, and
        `StorageError` if its networks were built by other code.

        One that was made on another kind of device (a study may move to one with GPUs) goes on with
        random numbers of this one, which follow from the seed and the step.
        """
        if not same_training(TrialConfig.model_validate(state["config"]), self.config):
            raise ValueError("the checkpoint was made by another configuration")
        if state["device"] != self.device.type:
            text = "from step %d, which was made on %s, it is trained on %s, with other random numbers"
            log.warning(text, state["step"], state["device"], self.device.type)
        self.step, self._seconds = state["step"], state["seconds"]
        self.split(state.get("microbatches", 1))  # once there was no such key
        self.reports = [Report.of_plain(each) for each in state["reports"]]
        for side in ("generator", "discriminator", "averaged"):
            _fill(getattr(self, side), state[side], side)
        self._settled = -1
        self._g_optimizer.load_state_dict(state["g_optimizer"])
        self._d_optimizer.load_state_dict(state["d_optimizer"])
        self._start_scale = state["start_scale"]
        self._go_on_drawing(self._noise, state, "noise")
        self._load_own(state)
        self._random.load(state["random"], self._moved_seed(state, "random"))
        self._best = state.get("best", {})
        self._health = self._rules()
        self._health.replay(self.reports)

    def _rules(self) -> Health:
        """The health rules, which have seen nothing yet."""
        scale = self._evaluator.scale(self.config.objective.metric)
        return Health(self.config, self.domain.noun, scale)

    # What a kind of training has of its own

    @abstractmethod
    def _window(self) -> Window:
        """What gathers losses and gradients until the next report."""

    @abstractmethod
    def _step(self, batches: Iterator[Tensor], window: Window, *, measure: bool) -> None:
        """One step: an update of the generator, and what precedes it.

        Args:
            batches: rows of the real batches to come.
            window: to be added to.
            measure: whether a report follows, which wants the gradients' norms.
        """

    @abstractmethod
    def _gathered(self, window: Window) -> dict[str, float]:
        """What `measured` names of losses and gradients."""

    def _begin(self) -> list[nn.Module]:
        """Make the parts that draw the training's random numbers; returns what learns with the
        discriminator.
        """
        return []

    def _asked(self, fake: Tensor | None, labels: Tensor | None) -> dict[str, float]:  # noqa: ARG002
        """What the discriminator is asked at a report about generated samples; None: they are not
        finite, and neither is any answer.
        """
        return {}

    def _measured_besides(self) -> dict[str, str]:
        """What reports hold besides `measured`, and over what."""
        return {}

    def _own_state(self) -> dict[str, Any]:
        """What continuing needs of the kind's own; see `state`."""
        return {}

    def _load_own(self, state: Mapping[str, Any]) -> None:  # noqa: B027  a kind may have nothing
        """Continue from that."""

    # Training

    def _train_to(self, target: int) -> Window:
        """Train up to a step, or until the losses are no longer finite and a rule says what that is."""
        self.generator.train()
        self.discriminator.train()
        window = self._window()
        first, per_step = self.batch_number, self.config.discriminator_steps
        batches = self._order.batches(first, (target - self.step) * per_step, self.device)
        while self.step < target:
            last = self.step + 1 == target
            self._step(batches, window, measure=last)
            self.step += 1
            if self.looks and not last and not window.finite():
                break
        return window

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

    def _stream(self, purpose: str) -> torch.Generator:
        """Random numbers of their own: under the training's seed all streams would begin alike."""
        seed = trial_seed(self.config.seed, 0, purpose)
        return torch.Generator(self.device).manual_seed(seed)

    def _go_on_drawing(self, stream: torch.Generator, state: Mapping[str, Any], purpose: str) -> None:
        """Have a stream go on from a state; that of another kind of device means nothing here."""
        seed = self._moved_seed(state, purpose)
        if seed is None:
            stream.set_state(state[purpose].cpu())
        else:
            stream.manual_seed(seed)

    def _moved_seed(self, state: Mapping[str, Any], purpose: str) -> int | None:
        """Under which random numbers go on from a state of another kind of device; None: of this."""
        if state["device"] == self.device.type:
            return None
        return trial_seed(self.config.seed, state["step"], f"{purpose} on {self.device.type}")

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
        metrics = self._gathered(window)
        for key, network in (("d", self.discriminator), ("g", self.generator)):
            growth = weight_scale(network) / max(self._start_scale[key], 1e-3)
            metrics[f"{key}_weight_growth"] = growth
        evaluation, seed = self.config.evaluation, self.config.seed + EVALUATION_SEED
        alive = math.isfinite(metrics["g_weight_growth"])
        if alive and (images := self._finite(evaluation.samples, seed)) is not None:
            labels = self._labels_of_samples(len(images), seed)
            asked = self._asked(images, labels)
            return metrics | asked | self._evaluator.evaluate(images, labels)
        return metrics | self._asked(None, None) | dict.fromkeys(self._evaluator.names, math.nan)

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
        with seeded(seed, self.device), deterministic_algorithms(self.config.deterministic):
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


def _fill(network: nn.Module, state: Mapping[str, Any], which: str) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        if "Error(s) in loading state_dict" not in str(error):
            raise
        # The configuration has no part in it, so that it is not to be what fails.
        raise StorageError(
            f"the checkpoint's network '{which}' was built by other code: go on with the version of "
            "gansearch, and of modules of your own, with which it began"
        ) from error


def backward(loss: Tensor, share: float) -> None:
    """Add a share of a loss's gradients to those that are there."""
    weight = None if share == 1 else torch.full_like(loss, share)
    loss.backward(weight)


def batch_norm_momenta(network: nn.Module) -> dict[nn.modules.batchnorm._BatchNorm, float]:
    """How much a pass moves the running averages of each batch norm of a network."""
    kind = nn.modules.batchnorm._BatchNorm
    return {m: m.momentum for m in network.modules() if isinstance(m, kind) and m.momentum is not None}


def _as_tensor(array: np.ndarray) -> Tensor:
    """A tensor over the array's own memory, which other processes may share and nobody writes to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")
        return torch.from_numpy(array)

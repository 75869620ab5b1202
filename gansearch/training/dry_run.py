"""Trying a study out: every part built, one tiny step, on the CPU, nothing left behind."""

from __future__ import annotations

import math
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gansearch.augmentation import AUGMENTATIONS
from gansearch.data import DataSet
from gansearch.errors import RAISED, DataError, Doubt, GansearchError, UserError
from gansearch.losses import is_variational
from gansearch.metrics import METRICS
from gansearch.metrics.classifier import Classifier
from gansearch.metrics.contract import Weights
from gansearch.metrics.door import check_samples, least_in, least_of_a_class
from gansearch.metrics.reference import feature_width
from gansearch.study.config import TrialConfig
from gansearch.study.records import Report
from gansearch.study.sections import Part
from gansearch.study.spec import StudySpec
from gansearch.training import checkpoint, settings
from gansearch.training.blame import fault, own_parts
from gansearch.training.building import (
    build_discriminator,
    build_generator,
    build_loss,
    domain_judged,
    is_conditional,
)
from gansearch.training.kept import (
    CPU,
    lost_of_loss,
    lost_of_network,
    lost_of_penalty,
    why_not_loaded,
)
from gansearch.training.lifecycle import Training
from gansearch.training.memory import is_out_of_memory
from gansearch.training.outputs import (
    OutputError,
    check_augmentation_output,
    check_loss_output,
    check_passes,
    doubts_about_images,
)
from gansearch.training.prepare import (
    LocalPaths,
    check_repeats,
    held_out,
    load_real,
    load_weights,
    once,
    prepare,
    repeats,
    reservations,
)
from gansearch.training.randomness import seeded
from gansearch.training.trainer import Trainer
from gansearch.training.transfer import from_scratch
from gansearch.training.variational import build_trainer

FEW = 256
"""Images that the rehearsal makes do with."""

LOSSES_REPORTED = ("d_loss", "g_loss")
"""What says of every training whether it goes on."""

MOST_OPTIONS = 64
"""Options of choices with which a step is trained; of a choice of thousands it would take minutes."""

LATENTS = 64
"""Images by whose range a generator is judged."""


def rehearse(spec: StudySpec, data: DataSet, places: LocalPaths) -> int:
    """Train a step of one configuration for every option of every choice (but for `left_out`), and of
    each that the stability study names; returns how many.

    The real images and what metrics need are got by the same functions as for a run, so that what is
    refused there is refused here. The feature classifier is not trained, so numbers mean nothing here.
    What works and looks wrong is warned of (`Doubt`).

    Raises:
        UserError: naming each part that failed, or the configuration in which one did.
    """
    if calls := settings.changed():
        raise UserError(settings.told(calls, "something that was imported or made before"))
    config = spec.example()
    mistakes: dict[str, BaseException | None] = {}
    with settings.torch_threads(1):  # steps this small only lose by more
        real = load_real(config, data, places)
        minds_repeats = check_repeats(config, real)
        held_out(config, data, places, real)
        few = _few(data)
        known = load_weights(config, places)
        with suppress(DataError):  # it is raised again where a metric has need of the classifier
            known["classifier"] = Classifier.untrained(few)
        few_real = few if real is data else _few(real)
        if minds_repeats:  # of few samples a double is many, and those of all have been looked at
            few_real = once(few_real)
        with tempfile.TemporaryDirectory() as cache:
            here = replace(places, cache=Path(cache))
            for_few = _for_few(config, few, few_real, known, here.cache)
            reference = prepare(for_few(config), few, here, real=few_real, known=known)
        doubts = [*reservations(config), *repeats(config, real)]
        tried = spec.examples(MOST_OPTIONS)
        for place, each in tried:
            try:
                doubts += _try(build_trainer(for_few(each), few, reference))
            except RAISED as error:  # whatever a part of a user's raises
                failure: BaseException | None = error
            else:
                failure = None
            if calls := settings.put_back():  # which may be why it failed, whatever the error says
                whose = " or ".join(map(str, own_parts(each))) or "a part"
                mistakes.setdefault(settings.told(calls, whose), failure)
            elif failure is not None:
                mistakes.setdefault(place + _words(failure, each), failure)
    if mistakes:
        raise UserError("\n".join(mistakes)) from next(iter(mistakes.values()))
    for doubt in dict.fromkeys(doubts):
        warnings.warn(doubt, Doubt, stacklevel=2)
    return len(tried)


def left_out(spec: StudySpec) -> list[str]:
    """The options with which a rehearsal trains no step, in words: a line for each choice."""
    choices = spec.space.axes()
    return [
        f"{name}: {count:,} of {len(choices[name].ends()):,} options were not trained for a step; the "
        "values of all were checked, and their networks and losses built in outline"
        for name, count in spec.space.some_options(MOST_OPTIONS)[1].items()
    ]


def _try(trainer: Training) -> list[str]:
    """Train a step, report and save as a trial does; returns what looks wrong."""
    config, hidden = trainer.config, list[str]()
    if not is_variational(config.loss.name):
        check_loss_output(build_loss(config)[0], config)
    if (augment := config.discriminator.augment) is not None:
        made = AUGMENTATIONS.build(augment.name, augment.options)
        hidden = check_augmentation_output(made, config, trainer.domain.shape)
    for kind in ("generator", "discriminator"):
        check_passes(getattr(trainer, kind), f"the {kind} '{getattr(config, kind).name}'")
    if isinstance(trainer, Trainer):
        trainer.try_penalty()
    with _watched(trainer) as seen:
        report = trainer.advance()
    checkpoint.plain(trainer.state())
    if lost := _lost(report, trainer):
        return [f"{lost} after one step, with {_named(config)}: such a trial diverges at once"]
    doubts = _forgotten(trainer, seen)
    if trainer.domain.kind != "images":
        return doubts
    noise = torch.Generator().manual_seed(0)
    latents = torch.randn(LATENTS, config.latent_size, generator=noise)
    name = f"the generator '{config.generator.name}'"
    return hidden + doubts + doubts_about_images(partial(_generate, trainer), latents, name)


NETWORKS = {"generator": build_generator, "discriminator": build_discriminator}


@contextmanager
def _watched(trainer: Training) -> Iterator[dict[str, list[Tensor]]]:
    """What each network was last given in training, while it is open."""
    seen = dict[str, list[Tensor]]()

    def watch(kind: str, network: nn.Module, given: tuple[Tensor, ...]) -> None:
        if network.training:
            seen[kind] = [each.detach().clone() for each in given]

    watching = [
        getattr(trainer, kind).register_forward_pre_hook(partial(watch, kind)) for kind in NETWORKS
    ]
    try:
        yield seen
    finally:
        for each in watching:
            each.remove()


def _forgotten(trainer: Training, seen: Mapping[str, Sequence[Tensor]]) -> list[str]:
    """What of the user's own parts would be another one where a trial goes on, in words.

    Raises:
        OutputError: a network cannot go on at all.
    """
    config, doubts = trainer.config, list[str]()
    for part in own_parts(config):
        lost = ""
        if build := NETWORKS.get(part.kind):
            with seeded(config.seed + 1, CPU):
                twin = build(from_scratch(config), trainer.domain, CPU)
            network = getattr(trainer, part.kind)
            if why := why_not_loaded(network, twin):
                raise OutputError(f"{part} {why}")
            lost = lost_of_network(network, twin, seen[part.kind])
        elif part.kind == "loss" and isinstance(trainer, Trainer):
            lost = lost_of_loss(build_loss(config)[0])
        elif part.kind == "penalty" and isinstance(trainer, Trainer):
            shape = domain_judged(config, trainer.domain).shape
            lost = lost_of_penalty(lambda: build_loss(config)[1], shape)
        doubts += [f"{part} {lost}"] if lost else []
    return doubts


def _lost(report: Report, trainer: Training) -> str:
    """What of a training is not finite as it begins; empty where all is."""
    lost = [key for key in LOSSES_REPORTED if not math.isfinite(report.metrics.get(key, 0.0))]
    for kind in ("generator", "discriminator"):
        weights = getattr(trainer, kind).parameters()
        if not lost and not all(bool(torch.isfinite(each).all()) for each in weights):
            lost.append(f"the {kind}'s weights")
    return f"no finite numbers are in {' and '.join(lost)}" if lost else ""


def _generate(trainer: Training, latents: Tensor) -> Tensor:
    """Images of these latents, of all the classes where the generator is told one."""
    inputs = [latents]
    if is_conditional(trainer.generator):
        inputs.append(torch.from_numpy(trainer.domain.labels_in_order(len(latents))))
    images: Tensor = trainer.generator(*inputs)
    return images


def _words(error: BaseException, config: TrialConfig) -> str:
    """Whose error it is, if that can be told, and else in which configuration it came."""
    if isinstance(error, GansearchError):
        return str(error)
    if is_out_of_memory(error):
        return f"memory does not hold a step with {_named(config)}, batch_size {config.batch_size:,}"
    if words := fault(error, config):
        return words
    return f"a step failed with {_named(config)}: {type(error).__name__}: {error}"


def _named(config: TrialConfig) -> str:
    """The parts of a configuration that a step is made of."""
    kinds = ("generator", "discriminator", "loss")
    named = [f"{kind} {getattr(config, kind).name}" for kind in kinds]
    named += [str(part).removeprefix("the ") for part in own_parts(config) if part.kind not in kinds]
    return ", ".join(named)


def _for_few(
    config: TrialConfig, few: DataSet, real: DataSet, known: Mapping[str, Weights], cache: Path
) -> Callable[[TrialConfig], TrialConfig]:
    """How to make any of a study's configurations one for a step and few samples.

    Raises:
        DataError: a metric needs more samples than are asked for, in features of which only these
            samples tell how many there are.
    """
    of_class = 0
    if real.labels is not None:  # how many the rarest of the classes that there are has
        of_class = int(np.unique(real.labels, return_counts=True)[1].min())
    served: dict[str, bool] = {}
    for part, section in config.evaluation.measured:
        metric = METRICS.build(part.name, _small(part).options)
        width = None
        if hasattr(metric, "least_of"):
            width = feature_width(metric.features, few, known, cache / "classifiers")
            check_samples(part.name, metric, width, section.samples)
        enough = least_in(metric, width) <= LATENTS
        served[part.model_dump_json()] = enough and (
            not of_class or least_of_a_class(metric) <= of_class
        )
    return partial(_tiny, served=served)


def _tiny(config: TrialConfig, served: Mapping[str, bool]) -> TrialConfig:
    """A configuration for a step, few samples, and those of its metrics, as JSON, that these serve."""
    asked, final = config.evaluation, config.evaluation.final
    few: dict[str, Any] = _few_samples(asked.samples, asked.metrics, served)
    if final is not None:
        last = _few_samples(final.samples, asked.last_metrics, served)
        few["final"] = final.model_copy(update=last) if last["metrics"] else None
    if asked.held_out is not None:
        few["held_out"] = min(asked.held_out, LATENTS)
    evaluation = asked.model_copy(update=few)
    budget = config.budget.model_copy(update={"steps": 1, "report_every": 1})
    return config.model_copy(update={"evaluation": evaluation, "budget": budget})


def _few_samples(samples: int, metrics: Sequence[Part], served: Mapping[str, bool]) -> dict[str, Any]:
    """What a section of the evaluation says where there are few samples."""
    return {
        "samples": min(samples, LATENTS),
        "real_samples": None,
        "metrics": [_small(metric) for metric in metrics if served[metric.model_dump_json()]],
    }


SMALL = {"splits": 1, "subset_size": 32, "neighbours": 3}
"""Options of metrics that need many samples, and what they are at most where there are few."""


def _small(metric: Part) -> Part:
    """A metric that makes do with the few samples that there are."""
    options = {k: min(v, SMALL[k]) if k in SMALL else v for k, v in metric.options.items()}
    return Part(name=metric.name, **options)


def _few(data: DataSet) -> DataSet:
    """A spread of the images, so that most classes are among them."""
    rows = np.linspace(0, len(data.samples) - 1, min(FEW, len(data.samples))).astype(int)
    return data.pick(rows)

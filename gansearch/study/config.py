"""A trial: one configuration, every default filled in, nothing left to look up."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from gansearch.study.records import Best, Goal, Report, best_report

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


def later(default: Any) -> Any:
    """Mark an option of a part that was added later: where it is not said and has its default,
    configurations are written without it, so that they are those of before, with their digests.
    """
    return Field(exclude_if=lambda value: value == default)


LATER = "later"
"""Marks a key that was added later: configurations are written without it where it is not said."""


class Written(BaseModel):
    """What is written without the keys that were added later, where they are not said."""

    @model_serializer(mode="wrap")
    def _without_unsaid(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        for name, field in type(self).model_fields.items():
            if LATER in field.metadata and name not in self.model_fields_set:
                written.pop(name, None)
        return written


class Section(Written):
    """A mapping of the study file in which an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Part(Written):
    """A part by name, with its own options beside: `{name: dcgan, depth: 3}`, or just `dcgan`.

    The options belong to the part; the registry that finds it checks them.

    Attributes:
        name: the part, by name or as `package.module:Thing`; its own options stand beside.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        if isinstance(value, Part) and not isinstance(value, cls):
            return value.model_dump()
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """What stands beside the name and the declared fields."""
        return dict(self.model_extra or {})


class Data(Part):
    """The samples to learn.

    Attributes:
        name: the data set, by name or as `package.module:function`; its own options stand beside.
        image_size: pixels a side of the square to which images are brought; None: as they are, and for
            points.
    """

    name: str = "digits"
    image_size: Annotated[int, Field(ge=8)] | None = None


class Schedule(Section):
    """How a value changes over the budget, as a factor of what is set: `cosine`, or a mapping.

    It rises to 1 in the warm-up, if there is one, and then stays (`constant`) or falls to `end` at the
    budget's end: in a straight line, or along half a cosine wave (Loshchilov and Hutter 2017, arXiv
    1608.03983, without restarts).

    Attributes:
        name: `constant`, `linear` or `cosine`.
        end: the factor at the budget's end, for `linear` and `cosine`.
        warmup: share of the budget in which it rises, in a straight line.
        start: the factor from which it rises.
    """

    name: Literal["constant", "linear", "cosine"] = "constant"
    end: Annotated[float, Field(ge=0)] = 0.0
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0
    start: Share = 0.0

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def factor(self, step: int, steps: int) -> float:
        """The factor for one update, the first of which is number 0, of so many."""
        rising = self.warmup * steps
        risen = min((step + 1) / rising, 1.0) if rising > 0 else 1.0
        gone = min(max((step - rising) / max(steps - rising, 1), 0.0), 1.0)
        left = {"constant": 1.0, "linear": 1 - gone, "cosine": (1 + math.cos(math.pi * gone)) / 2}
        fallen = 1.0 if self.name == "constant" else self.end + (1 - self.end) * left[self.name]
        return (self.start + (1 - self.start) * risen) * fallen


Scheduled = Annotated[Schedule | None, LATER]


class Noise(Section):
    """Noise on all that the discriminator sees: a standard deviation alone, or a mapping.

    Real and generated samples become alike to it, and more so the more there is (Arjovsky and Bottou
    2017, arXiv 1701.04862; Sønderby et al. 2017, arXiv 1610.04490).

    Attributes:
        std: the standard deviation, where images are from -1 to 1 and points divided by their scale.
        schedule: of it; `linear` takes it to 0 over the budget.
    """

    std: Annotated[float, Field(gt=0)]
    schedule: Scheduled = None

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        alone = isinstance(value, int | float) and not isinstance(value, bool)
        return {"std": value} if alone else value

    def at(self, step: int, steps: int) -> float:
        """The standard deviation in one update of the generator, from 0 on, of so many."""
        return self.std * (self.schedule.factor(step, steps) if self.schedule else 1.0)


class Generator(Part):
    """The network that makes samples from noise, or several of them as one.

    Attributes:
        name: the network, by name or as `package.module:Class`; its own options stand beside.
        mixture: how many such networks there are; each makes an equal share of the samples (MGAN; Hoang
            et al. 2018, arXiv 1708.02556).
        diversity: of a mixture, by how much its networks gain where a classifier on the discriminator's
            features tells whose sample is whose; beta there. 0: no classifier.
        weights: an export's folder, or a file of weights, from which the network starts; all of them
            must fit. None: from scratch.
        freeze: layers that stay as they are, by their names in the weights; batch norm's statistics
            go on.
    """

    mixture: Annotated[int, Field(ge=1, le=64), LATER] = 1
    diversity: Annotated[float, Field(ge=0), LATER] = 0.0
    weights: Annotated[str | None, LATER] = None
    freeze: Annotated[list[str], LATER] = []


class Discriminator(Part):
    """The network that tells real samples from generated ones, and how it is shown them.

    Attributes:
        name: the network, by name or as `package.module:Class`; its own options stand beside.
        augment: an augmentation of real and generated images; None: none.
        noise: on real and generated samples; None: none.
        pack: samples that are judged together, as one (PacGAN; Lin et al. 2018, arXiv 1712.04086): the
            discriminator is built for samples with so many times the channels or numbers.
        weights: an export's folder, or a file of weights, from which the network starts; all of them
            must fit. None: from scratch.
        freeze: layers that stay as they are, by their names in the weights; batch norm's statistics
            go on.
    """

    augment: Annotated[Part | None, LATER] = None
    noise: Annotated[Noise | None, LATER] = None
    pack: Annotated[int, Field(ge=1, le=64), LATER] = 1
    weights: Annotated[str | None, LATER] = None
    freeze: Annotated[list[str], LATER] = []

    @field_validator("augment", mode="before")
    @classmethod
    def _no_augmentation(cls, value: Any) -> Any:
        return None if value in ("none", {"name": "none"}) else value


class Penalty(Part):
    """A penalty on the discriminator.

    Attributes:
        name: the penalty, by name or as `package.module:Class`; its own options stand beside.
        every: updates of the discriminator from one with the penalty to the next. Above 1 the penalty
            is multiplied by it and has an update of its own, and an optimizer like Adam is set back to
            the same pace ("lazy regularization"; Karras et al. 2020, arXiv 1912.04958, appendix B).
        schedule: of its weight.
    """

    every: Annotated[int, Field(ge=1), LATER] = 1
    schedule: Scheduled = None


class Loss(Part):
    """An adversarial loss, and a penalty on the discriminator beside it.

    Attributes:
        name: the loss, by name or as `package.module:Class`; its own options stand beside.
        penalty: a penalty on the discriminator; None or `none`: no penalty.
    """

    penalty: Penalty | None = None

    @field_validator("penalty", mode="before")
    @classmethod
    def _no_penalty(cls, value: Any) -> Any:
        return None if value in ("none", {"name": "none"}) else value


class Optimizer(Part):
    """One network's optimizer: `{lr: 2e-4, beta1: 0.5}` is Adam's.

    Attributes:
        name: the optimizer, by name or as `package.module:function`; its own options beside.
        schedule: of its learning rate.
        clip: the largest Euclidean norm of the network's gradient: a longer one is made so short.
    """

    name: str = "adam"
    schedule: Scheduled = None
    clip: Annotated[float | None, Field(gt=0), LATER] = None


class Optimizers(Section):
    """Both networks' optimizers, set apart because their best settings are.

    Attributes:
        generator: the generator's optimizer.
        discriminator: the discriminator's optimizer.
    """

    generator: Optimizer = Optimizer()
    discriminator: Optimizer = Optimizer()


class Budget(Section):
    """How long a trial may train, and how often it reports.

    Attributes:
        steps: generator updates of a trial that nothing ends early.
        report_every: generator updates between two reports; each evaluates, and saves a checkpoint.
    """

    steps: Positive = 1000
    report_every: Positive = 100

    @model_validator(mode="after")
    def _reports_fit(self) -> Budget:
        if self.report_every > self.steps:
            raise ValueError(f"report_every is {self.report_every}, more than steps, {self.steps}")
        return self


FINAL = "final_"
"""Begins the names of what `evaluation.final` measures, in reports, tables and MLflow."""


class Final(Section):
    """What is measured once of a trial that has come to its end, of its best report's weights.

    Reports can then do with few samples, which tell trials apart while they run; what these say is in
    tables as `final_` and the metric's name, with a provenance of its own, and decides nothing.

    Attributes:
        metrics: names, or mappings of a name and options; none: those of the reports.
        samples: generated images.
        real_samples: real images on the other side; None: the whole split.
    """

    metrics: list[Part] = []
    samples: Annotated[int, Field(ge=10)] = 10_000
    real_samples: Annotated[int, Field(ge=2)] | None = None


class Evaluation(Section):
    """What is measured at a report, and on how many images.

    Attributes:
        metrics: names, or mappings of a name and options.
        samples: generated images at each report; the scores need one for each of their splits.
        real_samples: real images on the other side; None: the whole split.
        split: which part of the data the real images are from.
        held_out: samples of the test split, and as many training ones, about which the discriminator
            is asked at each report: `d_gap` tells by how much more often it calls real what it has
            been trained on. None: it is not asked.
        final: further measures of a trial's best weights, once it has ended; None: none.
    """

    metrics: list[Part] = [Part(name="fd_classifier"), Part(name="is_classifier")]
    samples: Annotated[int, Field(ge=10)] = 1000
    real_samples: Annotated[int, Field(ge=2)] | None = None
    split: Literal["train", "test"] = "train"
    held_out: Annotated[int | None, Field(ge=2), LATER] = None
    final: Annotated[Final | None, LATER] = None

    @property
    def last_metrics(self) -> list[Part]:
        """What is measured of a trial's best weights."""
        return (self.final.metrics or self.metrics) if self.final else []


class Diverged(Section):
    """When training has blown up. A non-finite loss, gradient, weight or sample always counts.

    Attributes:
        weight_growth: root mean square of a network's weights, as a multiple of its start.
        loss: absolute value of either loss.
    """

    weight_growth: Annotated[float, Field(gt=1)] = 30.0
    loss: Annotated[float, Field(gt=0)] = 1e6


class Collapsed(Section):
    """When the generator has lost its modes for good.

    Modes that are lost come back often. So what is below stops a training early only where it has
    lasted over a third of the budget; else the last reports decide. A training whose samples have
    never differed at all is stopped after the warm-up. Modes are lost, too, where `reach`, as the
    median of three reports, is less than 0.65 of the most that it has been.

    Attributes:
        deaf: variance of the generated pixels, as a share of the real ones', below which a training
            ends as one of a single sample; it stops none early.
        min_diversity: the same share; below it modes are lost, where it has been above it.
        worsening: an objective to be minimised has grown to this multiple of the trial's best
            (to be maximised: shrunk by it, from 0.02 or more), and by more than twice its usual ups
            and downs; a Frechet distance by more than 3 % of the real samples' variance, too. It
            counts only where `reach` has fallen below three quarters of its most, or is not
            known. Only for metrics that cannot be negative.
        warmup: share of the budget in which nothing is called a collapse.
        patience: reports in a row that must show it.
    """

    deaf: Annotated[float, Field(ge=0)] = 0.0002
    min_diversity: Annotated[float, Field(ge=0)] = 0.05
    worsening: Annotated[float, Field(gt=1)] | None = 1.5
    warmup: Share = 0.1
    patience: Positive = 2


class Stalled(Section):
    """When one network has won and the other no longer learns.

    While the objective improves by a twentieth nothing is called stalled, and what is must have
    lasted over 10 % of the budget, or over 5 % where the discriminator has no gradient left.

    Attributes:
        min_doubt: the discriminator has won where its `d_doubt`, its loss as a share of an undecided
            one's, is at most this. A Wasserstein critic never has.
        min_error: the generator may have won where the discriminator's error rates on real and on
            fake images are both within this of one half, or of the same answer to all (0 and 1, or 1
            and 0), or of 1; it has won where `min_gradient` holds too.
        min_gradient: the discriminator's gradient norm is at most this share of the largest that
            this trial has shown.
        warmup: share of the budget in which nothing is called stalled.
        patience: reports in a row that must show it.
    """

    min_doubt: Annotated[float, Field(ge=0, lt=1)] = 0.015
    min_error: Annotated[float, Field(ge=0, le=0.5)] = 0.005
    min_gradient: Annotated[float, Field(ge=0)] = 0.01
    warmup: Share = 0.05
    patience: Positive = 2


class Health(Section):
    """The rules that end a trial early; `false` switches one off."""

    diverged: Diverged | Literal[False] = Diverged()
    collapsed: Collapsed | Literal[False] = Collapsed()
    stalled: Stalled | Literal[False] = Stalled()


class Objective(Section):
    """The metric by which trials are compared, by their best report.

    Attributes:
        metric: one of `evaluation.metrics`, or a number that every report holds, as `d_loss`.
        goal: which way is better; None: the metric's own.
    """

    metric: str = "fd_classifier"
    goal: Literal["min", "max"] | None = None

    @property
    def towards(self) -> Goal:
        """Which way is better; one that the metric has not filled in yet means `min`."""
        return self.goal or "min"


class TrialConfig(Section):
    """All that training one GAN needs to know.

    Attributes:
        generator: the network that makes samples from noise.
        discriminator: the network that tells real samples from generated ones.
        latent_size: length of the noise vector.
        batch_size: images in a batch, real and generated alike.
        discriminator_steps: discriminator updates for each generator update.
        ema: decay per step of the averaged generator that is evaluated and exported; None: no
            average.
        precision: number format of the passes through the networks in training. With `bfloat16`
            (torch's autocast) weights, losses, penalties and averages stay in float32, and so does
            the evaluation.
        unsound: what to do with combinations that can be trained and make no sense, such as weight
            clipping with spectral norm: `refuse` them, or `allow` them, as a repeated paper may need.
        deterministic: use only deterministic algorithms, so that a GPU repeats a trial bit for bit as
            CPUs do anyway; slower, and an error where a network needs one that there is not.
        seed: fixes initialisation, data order and noise.
    """

    data: Data = Data()
    generator: Generator = Generator(name="dcgan")
    discriminator: Discriminator = Discriminator(name="dcgan")
    loss: Loss = Loss(name="non-saturating")
    optimizer: Optimizers = Optimizers()
    latent_size: Positive = 64
    batch_size: Annotated[int, Field(ge=2)] = 64
    discriminator_steps: Positive = 1
    ema: Annotated[float, Field(ge=0, lt=1)] | None = 0.999
    precision: Literal["float32", "bfloat16"] = "float32"
    budget: Budget = Budget()
    evaluation: Evaluation = Evaluation()
    objective: Objective = Objective()
    health: Health = Health()
    unsound: Annotated[Literal["refuse", "allow"], LATER] = "refuse"
    deterministic: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    def plain(self) -> dict[str, Any]:
        """Plain values, ready for YAML or JSON, from which the same configuration can be read."""
        return self.model_dump(mode="json")

    def best(self, reports: Sequence[Report]) -> Best | None:
        """The best of a trial's reports by the objective; None where none has a finite value."""
        return best_report(reports, self.objective.metric, self.objective.towards)


AXES_ALLOWED = (
    "generator",
    "discriminator",
    "loss",
    "optimizer",
    "latent_size",
    "batch_size",
    "discriminator_steps",
    "ema",
    "precision",
)
"""The sections that may differ between the trials of one study; the rest is what they share, without
which their numbers could not be compared. (`deterministic` would not spoil a comparison; but cuBLAS is
told of it once a process, and a process trains several trials.)"""

ADDED = {"precision": "float32", "deterministic": False}
"""Keys that configurations once did not have, and what is meant where they are missing."""


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"loss": {"name": "hinge"}}` -> `{"loss.name": "hinge"}`; lists are leaves, as JSON text."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return flat


def loss_family(config: Mapping[str, Any]) -> str:
    """What papers name a GAN by, its loss and penalty: `hinge`, `wasserstein + gradient-penalty`.

    Args:
        config: a configuration as plain values.
    """
    loss = config["loss"]
    penalty = loss.get("penalty")
    return f"{loss['name']} + {penalty['name']}" if penalty else str(loss["name"])


def digest(tree: Any) -> str:
    """SHA-256 of plain values in canonical JSON, as 16 hex digits: equal where they are equal."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def config_digest(config: Mapping[str, Any]) -> str:
    """The digest of a configuration as plain values: one written before a key was added keeps its."""
    return digest({k: v for k, v in config.items() if k not in ADDED or v != ADDED[k]})


def trial_seed(study_seed: int, number: int, purpose: str = "search") -> int:
    """The seed of a trial, in [0, 2^31): a hash, so that no two studies or purposes share streams."""
    seen = hashlib.sha256(f"{purpose}/{study_seed}/{number}".encode()).digest()
    return int.from_bytes(seen[:4], "big") >> 1

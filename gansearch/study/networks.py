"""The sections of what learns: data, networks, losses, optimizers."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from gansearch.study.sections import LATER, Part, Positive, Section, Share, says_none


def _or_none(value: Any) -> Any:
    """A part as it is written, or None."""
    return None if says_none(value) else value


class Data(Part):
    """The samples to learn.

    Attributes:
        name: the data set, by name or as `package.module:function`; its own options stand beside.
        image_size: pixels a side of the square to which images are brought; None: as they are, and for
            points.
    """

    name: str = "digits"
    image_size: Annotated[int, Field(ge=8, le=8192)] | None = None


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

    alone = "a name"

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

    alone = "a number"

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

    _none = field_validator("augment", mode="before")(_or_none)


class Penalty(Part):
    """A penalty on the discriminator.

    Attributes:
        name: the penalty, by name or as `package.module:Class`; its own options stand beside.
        every: updates of the discriminator from one with the penalty to the next. Above 1 the penalty
            is multiplied by it and has an update of its own, and an optimizer like Adam is set back to
            the same pace ("lazy regularization"; Karras et al. 2020, arXiv 1912.04958, appendix B).
        schedule: of its weight.
    """

    every: Annotated[Positive, LATER] = 1
    schedule: Scheduled = None

    def factor(self, step: int, steps: int) -> float:
        """By what it is multiplied in one update of the generator, from 0 on, of so many."""
        return self.every * (self.schedule.factor(step, steps) if self.schedule else 1.0)


class Loss(Part):
    """An adversarial loss, and a penalty on the discriminator beside it.

    Attributes:
        name: the loss, by name or as `package.module:Class`; its own options stand beside.
        penalty: a penalty on the discriminator; None or `none`: no penalty.
    """

    penalty: Penalty | None = None

    _none = field_validator("penalty", mode="before")(_or_none)


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

"""What is learnt, in one description that every part is built from: images or points, and classes.

A domain says which shape a sample has, how it is stored and how the networks see it, which classes
there are, and how samples are drawn in a picture. Importing this module does not import torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gansearch.errors import InvalidInput, Problem
from gansearch.study.document import dotted
from gansearch.study.mistakes import explained
from gansearch.study.sections import Positive, Section

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

Kind = Literal["images", "points"]

SHOWN = 500
"""Real points that a picture of generated ones has beside it."""


@dataclass(frozen=True)
class Domain(ABC):
    """What one data set's samples are.

    Attributes:
        shape: of one sample: (C, H, W) of an image, (D,) of a point.
        classes: the names of the classes; empty without labels.
        counts: how many training samples each class has.
    """

    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()

    kind: ClassVar[Kind]
    noun: ClassVar[str]

    @abstractmethod
    def encode(self, stored: Tensor) -> Tensor:
        """Stored samples N x shape as the networks see them: float32, about -1 to 1."""

    @abstractmethod
    def decode(self, seen: Tensor) -> Tensor:
        """What a generator makes, float N x shape, as it is stored."""

    @abstractmethod
    def draw(self, samples: Tensor) -> Image:
        """A picture of stored samples N x shape."""

    @abstractmethod
    def words(self, count: int) -> str:
        """So many samples of this kind, in words."""

    def plain(self) -> dict[str, Any]:
        """The domain as plain values, from which `domain_of` makes it again."""
        return {
            "kind": self.kind,
            "shape": list(self.shape),
            "classes": list(self.classes),
            "counts": list(self.counts),
        }

    def labels_as_drawn(self, count: int, seed: int) -> np.ndarray:
        """Labels of `count` samples, int64, drawn as often as each class is in the data."""
        share = np.array(self.counts, float)
        return np.random.default_rng(seed).choice(len(share), count, p=share / share.sum())

    def labels_in_order(self, count: int) -> np.ndarray:
        """Labels of `count` samples, int64: all classes alike, one after another."""
        return np.arange(count) * len(self.classes) // count

    def label(self, name: str) -> int:
        """The number of a class by its name or its number; raises `ValueError`."""
        if name in self.classes:
            return self.classes.index(name)
        if name.isdecimal() and int(name) < len(self.classes):
            return int(name)
        raise ValueError(f"there is no class '{name}': they are {', '.join(self.classes)}")


@dataclass(frozen=True)
class Images(Domain):
    """Images, stored as uint8 C x H x W from 0 to 255; -1 to 1, the range of tanh, for the networks."""

    kind: ClassVar[Kind] = "images"
    noun: ClassVar[str] = "image"

    def encode(self, stored: Tensor) -> Tensor:
        """0..255 -> -1..1."""
        return stored.float().mul_(1 / 127.5).sub_(1)

    def decode(self, seen: Tensor) -> Tensor:
        """-1..1 -> 0..255, rounded; what lies outside is cut off as an image file would."""
        import torch  # noqa: PLC0415

        return seen.mul(127.5).add_(127.5).round_().clamp_(0, 255).to(torch.uint8)

    def draw(self, samples: Tensor) -> Image:
        """One square grid, enlarged if the images are tiny."""
        from gansearch.data.drawing import grid  # noqa: PLC0415

        return grid(samples)

    def words(self, count: int) -> str:
        """`1,500 images 1x8x8`."""
        return f"{count:,} images {'x'.join(map(str, self.shape))}"


@dataclass(frozen=True)
class Points(Domain):
    """Points of D numbers, stored as float32 in the units of the data.

    Attributes:
        scale: the units of the data that are 1 for the networks.
        modes: how many Gaussians the data are known to be a mixture of; 0: that is not known.
        shown: a few real points, for pictures.
    """

    scale: float = 1.0
    modes: int = 0
    shown: tuple[tuple[float, ...], ...] = ()

    kind: ClassVar[Kind] = "points"
    noun: ClassVar[str] = "point"

    def encode(self, stored: Tensor) -> Tensor:
        """Divided by the scale."""
        return stored / self.scale

    def decode(self, seen: Tensor) -> Tensor:
        """Multiplied by the scale."""
        return seen.float() * self.scale

    def draw(self, samples: Tensor) -> Image:
        """The points and, beside them, real ones, on the same axes: the first two coordinates."""
        from gansearch.data.drawing import scatter  # noqa: PLC0415

        return scatter(samples.cpu().numpy(), np.array(self.shown, np.float32).reshape(-1, *self.shape))

    def words(self, count: int) -> str:
        """`100,000 points of 2 numbers`."""
        (size,) = self.shape
        return f"{count:,} points of {size} number{'s' if size > 1 else ''}"

    def plain(self) -> dict[str, Any]:
        """The domain as plain values, from which `domain_of` makes it again."""
        shown = [list(point) for point in self.shown]
        return super().plain() | {"scale": self.scale, "modes": self.modes, "shown": shown}


class _Stored(Section):
    """A domain as `Domain.plain` gives it."""

    kind: Kind
    shape: list[Positive]
    classes: list[str] = Field(default_factory=list)
    counts: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    scale: Annotated[float, Field(gt=0)] = 1.0
    modes: Annotated[int, Field(ge=0)] = 0
    shown: list[list[float]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        axes, says = (3, "C, H, W") if self.kind == "images" else (1, "D")
        if len(self.shape) != axes:
            raise ValueError(f"the shape of {self.kind} is [{says}], not {self.shape}")
        if len(self.counts) != len(self.classes):
            raise ValueError(f"{len(self.counts)} counts of {len(self.classes)} classes")
        return self


class _Facts(BaseModel):
    """What a checkpoint or a model says of its domain; version 0.1.0 wrote `image_shape` alone."""

    model_config = ConfigDict(strict=True)

    domain: _Stored | None = None
    image_shape: Annotated[list[Positive], Field(min_length=3, max_length=3)] | None = None


def domain_of(facts: Any, source: str) -> Domain:
    """The domain that a checkpoint or an exported model holds; `source` names it in messages.

    Raises `InvalidInput`.
    """
    try:
        found = _Facts.model_validate(facts)
    except ValidationError as error:
        told = explained(_Facts, facts, error)
        raise InvalidInput(source, [Problem(dotted(path), why) for path, why in told]) from error
    if (known := found.domain) is None:
        if found.image_shape is None:
            raise InvalidInput(source, [Problem("domain", "is required")])
        return Images(tuple(found.image_shape))
    common = tuple(known.shape), tuple(known.classes), tuple(known.counts)
    if known.kind == "images":
        return Images(*common)
    return Points(*common, known.scale, known.modes, tuple(map(tuple, known.shown)))


def as_domain(described: Domain | tuple[int, ...]) -> Domain:
    """A domain, also where only the shape (C, H, W) of images is said."""
    return described if isinstance(described, Domain) else Images(described)


def class_names(names: Sequence[str], classes: int) -> tuple[str, ...]:
    """The names of so many classes: those that are given, else their numbers."""
    return tuple(names) or tuple(map(str, range(classes)))


def class_counts(labels: np.ndarray | None, classes: int) -> tuple[int, ...]:
    """How many samples each class has; empty without labels."""
    if labels is None:
        return ()
    return tuple(np.bincount(labels, minlength=classes).tolist())

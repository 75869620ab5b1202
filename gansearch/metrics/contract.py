"""What a metric and a feature extractor are, and what passes between them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from gansearch.data import DataSet

Goal = Literal["min", "max"]
RealStatistics = Mapping[str, Tensor]


class Activations(NamedTuple):
    """What a network sees in N samples.

    Attributes:
        features: N x d, float32; for metrics of the raw numbers these as they are stored: uint8 pixels,
            d = C * H * W, or a point's d float32.
        probabilities: N x k, float32, rows sum to 1; None where the network has no classes.
        labels: N, int64, the classes that the samples are of: that were asked for, of generated ones;
            None where there are none.
    """

    features: Tensor
    probabilities: Tensor | None
    labels: Tensor | None = None


class Metric(Protocol):
    """A number for a set of samples. Options are keyword-only parameters of its constructor.

    Attributes:
        features: the extractor whose activations it reads, as `FEATURES` knows it; None for
            the samples' own numbers.
        goal: whether lower or higher is better.
        compares_real: whether it reads the real images. If not, they are not run through the
            extractor, and `of_real` sees only a few, from which it can tell if they serve.

    One that is for one kind of samples says so by an attribute `kind`, "images" or "points"; one that
    needs several samples of either side by `least_samples`, and of each class by `least_of_a_class`,
    or whose need of generated ones grows with the features by a method `least_of(width)`;
    one whose value depends on their order by `ordered = True`; one that needs a generator that is told
    the classes by `conditional = True`; one that samples far from all real ones may pass by
    `judges_quality = False`; one of several that are made in one pass has a `family`.
    """

    features: str | None
    goal: Goal
    compares_real: bool

    def of_real(self, real: Activations) -> dict[str, Tensor]:
        """All it needs to know of the real images; computed once per study."""
        ...

    def __call__(self, fake: Activations, real: RealStatistics) -> float:
        """The value for one set of samples; `real` is what `of_real` gave, on the same device.

        NaN where the activations are not finite. Raises `ValueError` for too few samples.
        """
        ...


class Family(Protocol):
    """The pass that several metrics share, so that what costs most is computed once for all of them.

    Metrics of equal features whose attribute `family` is the same object are asked together.
    """

    def of_real(self, metrics: Sequence[Any], real: Activations) -> dict[str, Tensor]:
        """All that these metrics need to know of the real samples."""
        ...

    def values(
        self, metrics: Sequence[Any], fake: Activations, real: RealStatistics
    ) -> Sequence[float]:
        """The value of each, in their order."""
        ...


@dataclass(frozen=True)
class Weights:
    """A network's weights as plain arrays, which Ray shares between processes without a copy.

    Attributes:
        arrays: parameter name -> array, never written into.
        facts: what provenance should say of them (their file, the accuracy they reach).
        digest: SHA-256 over names, shapes, types and values, as 16 hex digits.
    """

    arrays: dict[str, np.ndarray]
    facts: dict[str, str | float]
    digest: str

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], **facts: str | float) -> Weights:
        """The weights with their digest."""
        seen = hashlib.sha256()
        for name, array in sorted(arrays.items()):
            seen.update(f"{name} {array.shape} {array.dtype}".encode())
            seen.update(np.ascontiguousarray(array).data)
        return cls(dict(arrays), facts, seen.hexdigest()[:16])


class Extractor(Protocol):
    """A network that turns images into activations, rebuilt in each trial from its weights."""

    def __init__(self, weights: Weights, device: torch.device) -> None: ...

    @staticmethod
    def obtain(data: DataSet, *, cache_dir: Path, weights_file: Path | None) -> Weights:
        """Read, fetch or train the weights; raises `WeightsError` or `DataError`."""
        ...

    def __call__(self, images: Tensor) -> Activations:
        """The activations of stored samples, wherever they are, on its own device: images are uint8,
        N x C x H x W, points float32, N x D.
        """
        ...


def in_batches(see: Callable[[Tensor], Activations], images: Tensor, size: int) -> Activations:
    """`see` applied to `size` images at a time, without gradients."""
    with torch.no_grad():
        seen = [see(batch) for batch in torch.split(images, size)]
    probabilities = [part.probabilities for part in seen if part.probabilities is not None]
    return Activations(
        torch.cat([part.features for part in seen]),
        torch.cat(probabilities) if probabilities else None,
    )


def to_tensors(
    arrays: Mapping[str, np.ndarray], device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """Copies of the arrays, which may be read-only, where torch may do as it likes."""
    return {name: torch.tensor(array, device=device) for name, array in arrays.items()}


def to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """The tensors as arrays in main memory, in C order: written and read back they stay the same,
    and so does, to the last bit, what is computed with them.
    """
    return {name: t.detach().cpu().contiguous().numpy() for name, t in tensors.items()}

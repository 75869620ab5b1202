"""What is computed once per study (`prepare`) and what each trial does with it (`Evaluator`)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from gansearch import files
from gansearch.data import DataSet
from gansearch.data.domain import Kind
from gansearch.errors import DataError, WeightsError
from gansearch.files import Place
from gansearch.metrics import FEATURES, METRICS
from gansearch.metrics.contract import (
    Activations,
    Extractor,
    Metric,
    Weights,
    to_arrays,
    to_tensors,
)
from gansearch.metrics.door import check_metric, finite, statistics_of, value_of

GLANCE = 2  # real images shown to the metrics that do not compare with real ones


@dataclass(frozen=True)
class Reference:
    """The real side of all metrics of a study: plain arrays, put into Ray's object store once.

    Attributes:
        metrics: (name, options) of each metric, defaults filled in.
        shape: of one sample.
        weights: extractor name -> its weights.
        real: metric name -> what it knows of the real images.
        origin: metric name -> provenance of its value, but for the fake side.
    """

    metrics: tuple[tuple[str, dict[str, Any]], ...]
    shape: tuple[int, ...]
    weights: dict[str, Weights]
    real: dict[str, dict[str, np.ndarray]]
    origin: dict[str, dict[str, Any]]


def prepare(
    metrics: Sequence[tuple[str, Mapping[str, Any]]],
    data: DataSet,
    *,
    cache_dir: Path,
    learn_from: DataSet | None = None,
    device: str = "cpu",
    inception_weights: Path | None = None,
    known: Mapping[str, Weights] | None = None,
    real_samples: int | None = None,
) -> Reference:
    """Get the extractors' weights and each metric's statistics of the real images.

    Args:
        metrics: (name in `METRICS` or `package.module:Thing`, options), each name once.
        data: the real images to compare with.
        learn_from: the training split, for the extractors that are trained; None: `data` is it.
        cache_dir: where trained classifiers are kept from one study to the next.
        device: where the extractors run here, "cpu" or "cuda"; Inception does about 5 images a
            second on a CPU core.
        inception_weights: a local file, see `gansearch.metrics.inception`.
        known: extractors' weights by name, from `read_weights`; the others are obtained here.
        real_samples: compare with that many real images, always the same ones; None for all.

    Raises:
        UnknownPart: for an unknown metric.
        DataError: for a data set that a metric cannot use.
        WeightsError: for weights that are missing, wrong or without what a metric needs.
        ValueError: for invalid options, a metric named twice, or fewer than 2 real samples.
    """
    chosen = _build(metrics)
    known = known or {}
    weights = {
        name: known.get(name)
        or _extractor(name).obtain(
            learn_from or data, cache_dir=cache_dir, weights_file=inception_weights
        )
        for name in _features(chosen.values())
        if name is not None
    }
    extractors = _extractors(weights, torch.device(device))
    images = _choose(data.samples, real_samples)
    real: dict[str, dict[str, np.ndarray]] = {}
    for features in _features(chosen.values()):
        readers = {name: m for name, m in chosen.items() if m.features == features}
        compared = any(metric.compares_real for metric in readers.values())
        seen = _see(extractors, features, images if compared else images[:GLANCE])
        real |= {name: _of_real(name, metric, seen) for name, metric in readers.items()}
    resolved = tuple(
        (name, METRICS.options(name).model_validate(dict(options)).model_dump())
        for name, options in metrics
    )
    dataset = {"split": data.split, "dataset": data.name, "dataset_hash": data.digest}
    origin = {
        name: {
            **_describe(chosen[name].features, weights, data.domain.kind),
            "options": options,
            "real_samples": len(images) if chosen[name].compares_real else 0,
            **dataset,
        }
        for name, options in resolved
    }
    return Reference(resolved, data.shape, weights, real, origin)


def read_weights(
    metrics: Sequence[tuple[str, Mapping[str, Any]]], inception_weights: Path | None
) -> dict[str, Weights]:
    """The weights that metrics need and that lie in a file of this machine, by extractor.

    Raises as `prepare` does.
    """
    if "inception" not in _features(_build(metrics).values()):
        return {}
    from gansearch.metrics.inception import Inception  # noqa: PLC0415  only where it is needed

    return {"inception": Inception.read(inception_weights)}


def save_reference(reference: Reference, path: Place) -> None:
    """Write a reference as safetensors: a study is measured against one, however often it resumes."""
    arrays = {
        f"weights/{extractor}/{name}": array
        for extractor, weights in reference.weights.items()
        for name, array in weights.arrays.items()
    } | {
        f"real/{metric}/{name}": array
        for metric, statistics in reference.real.items()
        for name, array in statistics.items()
    }
    facts = {
        "metrics": reference.metrics,
        "shape": reference.shape,
        "weights": {
            name: {"facts": weights.facts, "digest": weights.digest}
            for name, weights in reference.weights.items()
        },
        "origin": reference.origin,
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    files.write(path, save(contiguous, metadata={"facts": json.dumps(facts)}))


def load_reference(path: Place) -> Reference:
    """Read what `save_reference` wrote; raises `WeightsError` for a damaged file."""
    with files.reachable(path), files.local_copy(path) as copy:
        try:
            with safe_open(copy, framework="np") as file:
                facts = json.loads(file.metadata()["facts"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError) as error:
            raise WeightsError(f"{path} is damaged: {error}") from error

    def below(prefix: str) -> dict[str, np.ndarray]:
        return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}

    metrics = tuple((name, options) for name, options in facts["metrics"])
    return Reference(
        metrics,
        tuple(facts["shape"]),
        {
            name: Weights(below(f"weights/{name}/"), known["facts"], known["digest"])
            for name, known in facts["weights"].items()
        },
        {name: below(f"real/{name}/") for name, _ in metrics},
        facts["origin"],
    )


class Evaluator:
    """Measures a trial's samples; built in each trial, in milliseconds but for Inception."""

    def __init__(self, reference: Reference, device: torch.device | str = "cpu") -> None:
        self._reference = reference
        self._device = torch.device(device)
        self._metrics = _build(reference.metrics)
        self._extractors = _extractors(reference.weights, self._device)
        self._real = {name: to_tensors(arrays, self._device) for name, arrays in reference.real.items()}

    def evaluate(self, images: Tensor) -> dict[str, float]:
        """Each metric of stored samples (images: uint8, N x C x H x W; points: float32, N x D); each
        extractor runs once.

        Values may be NaN (a network's activations overflowed), never masked.

        Raises:
            ValueError: for another type or shape than the data set's, or too few images: every
                metric here takes 10 or more at its default options.
        """
        stored = torch.uint8 if len(self._reference.shape) == 3 else torch.float32
        if images.dtype != stored or tuple(images.shape[1:]) != self._reference.shape:
            kind = str(stored).removeprefix("torch.")
            raise ValueError(
                f"samples must be {kind} N x {' x '.join(map(str, self._reference.shape))}, "
                f"not {images.dtype} {' x '.join(map(str, images.shape))}"
            )
        images = images.to(self._device)
        seen = {
            features: _see(self._extractors, features, images)
            for features in _features(self._metrics.values())
        }
        known = {features: finite(activations) for features, activations in seen.items()}
        return {
            name: value_of(name, metric(seen[metric.features], self._real[name]))
            if known[metric.features]
            else math.nan  # and not a number that hides it: the metric is not even asked
            for name, metric in self._metrics.items()
        }

    def provenance(self, fake_samples: int, *, ema: bool) -> dict[str, dict[str, Any]]:
        """Per metric, what its value was made of.

        Keys: features ("inception", "classifier", "mixture", "pixels", "coordinates"),
        features_hash (None for the last two),
        features_file or features_accuracy, options, real_samples (0 where none are compared with),
        fake_samples, split, dataset, dataset_hash, ema (whether the samples are of averaged
        weights).
        """
        return {
            name: {**origin, "fake_samples": fake_samples, "ema": ema}
            for name, origin in self._reference.origin.items()
        }


def _build(metrics: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Metric]:
    chosen: dict[str, Metric] = {}
    for name, options in metrics:
        if name in chosen:
            raise ValueError(f"the metric '{name}' is asked for twice")
        chosen[name] = check_metric(name, METRICS.build(name, options))
    return chosen


def _of_real(name: str, metric: Metric, seen: Activations) -> dict[str, np.ndarray]:
    if not finite(seen):
        raise DataError(f"the metric '{name}': the real images' activations are not finite")
    try:
        return to_arrays(statistics_of(name, metric.of_real(seen)))
    except ValueError as error:  # as one that cannot do with so few images raises it
        raise DataError(f"the metric '{name}' cannot use these images: {error}") from error


def _features(metrics: Iterable[Metric]) -> list[str | None]:
    return list(dict.fromkeys(metric.features for metric in metrics))


def _extractor(name: str) -> type[Extractor]:
    return cast("type[Extractor]", FEATURES.find(name))


def _extractors(weights: Mapping[str, Weights], device: torch.device) -> dict[str, Extractor]:
    return {name: _extractor(name)(held, device) for name, held in weights.items()}


def _choose(images: np.ndarray, count: int | None) -> Tensor:
    """A copy of `count` images, always the same ones, in their order; all of them for None."""
    rows = np.arange(len(images))
    if count is not None and count < len(images):
        rows = np.sort(np.random.default_rng(0).choice(rows, count, replace=False))
    return torch.from_numpy(images[rows])


def _see(extractors: Mapping[str, Extractor], features: str | None, images: Tensor) -> Activations:
    return Activations(images.flatten(1), None) if features is None else extractors[features](images)


def _describe(features: str | None, weights: Mapping[str, Weights], kind: Kind) -> dict[str, Any]:
    if features is None:
        return {"features": "pixels" if kind == "images" else "coordinates", "features_hash": None}
    facts = {f"features_{key}": value for key, value in weights[features].facts.items()}
    return {"features": features, "features_hash": weights[features].digest, **facts}

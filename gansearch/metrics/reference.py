"""What is computed once per study (`prepare`) and what each trial does with it (`Evaluator`)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from gansearch.errors import WeightsError
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
from gansearch.metrics.door import check_metric, check_samples, width_of
from gansearch.metrics.floors import Shown, floors
from gansearch.metrics.frechet import FrechetDistance
from gansearch.metrics.passes import of_real, passes, values_of

GLANCE = 2  # real images shown to the metrics that do not compare with real ones


@dataclass(frozen=True)
class HeldOut:
    """Samples of the test split as they are stored, N x ..., and their classes, N, if they have any."""

    samples: np.ndarray
    labels: np.ndarray | None


@dataclass(frozen=True)
class Reference:
    """The real side of all metrics of a study: plain arrays, put into Ray's object store once.

    Attributes:
        metrics: (name, options) of each metric, defaults filled in.
        shape: of one sample.
        weights: extractor name -> its weights.
        real: metric name -> what it knows of the real images.
        origin: metric name -> provenance of its value, but for the fake side.
        final: that of what is measured of a trial's best weights, if anything is.
        held_out: samples that nothing is trained on, for the discriminator to be asked about, if it is.
    """

    metrics: tuple[tuple[str, dict[str, Any]], ...]
    shape: tuple[int, ...]
    weights: dict[str, Weights]
    real: dict[str, dict[str, np.ndarray]]
    origin: dict[str, dict[str, Any]]
    final: Reference | None = None
    held_out: HeldOut | None = None


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
    samples: int | None = None,
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
        samples: how many generated samples will be measured, for the metrics' floors; None: no floors.

    Raises:
        UnknownPart: for an unknown metric.
        DataError: for a data set that a metric cannot use, or too few `samples` for its features.
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
    compared = compared_rows(len(data.samples), real_samples)
    real: dict[str, dict[str, np.ndarray]] = {}
    floor: dict[str, dict[str, Any]] = {}
    for features in _features(chosen.values()):
        readers = {name: metric for name, metric in chosen.items() if metric.features == features}
        shown = Shown(data.samples, compared, partial(_see, extractors, features), data.labels)
        seen = shown.of(compared if _any_compares(readers) else compared[:GLANCE])
        if samples is not None:
            for name, metric in readers.items():
                check_samples(name, metric, seen.features.shape[1], samples)
        shared = {seen.features.data_ptr(): to_arrays({"features": seen.features})["features"]}
        for group in passes(readers):
            statistics = of_real(group, seen)
            real |= dict.fromkeys(group, _arrays(statistics, shared))
            if samples is not None:
                floor |= floors(group, statistics, shown, samples)
    resolved = tuple(
        (name, METRICS.options(name).model_validate(dict(options)).model_dump())
        for name, options in metrics
    )
    dataset = {"split": data.split, "dataset": data.name, "dataset_hash": data.digest}
    origin = {
        name: {
            **_describe(chosen[name].features, weights, data.domain.kind),
            "options": options,
            "real_samples": len(compared) if chosen[name].compares_real else 0,
            **({"floor": floor[name]} if name in floor else {}),
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
    found: dict[str, Weights] = {}
    for name in _features(_build(metrics).values()):
        read = getattr(_extractor(name), "read", None) if name is not None else None
        if name is not None and read is not None:
            found[name] = read(inception_weights if name == "inception" else None)
    return found


def feature_width(
    features: str | None, data: DataSet, weights: Mapping[str, Weights], cache_dir: Path
) -> int:
    """How many features an extractor, or None the samples' own numbers, gives of such data; its weights
    are obtained where they are neither among `weights` nor needed. Raises as `prepare` does.
    """
    if features is None:
        return math.prod(data.shape)
    if (known := width_of(features)) is not None:
        return known
    own = weights.get(features) or _extractor(features).obtain(
        data, cache_dir=cache_dir, weights_file=None
    )
    look = _extractors({features: own}, torch.device("cpu"))
    return _see(look, features, torch.from_numpy(data.samples[:GLANCE])).features.shape[1]


def save_reference(reference: Reference, path: Place) -> None:
    """Write a reference as safetensors: a study is measured against one, however often it resumes."""
    arrays = _arrays_of(reference)
    if reference.final is not None:
        arrays |= {f"final/{key}": array for key, array in _arrays_of(reference.final).items()}
    if reference.held_out is not None:
        arrays["held_out/samples"] = reference.held_out.samples
        if reference.held_out.labels is not None:
            arrays["held_out/labels"] = reference.held_out.labels
    first: dict[int, str] = {}
    same = {key: first[id(a)] for key, a in arrays.items() if first.setdefault(id(a), key) != key}
    facts = {"same": same, **_facts_of(reference)}
    if reference.final is not None:
        facts["final"] = _facts_of(reference.final)
    contiguous = {name: np.ascontiguousarray(a) for name, a in arrays.items() if name not in same}
    files.write(path, save(contiguous, metadata={"facts": json.dumps(facts)}))


def load_reference(path: Place) -> Reference:
    """Read what `save_reference` wrote; raises `WeightsError` for a damaged file."""
    mend = "bring it back from a copy of the study"
    with files.reachable(path), files.local_copy(path) as copy:
        try:
            with safe_open(copy, framework="np") as file:
                facts = json.loads(file.metadata()["facts"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            arrays |= {key: arrays[first] for key, first in facts.get("same", {}).items()}
            whole = _whole_of_file(facts, arrays)
        except FileNotFoundError as error:
            raise WeightsError(f"{path} is missing: {mend}") from error
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{path} is damaged ({error}): {mend}") from error
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            why = f"it is not what a study's reference holds ({type(error).__name__}: {error})"
            raise WeightsError(f"{path} is damaged: {why}; {mend}") from error
    return whole


def _whole_of_file(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Reference:
    """A reference with that of the last report and what was held out."""
    final = _of_file(facts["final"], _below(arrays, "final/")) if "final" in facts else None
    held = _below(arrays, "held_out/")
    held_out = HeldOut(held["samples"], held.get("labels")) if held else None
    return replace(_of_file(facts, arrays), final=final, held_out=held_out)


def _arrays_of(reference: Reference) -> dict[str, np.ndarray]:
    return {
        f"weights/{extractor}/{name}": array
        for extractor, weights in reference.weights.items()
        for name, array in weights.arrays.items()
    } | {
        f"real/{metric}/{name}": array
        for metric, statistics in reference.real.items()
        for name, array in statistics.items()
    }


def _facts_of(reference: Reference) -> dict[str, Any]:
    return {
        "metrics": reference.metrics,
        "shape": reference.shape,
        "weights": {
            name: {"facts": weights.facts, "digest": weights.digest}
            for name, weights in reference.weights.items()
        },
        "origin": reference.origin,
    }


def _of_file(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Reference:
    metrics = tuple((name, options) for name, options in facts["metrics"])
    weights = {
        name: Weights(_below(arrays, f"weights/{name}/"), known["facts"], known["digest"])
        for name, known in facts["weights"].items()
    }
    real = {name: _below(arrays, f"real/{name}/") for name, _ in metrics}
    return Reference(metrics, tuple(facts["shape"]), weights, real, facts["origin"])


def _below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


class Evaluator:
    """Measures a trial's samples; built in each trial, in milliseconds but for Inception."""

    def __init__(self, reference: Reference, device: torch.device | str = "cpu") -> None:
        self._reference = reference
        self._device = torch.device(device)
        self._metrics = _build(reference.metrics)
        self._extractors = _extractors(reference.weights, self._device)
        self._passes = passes(self._metrics)
        self._real = _tensors(reference.real, self._device)

    @property
    def names(self) -> list[str]:
        """The metrics."""
        return list(self._metrics)

    def evaluate(self, images: Tensor, labels: Tensor | None = None) -> dict[str, float]:
        """Each metric of stored samples (images: uint8, N x C x H x W; points: float32, N x D); each
        extractor runs once.

        `labels` are the classes that were asked for, N int64, of a generator that is told them.

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
        labels = None if labels is None else labels.to(self._device)
        seen = {
            features: _see(self._extractors, features, images)._replace(labels=labels)
            for features in _features(self._metrics.values())
        }
        found: dict[str, float] = {}
        for group in self._passes:
            name, metric = next(iter(group.items()))
            found |= values_of(group, seen[metric.features], self._real[name])
        return {name: found[name] for name in self._metrics}

    def scale(self, name: str) -> float:
        """What a Frechet distance's values are to be compared with: the variance of the real samples in
        its features, which a generator of one single sample has at least. 0 for any other metric, such
        as a subclass of the user's that computes in its own way, perhaps in other units.
        """
        kind = type(self._metrics.get(name))
        if not issubclass(kind, FrechetDistance):
            return 0.0
        as_ours = all(getattr(kind, m) is getattr(FrechetDistance, m) for m in ("of_real", "__call__"))
        return float(self._real[name]["trace"]) if as_ours else 0.0

    def provenance(self, fake_samples: int, *, ema: bool) -> dict[str, dict[str, Any]]:
        """Per metric, what its value was made of.

        Keys: features ("inception", "classifier", "mixture", "pixels", "coordinates"), features_hash
        (None for the last two), features_file or features_accuracy, options, real_samples (0 where none
        are compared with), fake_samples, split, dataset, dataset_hash, ema (whether the samples are of
        averaged weights), floor (what real samples themselves get, see `gansearch.metrics.floors`).
        """
        return provenance_of(self._reference, fake_samples, ema=ema)


def provenance_of(reference: Reference, fake_samples: int, *, ema: bool) -> dict[str, dict[str, Any]]:
    """Per metric of a reference, what its value is made of; see `Evaluator.provenance`."""
    return {
        name: {**origin, "fake_samples": fake_samples, "ema": ema}
        for name, origin in reference.origin.items()
    }


def _build(metrics: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Metric]:
    chosen: dict[str, Metric] = {}
    for name, options in metrics:
        if name in chosen:
            raise ValueError(f"the metric '{name}' is asked for twice")
        chosen[name] = check_metric(name, METRICS.build(name, options))
    return chosen


def _tensors(
    real: Mapping[str, Mapping[str, np.ndarray]], device: torch.device
) -> dict[str, dict[str, Tensor]]:
    """Each metric's statistics as tensors; an array that several share becomes one tensor."""
    arrays = {id(array): array for known in real.values() for array in known.values()}
    made = to_tensors({str(key): array for key, array in arrays.items()}, device)
    return {
        metric: {name: made[str(id(array))] for name, array in known.items()}
        for metric, known in real.items()
    }


def _any_compares(metrics: Mapping[str, Metric]) -> bool:
    return any(metric.compares_real for metric in metrics.values())


def _arrays(known: Mapping[str, Tensor], shared: Mapping[int, np.ndarray]) -> dict[str, np.ndarray]:
    """Statistics as arrays; one that is the features themselves is the same array for all metrics."""
    own = to_arrays({name: t for name, t in known.items() if t.data_ptr() not in shared})
    return {name: own[name] if name in own else shared[t.data_ptr()] for name, t in known.items()}


def _features(metrics: Iterable[Metric]) -> list[str | None]:
    return list(dict.fromkeys(metric.features for metric in metrics))


def _extractor(name: str) -> type[Extractor]:
    return cast("type[Extractor]", FEATURES.find(name))


def _extractors(weights: Mapping[str, Weights], device: torch.device) -> dict[str, Extractor]:
    return {name: _extractor(name)(held, device) for name, held in weights.items()}


def compared_rows(count: int, wanted: int | None) -> np.ndarray:
    """Rows of the samples to compare with, always the same ones, in their order; all for None."""
    rows = np.arange(count)
    if wanted is not None and wanted < count:
        rows = np.sort(np.random.default_rng(0).choice(rows, wanted, replace=False))
    return rows


def _see(extractors: Mapping[str, Extractor], features: str | None, images: Tensor) -> Activations:
    return Activations(images.flatten(1), None) if features is None else extractors[features](images)


def _describe(features: str | None, weights: Mapping[str, Weights], kind: Kind) -> dict[str, Any]:
    if features is None:
        return {"features": "pixels" if kind == "images" else "coordinates", "features_hash": None}
    facts = {f"features_{key}": value for key, value in weights[features].facts.items()}
    return {"features": features, "features_hash": weights[features].digest, **facts}

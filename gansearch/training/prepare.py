"""What all the trials of a study share: the images, and the real side of every metric."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gansearch import files
from gansearch.data import DataSet
from gansearch.data.load import load
from gansearch.errors import DataError
from gansearch.metrics import METRICS
from gansearch.metrics.contract import Weights
from gansearch.metrics.door import check_class, least_of_a_class, least_samples
from gansearch.metrics.reference import HeldOut, Reference, compared_rows, read_weights
from gansearch.metrics.reference import prepare as prepare_metrics
from gansearch.study.config import TrialConfig
from gansearch.study.evaluation import Evaluation
from gansearch.study.sections import Part
from gansearch.training.blame import blaming
from gansearch.training.health import silent
from gansearch.training.measuring import JUDGED


@dataclass(frozen=True)
class LocalPaths:
    """Facts of a machine that no study file holds.

    Attributes:
        data: the folder of all data sets.
        cache: of what costs time once: feature classifiers, compiled code, which lanes are fastest.
        inception: a local file of Inception weights; None: where torch-fidelity puts its own.
    """

    data: Path
    cache: Path
    inception: Path | None = None

    @classmethod
    def of_environment(
        cls, data: str | Path | None = None, inception: str | Path | None = None
    ) -> LocalPaths:
        """As said, else by GANSEARCH_DATA, GANSEARCH_CACHE and GANSEARCH_INCEPTION, else at home."""
        cache = files.expanded(os.environ.get("GANSEARCH_CACHE") or "~/.cache/gansearch")
        data = data or os.environ.get("GANSEARCH_DATA") or cache / "data"
        inception = inception or os.environ.get("GANSEARCH_INCEPTION") or None
        weights = _absolute(inception) if inception else None
        return cls(_absolute(data), cache.absolute(), weights)


def _absolute(path: str | Path) -> Path:
    """A path that means the same in a worker, whose working directory is another."""
    return files.expanded(path).absolute()


def prepare(
    config: TrialConfig,
    data: DataSet,
    places: LocalPaths,
    device: str = "cpu",
    real: DataSet | None = None,
    known: Mapping[str, Weights] | None = None,
) -> Reference:
    """The reference that every trial of a study is measured against.

    Args:
        config: any of the study's configurations.
        data: its training images.
        places: where the cache and Inception's weights are.
        device: where to run the feature networks here.
        real: the images to compare with, from `load_real`; None loads them here.
        known: weights from `load_weights`, which this machine need not have then.

    Raises:
        DataError: a data set that a metric cannot use.
        WeightsError: weights that are missing or wrong.
    """
    evaluation = config.evaluation
    real = real or load_real(config, data, places)
    metrics = [(part.name, part.options) for part in evaluation.metrics]
    asked = dict(metrics)
    metrics += [(name, {}) for name in JUDGED if name not in asked]
    measure = partial(
        prepare_metrics,
        data=real,
        learn_from=data,
        cache_dir=places.cache / "classifiers",
        device=device,
        inception_weights=places.inception,
    )
    with blaming(config):
        reference = measure(
            metrics,
            known=known,
            real_samples=evaluation.real_samples,
            samples=evaluation.samples,
        )
        reference = replace(reference, held_out=held_out(config, data, places, real))
        if evaluation.final is None:
            return reference
        final = measure(
            [(part.name, part.options) for part in evaluation.last_metrics],
            known={**(known or {}), **reference.weights},
            real_samples=evaluation.final.real_samples,
            samples=evaluation.final.samples,
        )
        return replace(reference, final=final)


def held_out(config: TrialConfig, data: DataSet, places: LocalPaths, real: DataSet) -> HeldOut | None:
    """Samples of the test split, where the discriminator is to be asked about them.

    Raises:
        DataError: there are not so many, or they are those that are learnt.
    """
    count = config.evaluation.held_out
    if count is None:
        return None
    part, test = config.data, real
    if real.split != "test":
        size, root = part.image_size, places.data
        test = load(part.name, part.options, root=root, split="test", image_size=size)
        _alike(data, test)
    if test.digest == data.digest:
        raise DataError(f"evaluation.held_out: {data.name} has no test split of its own: drop it")
    if count > len(test.samples):
        raise DataError(
            f"evaluation.held_out: {count} are asked for, and the test split of {test.name} has "
            f"{len(test.samples)} {test.domain.kind}"
        )
    # From all over the split: many a set is ordered by class.
    rows = np.random.default_rng(0).permutation(len(test.samples))[:count]
    labels = None if test.labels is None else np.asarray(test.labels)[rows]
    return HeldOut(np.ascontiguousarray(test.samples[rows]), labels)


def load_weights(config: TrialConfig, places: LocalPaths) -> dict[str, Weights]:
    """The weights of feature networks that lie in a file here; raises `WeightsError` if they do not."""
    evaluation = config.evaluation
    found: dict[str, Weights] = {}
    for parts in (evaluation.metrics, evaluation.last_metrics):
        metrics = [(part.name, part.options) for part in parts]
        found |= read_weights(metrics, places.inception)
    return found


def load_real(config: TrialConfig, data: DataSet, places: LocalPaths) -> DataSet:
    """The images that the metrics compare with: the training images, or the other split.

    Raises:
        DataError: they cannot be read, or are fewer than `evaluation.real_samples` or a metric needs.
    """
    part, evaluation = config.data, config.evaluation
    real = data
    if evaluation.split != data.split:
        with blaming(config):
            real = load(
                part.name,
                part.options,
                root=places.data,
                split=evaluation.split,
                image_size=part.image_size,
            )
        _alike(data, real)
    final = evaluation.final
    asked = {"": evaluation.real_samples, "final.": final.real_samples if final else None}
    for section, wanted in asked.items():
        if wanted is not None and wanted > len(real.samples):
            raise DataError(
                f"evaluation.{section}real_samples: {wanted} are asked for, and the {real.split} split "
                f"of {real.name} has {len(real.samples)} {real.domain.kind}"
            )
    for metric, _ in evaluation.measured:
        made = METRICS.build(metric.name, metric.options)
        if made.compares_real and (least := least_samples(made)) > len(real.samples):
            raise DataError(
                f"the metric '{metric.name}' cannot use these {real.domain.kind}: it needs at least "
                f"{least:,}, and the {real.split} split of {real.name} has {len(real.samples)}"
            )
    _check_classes(evaluation, real)
    return real


def _check_classes(evaluation: Evaluation, real: DataSet) -> None:
    """Raise `DataError` where a class has fewer real samples than a metric needs of each."""
    for part, section in evaluation.measured:
        least = least_of_a_class(METRICS.build(part.name, part.options))
        if not least or real.labels is None:
            continue
        rows = compared_rows(len(real.samples), section.real_samples)
        kinds, counts = np.unique(real.labels[rows], return_counts=True)
        with _used_by(part, real):
            check_class(int(kinds[counts.argmin()]), int(counts.min()), least)


@contextmanager
def _used_by(part: Part, real: DataSet) -> Iterator[None]:
    """While it is open, a `ValueError` is told as what makes real samples of no use to a metric."""
    try:
        yield
    except ValueError as error:
        raise DataError(
            f"the metric '{part.name}' cannot use these {real.domain.kind}: {error}"
        ) from error


def _alike(data: DataSet, other: DataSet) -> None:
    """Raise `DataError` where a split has other samples or more classes than what is learnt."""
    wrong = []
    if other.shape != data.shape:
        shapes = ["x".join(map(str, each.shape)) for each in (data, other)]
        wrong.append(
            f"{data.domain.kind} of {shapes[0]} for {data.split}, of {shapes[1]} for {other.split}"
        )
    if data.classes and other.classes > data.classes:
        wrong.append(f"{data.classes} classes for {data.split}, {other.classes} for {other.split}")
    if wrong:
        raise DataError(f"the splits of the data set '{data.name}' do not fit: {'; '.join(wrong)}")


FEWEST_IN_A_SPLIT = 30
"""Samples of which a score says something: of n samples it is n at most, and of one always 1."""


def check_repeats(config: TrialConfig, real: DataSet) -> bool:
    """Raise `DataError` where real samples repeat so often that a metric refuses all features; returns
    whether any metric minds.
    """
    known: dict[int | None, list[int]] = {}  # how often each sample occurs, by how many are compared
    for part, section in config.evaluation.measured:
        metric: Any = METRICS.build(part.name, part.options)
        if not hasattr(metric, "check_repeats"):
            continue
        if (wanted := section.real_samples) not in known:
            marks = _marks(real.samples[compared_rows(len(real.samples), wanted)])
            counts = Counter(marks)
            known[wanted] = [counts[mark] for mark in marks]
        apart = [float(times <= metric.may_occur) for times in known[wanted]]  # 0, as doubles are
        with _used_by(part, real):
            metric.check_repeats(torch.tensor(apart))
    return bool(known)


def once(data: DataSet) -> DataSet:
    """Each of some samples once."""
    first = {mark: row for row, mark in reversed(list(enumerate(_marks(data.samples))))}
    return data.pick(np.sort(np.fromiter(first.values(), np.int64)))


def _marks(samples: np.ndarray) -> list[bytes]:
    """A mark for each sample, the same for equal ones."""
    return [hashlib.blake2b(sample.tobytes(), digest_size=16).digest() for sample in samples]


def repeats(config: TrialConfig, real: DataSet) -> list[str]:
    """What repeated real samples do to the metrics of neighbourhoods, in words with the mend."""
    measured = (part for part, _ in config.evaluation.measured)
    readers = list(dict.fromkeys(part.name for part in measured if "neighbours" in part.options))
    if not readers:
        return []
    counts = Counter(_marks(real.samples))
    repeated = {key: count for key, count in counts.items() if count > 1}
    if not repeated:
        return []
    noun, most = real.domain.noun, max(repeated.values())
    return [
        f"evaluation: {sum(repeated.values()):,} of {len(real.samples):,} real samples occur more "
        f"than once, one {noun} {most:,} times: a repeated one's neighbourhood "
        f"is smaller, and of no size where there are more of it than neighbours, so that "
        f"{', '.join(readers)} come out lower: take the repeated ones out of the data"
    ]


def reservations(config: TrialConfig) -> list[str]:
    """What makes a study's numbers say little although they can be made, in words with the mend."""
    reasons = []
    for metric, section in config.evaluation.measured:
        samples = section.samples
        splits = metric.options.get("splits")  # none: no score, which n samples do not bound
        if isinstance(splits, int) and samples < splits * FEWEST_IN_A_SPLIT:
            each = samples // splits
            most = "always 1" if each == 1 else f"{each} at most"
            enough = samples // FEWEST_IN_A_SPLIT
            mend = f", or splits: {enough}" if 0 < enough < splits else ""
            reasons.append(
                f"evaluation: {samples} samples in {splits} splits leave {metric.name} {each} a split, "
                f"of which a score is {most}, whatever the images are: ask for samples: "
                f"{splits * FEWEST_IN_A_SPLIT} or more{mend}"
            )
    return [*reasons, *silent(config)]

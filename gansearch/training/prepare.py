"""What all the trials of a study share: the images, and the real side of every metric."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gansearch.data.images import ImageData
from gansearch.data.load import load as load_images
from gansearch.errors import DataError
from gansearch.metrics.contract import Weights
from gansearch.metrics.reference import Reference, read_weights
from gansearch.metrics.reference import prepare as prepare_metrics
from gansearch.study.config import TrialConfig


@dataclass(frozen=True)
class LocalPaths:
    """Facts of a machine that no study file holds.

    Attributes:
        data: the folder of all data sets.
        cache: where trained feature classifiers are kept.
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
        cache = Path(os.environ.get("GANSEARCH_CACHE", "~/.cache/gansearch")).expanduser()
        data = data or os.environ.get("GANSEARCH_DATA") or cache / "data"
        inception = inception or os.environ.get("GANSEARCH_INCEPTION") or None
        weights = _absolute(inception) if inception else None
        return cls(_absolute(data), cache.absolute(), weights)


def _absolute(path: str | Path) -> Path:
    """A path that means the same in a worker, whose working directory is another."""
    return Path(path).expanduser().absolute()


def prepare(
    config: TrialConfig,
    data: ImageData,
    places: LocalPaths,
    device: str = "cpu",
    real: ImageData | None = None,
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
    wanted = evaluation.real_samples
    if wanted is not None and wanted > len(real.images):
        raise DataError(
            f"evaluation.real_samples: {wanted} are asked for, and the {real.split} split of "
            f"{real.name} has {len(real.images)} images"
        )
    metrics = [(part.name, part.options) for part in evaluation.metrics]
    if "diversity" not in dict(metrics):
        metrics.append(("diversity", {}))  # the health rules read it
    return prepare_metrics(
        metrics,
        real,
        learn_from=data,
        cache_dir=places.cache / "classifiers",
        device=device,
        inception_weights=places.inception,
        known=known,
        real_samples=wanted,
    )


def load_weights(config: TrialConfig, places: LocalPaths) -> dict[str, Weights]:
    """The weights of feature networks that lie in a file here; raises `WeightsError` if they do not."""
    metrics = [(part.name, part.options) for part in config.evaluation.metrics]
    return read_weights(metrics, places.inception)


def load_real(config: TrialConfig, data: ImageData, places: LocalPaths) -> ImageData:
    """The images that the metrics compare with: the training images, or the other split."""
    part, split = config.data, config.evaluation.split
    if split == data.split:
        return data
    return load_images(
        part.name, part.options, root=places.data, split=split, image_size=part.image_size
    )

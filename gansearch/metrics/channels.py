"""Features of a classifier of single digits, put to each channel of stacked ones.

The modes of stacked digits are told as by Metz et al. 2017 (arXiv 1611.02163) and Lin et al. 2018
(arXiv 1712.04086): a classifier of one digit names each channel's, and together they name the mode.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gansearch.data import DataSet, ImageData
from gansearch.errors import DataError
from gansearch.metrics.classifier import Classifier
from gansearch.metrics.contract import Activations, Weights

DIGITS = 10
SHOWN = 30_000
"""Channels that are looked at for the classifier's training, at most."""


class Channels:
    """What a classifier of digits sees in each channel of stacked digits.

    `features` are those of the channels behind one another; `probabilities` those of the modes, N x
    10^channels, as if the channels were independent.
    """

    kind = "images"

    def __init__(self, weights: Weights, device: torch.device) -> None:
        self._stacked = int(weights.facts["channels"])
        self._classifier = Classifier(weights, device)

    @staticmethod
    def obtain(data: DataSet, *, cache_dir: Path, weights_file: Path | None = None) -> Weights:
        """Train on the channels of stacked digits, or read the cache; see `Classifier.obtain`.

        The accuracy, on channels held out, is among the facts.

        Raises:
            DataError: the data are no stacked digits.
        """
        single = channels_of(data)
        weights = Classifier.obtain(single, cache_dir=cache_dir, weights_file=weights_file)
        return replace(weights, facts={**weights.facts, "channels": stacked(data)})

    def __call__(self, images: Tensor) -> Activations:
        """Features N x 64 k and probabilities N x 10^k of uint8 images N x C x H x W, of k digits."""
        count = len(images)
        seen = self._classifier(images[:, : self._stacked].reshape(-1, 1, *images.shape[2:]))
        assert seen.probabilities is not None
        each = seen.probabilities.view(count, self._stacked, DIGITS)
        modes = each[:, 0]
        for channel in range(1, self._stacked):
            modes = (modes[:, :, None] * each[:, channel, None, :]).flatten(1)
        return Activations(seen.features.view(count, -1), modes)


def stacked(data: DataSet) -> int:
    """How many digits lie in one image; raises `DataError` where the data are no stacked digits."""
    if not isinstance(data, ImageData) or not data.name.startswith("stacked-") or data.labels is None:
        raise DataError(
            f"data set '{data.name}' is not one of stacked digits, whose modes are counted channel by "
            "channel: take `features: classifier`"
        )
    return len(str(data.classes)) - 1


def channels_of(data: DataSet) -> ImageData:
    """The channels of stacked digits as images of one digit each, with their classes.

    Each is there once, however many images it lies in, so that the classifier's accuracy is of digits
    that it has not seen.
    """
    count = stacked(data)
    assert isinstance(data, ImageData)
    assert data.labels is not None
    rows = np.arange(min(len(data.images), SHOWN // count))
    places = DIGITS ** np.arange(count)[::-1]
    labels = (data.labels[rows, None] // places) % DIGITS
    images = data.images[rows, :count].reshape(-1, 1, *data.images.shape[2:])
    seen = [image.tobytes() for image in images]
    first = {image: place for place, image in reversed(list(enumerate(seen)))}
    once = np.sort(np.fromiter(first.values(), np.int64))
    return ImageData(f"{data.name} channels", data.split, images[once], labels.ravel()[once], DIGITS)

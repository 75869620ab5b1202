"""Features of a small classifier, trained once per data set: for CPUs, offline, small images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor, nn

from gansearch import files
from gansearch.data import DataSet, ImageData
from gansearch.errors import DataError
from gansearch.metrics.contract import Activations, Weights, in_batches, to_arrays, to_tensors

RECIPE = 1  # part of the cache's key: raise it when anything that changes the weights changes
WIDTHS = (32, 64, 64)  # the last is the number of features
LARGEST = 32  # pixels a side: larger images are averaged down to this
BATCH = 128  # images a step
EPOCHS = 30  # for small data sets,
STEPS = (200, 2000)  # but no fewer and no more steps than these
HELD_OUT = 5000  # at most, and at most a tenth of the images, to measure the accuracy
LEARNING_RATE = 1e-2

RAW = "or say `features: raw` of the metrics that have the option"
READERS = "fd_classifier, is_classifier, precision, recall and the like"
"""In words to a user, who may have asked for any of them."""

logger = logging.getLogger(__name__)


class Classifier:
    """A three-layer convolutional network with 64 features; see `obtain` for its training."""

    kind = "images"
    width = WIDTHS[-1]

    def __init__(self, weights: Weights, device: torch.device) -> None:
        self._device = device
        self._network = _load(weights).to(device)

    @staticmethod
    def obtain(data: DataSet, *, cache_dir: Path, weights_file: Path | None = None) -> Weights:  # noqa: ARG004
        """Train on the data set's labels, on the CPU and from a fixed seed, or read the cache.

        The cache is keyed by the data's content; a damaged file is trained anew. `weights_file` is
        not used. The accuracy on images held out is among the facts.

        Raises:
            DataError: for a data set without labels, with one class, or with images below 8 x 8.
        """
        data = _checked(data)
        path = cache_dir / f"classifier-{data.digest}-r{RECIPE}.safetensors"
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            weights = _read(path)
            if weights is None:
                weights = _train(data)
                _write(path, weights)
        return weights

    @staticmethod
    def untrained(data: DataSet) -> Weights:
        """Its weights before any training, for a rehearsal; raises `DataError` as `obtain` does."""
        data = _checked(data)
        return Weights.of(to_arrays(_Network(data.shape[0], data.classes).state_dict()))

    def __call__(self, images: Tensor) -> Activations:
        """Features N x 64 and probabilities N x classes of uint8 images N x C x H x W."""
        return in_batches(self._see, images, 256)

    def _see(self, images: Tensor) -> Activations:
        features, logits = self._network(images.to(self._device))
        return Activations(features, logits.softmax(1))


class _Network(nn.Module):
    """uint8 images N x C x H x W -> features N x 64, logits N x classes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((channels, *WIDTHS), WIDTHS, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(WIDTHS[-1], classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        scaled = images.float() / 127.5 - 1
        if scaled.shape[-1] > LARGEST:
            scaled = F.adaptive_avg_pool2d(scaled, LARGEST)
        features = self.body(scaled)
        return features, self.head(features)


def _checked(data: DataSet) -> ImageData:
    if not isinstance(data, ImageData):
        raise DataError(
            f"data set '{data.name}' holds points, and the features `classifier` are of images: ask "
            f"for fd_raw, {RAW}"
        )
    if data.labels is None or data.classes < 2:
        lack = "no labels" if data.labels is None else "only one class"
        raise DataError(
            f"data set '{data.name}' has {lack}, so there is no classifier to train, in whose features "
            f"{READERS} are made: give it the labels of two classes or more (of images in files: a "
            f"folder for each class), or ask for fd_raw or fid, {RAW}"
        )
    if min(data.shape[1:]) < 8:
        raise DataError(
            f"data set '{data.name}' has images of {data.shape[1]} x {data.shape[2]} pixels, and the "
            f"features `classifier` need at least 8 x 8: ask for fd_raw, {RAW}"
        )
    return data


def _load(weights: Weights) -> _Network:
    channels = weights.arrays["body.0.weight"].shape[1]
    classes = weights.arrays["head.weight"].shape[0]
    with torch.device("meta"):  # no initial values: quick, and no draw from the trial's generator
        network = _Network(channels, classes)
    network.load_state_dict(to_tensors(weights.arrays), assign=True)
    return network.eval().requires_grad_(False)


def _train(data: ImageData) -> Weights:
    logger.info("training the classifier for data set '%s', once", data.name)
    images = torch.tensor(data.images)
    labels = torch.tensor(data.labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        order = torch.randperm(len(images))
        network = _Network(data.shape[0], data.classes)
        held = order[: max(1, min(HELD_OUT, len(images) // 10))]
        _descend(network, images, labels, order[len(held) :])
    weights = Weights.of(to_arrays(network.state_dict()))
    seen = Classifier(weights, torch.device("cpu"))(images[held])
    right = cast("Tensor", seen.probabilities).argmax(1) == labels[held]
    return Weights.of(weights.arrays, accuracy=round(float(right.float().mean()), 4))


def _descend(network: _Network, images: Tensor, labels: Tensor, rows: Tensor) -> None:
    steps = min(max(EPOCHS * len(rows) // BATCH, STEPS[0]), STEPS[1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for _ in range(steps):
        batch = rows[torch.randint(len(rows), (BATCH,))]
        _, logits = network(images[batch])
        loss = F.cross_entropy(logits, labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _read(path: Path) -> Weights | None:
    """The cached weights; None if there are none, or if their content is not what was written."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            facts = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        weights = Weights.of(arrays, accuracy=float(facts["accuracy"]))
        if weights.digest == facts["digest"]:
            return weights
    except (OSError, SafetensorError, KeyError, ValueError):
        pass
    logger.warning("%s is damaged; training the classifier again", path)
    return None


def _write(path: Path, weights: Weights) -> None:
    facts = {"digest": weights.digest, **{key: str(v) for key, v in weights.facts.items()}}
    files.write(path, save(weights.arrays, metadata=facts))

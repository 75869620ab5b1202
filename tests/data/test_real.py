"""The real data sets, as published: pytest -m data with GANSEARCH_DATA set."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from gansearch.data.load import load

pytestmark = pytest.mark.data


@pytest.fixture
def root():
    if "GANSEARCH_DATA" not in os.environ:
        pytest.skip("GANSEARCH_DATA is not set")
    return Path(os.environ["GANSEARCH_DATA"])


@pytest.mark.parametrize(
    ("name", "shape", "mean"),
    [  # the means are the ones in everyone's Normalize(...)
        ("mnist", (1, 28, 28), [0.1307]),
        ("fashion-mnist", (1, 28, 28), [0.2860]),
        ("cifar10", (3, 32, 32), [0.4914, 0.4822, 0.4465]),
    ],
)
def test_published_sizes_and_means(root, name, shape, mean):
    train = load(name, {}, root=root, split="train")
    test = load(name, {}, root=root, split="test")
    assert train.images.shape == ((50_000 if name == "cifar10" else 60_000), *shape)
    assert test.images.shape == (10_000, *shape)
    np.testing.assert_allclose(train.images.mean((0, 2, 3)) / 255, mean, atol=1e-4)
    assert np.bincount(train.labels).min() > (4_900 if name == "cifar10" else 5_400)
    assert np.bincount(test.labels).min() > 890


def test_resizing_keeps_the_mean(root):
    native = load("fashion-mnist", {}, root=root, split="test")
    resized = load("fashion-mnist", {}, root=root, split="test", image_size=32)
    assert resized.shape == (1, 32, 32)
    assert resized.images.mean() == pytest.approx(native.images.mean(), rel=0.01)

"""Classes as modes, and the classifier that names those of stacked digits channel by channel."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gansearch.data.digits import digits
from gansearch.data.stacked import stacked_mnist
from gansearch.errors import DataError
from gansearch.metrics.channels import Channels, channels_of
from gansearch.metrics.class_modes import ClassKL, ClassModes
from gansearch.metrics.contract import Activations
from gansearch.metrics.reference import Evaluator, prepare


def taken(*classes, of=4):
    probabilities = torch.nn.functional.one_hot(torch.tensor(classes), of).float()
    return Activations(torch.zeros(len(classes), 1), probabilities)


def test_modes_are_classes_that_some_sample_has():
    metric = ClassModes()
    real = metric.of_real(taken(0, 1, 2, 3))
    assert metric(taken(0, 0, 0), real) == 1
    assert metric(taken(3, 1, 3), real) == 2
    assert metric(taken(*[0] * 999, 2), real) == 2, "one of a thousand is met"


def test_the_divergence_is_its_equation():
    metric = ClassKL()
    real = metric.of_real(taken(0, 0, 1, 1, 2, 2, 3, 3))
    assert metric(taken(0, 1, 2, 3), real) == 0
    assert metric(taken(2, 2, 2), real) == pytest.approx(math.log(4))
    uneven = metric(taken(0, 0, 0, 1), real)
    assert uneven == pytest.approx(0.75 * math.log(0.75 / 0.25) + 0.25 * math.log(0.25 / 0.25))


def test_a_class_that_no_real_sample_has_makes_it_infinite_and_nan_is_kept():
    metric = ClassKL()
    real = metric.of_real(taken(0, 1))
    assert metric(taken(3, 0), real) == math.inf
    odd = taken(0, 1)._replace(probabilities=torch.full((2, 4), math.nan))
    assert math.isnan(metric(odd, real))
    with pytest.raises(ValueError, match="these features know no classes: take `classifier`"):
        metric.of_real(odd._replace(probabilities=None))


@pytest.fixture(scope="module")
def hundred():
    return stacked_mnist(Path(), "train", None, digits=2, samples=3_000, source="digits")


def test_channels_are_digits_each_once(hundred):
    single = channels_of(hundred)
    assert single.images.shape[1:] == (1, 8, 8)
    np.testing.assert_array_equal(single.images[0, 0], hundred.images[0, 0])
    np.testing.assert_array_equal(single.images[1, 0], hundred.images[0, 1])
    assert len({image.tobytes() for image in single.images}) == len(single.images) < 1600
    own = {i.tobytes(): label for i, label in zip(single.images, single.labels, strict=True)}
    for row in (0, 7, 777):
        assert own[hundred.images[row, 0].tobytes()] == hundred.labels[row] // 10
        assert own[hundred.images[row, 1].tobytes()] == hundred.labels[row] % 10


def test_real_samples_have_all_modes_and_one_mode_is_told(hundred, tmp_path):
    metrics = [("class_modes", {"features": "digits"}), ("class_kl", {"features": "digits"})]
    known = prepare(metrics, hundred, cache_dir=tmp_path, samples=2600)
    origin = known.origin["class_modes"]
    assert origin["features"] == "digits"
    assert origin["features_accuracy"] > 0.95
    assert origin["floor"]["value"] == 100
    evaluator = Evaluator(known)
    real = torch.from_numpy(hundred.images)
    assert evaluator.evaluate(real[:2600])["class_modes"] == 100
    assert evaluator.evaluate(real)["class_kl"] == 0
    one = real[torch.from_numpy(hundred.labels == 42)]
    found = evaluator.evaluate(one)
    assert found["class_modes"] <= 5
    assert found["class_kl"] == pytest.approx(math.log(100), abs=0.4)
    seen = Channels(known.weights["digits"], torch.device("cpu"))(one[:50])
    torch.testing.assert_close(seen.probabilities.sum(1), torch.ones(len(seen.features)))
    assert (seen.probabilities.argmax(1) == 42).float().mean() > 0.9


def test_others_are_refused():
    with pytest.raises(DataError, match="take `features: classifier`"):
        Channels.obtain(digits(Path(), "train", None), cache_dir=Path())

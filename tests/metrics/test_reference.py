from __future__ import annotations

import json
import math
import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from gansearch.data.images import ImageData
from gansearch.errors import DataError, UnknownPart
from gansearch.metrics.classifier import Classifier
from gansearch.metrics.contract import Activations
from gansearch.metrics.frechet import ClassifierDistance
from gansearch.metrics.reference import Evaluator, Reference, prepare

ASKED = [("fd_classifier", {}), ("is_classifier", {"splits": 2}), ("diversity", {})]


class Brightness:
    """A user's own metric: the difference of the mean pixel values, times `scale`."""

    features = None
    goal = "min"
    compares_real = True

    def __init__(self, *, scale: float = 1.0) -> None:
        self.scale = scale

    def of_real(self, real: Activations) -> dict[str, torch.Tensor]:
        return {"mean": real.features.double().mean()}

    def __call__(self, fake: Activations, real: dict[str, torch.Tensor]) -> float:
        return self.scale * float((fake.features.double().mean() - real["mean"]).abs())


@pytest.fixture(scope="module")
def reference(data: ImageData, cache: Path) -> Reference:
    return prepare(ASKED, data, cache_dir=cache)


@pytest.fixture(scope="module")
def others(stripes: Callable[..., ImageData]) -> torch.Tensor:
    """90 images like those of the data set, but not the same."""
    return torch.tensor(stripes(90, seed=1).images)


def test_values_tell_good_samples_from_bad(others: torch.Tensor, reference: Reference) -> None:
    evaluator = Evaluator(reference)
    good = evaluator.evaluate(others)
    collapsed = evaluator.evaluate(others[:1].repeat(90, 1, 1, 1))
    generator = torch.Generator().manual_seed(0)
    shape = (90, 1, 12, 12)
    noise = evaluator.evaluate(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator))
    assert list(good) == ["fd_classifier", "is_classifier", "diversity"]
    assert good["fd_classifier"] < 0.1 * min(noise["fd_classifier"], collapsed["fd_classifier"])
    assert good["is_classifier"] > 2.5
    assert good["diversity"] == pytest.approx(1, abs=0.1)
    assert collapsed["is_classifier"] == pytest.approx(1, abs=1e-5)
    assert collapsed["diversity"] == 0


def test_the_data_set_itself_is_at_distance_zero(reference: Reference, data: ImageData) -> None:
    values = Evaluator(reference).evaluate(torch.tensor(data.images))
    assert values["fd_classifier"] == pytest.approx(0, abs=1e-5)
    assert values["diversity"] == pytest.approx(1, rel=1e-12)


def test_each_extractor_runs_once_per_evaluation(
    others: torch.Tensor, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    see = Classifier.__call__
    monkeypatch.setattr(
        Classifier, "__call__", lambda self, images: calls.append(len(images)) or see(self, images)
    )
    Evaluator(reference).evaluate(others)
    assert calls == [90]


def test_scores_that_do_not_compare_leave_the_real_images_alone(
    data: ImageData, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    see = Classifier.__call__
    monkeypatch.setattr(
        Classifier, "__call__", lambda self, images: calls.append(len(images)) or see(self, images)
    )
    reference = prepare([("is_classifier", {})], data, cache_dir=cache)
    assert calls == [2]
    assert reference.metrics == (("is_classifier", {"splits": 10}),)
    assert reference.origin["is_classifier"]["real_samples"] == 0


def test_the_reference_travels_without_copies_and_is_only_read(
    others: torch.Tensor, reference: Reference
) -> None:
    buffers: list[pickle.PickleBuffer] = []
    message = pickle.dumps(reference, protocol=5, buffer_callback=buffers.append)
    assert len(message) < 10_000
    received = pickle.loads(message, buffers=[bytes(b.raw()) for b in buffers])
    arrays = [
        *received.weights["classifier"].arrays.values(),
        received.real["fd_classifier"]["factor"],
    ]
    assert not any(array.flags.writeable for array in arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = Evaluator(received).evaluate(others)
    assert values == Evaluator(reference).evaluate(others)


def test_read_only_data_is_fine(data: ImageData, cache: Path, reference: Reference) -> None:
    shared = ImageData(data.name, data.split, data.images.copy(), data.labels, data.classes)
    shared.images.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = prepare(ASKED, shared, cache_dir=cache)
    assert again.origin == reference.origin


def test_provenance(reference: Reference, data: ImageData) -> None:
    provenance = Evaluator(reference).provenance(90, ema=True)
    digest = reference.weights["classifier"].digest
    common = {
        "split": "train",
        "dataset": "stripes",
        "dataset_hash": data.digest,
        "fake_samples": 90,
        "ema": True,
    }
    classifier = {"features": "classifier", "features_hash": digest, "features_accuracy": 1.0}
    assert provenance == {
        "fd_classifier": {**classifier, "options": {}, "real_samples": 400, **common},
        "is_classifier": {**classifier, "options": {"splits": 2}, "real_samples": 0, **common},
        "diversity": {
            "features": "pixels",
            "features_hash": None,
            "options": {},
            "real_samples": 400,
            **common,
        },
    }


def test_real_samples_are_always_the_same_ones(data: ImageData, cache: Path) -> None:
    first, second = (prepare(ASKED, data, cache_dir=cache, real_samples=100) for _ in range(2))
    assert first.origin["fd_classifier"]["real_samples"] == 100
    np.testing.assert_array_equal(
        first.real["fd_classifier"]["mean"], second.real["fd_classifier"]["mean"]
    )
    beyond = prepare(ASKED, data, cache_dir=cache, real_samples=10_000)
    assert beyond.origin["fd_classifier"]["real_samples"] == 400


def test_a_metric_of_the_users_own(data: ImageData, tmp_path: Path) -> None:
    name = f"{__name__}:Brightness"
    reference = prepare([(name, {"scale": 2.0}), ("diversity", {})], data, cache_dir=tmp_path)
    darkest = torch.zeros(2, 1, 12, 12, dtype=torch.uint8)
    value = Evaluator(reference).evaluate(darkest)[name]
    assert value == pytest.approx(2 * data.images.mean())
    assert not list(tmp_path.iterdir())  # no extractor, no classifier


class MeansOnly(ClassifierDistance):
    """A user's: of the real side it keeps only the mean."""

    def of_real(self, real: Activations) -> dict[str, torch.Tensor]:
        return {"mean": real.features.double().mean(0)}

    def __call__(self, fake: Activations, real: Mapping[str, torch.Tensor]) -> float:
        return float((fake.features.double().mean(0) - real["mean"]).square().sum())


class RootDistance(ClassifierDistance):
    """A user's: in units of the features, not of their squares."""

    def __call__(self, fake: Activations, real: Mapping[str, torch.Tensor]) -> float:
        return math.sqrt(max(super().__call__(fake, real), 0))


def test_only_a_plain_frechet_distance_has_a_scale(data: ImageData, cache: Path) -> None:
    own = [f"{__name__}:{kind.__name__}" for kind in (MeansOnly, RootDistance)]
    evaluator = Evaluator(prepare([*ASKED, *((name, {}) for name in own)], data, cache_dir=cache))
    assert evaluator.scale("fd_classifier") > 0
    assert [evaluator.scale(name) for name in (*own, "diversity", "d_loss")] == [0, 0, 0, 0]


def test_non_finite_activations_end_as_nan(others: torch.Tensor, reference: Reference) -> None:
    evaluator = Evaluator(reference)
    evaluator._extractors["classifier"]._network.body[0].weight.fill_(math.inf)  # type: ignore[attr-defined]
    values = evaluator.evaluate(others)
    assert math.isnan(values["fd_classifier"])
    assert math.isnan(values["is_classifier"])


def test_wrong_requests_are_refused(
    others: torch.Tensor, reference: Reference, data: ImageData, cache: Path
) -> None:
    evaluator = Evaluator(reference)
    with pytest.raises(ValueError, match=r"uint8 N x 1 x 12 x 12, not torch\.float32"):
        evaluator.evaluate(others.float())
    with pytest.raises(ValueError, match=r"not torch\.uint8 90 x 3 x 12 x 12"):
        evaluator.evaluate(others.expand(-1, 3, -1, -1))
    with pytest.raises(ValueError, match="asked for twice"):
        prepare([("diversity", {}), ("diversity", {})], data, cache_dir=cache)
    with pytest.raises(UnknownPart, match="did you mean 'diversity'"):
        prepare([("divercity", {})], data, cache_dir=cache)
    unlabelled = ImageData("plain", "train", data.images, None, 0)
    with pytest.raises(DataError, match="no labels"):
        prepare([("fd_classifier", {})], unlabelled, cache_dir=cache)


def test_a_reference_comes_back_from_its_file(tmp_path, digits_like_reference):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    from gansearch.errors import WeightsError
    from gansearch.metrics.reference import Evaluator, load_reference, save_reference

    reference, images = digits_like_reference
    path = tmp_path / "reference.safetensors"
    save_reference(reference, path)
    loaded = load_reference(path)
    assert Evaluator(loaded).evaluate(images) == Evaluator(reference).evaluate(images)
    assert loaded.origin == reference.origin
    arrays, facts = load_file(path), json.loads(safe_open(path, "np").metadata()["facts"])
    broken = [[], *({k: v for k, v in facts.items() if k != key} for key in facts.keys() - {"same"})]
    for each in [*broken, facts | {"shape": 3}, facts | {"metrics": [1]}, facts | {"weights": [1]}]:
        save_file(arrays, path, {"facts": json.dumps(each)})
        with pytest.raises(WeightsError, match="is damaged: it is not what a study's reference holds"):
            load_reference(path)
    save_file(arrays, path, {"facts": "{"})
    with pytest.raises(WeightsError, match="is damaged"):
        load_reference(path)
    save_file(arrays, path)
    with pytest.raises(WeightsError, match="is damaged"):
        load_reference(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsError, match=r"damaged \(.*\): bring it back from a copy of the study"):
        load_reference(path)
    path.unlink()
    with pytest.raises(WeightsError, match="is missing: bring it back from a copy"):
        load_reference(path)


@pytest.fixture
def digits_like_reference(tmp_path):
    from pathlib import Path

    from gansearch.data.load import load
    from gansearch.metrics.reference import prepare

    data = load("digits", {}, root=Path(), split="train")
    names = [("fd_classifier", {}), ("is_classifier", {"splits": 2}), ("diversity", {})]
    return prepare(names, data, cache_dir=tmp_path), torch.from_numpy(data.images[:50].copy())

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gansearch.data.images import ImageData
from gansearch.metrics.classifier import Classifier
from gansearch.metrics.contract import Activations
from gansearch.metrics.floors import Shown
from gansearch.metrics.reference import Evaluator, load_reference, prepare, save_reference

FAMILY: list[tuple[str, dict[str, Any]]] = [
    ("precision", {}),
    ("kd_classifier", {"subset_size": 40, "subsets": 3}),
    ("coverage", {"neighbours": 2}),
    ("fd_classifier", {}),
    ("recall", {}),
]


def test_a_floor_is_the_value_of_real_samples_besides_those_compared_with(
    data: ImageData, cache: Path
) -> None:
    reference = prepare(FAMILY, data, cache_dir=cache, real_samples=200, samples=60)
    floors = {name: origin["floor"] for name, origin in reference.origin.items()}
    assert {(f["samples"], f["real_samples"]) for f in floors.values()} == {(60, 200)}
    rows = np.sort(np.random.default_rng(0).choice(400, 200, replace=False))
    rest = np.setdiff1d(np.arange(400), rows)
    chosen = np.sort(np.random.default_rng(1).choice(rest, 60, replace=False))
    values = Evaluator(reference).evaluate(torch.from_numpy(data.images[chosen]))
    assert values == pytest.approx({name: floor["value"] for name, floor in floors.items()}, rel=1e-4)
    assert floors["precision"]["value"] > 0.5
    assert floors["fd_classifier"]["value"] > 1e-3


def test_where_all_real_samples_are_compared_with_they_are_divided(
    data: ImageData, cache: Path
) -> None:
    reference = prepare(FAMILY, data, cache_dir=cache, samples=300)
    floor = reference.origin["fd_classifier"]["floor"]
    assert (floor["samples"], floor["real_samples"]) == (200, 200)
    smaller = prepare(FAMILY, data, cache_dir=cache, samples=50).origin["fd_classifier"]["floor"]
    assert (smaller["samples"], smaller["real_samples"]) == (50, 350)
    assert smaller["value"] > floor["value"] > 0  # fewer samples, higher floor


def test_the_floor_of_a_score_compares_with_nothing(data: ImageData, cache: Path) -> None:
    reference = prepare([("is_classifier", {"splits": 2})], data, cache_dir=cache, samples=100)
    floor = reference.origin["is_classifier"]["floor"]
    assert (floor["samples"], floor["real_samples"]) == (100, 0)
    assert 2.5 < floor["value"] < 3.1


def test_too_few_real_samples_make_no_floor(data: ImageData, cache: Path) -> None:
    asked = [("kd_classifier", {"subset_size": 300})]
    assert "floor" not in prepare(asked, data, cache_dir=cache, samples=300).origin["kd_classifier"]


def test_without_samples_there_is_none(data: ImageData, cache: Path) -> None:
    assert "floor" not in prepare(FAMILY, data, cache_dir=cache).origin["precision"]


def test_no_real_sample_is_looked_at_twice() -> None:
    looked: list[int] = []

    def look(images: torch.Tensor) -> Activations:
        looked.extend(images[:, 0].tolist())
        return Activations(images.float(), None)

    samples = np.arange(20)[:, None]
    shown = Shown(samples, np.arange(3), look)
    for rows in ([2, 0, 5], [5, 7, 2, 1], [9, 0]):
        assert shown.of(np.array(rows)).features[:, 0].tolist() == rows
    assert looked == [2, 0, 5, 7, 1, 9]


def test_metrics_of_one_family_search_once_and_share_their_arrays(
    data: ImageData, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gansearch.metrics import neighbours

    searches: list[int] = []
    search = neighbours.nearest_squares
    monkeypatch.setattr(
        neighbours, "nearest_squares", lambda p, k: searches.append(len(p)) or search(p, k)
    )
    reference = prepare(FAMILY, data, cache_dir=cache)
    assert searches == [400]
    images = torch.from_numpy(data.images[:90].copy())
    values = Evaluator(reference).evaluate(images)
    assert searches == [400, 90]
    assert list(values) == [name for name, _ in FAMILY]
    alone = {}
    for name, options in FAMILY:
        alone |= Evaluator(prepare([(name, options)], data, cache_dir=cache)).evaluate(images)
    assert values == alone
    features = {
        id(reference.real[name]["features"]) for name in ("precision", "recall", "kd_classifier")
    }
    assert len(features) == 1

    path = tmp_path / "reference.safetensors"
    save_reference(reference, path)
    assert path.stat().st_size < 2 * reference.real["recall"]["features"].nbytes + 400_000
    again = load_reference(path)
    assert Evaluator(again).evaluate(images) == values
    assert again.real["recall"]["features"] is again.real["kd_classifier"]["features"]


def test_features_that_are_not_finite_make_every_metric_nan(data: ImageData, cache: Path) -> None:
    evaluator = Evaluator(prepare(FAMILY, data, cache_dir=cache))
    network = evaluator._extractors["classifier"]
    assert isinstance(network, Classifier)
    network._network.body[0].weight.fill_(math.inf)
    values = evaluator.evaluate(torch.from_numpy(data.images[:90].copy()))
    assert [math.isnan(value) for value in values.values()] == [True] * len(FAMILY)

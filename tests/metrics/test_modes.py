"""The modes of a known mixture, against counts by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gansearch.data.points import PointData, grid, ring
from gansearch.errors import DataError
from gansearch.metrics.contract import Activations
from gansearch.metrics.modes import HighQuality, ModeOverlap, Modes
from gansearch.metrics.reference import Evaluator, load_reference, prepare, save_reference

NAMES = ("modes", "high_quality", "reverse_kl", "mode_overlap", "fd_raw", "diversity")


@pytest.fixture(scope="module", params=[ring, grid])
def made(request, tmp_path_factory):
    data = request.param(Path(), "train", None)
    return data, prepare([(name, {}) for name in NAMES], data, cache_dir=tmp_path_factory.mktemp("c"))


def test_the_data_themselves(made):
    data, reference = made
    found = Evaluator(reference).evaluate(torch.from_numpy(data.points[:20_000]))
    assert found["modes"] == len(data.mixture.centres)
    assert found["high_quality"] == pytest.approx(1 - math.exp(-4.5), abs=0.003)  # Rayleigh, 3 sigma
    assert found["reverse_kl"] < 1e-3
    assert found["mode_overlap"] > 0.95
    assert found["fd_raw"] < 0.01
    assert found["diversity"] == pytest.approx(1, abs=0.03)


def test_counted_by_hand(made):
    data, reference = made
    centres, width = data.mixture.centres, data.mixture.deviation
    # Two samples near mode 0, one of which is just within 3 deviations, one near mode 1, one outside.
    offsets = np.array([[0, 0], [2.99, 0], [0, -1], [3.01, 0]]) * width
    points = torch.tensor(centres[[0, 0, 1, 1]] + offsets, dtype=torch.float32)
    found = Evaluator(reference).evaluate(points)
    count = len(centres)
    assert found["modes"] == 2
    assert found["high_quality"] == 0.75
    assert found["reverse_kl"] == pytest.approx(math.log(count / 2))
    assert found["mode_overlap"] == pytest.approx(2 / count)


def test_one_mode_and_what_is_not_finite(made):
    data, reference = made
    one = torch.tensor(data.mixture.centres[:1], dtype=torch.float32).expand(50, 2)
    found = Evaluator(reference).evaluate(one)
    assert found["reverse_kl"] == pytest.approx(math.log(len(data.mixture.centres)))
    assert (found["modes"], found["high_quality"], found["diversity"]) == (1, 1, 0)
    points = torch.from_numpy(data.points[:20]).clone()
    points[7, 1] = math.inf
    broken = Evaluator(reference).evaluate(points)
    assert all(math.isnan(broken[name]) for name in NAMES), "of one sample that is not"
    odd = Activations(torch.tensor([[0.5, 9.0], [math.inf, 9.0]]), torch.tensor([[0.5, 0.5]] * 2))
    assert all(math.isnan(metric()(odd, {})) for metric in (Modes, HighQuality, ModeOverlap))


def test_provenance_and_a_file(made, tmp_path):
    data, reference = made
    save_reference(reference, tmp_path / "r.safetensors")
    back = load_reference(tmp_path / "r.safetensors")
    points = torch.from_numpy(data.points[:500])
    assert Evaluator(back).evaluate(points) == Evaluator(reference).evaluate(points)
    told = Evaluator(back).provenance(500, ema=True)
    assert told["fd_raw"]["features"] == "coordinates"
    assert told["modes"]["features"] == "mixture"
    assert told["modes"]["features_hash"]
    with pytest.raises(ValueError, match="float32 N x 2"):
        Evaluator(back).evaluate(points.double())


def test_points_of_no_known_mixture_have_no_modes(tmp_path):
    data = PointData("mine", "train", np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32))
    with pytest.raises(DataError, match="not known to be a mixture"):
        prepare([("modes", {})], data, cache_dir=tmp_path)
    with pytest.raises(DataError, match="ask for fd_raw"):
        prepare([("fd_classifier", {})], data, cache_dir=tmp_path)


def test_what_lies_at_three_deviations_is_near_enough():
    shares, at = torch.full((2,), 0.5), torch.tensor([3.0, 3.0, 3.0])
    nearest = torch.tensor([0, 1, 1])
    assert Modes().of(at, nearest, shares) == 2
    assert HighQuality().of(at, nearest, shares) == pytest.approx(1)
    beyond = torch.tensor([3.0, 3.01, 3.01])
    assert Modes().of(beyond, nearest, shares) == 1
    assert HighQuality().of(beyond, nearest, shares) == pytest.approx(1 / 3)
    assert ModeOverlap().of(beyond, nearest, shares) == pytest.approx(1 / 3)

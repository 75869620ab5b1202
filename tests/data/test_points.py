"""Points: the known mixtures, one point alone, what they promise and how they are drawn."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gansearch.data import DATASETS
from gansearch.data.domain import Images, Points, domain_of
from gansearch.data.load import load, validate
from gansearch.data.points import PointData, dirac, grid, ring
from gansearch.errors import DataError, InvalidInput
from gansearch.testing import check_dataset


@pytest.mark.parametrize("loader", [ring, grid, dirac])
def test_keeps_the_contract(loader):
    check_dataset(loader)


def test_a_ring_is_eight_gaussians_on_the_unit_circle():
    data = ring(Path(), "train", None)
    assert data.points.shape == (100_000, 2)
    assert np.bincount(data.labels).min() > 12_000
    for mode in range(8):
        here = data.points[data.labels == mode].astype(float)
        angle = 2 * np.pi * mode / 8
        np.testing.assert_allclose(here.mean(0), [np.cos(angle), np.sin(angle)], atol=5e-4)
        np.testing.assert_allclose(here.std(0), 0.01, rtol=0.03)


def test_a_grid_is_25_gaussians_from_minus_4_to_4():
    data = grid(Path(), "test", None)
    assert data.points.shape == (10_000, 2)
    assert sorted({tuple(c) for c in data.mixture.centres.tolist()}) == [
        (float(x), float(y)) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)
    ]
    away = data.points - data.mixture.centres[data.labels]
    assert away.std() == pytest.approx(0.05, rel=0.03)
    seen = data.domain.encode(torch.from_numpy(data.points))
    assert 1 < seen.abs().max() < 1.1
    assert torch.allclose(data.domain.decode(seen), torch.from_numpy(data.points))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"points": np.zeros((3, 2))}, "float64, not float32"),
        ({"points": np.zeros((3, 2, 1), np.float32)}, "not N x D"),
        ({"points": np.full((3, 2), np.nan, np.float32)}, "not finite"),
        ({"points": np.zeros((0, 2), np.float32)}, "no points"),
        ({"scale": 0.0}, "scale"),
        ({"labels": np.zeros(2, np.int64), "classes": 1}, "one for each point"),
        ({"labels": np.zeros(3, np.int64), "classes": 1, "names": ("a", "b")}, "2 names for 1"),
    ],
)
def test_broken_points_are_told(wrong, message):
    data = PointData("mine", "train", np.zeros((3, 2), np.float32))
    validate(data)
    with pytest.raises(DataError, match=message):
        validate(replace(data, **wrong))


def test_points_are_not_resized():
    with pytest.raises(DataError, match=r"image_size is for images"):
        load("ring", {}, root=Path(), split="train", image_size=16)
    assert {DATASETS.find(name).kind for name in ("ring", "grid", "dirac")} == {"points"}


@pytest.mark.parametrize(
    "domain",
    [
        Images((3, 8, 8), ("cat", "dog"), (5, 3)),
        Points((2,), ("0", "1"), (1, 2), 4.0, 2, ((0.5, 1.0), (2.0, 0.25))),
    ],
)
def test_a_domain_survives_as_plain_values(domain):
    assert domain_of({"domain": domain.plain()}, "x") == domain


def test_a_domain_of_version_0_1_0_is_a_shape():
    assert domain_of({"image_shape": [1, 8, 8]}, "x") == Images((1, 8, 8))


SAID = {"kind": "images", "shape": [1, 8, 8], "classes": ["a", "b"], "counts": [1, 2]}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "domain: is required"),
        ({"image_shape": 3}, "image_shape: needs a list, not 3"),
        ({"image_shape": [1, "8", 8]}, "image_shape[1]: needs an integer, not '8'"),
        ({"image_shape": [8, 8]}, "image_shape: "),
        ({"domain": [1]}, "domain: needs a mapping"),
        ([], "needs a mapping"),
        ({"domain": {**SAID, "kind": "sounds"}}, "domain.kind: must be 'images' or 'points'"),
        ({"domain": {**SAID, "shape": [0, 8, 8]}}, "domain.shape[0]: must be at least 1, not 0"),
        ({"domain": {**SAID, "shape": [64]}}, "domain: the shape of images is [C, H, W], not [64]"),
        ({"domain": {**SAID, "counts": [3]}}, "domain: 1 counts of 2 classes"),
        ({"domain": {**SAID, "classes": [0, 1]}}, "domain.classes[0]: needs text, not 0"),
        ({"domain": {**SAID, "scale": "1"}}, "domain.scale: needs a number, not '1'"),
        ({"domain": {**SAID, "scael": 1}}, "domain.scael: not a key of this section"),
        ({"domain": {"shape": [2]}}, "domain.kind: is required"),
    ],
)
def test_what_is_no_domain_is_told_with_its_place(facts, words):
    with pytest.raises(InvalidInput, match=re.escape(words)) as caught:
        domain_of(facts, "model.json")
    assert str(caught.value).startswith("model.json: ")


def test_all_that_is_wrong_with_a_domain_is_told_at_once():
    with pytest.raises(InvalidInput, match="2 mistakes"):
        domain_of({"domain": {**SAID, "scale": 0, "modes": -1}}, "model.json")


def test_labels():
    domain = Images((1, 8, 8), ("cat", "dog"), (900, 100))
    drawn = domain.labels_as_drawn(5000, 0)
    assert drawn.dtype == np.int64
    assert drawn.mean() == pytest.approx(0.1, abs=0.02)
    assert domain.labels_in_order(5).tolist() == [0, 0, 0, 1, 1]
    assert (domain.label("dog"), domain.label("0")) == (1, 0)
    with pytest.raises(ValueError, match="cat, dog"):
        domain.label("2")


def test_a_picture_shows_generated_and_real_points_beside_each_other():
    domain = ring(Path(), "train", None).domain
    picture = np.asarray(domain.draw(torch.tensor([[1.0, 0.0], [float("nan"), 0.0]])))
    height, width = picture.shape[:2]
    assert width == 2 * height
    blue = (picture[..., 2].astype(int) - picture[..., 0]) > 80
    rows, columns = np.nonzero(blue)
    # Of two points one is finite, at the right of its panel, half-way up.
    assert abs(rows.mean() - height / 2) < 3
    assert 0.85 < columns.mean() / height < 0.91
    assert np.asarray(dirac(Path(), "train", None).domain.draw(torch.zeros(5, 1))).shape[1] == width

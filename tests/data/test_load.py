"""`load`: the resizing, the checks on what a loader gives, the options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gansearch.data import ImageData, PointData
from gansearch.data.load import load, resize, validate
from gansearch.errors import DataError, UnknownPart

IMAGES = np.zeros((4, 1, 8, 8), np.uint8)
LABELS = np.array([0, 1, 2, 0])


def test_resized_to_the_size_asked_for_and_gray_stays_gray():
    native = load("digits", {}, root=".", split="test")
    larger = load("digits", {}, root=".", split="test", image_size=16)
    assert larger.images.shape == (297, 1, 16, 16)
    assert larger.images.dtype == np.uint8
    np.testing.assert_array_equal(larger.labels, native.labels)
    assert larger.digest != native.digest


@pytest.mark.parametrize("size", [8, 16, 48])
@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_antialiased_bilinear_as_in_pillow(pixels, size, channels):
    images = pixels.integers(0, 256, (5, channels, 32, 32), dtype=np.uint8)
    expected = [
        [
            np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR))
            for plane in image
        ]
        for image in images
    ]
    found = resize(images, size, chunk=2)
    assert np.abs(found.astype(int) - np.array(expected).astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("images", "labels", "classes", "message"),
    [
        (IMAGES, LABELS, 3, None),
        (IMAGES, None, 0, None),
        (IMAGES[0], LABELS, 3, "not N x C x H x W"),
        (IMAGES.astype(np.float32), LABELS, 3, "float32, not uint8"),
        (IMAGES[:0], LABELS[:0], 3, "no images"),
        (IMAGES[:, [0, 0]], LABELS, 3, "2 channels, not 1 or 3"),
        (IMAGES[..., :4], LABELS, 3, "8x4, not square"),
        (IMAGES, LABELS.astype(np.int32), 3, "labels are int32"),
        (IMAGES, LABELS[:2], 3, "one for each image"),
        (IMAGES, LABELS, 2, r"labels lie in 0\.\.2, not in 0\.\.1"),
        (IMAGES, LABELS - 1, 3, r"labels lie in -1\.\.1"),
        (IMAGES, None, 3, "3 classes but no labels"),
    ],
)
def test_what_a_loader_gives_is_checked(images, labels, classes, message):
    data = ImageData("mine", "train", images, labels, classes)
    if message is None:
        validate(data)
    else:
        with pytest.raises(DataError, match=message):
            validate(data)


def two_channels(_root, split, _image_size):
    return ImageData("mine", split, IMAGES[:, [0, 0]], None, 0)


def test_a_loader_of_the_users_own_is_found_and_checked():
    with pytest.raises(DataError, match=r"data set 'mine' \(train\): images have 2 channels"):
        load(f"{__name__}:two_channels", {}, root=".", split="train")


def no_arrays(_root, split, _image_size, *, what: str = "pair"):
    given = {
        "pair": (IMAGES, LABELS),
        "list": ImageData("mine", split, IMAGES, LABELS.tolist(), 3),
        "tensor": ImageData("mine", split, torch.from_numpy(IMAGES), None, 0),
        "points": PointData("mine", split, [[1.0, 2.0]]),
    }
    return given[what]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("pair", "gives tuple, not ImageData or PointData"),
        ("list", "labels are of type list, not NumPy's array"),
        ("tensor", "images are of type Tensor, not NumPy's array"),
        ("points", "points are of type list, not NumPy's array"),
    ],
)
def test_a_loader_that_gives_something_else_is_told(what, words):
    with pytest.raises(DataError, match=words):
        load(f"{__name__}:no_arrays", {"what": what}, root=".", split="train")


def test_unknown_names_and_options():
    with pytest.raises(UnknownPart, match="did you mean 'fashion-mnist'"):
        load("fashion_mnist", {}, root=".", split="train")
    with pytest.raises(ValueError, match="siz"):
        load("digits", {"siz": 3}, root=".", split="train")

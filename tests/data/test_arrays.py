"""NumPy files of a user's own that are not what they should be."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from gansearch.data import ImageData
from gansearch.data.load import load
from gansearch.errors import DataError
from gansearch.study.config import TrialConfig
from gansearch.training.prepare import LocalPaths, load_real

IMAGES = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
LABELS = np.arange(200) % 4
POINTS = np.random.default_rng(1).normal(size=(200, 2))


def both(tmp_path, name="image-array", **arrays):
    np.savez(tmp_path / "own.npz", **arrays)
    return [load(name, {"path": "own.npz"}, root=tmp_path, split=split) for split in ("train", "test")]


@pytest.mark.parametrize(
    ("name", "key", "samples"), [("image-array", "images", IMAGES), ("point-array", "points", POINTS)]
)
def test_what_has_only_a_training_part_is_split(tmp_path, name, key, samples):
    named = {f"train_{key}": samples, "train_labels": LABELS}
    train, test = both(tmp_path, name, **named)
    assert (len(train.samples), len(test.samples)) == (180, 20)
    assert not {s.tobytes() for s in train.samples} & {s.tobytes() for s in test.samples}
    assert "no split of its own: one in 10 is for testing" in train.notes[0]
    unsplit, _ = both(tmp_path, name, **{key: samples, "labels": LABELS})
    np.testing.assert_array_equal(train.samples, unsplit.samples)
    np.testing.assert_array_equal(train.labels, unsplit.labels)


def test_both_splits_have_the_classes_of_the_whole_file(tmp_path):
    few = {"test_images": IMAGES[:50], "test_labels": np.zeros(50, int)}
    train, test = both(tmp_path, train_images=IMAGES, train_labels=LABELS, **few)
    assert train.classes == test.classes == 4
    rare = np.zeros(200, int)
    rare[17] = 1  # in one of the two splits only
    assert [data.classes for data in both(tmp_path, images=IMAGES, labels=rare)] == [2, 2]


def test_what_is_unused_or_odd_is_noted(tmp_path):
    others = {"names": np.array(["a", None], object), "label": LABELS}
    train, _ = both(tmp_path, images=IMAGES, labels=LABELS + 1, **others)
    assert train.notes[1:] == (
        "not used of the file: label, names",
        "no images have the labels 0 (classes count from 0)",
    )
    assert train.classes == 5


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        (
            "image-array",
            {"test_images": IMAGES},
            "'test_images' and no 'train_images': add that, or call it",
        ),
        ("point-array", {"test_points": POINTS}, "'test_points' and no 'train_points'"),
        ("image-array", {"train_images": IMAGES, "images": IMAGES}, "both 'images' and 'train_images'"),
        (
            "image-array",
            {"train_images": IMAGES, "test_images": IMAGES[:9], "test_labels": LABELS[:9]},
            "'test_labels' and no 'train_labels'",
        ),
        (
            "image-array",
            {"train_images": IMAGES, "test_images": np.zeros((9, 10, 10), np.uint8)},
            "different shapes for training and for testing: 1x8x8 and 1x10x10",
        ),
        ("point-array", {"train_points": POINTS, "test_points": POINTS[:, :1]}, "different shapes"),
        (
            "image-array",
            {"images": IMAGES, "labels": LABELS + 10**7},
            "so more classes than its 200 images",
        ),
        ("image-array", {"images": IMAGES, "labels": np.int64(3)}, "'labels' is a single value"),
        ("point-array", {"points": POINTS, "labels": np.int64(3)}, "'labels' is a single value"),
        ("image-array", {"images": IMAGES, "labels": np.eye(4, dtype=int)[LABELS]}, "200 x 4.*argmax"),
        (
            "image-array",
            {"images": IMAGES, "labels": LABELS.astype(object)},
            "Python objects.*as numbers",
        ),
        ("image-array", {"images": IMAGES, "labels": LABELS - 1}, "'labels' holds -1"),
        (
            "image-array",
            {"images": IMAGES, "labels": LABELS.astype("u8") + 2**63},
            "no number of a class",
        ),
        ("image-array", {"images": IMAGES, "labels": LABELS.astype("m8[s]")}, "not whole numbers"),
        ("image-array", {"images": IMAGES[:, :0, :0]}, "0x0, without a pixel"),
        ("image-array", {"images": IMAGES[:1]}, "two are the fewest"),
        ("image-array", {"images": np.stack([IMAGES] * 4, -1)}, r"8 x 8 x 4: .* \[\.\.\., :3\]"),
        ("image-array", {"images": IMAGES[0]}, r"has the shape 8 x 8, not N x H x W"),
        ("point-array", {"points": POINTS[:, 0]}, r"has the shape 200, not N x D: use \[:, None\]"),
        ("point-array", {"points": POINTS.astype("m8[s]")}, "not real numbers"),
        ("point-array", {"points": POINTS * 1e300}, "too large for float32"),
        ("point-array", {"points": POINTS * 1e-320}, "too small for float32"),
    ],
)
def test_arrays_that_cannot_be_meant_are_refused(tmp_path, name, arrays, message):
    with pytest.raises(DataError, match=message):
        both(tmp_path, name, **arrays)


def test_all_that_is_wrong_with_a_file_is_told_at_once(tmp_path):
    splits = {"train_images": IMAGES, "test_images": IMAGES.astype(float)}
    with pytest.raises(DataError) as told:
        both(tmp_path, **splits, train_labels=LABELS[:9], test_labels=LABELS * 1.0)
    for part in (
        "9 labels for 200 images",
        "'test_images' holds float64",
        "'test_labels' holds float64",
    ):
        assert part in str(told.value)


def header(shape):
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return file.getvalue()


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1,2,3\n4,5,6", "is not a .npy or .npz file"),
        (b"", "is not a .npy or .npz file"),
        (pickle.dumps([1, 2]), "is not a .npy or .npz file"),
        (header("((("), r"cannot be read: it is damaged \(EOF"),
        (header("(1000000, 1000000, 8)"), "cannot be read: (Unable to allocate|Failed)"),
        (header("(200, 8, 8)"), "cannot be read: Failed to read all data"),
        (saved(IMAGES.astype(object)), "Python objects.*as numbers"),
        (zipped(readme_txt="hello"), "'readme.txt' is no array"),
        (zipped(images_npy=saved(IMAGES), labels="hello"), "'labels' is no array"),
        (zipped(images_npy=saved(IMAGES)[:999]), "'images' cannot be read"),
        (zipped(), r"no array 'images' \(there are: nothing\)"),
    ],
)
def test_damaged_files_are_told_in_a_sentence(tmp_path, content, message):
    (tmp_path / "own.npz").write_bytes(content)
    with pytest.raises(DataError, match=message) as told:
        load("image-array", {"path": "own.npz"}, root=tmp_path, split="train")
    assert "allow_pickle" not in str(told.value)


@pytest.mark.parametrize(
    ("path", "words"), [("", "is a folder"), ("a\0b", r"a\\x00b"), ("~none/x", "home")]
)
def test_paths_that_are_none(tmp_path, path, words):
    with pytest.raises(DataError, match=words):
        load("image-array", {"path": path}, root=tmp_path, split="train")


def test_a_size_that_memory_does_not_hold_is_told(tmp_path):
    np.save(tmp_path / "own.npy", IMAGES)
    with pytest.raises(DataError, match=r"data\.image_size 1000000"):
        load("image-array", {"path": "own.npy"}, root=tmp_path, split="train", image_size=10**6)


def unlike(_root, split, _image_size, *, what: str = "size") -> ImageData:
    """A loader of a user's own whose splits do not fit."""
    train = split == "train"
    side = 8 if train or what != "size" else 10
    classes = 2 if train else 3
    return ImageData("unlike", split, np.zeros((9, 1, side, side), np.uint8), np.zeros(9, int), classes)


@pytest.mark.parametrize(
    ("what", "words"),
    [("size", "1x8x8 for train, of 1x10x10 for test"), ("classes", "2 classes for train")],
)
def test_splits_that_do_not_fit_are_refused(tmp_path, what, words):
    name = f"{__name__}:unlike"
    config = TrialConfig.model_validate(
        {"data": {"name": name, "what": what}, "evaluation": {"split": "test", "real_samples": 9}}
    )
    data = load(name, {"what": what}, root=tmp_path, split="train")
    with pytest.raises(DataError, match=words):
        load_real(config, data, LocalPaths(tmp_path, tmp_path))

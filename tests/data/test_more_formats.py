"""The further data sets: read back as they were written, and damage told."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from gansearch.data.load import load
from gansearch.errors import DataError
from gansearch.testing import check_dataset

SPLITS = ("train", "test")


def both(name, root, **options):
    return [load(name, options, root=root, split=split) for split in SPLITS]


def test_binary_cifar100(tmp_path, pixels):
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    for name in SPLITS:
        images = pixels.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
        fine = pixels.integers(0, 100, 5, dtype=np.uint8)
        rows = [bytes([7, label]) + image.tobytes() for label, image in zip(fine, images, strict=True)]
        (folder / f"{name}.bin").write_bytes(b"".join(rows))
        if name == "train":
            continue
        data = load("cifar100", {}, root=tmp_path, split=name)
        np.testing.assert_array_equal(data.images, images)
        np.testing.assert_array_equal(data.labels, fine)
        assert data.classes == 100
    (folder / "train.bin").write_bytes(b"123")
    with pytest.raises(DataError, match=r"'cifar100': the files in .* cannot be read"):
        load("cifar100", {}, root=tmp_path, split="train")


def test_svhn(tmp_path, pixels):
    written = {}
    for part in ("train", "test", "extra"):
        images = pixels.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
        labels = np.arange(6) + 5
        written[part] = images, labels % 10
        stored = {"X": images.transpose(2, 3, 1, 0), "y": labels[:, None]}
        savemat(tmp_path / f"{part}_32x32.mat", stored)
    for split in SPLITS:
        data = load("svhn", {}, root=tmp_path, split=split)
        np.testing.assert_array_equal(data.images, written[split][0])
        np.testing.assert_array_equal(data.labels, written[split][1])
    assert data.labels.tolist() == [5, 6, 7, 8, 9, 0], "10 stands for the digit 0 there"
    more = load("svhn", {"extra": True}, root=tmp_path, split="train")
    np.testing.assert_array_equal(
        more.images, np.concatenate([written["train"][0], written["extra"][0]])
    )


def test_stl10(tmp_path, pixels):
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    written = {}
    for part, count in (("train", 4), ("test", 3), ("unlabeled", 5)):
        images = pixels.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        written[part] = images
        (folder / f"{part}_X.bin").write_bytes(images.transpose(0, 1, 3, 2).tobytes())
        labels = (np.arange(count) + 1).astype(np.uint8)
        (folder / f"{part}_y.bin").write_bytes(labels.tobytes())
    train, test = both("stl10", tmp_path)
    np.testing.assert_array_equal(train.images, written["train"])
    assert train.labels.tolist() == [0, 1, 2, 3]
    assert train.names[3] == "cat"
    np.testing.assert_array_equal(test.images, written["test"])
    train, test = both("stl10", tmp_path, unlabeled=True)
    np.testing.assert_array_equal(
        train.images, np.concatenate([written["train"], written["unlabeled"]])
    )
    assert train.labels is None
    assert test.labels is None


def test_celeba(tmp_path, pixels):
    folder = tmp_path / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    lines = []
    for number in range(9):
        image = np.full((218, 178, 3), 20 * number, np.uint8)
        Image.fromarray(image).save(folder / f"{number:06d}.png")
        lines.append(f"{number:06d}.png {number % 3}")
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    train, test = (load("celeba", {}, root=tmp_path, split=split, image_size=16) for split in SPLITS)
    assert train.images.shape == (3, 3, 16, 16)
    assert train.images[:, 0, 0, 0].tolist() == [0, 60, 120]
    assert test.images[:, 0, 0, 0].tolist() == [40, 100, 160]
    with pytest.raises(DataError, match=r"set data\.image_size"):
        load("celeba", {}, root=tmp_path, split="train")
    (folder / "000003.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"an image in .* cannot be read"):
        load("celeba", {}, root=tmp_path, split="train", image_size=16)


def test_stacked_digits_are_digits_of_the_source(tmp_path):
    source = load("digits", {}, root=tmp_path, split="train")
    known = {
        image.tobytes(): label for image, label in zip(source.images[:, 0], source.labels, strict=True)
    }
    data = load("stacked-mnist", {"source": "digits", "samples": 5000}, root=tmp_path, split="train")
    assert data.images.shape == (5000, 3, 8, 8)
    assert data.classes == 1000
    for image, label in zip(data.images[:200], data.labels[:200], strict=True):
        found = [known[channel.tobytes()] for channel in image]
        assert label == 100 * found[0] + 10 * found[1] + found[2]
    assert data.names[42] == "042"
    assert len(np.unique(data.labels)) > 950


def test_two_stacked_digits_leave_a_channel_black(tmp_path):
    options = {"source": "digits", "samples": 300, "digits": 2}
    data = load("stacked-mnist", options, root=tmp_path, split="train")
    assert data.classes == 100
    assert not data.images[:, 2].any()
    assert data.images[:, :2].any((2, 3)).all()
    check_dataset(
        lambda root, split, size: load("stacked-mnist", options, root=root, split=split), root=tmp_path
    )


# Arrays of one's own


@pytest.mark.parametrize("shape", [(40, 8, 8), (40, 8, 8, 3), (40, 3, 8, 8), (40, 1, 8, 8)])
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_an_array_of_images_is_split_once_and_for_all(tmp_path, pixels, shape, kind):
    images = pixels.integers(0, 256, shape, dtype=np.uint8)
    if kind == "npy":
        np.save(tmp_path / "own.npy", images)
    else:
        np.savez(tmp_path / "own.npz", images=images, labels=np.arange(40) % 3)
    train, test = both("image-array", tmp_path, path=f"own.{kind}")
    assert (len(train.images), len(test.images)) == (36, 4)
    together = np.concatenate([train.images, test.images])
    channelled = images[:, None] if images.ndim == 3 else images
    if channelled.shape[1] == 8:
        channelled = channelled.transpose(0, 3, 1, 2)
    assert {i.tobytes() for i in together} == {i.tobytes() for i in channelled}
    if kind == "npz":
        row = {i.tobytes(): n % 3 for n, i in enumerate(channelled)}
        assert [row[i.tobytes()] for i in train.images] == train.labels.tolist()
        assert train.classes == 3


def test_arrays_that_are_split_stay_so(tmp_path, pixels):
    images = pixels.integers(0, 256, (12, 8, 8), dtype=np.uint8)
    labels = np.arange(12) % 2
    np.savez(
        tmp_path / "own.npz",
        train_images=images[:8],
        train_labels=labels[:8],
        test_images=images[8:],
        test_labels=labels[8:],
    )
    train, test = both("image-array", tmp_path, path="own.npz")
    np.testing.assert_array_equal(train.images, images[:8, None])
    np.testing.assert_array_equal(test.labels, labels[8:])
    check_dataset(
        lambda root, split, size: load("image-array", {"path": "own.npz"}, root=root, split=split),
        root=tmp_path,
    )


def test_an_array_of_points(tmp_path, pixels):
    points = 30 * pixels.standard_normal((50, 4))
    np.save(tmp_path / "own.npy", points)
    train, test = both("point-array", tmp_path, path="own.npy")
    assert train.points.dtype == np.float32
    assert len(test.points) == 5
    assert train.scale == test.scale == pytest.approx(np.abs(train.points).max(), rel=1e-6)
    assert (
        load("point-array", {"path": "own.npy", "scale": 2.0}, root=tmp_path, split="train").scale == 2
    )
    check_dataset(
        lambda root, split, size: load("point-array", {"path": "own.npy"}, root=root, split=split),
        root=tmp_path,
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((4, 8, 8))}, "holds float64, not uint8"),
        ({"pictures": np.zeros(3), "x": np.zeros(3)}, r"no array 'images' \(there are: pictures, x\)"),
        (
            {"images": np.zeros((4, 8, 8), np.uint8), "labels": np.zeros(3, int)},
            "3 labels for 4 images",
        ),
        ({"images": np.zeros((20, 8, 8), np.uint8), "labels": np.zeros(20)}, "not whole numbers"),
        ({"images": np.zeros((20, 8, 9), np.uint8)}, "8x9, not square"),
        ({"images": np.uint8(3)}, "a single value"),
    ],
)
def test_arrays_that_will_not_do_are_told(tmp_path, arrays, message):
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load("image-array", {"path": "own.npz"}, root=tmp_path, split="train")


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        load("image-array", {"path": "none.npy"}, root=tmp_path, split="train")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(DataError, match="cannot be read"):
        load("image-array", {"path": "broken.npz"}, root=tmp_path, split="train")
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        load("point-array", {"path": "pickled.npy"}, root=tmp_path, split="train")

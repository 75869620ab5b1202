"""Every format read back as it was written; every damage answered with a `DataError`."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from gansearch.data.load import load
from gansearch.errors import DataError


def test_digits_are_whole_scaled_and_split_by_writer():
    train, test = (load("digits", {}, root=".", split=split) for split in ("train", "test"))
    source = load_digits()
    assert train.images.shape == (1500, 1, 8, 8)
    assert test.images.shape == (297, 1, 8, 8)
    assert train.images.max() == 255
    both = np.concatenate([train.images, test.images])[:, 0]
    np.testing.assert_allclose(both * (16 / 255), source.images, atol=0.04)
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), source.target)
    assert set(test.labels) == set(range(10))


@pytest.mark.parametrize(("name", "kind"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
@pytest.mark.parametrize("split", ["train", "test"])
def test_idx_files_without_their_archives(idx_root, name, kind, split):
    root, written = idx_root
    data = load(name, {}, root=root, split=split)
    images, labels = written[kind, split]
    np.testing.assert_array_equal(data.images, images[:, None])
    np.testing.assert_array_equal(data.labels, labels)
    assert (data.name, data.split, data.classes, data.shape) == (name, split, 10, (1, 28, 28))
    assert data.notes == ()
    last = {"mnist": "9", "fashion-mnist": "Ankle boot"}
    assert data.domain.classes[9] == last[name], "so that a sample of it can be asked for by name"


def test_a_cut_idx_file(idx_root):
    file = idx_root[0] / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"'mnist': the files in .*MNIST.raw cannot be read"):
        load("mnist", {}, root=idx_root[0], split="train")


def test_images_and_labels_that_do_not_match(idx_root):
    raw = idx_root[0] / "MNIST" / "raw"
    (raw / "t10k-labels-idx1-ubyte").write_bytes((raw / "train-labels-idx1-ubyte").read_bytes())
    with pytest.raises(DataError, match="not int64, one for each image"):
        load("mnist", {}, root=idx_root[0], split="test")


def test_binary_cifar(cifar_root):
    root, written = cifar_root
    train, test = (load("cifar10", {}, root=root, split=split) for split in ("train", "test"))
    batches = [written[f"data_batch_{i}"] for i in range(1, 6)]
    np.testing.assert_array_equal(train.images, np.concatenate([images for images, _ in batches]))
    np.testing.assert_array_equal(train.labels, np.concatenate([labels for _, labels in batches]))
    np.testing.assert_array_equal(test.images, written["test_batch"][0])
    np.testing.assert_array_equal(test.labels, written["test_batch"][1])
    assert (train.classes, train.shape) == (10, (3, 32, 32))
    assert train.domain.classes[3] == "cat"
    assert train.notes == ()


def test_a_cut_cifar_file(cifar_root):
    file = cifar_root[0] / "cifar-10-batches-bin" / "test_batch.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="cannot be read"):
        load("cifar10", {}, root=cifar_root[0], split="test")
    load("cifar10", {}, root=cifar_root[0], split="train")


def test_cifar_labels_out_of_range(cifar_root):
    file = cifar_root[0] / "cifar-10-batches-bin" / "test_batch.bin"
    file.write_bytes(b"\x0a" + file.read_bytes()[1:])
    with pytest.raises(DataError, match=r"labels lie in \d\.\.10, not in 0\.\.9"):
        load("cifar10", {}, root=cifar_root[0], split="test")

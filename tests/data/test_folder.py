"""A user's own images: formats, classes, crops, the split, and what is wrong with them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gansearch.data import DATASETS
from gansearch.data.load import load
from gansearch.errors import DataError


def read(folder, split="train", size=8, **options):
    return load(
        "image-folder", {"path": str(folder), **options}, root=".", split=split, image_size=size
    )


def colour(value, size=(12, 12), mode="RGB"):
    return Image.new(mode, size, value)


@pytest.fixture
def classes(tmp_path):
    """Two classes of 60 images each, red roses and blue skies."""
    for name, value in (("sky", (0, 0, 200)), ("rose", (200, 0, 0))):
        (tmp_path / name).mkdir()
        for index in range(60):
            colour(value).save(tmp_path / name / f"{index}.png")
    return tmp_path


def test_subfolders_are_classes_in_the_order_of_their_names(classes):
    data = read(classes)
    assert data.classes == 2
    assert data.shape == (3, 8, 8)
    for image, label in zip(data.images, data.labels, strict=True):
        expected = (200, 0, 0) if label == 0 else (0, 0, 200)
        assert (image == np.reshape(expected, (3, 1, 1))).all()


def test_a_path_below_the_root(classes):
    below = load(
        "image-folder", {"path": classes.name}, root=classes.parent, split="test", image_size=8
    )
    assert below.digest == read(classes, "test").digest


def test_the_split_is_disjoint_whole_about_a_tenth_and_stable(tmp_path):
    for index in range(200):  # the gray value tells which image it is
        colour(index, mode="L").save(tmp_path / f"{index}.png")

    def seen(split):
        return {int(image[0, 0, 0]) for image in read(tmp_path, split, channels=1).images}

    train, test = seen("train"), seen("test")
    assert train | test == set(range(200))
    assert not train & test
    assert 10 <= len(test) <= 30
    for index in range(0, 200, 2):
        (tmp_path / f"{index}.png").unlink()
    assert seen("test") == {index for index in test if index % 2}


def test_a_flat_folder_has_no_labels(tmp_path):
    for index in range(30):
        colour((index, 0, 0)).save(tmp_path / f"{index}.png")
    data = read(tmp_path)
    assert data.labels is None
    assert data.classes == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_gray_or_rgb(tmp_path, mode, channels):
    suffix = "tif" if mode == "CMYK" else "png"
    white = colour((255, 255, 255)).convert(mode)
    for index in range(30):
        white.save(tmp_path / f"{index}.{suffix}")
    data = read(tmp_path, channels=channels)
    assert data.shape == (channels, 8, 8)
    assert data.images.min() == 255


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "webp", "tiff", "PNG"])
def test_formats(tmp_path, suffix):
    for index in range(30):
        colour((200, 200, 200)).save(tmp_path / f"{index}.{suffix}")
    assert np.abs(read(tmp_path).images.astype(int) - 200).max() <= 3


def test_the_centre_is_cropped_and_photos_stand_upright(tmp_path):
    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, 10:20] = 255
    wide = Image.fromarray(stripes)
    turned = wide.getexif()
    turned[0x0112] = 3  # taken upside down
    for index in range(30):
        wide.save(tmp_path / f"wide{index}.png", exif=turned)
        wide.rotate(90, expand=True).save(tmp_path / f"tall{index}.png")
    assert (read(tmp_path).images[:, :, 1:-1, 1:-1] == 255).all()


def test_a_photo_is_turned_as_its_exif_says(tmp_path):
    half = np.zeros((10, 10), np.uint8)
    half[:5] = 255
    image = Image.fromarray(half)
    exif = image.getexif()
    exif[0x0112] = 3
    for index in range(30):
        image.save(tmp_path / f"{index}.png", exif=exif)
    first = read(tmp_path, size=10, channels=1).images[0, 0]
    np.testing.assert_array_equal(first, half[::-1])


def test_unreadable_images_are_all_listed_up_to_ten(classes):
    for index in range(200):
        (classes / "rose" / f"bad{index:03}.jpg").write_bytes(b"not an image")
    with pytest.raises(DataError) as caught:
        read(classes)
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert all("rose/bad" in line and "not an image" in line for line in lines[1:11])
    assert lines[1:11] == sorted(lines[1:11])
    assert lines[11].strip().startswith("and ")


def test_other_and_hidden_files_are_passed_over(classes):
    before = read(classes).digest
    (classes / "README.txt").write_text("roses and skies")
    (classes / "rose" / "._1.png").write_bytes(b"left by another system")
    (classes / ".thumbnails").mkdir()
    colour((1, 1, 1)).save(classes / ".thumbnails" / "1.png")
    assert read(classes).digest == before


def test_what_is_wrong_is_said(tmp_path, classes):
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"set data\.image_size"):
        read(classes, size=None)
    colour((0, 0, 0)).save(classes / "loose.png")
    with pytest.raises(DataError, match=r"both images \(loose.png\) and subfolders .*\(rose/\)"):
        read(classes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        read(tmp_path / "empty")
    (tmp_path / "one").mkdir()
    colour((0, 0, 0)).save(tmp_path / "one" / "1.png")
    with pytest.raises(DataError, match=r"of 1 image in .* none is a train image: add some"):
        read(tmp_path / "one", "train")


def test_options_are_checked_by_the_registry():
    assert DATASETS.check("image-folder", {}) == [(("path",), "is required")]
    assert [path for path, _ in DATASETS.check("image-folder", {"path": "x", "channels": 2})]

"""Folders as strangers have them: links, splits, odd formats, damaged and forbidden files."""

from __future__ import annotations

import contextlib
import io
import os
import random
import struct
import subprocess
import sys
import tempfile
import textwrap
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from gansearch.data.layout import split_of
from gansearch.data.load import load
from gansearch.errors import DataError, UserError


def read(folder, split="train", size=4, **options):
    return load(
        "image-folder", {"path": str(folder), **options}, root=".", split=split, image_size=size
    )


def fill(folder, value=0, count=30):
    """Plain images; the red value tells where one lay."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        Image.new("RGB", (6, 6), (value, 0, 0)).save(folder / f"{index}.png")


def reds(data):
    return set(data.images[:, 0].ravel().tolist())


def text(data):
    return "\n".join(data.notes)


def test_linked_class_folders_are_classes_and_no_folder_is_read_twice(tmp_path):
    tree, store = tmp_path / "tree", tmp_path / "store"
    fill(tree / "cat", 10)
    fill(store / "dog", 20)
    (tree / "dog").symlink_to(store / "dog")
    (tree / "alias").symlink_to(tree / "cat")  # before "cat" by name, and yet no class
    (tree / "cat" / "self").symlink_to(tree / "cat" / "self")
    (tree / "cat" / "top").symlink_to(tree)
    (store / "dog" / "up").symlink_to(store)  # out of the tree, and above where it lies
    (tree / "round").symlink_to(tmp_path)
    data = read(tree)
    assert data.classes == 2
    for image, label in zip(data.images, data.labels, strict=True):
        assert image[0, 0, 0] == (10, 20)[label]
    assert "3 links to a folder that they lie in" in text(data)
    assert "1 links to folders read already" in text(data)
    assert "cat 30" in text(data)
    assert "dog 30" in text(data)


def test_many_links_between_folders_end(tmp_path):
    for index in range(12):
        fill(tmp_path / "tree" / str(index), index, 2)
        for other in range(12):
            (tmp_path / "tree" / str(index) / f"to{other}").symlink_to(tmp_path / "tree" / str(other))
    assert "24 files of images" in text(read(tmp_path / "tree"))


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("Training", "val"), ("train2017", "valid"), ("train_images", "eval")],
)
@pytest.mark.parametrize("inside", [True, False])
def test_split_folders_are_splits_with_the_same_classes(tmp_path, train, test, inside):
    for split, value in ((train, 1), (test, 2)):
        for number, name in enumerate(("cat", "dog")):
            folder = tmp_path / split / name if inside else tmp_path / name / split
            fill(folder, 10 * number + value, 5)
    fill(tmp_path / test / "owl" if inside else tmp_path / "owl" / test, 22, 5)
    if not inside:
        fill(tmp_path / "owl" / train, 21, 5)
    for split, value in (("train", 1), ("test", 2)):
        data = read(tmp_path, split)
        assert data.classes == 3
        for image, label in zip(data.images, data.labels, strict=True):
            assert image[0, 0, 0] == 10 * label + value
        assert f"{train}/" in text(data)
        assert f"{test}/ (as the test split)" in text(data)


def test_test_wins_over_validation_and_what_is_unused_is_told(tmp_path):
    for value, name in enumerate(("train", "val", "test")):
        fill(tmp_path / name, value, 3 + value)
    assert reds(read(tmp_path)) == {0}
    test = read(tmp_path, "test")
    assert reds(test) == {2}
    assert test.labels is None
    assert "val/ is not used (4 images)" in text(test)


def test_unlabelled_test_images_beside_labelled_training_images(tmp_path):
    fill(tmp_path / "train" / "cat", 1)
    fill(tmp_path / "test", 2)
    assert read(tmp_path).classes == 1
    assert read(tmp_path, "test").labels is None


def test_only_a_training_folder_is_split_by_the_hash(tmp_path):
    fill(tmp_path / "train" / "cat", 1, 50)
    fill(tmp_path / "train" / "dog", 2, 50)
    train, test = read(tmp_path), read(tmp_path, "test")
    assert train.classes == test.classes == 2
    assert len(train.images) + len(test.images) == 100


def test_a_class_may_be_called_train(tmp_path):
    for name in ("car", "train", "ship"):
        fill(tmp_path / name)
    data = read(tmp_path)
    assert data.classes == 3
    assert "train 30" in text(data)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "test", "cats"), r"have splits \(test/, train/\) and other folders \(cats/\)"),
        (("train", "training", "test"), "several folders for one split: train/, training/"),
        (("test", "val"), r"has test/, val/ and no train/"),
        (("cats/train", "cats/test", "dogs/all"), "class folders of .* have splits"),
    ],
)
def test_folders_of_two_meanings_are_refused(tmp_path, folders, message):
    for folder in folders:
        fill(tmp_path / folder, count=3)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_names_of_splits():
    assert [split_of(name) for name in ("TRAIN", "val2017", "testing", "test-set")] == [
        "train", "validation", "test", "test",
    ]  # fmt: skip
    assert not any(map(split_of, ("trainer", "tests of taste", "value", "contest", "trainA", "2017")))


def test_what_is_passed_over_is_told_by_kind(tmp_path):
    fill(tmp_path)
    for name in ("a.heic", "b.HEIC", "c.h5", "d.npz", ".e.png", "Thumbs.db", "f", "g.grib", "h.eps"):
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nothing")
    note = next(note for note in read(tmp_path).notes if note.startswith("passed over"))
    for words in (
        "2 .heic (Pillow does not read it here",
        "1 .h5",
        "1 .npz",
        "1 hidden",
        "of other kinds",
    ):
        assert words in note
    assert note.startswith("passed over: 2 .heic")


def test_no_images_tells_what_there_is_instead(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no images in .*; passed over: 1 \.heic"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_sixteen_bit_grey_is_scaled_as_sixteen_bit_colour_is(tmp_path, suffix):
    ramp = np.linspace(0, 65535, 36).astype(np.uint16).reshape(6, 6)
    for index in range(30):
        Image.fromarray(ramp).save(tmp_path / f"{index}.{suffix}", "PPM" if suffix == "pgm" else None)
    data = read(tmp_path, size=6, channels=1)
    np.testing.assert_array_equal(data.images[0, 0], ramp >> 8)
    assert "16 bits a channel: the upper 8 are used" in text(data)
    assert "nearly black" not in text(data)


def test_dark_sixteen_bits_are_told(tmp_path):
    for index in range(30):
        Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(tmp_path / f"{index}.png")
    assert "nearly black" in text(read(tmp_path))


def test_sixteen_bit_colour_is_told(tmp_path):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + struct.pack(">3H", 51200, 256, 65535) * 4 for _ in range(4))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    png += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    for index in range(30):
        (tmp_path / f"{index}.png").write_bytes(png)
    data = read(tmp_path)
    assert data.images[0, :, 0, 0].tolist() == [200, 1, 255]
    assert "16 bits a channel" in text(data)


def test_a_tiff_where_white_is_zero(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    for index in range(30):
        Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(
            tmp_path / f"{index}.tif", tiffinfo=tags
        )
    with Image.open(tmp_path / "0.tif") as image:
        assert image.tag_v2[262] == 0
    assert read(tmp_path).images.max() == 0


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_thirty_two_bits_are_refused_in_words(tmp_path, kind):
    for index in range(30):
        Image.fromarray(np.ones((8, 8), kind)).save(tmp_path / f"{index}.tif")
    with pytest.raises(DataError, match="no fixed black and white: convert to 8 or 16"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", ["gif", "tiff", "webp", "png"])
def test_further_frames_are_told_and_the_first_is_used(tmp_path, suffix):
    first, second = Image.new("L", (6, 6), 50), Image.new("L", (6, 6), 200)
    for index in range(20):
        first.save(tmp_path / f"{index}.{suffix}", save_all=True, append_images=[second])
        first.save(tmp_path / f"one{index}.{suffix}")
    data = read(tmp_path, channels=1)
    assert np.abs(data.images.astype(int) - 50).max() <= 3
    several = sum(note.count("further frames or pages") for note in data.notes)
    assert several == 1
    assert f"{len(data.images)} of the" not in text(data)


def test_transparency_is_told(tmp_path):
    for index in range(30):
        Image.new("RGBA", (6, 6), (9, 9, 9, index)).save(tmp_path / f"{index}.png")
    assert "transparency, which is dropped" in text(read(tmp_path))


def test_damaged_files_are_told_by_path_many_at_once(tmp_path, monkeypatch):
    fill(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    split = {"train": tmp_path / "train", "test": tmp_path / "test"}
    for folder in split.values():
        folder.mkdir()
    for index in range(30):
        (tmp_path / f"{index}.png").rename(split["test"] / f"{index}.png")
    bad = split["train"]
    (bad / "empty.png").touch()
    (bad / "text.jpg").write_text("hello")
    Image.new("L", (60, 60)).save(bad / "bomb.png")
    Image.effect_noise((30, 30), 50).save(bad / "cut.jpg")
    (bad / "cut.jpg").write_bytes((bad / "cut.jpg").read_bytes()[:400])
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    told = str(caught.value)
    assert "4 images in" in told
    for line in (
        "train/empty.png: an empty file (0 bytes)",
        "train/text.jpg: not an image",
        "train/bomb.png: 3,600 pixels, more than the 2,000 that are safe to open: scale it down",
        "train/cut.jpg: damaged: ",
    ):
        assert line in told
    assert str(bad) not in told.split("\n", 1)[1]


def test_links_to_nothing_are_missing_images(tmp_path):
    fill(tmp_path)
    (tmp_path / "away.png").symlink_to(tmp_path / "unmounted" / "away.png")
    with pytest.raises(DataError, match=r"away\.png: a link to nothing"):
        read(tmp_path)


@pytest.fixture
def seen_by_all():
    """A folder that another user may enter; pytest's own shut their parent to all others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_forbidden_files_and_folders(seen_by_all):
    fill(seen_by_all / "open")
    fill(seen_by_all / "shut")
    (seen_by_all / "open" / "0.png").chmod(0)
    script = f"""
        from pathlib import Path
        from gansearch.data.folder import image_folder
        from gansearch.errors import DataError
        import os
        if os.geteuid() == 0:
            os.setuid(65534)
        for step in range(2):
            try:
                image_folder(Path("/"), "train", 4, path={str(seen_by_all)!r})
            except DataError as error:
                print(error)
    """

    def run():
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
        )
        assert not done.stderr
        return done.stdout

    assert "open/0.png: permission denied" in run()
    (seen_by_all / "shut").chmod(0)
    try:
        assert "shut/: permission denied" in run()
    finally:
        (seen_by_all / "shut").chmod(0o755)


@pytest.mark.parametrize("path", ["\0", "~nobody-of-this-name/x", "x" * 5000, "file"])
def test_a_path_that_is_no_folder(seen_by_all, path):
    (seen_by_all / "file").touch()
    with pytest.raises(DataError, match="image-folder"):
        load("image-folder", {"path": path}, root=seen_by_all, split="train", image_size=4)


NAMES = ["train", "test", "val", "cat", "dog", "a b", ".git", "\udcff", "new\nline", "[red]", "1.png"]
SUFFIXES = [".png", ".PNG", ".jpg", ".gif", ".tif", ".webp", ".h5", ".heic", ".npz", ".bmp", ".eps", ""]


def some_bytes(draw):
    """An image, a damaged one, or noise."""
    kind = draw.choice(["PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "TGA"])
    mode = draw.choice(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
    out = io.BytesIO()
    try:
        Image.new(mode, (draw.randint(1, 9), draw.randint(1, 9))).save(out, kind)
    except (OSError, ValueError, KeyError):
        return draw.randbytes(draw.randint(0, 40))
    content = bytearray(out.getvalue())
    for _ in range(draw.choice([0, 0, 0, 1, 5])):
        content[draw.randrange(len(content))] = draw.randrange(256)
    return bytes(content[: draw.choice([len(content)] * 4 + [draw.randrange(len(content))])])


def grow(draw, folder, folders):
    for _ in range(draw.randint(0, 7)):
        new = folder / draw.choice(NAMES)
        thing = draw.random()
        if os.path.lexists(new):
            continue
        if thing < 0.4 and len(folder.parts) < 12:
            new.mkdir()
            folders.append(new)
            grow(draw, new, folders)
        elif thing < 0.5:
            new.symlink_to(draw.choice([*folders, folder.parent, new, folder / "gone"]))
        elif thing < 0.9:
            new = folder / f"{draw.choice(['x', 'y'])}{draw.randint(0, 9)}{draw.choice(SUFFIXES)}"
            if not os.path.lexists(new):
                new.write_bytes(some_bytes(draw))


def test_no_tree_whatever_gives_a_traceback(tmp_path):
    read_well = refused = 0
    told: list[str] = []
    for seed in range(150):
        draw = random.Random(seed)
        tree = tmp_path / str(seed)
        tree.mkdir()
        grow(draw, tree, [tree])
        if seed % 2:
            for name in ("cat", "dog"):
                with contextlib.suppress(OSError):
                    fill(tree / name, count=2)
        try:
            data = read(tree, draw.choice(["train", "test"]), channels=draw.choice([1, 3]))
        except UserError as error:
            refused += 1
            told += str(error).splitlines()
        else:
            read_well += 1
            told += data.notes
    assert all(line.isprintable() for line in told)
    assert read_well > 10
    assert refused > 10

"""What the folders of a tree of images mean: splits, classes, or neither."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gansearch.data.walk import shown
from gansearch.errors import DataError

TEST_SHARE = 10
"""One image in so many is a test image, where no folders say which are."""

SPLITS = {
    "train": "train|training",
    "test": "test|testing",
    "validation": "val|valid|validation|dev|eval|evaluation",
}
_NAMES = {
    split: re.compile(rf"({names})[\W_]*(set|split|data|images|imgs)?[\W_]*\d*", re.IGNORECASE)
    for split, names in SPLITS.items()
}


@dataclass(frozen=True)
class Layout:
    """Which images are for training and for testing, and of which class each is.

    Attributes:
        train: files, relative to the folder.
        test: files.
        classes: the names of the class folders, sorted; empty: there are none.
        level: which folder of a file's path is its split; None: none is.
        words: how the splits came about, and what is left unused.
    """

    train: Sequence[Path]
    test: Sequence[Path]
    classes: Sequence[str]
    level: int | None
    words: str

    def class_of(self, file: Path) -> str | None:
        """The name of the class folder that a file lies in."""
        return _class_of(file, self.level)

    def counts(self) -> list[str]:
        """Words for each class: its name, its images, how they are split."""
        train, test = (Counter(map(self.class_of, files)) for files in (self.train, self.test))
        return [
            f"{shown(name)} {train[name] + test[name]:,} ({train[name]:,} + {test[name]:,})"
            for name in self.classes
        ]


def arrange(folder: Path, files: Sequence[Path]) -> Layout:
    """Find splits and classes in the names of folders.

    `train/`, `test/` and `val/` at the top, or in every class folder, are splits where all folders
    beside them are too; without `test/`, `val/` is the test split. Otherwise one image in ten is a
    test image, chosen by a hash of its path. Folders at the top, or next below a split, are classes.

    Raises:
        DataError: folders that can be read in two ways.
    """
    level = _level(folder, files)
    if level is None or not _named(files, level).keys() - {"train"}:
        _refuse_loose(folder, files, level)
        train = [file for file in files if not _is_test(file)]
        test = [file for file in files if _is_test(file)]
        only = "" if level is None else "there is only a folder for training; "
        words = f"{only}a hash of its path takes about one image in {TEST_SHARE} for testing"
        return Layout(train, test, _classes(files, level), level, words)
    named = _named(files, level)
    tested = "test" if "test" in named else "validation"
    for split in ("train", tested):
        if len(named[split]) > 1:
            raise DataError(
                f"data set 'image-folder': {folder.absolute()} has several folders for one split: "
                f"{_list(named[split])}; merge them, or rename the ones that are not meant"
            )
    parts = {
        split: [file for file in files if file.parts[level] in names] for split, names in named.items()
    }
    for split in ("train", tested):
        _refuse_loose(folder, parts[split], level)
    words = f"folders {_list(named['train'])} and {_list(named[tested])} (as the test split)"
    if tested == "test" and "validation" in parts:
        words += f"; {_list(named['validation'])} is not used ({len(parts['validation']):,} images)"
    classes = _classes(parts["train"], level)
    if classes:  # a class that is only tested is a class too
        classes = sorted({*classes, *_classes(parts[tested], level)})
    return Layout(parts["train"], parts[tested], classes, level, words)


def split_of(name: str) -> str | None:
    """The split that a folder's name stands for: `Train`, `val2017`, `test_images`, ..."""
    return next((split for split, pattern in _NAMES.items() if pattern.fullmatch(name)), None)


def _level(folder: Path, files: Sequence[Path]) -> int | None:
    """Which folder of every path is a split; None where none is."""
    for level in (0, 1):
        if not all(len(file.parts) > level + 1 for file in files):
            return None
        names = {file.parts[level] for file in files}
        splits = {split_of(name) for name in names}
        if None not in splits and "train" in splits:
            return level
        if level == 0 and None not in splits:
            raise DataError(
                f"data set 'image-folder': {folder.absolute()} has {_list(names)} and no train/: add "
                "it, or name the folder itself as data.path"
            )
        if "train" in splits and len(splits - {None}) > 1:
            known = {name for name in names if split_of(name)}
            where = folder.absolute() if level == 0 else f"class folders of {folder.absolute()}"
            raise DataError(
                f"data set 'image-folder': {where} have splits ({_list(known)}) and other folders "
                f"({_list(names - known)}) side by side: keep one or the other"
            )
    return None


def _named(files: Sequence[Path], level: int) -> dict[str, set[str]]:
    """The names of the folders of each split."""
    named: dict[str, set[str]] = {}
    for name in {file.parts[level] for file in files}:
        named.setdefault(split_of(name) or "", set()).add(name)
    return named


def _class_of(file: Path, level: int | None) -> str | None:
    folders = [part for index, part in enumerate(file.parts[:-1]) if index != level]
    return folders[0] if folders else None


def _classes(files: Sequence[Path], level: int | None) -> list[str]:
    return sorted({name for file in files if (name := _class_of(file, level)) is not None})


def _refuse_loose(folder: Path, files: Sequence[Path], level: int | None) -> None:
    loose = next((file for file in files if _class_of(file, level) is None), None)
    inside = next((name for file in files if (name := _class_of(file, level)) is not None), None)
    if loose and inside:
        raise DataError(
            f"data set 'image-folder': {folder.absolute()} has both images ({shown(loose)}) and "
            f"subfolders with images ({shown(inside)}/): use one or the other"
        )


def _is_test(file: Path) -> bool:
    seen = hashlib.sha256(file.as_posix().encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(seen[:8], "big") % TEST_SHARE == 0


def _list(names: set[str]) -> str:
    ordered = [f"{shown(name)}/" for name in sorted(names)]
    return ", ".join(ordered[:5] + (["..."] if len(ordered) > 5 else []))

"""One NumPy file of a user's own: what its arrays are called, how they are split, what is wrong."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gansearch.data.walk import shown
from gansearch.errors import DataError

EVERY = 10
"""Of a file that is not split, one sample in so many is for testing."""

FORMATS = (b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")
"""How a `.npy` begins, a `.npz`, and a `.npz` without arrays."""

Judge = Callable[[np.ndarray], np.ndarray]
"""Brings an array of samples into its form; raises `ValueError` with what is wrong."""


@dataclass(frozen=True)
class _Part:
    """Some samples, and their labels if there are any."""

    samples: np.ndarray
    labels: np.ndarray | None


@dataclass(frozen=True)
class OwnArrays:
    """What a file holds, looked at whole: two splits, or one that is split here.

    Attributes:
        parts: for training and for testing; or the one that is split here.
        notes: how the splits came about, and what is left unused.
    """

    parts: tuple[_Part, ...]
    notes: tuple[str, ...]

    def part(self, split: str) -> tuple[np.ndarray, np.ndarray | None]:
        """The samples and labels of one split."""
        if len(self.parts) == 2:
            chosen = self.parts[split == "test"]
            return chosen.samples, chosen.labels
        (whole,) = self.parts
        test = np.random.default_rng(0).permutation(len(whole.samples)) % EVERY == 0
        rows = test if split == "test" else ~test
        return whole.samples[rows], None if whole.labels is None else whole.labels[rows]

    def classes(self, labels: np.ndarray | None) -> int:
        """How many classes labels of this file have: as many in each split."""
        return 0 if labels is None else _largest(self.parts) + 1


def read_arrays(name: str, root: Path, path: str, key: str, judge: Judge) -> OwnArrays:
    """Read samples and labels from a `.npy` or `.npz`, and look at all of them.

    Args:
        name: the data set's.
        root: the folder that holds all data sets.
        path: the file, absolute or below the root.
        key: what samples are called: "images" or "points".
        judge: see `Judge`.

    Raises:
        DataError: there is no such file, or all that is wrong with what it holds.
    """
    where = f"data set '{name}': {shown(path)}"
    with contextlib.ExitStack() as opened:
        found = _open(name, root, path)
        arrays: Mapping[str, object]
        arrays = {"": found} if isinstance(found, np.ndarray) else opened.enter_context(found)
        try:
            pairs = _pairs(set(arrays), key)
        except ValueError as error:
            raise DataError(f"{where} {error}") from error
        wrong: list[str] = []
        parts = [_part(arrays, pair, key, judge, wrong) for pair in pairs]
        unused = set(arrays) - {name for pair in pairs for name in pair}
    if wrong := wrong or _wrong_together(parts, key):
        raise DataError(f"{where} {'; '.join(wrong)}")
    return OwnArrays(tuple(parts), tuple(_notes(parts, unused, key)))


def _open(name: str, root: Path, path: str) -> np.ndarray | np.lib.npyio.NpzFile:
    """The array of an `.npy`, or the open `.npz`."""
    try:
        file = root / Path(path).expanduser()
        if file.is_dir():
            raise DataError(
                f"data set '{name}': {shown(file.absolute())} is a folder: data.path names the .npy or "
                ".npz file (a folder of image files is the data set 'image-folder')"
            )
        if not file.is_file():
            raise DataError(
                f"data set '{name}': there is no file {shown(file.absolute())}; "
                "data.path is absolute or lies below --data DIR (or GANSEARCH_DATA)"
            )
        with file.open("rb") as start:
            if not start.read(6).startswith(FORMATS):
                raise DataError(
                    f"data set '{name}': {shown(path)} is not a .npy or .npz file, whatever its name: "
                    "save it with numpy.save or numpy.savez"
                )
        return np.load(file, allow_pickle=False)  # type: ignore[no-any-return]
    except DataError:
        raise
    except Exception as error:  # NumPy raises what its parser does where a file is damaged
        raise DataError(f"data set '{name}': {shown(path)} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Why an array cannot be read, in words that are no advice to unpickle it."""
    if "allow_pickle" in str(error):
        return "it is an array of Python objects, which only unpickling brings back: save it as numbers"
    if isinstance(error, OSError):
        return str(error)
    first = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    words = " ".join(first.split()) or type(error).__name__
    said = isinstance(error, EOFError | MemoryError | RuntimeError | ValueError | zipfile.BadZipFile)
    return words if said else f"it is damaged ({words})"


Pair = tuple[str, str | None]
"""What samples are called in a file, and their labels if there are any."""


def _pairs(names: set[str], key: str) -> list[Pair]:
    """What is for training and what for testing; or the one pair that is split here.

    Raises `ValueError` where the names do not say which is which.
    """
    train, test = f"train_{key}", f"test_{key}"
    if train in names and test in names:
        if "test_labels" in names and "train_labels" not in names:
            raise ValueError("has 'test_labels' and no 'train_labels': add those, or leave both out")
        return [
            (samples, labels if labels in names else None)
            for samples, labels in ((train, "train_labels"), (test, "test_labels"))
        ]
    if test in names:
        raise ValueError(
            f"has '{test}' and no '{train}': add that, or call it '{key}' to have it split here"
        )
    if train in names and key in names:
        raise ValueError(f"has both '{key}' and '{train}': keep one, or add '{test}' if they are split")
    if train in names:
        return [(train, "train_labels" if "train_labels" in names else None)]
    if key in names:
        return [(key, "labels" if "labels" in names else None)]
    if len(names) == 1:  # by any name
        return [(next(iter(names)), None)]
    known = ", ".join(map(shown, sorted(names))) or "nothing"
    raise ValueError(f"cannot be used: there is no array '{key}' (there are: {known})")


def _part(arrays: Mapping[str, object], pair: Pair, key: str, judge: Judge, wrong: list[str]) -> _Part:
    """The samples and labels of a pair; adds what is wrong with them to `wrong`."""

    def read(name: str, judge: Judge) -> np.ndarray | None:
        try:
            try:
                array = arrays[name]
            except Exception as error:
                raise ValueError(f"cannot be read: {_reason(error)}") from error
            if not isinstance(array, np.ndarray):  # what else lies in a zip archive
                raise ValueError("is no array of NumPy's")
            if not array.ndim:
                raise ValueError(f"is a single value, not one for each of the {key}")
            return judge(array)
        except ValueError as error:
            wrong.append(f"{f'{shown(name)!r} ' * bool(name)}{error}")
            return None

    samples = read(pair[0], judge)
    count = None if samples is None else len(samples)
    labels = read(pair[1], lambda array: _whole(array, count, key)) if pair[1] else None
    return _Part(np.empty(0) if samples is None else samples, labels)


def _whole(labels: np.ndarray, count: int | None, key: str) -> np.ndarray:
    """int64 N of labels N or N x 1; raises `ValueError` with what is wrong."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(
            f"has the shape {' x '.join(map(str, labels.shape))}, not one number for each of the {key} "
            "(.argmax(1) makes one of one-hot labels)"
        )
    if count is not None and len(labels) != count:
        raise ValueError(f"has {len(labels)} labels for {count} {key}")
    if labels.dtype.kind not in "iu":
        mend = " (.astype(int))" if labels.dtype.kind in "bf" else ""
        raise ValueError(f"holds {labels.dtype}, not whole numbers{mend}")
    if len(labels) and int(labels.min()) < 0:
        raise ValueError(f"holds {labels.min()}: labels are numbers from 0")
    if len(labels) and int(labels.max()) >= 2**32:
        raise ValueError(f"holds {labels.max()}: that is no number of a class")
    return labels.astype(np.int64)


def _largest(parts: tuple[_Part, ...] | list[_Part]) -> int:
    """The largest label; -1 where there are none."""
    labels = [part.labels for part in parts if part.labels is not None]
    return max((int(each.max(initial=0)) for each in labels), default=-1)


def _wrong_together(parts: list[_Part], key: str) -> list[str]:
    """What is wrong with all of a file, where nothing is with any one array."""
    total, largest = sum(len(part.samples) for part in parts), _largest(parts)
    shapes = list(dict.fromkeys(part.samples.shape[1:] for part in parts))
    wrong = []
    if len(shapes) > 1:
        told = " and ".join("x".join(map(str, shape)) for shape in shapes)
        wrong.append(f"holds {key} of different shapes for training and for testing: {told}")
    if len(parts) == 1 and total == 1:
        wrong.append(f"holds one of the {key}: two are the fewest that can be split")
    if total and largest >= total:
        wrong.append(
            f"has labels up to {largest:,}, so more classes than its {total:,} {key}: number "
            "the classes from 0 (numpy.unique(labels, return_inverse=True)[1])"
        )
    return wrong


def _notes(parts: list[_Part], unused: set[str], key: str) -> Iterator[str]:
    """How the splits came about, what is left unused, and classes without a sample."""
    if len(parts) == 1:
        yield f"no split of its own: one in {EVERY} is for testing, always the same ones"
    if unused:
        yield f"not used of the file: {', '.join(map(shown, sorted(unused)))}"
    found = {
        label for part in parts if part.labels is not None for label in np.unique(part.labels).tolist()
    }
    if empty := sorted(set(range(_largest(parts) + 1)) - found):
        more = f", and {len(empty) - 12} more" if len(empty) > 12 else ""
        yield f"no {key} have the labels {', '.join(map(str, empty[:12]))}{more} (classes count from 0)"

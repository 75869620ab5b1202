"""Fetch a missing data set once, quietly, or say in one message what to do about it."""

from __future__ import annotations

import io
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import ModuleType

from filelock import FileLock

from gansearch.errors import DataError

logger = logging.getLogger(__name__)

SILENCE = 5.0
"""Seconds without an answer or a byte after which a download is given up."""


def datasets() -> ModuleType:
    """torchvision's, with which torch's compiler is loaded: two seconds for who downloads or asks it to
    read.
    """
    from torchvision import datasets as known  # noqa: PLC0415

    found: ModuleType = known
    return found


def ensure(
    name: str,
    root: Path,
    files: Sequence[str],
    download: Callable[[Path], object],
    *,
    instead: str = "",
) -> None:
    """Make sure that `files` (paths below root) exist, downloading them if any is missing.

    Processes that ask at once take turns, and each file appears whole or not at all. What a
    failed download created is removed again.

    Args:
        name: the data set, for messages.
        root: the folder that holds all data sets.
        files: all that the reader needs.
        download: downloads everything into the folder it is given.
        instead: another layout below root that would do as well, for the message.

    Raises:
        DataError: a file is missing and cannot be downloaded.
    """
    lock = root / f".{name}.lock"
    created: list[Path] = []
    try:
        if _present(root, files):
            return
        created = [folder for folder in (root, *root.parents) if not folder.exists()]
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if not _present(root, files):
                logger.info("downloading data set '%s' into %s", name, root)
                _download(root, files, download)
    except Exception as error:  # whatever torchvision, the network or the disk come up with
        with suppress(OSError):
            lock.unlink(missing_ok=True)
            for folder in created:
                folder.rmdir()
        raise DataError(_missing(name, root, files, instead, error)) from error


@contextmanager
def reading(name: str, where: Path) -> Iterator[None]:
    """Turn whatever a reader raises over damaged files into a `DataError` naming the folder."""
    try:
        yield
    except Exception as error:
        said = str(error) or type(error).__name__
        raise DataError(f"data set '{name}': the files in {where} cannot be read: {said}") from error


def _present(root: Path, files: Sequence[str]) -> bool:
    return all((root / file).is_file() for file in files)


def _download(root: Path, files: Sequence[str], download: Callable[[Path], object]) -> None:
    """Download beside the final place, then move file by file, which is atomic."""
    with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder:
        with _quiet_and_impatient():
            download(Path(folder))
        for file in files:
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(folder) / file, root / file)  # noqa: PTH105


@contextmanager
def _quiet_and_impatient() -> Iterator[None]:
    """Torchvision prints, draws bars and sets no time limit; `urllib` then takes the default."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)


def _missing(name: str, root: Path, files: Sequence[str], instead: str, error: Exception) -> str:
    folder = Path(files[0]).parent
    names = ", ".join(Path(file).name for file in files)
    reason = " ".join(str(error).split()) or type(error).__name__
    return "\n".join(
        [
            f"data set '{name}' is not in {root.absolute()} and cannot be downloaded: {reason}",
            f"  expected there: {folder}/ with {names}",
            *([f"  or: {instead}"] if instead else []),
            "  name another folder with --data DIR or the environment variable GANSEARCH_DATA",
        ]
    )

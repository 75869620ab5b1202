"""Where files are: a folder that all machines share, or an object store named by a URI.

A place is a `pathlib.Path`, or for `s3://bucket/runs` a `UPath` with the same methods, over fsspec's
driver of that store. Who it is that asks, and at which address, is the environment's to say
(AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ...): a place holds no secret, so its text can be handed on and
written down.

An object store has no folders, no append and no rename, but to put an object is atomic, and seen by
all readers at once. Here is what that makes different.
"""

from __future__ import annotations

import errno
import fcntl
import io
import logging
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeVar
from urllib.parse import unquote, urlsplit

from gansearch.arguments import deferred
from gansearch.errors import StorageError, UserError, seconds_of
from gansearch.masking import kind_and_line, without_password

if TYPE_CHECKING:
    from upath import UPath
else:  # a tenth of a second that a folder need not wait
    UPath = deferred("upath", "UPath")

log = logging.getLogger(__name__)

Place: TypeAlias = Path | UPath
"""A path on a file system, or in an object store; `isinstance(place, Path)` tells which."""

PlaceLike: TypeAlias = str | Place
"""A place, or its text: a path, or a URI such as s3://bucket/runs."""

PathLike: TypeAlias = str | Path
"""A file or folder of this machine, or its text."""

_DRIVERS = {
    "s3": ("s3fs", "s3"),
    "gs": ("gcsfs", "gcs"),
    "gcs": ("gcsfs", "gcs"),
    "az": ("adlfs", "azure"),
    "abfs": ("adlfs", "azure"),
    "abfss": ("adlfs", "azure"),
}
"""Protocol -> its driver, and the extra of gansearch that installs that."""

PATIENCE = 120.0
"""Seconds for which an object store may be away, or a disk full, before a read or a write fails, where
GANSEARCH_PATIENCE does not say."""

_LONGEST_PAUSE = 15.0

_FINAL = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
"""Errors that asking again does not mend."""

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_CUT_URI = re.compile(rf"({'|'.join(_DRIVERS)}):/(?!/)")

_T = TypeVar("_T")


def expanded(path: str | Path) -> Path:
    """A path with `~` and `~user` as they are meant; where there is no such user, as it is."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def seen_from_here(name: str, beside: Path | None = None) -> str:
    """What a path names, the same from whatever folder it is read in later.

    Args:
        name: relative ones are looked for in this folder, then in the other.
        beside: that one: the folder of the file that names it.
    """
    here = expanded(name).absolute()
    there = (beside / name).absolute() if beside else here
    here_only = os.path.exists(here) or not os.path.exists(there)  # noqa: PTH110  raises nothing
    return str(here if here_only else there)


def place(text: str | Place) -> Place:
    """The place that a text names: a path, or a URI.

    Raises `UserError` for a store that is not known, whose driver is not installed, or whose URI holds
    what it must not: a secret, or steps upwards; and for what can be no place.
    """
    if not isinstance(text, str) and not hasattr(text, "parts"):  # None would be a folder's name
        raise UserError(f"a place must be a path or its text, not {text!r}")
    text = str(text)
    if "\0" in text:
        raise UserError(f"no path can be {text!r}")
    found = _URI.fullmatch(text)
    if found is None:
        if cut := _CUT_URI.match(text):
            raise UserError(f"'{text}' is neither a folder nor a URI: write {cut[1]}://BUCKET/FOLDER")
        return Path(text)
    protocol, rest = found[1].lower(), found[2]
    if protocol == "file":
        return Path(unquote(urlsplit(text).path))
    shown = without_password(text)
    if protocol not in _DRIVERS:
        raise UserError(f"'{shown}': give a folder, or a URI that begins with s3://, gs:// or az://")
    bucket, *names = rest.split("/")
    if ":" in bucket or "?" in rest:
        raise UserError(
            f"{protocol}://... must hold no key, secret or token, for a place is shown and written "
            "down: say them in the environment (AWS_ACCESS_KEY_ID, ...)"
        )
    if not bucket or any(name in (".", "..") or "#" in name for name in [bucket, *names]):
        raise UserError(f"'{shown}' is no place in an object store: write {protocol}://BUCKET/FOLDER")
    driver, extra = _DRIVERS[protocol]
    if find_spec(driver) is None:
        raise UserError(f"{shown} needs {driver}: pip install 'gansearch[{extra}]'")
    from upath import UPath  # noqa: PLC0415  a tenth of a second that a folder need not wait

    # Without a cache of listings: another machine may have written since.
    uri = "/".join([bucket, *filter(None, names)])
    return UPath(f"{protocol}://{uri}", use_listings_cache=False)


def on_disk(path: Place, what: str, instead: str) -> Path:
    """A path for what only a file system can hold; raises `UserError` for an object store.

    Args:
        path: where it is to be.
        what: in the message: "a journal file".
        instead: what to do where that cannot be.
    """
    if isinstance(path, Path):
        return path
    raise UserError(f"{path} is in an object store, which cannot hold {what}: {instead}")


@contextmanager
def writing(path: Place) -> Iterator[BinaryIO]:
    """A new file, which takes the place of an older one when it is whole, or is not there at all.

    A crash, also of the machine, leaves the older one. Folders are made where they are missing. Raises
    `OSError` where it cannot be written.
    """
    if not isinstance(path, Path):
        buffer = io.BytesIO()
        yield buffer
        patiently(path, lambda: path.fs.pipe_file(path.path, buffer.getvalue()))
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # a file lies in a folder's place
        words = os.strerror(errno.ENOTDIR)
        raise NotADirectoryError(errno.ENOTDIR, words, error.filename) from error
    part = path.with_suffix(f".part-{uuid.uuid4().hex}")
    try:
        with _told_by_its_name(path, part):
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)  # on a full disk every byte is wanted
        raise


@contextmanager
def _told_by_its_name(whole: Path, part: Path) -> Iterator[None]:
    """Have errors of an unfinished file or folder, and of what is in it, name what a user knows."""
    try:
        yield
    except OSError as error:
        if error.errno and str(error.filename or part).startswith(str(part)):
            error.filename, error.filename2 = str(whole), None
        raise


ABANDONED = 60.0
"""Seconds after which a folder that nobody holds is taken for one whose maker was killed."""


@contextmanager
def temporary(parent: Path, prefix: str, mode: int = 0o777) -> Iterator[Path]:
    """A new folder of this process's own, gone at the end; and so are those of its prefix whose makers
    were killed.

    Who is at work holds a lock, and is not known by its process id: to a container that shares the
    folder, but not its process ids, all others would be dead.
    """
    for left in [path for path in parent.iterdir() if path.name.startswith(prefix)]:
        _clear(left)
    own = parent / f"{prefix}{uuid.uuid4().hex[:12]}"
    own.mkdir(mode)
    descriptor = os.open(own, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems lock no folder: nobody clears there
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def unfinished(whole: Path) -> Iterator[Path]:
    """A new folder beside `whole`, of this process's own, to be given that name when all is in it.

    It goes in the end where it was not, and so do those whose makers were killed.
    """
    whole.parent.mkdir(parents=True, exist_ok=True)
    with temporary(whole.parent, f".{whole.name}.part-") as part, _told_by_its_name(whole, part):
        yield part


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """A folder in which no other process works so while it is open; made, and gone again where nothing
    came into it. Raises `UserError` where another does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process is writing into {folder}: take another --out") from error
        except OSError:  # some network file systems lock no folder
            pass
        yield
    finally:
        os.close(descriptor)
        with suppress(OSError):
            folder.rmdir()


def _clear(left: Path) -> None:
    """Remove an unfinished folder that nobody holds."""
    with suppress(OSError):
        descriptor = os.open(left, os.O_RDONLY)
        try:
            if time.time() - os.fstat(descriptor).st_mtime > ABANDONED:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
        finally:
            os.close(descriptor)


def write(path: Place, content: bytes | str) -> None:
    """Write a file whole or not at all, text as UTF-8; see `writing`."""
    with writing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def read(path: Place) -> bytes:
    """All of a file; raises `OSError` where it cannot be read."""
    if isinstance(path, Path):
        return path.read_bytes()
    content: bytes = patiently(path, lambda: path.fs.cat_file(path.path))
    return content


@contextmanager
def reading(path: Place) -> Iterator[BinaryIO]:
    """A file, open to be read; one of an object store is in memory by then. Raises `OSError`."""
    if isinstance(path, Path):
        with path.open("rb") as file:
            yield file
    else:
        yield io.BytesIO(read(path))


def remove(path: Place) -> None:
    """Delete a file, if it is there."""
    if isinstance(path, Path):
        path.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError):
        patiently(path, lambda: path.fs.rm_file(path.path))


def find(folder: Place, pattern: str) -> list[Place]:
    """The files of a folder whose names fit a pattern such as `step-*.pt`; none where it is missing."""
    if isinstance(folder, Path):
        return list(folder.glob(pattern))
    return patiently(folder, lambda: list(folder.glob(pattern)))


@contextmanager
def local_copy(path: Place) -> Iterator[Path]:
    """A file under its own name on this machine's disk, for what reads nothing else."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="gansearch-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(read(path))
        yield copy


@contextmanager
def reachable(path: Place) -> Iterator[None]:
    """Have an object store that does not answer, or refuses, told as the user's to mend."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each driver has its own kinds
        if isinstance(path, Path):
            raise
        raise StorageError(f"cannot use {path}: {kind_and_line(error)}") from error


@contextmanager
def findable(name: str, what: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """Have told what no file can be called, and what may not be looked into.

    Args:
        name: as the user wrote it.
        what: is looked for, before its name: "" or "a study ".
        kind: of the error.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        shown = name if len(name) <= 80 else f"{name[:80]}..."
        why = getattr(error, "strerror", error)
        at = getattr(error, "filename", None)
        if at and shown == name and Path(at).name != Path(name).name:
            why = f"{at}: {why}"
        raise kind(f"cannot look for {what}'{shown}': {why}") from error


def check_writable(folder: Place, option: str = "--runs-dir") -> None:
    """Raise `UserError` where a folder cannot be written in, or could not be made.

    Args:
        folder: need not exist.
        option: how the user said it.
    """
    if not isinstance(folder, Path):
        probe = folder / f".gansearch-{uuid.uuid4().hex}"
        with reachable(folder):
            probe.fs.pipe_file(probe.path, b"")
            probe.fs.rm_file(probe.path)
        return
    try:
        existing = folder.absolute()
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            raise UserError(f"{existing} is a file: take another {option}")
        with tempfile.TemporaryFile(dir=existing):  # root may do all but what the disk refuses
            pass
    except OSError as error:
        words = f"cannot write in {folder}: {error.strerror}; take another {option}"
        raise UserError(words) from error


SQLITE_BEGINS = b"SQLite format 3\0"


def amiss_with_sqlite(file: Path) -> str:
    """Why a file cannot be SQLite's, or be made; empty where it can."""
    if not file.parent.is_dir():
        return f"there is no folder {file.parent}: make it, or say another file"
    if file.is_dir():
        return "is a folder, and no file: move it away, or say another file"
    if not file.exists():
        try:
            with tempfile.TemporaryFile(dir=file.parent):  # root may do all but what the disk refuses
                return ""
        except OSError:
            return "may not be written here"
    if not os.access(file, os.W_OK):
        return "may not be written here"
    with file.open("rb") as content:
        begins = content.read(len(SQLITE_BEGINS))
    return "" if begins in (b"", SQLITE_BEGINS) else "is no SQLite file: say another"


def check_output(out: Path, *endings: str, option: str = "--out") -> None:
    """Raise `UserError` where a file could not be written, before anything is done for it.

    Args:
        out: the file; its folder need not exist.
        endings: that its name may have, each with what it means: `.png (a picture)`.
        option: how the user said it.
    """
    if out.is_dir():
        kinds = " or ".join(ending.split()[0] for ending in endings)
        raise UserError(f"{out} is a folder: {option} must name a {kinds} file")
    if out.suffix.lower() not in [ending.split()[0] for ending in endings]:
        raise UserError(f"{option} {out}: must end in {' or '.join(endings)}")
    check_writable(out.absolute().parent, option)


def patience() -> float:
    """Seconds for which a disk or an object store may be away; raises `UserError`."""
    return seconds_of("GANSEARCH_PATIENCE", PATIENCE)


def patiently(path: Place, action: Callable[[], _T]) -> _T:
    """Ask a disk or an object store again for as long as it may be full or away; raises `OSError`."""
    deadline, pause = time.monotonic() + patience(), 1.0
    while True:
        try:
            return action()
        except _FINAL:
            raise
        except Exception as error:  # a driver's own kinds, for whatever is wrong on the way
            late = time.monotonic() + pause > deadline
            if isinstance(path, Path) and (late or not isinstance(error, OSError)):
                raise
            if late:
                raise OSError(f"{path}: {kind_and_line(error)}") from error
            log.warning("%s: %s; once more in %g s", path, kind_and_line(error), pause)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)

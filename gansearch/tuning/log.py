"""What a trial prints, kept in its folder at hardly any cost, and up to a size.

A print ends in a list. It goes to the file a moment later, so that a process that is killed takes with
it what it printed in its last `EVERY` seconds, and no more.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from gansearch import files
from gansearch.files import Place
from gansearch.masking import without_password

if TYPE_CHECKING:
    from typing_extensions import Buffer

EVERY = 0.25
"""Seconds after which what was printed is in the file."""

CAP = 2**20
"""Bytes that are kept of one trial's prints."""

CAPPED = (
    f"\n[gansearch: this trial has printed more than {CAP // 2**20} MiB; nothing after it is kept]\n"
)


class TrialLog(io.TextIOBase):
    """A file that is there from the first thing written to it on: most trials print nothing.

    On a file system it is added to soon after each print. An object store cannot append: there `keep`
    puts the whole of it, at each report. Beyond `CAP` bytes, of all the workers of a trial together,
    nothing is kept, and a last line says so. A disk that refuses a log ends no trial.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, path: Place) -> None:
        self._sink = _AppendedFile(path) if isinstance(path, Path) else _PutObject(path)
        self._printed: list[str] = []
        self._flushing = threading.Lock()
        # `print` calls `write` for each of its words, so it is a list's own `append`: nothing in Python
        # is as quick.
        self.write = self._printed.append  # type: ignore[assignment, method-assign]
        _open_logs.add(self)
        _start_flushing()

    def writable(self) -> bool:
        """It is."""
        return True

    @property
    def buffer(self) -> _Sink:
        """Takes bytes, after what was printed before them."""
        self.flush()
        return self._sink

    def reconfigure(self, **_: Any) -> None:
        """Do nothing: what is printed is written soon, however that is asked for."""

    def flush(self) -> None:
        """Have all that was printed in the file."""
        with self._flushing:
            count = len(self._printed)  # another thread may print meanwhile, behind these
            pieces = self._printed[:count]
            del self._printed[:count]
            try:
                printed = "".join(pieces)
            except TypeError:  # one was no text, and nothing has refused it
                printed = "".join(map(str, pieces))
            if printed:
                self._sink.write(printed.encode(self.encoding, self.errors))

    def keep(self) -> None:
        """Have all that was printed where it is kept."""
        self.flush()
        self._sink.put()

    def close(self) -> None:
        """Close the file, with all that was printed in it."""
        if not self.closed:
            self.flush()
            self._sink.close()
        super().close()


class SharedLog(io.TextIOBase):
    """The logs of trials that are trained as one: each has what is printed meanwhile, as alone.

    Args:
        logs: theirs.
    """

    encoding, errors = TrialLog.encoding, TrialLog.errors

    def __init__(self, logs: Sequence[TrialLog]) -> None:
        super().__init__()
        self._logs, self._sink = logs, _SharedSink(logs)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str, /) -> int:
        """Append to each of them."""
        for log in self._logs:
            log.write(text)
        return len(text)

    @property
    def buffer(self) -> _SharedSink:
        """Takes bytes."""
        return self._sink

    def reconfigure(self, **_: Any) -> None:
        """Do nothing, as theirs."""


class _SharedSink(io.BufferedIOBase):
    """Takes bytes for several logs."""

    def __init__(self, logs: Sequence[TrialLog]) -> None:
        self._logs = logs

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, printed: Buffer, /) -> int:
        """Append to each of them."""
        for log in self._logs:
            log.buffer.write(printed)
        return len(bytes(printed))


class _Sink(io.BufferedIOBase):
    """Where a log leaves what was printed, many prints at a time."""

    def __init__(self, path: Place) -> None:
        self._path = path
        self._room: int | None = None  # unknown until something is printed
        self._lock = threading.Lock()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, printed: Buffer, /) -> int:
        """Append, without secrets, as long as there is room."""
        raw = bytes(printed)
        with self._lock, contextlib.suppress(OSError):  # and not a word of it: it would be written here
            if self._room is None:
                self._room = CAP - self._begin()
            if self._room >= 0:
                text = without_password(raw.decode(errors="replace")).encode()
                if len(text) > self._room:
                    text = text[: self._room].decode(errors="ignore").encode() + CAPPED.encode()
                self._append(text)
                self._room -= len(text)  # below 0 after the last line, here and for who goes on
        return len(raw)

    def put(self) -> None:
        """Put what is new where appending is not enough."""

    def _begin(self) -> int:
        """Bytes that are there already."""
        raise NotImplementedError

    def _append(self, text: bytes) -> None:
        raise NotImplementedError


class _AppendedFile(_Sink):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file: BinaryIO | None = None

    def _begin(self) -> int:
        assert isinstance(self._path, Path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab", buffering=0)
        return self._file.tell()

    def _append(self, text: bytes) -> None:
        assert self._file is not None
        self._file.write(text)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        super().close()


class _PutObject(_Sink):
    def __init__(self, path: Place) -> None:
        super().__init__(path)
        self._text, self._put = b"", 0

    def _begin(self) -> int:
        """What another worker of this trial has put there stays."""
        with contextlib.suppress(FileNotFoundError):
            self._text = files.read(self._path)
        return len(self._text)

    def _append(self, text: bytes) -> None:
        self._text += text

    def put(self) -> None:
        """Put the whole, if there is anything new."""
        with self._lock, contextlib.suppress(OSError):
            if len(self._text) > self._put:
                files.write(self._path, self._text)
                self._put = len(self._text)


_open_logs: weakref.WeakSet[TrialLog] = weakref.WeakSet()
_flushing = threading.Event()


def _start_flushing() -> None:
    if not _flushing.is_set():
        _flushing.set()
        threading.Thread(target=_flush_for_ever, name="trial logs", daemon=True).start()


def _flush_for_ever() -> None:
    while True:
        time.sleep(EVERY)
        _flush_all()


def _flush_all() -> None:
    for log in list(_open_logs):
        log.flush()


# A forked process, as a data loader's worker is, would print once more what is held back here.
os.register_at_fork(before=_flush_all)
atexit.register(_flush_all)

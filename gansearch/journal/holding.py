"""Who holds a study: one process at a time may drive it.

On a file system the hold is a locked file in the study's folder. An object store locks nothing; a
study there is in a database, and held in that: in PostgreSQL by an advisory lock, which ends with its
transaction, beside an SQLite file by a locked file. Each hold dies with its process, however that dies.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from gansearch.errors import StorageError, UserError
from gansearch.files import Place, amiss_with_sqlite, on_disk
from gansearch.journal.urls import (
    IN_A_DATABASE,
    NOTICED,
    cannot_open,
    cause_of,
    parse_url,
    shown,
    sqlite_file,
)

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""How long to retry, in seconds: a process that merely checks the hold takes it for a moment."""

PING = 10.0
"""Seconds between two signs of life to PostgreSQL."""

SILENCE = 60
"""Seconds without one after which PostgreSQL gives a study free: a machine that lost its power says
nothing of it."""

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)
"""What a file system says of a lock that another process has."""


class TakenError(Exception):
    """Another process holds the study."""


@dataclass(frozen=True)
class Hold:
    """The hold on a study, which one process at a time may have.

    Attributes:
        folder: the study's own; its name is the study's in its storage.
        storage: the URL of its Optuna storage; None: a journal file.
    """

    folder: Place
    storage: str | None = None

    def check(self) -> None:
        """Raise `UserError` where nothing can be held: also where a database does not answer."""
        if self.storage is None:
            on_disk(self.folder, "a journal file", IN_A_DATABASE)
            return
        url = parse_url(self.storage)
        if url.get_backend_name() == "postgresql":
            with _connected(url):  # it answers
                return
        file = sqlite_file(url)
        if file is not None and (why := amiss_with_sqlite(file)):
            raise UserError(cannot_open(url, why))
        if file is None:
            on_disk(self.folder, "a lock", f"{IN_A_DATABASE}, not {url.get_backend_name()}")

    @contextmanager
    def taken(self, on_loss: Callable[[], None]) -> Iterator[None]:
        """Hold the study while it is open.

        Args:
            on_loss: called, in a thread, where another process took the study while its database was
                away.

        Raises:
            TakenError: another process holds it.
            UserError: its database does not answer, or holds nothing.
        """
        self.check()
        file = self._lock_file()
        if file is None:
            with _DatabaseHold(parse_url(self.storage or ""), self.folder.name, on_loss):
                yield
            return
        lock = FileLock(file, timeout=PATIENCE)
        try:
            lock.acquire()
        except Timeout as error:
            raise TakenError(self.folder.name) from error
        try:
            yield
        finally:
            lock.release()

    @property
    def is_taken(self) -> bool:
        """Whether a process holds the study, on this machine or another one."""
        file = self._lock_file()
        if file is None:
            with _connected(parse_url(self.storage or "")) as connection:
                return not _try_lock(connection, self.folder.name, shared=True)
        try:
            descriptor = os.open(file, os.O_RDONLY)  # also for who may only look, in a folder of others
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in _HELD or _is_held_softly(file)
        finally:
            os.close(descriptor)
        return False

    def _lock_file(self) -> Path | None:
        """What to lock; None: a name in PostgreSQL."""
        if isinstance(self.folder, Path):
            return self.folder / ".lock"
        file = sqlite_file(parse_url(self.storage or ""))
        return file and file.with_name(f".{file.name}-{self.folder.name}.lock")


def _is_held_softly(file: Path) -> bool:
    """The same on a file system without such locks, where filelock writes down who holds a file."""
    try:
        with FileLock(file, timeout=0):
            return False
    except Timeout:
        return True


class _DatabaseHold:
    """A name in PostgreSQL, held by a transaction that stays open: also through a pooler."""

    def __init__(self, url: URL, name: str, on_loss: Callable[[], None]) -> None:
        self._url, self._name, self._on_loss = url, name, on_loss
        self._session = f"gansearch {uuid.uuid4().hex}"
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="gansearch-hold", daemon=True)

    def __enter__(self) -> None:
        self._connection = _connect(self._url, self._session)
        if not self._take():
            _close(self._connection)
            raise TakenError(self._name)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(PATIENCE)
        _close(self._connection)

    def _take(self) -> bool:
        deadline = time.monotonic() + PATIENCE
        while not _try_lock(self._connection, self._name):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def _end_earlier(self) -> None:
        """End our earlier session: PostgreSQL may keep the lock for one that is cut off."""
        from sqlalchemy import text  # noqa: PLC0415

        earlier = "application_name = :session AND pid <> pg_backend_pid()"
        end = text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {earlier}")
        self._connection.execute(end, {"session": self._session})

    def _keep(self) -> None:
        """Show that we live; where the database was away, take the name again."""
        from sqlalchemy import text  # noqa: PLC0415

        away = False
        while not self._done.wait(PING):
            try:
                if away:
                    self._connection = _connect(self._url, self._session)
                    self._end_earlier()
                    if not self._take():
                        self._on_loss()
                        return
                    away = False
                self._connection.execute(text("SELECT 1"))
            except Exception as error:  # whatever is wrong: it may come back
                if not away:
                    log.warning("the database that holds '%s' is away: %s", self._name, cause_of(error))
                away = True
                _close(self._connection)


@contextmanager
def _connected(url: URL) -> Iterator[Connection]:
    connection = _connect(url)
    try:
        yield connection
    finally:
        _close(connection)


def _connect(url: URL, session: str = "gansearch") -> Connection:
    """A connection of its own, whose transaction ends when nothing is heard of us."""
    from sqlalchemy import NullPool, create_engine, text  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    # In READ COMMITTED a transaction that stays open keeps no dead rows from being cleared away.
    engine = create_engine(
        url,
        poolclass=NullPool,
        isolation_level="READ COMMITTED",
        connect_args=NOTICED | {"application_name": session},
    )
    try:
        connection = engine.connect()
        connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{SILENCE}s'"))
    except SQLAlchemyError as error:
        raise StorageError(
            f"the database at {shown(url)} does not answer: {cause_of(error)}"
        ) from error
    return connection


def _close(connection: Connection) -> None:
    with suppress(Exception):  # where the database is away there is nothing to end
        connection.close()


def _try_lock(connection: Connection, name: str, *, shared: bool = False) -> bool:
    """Take a name until the transaction ends; any number of readers may have it `shared`."""
    from sqlalchemy import text  # noqa: PLC0415

    digest = hashlib.sha256(f"gansearch {name}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    function = "pg_try_advisory_xact_lock_shared" if shared else "pg_try_advisory_xact_lock"
    return bool(connection.scalar(text(f"SELECT {function}(:key)"), {"key": key}))

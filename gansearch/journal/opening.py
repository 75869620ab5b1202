"""Open the storage that a journal is kept in: a file, or a database."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.storages import BaseStorage

from gansearch import files
from gansearch.errors import StorageError, UserError
from gansearch.files import Place
from gansearch.journal.database import DatabaseStorage
from gansearch.journal.directory import JOURNAL_FILE, StudyDirectory
from gansearch.journal.file import FileStorage
from gansearch.journal.repair import explain
from gansearch.journal.urls import IN_A_DATABASE, cannot_open, cause_of, parse_url, sqlite_file

if TYPE_CHECKING:
    from sqlalchemy import Connection

Storage = FileStorage | DatabaseStorage


@contextmanager
def keeping_garbage() -> Iterator[None]:
    """Loading makes millions of objects that all stay: to look for garbage among them, again and
    again, takes a third of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def has_roster(backend: BaseStorage, name: str) -> bool:
    """Whether a storage holds a whole stability study of this name: its roster is written last."""
    if name not in optuna.get_all_study_names(backend):
        return False
    return "roster" in backend.get_study_user_attrs(backend.get_study_id_from_name(name))


def journal_file(directory: Place) -> Path:
    """The journal file of a study; raises `UserError` in an object store, which needs a database."""
    return files.on_disk(directory, "a journal file", IN_A_DATABASE) / JOURNAL_FILE


def open_storage(directory: Place, url: str | None) -> Storage:
    """The storage at a URL, or the journal file of a study's directory.

    Raises `StorageError` where it does not answer or is damaged.
    """
    return _open_file(journal_file(directory)) if url is None else open_database(url)


def open_database(url: str) -> DatabaseStorage:
    """The storage in a database; raises `StorageError` where it does not answer."""
    parsed = parse_url(url)
    try:
        return DatabaseStorage(parsed.render_as_string(hide_password=False))
    except UserError:
        raise
    except Exception as error:  # whatever the database's driver raises
        cause = cause_of(error, parsed.password)
        raise StorageError(cannot_open(parsed, cause)) from error


def is_laid_out(url: str) -> bool:
    """Whether a database, by its URL, holds studies' tables; to see that leaves nothing there.

    Raises `StorageError` where it does not answer, or they cannot be made or written.
    """
    from sqlalchemy import NullPool, create_engine, inspect  # noqa: PLC0415

    parsed = parse_url(url)
    file = sqlite_file(parsed)
    if file is not None and not file.exists():  # SQLite would make it
        return False
    try:
        with create_engine(parsed, poolclass=NullPool).connect() as connection:
            laid_out = inspect(connection).has_table("studies")
            if parsed.get_backend_name() in ("postgresql", "sqlite"):  # others cannot undo new tables
                _try_writing(connection)
            return laid_out
    except Exception as error:  # whatever the database's driver raises
        cause = cause_of(error, parsed.password)
        raise StorageError(cannot_open(parsed, cause)) from error


UNWRITTEN = ("version_info", "trial_heartbeats", "study_system_attributes")
"""Tables of Optuna's that no study of ours changes."""

INSERTED = ("studies", "study_directions")
"""Those whose rows stay as they are."""


def _try_writing(connection: Connection) -> None:
    """Make the tables that are missing, write no row into any of a study's, and undo it all."""
    from optuna.storages._rdb import models  # noqa: PLC0415
    from sqlalchemy import false, select  # noqa: PLC0415

    tables = models.BaseModel.metadata
    if connection.dialect.name == "sqlite":  # of which Python's driver begins none for new tables
        connection.exec_driver_sql("BEGIN")
    tables.create_all(connection)
    for table in tables.sorted_tables:
        if table.name in UNWRITTEN:
            continue
        [key] = table.primary_key
        connection.execute(
            table.insert().from_select(table.columns.keys(), select(table).where(false()))
        )
        connection.execute(table.delete().where(false()))
        if table.name not in INSERTED:
            connection.execute(table.update().where(false()).values({key: key}))
        if connection.dialect.name == "postgresql":
            _check_sequence(connection, table.name, key.name)
    connection.rollback()


def _check_sequence(connection: Connection, table: str, key: str) -> None:
    """Raise `PermissionError`, as the database would, where a new row could not be given its number;
    to take one would be seen by everybody, for that is never undone.
    """
    from sqlalchemy import text  # noqa: PLC0415

    denied = connection.execute(
        text(
            "SELECT pg_get_serial_sequence(:table, :key) AS sequence FROM pg_attribute "
            "WHERE attrelid = to_regclass(:table) AND attname = :key AND attidentity = '' "
            "AND NOT has_sequence_privilege(pg_get_serial_sequence(:table, :key), 'USAGE, UPDATE')"
        ),
        {"table": table, "key": key},
    ).scalar()
    if denied is not None:
        raise PermissionError(f"permission denied for sequence {denied.rpartition('.')[2]}")


def _open_file(path: Path) -> FileStorage:
    try:
        return FileStorage(path)
    except OSError:
        raise
    except Exception as error:  # whatever Optuna raises of a bad line
        raise StorageError(_words(path, [f"{type(error).__name__}: {error}"])) from error


def damage(storage: Storage, name: str, faults: Sequence[str]) -> StorageError:
    """What is wrong with a study's records, and the mend.

    Args:
        storage: what they are in.
        name: the study's.
        faults: what is wrong, in words, where no line of a file tells.
    """
    if isinstance(storage, FileStorage):
        return StorageError(_words(storage.path, faults))
    mend = "put a copy of the database back, or read the study with the version that wrote it"
    words = [f"the study '{name}' in its database is damaged:", *faults, mend]
    return StorageError("\n  ".join(words))


def _words(path: Path, faults: Sequence[str]) -> str:
    """The damaged lines of a journal file; where no line is damaged by itself, the faults of it all."""
    study = path.parent.parent if path.parent.name == "stability" else path.parent
    mend = f"put a copy of it back, or run {path.with_name('study.yaml')} as a new study"
    whole = "\n  ".join([f"the journal {path} is damaged:", *faults, mend])
    return explain(path, StudyDirectory(study).called) or whole


def mend_file(path: Path) -> None:
    """Undo what a writer killed in the middle of a write leaves behind.

    Half a line would join with the next one and make the whole journal unreadable; a lock that
    nobody holds would delay the first write by Optuna's grace period of 30 s.
    """
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)

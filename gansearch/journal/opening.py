"""Open the storage that a journal is kept in: a file, or a database."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.storages import BaseStorage

from gansearch import files
from gansearch.errors import StorageError, UserError
from gansearch.files import Place
from gansearch.journal.database import DatabaseStorage
from gansearch.journal.directory import JOURNAL_FILE
from gansearch.journal.file import FileStorage
from gansearch.journal.repair import explain
from gansearch.journal.urls import IN_A_DATABASE, cause_of, parse_url

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
    if url is None:
        return _open_file(journal_file(directory))
    parsed = parse_url(url)
    try:
        return DatabaseStorage(parsed.render_as_string(hide_password=False))
    except UserError:
        raise
    except Exception as error:  # whatever the database's driver raises
        cause = cause_of(error, parsed.password)
        raise StorageError(f"cannot open the Optuna storage: {cause}") from error


def _open_file(path: Path) -> FileStorage:
    try:
        return FileStorage(path)
    except (ValueError, LookupError, TypeError, AssertionError) as error:  # of a bad line
        study = path.parent.parent if path.parent.name == "stability" else path.parent
        if words := explain(path, study.name):
            raise StorageError(words) from error
        raise


def mend_file(path: Path) -> None:
    """Undo what a writer killed in the middle of a write leaves behind.

    Half a line would join with the next one and make the whole journal unreadable; a lock that
    nobody holds would delay the first write by Optuna's grace period of 30 s.
    """
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)

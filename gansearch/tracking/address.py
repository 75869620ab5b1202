"""Which store of MLflow's applies, and whether it can be one: asked before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from gansearch.errors import UserError
from gansearch.files import Place, amiss_with_sqlite, on_disk
from gansearch.masking import without_password
from gansearch.tracking.store import ARTIFACTS, sqlite_file

OFF = "off"
"""What says that nothing is tracked; `none` is understood."""

VARIABLE = "MLFLOW_TRACKING_URI"


class Store(NamedTuple):
    """Where runs are tracked.

    Attributes:
        uri: MLflow's tracking URI.
        artifacts: where a new experiment's artifacts go; None: the store is to say.
    """

    uri: str
    artifacts: str | None


def default_store(runs_dir: Place) -> Store:
    """The store under a directory of runs, both absolute.

    Raises `UserError` for an object store, or where something else lies in the file's place.
    """
    instead = f"say --tracking http://SERVER:5000, or {VARIABLE}, or --tracking off"
    root = on_disk(runs_dir, "MLflow's database", instead).resolve()
    file = root / "mlflow.db"
    if root.is_dir() and (why := amiss_with_sqlite(file)):
        raise UserError(f"{file}, MLflow's database: {why}")
    return Store(f"sqlite:///{file}", (root / ARTIFACTS).as_uri())


def store_of(runs_dir: Place, said: str | None = None) -> Store | None:
    """The store that applies: as said, else by MLFLOW_TRACKING_URI, else that of the runs directory;
    None where nothing is tracked.

    Raises `UserError` where MLflow could not track there, as far as that can be told without asking a
    server: a server may be down now, and get its runs later.
    """
    uri = address(said)
    if uri == OFF:
        return None
    return Store(uri, None) if uri else default_store(runs_dir)


def address(said: str | None) -> str:
    """A tracking URI as an option says it, else the environment; `OFF`; or empty where
    neither does. Raises `UserError` where it is none.
    """
    place, text = ("--tracking", said) if said else (VARIABLE, os.environ.get(VARIABLE, ""))
    uri = text.strip()
    if uri.lower() in (OFF, "none"):
        return OFF
    if uri and (why := _amiss(uri)):
        raise UserError(f"{place} {without_password(uri)}: {why}")
    return uri


def _amiss(uri: str) -> str:
    """Why MLflow cannot track at a URI, with the mend; empty where it may."""
    scheme, _, rest = uri.partition(":")
    kind = scheme.lower().partition("+")[0]
    if kind in _KINDS:
        return _KINDS[kind](uri)
    if entry_points(group="mlflow.tracking_store", name=kind):  # a plugin's
        return ""
    known = "http://HOST:5000, sqlite:///FILE.db, postgresql://HOST/DATABASE or off"
    if rest.partition("/")[0].isdigit():  # `localhost:5000`
        return f"is no tracking URI: did you mean http://{uri}?"
    if kind == "file" or "/" in uri or Path(uri).exists():
        return f"is a path, and MLflow keeps no runs in plain folders any more: say {known}"
    return f"is no tracking URI: say {known}"


def _amiss_with_server(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, among others
        named = False
    return "" if named else "names no host, or no port of one: say http://HOST:5000"


def _amiss_with_sqlite(uri: str) -> str:
    file = sqlite_file(uri)
    if file is not None:
        return amiss_with_sqlite(file)
    # A URI of SQLite's own is for SQLite to understand.
    return "" if "///file:" in uri else "names no file: say sqlite:////FOLDER/mlflow.db"


def _amiss_with_database(uri: str) -> str:
    """Why a database's URI is none, or who speaks to that database is not installed."""
    from sqlalchemy import make_url  # noqa: PLC0415  a quarter of a second
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        make_url(uri).get_dialect().import_dbapi()
    except ImportError as error:
        return f"needs the Python package {error.name}, which is not installed here"
    except (ArgumentError, ValueError):  # a scheme or a port that SQLAlchemy does not know
        return "is no URL such as postgresql://HOST/DATABASE"
    return ""


_KINDS: dict[str, Callable[[str], str]] = {
    "http": _amiss_with_server,
    "https": _amiss_with_server,
    "sqlite": _amiss_with_sqlite,
    **dict.fromkeys(("postgresql", "mysql", "mssql"), _amiss_with_database),
    **dict.fromkeys(("databricks", "databricks-uc", "uc"), lambda uri: ""),  # noqa: ARG005
}
"""What is amiss with a URI, by the schemes that MLflow itself knows."""

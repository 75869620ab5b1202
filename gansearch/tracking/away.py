"""Whether what keeps MLflow's runs answers at all: asked once, and not for as long as MLflow asks.

MLflow asks a database that is away eleven times, with pauses that double, and a server that accepts and
says nothing for its whole time-out, call by call.
"""

from __future__ import annotations

import socket
import urllib.request
from urllib.error import HTTPError, URLError

from gansearch.errors import StorageError
from gansearch.journal.urls import NOTICED, cause_of
from gansearch.masking import without_password

SECONDS = NOTICED["connect_timeout"]
"""How long an answer may take."""

_DATABASES = ("postgresql", "mysql", "mssql")


def why_away(uri: str) -> str:
    """Why nobody answers at a tracking URI, in words; empty where somebody does, or nobody can say."""
    kind = uri.partition(":")[0].lower().partition("+")[0]
    if kind in _DATABASES:
        return _why_no_database(uri)
    return _why_no_server(uri) if kind in ("http", "https") else ""


def check_there(uri: str) -> None:
    """Raise `StorageError` where nobody answers at a tracking URI."""
    if why := why_away(uri):
        raise StorageError(f"MLflow at {without_password(uri)} does not answer: {why}")


def why_no_database(uri: str) -> str:
    """The same of a database alone: a server may be busy, and is the tracker's to wait for."""
    return "" if uri.lower().startswith("http") else why_away(uri)


def _why_no_database(uri: str) -> str:
    from sqlalchemy import NullPool, create_engine  # noqa: PLC0415
    from sqlalchemy.engine import make_url  # noqa: PLC0415
    from sqlalchemy.exc import InterfaceError, OperationalError  # noqa: PLC0415

    url = make_url(uri)
    noticed = NOTICED if url.get_backend_name() == "postgresql" else {}
    try:
        create_engine(url, poolclass=NullPool, connect_args=noticed).connect().close()
    except (InterfaceError, OperationalError) as error:
        return cause_of(error, url.password)
    return ""


def _why_no_server(uri: str) -> str:
    """Silence, or a refusal: whatever else is wrong, MLflow's client has its own way through."""
    try:
        with urllib.request.urlopen(f"{without_password(uri).rstrip('/')}/health", timeout=SECONDS):
            return ""
    except HTTPError:
        return ""
    except (URLError, OSError) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, TimeoutError):
            return f"no answer within {SECONDS} s"
        if isinstance(cause, ConnectionError | socket.gaierror):
            return str(cause.strerror or cause)
        return ""

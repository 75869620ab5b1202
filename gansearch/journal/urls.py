"""A team's database as an Optuna storage: which driver speaks to it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from gansearch.errors import UserError
from gansearch.masking import first_line, without_password

if TYPE_CHECKING:
    from sqlalchemy import URL

NOTICED = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""What has libpq give up a PostgreSQL whose network is cut within half a minute: by itself it waits for
one that says nothing for a quarter of an hour, or for hours."""

IN_A_DATABASE = "say --storage postgresql://HOST/DATABASE, or GANSEARCH_STORAGE"
"""What to do where a study cannot have a file of its own."""

_POSTGRESQL = ("postgresql", "postgres")


def parse_url(text: str) -> URL:
    """The URL of a storage, with a driver that is installed.

    Raises `UserError` where it is no URL, of no database that can be asked, or a driver is not there.
    """
    from sqlalchemy import make_url  # noqa: PLC0415  a quarter of a second that a journal file need not wait
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise UserError(f"cannot open the Optuna storage: it is no URL such as {SUCH}") from error
    if url.drivername not in _POSTGRESQL:
        if why := _amiss(url):
            raise UserError(cannot_open(url, why))
        return url
    # Which of its drivers is meant depends on the version of SQLAlchemy, not on what is installed.
    drivers = [name for name in ("psycopg", "psycopg2") if find_spec(name)]
    if not drivers:
        raise UserError(
            "cannot open the Optuna storage: pip install 'gansearch[postgresql]', which is its driver"
        )
    return url.set(drivername=f"postgresql+{drivers[0]}")


SUCH = "postgresql://HOST/DATABASE or sqlite:////FOLDER/FILE.db"


def _amiss(url: URL) -> str:
    """Why a URL is of no database that can keep a study, with the mend; empty where it is."""
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except ArgumentError:
        return f"no such database is known: say {SUCH}"
    except ImportError as error:
        return f"needs the Python package {error.name}, which is not installed here"
    if getattr(dialect, "is_async", False):
        return f"its driver is for programs of another kind: say {SUCH}"
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        return "a database in memory ends with its process: say sqlite:////FOLDER/FILE.db"
    return ""


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite database; None for another one."""
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        return None
    return Path(str(url.database)).absolute()


def cannot_open(url: URL, why: str) -> str:
    """What to say of a storage that cannot be used."""
    return f"cannot open the Optuna storage {shown(url)}: {why}"


def shown(url: URL) -> str:
    """A storage's URL as it may be shown."""
    return without_password(url.set(password=None).render_as_string())


def cause_of(error: BaseException, password: str | None = None) -> str:
    """What a database's driver says, in a line without the password."""
    text = first_line(getattr(error, "orig", None) or error)
    return text.replace(password, "***") if password else text

"""A team's database as an Optuna storage: which driver speaks to it."""

from __future__ import annotations

from importlib.util import find_spec
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

    Raises `UserError` where it is no URL, or PostgreSQL's driver is not there.
    """
    from sqlalchemy import make_url  # noqa: PLC0415  a quarter of a second that a journal file need not wait
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        example = "postgresql://HOST/DATABASE"
        raise UserError(f"cannot open the Optuna storage: it is no URL such as {example}") from error
    if url.drivername not in _POSTGRESQL:
        return url
    # Which of its drivers is meant depends on the version of SQLAlchemy, not on what is installed.
    drivers = [name for name in ("psycopg", "psycopg2") if find_spec(name)]
    if not drivers:
        raise UserError(
            "cannot open the Optuna storage: pip install 'gansearch[postgresql]', which is its driver"
        )
    return url.set(drivername=f"postgresql+{drivers[0]}")


def shown(url: URL) -> str:
    """A storage's URL as it may be shown."""
    return without_password(url.set(password=None).render_as_string())


def cause_of(error: BaseException, password: str | None = None) -> str:
    """What a database's driver says, in a line without the password."""
    text = first_line(getattr(error, "orig", None) or error)
    return text.replace(password, "***") if password else text

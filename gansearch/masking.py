"""Secrets kept out of messages, logs and tables."""

from __future__ import annotations

import os
import re

_CREDENTIALS = re.compile(r"""(:/|/)/[^/\s'"]*@|:/[^/\s'"]*:[^/\s'"]*@""")
"""`http://name:password@host`; `s3:/key:secret@bucket` is what a path has made of a URI."""


_KEYS = ("password", "passwd", "pwd", "token", "secret", "signature", "sig", "key")


_KEYED = re.compile(
    r"""([?&;](?:password|passwd|pwd|token|secret|signature|sig|(?:api|access)_?key)=|\bpassword=)[^&;\s'"]+""",
    re.IGNORECASE,
)


_SECRET_NAME = re.compile(r"(PASSWORD|PASSWD|TOKEN|SECRET|SECRET_ACCESS_KEY|API_KEY)$")


_SHORTEST = 6
"""Characters of a variable's value that is taken for a secret: `1` and `true` are none."""


def without_password(text: str) -> str:
    """A message without secrets: `http://host` for `http://name:password@host`, `***` for what follows
    `password=` and for the values of environment variables such as MLFLOW_TRACKING_PASSWORD. It is
    `writable`, too: what others say may be anything.
    """
    if "@" in text:  # or a long log would pay for the slower searches
        text = _CREDENTIALS.sub(lambda found: "://" if found[0].startswith(":") else "//", text)
    if "=" in text:
        lowered = text.lower()
        if any(f"{key}=" in lowered for key in _KEYS):
            text = _KEYED.sub(r"\1***", text)
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST:
            text = text.replace(value, "***")
    return writable(text)


def writable(text: str) -> str:
    """A text with what no file can hold spelt out: halves of characters, as Python has them in a name
    that is no UTF-8.
    """
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def first_line(error: object) -> str:
    """The first line of what an error says, without secrets; its kind where it says nothing."""
    return _line(error, 0)


def last_line(error: object) -> str:
    """The last line likewise."""
    return _line(error, -1)


def _line(error: object, at: int) -> str:
    lines = str(error).strip().splitlines()
    return without_password(lines[at]) if lines else type(error).__name__


def kind_and_line(error: object) -> str:
    """An error's kind, and behind it the first line of what it says."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"


def shows_password(text: str) -> bool:
    """Whether a text holds an address with a password in it."""
    return bool(re.search(r"//[^/@\s]*:[^/@\s]+@", text) or _KEYED.search(text))

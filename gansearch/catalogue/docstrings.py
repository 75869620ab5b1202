"""Docstrings taken apart: the description, the meaning of each option, the papers that are named."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Docstring:
    """A docstring in its parts.

    Attributes:
        description: all that stands before the first section (`Args:`, `Attributes:`, ...).
        entries: name -> meaning, of `Args:` and `Attributes:`.
    """

    description: str = ""
    entries: Mapping[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first paragraph."""
        return self.description.partition("\n\n")[0]

    @property
    def sources(self) -> tuple[str, ...]:
        """The papers that the description names: authors and year, with the arXiv number if told."""
        flat = " ".join(self.description.split())
        named = (found if "(" in found else found.rstrip(")") for found in _SOURCE.findall(flat))
        return tuple(dict.fromkeys(named))

    @classmethod
    def of(cls, thing: Callable[..., Any]) -> Docstring:
        """The docstring of a class or a function; a class inherits the meanings of its parents."""
        entries: dict[str, str] = {}
        kinds = thing.__mro__ if inspect.isclass(thing) else (thing,)
        for kind in reversed([k for k in kinds if k.__module__ not in _FOREIGN]):
            for text in (
                kind.__doc__,
                getattr(getattr(kind, "__dict__", {}).get("__init__"), "__doc__", None),
            ):
                entries |= _entries(inspect.cleandoc(text or ""))
        text = inspect.cleandoc(thing.__doc__ or "")
        return cls(re.split(rf"\n+(?={_HEADING})", text)[0].strip(), entries)


_HEADING = r"(?:Args|Attributes|Returns|Raises|Example|Examples):\n"
_FOREIGN = ("builtins", "abc", "typing", "pydantic.main")
_NAME = r"[A-Z][\w-]+"
_SOURCE = re.compile(rf"{_NAME}(?: et al\.| and {_NAME})?,? (?:19|20)\d\d(?:,? \(?arXiv \d+\.\d+\)?)?")


def _entries(text: str) -> dict[str, str]:
    """`name: meaning` under `Args:` and `Attributes:`; a meaning may run over several lines."""
    entries: dict[str, str] = {}
    for block in re.findall(r"^(?:Args|Attributes):\n((?: +.*\n?|\n)*)", text, re.M):
        for entry in re.split(r"^(?=\S)", textwrap.dedent(block), flags=re.M):
            names, colon, meaning = entry.partition(":")
            if colon:
                flat = " ".join(meaning.split())
                entries |= {name.strip(): flat for name in names.split(",")}
    return entries

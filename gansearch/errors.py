"""The error tree. Everything a user can mend is a `UserError`; the rest is a bug of ours.

GansearchError
├── Interrupted             Ctrl-C that ended a study or a training at once; exit code 130
└── UserError               bad input: one message, exit code 2, nothing created
    ├── InvalidInput        a study or configuration file, with every mistake in it
    │   └── InvalidCall     arguments of a Python function that are of other types than it takes
    ├── UnknownPart         no data set, network, loss or metric of that name
    ├── DataError           a data set that is not there, or is not what it should be
    ├── WeightsError        network weights that are missing, damaged or of the wrong kind
    ├── StudyError          a study directory: not found, name taken, busy, changed since
    ├── ClusterError        a Ray cluster that does not answer, refuses, or lacks what a trial needs
    └── StorageError        a disk, an object store or a database that is full, away or refuses; a
                            damaged journal
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Problem(NamedTuple):
    """One mistake: where it is (`optimizer.generator.lr`) and what is wrong, with the mend."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class GansearchError(Exception):
    """The root: `except GansearchError` catches all that this package raises on purpose."""


class UserError(GansearchError):
    """Something the user can mend; the command line prints it and exits with code 2."""


class InvalidInput(UserError):
    """A study or configuration with mistakes; the message lists all of them."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = list(problems)
        count = "1 mistake" if len(self.problems) == 1 else f"{len(self.problems)} mistakes"
        lines = [f"{source}: {count}", *(f"  {problem}" for problem in self.problems)]
        super().__init__("\n".join(lines))


class InvalidCall(InvalidInput, TypeError):
    """A call of a Python function with arguments of other types than it takes; as with any function,
    that is a `TypeError`, too.
    """


class UnknownPart(UserError):
    """A part that no registry knows and no import finds."""


class DataError(UserError):
    """A data set that is missing or not what it should be."""


class WeightsError(UserError):
    """Network weights that are missing, damaged or of the wrong kind."""


class StudyError(UserError):
    """A study directory that is missing, taken, busy or changed."""


class ClusterError(UserError):
    """A Ray cluster that does not answer, refuses, or lacks what a trial needs."""


class StorageError(UserError):
    """A disk, an object store or a database that is full, away or refuses: it says nothing of what was
    to be kept there, and a study that it stops goes on by `resume`.
    """


class Doubt(UserWarning):
    """Something that works, and is probably not what was meant."""


RAISED = (Exception, SystemExit)
"""What a part of the user's may raise. One that calls `sys.exit`, as a parser of arguments does, is to
end neither a command without a word nor a worker with all that it carries. Ctrl-C is no part's.
"""


class Interrupted(GansearchError):
    """Ctrl-C that ended a study or a training; the message says what was kept and how to go on."""

    exit_code = 130


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name: ` (did you mean 'hinge'?)`, or the list of what exists."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean '{close[0]}'?)"
    return f" (there are: {', '.join(names)})" if names else ""


def listed(words: Iterable[str], word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`; nothing of none."""
    *first, last = [*words] or [""]
    return f"{', '.join(first)} {word} {last}" if first else last


def either(words: Iterable[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return listed(words, "or")


def seconds_of(variable: str, default: float) -> float:
    """Seconds that an environment variable may say; raises `UserError` if what it says is no number."""
    text = os.environ.get(variable) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):  # of which no moment is ever too late
        raise UserError(f"{variable}={text}: is no number of seconds")
    return seconds

"""Something else for a while, and then what was there before: variables, and names of Ray's own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have environment variables say something while it is open, and then again what they said."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, said in before.items():
            if said is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = said


@contextmanager
def replaced(owner: Any, **others: Any) -> Iterator[None]:
    """Have names of a module or a class stand for something else while it is open, and then again for
    what they stood for. What it does not have itself, as another Ray may not, it is not given.
    """
    before = {name: what for name, what in vars(owner).items() if name in others}
    for name in before:
        setattr(owner, name, others[name])
    try:
        yield
    finally:
        for name, what in before.items():
            setattr(owner, name, what)

"""A line for the user, as it is."""

from __future__ import annotations

from rich.console import Console

from gansearch.masking import writable


def say(console: Console, words: object, style: str | None = None) -> None:
    """Print a line as it is.

    A path, a reason or a name may hold square brackets, which Rich would take for markup and leave out,
    or `:b:`, of which it would make a picture; and be longer than a terminal is wide, where Rich would
    break it in two.

    Args:
        console: where.
        words: what to print.
        style: Rich's name of a colour, or `dim`; None: plainly.
    """
    console.print(
        writable(str(words)), style=style, markup=False, emoji=False, highlight=False, soft_wrap=True
    )

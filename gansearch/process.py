"""The command line as a process: what it sets up, in which words it ends, and with which exit code."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape

from gansearch.errors import Doubt, GansearchError, Interrupted
from gansearch.masking import without_password
from gansearch.tuning.saying import say

OF_THE_MACHINE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EIO,
}
"""What a disk or its owner refuses: the user's to mend, and no mistake of ours."""

GARBAGE = (100_000, 20, 100)
"""Thresholds of `gc` for processes that load torch, Ray or MLflow."""


class CtrlC(KeyboardInterrupt):
    """That of the user at the keyboard, or a batch system's SIGTERM; not one that a part raises."""


def _interrupt(*_: object) -> NoReturn:
    raise CtrlC


@contextmanager
def of_a_command(err: Console) -> Iterator[None]:
    """Have the process be a command's while it is open.

    The user's own parts are found in the folder that it was called in. A mistake of the user's is one
    message and exit code 2; Ctrl-C or SIGTERM, 130; a bug of ours, its trace and 1.

    Args:
        err: where messages and doubts are shown.
    """
    _seldom_collect_garbage()
    try:
        here = os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        _refuse(err, "the folder in which you are is gone: change into another one")
    if here not in sys.path:  # so that `package.module:Thing` finds the user's own parts
        sys.path.insert(0, here)
    warnings.showwarning = partial(_show_warning, err, warnings.showwarning)
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    for number, handler in usual.items():
        if signal.getsignal(number) is handler:  # it may be ignored, by `nohup`
            signal.signal(number, _interrupt)
    try:
        yield
    except Interrupted as interruption:
        say(err, interruption, "yellow")
        sys.exit(interruption.exit_code)
    except GansearchError as error:
        _refuse(err, str(error))
    except (SystemExit, KeyboardInterrupt) as end:
        if words := _interruption_of_a_part(end):
            _refuse(err, words)
        raise
    except BaseException as error:  # a part of the user's may raise any
        if words := _fault_of_a_part(error):
            _refuse(err, words)
        if isinstance(error, OSError) and error.errno in OF_THE_MACHINE:
            where = f"cannot use {error.filename}: " if error.filename else ""
            _refuse(err, f"{where}{error.strerror}")
        # Else a bug of ours, whose trace may quote a secret, to be read in a job's log.
        sys.stderr.write(without_password(traceback.format_exc()))
        sys.exit(1)


def _seldom_collect_garbage() -> None:
    """Look through all objects less often, and not at the end.

    Loading torch, Ray and MLflow makes a million objects that stay. To look for garbage among them took
    a fifth of a command's start, and at its end as long again.
    """
    gc.set_threshold(*GARBAGE)
    atexit.register(_leave_garbage)


def _leave_garbage() -> None:
    if "triton" not in sys.modules:  # which would print pages about the objects that are left
        gc.freeze()


def _refuse(err: Console, words: str) -> NoReturn:
    message = escape(without_password(words))
    err.print(f"[bold red]error[/]: {message}", highlight=False, soft_wrap=True)
    sys.exit(2)


def _fault_of_a_part(error: BaseException) -> str:
    """What a part of the user's raised, in words; empty where it was none of them."""
    from gansearch.training.blame import fault  # noqa: PLC0415

    return fault(error)


def _interruption_of_a_part(end: BaseException) -> str:
    """The same of a KeyboardInterrupt, of which Typer has made an exit; empty where it was Ctrl-C."""
    cause: BaseException | None = end
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return "" if cause is None or isinstance(cause, CtrlC) else _fault_of_a_part(cause)


def _show_warning(
    err: Console, otherwise: Callable[..., None], message: Warning | str, *where: Any
) -> None:
    """Show a doubt in words, and any other warning as Python does."""
    if isinstance(message, Doubt):
        say(err, message, "yellow")
    else:
        otherwise(message, *where)

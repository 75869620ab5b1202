"""How a driver leaves a study before its end: with what is kept, and how to go on, in words."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from gansearch.errors import Interrupted
from gansearch.journal.stored import StoredStudy
from gansearch.tuning.connection import connected
from gansearch.tuning.going_on import resume_command
from gansearch.tuning.head import watched
from gansearch.tuning.saying import say
from gansearch.tuning.where import Where


@contextmanager
def interrupted_in_words(study: StoredStudy, where: Where, *, again: bool = False) -> Iterator[None]:
    """Have Ctrl-C, where nothing ends the study gently any more or yet, say what was kept.

    `again`: configurations are to be trained again, as a command asks and not the study's file.
    """
    try:
        yield
    except KeyboardInterrupt as interruption:
        raise Interrupted(f"stopped {_kept(study, where, again=again)}") from interruption


def _kept(study: StoredStudy, where: Where, *, again: bool) -> str:
    """What is kept of a study that is left at this moment, and how to go on."""
    kept = "every trial that has ended and every report so far is kept"
    if not study.directory.study_file.exists():
        return "before the study was made: nothing was kept, run it again"
    if again and not _is_training_again(study):
        return f"with nothing half done: {kept}; ask for it once more"
    return f"at once: {kept}; go on with `{resume_command(study, where)}`"


@contextmanager
def on_ray(
    study: StoredStudy, where: Where, modules: Sequence[Path], console: Console, *, again: bool = False
) -> Iterator[Any]:
    """Ray, whose head is watched: without it the process ends, in words."""

    def leave(why: str) -> None:
        try:
            console.show_cursor()
            words = f"{why}; stopped {_kept(study, where, again=again)}"
            print(f"error: {words}", file=sys.stderr, flush=True)
        finally:
            os._exit(2)  # as if killed: the study's own thread is in a call of Ray's

    with connected(where.address, modules, where.nice) as ray:
        address = ray.get_runtime_context().gcs_address
        with watched(address, partial(say, console, style="yellow"), leave):
            yield ray


def _is_training_again(study: StoredStudy) -> bool:
    """Whether there are configurations that are to be trained again, and have not been."""
    stability = study.stability(study.journal())
    return stability is not None and not stability.finished

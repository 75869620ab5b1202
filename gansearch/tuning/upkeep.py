"""What is done about a study's files besides its trials: the table is written, checkpoints deleted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gansearch.journal.directory import StudyDirectory
from gansearch.journal.table import write_table
from gansearch.training import checkpoint

log = logging.getLogger(__name__)

TABLE_EVERY, TABLE_PUT_EVERY = 10.0, 60.0
"""Seconds between two writings of `trials.csv`, on a file system and in an object store."""

AT_ONCE = 8
"""Requests to an object store that are on their way at a time."""


class Upkeep:
    """Keeps a study's files tidy.

    In an object store each of these things is a request or several, of tens of milliseconds each, so
    they are done beside the driver's loop. None of them is worth the study: what fails is logged, and
    done by the next driver, or when the study is resumed.

    Args:
        directory: of the study.
    """

    def __init__(self, directory: StudyDirectory) -> None:
        self._directory = directory
        local = isinstance(directory.path, Path)
        self.table_every = TABLE_EVERY if local else TABLE_PUT_EVERY
        self._pool = None if local else ThreadPoolExecutor(AT_ONCE, "gansearch-upkeep")
        self._writing = threading.Lock()
        self._closing = self._away = False
        self._tables = 0

    def keep(self, number: int, steps: Collection[int]) -> None:
        """Delete all checkpoints of an ended trial but those of some steps."""
        folder = self._directory.trial(number)
        self._do(lambda: checkpoint.keep(folder, steps, tidy=True), f"{folder} is not tidied")

    def write_table(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write `trials.csv`; of several writings that are due, the last."""
        self._tables += 1
        table, mine = self._directory.table, self._tables

        def write() -> None:
            with self._writing:
                if mine == self._tables:
                    write_table(table, rows)

        self._do(write, f"{table} is not written")

    def close(self) -> None:
        """Wait for what is under way, but not for a store that is away."""
        self._closing = True
        if self._pool is not None:
            self._pool.shutdown()

    def _do(self, action: Callable[[], None], failed: str) -> None:
        def carefully() -> None:
            if self._away:
                return
            try:
                action()
            except Exception as error:  # a driver's own kinds, which nobody would hear of in a pool
                log.warning("%s: %s", failed, error)
                self._away = self._closing

        if self._pool is None:
            carefully()
        else:
            self._pool.submit(carefully)

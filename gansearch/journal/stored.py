"""A stored study: its directory, and the storage that holds its journals."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any

from gansearch import files
from gansearch.arguments import Whole
from gansearch.errors import StudyError
from gansearch.files import Place
from gansearch.journal.directory import ERROR, JOURNAL_FILE, LOG, StudyDirectory
from gansearch.journal.holding import Hold, TakenError
from gansearch.masking import shows_password

if TYPE_CHECKING:
    from gansearch.journal.journal import Journal
    from gansearch.study.roster import Roster


@dataclass(frozen=True)
class StoredStudy(Whole):
    """Which study a command is about, resolved once.

    Attributes:
        directory: where its files are.
        storage: the URL of the Optuna storage that holds its journals; None: journal files.
    """

    directory: StudyDirectory
    storage: str | None = None

    @classmethod
    def find(cls, name: str | None, runs: Place, storage: str | None = None) -> StoredStudy:
        """A study by its name or path, None being the newest one.

        Its storage is the one that is said, else its journal file, else GANSEARCH_STORAGE. Raises
        `StudyError` where there is no such study.
        """
        found = StudyDirectory.newest(runs) if name is None else StudyDirectory.find(name, runs)
        if storage or (found.path / JOURNAL_FILE).exists():
            return cls(found, storage)
        return cls(found, _of_environment())

    @classmethod
    def among(cls, name: str, runs: Place, storage: str | None = None) -> StoredStudy:
        """One of several studies that need not be kept alike: a storage that is said has those that
        have no journal file. Raises `StudyError` where there is no such study.
        """
        found = cls.find(name, runs, storage)
        return cls(found.directory) if (found.directory.path / JOURNAL_FILE).exists() else found

    @classmethod
    def planned(
        cls, name: str | None, stem: str, runs: Place, storage: str | None = None
    ) -> StoredStudy:
        """A study as it would be made now; see `StudyDirectory.new`."""
        return cls(StudyDirectory.new(name, stem, runs), storage or _of_environment())

    @classmethod
    @contextmanager
    def launching(
        cls, name: str | None, stem: str, runs: Place, storage: str | None = None
    ) -> Iterator[StoredStudy]:
        """A study that is to be made; see `StudyDirectory.launching`."""
        with StudyDirectory.launching(name, stem, runs) as directory:
            yield cls(directory, storage or _of_environment())

    @property
    def name(self) -> str:
        """The study's name."""
        return self.directory.name

    @property
    def runs_dir(self) -> Place:
        """The folder of all studies."""
        return self.directory.runs_dir

    @property
    def called(self) -> str:
        """How a command names it that takes `--storage`: with that, where nothing else says it.

        One with a password is left to the environment, where it belongs.
        """
        storage = self.storage
        if storage is None or storage == _of_environment() or shows_password(storage):
            return self.directory.called
        return f"{self.directory.called} --storage {quote(storage)}"

    def journal(self, *, writer: bool = False) -> Journal:
        """Open the journal of its search; see `Journal.open`."""
        from gansearch.journal.journal import Journal  # noqa: PLC0415  it loads Optuna

        return Journal.open(self.directory.path, self.name, self.storage, writer=writer)

    def check_unused(self, *, make: bool = True) -> None:
        """Raise `StudyError` if its database has a study of its name, as of another runs directory, and
        `StorageError` if it could not be kept there.

        Args:
            make: its tables, where they are missing; False: only look.
        """
        from gansearch.journal.journal import Journal  # noqa: PLC0415
        from gansearch.journal.opening import is_laid_out  # noqa: PLC0415

        if self.storage is not None and (is_laid_out(self.storage) or make):
            Journal.check_unused(self.name, self.storage)

    def create(self, facts: Mapping[str, Any], folder: Place) -> Journal:
        """Begin the journal of its search, in a `folder` that is to be the study's."""
        from gansearch.journal.journal import Journal  # noqa: PLC0415

        return Journal.create(folder, self.name, facts, self.storage)

    def stability(self, search: Journal, *, writer: bool = False) -> Journal | None:
        """Open the journal of what is trained again, beside its search's; None: there is none yet."""
        return search.open_stability(self.directory.stability.path, writer=writer)

    def create_stability(self, search: Journal, roster: Roster, facts: Mapping[str, Any]) -> Journal:
        """Begin that journal; see `Journal.create_stability`."""
        return search.create_stability(self.directory.stability.path, roster, facts)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the study as its only driver; the hold dies with the process.

        Raises `StudyError` where another process holds the study.
        """
        try:
            with self._hold.taken(self._leave):
                yield
        except TakenError as error:
            raise self._busy from error

    def check_free(self) -> None:
        """Raise `StudyError` where another process holds the study; nothing is written to see that."""
        if self.is_held:
            raise self._busy

    @property
    def _busy(self) -> StudyError:
        return StudyError(
            f"the study '{self.name}' is being run by another process: "
            f"watch it with `gansearch status {self.called}`"
        )

    @property
    def is_held(self) -> bool:
        """Whether a driver is at work on the study, on this machine or another one."""
        return self._hold.is_taken

    def check_holdable(self) -> None:
        """Raise `UserError` where no driver could hold the study."""
        self._hold.check()

    @property
    def _hold(self) -> Hold:
        return Hold(self.directory.path, self.storage)

    def _leave(self) -> None:
        """Die as if killed, which loses nothing; to write on would, for another driver is at work."""
        print(
            f"error: another process took the study '{self.name}' over while its database was away",
            file=sys.stderr,
            flush=True,
        )
        os._exit(2)

    def trial_log(self, number: int, *, seeds: bool = False) -> str:
        """What a trial printed while it trained, then the error that ended it; "" for neither.

        Args:
            number: of the trial.
            seeds: whether it is one of the stability study.

        Raises:
            StudyError: there is no such trial.
        """
        folder = (self.directory.stability if seeds else self.directory).trial(number)
        with files.reachable(folder):
            if not folder.is_dir():
                other = self.directory if seeds else self.directory.stability
                mend = ""
                if other.trial(number).is_dir():
                    mend = f": one of the {'search' if seeds else 'stability study'} has that number"
                    mend += f" ({'without' if seeds else 'with'} --seeds)"
                raise StudyError(f"there is nothing of trial {number} in {self.directory.path}{mend}")
            paths = [path for path in (folder / LOG, folder / ERROR) if path.is_file()]
            return "".join(files.read(path).decode(errors="replace") for path in paths)


def _of_environment() -> str | None:
    return os.environ.get("GANSEARCH_STORAGE") or None

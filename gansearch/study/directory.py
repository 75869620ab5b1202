"""Where a study lives: `runs/NAME/` and what is in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from gansearch.errors import StudyError, nearest

LOG, ERROR = "log.txt", "error.txt"
"""In a trial's folder: what it printed, and the traceback of the error that ended it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class StudyDirectory:
    """The paths of one study. Holds no state: the journal does.

    Attributes:
        path: `runs/NAME`, absolute.
    """

    path: Path

    @classmethod
    def find(cls, name: str, runs_dir: Path) -> StudyDirectory:
        """The study of a name under `runs_dir`, or at a path; raises `StudyError` if none is there."""
        for path in (runs_dir / name, Path(name)):
            if (path / "study.yaml").is_file():
                return cls(path.resolve())
        known = [path.name for path in _studies(runs_dir)]
        raise StudyError(f"there is no study '{name}' in {runs_dir}{nearest(name, known)}")

    @classmethod
    def new(cls, name: str | None, stem: str, runs_dir: Path) -> StudyDirectory:
        """A place for a new study: `name`, which must be free, or `stem` with the first free number.

        Nothing is created. Raises `StudyError` for a name that is taken, or that is not a plain file
        name, so that no study can lie outside its runs directory.
        """
        if name is None:
            stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "study"
            names = [stem, *(f"{stem}-{i}" for i in range(2, 10_000))]
            name = next(n for n in names if not (runs_dir / n).exists())
        if not _NAME.fullmatch(name):
            allowed = "letters, digits, '.', '_' and '-', beginning with a letter or digit"
            raise StudyError(f"'{name}' cannot be a study's name: use {allowed}")
        _check_writable(runs_dir)
        path = runs_dir / name
        if path.exists():
            raise StudyError(
                f"{path} exists already: go on with it by `gansearch resume {name}`, "
                "or take another --name"
            )
        return cls(path.resolve())

    @classmethod
    def newest(cls, runs_dir: Path) -> StudyDirectory:
        """The study launched last; raises `StudyError` where there is none."""
        paths = sorted(_studies(runs_dir), key=lambda path: (path / "study.yaml").stat().st_mtime)
        if not paths:
            raise StudyError(f"there is no study in {runs_dir}")
        return cls(paths[-1].resolve())

    @property
    def name(self) -> str:
        """The study's name."""
        return self.path.name

    @property
    def runs_dir(self) -> Path:
        """The folder of all studies."""
        return self.path.parent

    @property
    def study_file(self) -> Path:
        """The study as it was resolved when it was launched."""
        return self.path / "study.yaml"

    @property
    def table(self) -> Path:
        """One row a trial."""
        return self.path / "trials.csv"

    @property
    def reference(self) -> Path:
        """The real side of the metrics, which all its trials are measured against."""
        return self.path / "reference.safetensors"

    def trial(self, number: int) -> Path:
        """The folder of one trial: its checkpoints and samples."""
        return self.path / "trials" / f"{number:04d}"

    def sample(self, number: int, step: int) -> Path:
        """The sample grid of one report."""
        return self.trial(number) / "samples" / f"step-{step:06d}.png"

    @property
    def stability(self) -> StudyDirectory:
        """Where the study's configurations are trained again: journal, table, trials of their own."""
        return StudyDirectory(self.path / "stability")

    @property
    def report(self) -> Path:
        """The folder of the study's report."""
        return self.path / "report"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the study as its only driver; the lock dies with the process.

        Raises `StudyError` where another process holds it.
        """
        # A moment's patience: `is_held` of a reader takes the lock for an instant.
        lock = FileLock(self.path / ".lock", timeout=2)
        try:
            lock.acquire()
        except Timeout as error:
            raise StudyError(
                f"the study '{self.name}' is being run by another process: "
                f"watch it with `gansearch status {self.name}`"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def is_held(self) -> bool:
        """Whether a driver is at work on the study, on this machine or one that shares its disk."""
        if not (self.path / ".lock").exists() or not os.access(self.path, os.W_OK):
            return False
        try:
            with FileLock(self.path / ".lock", timeout=0):
                return False
        except Timeout:
            return True


def _check_writable(folder: Path) -> None:
    """Raise `StudyError` where a folder is not, or could not be made, for want of a right to."""
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise StudyError(f"{existing} is a file: take another --runs-dir")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StudyError(f"{existing} is not yours to write in: take another --runs-dir")


def _studies(runs_dir: Path) -> list[Path]:
    """The folders of studies; hidden ones were never finished being made."""
    found = (path.parent for path in runs_dir.glob("*/study.yaml"))
    return [path for path in found if not path.name.startswith(".")]

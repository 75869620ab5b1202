"""Where a study lives: `runs/NAME/` and what is in it."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import re
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from filelock import FileLock, Timeout

from gansearch import files
from gansearch.errors import StudyError, nearest
from gansearch.files import Place

RUNS = "runs"
"""The folder of studies, where neither an option nor GANSEARCH_RUNS says another."""

JOURNAL_FILE = "journal.log"
"""In a study's directory, where no database holds its journal."""

LOG, ERROR = "log.txt", "error.txt"
"""In a trial's folder: what it printed, and the traceback of the error that ended it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

RESERVED = {"mlartifacts"} | {
    f"mlflow.db{ending}" for ending in ("", "-journal", "-shm", "-wal", ".unfinished")
}
"""Names in a runs directory that are MLflow's: a study of such a name would block its store."""


def check_name(name: str) -> None:
    """Raise `StudyError` for what is no plain file name, and so could lie outside a runs directory."""
    if not _NAME.fullmatch(name):
        allowed = "letters, digits, '.', '_' and '-', beginning with a letter or digit"
        raise StudyError(f"'{name}' cannot be a study's name: use {allowed}")
    if name.lower() in RESERVED:  # some file systems do not tell case apart
        raise StudyError(f"'{name}' cannot be a study's name: MLflow keeps its records under it")


def names_from(stem: str) -> Iterator[str]:
    """Names for a study of a file: its stem, as far as it can be one, then with numbers from 2 on."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).lstrip("-._")[:90].rstrip("-.") or "study"
    numbered = (f"{plain}-{number}" for number in itertools.count(2))
    return (name for name in itertools.chain([plain], numbered) if name.lower() not in RESERVED)


class ThereError(StudyError):
    """A new study would lie where one lies already.

    Attributes:
        path: where, as it is shown.
        study: what is there.
    """

    def __init__(self, path: Place, study: StudyDirectory, command: str) -> None:
        self.path, self.study = path, study
        super().__init__(f"{path} exists already: go on with it by `{command}`, or take another --name")


@dataclass(frozen=True)
class StudyDirectory:
    """The paths of one study. Holds no state: the journal does.

    Attributes:
        path: `runs/NAME`, absolute, or `s3://bucket/runs/NAME`.
    """

    path: Place

    @classmethod
    def find(cls, name: str, runs_dir: Place) -> StudyDirectory:
        """The study of a name under `runs_dir`, or at a path or URI; raises `StudyError` for none."""
        name = name.rstrip("/") or name  # as shells complete the name of a folder
        plain = name not in (".", "..") and "/" not in name
        places = [runs_dir / name, files.place(name)] if plain else [files.place(name)]
        for path in places:
            with files.reachable(path), files.findable(name, "a study ", StudyError):
                if (path / "study.yaml").is_file() or _restored(path):
                    return cls(path.resolve())
        known = [path.name for path in _studies(runs_dir)]
        raise StudyError(f"there is no study '{name}' in {runs_dir}{nearest(name, known)}")

    @classmethod
    @contextmanager
    def launching(cls, name: str | None, stem: str, runs_dir: Place) -> Iterator[StudyDirectory]:
        """A place for a new study as `new` finds it, given to no other launch on this machine.

        Of two launches of one file at one moment the second takes the next number at once. The claim
        ends with the process, however it ends.

        Raises:
            StudyError: as for `new`; or another launch has a name that was asked for.
        """
        claimed: set[str] = set()
        while True:
            directory = cls.new(name, stem, runs_dir, claimed)
            claim = FileLock(_claim_file(directory.path), timeout=0)
            try:
                claim.acquire()
            except Timeout as error:
                if name is not None:
                    words = f"a study '{name}' is being launched in {runs_dir} by another process"
                    raise StudyError(f"{words}: take another --name") from error
                claimed.add(directory.name)
                continue
            try:
                if not directory.path.exists():  # made by another launch since `new` looked
                    yield directory
                    return
            finally:
                Path(claim.lock_file).unlink(missing_ok=True)
                claim.release()

    @classmethod
    def new(
        cls, name: str | None, stem: str, runs_dir: Place, besides: Collection[str] = ()
    ) -> StudyDirectory:
        """A place for a new study: `name`, which must be free, or `stem` with the first free number.

        Nothing is created. Raises `StudyError` for a name that is taken, or that is not a plain file
        name, so that no study can lie outside its runs directory. Names `besides` count as taken.
        """
        if name is None:
            names = (n for n in names_from(stem) if n not in besides)
            with files.reachable(runs_dir):
                name = next(n for n in names if not (runs_dir / n).exists())
        check_name(name)
        files.check_writable(runs_dir)
        path = runs_dir / name
        with files.reachable(path):
            if (path / "study.yaml").exists():
                study = cls(path.resolve())
                raise ThereError(path, study, f"gansearch resume {study.called}")
            if path.exists() or path.is_symlink():  # one to nowhere, too: we would write there
                raise StudyError(f"{path} exists already, and is no study: take another --name")
        return cls(path.resolve())

    @classmethod
    def newest(cls, runs_dir: Place) -> StudyDirectory:
        """The study launched last; raises `StudyError` where there is none."""
        with files.reachable(runs_dir):
            paths = sorted(_studies(runs_dir), key=lambda path: (path / "study.yaml").stat().st_mtime)
        if not paths:
            raise StudyError(f"there is no study in {runs_dir}")
        return cls(paths[-1].resolve())

    @property
    def name(self) -> str:
        """The study's name."""
        return self.path.name

    def instead_of(self, stem: str) -> StudyDirectory | None:
        """The study that has the first name of a file's stem; None: this one has it, or no study."""
        first = next(names_from(stem))
        path = self.runs_dir / first
        with files.reachable(path):
            taken = first != self.name and (path / "study.yaml").is_file()
        return StudyDirectory(path) if taken else None

    @property
    def runs_dir(self) -> Place:
        """The folder of all studies."""
        return self.path.parent

    @property
    def called(self) -> str:
        """How a command names it, quoted for a shell: by its name where studies are looked for
        unasked, else by its path.
        """
        unasked = files.place(os.environ.get("GANSEARCH_RUNS") or RUNS).resolve()
        return quote(self.name if str(self.runs_dir) == str(unasked) else str(self.path))

    @property
    def study_file(self) -> Place:
        """The study as it was resolved when it was launched."""
        return self.path / "study.yaml"

    def written(self) -> str:
        """What the study file says now, in whatever bytes somebody has saved it."""
        with files.reachable(self.study_file):
            return files.read(self.study_file).decode(errors="replace")

    @property
    def table(self) -> Place:
        """One row a trial."""
        return self.path / "trials.csv"

    @property
    def reference(self) -> Place:
        """The real side of the metrics, which all its trials are measured against."""
        return self.path / "reference.safetensors"

    @property
    def real_images(self) -> Place:
        """A grid of real images, to be shown beside samples; studies of version 0.1.0 have none."""
        return self.path / "real.png"

    @property
    def modules(self) -> Place:
        """The user's own modules that the study names, as they were when it was launched."""
        return self.path / "modules"

    def trial(self, number: int) -> Place:
        """The folder of one trial: its checkpoints and samples."""
        return self.path / "trials" / f"{number:04d}"

    def sample(self, number: int, step: int) -> Place:
        """The sample grid of one report."""
        return self.trial(number) / "samples" / f"step-{step:06d}.png"

    @property
    def stability(self) -> StudyDirectory:
        """Where the study's configurations are trained again: journal, table, trials of their own."""
        return StudyDirectory(self.path / "stability")

    @property
    def report(self) -> Place:
        """The folder of the study's report."""
        return self.path / "report"


def _restored(folder: Place) -> bool:
    """Whether a folder without its study file is a study's all the same: then its journal has the text,
    which is put back.
    """
    journal = folder / JOURNAL_FILE
    if not isinstance(journal, Path) or not journal.is_file():
        return False
    with journal.open("rb") as lines:
        texts = [text for line in lines if (text := _study_text(line)) is not None]
    if not texts:
        return False
    file = folder / "study.yaml"
    try:
        files.write(file, texts[-1])
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return True  # who may only read needs no more than the journal
        raise
    print(f"{file} was gone: restored from the journal", file=sys.stderr, flush=True)
    return True


def _study_text(line: bytes) -> str | None:
    """The study file that a journal's line holds; None of any other line, damaged ones among them."""
    if b'"study"' not in line:
        return None
    try:
        text = json.loads(line)["user_attr"]["study"]
    except (ValueError, TypeError, KeyError):
        return None
    return text if isinstance(text, str) else None


def _studies(runs_dir: Place) -> list[Place]:
    """The folders of studies; hidden ones were never finished being made."""
    with files.reachable(runs_dir):
        found = [path.parent for path in runs_dir.glob("*/study.yaml")]
    return [path for path in found if not path.name.startswith(".")]


def _claim_file(path: Place) -> str:
    """A launch's lock file, outside the runs directory: nothing is made there before all is checked."""
    key = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    return str(Path(tempfile.gettempdir()) / f"gansearch-launch-{key}.lock")

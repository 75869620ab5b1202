"""Reading what a search is to start from: configuration files, exports, earlier studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gansearch import files
from gansearch.errors import InvalidInput, UserError
from gansearch.files import Place
from gansearch.journal.stored import StoredStudy
from gansearch.search.learning import learn
from gansearch.study.document import configuration_file, read_document
from gansearch.study.learnt import Learnt
from gansearch.study.plan import Earlier, Start, of_a_study
from gansearch.study.records import count
from gansearch.study.spec import StudySpec
from gansearch.study.starting import Given
from gansearch.study.weights import locate_weights


@dataclass(frozen=True)
class Known:
    """Where a study file's configuration files and earlier studies lie.

    Attributes:
        beside: the study file's folder.
        runs: the folder of all studies; None: they lie elsewhere, and are read there.
        storage: an Optuna storage URL, in which those are that have no journal file.
        best: ranks the configurations of a study; needed where they are read here.
    """

    beside: Place
    runs: Place | None = None
    storage: str | None = None
    best: Callable[[StoredStudy], Given] | None = None

    def __call__(self, start: Start) -> Given:
        """The configurations that a start names, each with what it is called; raises `UserError`."""
        if start.config is not None:
            here = self.runs is not None
            return [(start.config, _read(self._file(start.config), here=here))]
        if start.study is None or self.runs is None:
            return []
        assert self.best is not None, "studies are read here, so somebody is to rank them"
        study, wanted = StoredStudy.among(start.study, self.runs, self.storage), start.top or 1
        found = self.best(study)
        if len(found) < wanted:
            have = count(len(found), "configuration")
            which = "with a value, but for those that failed each time they were trained again"
            raise UserError(f"'{study.name}' has {have} to begin with, not {wanted}: {which}")
        return found[:wanted]

    def learn(self, earlier: Earlier, spec: StudySpec) -> Learnt:
        """What a search can learn from an earlier study; raises `UserError`."""
        if self.runs is None:
            return Learnt(earlier.study, (), words=f"'{earlier.study}' is read where the study runs")
        return learn(StoredStudy.among(earlier.study, self.runs, self.storage), earlier, spec)

    def _file(self, name: str) -> Place:
        """A configuration's file: as it is named from here, else from beside the study file."""
        here = files.place(name)
        found = [here] if "://" in name or Path(name).is_absolute() else [here, self.beside / name]
        study = "/" not in name
        for path in found:
            with files.reachable(path), files.findable(name, ""):
                if (file := configuration_file(path)).is_file():
                    return file
                study = study or (path / "study.yaml").is_file()
        mend = f"; the best trials of a study are {{study: {name}, top: 1}}" if study else ""
        raise UserError(f"there is no file '{name}', and no export{mend}")


def _read(path: Place, *, here: bool) -> Mapping[str, Any]:
    """The configuration in a file; `here`: the study runs here, as its weights lie where they do."""
    try:
        document = read_document(path)
    except InvalidInput as error:
        raise UserError(f"{path}: {'; '.join(map(str, error.problems))}") from error
    if here:
        locate_weights(document)
    tree: dict[str, Any] = document.tree
    if words := of_a_study(tree):
        raise UserError(f"{path}: {words}; the best trials of a study are {{study: NAME, top: 1}}")
    return tree

"""Training configurations again: what was asked for, checked, and carried out.

A study's best are trained on more seeds, or the neighbours of one; configuration files make a study of
their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from gansearch import files
from gansearch.errors import StudyError, UserError
from gansearch.journal.stored import StoredStudy
from gansearch.search.selection import Around
from gansearch.study.document import configuration_file
from gansearch.study.mistakes import Mistakes, validate
from gansearch.study.plan import Stability
from gansearch.tuning import from_configs, launch
from gansearch.tuning.going_on import as_was_said
from gansearch.tuning.where import Where


@dataclass(frozen=True)
class Wish:
    """What is asked for besides names; None and what is empty is left to the study's file.

    Attributes:
        top: how many of the study's best.
        seeds: how often each is trained in all.
        per: the best of the whole `study`, or of each `loss`.
        default: whether the configuration with every axis at its default joins them.
        around: in (0, 1): the neighbours of one configuration instead, so far away.
        of: that configuration's label or trial number; "": the best.
        axes: dotted paths of the numbers to change.
        overrides: values in place of the configuration files', by dotted key.
        name: of a new study.
    """

    top: int | None = None
    seeds: int | None = None
    per: str | None = None
    default: bool | None = None
    around: float | None = None
    of: str = ""
    axes: Sequence[str] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None

    @property
    def choosing(self) -> dict[str, Any]:
        """Which of a study's configurations, as keys of its file's section."""
        asked = {"top": self.top, "per": self.per, "default": self.default}
        return {key: value for key, value in asked.items() if value is not None}

    @property
    def section(self) -> dict[str, Any]:
        """All that is asked in the words of a study file's section."""
        return self.choosing | ({} if self.seeds is None else {"seeds": self.seeds})


def train_again(
    names: Sequence[str],
    wish: Wish,
    where: Where,
    console: Console,
    best: Callable[[StoredStudy], str],
) -> tuple[StoredStudy, bool]:
    """Train configurations again on fresh seeds, without pruning.

    Args:
        names: a study, configuration files, or both.
        wish: what is asked for.
        where: it runs, and with what.
        console: where progress is shown.
        best: the label of a study's best configuration.

    Returns:
        The study, and whether all of it has run.

    Raises:
        UserError: for anything that the user can mend.
    """
    study, configs = _study_and_files(names, where)
    _check(wish, has_study=study is not None, has_files=bool(configs))
    given = from_configs.read_configs(configs, where.paths, wish.overrides)
    if study is None:
        spec, images = from_configs.study_of(given, _section(wish.section), 0, where.paths)
        stem = f"{next(iter(given))}-stability" if len(given) == 1 else "stability"
        with (
            as_was_said(where),
            StoredStudy.launching(wish.name, stem, where.runs, where.storage) as study,
        ):
            return study, launch.run(spec, images, study, where, console)
    planned = study.journal().asked.get("stability") or {}
    files_alone = {"top": 0, "default": False} if given and not wish.choosing else {}
    wanted = _section(planned | wish.section | files_alone)
    if wish.around is None:
        request = launch.Request(wanted, given)
    else:
        around = Around(wish.around, wish.of, tuple(wish.axes))
        request = launch.Request(wanted, given, around, "" if wish.of else best(study))
    return study, launch.confirm(study, request, where, console)


def _study_and_files(names: Sequence[str], where: Where) -> tuple[StoredStudy | None, list[Path]]:
    """The study among what is named, if there is one, and the configuration files."""
    given = [name for name in names if _is_configuration(name, where)]
    configs, studies = [Path(name) for name in given], [name for name in names if name not in given]
    if len(studies) > 1:
        raise UserError(f"one study at a time: {', '.join(studies)}")
    if not names:
        raise UserError("name a study, or configuration files")
    study = StoredStudy.find(studies[0], where.runs, where.storage) if studies else None
    return study, configs


def _is_configuration(name: str, where: Where) -> bool:
    """A file, or the folder of an export, unless a study is called so."""
    if name.endswith((".yaml", ".yml")):
        return True
    if configuration_file(path := files.place(name)) == path:
        return False
    try:
        StoredStudy.find(name, where.runs, where.storage)
    except StudyError:
        return True
    return False


def _check(wish: Wish, *, has_study: bool, has_files: bool) -> None:
    """Refuse what would have no effect: it is a misunderstanding."""
    choosing = {f"--{key}": value for key, value in wish.choosing.items()}
    if wish.around is None:
        _refuse({"--of": wish.of, "--axes": wish.axes}, "goes with --around")
    elif not has_study:
        raise UserError(
            "neighbours are of a study's configuration: train the file first, then say "
            "`gansearch stability NAME --around`"
        )
    elif not 0 < wish.around < 1:
        what = "must lie between 0 and 1, as 0.5 for half to one and a half"
        raise UserError(f"--around {wish.around:g}: {what}")
    else:
        _refuse(choosing | {"configuration files": has_files or None}, "does not go with --around")
    if not has_study:
        _refuse(choosing, "needs a study to choose from")
    else:
        _refuse({"--name": wish.name}, "is for a new study: this one has a name")
    if not has_files:
        _refuse({"--set": wish.overrides}, "is for configuration files alone")


def _refuse(options: Mapping[str, Any], why: str) -> None:
    for option, value in options.items():
        if value not in (None, "", (), [], {}):
            raise UserError(f"{option} {why}")


def _section(tree: Mapping[str, Any]) -> Stability:
    mistakes: Mistakes = []
    section = validate(Stability, tree, mistakes)
    if mistakes:
        path, message = mistakes[0]
        raise UserError(f"--{path[0]}: {message}")
    return section

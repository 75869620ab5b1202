"""Study and configuration files, checked to the last part before anything is created.

The study room knows the grammar; this one also knows the parts, their defaults and what only building
them shows, and tells all the mistakes of a file at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gansearch import files
from gansearch.data import DATASETS, DataSet
from gansearch.data.load import load
from gansearch.errors import RAISED, InvalidInput, Problem, UserError, nearest
from gansearch.files import Place
from gansearch.masking import without_password
from gansearch.study.config import AXES_ALLOWED, TrialConfig
from gansearch.study.document import Document, configuration_file, read_document
from gansearch.study.mistakes import Mistakes, place_all, validate
from gansearch.study.plan import of_a_study
from gansearch.study.spec import Complete, Learn, StudySpec, build_study, check_config
from gansearch.study.starting import Find, find_nothing
from gansearch.study.weights import locate_weights, parts_at
from gansearch.training import settings
from gansearch.training.blame import PARTS, fault
from gansearch.training.completion import complete, complete_plan, unsaid
from gansearch.training.idle import idle

T = TypeVar("T")


def read_study(
    document: Document,
    data_root: Path,
    known: Mistakes | None = None,
    find: Find = find_nothing,
    learn: Learn | None = None,
    *,
    launched: bool = False,
) -> tuple[StudySpec, DataSet]:
    """Check a study and load the data that it names.

    Args:
        document: the parsed file.
        data_root: the folder of all data sets.
        known: mistakes that were found already.
        find: reads the configurations with which the search is to begin.
        learn: reads what can be learnt from an earlier study; None: nothing is.
        launched: it has begun, perhaps under a version that knew less of what makes no sense.

    Raises:
        InvalidInput: with every mistake in the file, a missing data set among them.
    """
    if launched:  # version 0.1.0 began nowhere, and its searches go on as they began
        document.tree.setdefault("search", {}).setdefault("start", [])
    else:
        locate_weights(document)
    build = functools.partial(
        build_study,
        complete_plan=complete_plan,
        unsaid=unsaid,
        find=find,
        learn=learn,
        launched=launched,
    )
    named = [] if launched else _misplaced(document)
    return _read(document, data_root, build, [*named, *(known or [])], launched=launched)


def check_study(document: Document, find: Find = find_nothing) -> StudySpec:
    """Tell all the mistakes in a study that can be told without its data; raises `InvalidInput`."""
    completing = functools.partial(complete, domain=None)
    known = [*_misplaced(document), *document.secrets()]
    return build_study(document, completing, complete_plan, unsaid, known, find)


def _misplaced(document: Document) -> Mistakes:
    """Axes that stand where there can be none, and what changes nothing where it stands."""
    return [*_searched_names(document), *idle(document)]


def _searched_names(document: Document) -> Mistakes:
    """The names of parts that are axes; a part's defaults are its own, so the part is to be one."""
    return [
        ((*place, "name"), f"cannot be an axis: the part can, with its own options: {_rewritten(part)}")
        for path in PARTS
        if path[0] in AXES_ALLOWED
        for place, part in parts_at(document.tree, path)
        if isinstance(part.get("name"), dict) and isinstance(part["name"].get("choice"), list)
    ]


def _rewritten(part: Mapping[str, Any]) -> str:
    return f"{{choice: [{', '.join(f'{{name: {name}}}' for name in part['name']['choice'])}]}}"


def load_study(
    path: str | Place,
    data_root: Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    launched: bool = False,
    find: Find = find_nothing,
    learn: Learn | None = None,
) -> tuple[StudySpec, DataSet]:
    """Read and check a study file, and load its data.

    Args:
        path: the YAML file.
        data_root: the folder of all data sets.
        overrides: values in place of the file's, by dotted key: {"search.trials": 8}.
        launched: the study has already been launched, so secrets in its file no longer stop it.
        find: reads the configurations with which the search is to begin.
        learn: reads what can be learnt from an earlier study; None: nothing is.

    Raises:
        InvalidInput: with every mistake in the file, a missing data set among them.
    """
    document = read_document(files.place(path))
    override(document, overrides or {})
    known = [] if launched else document.secrets()
    return read_study(document, data_root, known, find, learn, launched=launched)


def override(document: Document, overrides: Mapping[str, Any]) -> None:
    """Put values in the place of a study file's, by dotted key; raises `UserError`."""
    for key, value in overrides.items():
        document.override(key, value)
    search = document.tree.get("search")
    budget = search.get("budget") if isinstance(search, dict) else None
    if isinstance(search, dict) and isinstance(budget, dict):  # the same number has two places
        if "search.trials" in overrides:
            budget.pop("trials", None)
        elif "trials" in budget and overrides.keys() & {"search.budget", "search.budget.trials"}:
            search.pop("trials", None)


def load_config(
    path: str | Path,
    data_root: str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    begun: bool = False,
) -> tuple[TrialConfig, DataSet]:
    """Read and check one trial's configuration file, and load its data; raises `InvalidInput`.

    Args:
        path: the YAML file, or the folder of an export.
        data_root: the folder of all data sets.
        overrides: values in place of the file's, by dotted key.
        begun: its training has, and is to go on.
    """
    document = read_document(configuration_file(Path(path)))
    if words := of_a_study(document.tree):
        raise InvalidInput(document.source, [Problem("", f"{words}: `gansearch run` takes it")])
    for key, value in (overrides or {}).items():
        document.override(key, value)
    locate_weights(document)
    return _read(document, Path(data_root), _build_config, document.secrets(), launched=begun)


def _read(
    document: Document, root: Path, build: Callable[..., T], known: Mistakes, *, launched: bool = False
) -> tuple[T, DataSet]:
    data, missing = _find_data(document, root)
    domain = data.domain if data else None
    completing = functools.partial(complete, domain=domain, launched=launched)
    built = build(document, completing, known=[*missing, *known])
    if data is None:
        raise InvalidInput(document.source, place_all(document, missing))
    return built, data


def _find_data(document: Document, root: Path) -> tuple[DataSet | None, Mistakes]:
    """The data of a file, or why not; what is wrong with the section itself is told elsewhere."""
    mistakes: Mistakes = []
    part = validate(TrialConfig, {"data": document.tree.get("data", {})}, mistakes).data
    if settings.changed_by_import(part.name):  # as the section's completion tells
        return None, []
    if mistakes or DATASETS.check(part.name, part.options):
        return None, []
    try:
        with settings.left_alone(f"the data set '{part.name}'"):
            return load(
                part.name, part.options, root=root, split="train", image_size=part.image_size
            ), []
    except UserError as error:
        return None, [(("data",), without_password(str(error)))]
    except RAISED as error:  # a loader of the user's own may raise anything
        if not (words := fault(error)):
            raise
        return None, [(("data",), words.replace("your code", f"the data set '{part.name}'", 1))]


def _build_config(document: Document, completing: Complete, known: Mistakes) -> TrialConfig:
    keys = TrialConfig.model_fields
    config, mistakes = check_config({k: v for k, v in document.tree.items() if k in keys}, completing)
    for key in document.tree.keys() - keys:
        mistakes.append(((key,), f"this key is not a configuration's{nearest(key, keys)}"))
    mistakes += known
    if mistakes:
        raise InvalidInput(document.source, place_all(document, mistakes))
    return config

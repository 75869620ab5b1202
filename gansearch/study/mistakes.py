"""What is wrong with a study file, in words a user can act on: the place, the mistake, the mend."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gansearch.errors import Problem, nearest
from gansearch.study.axes import in_full
from gansearch.study.document import AXIS_KEYS, Document, Path_
from gansearch.study.sections import Section, Written

S = TypeVar("S", bound=Section)


Mistakes = list[tuple[Path_, str]]


AXIS = object()


def place_all(document: Document, mistakes: list[tuple[Path_, str]]) -> list[Problem]:
    """Problems in the order of the file, each once."""
    unique = dict.fromkeys(mistakes)
    ordered = sorted(unique, key=lambda item: document.line(item[0]) or 0)
    return [Problem(document.place(path), message) for path, message in ordered]


def validate(model: type[S], tree: Mapping[str, Any], mistakes: Mistakes) -> S:
    """Validate plain values; what is mistaken is added to `mistakes` as (path, message).

    What is mistaken stands at its default in the result, so that the rest can be checked further.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        here = explained(model, tree, error)
    mistakes += here
    rest = dict(tree)
    for path, _ in here:
        rest = _without(rest, path) or {}
    return validate(model, rest, [])


def explained(model: type[BaseModel], tree: Any, error: ValidationError) -> Mistakes:
    """Pydantic's errors in words, each at its place in the tree."""
    told: Mistakes = []
    errors = error.errors()
    switches = {real_path(e["loc"], tree) for e in errors if _is_switch(e)}
    for e in errors:
        path = real_path(e["loc"], tree)
        message = explain(e, _fields_at(model, path[:-1]), "a key of this section")
        if e["type"] == "model_type" and (other := "false" if path in switches else _alone(e)):
            message = message.replace("needs a", f"needs {other} or a")
        if not _is_switch(e):  # `false` or a mapping: the mapping's own mistakes are the ones to tell
            told.append((path, message))
    return _alternatives_together(told)


def _alternatives_together(told: Mistakes) -> Mistakes:
    """What is neither of two kinds, as a number or `auto`, is one mistake."""
    joined: dict[Path_, str] = {}
    for path, message in told:
        wanted, _, given = joined.get(path, "").rpartition(", not ")
        other = message.removesuffix(f", not {given}").removeprefix("needs ").removeprefix("must be ")
        both = given and message.endswith(f", not {given}")
        joined[path] = f"{wanted} or {other}, not {given}" if both else message
    return list(joined.items())


def _is_switch(error: Any) -> bool:
    return any(str(part).startswith("literal[False") for part in error["loc"])


def _alone(error: Any) -> str:
    """What may stand in the place of the mapping that is missing, in words; empty: nothing."""
    sections: list[type[Written]] = [Written]
    for kind in sections:
        sections += kind.__subclasses__()
    name = error["ctx"]["class_name"]
    return next((kind.alone for kind in sections if kind.__name__ == name), "")


def _without(node: Any, path: Path_) -> dict[str, Any] | None:
    """A copy without what stands at `path`; where nothing does, without the mapping that lacks it."""
    if not path or not isinstance(node, Mapping) or path[0] not in node:
        return None
    child = _without(node[path[0]], path[1:])
    rest = {key: value for key, value in node.items() if key != path[0]}
    return rest if child is None else dict(node) | {path[0]: child}


def apart(mistakes: Mistakes, known: Mistakes) -> Mistakes:
    """The mistakes that do not stand where a known one does, above or below it."""
    places = [path for path, _ in known]
    return [
        (path, message)
        for path, message in mistakes
        if not any(path[: len(other)] == other[: len(path)] for other in places)
    ]


def real_path(loc: tuple[str | int, ...], tree: Any) -> Path_:
    """Pydantic's path without the names of union members that it puts in between."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        last = i == len(loc) - 1
        inside = isinstance(tree, Mapping) and part in tree
        inside |= isinstance(tree, list) and isinstance(part, int)
        if inside:
            tree = tree[part]
            path.append(part)
        elif last and isinstance(tree, Mapping) and isinstance(part, str):
            path.append(part)
    return tuple(path)


def _fields_at(model: type[Any], path: Path_) -> Mapping[str, Any]:
    """The keys known at a path below a model, as far as the models go."""
    for part in path:
        annotation = getattr(model, "model_fields", {}).get(part)
        if annotation is None:
            return {}
        kinds = [annotation.annotation, *getattr(annotation.annotation, "__args__", ())]
        model = next((k for k in kinds if hasattr(k, "model_fields")), type(None))
    return getattr(model, "model_fields", {})


def starts_with(paths: list[Path_], starts: list[Path_]) -> bool:
    """Whether any of the paths lies at or below any of the starts."""
    return any(path[: len(start)] == start for path in paths for start in starts)


def origin_of(path: Path_, origins: Mapping[Path_, Path_]) -> Path_:
    """Where in the study file a resolved path was written."""
    rest: Path_ = ()
    while path not in origins:
        path, rest = path[:-1], (path[-1], *rest)
    return (*origins[path], *rest)


def explain(error: Any, known: Mapping[str, Any], what: str) -> str:
    """One pydantic error in words: an unknown key gets the nearest name, the rest the value."""
    key = str(error["loc"][-1]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        return f"not {what}{nearest(key, known)}"
    if error["type"] == "missing":
        return "is required"
    if error["type"] == "value_error":
        message = str(error["msg"]).removeprefix("Value error, ")
        return message[:1].lower() + message[1:]
    wanted = _WANTED.get(error["type"])
    if wanted is None:
        wanted = str(error["msg"])[:1].lower() + str(error["msg"])[1:]
    bounds = {
        k: in_full(v) if isinstance(v, float | int) else v for k, v in error.get("ctx", {}).items()
    }
    return f"{wanted.format_map(bounds)}{_shown(error['input'])}"


_WANTED = {
    "int_type": "needs an integer",
    "int_parsing": "needs an integer",
    "float_type": "needs a number",
    "float_parsing": "needs a number",
    "string_type": "needs text",
    "bool_type": "needs true or false",
    "list_type": "needs a list",
    "tuple_type": "needs a list",
    "dict_type": "needs a mapping of keys to values",
    "model_type": "needs a mapping of keys to values",
    "finite_number": "needs a finite number",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
}
"""Pydantic's types of error in a user's words."""


def _shown(value: Any) -> str:
    """What was given, as it stands in the file, if it is short; a hint if it looks like an axis."""
    if value is None or isinstance(value, bool):
        return f", not {json.dumps(value)}"
    shown = repr(value)
    text = f", not {shown}" if len(shown) <= 60 else ""
    if isinstance(value, Mapping) and len(value) == 1:
        key = str(next(iter(value)))  # `loguniform` and its like mean the logarithm above all
        close = ["log"] if "log" in key else difflib.get_close_matches(key, AXIS_KEYS, n=1)
        text += f" (did you mean '{close[0]}'?)" if close and close[0] not in value else ""
    elif isinstance(value, Mapping) and (keys := [key for key in value if key in AXIS_KEYS]):
        text += f" (an axis has one key, `{keys[0]}`, and at most a `default` beside it)"
    elif isinstance(value, list) and value and not any(isinstance(v, Mapping | list) for v in value):
        text += " (one of several, where an axis may stand, is {choice: [...]})"
    return text

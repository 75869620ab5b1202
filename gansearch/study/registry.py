"""Names to parts: a study says `hinge`, the registry finds the class.

A registry is a table from a short name to `module:attribute`, imported only when it is asked for, so
that reading a study file does not load torch. Wherever a short name stands, `package.module:Thing`
of the user's own works too. The options of a part are the keyword-only parameters of its callable:
the signature is the option table, and pydantic checks a study's values against its annotations.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from gansearch.errors import UnknownPart, nearest

T = TypeVar("T")

AXIS_KEYS = ("log", "uniform", "int", "choice", "same")
"""What makes a mapping of one key an axis of the search space, or ties it to another value."""


class Registry(Generic[T]):
    """The parts of one kind, for example all losses.

    Args:
        kind: what the parts are, in a word for messages ("loss").
        parts: short name -> "module:attribute".
    """

    def __init__(self, kind: str, parts: Mapping[str, str]) -> None:
        self.kind = kind
        self._parts = dict(parts)

    @property
    def names(self) -> tuple[str, ...]:
        """The short names, in the order of registration."""
        return tuple(self._parts)

    def find(self, name: str) -> Callable[..., T]:
        """The callable behind a short name or `package.module:Thing`; raises `UnknownPart`."""
        if name not in self._parts and ":" not in name:
            raise UnknownPart(f"unknown {self.kind} '{name}'{nearest(name, self._parts)}")
        return cast("Callable[..., T]", _load(self._parts.get(name, name), self.kind))

    def options(self, name: str) -> type[BaseModel]:
        """A pydantic model of the part's options; raises `UnknownPart`."""
        part = self.find(name)
        try:
            return options_model(part)
        except (ValueError, TypeError, NameError) as error:
            raise UnknownPart(
                f"cannot read the options of the {self.kind} '{name}': {error}"
            ) from error

    def check(self, name: str, options: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
        """What is wrong with a choice of part, as (path below the part, message); never raises."""
        try:
            model = self.options(name)
        except UnknownPart as error:
            return [(("name",), str(error))]
        try:  # as JSON, where strict means that "3" is no number and yet a list may become a tuple
            model.model_validate_json(json.dumps(dict(options), default=str), strict=True)
        except ValidationError as error:
            known = model.model_fields
            return [
                (tuple(str(p) for p in e["loc"]), explain(e, known, f"an option of '{name}'"))
                for e in error.errors()
            ]
        return []

    def build(self, name: str, options: Mapping[str, Any], *args: Any) -> T:
        """Call the part with its validated options; raises `UnknownPart` or `ValueError`."""
        values = self.options(name).model_validate(dict(options))
        return self.find(name)(
            *args, **{key: getattr(values, key) for key in values.__class__.model_fields}
        )


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
    return f"{wanted.format_map(error.get('ctx', {}))}{_shown(error['input'])}"


_WANTED = {
    "int_type": "needs an integer",
    "float_type": "needs a number",
    "string_type": "needs text",
    "bool_type": "needs true or false",
    "list_type": "needs a list",
    "tuple_type": "needs a list",
    "dict_type": "needs a mapping of keys to values",
    "model_type": "needs a mapping of keys to values",
    "finite_number": "needs a finite number",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be above {gt:g}",
    "less_than_equal": "must be at most {le:g}",
    "less_than": "must be below {lt:g}",
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
    return text


@functools.cache
def _load(target: str, kind: str) -> object:
    module_name, _, attribute = target.partition(":")
    module = None
    try:
        module = importlib.import_module(module_name)
        found = functools.reduce(getattr, attribute.split("."), module)
    except Exception as error:  # importing runs the user's module, which may raise anything
        what = "" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: "
        if isinstance(error, ModuleNotFoundError):
            mend = "; a module of yours must lie in the folder you work in, or on PYTHONPATH"
        else:
            mend = nearest(attribute, vars(module)) if module else ""
            mend = mend if "did you mean" in mend else ""
        raise UnknownPart(f"cannot import the {kind} '{target}': {what}{error}{mend}") from error
    if not callable(found):
        raise UnknownPart(f"the {kind} '{target}' is not callable")
    return found


@functools.cache
def options_model(part: Callable[..., Any]) -> type[BaseModel]:
    """The keyword-only parameters of `part` as a pydantic model that forbids anything else."""
    signature = inspect.signature(part)
    target = part.__init__ if inspect.isclass(part) else part
    hints = typing.get_type_hints(target, include_extras=True)
    fields: dict[str, Any] = {
        name: (
            hints.get(name, Any),
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for name, parameter in signature.parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)
    return create_model(f"{getattr(part, '__name__', 'part')}_options", __config__=config, **fields)

"""Names to parts: a study says `hinge`, the registry finds the class.

A registry is a table from a short name to `module:attribute`, imported only when it is asked for, so
that reading a study file does not load torch. Wherever a short name stands, `package.module:Thing`
of the user's own works too. The options of a part are the keyword-only parameters of its callable:
the signature is the option table, and pydantic checks a study's values against its annotations.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import PydanticSerializationError, to_jsonable_python

from gansearch.errors import RAISED, UnknownPart, nearest
from gansearch.study.mistakes import explain

T = TypeVar("T")


OWN: dict[str, tuple[str, Callable[..., Any]]] = {}
"""The parts of the user's own that this process has found: kind and callable by name."""


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
        if name not in self._parts and not is_own(name):
            own = f"; if it is your own, {FORM}" if "." in name else ""
            raise UnknownPart(f"unknown {self.kind} '{name}'{nearest(name, self._parts)}{own}")
        part = cast("Callable[..., T]", _load(self._parts.get(name, name), self.kind))
        if name not in self._parts:
            OWN[name] = (self.kind, part)
        return part

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
        if wrong := _wrong_default(model):
            return [(("name",), f"cannot read the options of the {self.kind} '{name}': {wrong}")]
        try:  # as JSON, where strict means that "3" is no number and yet a list may become a tuple
            model.model_validate_json(json.dumps(dict(options), default=str), strict=True)
        except ValidationError as error:
            return [
                (tuple(str(p) for p in e["loc"]), self._explain(e, name, model)) for e in error.errors()
            ]
        return []

    def _explain(self, error: Any, name: str, model: type[BaseModel]) -> str:
        key = str(error["loc"][-1]) if error["loc"] else ""
        if error["type"] == "extra_forbidden" and key in inspect.signature(self.find(name)).parameters:
            return (
                f"stands before the `*` in the signature of '{name}', and an option stands behind it: "
                f"`*, {key}`"
            )
        return explain(error, model.model_fields, f"an option of '{name}'")

    def complete(
        self, part: dict[str, Any], declared: Collection[str] = ("name",)
    ) -> list[tuple[tuple[str, ...], str]]:
        """Fill in the defaults of a part's options; returns what is wrong with it, as `check` does.

        Args:
            part: as plain values, which are added to.
            declared: its keys that are none of the part's own options.
        """
        options = {key: value for key, value in part.items() if key not in declared}
        mistakes = self.check(part["name"], options)
        if not mistakes and (taken := set(self.options(part["name"]).model_fields) & set(declared)):
            mistakes = [
                (
                    ("name",),
                    f"'{part['name']}' has an option '{key}', which is a key of every {self.kind}: "
                    "call the option something else",
                )
                for key in sorted(taken)
            ]
        if not mistakes:
            part |= self.options(part["name"]).model_validate(options).model_dump(mode="json")
        return mistakes

    def build(self, name: str, options: Mapping[str, Any], *args: Any) -> T:
        """Call the part with its validated options; raises `UnknownPart` or `ValueError`.

        A signature that takes other values before its options than gansearch gives is an `UnknownPart`.
        """
        values = self.options(name).model_validate(dict(options))
        part, named = self.find(name), {key: getattr(values, key) for key in type(values).model_fields}
        try:
            inspect.signature(part).bind(*args, **named)
        except TypeError as error:
            given = f"{len(args)} values" if len(args) != 1 else "1 value"
            raise UnknownPart(
                f"the {self.kind} '{name}' is given {given} before its options, and its signature is "
                f"another: {error} (options stand behind a `*`; see `gansearch parts`)"
            ) from error
        return part(*args, **named)


def is_own(name: str) -> bool:
    """Whether a part's name is written as one of the user's own, `package.module:Thing`."""
    return ":" in name


_WRITTEN = re.compile(r"[^\W\d][\w-]*(\.[^\W\d][\w-]*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
FORM = "it is written `package.module:Thing`, and the module of a file `losses.py` is `losses`"


@functools.cache
def _load(target: str, kind: str) -> object:
    module_name, _, attribute = target.partition(":")
    module = None
    try:
        module = importlib.import_module(module_name)
        thing = functools.reduce(getattr, attribute.split("."), module)
    except RAISED as error:  # importing runs the user's module: it may raise anything
        what = "" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: "
        if not _WRITTEN.fullmatch(target):
            raise UnknownPart(f"cannot import the {kind} '{target}': {FORM}") from error
        if isinstance(error, ModuleNotFoundError):
            mend = "; a module of yours must lie in the folder you work in, or on PYTHONPATH"
        else:
            mend = nearest(attribute, vars(module)) if module else ""
            mend = mend if "did you mean" in mend else ""
        raise UnknownPart(f"cannot import the {kind} '{target}': {what}{error}{mend}") from error
    if not callable(thing):
        raise UnknownPart(f"the {kind} '{target}' is not callable")
    return thing


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


@functools.cache
def _wrong_default(model: type[BaseModel]) -> str:
    """Which default of a part's no study file could say, and why; "" where each can be said."""
    defaults = {k: field.default for k, field in model.model_fields.items() if not field.is_required()}
    try:
        model.model_validate(defaults)
    except ValidationError as error:
        for each in error.errors():
            key = each["loc"][0]
            if key in defaults:
                what = explain(each, model.model_fields, "an option")
                return f"the default of '{key}': {what}"
    except TypeError:  # a type by which pydantic cannot tell: the next lines ask all the same
        pass
    for key, default in defaults.items():
        try:
            to_jsonable_python(default)
        except PydanticSerializationError:
            kind = type(default).__name__
            return f"the default of '{key}' is of type {kind}, which a study file cannot hold"
    return ""

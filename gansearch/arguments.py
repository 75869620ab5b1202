"""What a Python function is given: held against its annotations before it does anything."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar, get_args, get_type_hints

from gansearch.errors import InvalidCall, Problem, either, nearest
from gansearch.masking import without_password

P = ParamSpec("P")
R = TypeVar("R")


class Whole:
    """A dataclass that is taken as it is: pydantic would look into its fields."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> Any:
        from pydantic_core import core_schema  # noqa: PLC0415

        return core_schema.is_instance_schema(cls)


class _Deferred(type):
    """Knows the instances of a class whose module is loaded only by who has one."""

    module: str

    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, getattr(sys.modules.get(cls.module), cls.__name__, ()))


def deferred(module: str, name: str) -> type:
    """What stands for a class in annotations, where importing its module takes too long."""
    return _Deferred(name, (), {"module": module})


def checked(function: Callable[P, R], called: str = "") -> Callable[P, R]:
    """The function, which first refuses what is not of the types that its signature names.

    What it takes it is given as it came: nothing is converted or copied. Its own signature, docstring
    and types stay. Too many and too few arguments are Python's to tell, and values its own.

    Args:
        function: whose annotations are evaluated at its first call.
        called: its name in messages, where that is not its own.

    Raises:
        InvalidCall: with every argument of another type, and what the function takes in its place; and
            with every keyword that it does not know, and the nearest that it does.
    """
    kinds = inspect.signature(function).parameters
    positional = [name for name, each in kinds.items() if each.kind <= each.VAR_POSITIONAL]

    @cache  # at the first call: to import this package is to be cheap
    def check() -> tuple[Callable[..., None], list[str]]:
        from pydantic import ConfigDict, validate_call  # noqa: PLC0415

        @wraps(function)
        def nothing(*_: object, **__: object) -> None: ...

        nothing.__annotations__ = {k: v for k, v in function.__annotations__.items() if k != "return"}
        # Strict, so that "5" is no number.
        exact = ConfigDict(arbitrary_types_allowed=True, strict=True, extra="forbid")
        return validate_call(config=exact)(nothing), list(_keywords(nothing))

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        ask, keywords = check()
        with _refusing(f"{called or function.__name__}()", positional, keywords):
            ask(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})
        return function(*args, **kwargs)

    return call


def _keywords(function: Callable[..., object]) -> Iterator[str]:
    """The arguments that a function takes by name, those of its `**options: Unpack[...]` among them."""
    for name, each in inspect.signature(function).parameters.items():
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            yield name
        elif each.kind is each.VAR_KEYWORD:
            for options in get_args(get_type_hints(function)[name]):
                yield from get_type_hints(options)


@contextmanager
def _refusing(what: str, positional: Sequence[str], keywords: Sequence[str]) -> Iterator[None]:
    """Tell pydantic's errors of the arguments of a call in words.

    Args:
        what: is called, in the message.
        positional: the names of the arguments that are known by their number.
        keywords: of those that are known by name.
    """
    from pydantic import ValidationError  # noqa: PLC0415

    try:
        yield
    except ValidationError as error:
        problems, wrong = list[Problem](), dict[str, tuple[list[str], Any]]()
        for each in error.errors():
            if each["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
                unknown = str(each["loc"][0])
                words = f"is an unexpected keyword argument{nearest(unknown, keywords)}"
                problems.append(Problem(unknown, words))
                continue
            missing_or_too_many = "argument" in each["type"]
            if missing_or_too_many or (
                each["type"] == "literal_error" and isinstance(each["input"], str)
            ):
                continue  # which are Python's to tell, and a value the function's
            name, *inside = each["loc"]
            if isinstance(name, int):
                name = positional[min(name, len(positional) - 1)]
            place = f"{name}{''.join(f'[{part}]' for part in inside if isinstance(part, int))}"
            takes = _TAKES.get(each["type"], each["msg"]).format_map(each.get("ctx", {}))
            wrong.setdefault(place, ([], each["input"]))[0].append(takes)
        problems += [
            Problem(place, f"must be {_listed(takes)}, not {_shown(given)}")
            for place, (takes, given) in wrong.items()
        ]
        if problems:
            raise InvalidCall(what, problems) from None


_TAKES = {
    "int_type": "an integer",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "True or False",
    "dict_type": "a mapping",
    "list_type": "a list",
    "sequence_str": "a list",
    "is_instance_of": "a {class}",
    "dataclass_exact_type": "a {class_name}",
    "literal_error": "{expected}",
    "callable_type": "a function",
}
"""Pydantic's types of error in a user's words."""


def _listed(takes: Sequence[str]) -> str:
    return either(dict.fromkeys(re.sub("^a (?=[AEIO])", "an ", each) for each in takes))


def _plain(value: Any) -> Any:
    """A number of NumPy's, as tables have them, as the one of Python's that it is as good as."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _shown(value: object) -> str:
    """What was given, if it is short, else what it is."""
    text = without_password(repr(value))
    return text if len(text) <= 60 and "\n" not in text else f"a {type(value).__name__}"

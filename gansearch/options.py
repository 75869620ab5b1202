"""What the commands' options have in common: those of `Where`, and overrides of a study's keys."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from gansearch.errors import UserError
from gansearch.masking import shows_password
from gansearch.tuning.where import OPTIONS, Option, Where

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="A study file.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A study's name, or its directory.")]
Newest = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="A study's name or directory (default: the newest)."),
]
NewName = Annotated[str | None, typer.Option(help="Name the study (default: as its file).")]
Dashboard = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="http://HEAD:8265", help="Ask the cluster whose dashboard this is."
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the study: --set search.trials=8."),
]
By = Annotated[str, typer.Option(help="Rank by this score: iqm, median, mean, q90 or success.")]
Trials = Annotated[
    int | None, typer.Option(min=1, help="Search N trials: short for --set search.trials=N.")
]
Trust = Annotated[bool, typer.Option("--trust", help="Run the Python code that the export carries.")]

Command = Callable[..., Any]

_KINDS = typing.get_type_hints(Where)  # read once: it takes a millisecond of `gansearch --help`


def takes(*names: str, elsewhere: bool = False) -> Callable[[Command], Command]:
    """Give a command, which takes a `where`, the options of `Where` in its place.

    Args:
        names: of the fields that it takes; none: of all.
        elsewhere: they are for a cluster's head. This machine's environment says nothing of it, and
            what is not said is None.
    """
    chosen = [name for name in OPTIONS if name in names or not names]

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_where(**given: Any) -> Any:
            said = {name: given.pop(name) for name in chosen}
            return command(where=Where(**(said | {"modules": said.get("modules") or ()})), **given)

        hints = typing.get_type_hints(command, include_extras=True)
        own = inspect.signature(command, eval_str=True).parameters
        options = {name: _parameter(name, elsewhere) for name in chosen}
        parameters = [p for name, p in own.items() if name != "where"] + list(options.values())
        with_where.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        )
        hints.pop("where")
        with_where.__annotations__ = hints | {name: p.annotation for name, p in options.items()}
        del with_where.__wrapped__  # its signature is another one
        return with_where

    return decorate


def _parameter(name: str, elsewhere: bool) -> inspect.Parameter:
    """A field of `Where` as Typer wants it."""
    option, kind = OPTIONS[name], _KINDS[name]
    default = None if elsewhere else option.default
    there = elsewhere and (option.is_path or bool(option.secret))
    said = typer.Option(
        f"--{option.flag}",
        help="As for `run`, as the cluster sees it." if there else option.help,
        envvar=None if elsewhere else option.env,
        metavar=option.metavar,
        min=option.least,
        callback=None if elsewhere or not option.secret else _public(option),
    )
    if kind == tuple[Path, ...]:
        kind = list[Path] | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, said]
    )


def _public(option: Option) -> Callable[[str | None], str | None]:
    """Refuse a password in an option: everyone on the machine sees it there, and Ray's dashboard."""

    def check(value: str | None) -> str | None:
        if value and shows_password(value):
            mend = f"set {option.secret} instead"
            raise UserError(f"--{option.flag} would show its password to others: {mend}")
        return value

    return check


def as_said(ctx: typer.Context, where: Where) -> Where:
    """Only what stands on the command line, as a cluster is to be told it: its own environment, and not
    this machine's, says the rest.
    """
    sources = {name: ctx.get_parameter_source(name) for name in OPTIONS}
    given = {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}
    unsaid = Where()
    return replace(where, **{name: getattr(unsaid, name) for name in OPTIONS.keys() - given})


def overrides(items: list[str] | None, trials: int | None = None) -> dict[str, Any]:
    """Values by dotted key, from `--set KEY=VALUE` and `--trials N`; raises `UserError`."""
    values: dict[str, Any] = {}
    for item in items or []:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise UserError(f"--set {item}: needs KEY=VALUE, as in --set search.trials=8")
        values[key.strip()] = _value(f"--set {item}", text)
    return values | ({"search.trials": trials} if trials else {})


def part_options(flag: str, items: list[str] | None) -> list[Any]:
    """Parts as an option names them: `asha`, or `{name: asha, min_steps: 500}`; raises `UserError`."""
    parts = [(item, _value(f"{flag} {item}", item)) for item in items or []]
    for item, part in parts:
        if not isinstance(part, str | dict):
            raise UserError(f"{flag} {item}: needs a name, or a mapping with one: {{name: ...}}")
    return [part for _, part in parts]


def _value(item: str, text: str) -> Any:
    from gansearch.study.document import parse_value  # noqa: PLC0415

    try:
        return parse_value(text)
    except yaml.YAMLError as error:
        raise UserError(f"{item}: the value is not valid YAML") from error

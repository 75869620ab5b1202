"""The command line as a page, read from its own parser."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

INTRODUCTION = """\
# Commands

Every command with its arguments and options. `gansearch COMMAND --help` prints the same on a terminal. A
command that ends because of a mistake in its input prints one message and exits with code 2; a study that
was interrupted exits with 130.

_This page is generated from the code: `make docs` writes it, and a test holds it equal._
"""


def commands_page(group: Any) -> str:
    """The page of all commands, in the order in which they are written.

    Args:
        group: the parser of the whole command line, as `typer.main.get_command` gives it. (Its classes
            are Typer's own copy of Click's, without public names.)
    """
    shown = [command for command in group.commands.values() if not command.hidden]
    lines = ["| command | does |", "|---|---|"]
    lines += [f"| [`{c.name}`](#{c.name}) | {_cell(c.help.partition(chr(10) * 2)[0])} |" for c in shown]
    return "\n\n".join([INTRODUCTION.strip(), "\n".join(lines), *map(_command, shown)]) + "\n"


def _command(command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    usage = " ".join(["gansearch", command.name, *map(_place, arguments)])
    pieces = [f"## {command.name}", f"`{usage}{' [OPTIONS]' if options else ''}`", command.help]
    hints = typing.get_type_hints(command.callback)
    rows = [_argument(each) for each in arguments]
    rows += [_option(each, hints.get(each.name)) for each in options]
    if rows:
        pieces.append("\n".join(["| option | meaning | default |", "|---|---|---|", *rows]))
    return "\n\n".join(pieces)


def _place(argument: Any) -> str:
    return str(argument.metavar) if argument.required else f"[{argument.metavar}]"


def _argument(argument: Any) -> str:
    default = "required" if argument.required else ""
    return f"| `{argument.metavar}` | {_cell(argument.help)} | {default} |"


def _option(option: Any, hint: Any) -> str:
    takes = "" if option.is_flag else f" {option.metavar or _value(hint)}"
    meaning = _cell(option.help)
    meaning += f" Environment: `{option.envvar}`." if option.envvar else ""
    meaning += " May be repeated." if option.multiple else ""
    default = "required" if option.required else _default(option.default)
    return f"| `{', '.join([*option.opts, *option.secondary_opts])}{takes}` | {meaning} | {default} |"


def _value(hint: Any) -> str:
    """What stands for an option's value: `PATH` for `list[Path] | None`."""
    inside = [
        hint,
        *(deeper for each in typing.get_args(hint) for deeper in (each, *typing.get_args(each))),
    ]
    named = {Path: "PATH", int: "N", float: "NUMBER", str: "TEXT"}
    return next((named[each] for each in inside if each in named), "VALUE")


def _default(value: Any) -> str:
    return "" if value in (None, False, "", []) or callable(value) else f"`{value}`"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "&#124;")

"""The catalogue to be read: as text on a terminal, as pages of docs/reference."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from gansearch.catalogue.entries import (
    KINDS,
    STUDY,
    Chapter,
    Entry,
    Option,
    part,
    parts,
    study_keys,
)
from gansearch.errors import UserError, nearest

WIDTH = 100

PARTS_INTRODUCTION = """\
# Parts

Every part that a study file can name, with its options, their ranges and defaults, and its source.
`gansearch parts` prints the same on a terminal: `gansearch parts loss`, `gansearch parts loss hinge`.

A part is named alone, `loss: hinge`, or as a mapping with its options,
`optimizer: {generator: {name: adam, lr: 2e-4}}`. In the sections `generator`, `discriminator`, `loss` and
`optimizer` an option may be an axis of the search. Wherever a name stands, `package.module:Thing` names a
part of your own; `gansearch parts loss my_losses:Tempered` describes it as this page describes ours.

_This page is generated from the code: `make docs` writes it, and a test holds it equal._
"""

STUDY_INTRODUCTION = """\
# The study file

Every key of a study file, with its range, default and meaning. `gansearch parts study` prints the same on
a terminal, `gansearch parts study budget` one section. Only what differs from a default need be written.
Names of parts and their options are in [parts](parts.md).

An **axis** may stand in place of any value in the sections marked *axes allowed*:

| axis | draws |
|---|---|
| `{log: [1e-5, 1e-2]}` | a number, uniform in its logarithm |
| `{uniform: [0, 1]}` | a number |
| `{int: [1, 4]}` | an integer, both ends included |
| `{choice: [a, b]}` | one of the options; an option may be a mapping with axes of its own, which exist only where it is chosen. It is called by its `name`, and where several have the same by its place, from 0, too: `hinge#1` |

An axis may have a `default` beside its range, `{log: [1e-5, 1e-2], default: 2e-4}`: the study's default
configuration has it, and proposals lean towards it, see `search.sampler.belief`. Within `ratio` it is the factor's.

`{ratio: {of: optimizer.generator.lr, log: [0.25, 4]}}` draws a factor, and is the value that stands at
that path times it: two learning rates are searched better as one and their ratio.
`{same: optimizer.generator.lr}` is no axis but the value that stands at that path: one learning rate for
both networks, as papers often search it. The other sections are shared by all trials of a study, so that their
numbers can be compared. `--set KEY=VALUE` overrides any key by its dotted path.

_This page is generated from the code: `make docs` writes it, and a test holds it equal._
"""


def text(kind: str | None = None, name: str | None = None) -> str:
    """What `gansearch parts` prints: all parts, those of a kind, one, or the keys of a study file.

    Args:
        kind: a key of `KINDS`, or `study`; None: an overview of all.
        name: of a part, or `package.module:Thing`; with `study`, a key.

    Raises:
        UserError: there is no such kind, part or key.
    """
    if kind is None:
        return _join([*(_overview(kind) for kind in KINDS), _AND_MORE])
    if kind == STUDY:
        return _join(_chapter_text(chapter) for chapter in _chapters_of(name))
    if name is None:
        head = f"{KINDS[kind].title if kind in KINDS else kind}"
        described = [_entry_text(entry) for entry in parts(kind)]
        return _join([f"{head} (study key: {KINDS[kind].where})", *described, _own(kind)])
    return _join([_entry_text(part(kind, name))])


def markdown(kind: str | None = None, name: str | None = None) -> str:
    """The same as a page; without a kind docs/reference/parts.md, of `study` study-file.md."""
    if kind is None:
        return _join([PARTS_INTRODUCTION, *(_kind_page(kind) for kind in KINDS)])
    if kind == STUDY:
        introduction = [STUDY_INTRODUCTION] if name is None else []
        return _join([*introduction, *_chapter_pages(_chapters_of(name))])
    if name is None:
        parts(kind)  # raises for an unknown kind
        return _join([_kind_page(kind)])
    return _join([_entry_page(part(kind, name))])


def _join(pieces: Iterable[str]) -> str:
    return "\n\n".join(piece.strip("\n") for piece in pieces if piece) + "\n"


def _chapters_of(key: str | None) -> list[Chapter]:
    """All chapters, or the one that holds a key with the keys at and below it."""
    chapters = list(study_keys())
    if key is None:
        return chapters
    found = []
    for chapter in chapters:
        below = (chapter.key, *(option.name for option in chapter.options))
        if key in below:
            wanted = [o for o in chapter.options if o.name == key or o.name.startswith(f"{key}.")]
            found.append(Chapter(chapter.key, chapter.description, tuple(wanted), chapter.axes))
    if not found:
        keys = [key for c in chapters for key in (c.key, *(option.name for option in c.options))]
        raise UserError(f"a study file has no key '{key}'{nearest(key, keys)}")
    return found


# On a terminal

_AND_MORE = """\
`gansearch parts KIND` describes the parts of one kind, `gansearch parts KIND NAME` one part (NAME may be
your own module:Thing), `gansearch parts study` every key of a study file."""


_NAMES = 24
"""Columns of an overview up to the summaries: for the longest name, with a gap on both sides."""


def _overview(kind: str) -> str:
    lines = [f"{kind} (study key: {KINDS[kind].where})"]
    for entry in parts(kind):
        summary = textwrap.shorten(entry.summary, WIDTH - _NAMES, placeholder=" ...")
        lines.append(f"  {entry.name:<{_NAMES - 2}}{summary}")
    return "\n".join(lines)


def _entry_text(entry: Entry) -> str:
    lines = [f"{entry.kind} {entry.name}", textwrap.indent(entry.description, "  ")]
    lines += [f"  {fact}" for fact in entry.facts]
    if entry.sources:
        lines.append(f"  source: {'; '.join(entry.sources)}")
    lines += [*_options_text(entry.options)] if entry.options else ["  options: none"]
    return "\n".join(lines)


def _chapter_text(chapter: Chapter) -> str:
    head = f"{chapter.key}{' (axes allowed)' if chapter.axes else ''}"
    lines = [head, textwrap.indent(chapter.description, "  ")] if chapter.description else [head]
    return "\n".join([*lines, *_options_text(chapter.options)])


def _options_text(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        takes = option.takes.replace("`", "")
        yield f"  {option.name}: {takes}; {_default_text(option)}"
        if option.meaning:
            yield textwrap.fill(
                option.meaning, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6
            )


def _default_text(option: Option) -> str:
    return option.default if option.default == "required" else f"default {option.default}"


def _own(kind: str) -> str:
    if not KINDS[kind].registry:
        return ""
    check = f"; test it with gansearch.testing.{KINDS[kind].check}" if KINDS[kind].check else ""
    return f"One of your own, named `module:Thing`, is {KINDS[kind].contract}{check}."


# As a page


def _kind_page(kind: str) -> str:
    about = KINDS[kind]
    where = ", ".join(f"`{key}`" if " " not in key else key for key in about.where.split(", "))
    pieces = [f"## {about.title}", f"Study key: {where}. {_own_page(kind)}"]
    return _join([*pieces, *(_entry_page(entry) for entry in parts(kind))])


def _own_page(kind: str) -> str:
    about = KINDS[kind]
    if not about.registry:
        return f"A health rule is {about.contract}."
    check = f"; `gansearch.testing.{about.check}` tests it" if about.check else ""
    return f"One of your own is {about.contract}{check}."


def _entry_page(entry: Entry) -> str:
    pieces = [f"### `{entry.name}`", entry.description]
    facts = [*entry.facts, *([f"source: {'; '.join(entry.sources)}"] if entry.sources else [])]
    if facts:
        pieces.append(f"*{' · '.join(facts)}*")
    pieces.append(_table("option", entry.options) if entry.options else "No options.")
    return _join(pieces)


def _chapter_pages(chapters: list[Chapter]) -> Iterator[str]:
    """A section's table under its heading; keys of one value, which have no section, in one table."""
    single = [chapter for chapter in chapters if not chapter.description]
    for chapter in chapters:
        if chapter.description:
            axes = " *Axes allowed.*" if chapter.axes else ""
            yield f"## `{chapter.key}`\n\n{chapter.description}{axes}\n\n{_table('key', chapter.options)}"
    if single:
        marked = [
            Option(o.name, o.takes, o.default, f"{o.meaning}{' *Axes allowed.*' if c.axes else ''}")
            for c in single
            for o in c.options
        ]
        yield f"## Keys of one value\n\n{_table('key', marked)}"


def _table(first: str, options: Iterable[Option]) -> str:
    lines = [f"| {first} | takes | default | meaning |", "|---|---|---|---|"]
    for option in options:
        cells = [f"`{option.name}`", option.takes, f"`{option.default}`", option.meaning]
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines)

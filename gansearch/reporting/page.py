"""What a page is made of, sections of text, tables and pictures, and the page as HTML."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Column:
    """A table's column: its heading, and whether its cells are numbers, or sentences."""

    name: str
    number: bool = False
    wide: bool = False

    @classmethod
    def of(cls, heading: str) -> Column:
        """From a heading: `IQM>` is of numbers, which stand at the right, `reason~` of sentences."""
        return cls(heading.rstrip(">~"), heading.endswith(">"), heading.endswith("~"))


@dataclass(frozen=True)
class Table:
    """A table as it is shown: every cell is text, the first of a row its heading."""

    caption: str
    columns: list[Column]
    rows: list[list[str]]
    note: str = ""

    @classmethod
    def of(
        cls, caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]], note: str = ""
    ) -> Table:
        """From headings as `Column.of` takes them."""
        return cls(caption, [Column.of(heading) for heading in headings], [list(r) for r in rows], note)


@dataclass(frozen=True)
class Picture:
    """A figure as it is shown: a drawing, which goes to papers too, or a JPEG."""

    name: str
    caption: str
    alt: str
    figure: Figure | None = None
    photograph: bytes = b""


@dataclass(frozen=True)
class Details:
    """What is folded away: text as it is, or a table."""

    summary: str
    text: str = ""
    table: Table | None = None


@dataclass(frozen=True)
class Section:
    """A part of a page, in the order in which it is read. Everything in it may be absent.

    `links` are addresses beside the page, with the words to click on.
    """

    id: str
    title: str
    paragraphs: list[str] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    details: list[Details] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    after: str = ""


def page(
    title: str,
    question: str,
    content: Sequence[Section],
    drawings: Mapping[str, str] | None = None,
    version: str = "",
) -> str:
    """One HTML document with its style and pictures in it, that loads nothing.

    Args:
        title: its heading.
        question: below it.
        content: the sections.
        drawings: picture -> its SVG.
        version: of gansearch, with which the study was made.
    """
    from markupsafe import Markup  # noqa: PLC0415

    templates = environment()
    pictures = [picture for section in content for picture in section.pictures]
    return templates.get_template("page.html").render(
        title=title,
        question=question,
        sections=content,
        markup={picture.name: _markup(picture, drawings or {}) for picture in pictures},
        style=Markup(templates.get_template("page.css").render()),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=version,
    )


def environment() -> Environment:
    """The templates of pages, in which all text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    return Environment(
        loader=PackageLoader("gansearch.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _markup(picture: Picture, drawings: Mapping[str, str]) -> Markup:
    from markupsafe import Markup  # noqa: PLC0415

    if picture.photograph:
        encoded = base64.b64encode(picture.photograph).decode()
        return Markup('<img src="data:image/jpeg;base64,{}" alt="">').format(encoded)
    return Markup(_apart(drawings[picture.name], picture.name))


def _apart(svg: str, name: str) -> str:
    """The SVG with ids of its own: several in one document must not share any."""
    svg = re.sub(r'(\bid=")', rf"\g<1>{name}-", svg)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)

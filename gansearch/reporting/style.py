"""The house style of figures: palettes, panels, axes and legends, and how a figure becomes a file.

Made without pyplot, so that figures share no state. A loss family has one colour in all figures of a
report and an outcome another; both palettes stay apart for colour-blind readers (Okabe and Ito 2008).
"""

from __future__ import annotations

import atexit
import functools
import io
import math
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gansearch import files
from gansearch.analysis.rows import Row
from gansearch.study.records import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

WIDTH, HEIGHT = 4.2, 3.0
"""Inches: on a phone 390 pixels wide, a label of 8 points is still 10 pixels high."""

RASTER_ABOVE = 1000
"""Marks in a figure beyond which they are drawn as an image, to keep the file small."""

FAMILY_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#332288",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#6B6B00",
    "#555555",
)
FAMILY_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h")

OUTCOME_COLOURS = {
    Outcome.RUNNING: "#56B4E9",
    Outcome.PAUSED: "#2F5D9B",
    Outcome.COMPLETED: "#1B7F5C",
    Outcome.PRUNED: "#E3C14B",
    Outcome.DIVERGED: "#8C1D18",
    Outcome.COLLAPSED: "#D9480F",
    Outcome.STALLED: "#F2A17E",
    Outcome.FAILED: "#222222",
    Outcome.INTERRUPTED: "#9A6FB0",
}
OUTCOME_MARKS = {
    Outcome.RUNNING: ".",
    Outcome.PAUSED: "P",
    Outcome.COMPLETED: "o",
    Outcome.PRUNED: "v",
    Outcome.DIVERGED: "x",
    Outcome.COLLAPSED: "+",
    Outcome.STALLED: "s",
    Outcome.FAILED: "X",
    Outcome.INTERRUPTED: "d",
}
INK, SOFT, FAILURE = "#1F2328", "#57606A", "#A4161A"

_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.7,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E7EB",
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.4,
    "hatch.linewidth": 0.5,
    "hatch.color": "#8A929B",
    "svg.fonttype": "path",  # text as outlines: it looks the same everywhere
    "svg.hashsalt": "gansearch",
    "pdf.fonttype": 42,  # TrueType: many journals take no Type 3
    "savefig.dpi": 150,  # of the parts of a figure that are drawn as pixels
}


def styled() -> AbstractContextManager[None]:
    """The house style, as a context in which figures are made and saved."""
    from matplotlib import rc_context  # noqa: PLC0415

    return rc_context(_STYLE | {"font.family": [_font(), FONT]})


FONT = "DejaVu Sans"
"""It comes with matplotlib: the same on every machine."""

_GLYPHS = ((0x20, 0x250), (0x370, 0x400), (0x2000, 0x2300), (0x25A0, 0x2800))
"""Latin, Greek, signs and symbols; whatever else a name holds is drawn from the whole font."""


@functools.cache
def _font() -> str:
    """The name of `FONT` cut down to `_GLYPHS`, made once a process.

    A PDF embeds the letters it uses, and cutting them out of the whole font takes longer than all the
    rest of a figure.
    """
    from fontTools.subset import Options, Subsetter  # noqa: PLC0415
    from fontTools.ttLib import TTFont  # noqa: PLC0415
    from matplotlib import font_manager, get_data_path  # noqa: PLC0415

    name, options = "Gansearch Sans", Options()
    options.layout_features, options.name_IDs, options.glyph_names = [], ["*"], True
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "kern", "FFTM"]
    letters = Subsetter(options)
    letters.populate(unicodes=[code for first, end in _GLYPHS for code in range(first, end)])
    for weight in ("", "-Bold"):
        font = TTFont(Path(get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{weight}.ttf")
        letters.subset(font)
        for record in font["name"].names:
            record.string = record.toUnicode().replace(FONT, name)
        file, content = _folder() / f"sans{weight}.ttf", io.BytesIO()
        font.save(content)
        files.write(file, content.getvalue())
        font_manager.fontManager.addfont(file)
    return name


@functools.cache
def _folder() -> Path:
    """A folder that lasts as long as the process: fonts are read when a figure is saved."""
    folder = tempfile.mkdtemp(prefix="gansearch-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def as_svg(figure: Figure) -> str:
    """The drawing as an `<svg>` element: no date, no prolog, the same bytes for the same figure."""
    buffer = BytesIO()
    with styled():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    return text[text.index("<svg") :]


def as_pdf(figure: Figure) -> bytes:
    """The drawing as a PDF with embedded fonts, without a date; it keeps the layout of `as_svg`."""
    buffer = BytesIO()
    figure.set_layout_engine("none")
    with styled():
        metadata = {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None}
        figure.savefig(buffer, format="pdf", metadata=metadata)
    return buffer.getvalue()


@dataclass(frozen=True)
class Palette:
    """A colour and a mark for each loss family, the same in all figures of a report."""

    families: tuple[str, ...]

    @classmethod
    def of(cls, families: Iterable[str]) -> Palette:
        """By the families' names in alphabetical order."""
        return cls(tuple(sorted(set(families))))

    def colour(self, family: str) -> str:
        """Its colour; beyond ten families they repeat."""
        return FAMILY_COLOURS[self._place(family) % len(FAMILY_COLOURS)]

    def mark(self, family: str) -> str:
        """Its mark."""
        return FAMILY_MARKS[self._place(family) % len(FAMILY_MARKS)]

    def _place(self, family: str) -> int:
        return self.families.index(family) if family in self.families else len(self.families)


def diverging() -> Colormap:
    """Failure to success: ochre, white at one half, teal; told apart by every kind of eye."""
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415

    stops = ["#B5651D", "#EBC9A0", "#F7F7F7", "#A5D6D0", "#2A8C82"]
    return LinearSegmentedColormap.from_list("success", stops)


# --- panels ---------------------------------------------------------------------------------------


def panel(height: float = HEIGHT) -> tuple[Figure, Axes]:
    """An empty figure of one panel, `height` inches high."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    return figure, figure.subplots()


def forest(rows: Sequence[Row], palette: Palette) -> tuple[Figure, Axes]:
    """A panel with one line a configuration, the first on top, in its family's colour."""
    figure, axes = panel(rows_height(len(rows)))
    colours = [palette.colour(row["family"]) for row in rows]
    label_rows(axes, [short(row["configuration"]) for row in rows], colours)
    family_legend(figure, [row["family"] for row in rows], palette)
    return figure, axes


def rows_height(rows: int, each: float = 0.24) -> float:
    """Inches for so many lines."""
    return max(1.7, 1.1 + each * rows)


def label_rows(axes: Axes, labels: Sequence[str], colours: Sequence[str]) -> None:
    """Labels along the left, the first on top."""
    ticks(axes, "y", range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    for tick, colour in zip(axes.get_yticklabels(), colours, strict=True):
        tick.set_color(colour)


def interval_mark(axes: Axes, height: float, row: Row, name: str, colour: str, stem: str = "") -> None:
    """A diamond at a row's value and a bar over its interval; nothing where there is no value."""
    value, low, high = row[name], row[f"{stem or name}_low"], row[f"{stem or name}_high"]
    if math.isfinite(value) and math.isfinite(low) and math.isfinite(high):
        axes.plot([low, high], [height, height], color=colour, lw=2.2, solid_capstyle="butt", zorder=3)
    if math.isfinite(value):
        axes.plot(value, height, "D", color=colour, mec="white", mew=0.8, ms=5, zorder=5)


def side_note(axes: Axes, height: float, text: str, colour: str = INK) -> None:
    """A word at the right end of a line."""
    where = axes.get_yaxis_transform()
    axes.text(1.02, height, text, va="center", fontsize=7, color=colour, transform=where)


# --- axes -----------------------------------------------------------------------------------------


def ticks(
    axes: Axes, which: str, positions: Iterable[float], labels: Sequence[str], *, aslant: bool = False
) -> None:
    """Ticks with these labels along `x` or `y`."""
    getattr(axes, f"set_{which}ticks")(list(positions))
    slant = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if aslant else {}
    getattr(axes, f"set_{which}ticklabels")(list(labels), **slant)


def options(axes: Axes, labels: Sequence[str]) -> None:
    """Labels at 0, 1, 2 … along x, aslant where they would touch each other."""
    shown = [short(label, 18) for label in labels]
    ticks(axes, "x", range(len(shown)), shown, aslant=sum(len(text) + 2 for text in shown) > 46)
    axes.grid(visible=False, axis="x")


def log_if_wide(axes: Axes, which: str, *values: ArrayLike) -> None:
    """A logarithmic axis for positive values that span more than a factor of 20."""
    together = np.concatenate([np.asarray(part, float).ravel() for part in values])
    finite = together[np.isfinite(together)]
    if len(finite) and finite.min() > 0 and finite.max() > 20 * finite.min():
        log_axis(axes, which, (1.0, 2.0, 5.0))


def log_axis(axes: Axes, which: str, subs: tuple[float, ...] = (1.0,)) -> None:
    """A logarithmic axis with ticks at powers of ten, or (`subs`) at these multiples of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    getattr(axes, f"set_{which}scale")("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=subs, numticks=9))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
    axis.set_minor_formatter(NullFormatter())


def _power(value: float) -> str:
    """`100`, `0.5`, `10⁻⁵`: plain text needs no fonts for mathematics in the file."""
    exponent = math.floor(math.log10(value) + 1e-9)
    if -2 < exponent < 5:
        return f"{value:g}"
    factor = round(value / 10**exponent, 6)
    raised = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(c)] if c.isdigit() else "⁻" for c in str(exponent))
    return f"10{raised}" if factor == 1 else f"{factor:g}·10{raised}"


def percent(axes: Axes, which: str) -> None:
    """Shares in per cent."""
    from matplotlib.ticker import FuncFormatter  # noqa: PLC0415

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))


def whole_numbers(axes: Axes) -> None:
    """Ticks along x at integers alone."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


# --- legends and labels ---------------------------------------------------------------------------


def legend(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """What the labelled marks mean, below the panel."""
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, _fitting(labels)))


def family_legend(figure: Figure, families: Iterable[str], palette: Palette) -> None:
    """The colours of these families, below the panel."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    names = sorted(set(families))
    handles = [Line2D([], [], color=palette.colour(name), lw=3) for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=min(3, _fitting(names)))


def outcome_legend(figure: Figure, outcomes: Iterable[str]) -> None:
    """The marks of these outcomes, below the panel."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    here = set(outcomes)
    present = [outcome for outcome in Outcome if outcome.value in here]
    handles = [
        Line2D([], [], ls="", marker=OUTCOME_MARKS[each], color=OUTCOME_COLOURS[each], ms=4.5)
        for each in present
    ]
    close = {"handletextpad": 0.1, "columnspacing": 0.8}
    words = [outcome.value for outcome in present]
    figure.legend(handles, words, loc="outside lower center", ncols=5, **close)


def _fitting(labels: Sequence[str]) -> int:
    """How many columns of such labels a panel's width holds."""
    return max(1, min(len(labels), 72 // (max(map(len, labels), default=1) + 5)))


def present_outcomes(table: pd.DataFrame) -> list[Outcome]:
    """The outcomes of which a table with a column for each has any."""
    return [each for each in Outcome if each.value in table and table[each.value].sum() > 0]


def dashes(families: Mapping[str, str]) -> dict[str, Any]:
    """Line styles by configuration: those of one family share its colour and differ by their dashes."""
    styles: list[Any] = ["-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (8, 2))]
    seen: dict[str, int] = {}
    chosen = {}
    for label, family in families.items():
        chosen[label] = styles[seen.get(family, 0) % len(styles)]
        seen[family] = seen.get(family, 0) + 1
    return chosen


def short(text: object, limit: int = 22) -> str:
    """A label, its middle left out where it is long."""
    whole = str(text)
    if len(whole) <= limit:
        return whole
    head = (limit - 1) // 2
    return f"{whole[:head]}…{whole[-(limit - 1 - head) :]}"

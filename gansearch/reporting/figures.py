"""The figures of a stability study, for papers and for phones: one small panel each.

Every function takes tables of `gansearch.analysis`, as plain numbers, and gives a matplotlib figure.
They are to be called within `style.styled()`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from gansearch import files
from gansearch.analysis.rows import rows_of
from gansearch.files import Place
from gansearch.reporting.style import (
    FAILURE,
    HEIGHT,
    INK,
    OUTCOME_COLOURS,
    Array,
    Palette,
    dashes,
    diverging,
    forest,
    interval_mark,
    label_rows,
    legend,
    log_if_wide,
    panel,
    percent,
    present_outcomes,
    rows_height,
    short,
    side_note,
    ticks,
    whole_numbers,
)
from gansearch.study.records import BETTER, Goal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def ranking(
    table: pd.DataFrame, seeds: pd.DataFrame, palette: Palette, metric: str, goal: Goal
) -> Figure:
    """Every configuration's IQM with its interval, each seed a dot, failures counted at the right.

    Args:
        table: of configurations, best first.
        seeds: one row a seed: configuration, best, counts (success or failure).
        palette: the families' colours.
        metric: the objective's name.
        goal: towards which side is better.
    """
    rows = rows_of(table)
    figure, axes = forest(rows, palette)
    good = seeds[seeds["counts"] == "success"]
    log_if_wide(axes, "x", good["best"], table["iqm_low"], table["iqm_high"])
    jitter = np.random.default_rng(0)
    for height, row in enumerate(rows):
        values = good.loc[good["configuration"] == row["configuration"], "best"].to_numpy(float)
        colour = palette.colour(row["family"])
        heights = height + jitter.uniform(-0.22, 0.22, len(values))
        axes.scatter(values, heights, s=9, color=colour, alpha=0.45, linewidths=0, zorder=2)
        interval_mark(axes, height, row, "iqm", colour)
        failed = row["seeds"] - row["successes"]
        if failed:
            side_note(axes, height, f"✕ {failed:.0f}/{row['seeds']:.0f}", FAILURE)
    axes.set_xlabel(f"best {metric} of a run ({BETTER[goal]})")
    return figure


def rank_intervals(table: pd.DataFrame, palette: Palette) -> Figure:
    """Each configuration's rank with its interval, and how often it is first among resamples."""
    rows = rows_of(table)
    figure, axes = forest(rows, palette)
    for height, row in enumerate(rows):
        interval_mark(axes, height, row, "rank", palette.colour(row["family"]))
        if math.isfinite(row["p_first"]):
            side_note(axes, height, f"{100 * row['p_first']:.0f} %")
    whole_numbers(axes)
    axes.set_xlim(left=0.5)
    axes.set_xlabel("rank (95 % interval); right: P(first)")
    return figure


def success_rates(table: pd.DataFrame, palette: Palette) -> Figure:
    """Each configuration's share of seeds that trained to the end, with its 95 % interval."""
    rows = rows_of(table)
    figure, axes = forest(rows, palette)
    for height, row in enumerate(rows):
        interval_mark(axes, height, row, "success_rate", palette.colour(row["family"]), "success")
        side_note(axes, height, f"{row['successes']:.0f}/{row['seeds']:.0f}")
    percent(axes, "x")
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("runs that trained to the end (95 % interval)")
    return figure


def endings(table: pd.DataFrame, colours: Sequence[str]) -> Figure:
    """How each configuration's seeds ended: a stacked bar of counts for each.

    Args:
        table: index: configurations, best first; columns: outcomes; cells: seeds.
        colours: of the labels.
    """
    figure, axes = panel(rows_height(len(table)))
    base = np.zeros(len(table))
    for outcome in present_outcomes(table):
        counts = table[outcome.value].to_numpy(float)
        colour = OUTCOME_COLOURS[outcome]
        axes.barh(range(len(table)), counts, 0.7, left=base, color=colour, label=outcome.value)
        base += counts
    label_rows(axes, [short(label) for label in table.index], colours)
    whole_numbers(axes)
    axes.set_xlabel("seeds")
    legend(figure, axes, columns=4)
    return figure


def superiority(pairs: pd.DataFrame, order: Sequence[str]) -> Figure:
    """P(row beats column) as a matrix; where the interval leaves one half out, the number is bold."""
    from matplotlib.colors import Normalize  # noqa: PLC0415

    size = len(order)
    figure, axes = panel(max(HEIGHT, 0.9 + 0.3 * size))
    matrix, sure = _square(pairs, order)
    axes.imshow(matrix, cmap=diverging(), norm=Normalize(0, 1), aspect="auto")
    for i, j in np.argwhere(np.isfinite(matrix)):
        shade = "white" if abs(matrix[i, j] - 0.5) > 0.46 else INK
        weight = "bold" if sure[i, j] else "normal"
        text = f"{100 * matrix[i, j]:.0f}"
        axes.text(j, i, text, ha="center", va="center", fontsize=7, color=shade, weight=weight)
    axes.grid(visible=False)
    ticks(axes, "x", range(size), [short(label, 16) for label in order], aslant=True)
    ticks(axes, "y", range(size), [short(label) for label in order])
    axes.set_title("P(a run of the row beats one of the column), %")
    return figure


def _square(pairs: pd.DataFrame, order: Sequence[str]) -> tuple[Array, Array]:
    """The probabilities as a matrix with NaN on its diagonal, and 1 where they differ from one half."""
    row_of = {label: i for i, label in enumerate(order)}
    matrix = np.full((len(order), len(order)), math.nan)
    sure = np.zeros_like(matrix)
    for row in rows_of(pairs):
        if row["a"] in row_of and row["b"] in row_of:
            i, j = row_of[row["a"]], row_of[row["b"]]
            matrix[i, j], matrix[j, i] = row["p"], 1 - row["p"]
            sure[i, j] = sure[j, i] = round(row["low"], 2) > 0.5 or round(row["high"], 2) < 0.5
    return matrix, sure


def training_curves(
    curves: pd.DataFrame,
    title: str,
    colour: str,
    metric: str,
    *,
    counts: tuple[int, int],
    scale: ArrayLike,
) -> Figure:
    """One configuration's metric over training: median and 10-90 % of its successes, failures alone.

    Args:
        curves: seed, step, value, success; one row a report.
        title: the configuration.
        colour: its family's.
        metric: the objective's name.
        counts: (successes, seeds).
        scale: values of all the curves that are compared: the vertical axis holds the finite ones.
    """
    figure, axes = panel(HEIGHT - 0.2)
    known = curves[np.isfinite(curves["value"].to_numpy(float))]
    good, bad = known[known["success"]], known[~known["success"]]
    if len(good):
        at = good.groupby("step")["value"].quantile([0.1, 0.5, 0.9]).unstack().sort_index()
        steps, (low, middle, high) = at.index.to_numpy(float), at.to_numpy(float).T
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, lw=0)
        axes.plot(steps, middle, color=colour)
    for _, run in bad.groupby("seed"):
        steps, values = run["step"].to_numpy(float), run["value"].to_numpy(float)
        axes.plot(steps, values, color=FAILURE, lw=0.7, alpha=0.7)
        axes.plot(steps[-1], values[-1], "x", color=FAILURE, ms=6, mew=1.4)
    log_if_wide(axes, "y", scale)
    axes.set_ylim(*_around(axes, scale))
    axes.set_xlabel("generator updates")
    axes.set_ylabel(metric)
    axes.set_title(f"{short(title, 34)}: {counts[0]} of {counts[1]} seeds succeeded")
    return figure


def _around(axes: Axes, values: ArrayLike) -> tuple[float, float]:
    """Limits of the vertical axis a little beyond the finite values, on its own scale."""
    to, known = axes.yaxis.get_transform(), np.asarray(values, float)
    known = known[np.isfinite(known)]
    ends = to.transform(np.array([known.min(), known.max()]))
    margin = 0.04 * (ends[1] - ends[0]) or 0.5
    low, high = to.inverted().transform(ends + np.array([-margin, margin]))
    return float(low), float(high)


def winners_curse(table: pd.DataFrame, palette: Palette, metric: str, goal: Goal) -> Figure:
    """What the search saw of each configuration (hollow) and what fresh seeds gave (filled)."""
    rows = rows_of(table)
    figure, axes = forest(rows, palette)
    log_if_wide(axes, "x", table["searched"], table["iqm"])
    for height, row in enumerate(rows):
        colour = palette.colour(row["family"])
        axes.plot([row["searched"], row["iqm"]], [height, height], color=colour, lw=0.9, zorder=1)
        interval_mark(axes, height, row, "iqm", colour)
        axes.plot(row["searched"], height, "o", mfc="white", mec=colour, mew=1.2, ms=6, zorder=4)
    axes.set_xlabel(f"{metric} ({BETTER[goal]})")
    return figure


def profiles(
    table: pd.DataFrame, families: Mapping[str, str], palette: Palette, metric: str, goal: Goal
) -> Figure:
    """Performance profiles: the share of all seeds at or beyond each threshold, with 95 % bands.

    Args:
        table: configuration, threshold, share, low, high.
        families: of the configurations that are shown, in the order of the legend.
        palette: the families' colours.
        metric: the objective's name.
        goal: towards which side is better.
    """
    figure, axes = panel(HEIGHT + 0.4)
    styles = dashes(families)
    where: Literal["post", "pre"] = "post" if goal == "min" else "pre"
    for label, family in families.items():
        mine = table[table["configuration"] == label].sort_values("threshold")
        x, share, low, high = mine[["threshold", "share", "low", "high"]].to_numpy(float).T
        colour = palette.colour(family)
        axes.fill_between(x, low, high, step=where, color=colour, alpha=0.1, lw=0)
        axes.step(x, share, where=where, color=colour, ls=styles[label], label=short(label))
    log_if_wide(axes, "x", table["threshold"])
    percent(axes, "y")
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(f"threshold of {metric}")
    axes.set_ylabel(f"runs at or {'below' if goal == 'min' else 'above'} it")
    legend(figure, axes)
    return figure


def tolerance(table: pd.DataFrame, centre: str, colour: str) -> Figure:
    """What each change of a configuration costs: its IQM over the unchanged one's, and its successes.

    Args:
        table: axis, factor, ratio, ratio_low, ratio_high, success_rate, seeds, of one centre.
        centre: its label.
        colour: its family's.
    """
    rows = rows_of(table)
    figure, axes = panel(rows_height(len(rows), each=0.2))
    axes.axvline(1.0, color=INK, lw=0.8)
    log_if_wide(axes, "x", table["ratio"])
    for height, row in enumerate(rows):
        interval_mark(axes, height, row, "ratio", colour)
        if row["seeds"] > 0:
            successes = f"{row['success_rate'] * row['seeds']:.0f}/{row['seeds']:.0f}"
            side_note(axes, height, successes, FAILURE if row["success_rate"] < 1 else INK)
    labels = [f"{short(row['axis'], 24)} \N{MULTIPLICATION SIGN} {row['factor']:.3g}" for row in rows]
    label_rows(axes, labels, [INK] * len(rows))
    axes.set_xlabel("IQM over the unchanged one's")
    axes.set_title(f"around {short(centre, 40)}")
    return figure


def thumbnail(path: Place, width: int = 512) -> bytes:
    """A picture as JPEG, at most `width` pixels wide."""
    from PIL import Image  # noqa: PLC0415

    with files.reading(path) as file, Image.open(file) as opened:
        image = opened.convert("RGB")
        if image.width > width:
            image = image.resize((width, max(1, image.height * width // image.width)))
        buffer = BytesIO()
        image.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()

"""A search's figures: maps of stability, what a budget buys, what mattered; see `figures`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gansearch.analysis.wording import number
from gansearch.reporting.style import (
    FAILURE,
    HEIGHT,
    INK,
    OUTCOME_COLOURS,
    OUTCOME_MARKS,
    RASTER_ABOVE,
    SOFT,
    Array,
    Palette,
    diverging,
    family_legend,
    label_rows,
    legend,
    log_axis,
    log_if_wide,
    options,
    outcome_legend,
    panel,
    percent,
    present_outcomes,
    short,
    ticks,
)
from gansearch.study.axes import Axis, Choice, Float, Int
from gansearch.study.records import Goal, Outcome, cost

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Ticks = list[tuple[float, str]]
"""Heights in [0, 1] and what stands there."""


def stability_map(grid: pd.DataFrame, points: pd.DataFrame, family: str) -> Figure:
    """P(success) over two axes for one family: colour, faded where unsure, its trials, and 90 %.

    Args:
        grid: x, y, p, low, high at the nodes of a full grid, in the axes' own units; `attrs` name the
            axes (`x`, `y`) and say whether they are logarithmic (`x_log`, `y_log`).
        points: x, y, outcome of each trial.
        family: the title.
    """
    figure, axes = panel(HEIGHT + 0.5)
    facts = grid.attrs
    if len(points) > RASTER_ABOVE:
        axes.set_rasterization_zorder(1)  # one image of all the marks
    for which in "xy":
        if facts[f"{which}_log"]:
            log_axis(axes, which)
    x, y, p, low, high = _finer(grid)
    trust = np.clip(1.25 - (high - low), 0.12, 1.0)[..., None]
    shade = trust * diverging()(p)[..., :3] + (1 - trust)
    axes.pcolormesh(x, y, shade, shading="nearest", rasterized=True, zorder=0)
    if (high - low).max() > 0.6:
        levels = [0.6, 2.0]
        axes.contourf(x, y, high - low, levels, colors="none", hatches=["////"], zorder=0.5)
    if p.min() < 0.9 < p.max():
        axes.contour(x, y, p, levels=[0.9], colors=[INK], linewidths=1.3, zorder=3)
    _outcome_marks(axes, points)
    axes.set_xlim(x.min(), x.max())
    axes.set_ylim(y.min(), y.max())
    axes.grid(visible=False)
    axes.set_xlabel(facts["x"])
    axes.set_ylabel(facts["y"])
    axes.set_title(f"{family} (n = {len(points)})")
    _colour_bar(figure, axes)
    outcome_legend(figure, points["outcome"])
    return figure


def _finer(grid: pd.DataFrame, factor: int = 4) -> tuple[Array, Array, Array, Array, Array]:
    """x, y and the matrices of p, low and high, with nodes put between so that no pixel is seen."""
    from scipy.interpolate import RegularGridInterpolator  # noqa: PLC0415

    wide = grid.pivot(index="y", columns="x", values=["p", "low", "high"])
    ends = {"x": wide["p"].columns.to_numpy(float), "y": wide.index.to_numpy(float)}
    nodes = {w: np.log(at) if grid.attrs[f"{w}_log"] else at for w, at in ends.items()}
    fine = {w: np.linspace(u[0], u[-1], factor * (len(u) - 1) + 1) for w, u in nodes.items()}
    at = np.stack(np.meshgrid(fine["y"], fine["x"], indexing="ij"), axis=-1)
    p, low, high = (
        RegularGridInterpolator((nodes["y"], nodes["x"]), wide[name].to_numpy(float))(at)
        for name in ("p", "low", "high")
    )
    x, y = (np.exp(u) if grid.attrs[f"{w}_log"] else u for w, u in fine.items())
    return x, y, p, low, high


def _outcome_marks(axes: Axes, points: pd.DataFrame) -> None:
    for outcome in Outcome:
        mine = points[points["outcome"] == outcome.value]
        style: dict[str, Any] = {"marker": OUTCOME_MARKS[outcome], "color": OUTCOME_COLOURS[outcome]}
        hollow = OUTCOME_MARKS[outcome] in "x+"
        style |= {"linewidths": 1.1} if hollow else {"linewidths": 0.4, "edgecolors": "white"}
        axes.scatter(mine["x"].to_numpy(float), mine["y"].to_numpy(float), s=16, zorder=0.9, **style)


def _colour_bar(figure: Figure, axes: Axes) -> None:
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415
    from matplotlib.colors import Normalize  # noqa: PLC0415

    shades = ScalarMappable(Normalize(0, 1), diverging())
    bar = figure.colorbar(shades, ax=axes, aspect=30, pad=0.02, label="P(success)")
    percent(bar.ax, "y")
    bar.ax.axhline(0.9, color=INK, lw=1.3)


def budget_curves(table: pd.DataFrame, palette: Palette, metric: str, by: str, label: str) -> Figure:
    """Expected best value against a budget, a line and a 95 % band for each family.

    Args:
        table: family, the budget's column, expected, low, high.
        palette: the families' colours.
        metric: the objective's name.
        by: the budget's column.
        label: its name and unit.
    """
    figure, axes = panel(HEIGHT + 0.3)
    known = table[np.isfinite(table["expected"].to_numpy(float))]
    for family, curve in known.groupby("family", sort=False):
        x, expected, low, high = curve[[by, "expected", "low", "high"]].to_numpy(float).T
        colour, mark = palette.colour(str(family)), palette.mark(str(family))
        axes.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        last: dict[str, Any] = {"marker": mark, "ms": 3.5, "markevery": [len(x) - 1]}
        axes.plot(x, expected, color=colour, label=str(family), **last)
    if known[by].max() > 30 * max(known[by].min(), 1e-9):
        log_axis(axes, "x")
    log_if_wide(axes, "y", known["expected"])
    axes.set_xlabel(label)
    axes.set_ylabel(f"expected best {metric}")
    legend(figure, axes)
    return figure


def importance(table: pd.DataFrame, targets: Mapping[str, str], limit: int = 10) -> Figure:
    """How much each axis mattered, a bar for each target (the value, and failure).

    Args:
        table: axis, target, importance (shares that sum to 1 over the axes).
        targets: target -> what the legend calls it, in the order of the bars.
        limit: axes shown, the most important first.
    """
    wide = table.pivot_table(index="axis", columns="target", values="importance", aggfunc="mean")
    order = wide.max(axis=1).sort_values(ascending=False, kind="stable").index[:limit]
    figure, axes = panel(max(2.0, 1.1 + 0.3 * len(order)))
    present = [target for target in targets if target in wide]
    thick = 0.8 / max(len(present), 1)
    for i, (target, colour) in enumerate(zip(present, ("#3B6FA0", FAILURE), strict=False)):
        heights = np.arange(len(order)) + (i - (len(present) - 1) / 2) * thick
        shares = wide.loc[order, target].fillna(0).to_numpy(float)
        axes.barh(heights, shares, thick * 0.9, color=colour, label=targets[target])
    label_rows(axes, [short(axis, 30) for axis in order], [INK] * len(order))
    percent(axes, "x")
    axes.set_xlim(left=0)
    axes.set_xlabel("share of the explained variation")
    legend(figure, axes)
    return figure


def outcomes_by(table: pd.DataFrame, name: str) -> Figure:
    """How trials ended along one axis: a stacked bar for each value or range of it.

    Args:
        table: index: values or ranges in order; columns: outcomes; cells: trials; `attrs["edges"]` of
            the ranges, if they are.
        name: the axis.
    """
    figure, axes = panel()
    totals = table.sum(axis=1).to_numpy(float)
    base = np.zeros(len(table))
    for outcome in present_outcomes(table):
        shares = table[outcome.value].to_numpy(float) / np.maximum(totals, 1)
        colour = OUTCOME_COLOURS[outcome]
        axes.bar(range(len(table)), shares, 0.82, bottom=base, color=colour, label=outcome.value)
        base += shares
    for column, total in enumerate(totals):
        axes.text(column, 1.01, f"n={total:.0f}", ha="center", va="bottom", fontsize=6)
    edges = table.attrs.get("edges")
    if edges:
        ticks(axes, "x", np.arange(len(edges)) - 0.5, [number(float(f"{e:.2g}")) for e in edges])
        axes.tick_params(axis="x", labelsize=6.5)
        axes.grid(visible=False, axis="x")
    else:
        options(axes, [str(value) for value in table.index])
    percent(axes, "y")
    axes.set_ylim(0, 1.06)
    axes.set_xlabel(name)
    axes.set_ylabel("trials")
    legend(figure, axes, columns=5)
    return figure


def slices(
    points: pd.DataFrame, name: str, axis: Axis, palette: Palette, metric: str, goal: Goal
) -> Figure:
    """The trials' best values along one axis, by family; those without a value are crosses at the edge.

    Args:
        points: x (numbers, or labels), value (NaN: failed), family.
        name: the axis' name.
        axis: what values it has.
        palette: the families' colours.
        metric: the objective's name.
        goal: towards which side is better.
    """
    figure, axes = panel(HEIGHT + 0.2)
    if len(points) > RASTER_ABOVE:
        axes.set_rasterization_zorder(1)
    x = _places(axes, points["x"], axis)
    value = points["value"].to_numpy(float)
    family_of = points["family"].to_numpy(str)
    for family in sorted(set(family_of)):
        mine = (family_of == family) & np.isfinite(value)
        style: dict[str, Any] = {
            "marker": palette.mark(family),
            "color": palette.colour(family),
            "label": family,
        }
        axes.scatter(x[mine], value[mine], s=11, alpha=0.6, linewidths=0, zorder=0.5, **style)
    failed = ~np.isfinite(value)
    if failed.any():
        edge = np.full(failed.sum(), 0.985 if goal == "min" else 0.015)
        cross: dict[str, Any] = {"color": FAILURE, "label": f"no value ({failed.sum()})"}
        where = axes.get_xaxis_transform()
        axes.plot(
            x[failed], edge, "x", ms=3.5, mew=0.8, alpha=0.6, zorder=0.6, transform=where, **cross
        )
    log_if_wide(axes, "y", value)
    axes.set_xlabel(name)
    axes.set_ylabel(f"best {metric}")
    legend(figure, axes)
    return figure


def _places(axes: Axes, values: pd.Series, axis: Axis) -> Array:
    """Numbers as they are; options and few integers at 0, 1, 2 …, the trials a little apart."""
    if isinstance(axis, Choice):
        labels = [str(label) for label in axis.options]
        places = np.array([labels.index(label) for label in values], float)
    elif isinstance(axis, Int) and axis.high - axis.low < 8:
        labels = [str(value) for value in range(axis.low, axis.high + 1)]
        places = values.to_numpy(float) - axis.low
    else:
        if isinstance(axis, Float) and axis.log:
            log_axis(axes, "x")
        return values.to_numpy(float)
    options(axes, labels)
    return places + np.random.default_rng(0).uniform(-0.28, 0.28, len(values))


def parallel(
    lines: pd.DataFrame, marks: Mapping[str, Ticks], families: Sequence[str], palette: Palette
) -> Figure:
    """Parallel coordinates: a line a trial over the axes and its value, each scaled to [0, 1].

    Args:
        lines: a row a trial, a column an axis, values in [0, 1] (NaN: the axis is not there).
        marks: column -> its ticks.
        families: of each row.
        palette: the families' colours.
    """
    from matplotlib.collections import LineCollection  # noqa: PLC0415

    figure, axes = panel(HEIGHT + 0.6)
    positions = np.arange(lines.shape[1], dtype=float)
    segments = [np.column_stack([positions, row])[np.isfinite(row)] for row in lines.to_numpy(float)]
    colours = [palette.colour(family) for family in families]
    faint = float(np.clip(60 / max(len(lines), 1), 0.1, 0.6))
    axes.add_collection(LineCollection(segments, colors=colours, linewidths=0.8, alpha=faint))
    halo = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
    for position, column in enumerate(lines.columns):
        axes.axvline(position, color=SOFT, lw=0.8)
        for height, text in marks[column]:
            axes.text(position + 0.04, height, text, fontsize=6.5, va="center", bbox=halo)
    axes.set_xlim(-0.1, lines.shape[1] - 0.55)
    axes.set_ylim(-0.04, 1.04)
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.grid(visible=False)
    names = [str(column).replace(".", ".\n").replace("_", "_\n") for column in lines.columns]
    ticks(axes, "x", range(lines.shape[1]), names)
    axes.tick_params(axis="x", length=0, labelsize=6.5)
    family_legend(figure, families, palette)
    return figure


def scaled(values: pd.Series, axis: Axis) -> tuple[Array, Ticks]:
    """Values of an axis about [0, 1] on its own scale (NaN: it is not there), and ticks for it."""
    if isinstance(axis, Choice):
        labels = [str(label) for label in axis.options]
        heights = dict(zip(labels, np.linspace(0, 1, len(labels)).tolist(), strict=True))
        coordinates = np.array([heights.get(str(value), math.nan) for value in values], float)
        side_by_side = np.random.default_rng(0).uniform(-0.02, 0.02, len(coordinates))
        coordinates += side_by_side
        return coordinates, [(at, short(label, 14)) for label, at in heights.items()]
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
    low, high = float(axis.low), float(axis.high)
    marks = [(0.0, number(low)), (1.0, number(high))]
    if isinstance(axis, Float) and axis.log:
        numbers, low, high = np.log10(numbers), math.log10(low), math.log10(high)
    return (numbers - low) / (high - low), marks


def scaled_values(values: Array, goal: Goal) -> tuple[Array, Ticks]:
    """Values of the objective by their rank, the best at 1, with ticks at the ends and the median."""
    costs = cost(values, goal)
    finite = np.sort(costs[np.isfinite(costs)])
    if not len(finite):
        return np.full(len(costs), math.nan), []
    heights = 1 - np.searchsorted(finite, costs, "left") / max(len(finite) - 1, 1)
    marks = [
        (1 - q, number(cost(float(f"{np.quantile(finite, q):.3g}"), goal))) for q in (0.0, 0.5, 1.0)
    ]
    return np.where(np.isfinite(costs), np.clip(heights, 0, 1), math.nan), marks

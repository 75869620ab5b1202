"""The sections of a report on what the search's trials tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gansearch.analysis.chances import second_chances
from gansearch.analysis.evidence import Evidence
from gansearch.analysis.importance import outcomes_by
from gansearch.analysis.rows import plain, rows_of
from gansearch.analysis.trials import ALL
from gansearch.analysis.wording import DASH, missing, number, rounded
from gansearch.errors import listed
from gansearch.reporting import search_figures
from gansearch.reporting.findings import Findings
from gansearch.reporting.page import Picture, Section, Table
from gansearch.reporting.style import Palette
from gansearch.study.records import TrialRecord, count, ranked

AXES_SHOWN, PARALLEL_SHOWN, MAPS_SHOWN, CHANCES_SHOWN = 6, 5, 8, 20
"""Axes with figures of their own, axes among parallel coordinates, families with a map, and trials that
went on after a pause, at most."""

EVALUATORS = {
    "ped-anova": "PED-ANOVA: how far the good trials lie from all of them along an axis "
    "(Watanabe et al. 2023)",
    "fanova": "fANOVA: the share of a random forest's variance that an axis explains alone "
    "(Hutter et al. 2014)",
}


def sections(findings: Findings, palette: Palette) -> list[Section | None]:
    """The sections that have something to say, where the search has at least one trial."""
    return [maps(findings), chances(findings), budget(findings, palette), mattered(findings, palette)]


# --- where training succeeds ----------------------------------------------------------------------


def maps(findings: Findings) -> Section | None:
    """Stability maps and the largest safe learning rates."""
    drawn = {family: pair for family, pair in findings.maps.items() if pair[0].attrs.get("enough")}
    scarce = {
        family: str(grid.attrs["words"]) for family, (grid, _) in findings.maps.items() if len(grid)
    }
    shown = list(drawn.items())[:MAPS_SHOWN]
    pictures = [
        _map(nth, family, grid, points) for nth, (family, (grid, points)) in enumerate(shown, start=1)
    ]
    tables = [_rates(findings)] if len(findings.safe_rates) else []
    if not pictures and not tables:
        return None
    words = {str(grid.attrs.get("words", "")) for grid, _ in drawn.values()}
    said = [_sentence(text) for text in sorted(words) if text]
    if missed := [f"{family}: {text}" for family, text in scarce.items() if family not in drawn]:
        said.append(f"No map of {'; '.join(missed)}.")
    if len(drawn) > len(shown):
        said.append(f"Maps of the {len(shown)} most tried losses; stability_map.csv has the others'.")
    return Section("maps", "Stability maps", said, tables=tables, pictures=pictures)


def _map(nth: int, family: str, grid: pd.DataFrame, points: pd.DataFrame) -> Picture:
    facts = {str(key): value for key, value in grid.attrs.items()}
    counts = _counts(facts)
    caption = (
        f"{family}: probability that a training with these values succeeds, the other axes as these "
        f"trainings have them; line: 90 %; pale and hatched: few near. {counts}."
    )
    alt = f"Stability map of {family} over {facts['x']} and {facts['y']}: {counts}."
    figure = search_figures.stability_map(grid, points, family)
    return Picture(f"stability_map-{nth}", caption, alt, figure)


def _counts(facts: Mapping[str, Any]) -> str:
    kinds = ("succeeded", "failed", "pruned")
    parts = [f"{facts[kind]} {kind}" for kind in kinds if facts.get(kind)]
    return f"{count(facts['counted'], 'training')}, of search and confirmation: {listed(parts)}"


def _rates(findings: Findings) -> Table:
    rows = [
        [
            "all together" if row["family"] == ALL else row["family"],
            row["axis"],
            _rate(row["rate"], row["low"], row["high"]),
            _rate(row["safe_from"], None, None),
            number(row["trials"]),
            rounded(row["words"]),
        ]
        for row in rows_of(findings.safe_rates)
    ]
    note = (
        "The largest rate at which, more likely than not, nine trainings in ten succeed, the other "
        "axes as the search's trials and the confirming seeds have them. [Up to the first it is almost "
        "surely safe, beyond the second almost surely not]; a dash: these trials do not tell."
    )
    headings = ["loss", "learning rate", "largest safe at 90 %>", "safe from>", "trials>", "in words~"]
    return Table.of("Largest safe learning rates", headings, rows, note)


def _rate(value: Any, low: Any, high: Any) -> str:
    """Rates are compared by their factor: two digits each."""
    if missing(value):
        return DASH
    shown = [DASH if missing(x) else number(float(f"{x:.2g}")) for x in (value, low, high)]
    known = not (missing(low) and missing(high))
    return f"{shown[0]} [{shown[1]}, {shown[2]}]" if known else shown[0]


# --- second chances -------------------------------------------------------------------------------


def chances(findings: Findings) -> Section | None:
    """Who was paused, and what became of those that went on."""
    e = findings.evidence
    brought = second_chances(e.search, e.metric, e.goal)
    if brought is None:
        return None
    first, best = ranked(e.search, e.metric, e.goal), f"best {e.metric}>"
    woken = [
        [*_head(record, e), record.outcome.value, record.chances[0].paused, record.chances[0].woken]
        for record in first
        if record.number in brought["woken"]
    ]
    waiting = [
        [*_head(record, e), record.reason] for record in first if record.number in brought["waiting"]
    ]
    whys = ["why it was paused first~", "why it went on then~"]
    tables = [
        _first("Went on after a pause", ["trial", best, "paused at>", "outcome", *whys], woken),
        _first("Paused now", ["trial", best, "paused at>", "why~"], waiting),
    ]
    tables = [table for table in tables if table.rows]
    said = (
        "A trial that is behind is paused, not stopped: it keeps its checkpoint and goes on when it is "
        "worth it after all."
    )
    return Section("chances", "Second chances", [said, _sentence(brought["words"])], tables=tables)


def _head(record: TrialRecord, e: Evidence) -> list[str]:
    """Which trial, as what it began, its best value, and at which steps it was paused."""
    best = record.best(e.metric, e.goal)
    steps = ", ".join(f"{chance.step:,}" for chance in record.chances)
    called = " ".join(filter(None, [str(record.number), record.origin]))
    return [called, number(best.value) if best else DASH, steps]


def _first(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """The first rows of a table; of several pauses of a trial the reasons of the first are told."""
    shown = rows[:CHANCES_SHOWN]
    note = f"The best {len(shown)} of {len(rows):,}." if len(rows) > len(shown) else ""
    return Table.of(caption, headings, shown, note)


# --- what a budget buys ---------------------------------------------------------------------------


def budget(findings: Findings, palette: Palette) -> Section | None:
    """What a larger search would have found."""
    pictures = [
        *_budget(findings, palette, findings.budget_curves, "trials", "trials in the search"),
        *_budget(findings, palette, findings.seconds_curves, "seconds", "device-seconds of training"),
    ]
    after = _sentence(str(findings.budget_curves.attrs.get("words", "")))
    return Section("budget", "What a budget buys", pictures=pictures, after=after) if pictures else None


def _budget(
    findings: Findings, palette: Palette, curves: pd.DataFrame, by: str, label: str
) -> Iterator[Picture]:
    table = plain(curves)
    if len(findings.families) > 1:
        table = table[table["family"] != ALL]
    if table.empty:
        return
    caption = (
        f"Expected best {findings.evidence.metric} of a search of so many {by}, by loss, with 95 % "
        "bootstrap bands, too narrow at the right end; a line ends where the trials do (as Lucic et "
        "al. 2018, figure 4)."
    )
    figure = search_figures.budget_curves(table, palette, findings.evidence.metric, by, label)
    yield Picture(f"budget_{by}", caption, f"Expected best value against {label}, by loss.", figure)


# --- what mattered --------------------------------------------------------------------------------


def mattered(findings: Findings, palette: Palette) -> Section | None:
    """Which axes decided the value, and which failure."""
    axes = _important_axes(findings)
    pictures = list(_importance(findings))
    for nth, axis in enumerate(axes[:AXES_SHOWN], start=1):
        pictures += _along(findings, palette, axis, nth)
    pictures += _parallel(findings, palette, axes[:PARALLEL_SHOWN])
    if not pictures:
        return None
    said = (
        "Importance is a share: of what the axes do to the value (or to whether training fails), the "
        "part of each. It is blind to signs and interactions and does not know how sure it is: it "
        "points where to look."
    )
    after = _sentence(str(findings.importance.attrs.get("words", "")))
    return Section("mattered", "What mattered", [said], pictures=pictures, after=after)


def _important_axes(findings: Findings) -> list[str]:
    """The axes, the most important first."""
    highest = findings.importance.groupby("axis")["importance"].max()
    order = highest.sort_values(ascending=False, kind="stable").index
    return list(dict.fromkeys([*map(str, order), *findings.evidence.axes]))


def _importance(findings: Findings) -> Iterator[Picture]:
    used = findings.importance.attrs.get("trials", {})
    targets = {"value": "the best value", "failure": "whether training fails"}
    labels = {target: f"{text} (n = {used.get(target, 0)})" for target, text in targets.items()}
    for evaluator, table in findings.importance.groupby("evaluator", sort=False):
        caption = f"Importance of each axis by {EVALUATORS.get(str(evaluator), str(evaluator))}."
        figure = search_figures.importance(table, labels)
        yield Picture(f"importance-{evaluator}", caption, f"Importance by {evaluator}.", figure)


def _along(findings: Findings, palette: Palette, name: str, nth: int) -> Iterator[Picture]:
    """The values and the outcomes along one axis."""
    e = findings.evidence
    points = findings.slices[findings.slices["axis"] == name]
    if points.empty:
        return
    trials = count(len(points), "trial")
    if np.isfinite(points["value"].to_numpy(float)).any():
        figure = search_figures.slices(points, name, e.axes[name], palette, e.metric, e.goal)
        caption = f"Best {e.metric} of {trials} over {name}; ✕: trials without a value."
        yield Picture(f"slice-{nth}", caption, f"Best {e.metric} over {name}.", figure)
    figure = search_figures.outcomes_by(outcomes_by(e, name), name)
    caption = f"How {trials} of the search ended, by {name}."
    yield Picture(f"outcomes-{nth}", caption, f"Outcomes by {name}.", figure)


def _parallel(findings: Findings, palette: Palette, axes: Sequence[str]) -> Iterator[Picture]:
    e, table = findings.evidence, findings.parallel
    values = table["value"].to_numpy(float)
    if len(axes) < 2 or not np.isfinite(values).any():
        return
    lines, marks = {}, {}
    for axis in axes:
        lines[axis], marks[axis] = search_figures.scaled(table[axis], e.axes[axis])
    lines[e.metric], marks[e.metric] = search_figures.scaled_values(values, e.goal)
    whole = table.attrs.get("trials", len(table))
    of = (
        f"{len(table):,} of {whole:,} trials, the best among them"
        if whole > len(table)
        else count(whole, "trial")
    )
    caption = (
        f"Parallel coordinates over the most important axes: {of}; the last axis is the value by its "
        "rank, best on top, where lines of trials without a value do not arrive."
    )
    figure = search_figures.parallel(
        pd.DataFrame(lines), marks, list(map(str, table["family"])), palette
    )
    yield Picture("parallel", caption, "Parallel coordinates of the trials.", figure)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""

"""The sections of a report on the stability study."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gansearch.analysis.configurations import LATE
from gansearch.analysis.rows import Row, plain, rows_of
from gansearch.analysis.wording import (
    DASH,
    interval,
    missing,
    number,
    probability,
    rounded,
    share,
    spread,
    words,
)
from gansearch.files import Place
from gansearch.reporting import figures
from gansearch.reporting.answer import FEW, told_apart
from gansearch.reporting.findings import Findings
from gansearch.reporting.page import Picture, Section, Table
from gansearch.reporting.style import Palette
from gansearch.study.records import cost, count

ROWS_SHOWN, CURVES_SHOWN, PROFILES_SHOWN, MATRIX_SHOWN, SAMPLES_SHOWN = 40, 6, 3, 12, 8
"""Configurations in a figure, or with one, at most; the tables have all of them."""

REAL = ""
"""Stands for real images among the samples of configurations: no configuration has such a label."""

ALONE = (
    " Each interval is of its pair alone: of many configurations that are all the same, some pairs "
    "seem to differ by chance."
)


def sections(
    findings: Findings, palette: Palette, samples: Mapping[str, Place]
) -> list[Section | None]:
    """The sections that have something to say, where at least one configuration is ranked."""
    return [
        ranking(findings, palette),
        failures(findings, palette),
        between(findings),
        drawn(findings, samples),
        training(findings, palette),
        curse(findings, palette),
        robustness(findings, palette),
        tolerance(findings, palette),
    ]


def ranking(findings: Findings, palette: Palette) -> Section:
    """Every configuration by rank."""
    metric, table = findings.evidence.metric, findings.ranked
    headings = ["rank", "configuration", "loss", f"score ({findings.by})>", "seeds that succeeded>"]
    headings += ["IQM>", "median>", "mean ± sd>", "10 to 90 %>", "IQM at the end>", "P(first)>"]
    note = (
        f"The score counts all seeds, a failure as worse than any value; {DASH}: failures reach into "
        "it, and the configuration comes after those that have one. All else is of the successful "
        f"runs: their best {metric}, with [95 % interval]. IQM: the mean of the middle half."
    )
    rows = [_ranking_row(row, findings.by) for row in findings.rows]
    top = table.head(ROWS_SHOWN)
    caption = (
        f"Best {metric} of every run (dots), its interquartile mean and 95 % interval (diamond, bar), "
        f"best rank on top; ✕ counts the seeds that failed and so have no value.{_cut(table, top)}"
    )
    told = "; ".join(f"{row['configuration']}: {_of(row, 'iqm')}" for row in findings.rows[:5])
    alt = f"{metric} by configuration, interquartile mean and interval: {told}."
    figure = figures.ranking(top, plain(findings.seeds), palette, metric, findings.evidence.goal)
    pictures = [Picture("ranking", caption, alt, figure)]
    if top["rank_high"].notna().any():
        caption = f"Rank over resamples of the seeds, and how often it is first.{_cut(table, top)}"
        figure = figures.rank_intervals(top, palette)
        pictures.append(Picture("ranks", caption, "Ranks with their intervals.", figure))
    tables = [Table.of("Configurations by rank", headings, rows, note)]
    return Section("ranking", "Ranking", tables=tables, pictures=pictures)


def _ranking_row(row: Row, by: str) -> list[str]:
    rank = f"{row['rank']:.0f}"
    if not missing(row["rank_low"]) and row["rank_low"] != row["rank_high"]:
        rank += f" [{row['rank_low']:.0f}, {row['rank_high']:.0f}]"
    quantiles = f"{number(row['q10'])} to {number(row['q90'])}" if row["successes"] >= FEW else DASH
    return [
        rank,
        row["configuration"],
        row["family"],
        share(row["score"]) if by == "success" else number(row["score"]),
        f"{row['successes']:.0f} of {row['seeds']:.0f}",
        _of(row, "iqm"),
        _of(row, "median"),
        spread(row["mean"], row["sd"]),
        quantiles,
        _of(row, "last_iqm"),
        share(row["p_first"]),
    ]


def failures(findings: Findings, palette: Palette) -> Section:
    """Success rates, and what went wrong."""
    table = findings.ranked
    rows = [
        [
            row["configuration"],
            share(row["success_rate"], row["success_low"], row["success_high"]),
            f"{row['successes']:.0f} of {row['seeds']:.0f}",
            share(*(row[f"late_collapse_rate{end}"] for end in ("", "_low", "_high"))),
            words(row["failures"]) if row["failures"] else "nothing",
        ]
        for row in findings.rows
    ]
    headings = ["configuration", "success rate>", "succeeded>", "late collapse>", "what went wrong~"]
    note = (
        "Success: trained to the end of the budget with a finite value. Late collapse: the last "
        f"value is more than {LATE:g} times worse than the best, or training fell over after a good "
        "value."
    )
    top = table.head(ROWS_SHOWN)
    total = f"{int(table['successes'].sum()):,} of {count(int(table['seeds'].sum()), 'run')} succeeded"
    caption = f"Share of seeds that trained to the end, 95 % interval; {total}.{_cut(table, top)}"
    pictures = [
        Picture("success_rates", caption, f"{total}.", figures.success_rates(top, palette)),
        _endings(findings, top, palette),
    ]
    tables = [Table.of("How often it works", headings, rows, note)]
    return Section("failures", "Success and failure", tables=tables, pictures=pictures)


def _endings(findings: Findings, top: pd.DataFrame, palette: Palette) -> Picture:
    seeds = findings.seeds
    counted = seeds["configuration"].isin(list(top.index)) & seeds["counts"].isin(
        ["success", "failure"]
    )
    shown = seeds[counted].astype({"configuration": object, "outcome": object})
    table = pd.crosstab(shown["configuration"], shown["outcome"]).reindex(top.index, fill_value=0)
    colours = [palette.colour(str(family)) for family in top["family"]]
    caption = f"How the {count(len(shown), 'run')} ended.{_cut(findings.ranked, top)}"
    return Picture("endings", caption, "Outcomes by configuration.", figures.endings(table, colours))


def between(findings: Findings) -> Section | None:
    """Who beats whom."""
    order = [row["configuration"] for row in findings.rows[:MATRIX_SHOWN]]
    if len(order) < 2:
        return None
    rows = []
    for other in order[1:]:
        p = findings.p_beats(order[0], other)
        so = told_apart(p) or "not told apart on these seeds"
        rows.append([other, probability(*p) if p else DASH, so])
    alone = ALONE if len(order) > 2 else ""
    headings = ["compared with", f"P({order[0]} beats it)>", f"so {order[0]} is"]
    note = (
        "The probability that one run of the first is better than one of the second, on fresh seeds; "
        f"ties count one half, and a failure is worse than any value.{alone}"
    )
    cut = _cut(findings.ranked, findings.ranked.head(MATRIX_SHOWN))
    caption = (
        "Probability, in per cent, that a run of the row's configuration beats one of the column's; "
        f"bold where the 95 % interval leaves one half out.{alone}{cut}"
    )
    figure = figures.superiority(plain(findings.pairs), order)
    alt = f"Matrix of {len(order)} by {len(order)} probabilities."
    tables = [Table.of("The first against the others", headings, rows, note)]
    pictures = [Picture("superiority", caption, alt, figure)]
    return Section("between", "Between configurations", tables=tables, pictures=pictures)


def drawn(findings: Findings, samples: Mapping[str, Place]) -> Section | None:
    """What the configurations draw, and real images to compare with."""
    pictures: list[Picture] = []
    for row in findings.rows:
        label = row["configuration"]
        if len(pictures) < SAMPLES_SHOWN and label in samples and samples[label].is_file():
            caption = (
                f"{label}{_best_seed(findings, label)}: its best run, so better than one to expect."
            )
            photograph = figures.thumbnail(samples[label])
            name = f"samples-{len(pictures) + 1}"
            pictures.append(
                Picture(name, caption, f"Images generated by {label}.", photograph=photograph)
            )
    if pictures and REAL in samples and samples[REAL].is_file():
        origin = findings.evidence.provenance.get(findings.evidence.metric, {})
        caption = f"Real samples of {words(origin.get('dataset') or 'the data set')}, to compare with."
        photograph = figures.thumbnail(samples[REAL])
        pictures.insert(0, Picture("samples-real", caption, "Real samples.", photograph=photograph))
    return Section("samples", "What it draws", pictures=pictures) if pictures else None


def _best_seed(findings: Findings, label: str) -> str:
    seeds = plain(findings.seeds)
    mine = seeds[(seeds["configuration"] == label) & seeds["best"].notna()]
    if mine.empty:
        return ""
    best = rows_of(mine.sort_values("best", ascending=findings.evidence.goal == "min").head(1))[0]
    return f", seed {best['seed']:.0f}, {findings.evidence.metric} {number(best['best'])}"


def training(findings: Findings, palette: Palette) -> Section | None:
    """The metric over training, for the first configurations and the default."""
    first = findings.rows[:CURVES_SHOWN]
    shown = first + [row for row in findings.rows[CURVES_SHOWN:] if row["kind"] == "default"]
    reports = _reports(findings, [row["configuration"] for row in shown])
    everything = reports["value"].to_numpy(float)
    pictures = []
    for nth, row in enumerate(shown, start=1):
        label, counts = row["configuration"], (int(row["successes"]), int(row["seeds"]))
        mine = reports[reports["configuration"] == label]
        if not np.isfinite(mine["value"].to_numpy(float)).any():
            continue
        colour = palette.colour(row["family"])
        figure = figures.training_curves(
            mine, label, colour, findings.evidence.metric, counts=counts, scale=everything
        )
        failed = counts[1] - counts[0]
        red = f"; red, to its last finite value, each of the {failed} that failed" if failed else ""
        caption = (
            f"{label} ({row['family']}): median and 10 to 90 % of the seeds that succeeded, "
            f"n = {counts[0]}{red}."
        )
        pictures.append(Picture(f"curve-{nth}", caption, f"Training curve of {label}.", figure))
    said = ["All on one scale."] if len(pictures) > 1 else []
    return Section("training", "Training curves", said, pictures=pictures) if pictures else None


def _reports(findings: Findings, labels: Sequence[str]) -> pd.DataFrame:
    """One row a report of these configurations' seeds that count."""
    wanted, metric = set(labels), findings.evidence.metric
    standing = dict(zip(findings.seeds["number"], findings.seeds["counts"], strict=True))
    rows = [
        (
            run.configuration,
            run.config["seed"],
            report.step,
            report.metrics.get(metric, math.nan),
            standing[run.number] == "success",
        )
        for run in findings.main.stability
        if run.configuration in wanted and standing[run.number] in ("success", "failure")
        for report in run.reports
    ]
    return pd.DataFrame(rows, columns=["configuration", "seed", "step", "value", "success"])


def curse(findings: Findings, palette: Palette) -> Section | None:
    """The search's values beside the confirmed ones."""
    e = findings.evidence
    table = plain(findings.winners_curse).set_index("configuration")
    table = table[table["searched"].notna() & table["iqm"].notna()]
    if table.empty:
        return None
    table = table.assign(family=findings.configurations["family"].reindex(table.index))
    worse = int((cost(table["iqm"] - table["searched"], e.goal) > 0).sum())
    cursed = 2 * worse > len(table)
    moral = (
        "a search's best value is a lucky one, and not what to report"
        if cursed
        else "this search was not lucky, as one that finds the best of many usually is; what fresh "
        "seeds show is still what to report"
    )
    verb = "is" if worse == 1 else "are"
    said = (
        "The search chose these configurations because one run of each was good. Trained again, "
        f"{worse} of {len(table)} {verb} worse than that run promised: {moral}."
    )
    headings = ["configuration", "the search's run>", "IQM of fresh seeds>", "median of fresh seeds>"]
    headings += ["median less search>", "seeds as good as the search's run>"]
    rows = [
        [
            row["configuration"],
            number(row["searched"]),
            _of(row, "iqm"),
            _of(row, "median"),
            _signed(row["difference"]),
            share(row["share_of_seeds_as_good"]),
        ]
        for row in rows_of(table)
    ]
    top = table.head(ROWS_SHOWN)
    caption = (
        f"The search's {e.metric} (hollow) and the interquartile mean of fresh seeds with its 95 % "
        f"interval (filled), {_range(top['seeds'])} seeds each.{_cut(table, top)}"
    )
    alt = f"{worse} of {len(table)} configurations are worse on fresh seeds than in the search."
    figure = figures.winners_curse(top, palette, e.metric, e.goal)
    tables = [Table.of("The search's runs and fresh seeds", headings, rows)]
    pictures = [Picture("winners_curse", caption, alt, figure)]
    title = "The winner's curse" if cursed else "Search and confirmation"
    return Section("curse", title, [said], tables=tables, pictures=pictures)


def robustness(findings: Findings, palette: Palette) -> Section | None:
    """Performance profiles and the time to a threshold."""
    pictures = list(_profiles(findings, palette))
    tables = list(_time_table(findings))
    if not tables and not pictures:
        return None
    return Section("robustness", "Robustness", tables=tables, pictures=pictures)


def _profiles(findings: Findings, palette: Palette) -> Iterator[Picture]:
    e = findings.evidence
    shown = [r for i, r in enumerate(findings.rows) if i < PROFILES_SHOWN or r["kind"] == "default"]
    families = {row["configuration"]: row["family"] for row in shown}
    table = plain(findings.profiles)
    table = table[table["configuration"].isin(list(families))]
    if table["threshold"].nunique() < 2:
        return
    side = "at most" if e.goal == "min" else "at least"
    first = f" The first {PROFILES_SHOWN} and the default." if len(shown) < len(findings.rows) else ""
    caption = (
        f"Share of all seeds, failures included, whose best {e.metric} is {side} a threshold, with "
        f"pointwise 95 % bands; a curve that ends below 100 % has failures.{first}"
    )
    figure = figures.profiles(table, families, palette, e.metric, e.goal)
    alt = f"Performance profiles of {count(len(families), 'configuration')}."
    yield Picture("profiles", caption, alt, figure)


def _time_table(findings: Findings) -> Iterator[Table]:
    chosen = findings.thresholds.attrs.get("threshold")
    if findings.thresholds.empty or missing(chosen):
        return
    by_label = {row["configuration"]: row for row in rows_of(findings.thresholds)}
    rows = [
        [
            row["configuration"],
            f"{row['reached']:.0f} of {row['counted']:.0f}",
            interval(*(row[f"steps_{end}"] for end in ("median", "low", "high"))),
            interval(*(row[f"seconds_{end}"] for end in ("median", "low", "high"))),
        ]
        for row in (by_label[ranked["configuration"]] for ranked in findings.rows)
    ]
    why = (
        " (the median of all confirmed best values)" if findings.thresholds.attrs.get("default") else ""
    )
    note = (
        f"Threshold: {findings.evidence.metric} {number(chosen)}{why}. Medians over all seeds by "
        f"Kaplan and Meier, which counts the runs that did not get there; {DASH}: fewer than half did, "
        "or it cannot be said."
    )
    headings = [
        "configuration",
        "seeds that got there>",
        "median generator updates>",
        "median seconds>",
    ]
    yield Table.of("How soon it is good", headings, rows, note)


def tolerance(findings: Findings, palette: Palette) -> Section | None:
    """What a configuration bears."""
    table = plain(findings.tolerance)
    if table.empty:
        return None
    rows = [[row["of"], row["axis"], rounded(row["words"])] for row in rows_of(findings.bears)]
    note = (
        "One value at a time is multiplied by each factor. It is borne where the IQM surely becomes "
        "worse by less than a tenth and seeds succeed as often; undecided where more seeds would "
        "tell."
    )
    families = {candidate.label: candidate.family for candidate in findings.evidence.roster.candidates}
    pictures = []
    for nth, (of, arms) in enumerate(table.groupby("of", sort=False), start=1):
        centre, changed = str(of), arms[arms["factor"] != 1]
        caption = (
            f"{centre} with one value changed: its IQM over the unchanged one's (above 1 is worse) "
            f"with 95 % interval; right, the seeds that succeeded, {_range(changed['seeds'])} each."
        )
        figure = figures.tolerance(changed, centre, palette.colour(families.get(centre, "")))
        alt = f"What changes of {centre} cost."
        pictures.append(Picture(f"tolerance-{nth}", caption, alt, figure))
    tables = [Table.of("What it bears", ["configuration", "axis", "what it bears~"], rows, note)]
    return Section("tolerance", "Tolerance", tables=tables, pictures=pictures)


def _of(row: Row, name: str) -> str:
    return interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _signed(value: Any) -> str:
    if missing(value):
        return DASH
    return f"{'+' if value > 0 else ''}{number(float(f'{value:.2g}'))}".replace("-", "\N{MINUS SIGN}")


def _range(values: pd.Series) -> str:
    """`n = 10`, or `n = 8 to 10`."""
    low, high = int(values.min()), int(values.max())
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def _cut(whole: pd.DataFrame, shown: pd.DataFrame) -> str:
    return f" The first {len(shown)} of {len(whole)}." if len(shown) < len(whole) else ""

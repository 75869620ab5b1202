"""Several studies side by side, where their numbers were made in the same way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gansearch import files
from gansearch.analysis import configurations
from gansearch.analysis.evidence import Evidence
from gansearch.analysis.rows import Row, rows_of
from gansearch.analysis.wording import DASH, duration, interval, missing, number, share, words
from gansearch.errors import StudyError, listed
from gansearch.reporting.findings import Findings
from gansearch.reporting.page import Section, Table, page
from gansearch.reporting.style import Array
from gansearch.study.records import Outcome, ranked

ORIGIN = {
    "features": "features",
    "features_hash": "hash of the features",
    "options": "options of the metric",
    "fake_samples": "generated images",
    "real_samples": "real images",
    "split": "split",
    "dataset": "data set",
    "dataset_hash": "hash of the data",
    "ema": "averaged weights",
}
"""What must be the same for two values of a metric to be comparable: keys of its provenance."""


def compare(evidences: Sequence[Evidence], *, anyway: bool = False, by: str = "iqm") -> pd.DataFrame:
    """One row a study, in the order given.

    Columns: study, question, trials, planned, searched_best (the search's best value), configuration
    (the confirmed best one), family, seeds, successes, success_rate (_low, _high), iqm (_low, _high),
    median, default_iqm, steps, metric, goal, each key of `ORIGIN`, device_seconds, and outcome.NAME,
    the share of the search's trials that ended so. Cells that cannot be said are missing.

    `attrs["warnings"]` lists, in words, what a reader has to know: budgets that differ, studies that
    confirmed nothing, and (with `anyway`) every difference in how the numbers were made.

    Args:
        evidences: the studies; two or more.
        anyway: compare numbers that were made differently.
        by: the score by which each study's configurations are ranked.

    Raises:
        StudyError: numbers that were made differently, with every difference named.
    """
    names = unique_names(evidences)
    unlike = differences(evidences)
    if unlike and not anyway:
        lines = [f"  {line}" for line in unlike]
        raise StudyError(
            "these studies' numbers were made differently:\n" + "\n".join(lines) + "\n"
            "compare them with --anyway if you know why that does not matter"
        )
    rows = [_row(name, evidence, by) for name, evidence in zip(names, evidences, strict=True)]
    table = pd.DataFrame(rows)
    table.attrs["warnings"] = [*unlike, *_warnings(rows)]
    return table


def differences(evidences: Sequence[Evidence]) -> list[str]:
    """In what the objectives of these studies differ, a line each with every study's value.

    A study without a report has no numbers, and so nothing that could differ but its metric and goal.
    """
    names = unique_names(evidences)
    facts = [{"metric": e.metric, "goal": e.goal} | _origin(e) for e in evidences]
    labels = {"metric": "metric", "goal": "goal"} | ORIGIN
    lines = []
    for key, label in labels.items():
        values = {name: fact[key] for name, fact in zip(names, facts, strict=True) if key in fact}
        if len({repr(value) for value in values.values()}) > 1:
            told = "; ".join(f"{name}: {words(value)}" for name, value in values.items())
            lines.append(f"{label}: {told}")
    return lines


def profiles(evidences: Sequence[Evidence], *, by: str = "iqm") -> pd.DataFrame:
    """Performance profiles of each study's best confirmed configuration, over the same thresholds.

    Columns: study, configuration, threshold, share (of its seeds at least as good as the threshold; a
    failure never is). The studies' goal is the first one's.
    """
    sign = -1.0 if evidences and evidences[0].goal == "max" else 1.0
    groups = []
    for name, evidence in zip(unique_names(evidences), evidences, strict=True):
        best = _best(Findings(evidence, by))
        if best:
            groups.append((name, best["configuration"], _costs(evidence, best["configuration"], sign)))
    costs = [part[np.isfinite(part)] for *_, part in groups]
    thresholds = np.unique(np.concatenate(costs)) if costs else np.empty(0)
    rows = [
        (name, label, sign * float(threshold), float((costs <= threshold).mean()))
        for name, label, costs in groups
        for threshold in thresholds
    ]
    return pd.DataFrame(rows, columns=["study", "configuration", "threshold", "share"])


def write_comparison(table: pd.DataFrame, out: Path) -> Path:
    """Write what `compare` gave as CSV in full precision, or, by the name's ending, as an HTML page."""
    html = out.suffix.lower() == ".html"
    files.write(out, _page(table) if html else table.to_csv(index=False))
    return out


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """What `compare` gave as people read it: few columns, rounded, with intervals; cells are text."""
    return pd.DataFrame([_readable(row) for row in rows_of(table)])


def _readable(row: Row) -> dict[str, str]:
    rate = share(row["success_rate"], row["success_low"], row["success_high"])
    counted = not missing(row["seeds"])
    return {
        "study": row["study"],
        "question": row["question"],
        "trials": f"{number(row['trials'])} of {number(row['planned'])}",
        "search's best": number(row["searched_best"]),
        "confirmed best": words(row["configuration"]),
        "loss": words(row["family"]),
        "seeds that succeeded": f"{row['successes']:.0f} of {row['seeds']:.0f}" if counted else DASH,
        "success rate": rate,
        "IQM": interval(row["iqm"], row["iqm_low"], row["iqm_high"]),
        "median": number(row["median"]),
        "default's IQM": number(row["default_iqm"]),
        "generator updates": number(row["steps"]),
        "metric": row["metric"],
        "device time": duration(row["device_seconds"]),
        "outcomes of the search": _outcomes(row),
    }


def unique_names(evidences: Sequence[Evidence]) -> list[str]:
    """The studies' names; two of one name are told apart by their place."""
    counts = Counter(evidence.name for evidence in evidences)
    return [
        f"{evidence.name} ({number})" if counts[evidence.name] > 1 else evidence.name
        for number, evidence in enumerate(evidences, start=1)
    ]


def _origin(evidence: Evidence) -> dict[str, Any]:
    origin = evidence.provenance.get(evidence.metric, {})
    return {key: origin.get(key) for key in ORIGIN} if origin else {}


def _row(name: str, evidence: Evidence, by: str) -> dict[str, Any]:
    findings = Findings(evidence, by)
    searched = ranked(evidence.search, evidence.metric, evidence.goal)
    best_run = searched[0].best(evidence.metric, evidence.goal) if searched else None
    runs = [*evidence.search, *evidence.stability]
    return {
        "study": name,
        "question": evidence.question,
        "trials": sum(record.outcome.ended for record in evidence.search),
        "planned": evidence.planned,
        "searched_best": best_run.value if best_run else None,
        **_confirmed(findings),
        "steps": evidence.steps,
        "metric": evidence.metric,
        "goal": evidence.goal,
        **dict.fromkeys(ORIGIN),
        **_origin(evidence),
        "device_seconds": evidence.devices * sum(record.seconds for record in runs),
        **_shares(evidence),
    }


CONFIRMED = (
    *("configuration", "family", "seeds", "successes", "success_rate", "success_low", "success_high"),
    *("iqm", "iqm_low", "iqm_high", "median"),
)


def _confirmed(findings: Findings) -> dict[str, Any]:
    best = _best(findings) or {}
    defaults = [row["iqm"] for row in findings.rows if row["kind"] == "default"]
    return {name: best.get(name) for name in CONFIRMED} | {"default_iqm": next(iter(defaults), None)}


def _best(findings: Findings) -> Row | None:
    return findings.rows[0] if findings.rows else None


def _costs(evidence: Evidence, label: str, sign: float) -> Array:
    """Of a configuration's seeds that count: smaller is better, a failure infinite."""
    seeds = rows_of(configurations.seeds(evidence))
    mine = [row for row in seeds if row["configuration"] == label]
    values = [sign * row["best"] for row in mine if row["counts"] == "success"]
    failed = sum(row["counts"] == "failure" for row in mine)
    return np.array([*values, *[math.inf] * failed])


def _shares(evidence: Evidence) -> dict[str, float]:
    counts = Counter(record.outcome for record in evidence.search)
    total = max(len(evidence.search), 1)
    return {f"outcome.{outcome.value}": counts[outcome] / total for outcome in Outcome}


def _warnings(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len({row["steps"] for row in rows}) > 1:
        told = "; ".join(f"{row['study']}: {row['steps']:,}" for row in rows)
        yield f"the budgets differ, in generator updates ({told}): training longer may be all there is"
    unconfirmed = [row["study"] for row in rows if row["configuration"] is None]
    if unconfirmed:
        yield (
            f"nothing is confirmed in {listed(unconfirmed)}: a search's best value is a lucky one "
            "(train its best on fresh seeds by gansearch stability)"
        )
    unfinished = [row["study"] for row in rows if row["trials"] < row["planned"]]
    if unfinished:
        yield f"the search has not finished in {listed(unfinished)}"


def _outcomes(row: Row) -> str:
    shares = {outcome.value: row[f"outcome.{outcome.value}"] for outcome in Outcome}
    return listed([f"{100 * part:.0f} % {name}" for name, part in shares.items() if part > 0]) or DASH


def _page(table: pd.DataFrame) -> str:
    readable = [_readable(row) for row in rows_of(table)]
    rows = [list(cells.values()) for cells in readable]
    side_by_side = Table.of("", list(readable[0]) if readable else [], rows)
    cautions = list(table.attrs.get("warnings", []))
    content = [Section("studies", "Studies side by side", cautions=cautions, tables=[side_by_side])]
    return page("Comparison", listed([cells["study"] for cells in readable]), content)

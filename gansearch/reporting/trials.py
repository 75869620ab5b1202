"""All trials of a search on one page: a table to sort and to filter, and curves of those picked.

MLflow's pages load runs by the hundred and draw no more than a hundred; this one has all of them in
it, in one file that loads nothing.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from gansearch.analysis.evidence import Evidence
from gansearch.reporting.page import environment
from gansearch.reporting.style import OUTCOME_COLOURS
from gansearch.study.records import TrialRecord, ranked

TRIALS_FILE = "trials.html"

VALUES = 1_000_000
"""Points of curves in the page, at most: some 4 MB. Of a very large study it has fewer metrics."""


def trials_page(evidence: Evidence) -> str:
    """The page as HTML, with the style, the script and the numbers in it.

    Args:
        evidence: a study whose search has a trial.
    """
    from markupsafe import Markup  # noqa: PLC0415

    templates = environment()
    metrics = _metrics(evidence)
    trials = ranked(list(evidence.search), evidence.metric, evidence.goal)
    axes = list(dict.fromkeys(name for trial in trials for name in trial.params))
    named = ["origin"] if any(trial.origin for trial in trials) else []
    facts = {
        "columns": [
            *("trial", *named, "outcome", f"best {evidence.metric}", "at step", "last"),
            *axes,
            *("steps", "seconds", "why"),
        ],
        "rows": [_row(trial, evidence, axes, named) for trial in trials],
        "numbers": [trial.number for trial in trials],
        "metrics": metrics,
        "objective": evidence.metric,
        "steps": evidence.steps,
        "colours": {outcome.value: colour for outcome, colour in OUTCOME_COLOURS.items()},
    }
    written = json.dumps(facts, allow_nan=False)[:-1]
    written += f', "at": {_lists([report.step for report in trial.reports] for trial in trials)}'
    curves = (
        _lists([report.metrics.get(name, math.nan) for report in trial.reports] for trial in trials)
        for name in metrics
    )
    written += f', "curves": [{",".join(curves)}]}}'
    packed = base64.b64encode(gzip.compress(written.encode(), 6, mtime=0)).decode("ascii")
    measured = {name for trial in trials for report in trial.reports for name in report.metrics}
    return templates.get_template("trials.html").render(
        title=evidence.name,
        question=evidence.question,
        count=len(trials),
        left_out=len(measured) - len(metrics),
        packed=packed,
        style=Markup(templates.get_template("page.css").render()),
    )


def _metrics(evidence: Evidence) -> list[str]:
    """The objective, then what else the reports hold, by name, as far as there is room."""
    found = {name for trial in evidence.search for report in trial.reports for name in report.metrics}
    points = max(1, sum(len(trial.reports) for trial in evidence.search))
    others = sorted(found - {evidence.metric})
    return [evidence.metric, *others[: max(0, VALUES // points - 1)]]


def _row(
    trial: TrialRecord, evidence: Evidence, axes: Sequence[str], named: Sequence[str]
) -> list[Any]:
    best = trial.best(evidence.metric, evidence.goal)
    last = trial.last.metrics.get(evidence.metric, math.nan) if trial.last else math.nan
    cells = [
        trial.number,
        *(trial.origin or None for _ in named),
        trial.outcome.value,
        best.value if best else None,
        best.step if best else None,
        last,
        *(trial.params.get(axis) for axis in axes),
        *(trial.step, trial.seconds, trial.reason),
    ]
    return [_short(cell) for cell in cells]


def _short(cell: Any) -> Any:
    """A number with four digits, None where it is none; anything else as it is, or as text."""
    if isinstance(cell, float):
        return float(f"{cell:.4g}") if math.isfinite(cell) else None
    return cell if cell is None or isinstance(cell, bool | int | str) else str(cell)


def _lists(rows: Iterable[Sequence[float]]) -> str:
    """Rows of numbers as JSON, four digits each: written by hand, which is five times as quick."""
    return "[" + ",".join(f"[{','.join(map(_digits, row))}]" for row in rows) + "]"


def _digits(number: float) -> str:
    if isinstance(number, int):
        return str(number)
    return f"{number:.4g}" if math.isfinite(number) else "null"

"""A report on its way out: written with its samples, and shown where the study's trials are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from gansearch import files
from gansearch.analysis.configurations import configurations
from gansearch.analysis.evidence import Evidence
from gansearch.errors import UserError
from gansearch.files import Place
from gansearch.journal.stored import StoredStudy
from gansearch.reporting.stability import REAL
from gansearch.reporting.writing import write_report
from gansearch.study.records import ranked

Summaries = dict[str, dict[str, float]]
"""The numbers of each configuration, by its label."""

_SUMMARY = (
    r"^(rank|seeds|successes|(success|iqm|median|mean|q10|q90|late_collapse)(_rate)?(_low|_high)?|sd)$"
)
"""What MLflow is told of a configuration, of the columns of its ranking."""


@dataclass(frozen=True)
class ReportResult:
    """A written report.

    Attributes:
        html: the file to open.
        unsent: why MLflow does not have it; empty if it has, or if tracking is off.
    """

    html: Place
    unsent: str = ""


def publish(
    study: StoredStudy,
    evidence: Evidence,
    out: Place,
    *,
    by: str = "iqm",
    threshold: float | None = None,
    send: Callable[[Sequence[Path], Summaries], None] | None = None,
) -> ReportResult:
    """Write a study's report, and send it.

    Args:
        study: which one.
        evidence: all that is known of it.
        out: the folder.
        by: the score that ranks configurations.
        threshold: see `write_report`.
        send: is given the report's files on this machine's disk, and each configuration's numbers;
            None: nobody is.

    Raises:
        UserError: no such score, or `out` holds other things.
    """
    grids = best_samples(study, evidence)
    html = write_report(evidence, out, by=by, threshold=threshold, samples=grids)
    if send is None:
        return ReportResult(html)
    try:
        with ExitStack() as copies:
            paths = sorted([*files.find(out, "*.html"), *files.find(out, "*.csv")])
            here = [copies.enter_context(files.local_copy(path)) for path in paths]
            send(here, summaries(evidence, by))
    except UserError as error:  # the report itself is there
        return ReportResult(html, str(error))
    return ReportResult(html)


def best_samples(study: StoredStudy, evidence: Evidence) -> dict[str, Place]:
    """The sample grid of each configuration's best seed, of its best report; and real images."""
    samples: dict[str, Place] = {}
    if study.directory.real_images.is_file():
        samples[REAL] = study.directory.real_images
    for record in ranked(evidence.stability, evidence.metric, evidence.goal):
        best = record.best(evidence.metric, evidence.goal)
        succeeded = record.succeeded(evidence.metric, evidence.goal)
        if best and succeeded and record.configuration not in samples:
            path = study.directory.stability.sample(record.number, best.step)
            if path.is_file():
                samples[record.configuration] = path
    return samples


def summaries(evidence: Evidence, by: str) -> Summaries:
    """The ranking's numbers for each configuration, without those that are missing."""
    table = configurations(evidence, by).filter(regex=_SUMMARY)
    rows = table.astype(object).where(table.notna(), None).to_dict("index")
    return {
        str(label): {str(key): float(value) for key, value in row.items() if value is not None}
        for label, row in rows.items()
    }

"""A study's report: one HTML file that opens anywhere, its tables as CSV, its figures for papers."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from gansearch import files
from gansearch.analysis.evidence import Evidence
from gansearch.errors import UserError
from gansearch.files import Place
from gansearch.reporting import style
from gansearch.reporting.contents import sections
from gansearch.reporting.findings import Findings
from gansearch.reporting.page import Section, page
from gansearch.reporting.trials import TRIALS_FILE, trials_page

REPORT_FILE = "report.html"
FIGURES = "figures"


def write_report(
    evidence: Evidence,
    out: Place,
    *,
    by: str = "iqm",
    threshold: float | None = None,
    samples: Mapping[str, Place] | None = None,
) -> Place:
    """Write `report.html`, every table as CSV and every figure as SVG and PDF; returns the HTML file.

    Beside it stands `trials.html`, a page of all the trials of a search.

    The folder is made whole or not at all, and takes the place of an older report; in an object store
    the HTML file, which has all but the tables in it, does.

    Args:
        evidence: the study.
        out: the folder, or a place in an object store.
        by: the score by which configurations are ranked: one of `configurations.SCORES`.
        threshold: a value of the objective that counts as reached, for the time to it; None: the
            median of the confirmed values.
        samples: configuration -> a PNG of its best seed's samples; real images by `stability.REAL`.

    Raises:
        UserError: `out` holds files that are not a report's, or an unknown score.
    """
    _check_replaceable(out)
    findings = Findings(evidence, by, threshold)
    content = sections(findings, samples or {})
    if not isinstance(out, Path):
        with tempfile.TemporaryDirectory(prefix="gansearch-") as name:
            _write_files(Path(name), findings, content)
            _put(Path(name), out)
        return out / REPORT_FILE
    whole = out.resolve()
    with files.unfinished(whole) as part:
        _write_files(part, findings, content)
        _swap(part, whole)
    return out / REPORT_FILE


def _write_files(folder: Path, findings: Findings, content: Sequence[Section]) -> None:
    for name, table in findings.tables().items():
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / FIGURES).mkdir()
    drawings = {}
    for picture in (picture for section in content for picture in section.pictures):
        if picture.figure is None:
            continue
        drawings[picture.name] = svg = style.as_svg(picture.figure)
        (folder / FIGURES / f"{picture.name}.svg").write_text(svg, encoding="utf-8")
        (folder / FIGURES / f"{picture.name}.pdf").write_bytes(style.as_pdf(picture.figure))
    e = findings.evidence
    html = page(e.name, e.question, content, drawings, str(e.facts.get("gansearch", "")))
    (folder / REPORT_FILE).write_text(html, encoding="utf-8")
    if e.search:
        (folder / TRIALS_FILE).write_text(trials_page(e), encoding="utf-8")


def _put(folder: Path, out: Place) -> None:
    """Put a finished report in the place of an older one, the HTML file last.

    The page of trials comes first: by it a report that was cut short is known for one.
    """
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in sorted(names, key=lambda name: (name == REPORT_FILE, name != TRIALS_FILE, name)):
        files.write(out / name, (folder / name).read_bytes())
    for pattern, prefix in (("*.csv", ""), (f"{FIGURES}/*", f"{FIGURES}/")):
        for path in files.find(out, pattern):
            if prefix + path.name not in names:
                files.remove(path)


def _check_replaceable(out: Place) -> None:
    """An older report may be replaced, anything else may not: tables alone are somebody's data."""
    with files.reachable(out):
        if not out.exists():
            return
        if out.is_file():
            raise UserError(f"{out} is not a folder: take another one")
        try:
            names = sorted(path.name for path in out.iterdir())
        except FileNotFoundError:  # another report is taking its place
            return
    pages = {REPORT_FILE, TRIALS_FILE}
    known = {FIGURES, *(name for name in names if name.endswith(".csv"))} if pages & {*names} else set()
    strange = [name for name in names if name not in pages | known]
    if strange:
        raise UserError(f"{out} holds '{strange[0]}', which is not a report's: take another folder")


def _swap(part: Path, whole: Path) -> None:
    """Put a finished folder in the place of an older one, which goes only when the new one is there.

    Of several at once each takes the place of the one before. What a killed one leaves of an older
    report is called as what it leaves of its own, and goes with that.
    """
    old = part.with_name(f"{part.name}-old")
    while True:
        with suppress(FileNotFoundError):  # there is none, or another has just taken it away
            whole.rename(old)
            os.utime(old)  # so that it is not yet taken for one that was left
        try:
            part.rename(whole)
            break
        except BaseException as error:
            if getattr(error, "errno", None) not in (errno.ENOTEMPTY, errno.EEXIST):
                if old.exists():
                    old.rename(whole)
                raise
        shutil.rmtree(old, ignore_errors=True)
        _check_replaceable(whole)  # which another has put there meanwhile
    shutil.rmtree(old, ignore_errors=True)

"""The section of a report on measures of many samples, beside those of few that decided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gansearch.analysis.final import FEWEST, Agreement, agreements
from gansearch.analysis.wording import DASH, missing, number
from gansearch.reporting.findings import Findings
from gansearch.reporting.page import Section, Table

SAID = (
    "Reports, pruning and the ranking go by measures of few samples. These are made once of each trial "
    "that came to an end by itself, of its best report's weights, and decide nothing. A rank "
    "correlation near 1 says that the cheap measure would have chosen the same trials."
)


def final(findings: Findings) -> Section | None:
    """How far the cheap measures agree with the exact ones; None where there are none."""
    e = findings.evidence
    kinds = {"search": e.search, "fresh seeds": e.stability}
    found = [
        [kind, *_row(each, e.provenance)]
        for kind, records in kinds.items()
        for each in agreements(e, records)
    ]
    if not found:
        return None
    headings = [
        "trials of",
        "exact~",
        "cheap~",
        "trials>",
        "rank correlation>",
        "the cheap one's best is>",
    ]
    note = (
        f"Spearman's rank correlation [its 95 % interval, by Fisher's transformation]; {DASH} of fewer "
        f"than {FEWEST} trials. Of two measures that are better in opposite directions it is negative "
        "where they agree."
    )
    table = Table.of("Cheap and exact", headings, found, note)
    return Section("final", "Cheap at the reports, exact at the end", [SAID], tables=[table])


def _row(each: Agreement, provenance: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield f"{each.exact}{_counts(provenance.get(each.exact))}"
    yield f"{each.cheap}{_counts(provenance.get(each.cheap))}"
    yield number(each.trials)
    shown = [DASH if missing(x) else f"{x:.2f}" for x in (each.correlation, each.low, each.high)]
    yield shown[0] if missing(each.low) else f"{shown[0]} [{shown[1]}, {shown[2]}]"
    yield f"number {each.place}" if each.place else DASH


def _counts(origin: dict[str, Any] | None) -> str:
    """Of how many samples a measure is."""
    if not origin:
        return ""
    real = f", {number(origin['real_samples'])} real" if origin.get("real_samples") else ""
    return f" ({number(origin.get('fake_samples'))} generated{real})"

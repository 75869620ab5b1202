"""What a report says, section by section, in the order in which a researcher reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import yaml

from gansearch.analysis.configurations import SCORES
from gansearch.analysis.evidence import Evidence
from gansearch.analysis.rows import rows_of
from gansearch.analysis.tables import cost_words, costs, lanes, lanes_words
from gansearch.analysis.wording import DASH, duration, number, share, spread, words
from gansearch.errors import listed
from gansearch.files import Place
from gansearch.journal.facts import DASHBOARD, GIVEN_UP, INSISTED, OVER, SENT
from gansearch.reporting import search, stability
from gansearch.reporting.answer import answer
from gansearch.reporting.final import final
from gansearch.reporting.findings import Findings
from gansearch.reporting.page import Details, Section, Table
from gansearch.reporting.style import Palette, styled
from gansearch.reporting.trials import TRIALS_FILE
from gansearch.study.evaluation import FINAL
from gansearch.study.learnt import LEARNT
from gansearch.study.records import BETTER, Outcome, count

SEEDS_SHOWN, CONFIGURATIONS_SHOWN = 1000, 100
"""In the appendix at most; the tables beside the report have all."""

FAILURE = (
    "A seed fixes initialisation, data order and noise. A run that a health rule ends (diverged, "
    "collapsed, stalled) or an error (failed) is a failure and has no value; one whose machine died "
    "does not count."
)


def sections(findings: Findings, samples: Mapping[str, Place]) -> list[Section]:
    """All sections that have something to say.

    Args:
        findings: the study's tables.
        samples: configuration -> a PNG of samples; real images by `stability.REAL`.
    """
    candidates = findings.evidence.roster.candidates
    palette = Palette.of([*findings.families, *(candidate.family for candidate in candidates)])
    made: list[Section | None] = [answer_section(findings), making(findings)]
    with styled():
        if findings.rows:
            made += stability.sections(findings, palette, samples)
        if findings.evidence.search:
            made += search.sections(findings, palette)
    made += [final(findings)]
    made += [published(findings), appendix(findings)]
    return [section for section in made if section]


def answer_section(findings: Findings) -> Section:
    """The answer in sentences, with what should make a reader careful."""
    said = answer(findings)
    return Section("answer", "The answer", said.sentences, said.cautions)


# --- how it was made ------------------------------------------------------------------------------


def making(findings: Findings) -> Section:
    """Metric, data, protocol, versions."""
    e = findings.evidence
    facts = [("Metric", f"{e.metric} ({BETTER[e.goal]})")]
    facts += _origin(e.provenance.get(e.metric, {}))
    facts += [("Budget of a trial", f"{e.steps:,} generator updates{_equal(findings)}")]
    if e.planned:
        ended = sum(record.outcome.ended for record in e.search)
        over = (e.facts.get(OVER) or {}).get("reason", "")
        why = f"; over before it had all its trials: {over}" if over else ""
        facts += [("Search", f"{ended:,} of {count(e.planned, 'trial')} ended{why}")]
        facts += [("Known before it", each["words"]) for each in e.facts.get(LEARNT, [])]
    if e.roster.entries:
        facts += _protocol_facts(findings)
    if spent := cost_words(costs([*e.search, *e.stability], held=e.devices)):
        facts += [("Cost", spent)]
    if packed := lanes_words(lanes([*e.search, *e.stability], held=e.devices)):
        facts += [("Lanes", packed)]
    if e.apart:
        facts += [("Not together", "; ".join(e.apart))]
    facts += [(_heading(key), words(value)) for key, value in e.facts.items() if _is_fact(key, value)]
    return Section("made", "How it was made", [_protocol(e)], facts=facts, tables=_floors(e))


def _protocol(e: Evidence) -> str:
    """What was done, and what a seed and a failure are."""
    said = []
    if e.planned:
        early = any(record.outcome in (Outcome.PRUNED, Outcome.PAUSED) for record in e.search)
        ends = ", but stops early those that fall behind" if early else ""
        said.append(f"The search proposes configurations and trains each once{ends}.")
    if e.roster.entries:
        whom, but = "given configurations", ""
        if e.planned:
            whom, but = "the chosen configurations again", " and on none of the search's"
        seeds = f"fresh seeds, no two on the same{but}"
        said.append(f"The stability study trains {whom} on {seeds}, and prunes none of them.")
    return " ".join([*said, FAILURE])


def _origin(origin: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How the objective is made, from its provenance."""
    if not origin:
        return
    accuracy = origin.get("features_accuracy")
    quality = f", accuracy {share(accuracy)}" if accuracy else ""
    yield "Features", f"{words(origin.get('features'))}{quality}{_hash(origin, 'features_hash')}"
    if origin.get("options"):
        told = [f"{key} {words(value)}" for key, value in origin["options"].items()]
        yield "Options of the metric", listed(told)
    yield "Generated samples at each report", number(origin.get("fake_samples"))
    real = origin.get("real_samples")
    split = f"{number(real)}, split {words(origin.get('split'))}"
    yield "Real samples", split if real else "none are compared with"
    if floor := _floor(origin):
        yield "Of real samples the metric is", floor
    yield "Data set", f"{words(origin.get('dataset'))}{_hash(origin, 'dataset_hash')}"
    yield "Generator evaluated", "averaged weights (EMA)" if origin.get("ema") else "plain weights"


BEYOND = "A value beyond that of the data themselves is no merit."


def _floor(origin: Mapping[str, Any]) -> str:
    """What real samples themselves get, where that is known."""
    floor = origin.get("floor") or {}
    if floor.get("value") is None:
        return ""
    against = floor["real_samples"]
    beside = f" against {number(against)} others" if against else ""
    return f"{number(floor['value'])} ({number(floor['samples'])} of them{beside}). {BEYOND}"


def _floors(e: Evidence) -> list[Table]:
    """What real samples get by each metric, where there are others than the objective."""
    known = {name: origin.get("floor") or {} for name, origin in e.provenance.items()}
    rows = [
        [name, number(floor["value"]), number(floor["samples"]), number(floor["real_samples"] or None)]
        for name, floor in known.items()
        if floor.get("value") is not None
    ]
    if {row[0] for row in rows} <= {e.metric}:
        return []
    headings = ["metric", "of real samples>", "of them>", "against others>"]
    last = f" {FINAL}: of the best weights, at the end." if FINAL in "".join(known) else ""
    note = f"At the counts of a report, as far as the data set has so many.{last} {BEYOND}"
    return [Table.of("What the data themselves get", headings, rows, note)]


def _hash(origin: Mapping[str, Any], key: str) -> str:
    return f", hash {origin[key]}" if origin.get(key) else ""


def _protocol_facts(findings: Findings) -> Iterator[tuple[str, str]]:
    e = findings.evidence
    ended = sum(run.outcome.ended for run in e.stability)
    tried = count(len(e.roster.candidates), "configuration")
    yield (
        "Stability study",
        f"{tried}, {ended:,} of {count(len(e.roster.entries), 'run')} ended, unpruned",
    )
    yield "Seeds", f"{len({seed for _, seed in e.roster.entries}):,}, listed in the appendix"
    yield "Ranked by", f"{findings.by}: {SCORES[findings.by]}"


def _equal(findings: Findings) -> str:
    """Whether the budget was equal: checked, not assumed."""
    told = findings.configurations["steps_equal"].dropna()
    if told.empty:
        return ""
    made = "checked: every success made them" if told.all() else "NOT equal: some successes made others"
    images = findings.configurations["images"].dropna()
    if images.nunique() > 1:
        return f"; {made}; real samples seen differ: {images.min():,} to {images.max():,}"
    return f"; {made}; {images.iloc[0]:,} real samples seen" if len(images) else f"; {made}"


_SHOWN_ELSEWHERE = (
    *("metric", "goal", "steps", "trials", "question", "study", "roster", "name"),
    *(LEARNT, OVER, INSISTED),
    DASHBOARD,  # of a driver that has ended
    *(GIVEN_UP, SENT),
)
_HEADINGS = {
    "gansearch": "gansearch",
    "id": "Study id",
    "digest": "Digest of the study file",
    "report_every": "Generator updates between reports",
}


def _is_fact(key: str, value: object) -> bool:
    return key not in _SHOWN_ELSEWHERE and ":" not in key and isinstance(value, str | int | float)


def _heading(key: str) -> str:
    return _HEADINGS.get(key, key.replace("_", " ").capitalize())


# --- beside the literature ------------------------------------------------------------------------


def published(findings: Findings) -> Section | None:
    """A paper's values beside ours."""
    theirs = findings.evidence.published
    if not theirs:
        return None
    values, ours = theirs.get("values", {}), _best_of_families(findings)
    rows = []
    for family in dict.fromkeys([*values, *ours]):
        value, mine = values.get(family) or {}, ours.get(family)
        rows.append(
            [
                family,
                spread(value.get("mean"), value.get("sd")),
                spread(mine["mean"], mine["sd"]) if mine else DASH,
                f"{mine['successes']:.0f} of {mine['seeds']:.0f}" if mine else DASH,
            ]
        )
    headings = ["loss", f"published {theirs.get('metric', '')}>", f"ours: {findings.evidence.metric}>"]
    told = f" Published: {theirs['note']}" if theirs.get("note") else ""
    note = (
        "Mean ± standard deviation over seeds; ours: the best value of each successful run of the "
        f"loss's best confirmed configuration. {DASH}: not published, or not confirmed here.{told}"
    )
    source = f"{theirs.get('source', 'Published')}, and this study"
    table = Table.of(source, [*headings, "seeds that succeeded>"], rows, note)
    cautions = [_not_comparable(findings, str(theirs.get("metric", "another metric")))]
    return Section("published", "Beside published values", cautions=cautions, tables=[table])


def _best_of_families(findings: Findings) -> dict[str, dict[str, Any]]:
    """The first in the ranking of each family."""
    best: dict[str, dict[str, Any]] = {}
    for row in findings.rows:
        best.setdefault(row["family"], row)
    return best


_SAMPLES = re.compile(r"(\d[\d,]*) (?:generated )?(?:samples|images)")


def _not_comparable(findings: Findings, theirs: str) -> str:
    """How far a paper's numbers can be set beside ours: loudly, where they cannot."""
    e = findings.evidence
    origin = e.provenance.get(e.metric, {})
    made = (
        f"Ours is made with {words(origin.get('features'))} features of "
        f"{number(origin.get('fake_samples'))} generated and {number(origin.get('real_samples'))} real "
        f"images ({words(origin.get('dataset'))}), after {e.steps:,} generator updates."
        if origin
        else "How ours was made is not known yet."
    )
    if theirs != e.metric:
        return (
            f"NOT COMPARABLE: the published numbers are {theirs}, ours are {e.metric}, another "
            f"quantity. At most the order of the losses can be set side by side, with care. {made}"
        )
    told = _SAMPLES.search(str((e.published or {}).get("note", "")))
    if told and origin and int(told[1].replace(",", "")) != origin.get("fake_samples"):
        return (
            f"NOT COMPARABLE: the published numbers are of {told[0]}, which alone changes them. {made}"
        )
    return f"Comparable only if made alike: features, sample counts, budget. {made}"


# --- the appendix ---------------------------------------------------------------------------------


def appendix(findings: Findings) -> Section:
    """Every seed, every configuration, the terms, the command."""
    e = findings.evidence
    details = []
    if len(findings.seeds):
        details.append(
            Details(f"Every seed ({len(findings.seeds):,})", table=_seeds_table(findings.seeds))
        )
    candidates = e.roster.candidates[:CONFIGURATIONS_SHOWN]
    if candidates:
        lists = [(c.label, ", ".join(map(str, e.roster.seeds(c.label)))) for c in candidates]
        seeds = Table.of("", ["configuration", "seeds~"], lists)
        details.append(Details("The seeds of each configuration", table=seeds))
    for candidate in candidates:
        text = yaml.safe_dump(candidate.config, sort_keys=False, allow_unicode=True)
        details.append(Details(f"Configuration: {candidate.label} ({candidate.family})", text))
    if isinstance(e.facts.get("study"), str):
        details.append(Details("The study file", e.facts["study"]))
    details.append(Details("Terms", table=Table.of("", ["term", "meaning~"], TERMS)))
    details.append(Details("The command that repeats this report", _command(findings)))
    after = (
        "Beside this file lie all tables as CSV, in full precision, and under figures all drawings "
        "as SVG and PDF."
    )
    links = []
    if e.search:
        all_trials = count(len(e.search), "trial")
        links.append((TRIALS_FILE, f"All {all_trials}: a table to sort and to filter, with curves"))
    return Section("appendix", "Appendix", details=details, links=links, after=after)


def _command(findings: Findings) -> str:
    threshold = "" if findings.threshold is None else f" --threshold {float(findings.threshold)!r}"
    by = "" if findings.by == "iqm" else f" --by {findings.by}"
    return f"gansearch report {findings.evidence.name}{by}{threshold}"


def _seeds_table(seeds: pd.DataFrame) -> Table:
    rows = [
        [
            row["configuration"],
            f"{row['seed']:.0f}",
            row["outcome"],
            number(row["step"]),
            number(row["best"]),
            number(row["best_step"]),
            number(row["last"]),
            duration(row["seconds"]),
            words(row["reason"]),
        ]
        for row in rows_of(seeds.head(SEEDS_SHOWN))
    ]
    headings = ["configuration", "seed>", "outcome", "steps>", "best>", "at step>", "last>", "time>"]
    note = f"The first {SEEDS_SHOWN:,}; all are in seeds.csv." if len(seeds) > SEEDS_SHOWN else ""
    return Table.of("", [*headings, "reason~"], rows, note)


TERMS = (
    ("seed", "the number that fixes a run's initialisation, order of data and noise"),
    ("run", "one training of a configuration on one seed"),
    ("configuration", "everything that training one GAN needs to know, but for the seed"),
    ("success rate", "the share of seeds that trained to the end with a finite value"),
    ("95 % interval", "a range made so that it holds the true value in 95 studies of 100"),
    (
        "IQM",
        "interquartile mean: the mean of the middle half, without the luckiest and unluckiest",
    ),
    ("P(A beats B)", "the probability that one run of A is better than one of B; a failure loses"),
    ("performance profile", "the share of runs at least as good as a threshold, for every threshold"),
    ("late collapse", "a run whose last value is far worse than its best one"),
    ("winner's curse", "the best of many noisy results is better than what will be seen again"),
    (
        "stability map",
        "the probability of success over two hyperparameters, from the search's trials and the seeds",
    ),
    ("pruned", "stopped by the search because others were better at that step; no failure"),
    ("paused", "waiting, as others were better at that step: it may go on later"),
    ("diverged", "a loss, gradient or weight became infinite, or grew beyond all bounds"),
    ("collapsed", "the generator lost its modes"),
    ("stalled", "one network won and the other stopped learning"),
    ("failed", "an error ended the run"),
    ("EMA", "a running average of the generator's weights, evaluated where a study keeps one"),
)

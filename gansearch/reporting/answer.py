"""The answer of a study in sentences, with what should make a reader careful."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gansearch.analysis.rows import Row, rows_of
from gansearch.analysis.trials import path_and_options, value_at
from gansearch.analysis.wording import (
    interval,
    missing,
    number,
    probability,
    share,
    words,
)
from gansearch.errors import listed
from gansearch.reporting.findings import Findings
from gansearch.study.axes import Axis
from gansearch.study.config import loss_family
from gansearch.study.records import BETTER, Outcome, count, ranked

FEW, MANY = 3, 10
"""Seeds: below `FEW` nothing can be said of their spread; from `MANY` on, intervals are good."""


@dataclass(frozen=True)
class Answer:
    """What to believe, and why not to believe it too much."""

    sentences: list[str]
    cautions: list[str]


def answer(findings: Findings) -> Answer:
    """Which configuration to take, how good and how reliable it is, and how sure that is."""
    cautions = list(_search_cautions(findings))
    if not findings.rows:
        return Answer(list(_unconfirmed(findings)), cautions)
    cautions = [*_cautions(findings), *cautions]
    best = findings.rows[0]
    if not best["successes"]:
        runs = count(int(sum(row["seeds"] for row in findings.rows)), "run")
        tried = count(len(findings.rows), "configuration")
        return Answer(
            [f"No configuration works: none of {runs} of {tried} trained to the end."], cautions
        )
    parts = (_recommendation, _values, _rivals, _certainty, _promise)
    cautions = [*_chosen(findings, best), *cautions]
    return Answer([sentence for part in parts for sentence in part(findings, best)], cautions)


def _recommendation(findings: Findings, best: Row) -> Iterator[str]:
    e = findings.evidence
    rate = share(best["success_rate"], best["success_low"], best["success_high"])
    better = BETTER[e.goal]
    value = interval(best["iqm"], best["iqm_low"], best["iqm_high"])
    yield (
        f"Take {best['configuration']} ({best['family']}). It trained to the end on "
        f"{best['successes']:.0f} of {count(int(best['seeds']), 'seed')} (success rate {rate}), and "
        f"reached an interquartile mean of {e.metric} of {value} ({better}; brackets: 95 % interval)."
    )


def _values(findings: Findings, best: Row) -> Iterator[str]:
    """What the winner sets the searched axes to: without it nobody could take it."""
    candidate = findings.evidence.roster[best["configuration"]]
    if told := values_of(candidate.config, candidate.params or {}, findings.evidence.axes):
        yield f"Its values of what was searched: {told}."


def values_of(config: Mapping[str, Any], params: Mapping[str, Any], axes: Mapping[str, Axis]) -> str:
    """The searched axes' values of a configuration, learning rates first: `loss = hinge, ...`.

    Args:
        config: the configuration as plain values.
        params: values by the axes' names, where it comes from the search.
        axes: the search space's; one that the configuration does not have is not told.
    """
    names = sorted(axes, key=lambda name: (not name.endswith(".lr"), name.count(".") > 0, name))
    values = {name: params.get(name, value_at(config, name, axes)) for name in names}
    told = {
        path_and_options(name, axes)[0]: value for name, value in values.items() if value is not None
    }
    return ", ".join(f"{path} = {_plain(value)}" for path, value in told.items())


def _plain(value: Any) -> str:
    """A setting as one would type it into a study file."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return words(value)
    return str(value) if isinstance(value, int) else number(float(f"{value:.3g}"))


def _rivals(findings: Findings, best: Row) -> Iterator[str]:
    for row in findings.rows[1:]:
        runner_up, default = row is findings.rows[1], row["kind"] == "default"
        p = findings.p_beats(best["configuration"], row["configuration"])
        if p is None or not (runner_up or default):
            continue
        titles = ["the runner-up"] * runner_up + ["the default configuration"] * default
        if row["configuration"] != "default":
            titles = [f"{row['configuration']}, {listed(titles)},"]
        verdict = told_apart(p)
        so = f"it is {verdict}" if verdict else "these seeds do not tell the two apart"
        yield (f"A run of it beats one of {listed(titles)} with probability {probability(*p)}: {so}.")


def told_apart(p: tuple[float, float, float] | None) -> str:
    """`better` or `worse` where the interval of P(A beats B), as it is shown, leaves one half out."""
    if p is None or missing(p[1]):
        return ""
    if round(p[1], 2) > 0.5:
        return "better"
    return "worse" if round(p[2], 2) < 0.5 else ""


def _certainty(findings: Findings, best: Row) -> Iterator[str]:
    tied = [row["configuration"] for row in findings.rows if row["rank"] == best["rank"]][1:]
    if tied:
        yield f"It shares its rank with {listed(tied)}."
    if len(findings.rows) < 2 or missing(best["rank_high"]):
        return
    low, high = int(best["rank_low"]), int(best["rank_high"])
    rank = f"Its rank is {low}" if low == high else f"Its rank lies between {low} and {high}"
    first = "" if missing(best["p_first"]) else f" (first in {share(best['p_first'])} of them)"
    yield f"{rank} of {len(findings.rows)} in 95 % of the resamples of the seeds{first}."


def _chosen(findings: Findings, best: Row) -> Iterator[str]:
    """The first of several that are as good is there by luck, too, though by less."""
    rivals = [
        row["configuration"]
        for row in findings.rows[1:]
        if not told_apart(findings.p_beats(best["configuration"], row["configuration"]))
    ]
    if rivals:
        yield (
            f"It was chosen on these same seeds, which do not tell it from {listed(rivals)}: its own "
            "figures are a little too good. More seeds of these few would tell."
        )


def _promise(findings: Findings, best: Row) -> Iterator[str]:
    for row in rows_of(findings.winners_curse):
        if row["configuration"] == best["configuration"] and not missing(row["searched"]):
            as_good = share(row["share_of_seeds_as_good"])
            yield (
                f"The search's own run of it had {number(row['searched'])}; {as_good} of the fresh "
                "seeds are as good."
            )


def _unconfirmed(findings: Findings) -> Iterator[str]:
    e = findings.evidence
    if e.roster.entries:
        yield f"No seed of the stability study has ended yet ({len(e.roster.entries):,} are planned)."
    best = ranked(e.search, e.metric, e.goal)[0] if e.search else None
    value = best.best(e.metric, e.goal) if best else None
    if best is None:
        yield "No trial has run yet, so there is no answer."
    elif value is None:
        yield f"No trial of the search has a finite {e.metric}, so there is no answer."
    else:
        yield (
            f"No configuration is confirmed yet. The search's best run is {best.label} "
            f"({loss_family(best.config)}), {e.metric} {number(value.value)} at step {value.step:,}"
            f"{_luck(len(e.search))}. How it does on other seeds is not known."
        )
        if best.outcome.unhealthy or best.outcome is Outcome.FAILED:  # a short search has few others
            ended = f"{best.outcome.value} at step {best.step:,}"
            yield f"That run did not train to its end: it ended as {ended}."
        if told := values_of(best.config, best.params, e.axes):
            yield f"Its values of what was searched: {told}."
    if not e.roster.entries:
        yield f"Train the best ones on fresh seeds by: gansearch stability {e.name}"


def _luck(trials: int) -> str:
    """The best of one is no choice, and so no luck."""
    return f": the best of {trials:,} trials, and so probably a lucky one" if trials > 1 else ""


def _cautions(findings: Findings) -> Iterator[str]:
    fewest = count(int(min(row["seeds"] for row in findings.rows)), "seed")
    if min(row["seeds"] for row in findings.rows) < FEW:
        yield (
            f"Only {fewest} of some configuration: nothing can be said of the spread between seeds, "
            "and the ranking may turn over with the next ones."
        )
    elif min(row["seeds"] for row in findings.rows) < MANY:
        yield f"Only {fewest} of some configuration: intervals are wide, small differences go unseen."
    everything = rows_of(findings.configurations)
    open_ = int(sum(row["missing"] for row in everything))
    if open_:
        planned = count(len(findings.main.roster.entries), "seed")
        yield f"{open_:,} of {planned} still missing: not begun, running or interrupted."
    blameless = int(sum(row["blameless"] for row in everything))
    if blameless:
        yield f"{count(blameless, 'seed')} ended because the machine did, and do not count."
    if any(row["steps_equal"] is False for row in everything):
        yield "The budget was not equal: some successes made other than the study's number of updates."
    images = {row["images"] for row in findings.rows if not missing(row["images"])}
    if len(images) > 1:
        yield (
            f"The discriminators saw from {number(min(images))} to {number(max(images))} real samples: "
            "the budget was equal in generator updates only."
        )
    failing = [row["configuration"] for row in findings.rows if not row["successes"]]
    if 0 < len(failing) < len(findings.rows):
        yield f"No seed of {listed(failing)} trained to the end: no value can be given there."
    values = findings.seeds.loc[findings.seeds["counts"] == "success", "best"].dropna()
    if len(values) > 1 and values.nunique() == 1:
        same = number(float(values.iloc[0]))
        yield f"All runs have the same {findings.evidence.metric}, {same}: it tells none of them apart."


def _search_cautions(findings: Findings) -> Iterator[str]:
    e = findings.evidence
    open_ = e.planned - sum(record.outcome.ended for record in e.search)
    if e.search and open_ > 0:
        running = any(record.outcome is Outcome.RUNNING for record in e.search)
        state = "still runs" if running else "has not finished"
        yield f"The search {state}: {open_:,} of {count(e.planned, 'trial')} have not ended."

"""All that is known of a study, in memory: what every table and figure of a report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gansearch.journal.facts import APART
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.study.axes import Axis
from gansearch.study.config import AXES_ALLOWED
from gansearch.study.notation import parse_space
from gansearch.study.records import Goal, Outcome, TrialRecord
from gansearch.study.roster import Roster
from gansearch.study.space import Space


@dataclass(frozen=True)
class Evidence:
    """A study's records, with what is needed to read them.

    Attributes:
        name: of the study.
        question: what it is to answer.
        metric: the objective.
        goal: whether it is to be small (`min`) or large (`max`).
        steps: the budget of every trial, in generator updates.
        planned: trials that the search was to have.
        axes: the search space's axes by name.
        search: the search's trials.
        stability: the trials of the stability study; each names its `configuration`.
        roster: the configurations and seeds of the stability study; empty if there was none.
        facts: versions, digest, dates and whatever else the journal knows of the study.
        published: the study file's section of that name, or None.
        devices: what a trial holds while it runs: a share of a GPU, or CPUs where it holds none.
        running: whether a driver is at work on the study.
        wants_stability: whether the study file asks for configurations to be trained again.
        experiment: the study's name in its storage, and so in MLflow.
        apart: why some trials run alone, or uncompiled, against what the study file asks for.
    """

    name: str
    question: str
    metric: str
    goal: Goal
    steps: int
    planned: int
    axes: Mapping[str, Axis] = field(repr=False)
    search: list[TrialRecord] = field(repr=False)
    stability: list[TrialRecord] = field(default_factory=list, repr=False)
    roster: Roster = field(default_factory=Roster, repr=False)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    published: Mapping[str, Any] | None = field(default=None, repr=False)
    devices: float = 1.0
    running: bool = False
    wants_stability: bool = False
    experiment: str = ""
    apart: Sequence[str] = ()

    @property
    def provenance(self) -> dict[str, dict[str, Any]]:
        """How each metric was made: of the first trial that says; all of a study's say the same."""
        return next((r.provenance for r in [*self.search, *self.stability] if r.provenance), {})


def gather(study: StoredStudy) -> Evidence:
    """Read all of a study."""
    journal = study.journal()
    again = study.stability(journal)
    space, _ = parse_space({key: journal.asked[key] for key in AXES_ALLOWED if key in journal.asked})
    held = journal.asked.get("resources") or {}
    running = study.is_held
    return Evidence(
        name=study.name,
        question=journal.facts["question"],
        metric=journal.metric,
        goal=journal.goal,
        steps=journal.steps,
        planned=journal.planned,
        axes=Space(space).axes(),
        search=read_records(journal, running=running),
        stability=read_records(again, running=running) if again else [],
        roster=again.roster if again else Roster(),
        facts=journal.facts,
        published=journal.asked.get("published"),
        devices=float(held.get("gpus") or held.get("cpus") or 1),
        running=running,
        wants_stability=journal.wants_stability,
        experiment=journal.study.study_name,
        apart=_apart(journal, again),
    )


def _apart(search: Journal, again: Journal | None) -> list[str]:
    """Why trials run alone, or uncompiled: what search and seeds share once, else whose it is."""
    if again is None or not search.planned:
        return list((again or search).facts.get(APART, []))
    phases = {"search": search.facts.get(APART, []), "stability study": again.facts.get(APART, [])}
    shared = [line for line in phases["search"] if line in phases["stability study"]]
    own = [
        f"in the {phase}: {line}"
        for phase, lines in phases.items()
        for line in lines
        if line not in shared
    ]
    return [*shared, *own]


def read_records(journal: Journal, *, running: bool) -> list[TrialRecord]:
    """A journal's trials; without a driver none of them is running, whatever a killed one left."""
    records = journal.trials()
    for record in records:
        if not running and record.outcome is Outcome.RUNNING:
            record.outcome = Outcome.INTERRUPTED
    return records

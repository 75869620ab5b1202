"""All that is known of a study, in memory: what every table and figure of a report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.study.config import AXES_ALLOWED
from gansearch.study.document import parse_document
from gansearch.study.records import Goal, Outcome, TrialRecord
from gansearch.study.roster import Roster
from gansearch.study.space import Axis, Space, parse_space


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
    """

    name: str
    question: str
    metric: str
    goal: Goal
    steps: int
    planned: int
    axes: Mapping[str, Axis]
    search: list[TrialRecord]
    stability: list[TrialRecord] = field(default_factory=list)
    roster: Roster = field(default_factory=Roster)
    facts: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, Any] | None = None
    devices: float = 1.0
    running: bool = False

    @property
    def provenance(self) -> dict[str, dict[str, Any]]:
        """How each metric was made: of the first trial that says; all of a study's say the same."""
        return next((r.provenance for r in [*self.search, *self.stability] if r.provenance), {})


def gather(directory: StudyDirectory, journal: Journal, storage: str | None = None) -> Evidence:
    """Read all of a study.

    Args:
        directory: of the study.
        journal: its search's.
        storage: the Optuna storage URL; None: journal files.
    """
    tree = parse_document(journal.facts["study"], "study.yaml").tree
    space, _ = parse_space({key: tree[key] for key in AXES_ALLOWED if key in tree})
    held = tree.get("resources") or {}
    again = journal.open_stability(directory.stability.path, storage)
    running = directory.is_held(storage)
    return Evidence(
        name=directory.name,
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
        published=tree.get("published"),
        devices=float(held.get("gpus") or held.get("cpus") or 1),
        running=running,
    )


def read_records(journal: Journal, *, running: bool) -> list[TrialRecord]:
    """A journal's trials; without a driver none of them is running, whatever a killed one left."""
    records = journal.trials()
    for record in records:
        if not running and not record.outcome.ended:
            record.outcome = Outcome.INTERRUPTED
    return records

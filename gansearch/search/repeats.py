"""A stability study's trials: every configuration of the roster on each of its seeds."""

from __future__ import annotations

from collections.abc import Mapping

from gansearch.journal.journal import Journal
from gansearch.study.records import TrialRecord


class Repeats:
    """Enters the roster's trials into the journal, one after the other.

    Args:
        journal: of the stability study; its roster says what there is to do.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal, self._roster = journal, journal.roster
        self._configs = {each.label: each.config for each in self._roster.candidates}

    @property
    def total(self) -> int:
        """Trials of all configurations."""
        return len(self._roster.entries)

    def propose(self, number: int) -> TrialRecord:
        """The trial of the next free number, new in the journal."""
        label, seed = self._roster.entries[number]
        config = self._configs[label] | {"seed": seed}
        self._journal.begin(number, {}, {}, config, label)
        return TrialRecord(number, {}, config, configuration=label)

    def over(self, records: Mapping[int, TrialRecord], number: int | None) -> str:  # noqa: ARG002
        """Never: all that is wanted is trained."""
        return ""

    def ended(self, number: int) -> None:
        """Nothing: what is trained next does not depend on it."""

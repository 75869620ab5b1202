"""A stability study's trials: every configuration of the roster on each of its seeds.

In the roster's order, in which configurations take turns; where a worker trains several trials as one,
seeds of one configuration go to one worker, for it is those that certainly can be.
"""

from __future__ import annotations

from collections import Counter
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
        begun = {(record.configuration, record.config["seed"]) for record in journal.trials()}
        self._left = [entry for entry in self._roster.entries if entry not in begun]

    @property
    def total(self) -> int:
        """Trials of all configurations."""
        return len(self._roster.entries)

    def propose(self, number: int, beside: str | None = None) -> TrialRecord:
        """The trial of the next free number, new in the journal.

        `beside`: what it is to be trained with; see `Source`.
        """
        label, seed = self._take(beside)
        config = self._configs[label] | {"seed": seed}
        self._journal.begin(number, {}, {}, config, label)
        return TrialRecord(number, {}, config, configuration=label)

    def _take(self, beside: str | None) -> tuple[str, int]:
        """The next in order; or of the configuration beside it, else of that with most seeds left."""
        if beside is None:
            return self._left.pop(0)
        left = Counter(label for label, _ in self._left)
        wanted = beside if left[beside] else left.most_common(1)[0][0]
        return self._left.pop([label for label, _ in self._left].index(wanted))

    def over(self, records: Mapping[int, TrialRecord], number: int | None) -> str:  # noqa: ARG002
        """Never: all that is wanted is trained."""
        return ""

    def ended(self, number: int) -> None:
        """Nothing: what is trained next does not depend on it."""

"""Which number a trial of a journal file has, and of what a trial was of which only that is known.

Optuna numbers the trials of a file by counting the lines that begin them: those behind a beginning that
is gone would each pass for the trial before. So a beginning says its number. Where it does not, as in
version 0.1.0's journals, the seed of its configuration tells, which follows from the number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from gansearch.journal.facts import NUMBER
from gansearch.journal.shape import asked
from gansearch.study.config import trial_seed

FAR = 1000
"""Beginnings in a row that may be gone: a seed that is of none of the next so many trials says
nothing.
"""

Attributes = Mapping[str, Any]
"""Of a trial, as its beginning has them."""


class Numbering:
    """The numbers of a journal's trials.

    Args:
        facts: what the journal knows of the study, well-shaped.
        begun: the trials whose beginning is there, in the file's order.
    """

    def __init__(self, facts: Mapping[str, Any], begun: Sequence[Attributes]) -> None:
        study = asked(facts["study"]) if "study" in facts else None
        self._known, study = study is not None, study or {}
        self._seed = (study.get("search") or {}).get("seed", 0)
        fixed = study.get("seed")  # which all trials have then
        self._fixed = fixed if isinstance(fixed, int) else None
        self._of_seeds = facts.get("part") == "stability"
        entries = (facts.get("roster") or {}).get("entries", ()) if self._of_seeds else ()
        self._entries = [(str(label), int(seed)) for label, seed in entries]
        places = {entry: place for place, entry in enumerate(self._entries)}
        taken = [places[entry] for entry in map(_entry_of, begun) if entry in places]
        gone = set(self._entries) - {self._entries[place] for place in taken}
        self._in_order = all(one < other for one, other in pairwise(taken))
        self._left = iter(sorted(gone, key=places.__getitem__))

    def of(self, begins: Attributes, least: int) -> int:
        """The number of the trial that begins so, one of the next; `least` where nothing tells."""
        seed, said = begins.get("config", {}).get("seed"), begins.get(NUMBER)
        if seed is None or said == least:
            return least
        near = range(least, least + FAR)
        if (
            isinstance(said, int)
            and said in near
            and (self._of_seeds or self._seed_of(said) in (None, seed))
        ):
            return said
        return next((n for n in near if self._seed_of(n) == seed), least)

    def gone_before(self, begins: Attributes, least: int) -> range:
        """The trials, from `least` on, that must have begun before one that begins so; none where
        nothing tells, as of seeds without a number, which may have begun in any order.
        """
        if self._of_seeds and NUMBER not in begins:
            return range(0)
        return range(least, self.of(begins, least))

    def lost(self, number: int) -> tuple[str, int | None]:
        """Configuration ("" in a search) and seed of a trial whose beginning is gone, where known."""
        return next(self._left, ("", None)) if self._of_seeds else ("", self._seed_of(number))

    def _seed_of(self, number: int) -> int | None:
        """The seed of the trial of a number, where it follows from that."""
        if self._of_seeds:
            follows = self._in_order and number < len(self._entries)
            return self._entries[number][1] if follows else None
        if self._fixed is not None:
            return self._fixed
        return trial_seed(self._seed, number) if self._known else None


def _entry_of(begins: Attributes) -> tuple[Any, Any]:
    return begins.get("configuration"), begins.get("config", {}).get("seed")

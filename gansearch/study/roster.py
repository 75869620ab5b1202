"""Which configurations are trained again, and on which seeds: the plan of a stability study.

A roster only grows: asking for more seeds or more configurations adds to it, and what has run stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import Any, Literal

from gansearch.errors import StudyError
from gansearch.study.config import config_digest, loss_family, trial_seed

Kind = Literal["search", "default", "given", "around"]


@dataclass(frozen=True)
class Candidate:
    """A configuration under confirmation.

    Attributes:
        label: by which tables, MLflow and people know it; unique in its roster.
        kind: found by the `search`, the `default` of every axis, `given` by the user, or `around`
            another one, to see what that one bears.
        config: a trial's configuration as plain values, without a seed.
        trial: of the search, where it came from there.
        params: the search's axes at this point, by name.
        of: `around`: the label of the configuration in the middle.
        axis: `around`: the dotted path in `config` of the value that differs.
        factor: `around`: what that value was multiplied by.
    """

    label: str
    kind: Kind
    config: dict[str, Any]
    trial: int | None = None
    params: dict[str, Any] | None = None
    of: str = ""
    axis: str = ""
    factor: float = 1.0

    @property
    def digest(self) -> str:
        """The same for the same configuration, whatever it is called."""
        return config_digest(self.config)

    @property
    def family(self) -> str:
        """Its loss and penalty."""
        return loss_family(self.config)


@dataclass(frozen=True)
class Roster:
    """Candidates, and each trial's (label, seed) in the order of the trials' numbers."""

    candidates: tuple[Candidate, ...] = ()
    entries: tuple[tuple[str, int], ...] = ()

    def __getitem__(self, label: str) -> Candidate:
        """The candidate of a label; raises `KeyError` if there is none."""
        return {candidate.label: candidate for candidate in self.candidates}[label]

    def seeds(self, label: str) -> list[int]:
        """The seeds of one candidate, in the order in which they run."""
        return [seed for name, seed in self.entries if name == label]

    def extended(
        self,
        candidates: Sequence[Candidate],
        seeds: int,
        study_seed: int,
        taken: Collection[int] = (),
        lost: Collection[int] = (),
    ) -> Roster:
        """A roster in which each of these candidates has at least `seeds` seeds.

        A configuration that is there already, by whatever label, keeps its label and its seeds. The
        seeds of two configurations have nothing in common, so their results are independent. New
        trials take turns: all the candidates' next seed, then all the candidates' next but one, so
        that a study that is cut short is balanced.

        Args:
            candidates: whom to train.
            seeds: how often.
            study_seed: from which, with the configuration itself, the seeds follow.
            taken: seeds not to use: the search's.
            lost: seeds that do not count, because their machine died; others stand in for them.

        Raises:
            StudyError: two configurations of one label.
        """
        known = {candidate.digest: candidate for candidate in self.candidates}
        labels = {candidate.label for candidate in self.candidates}
        for candidate in candidates:
            if candidate.digest not in known and candidate.label in labels:
                raise StudyError(
                    f"'{candidate.label}' is the label of another configuration of this study "
                    "already: call it something else"
                )
            known.setdefault(candidate.digest, candidate)
            labels.add(candidate.label)
        wanted = dict.fromkeys(known[candidate.digest].label for candidate in candidates)
        merged = replace(self, candidates=tuple(known.values()))
        new: list[tuple[int, str, int]] = []
        for label in wanted:
            present = self.seeds(label)
            fresh = _fresh_seeds(merged[label], study_seed, {*present, *taken})
            counted = sum(seed not in lost for seed in present)
            new += [(turn, label, next(fresh)) for turn in range(counted, seeds)]
        new.sort(key=lambda entry: entry[0])
        return replace(merged, entries=self.entries + tuple((label, seed) for _, label, seed in new))

    def plain(self) -> dict[str, Any]:
        """The roster as JSON holds it."""
        return {
            "candidates": [asdict(candidate) for candidate in self.candidates],
            "entries": [list(entry) for entry in self.entries],
        }

    @classmethod
    def of_plain(cls, tree: Mapping[str, Any]) -> Roster:
        """The inverse of `plain`."""
        candidates = tuple(Candidate(**candidate) for candidate in tree["candidates"])
        return cls(candidates, tuple((label, seed) for label, seed in tree["entries"]))


def _fresh_seeds(candidate: Candidate, study_seed: int, taken: Collection[int]) -> Any:
    purpose = f"stability/{candidate.digest}"
    seeds = (trial_seed(study_seed, i, purpose) for i in count())
    return (seed for seed in seeds if seed not in taken)

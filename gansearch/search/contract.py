"""What a sampler is, and what it is shown. (What a pruner is stands in `gansearch.search.pruners`.)"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from gansearch.study.location import Point
from gansearch.study.space import Space

__all__ = ["Past", "Point", "Sampler", "Tried"]  # a point is a word of the study's


@dataclass(frozen=True)
class Tried:
    """A trial as a sampler sees it.

    Attributes:
        number: of the trial, from 0; below 0 where it is of an earlier study.
        point: where it lies; not to be changed.
        running: whether it is being trained, and was never paused; then it has no value yet.
        value: the objective at its best report; None where none was finite, or the trial runs.
        failed: whether a health rule or an error ended it.
        pruned: whether it was stopped for falling behind, or is paused, or goes on after a pause; of
            the last the value is that at the pause.
        curve: the best objective so far by step, at each report that has a finite one, rising; also of
            trials that run. One of an earlier study has only its last.
    """

    number: int
    point: Mapping[str, Any]
    running: bool = False
    value: float | None = None
    failed: bool = False
    pruned: bool = False
    curve: Mapping[int, float] = field(default_factory=dict)

    @cached_property
    def last(self) -> tuple[int, float]:
        """The end of its curve, which it must have: the step, and the best objective by then."""
        return list(self.curve.items())[-1]


class Past(Protocol):
    """What has been tried when a proposal is asked for."""

    @property
    def number(self) -> int:
        """Of the trial for which a point is wanted."""
        ...

    @property
    def seed(self) -> int:
        """Of the search: the same for all its proposals."""
        ...

    @property
    def minimize(self) -> bool:
        """Whether lower values are better."""
        ...

    @property
    def trials(self) -> Sequence[Tried]:
        """The trials before it, by number: all that run, and of the others as many as `history` says.
        If that is a number, those that ended in an error are left out.
        """
        ...


class Sampler(Protocol):
    """Proposes one point of a search.

    It is called with (seed, conditional): the seed of this proposal, and whether some axes exist only
    under some options. Its options are the keyword-only parameters that it takes besides. For every
    proposal a new one is made, so that a proposal is a function of the seed, its number, the space and
    the trials before, and of nothing that a crash could lose: no global random numbers, no clock, no
    files. A sampler of Optuna's (`optuna.samplers.BaseSampler`) serves as it is; if it has attributes
    `history` or `swayed`, they mean the same.

    Attributes:
        history: how many ended trials it is shown at most (see `gansearch.search.history`), so that the
            cost of a proposal does not grow with the search; None: all.
        swayed: whether its proposals are to keep away from where trials fail. Then a point that is
            likely to fail is passed over for the sampler's next one, a few times. One that is to cover
            the space evenly is not swayed.
    """

    history: int | None
    swayed: bool

    def draws(self, past: Past, space: Space) -> Iterator[Point]:
        """Points for one trial, the most wanted first.

        Only the first is asked for if it is taken; a sampler may yield any number, and at least one.

        Args:
            past: what has been tried; trials may have failed, have no value, or still run.
            space: `space.point(suggest)` makes a point, asking for each axis that exists there in turn.
        """
        ...

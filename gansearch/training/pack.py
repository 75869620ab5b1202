"""Several trainings in one process: a pack, in which each is what it would have been alone.

A pack knows numbers, configurations and reports. Where checkpoints lie, who is pruned and what is
written down is the business of whoever drives it (`gansearch.tuning.trainable`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from PIL.Image import Image

from gansearch.study.config import TrialConfig
from gansearch.study.records import Report
from gansearch.training.transfer import begins_with_weights


class TrainerLike(Protocol):
    """What a pack asks of a trainer."""

    reports: list[Report]

    @property
    def finished(self) -> bool:
        """Whether the last report was the last."""
        ...

    def advance(self) -> Report:
        """Train to the next report."""
        ...

    def provenance(self) -> dict[str, dict[str, Any]]:
        """How the metrics are made."""
        ...

    def grid(self) -> Image | None:
        """A picture of samples, if any."""
        ...

    def state(self) -> dict[str, Any]:
        """What continuing needs; empty: nothing to save."""
        ...

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        ...


@runtime_checkable
class Divisible(Protocol):
    """A trainer that can do with less memory."""

    microbatches: int

    def split(self, microbatches: int) -> None:
        """Compute each batch in so many pieces."""
        ...


class LaneError(Exception):
    """An error, its cause, of one of the trainings that were due, with which no other has to do.

    Args:
        number: of the training.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(frozen=True)
class Start:
    """A training for a pack to take in.

    Attributes:
        number: by which the pack speaks of it.
        config: what to train.
        heard: the last step whose report is known; later ones in its state are told again.
        latest: gives the state to continue from, if any; called when the trainer is built.
        pieces: in which each batch is computed, at least.
        alone: how many reports it makes by itself before it may be together with others: its worker has
            died, and who it was is to be known.
    """

    number: int
    config: TrialConfig
    heard: int = 0
    latest: Callable[[], Mapping[str, Any] | None] = lambda: None
    pieces: int = 1
    alone: float = 0


Make = Callable[..., TrainerLike]
"""Builds the trainer of a configuration; `begun`: of one that goes on from a state."""


def made(make: Make, config: TrialConfig, *, begun: bool) -> TrainerLike:
    """A trainer; where it begins with weights of others, it is told whether it has."""
    return make(config, begun=begun) if begins_with_weights(config) else make(config)


class Pack(Protocol):
    """Trainings that a process carries at a time.

    Whether they are trained in turn or as one is the pack's own affair: a training's reports and states
    are those that it would have alone.
    """

    def begin(self, starts: Sequence[Start]) -> None:
        """Take trainings in; they are built when `advance` comes to them."""
        ...

    def due(self) -> list[int]:
        """The trainings that the next `advance` works on: an error that it raises is theirs, or, a
        `LaneError`, the one's that it names.
        """
        ...

    def advance(self) -> list[tuple[int, Report]]:
        """Train those that are due to their next report, and return the reports that are new."""
        ...

    def stop(self, numbers: Collection[int]) -> None:
        """Let trainings go, ended or not."""
        ...

    def release(self) -> bool:
        """Want of memory: hold no more than one training at a time from now on.

        They all go on from their states. Returns False where it was so already: nothing is won.
        """
        ...

    def trainer(self, number: int) -> TrainerLike | None:
        """A training as it is now; None where it is not built."""
        ...

    def state(self, number: int) -> dict[str, Any]:
        """What continuing a training needs; empty: nothing to save."""
        ...


@dataclass
class _Lane:
    start: Start
    heard: int
    trainer: TrainerLike | None = None
    made: int = 0  # reports, here


class SequentialPack:
    """Trains one training after another, each to its next report, in turn.

    Args:
        make: builds the trainer of a configuration.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._lanes: dict[int, _Lane] = {}  # in the order of their turns
        self._cramped = False

    def begin(self, starts: Sequence[Start]) -> None:
        """Take trainings in, as the last in turn."""
        for start in starts:
            self._lanes[start.number] = _Lane(start, start.heard)

    def due(self) -> list[int]:
        """The one whose turn it is."""
        return list(self._lanes)[:1]

    def advance(self) -> list[tuple[int, Report]]:
        """Train the one whose turn it is, or tell what its state knows and nobody has heard."""
        (number,) = self.due()
        lane = self._lanes[number]
        reports = self._restore(lane) if lane.trainer is None else []
        if not reports:
            assert lane.trainer is not None
            reports, lane.made = [lane.trainer.advance()], lane.made + 1
        lane.heard = reports[-1].step
        if not self._cramped:
            self._lanes[number] = self._lanes.pop(number)
        return [(number, report) for report in reports]

    def _restore(self, lane: _Lane) -> list[Report]:
        """Build a trainer; returns the reports of its state that are to be told."""
        state = lane.start.latest()
        # Known before it has loaded: one that has no room for its state can do with less.
        trainer = lane.trainer = made(self._make, lane.start.config, begun=state is not None)
        if state is not None:
            trainer.load(dict(state))
        divisible: object = trainer
        if isinstance(divisible, Divisible) and lane.start.pieces > divisible.microbatches:
            divisible.split(lane.start.pieces)
        unheard = [report for report in trainer.reports if report.step > lane.heard]
        return unheard or (trainer.reports[-1:] if trainer.finished else [])

    def stop(self, numbers: Collection[int]) -> None:
        """Let trainings go."""
        for number in numbers:
            self._lanes.pop(number, None)
        self._cramped = self._cramped and bool(self._lanes)

    def cleared(self, number: int) -> Start | None:
        """A training that was to be by itself at first and has been, as it would begin now; None: any
        other.
        """
        lane = self._lanes[number]
        if not 0 < lane.start.alone <= lane.made:
            return None
        return replace(lane.start, heard=lane.heard, alone=0)

    def release(self) -> bool:
        """Hold one training at a time, and train it to its end before the next."""
        if self._cramped or self.built < 2:
            return False
        self.cramp()
        return True

    @property
    def built(self) -> int:
        """How many trainings are held."""
        return sum(lane.trainer is not None for lane in self._lanes.values())

    def cramp(self) -> None:
        """From now on hold one training at a time, beginning with none."""
        self._cramped = True
        for lane in self._lanes.values():
            lane.trainer = None

    def trainer(self, number: int) -> TrainerLike | None:
        """A training as it is now; None where it is not built."""
        return self._lanes[number].trainer

    def state(self, number: int) -> dict[str, Any]:
        """What continuing a training needs."""
        trainer = self._lanes[number].trainer
        return trainer.state() if trainer else {}

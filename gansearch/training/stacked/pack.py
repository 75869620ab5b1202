"""A pack whose trainings are trained as one, where they can be."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gansearch.errors import RAISED, StorageError
from gansearch.networks.stacked import CannotStack
from gansearch.study.records import Report
from gansearch.training.compiled.step import CompiledLanes
from gansearch.training.compiled.why import CannotCompile, why_uncompiled
from gansearch.training.pack import LaneError, Make, SequentialPack, Start, TrainerLike, made
from gansearch.training.stacked.proof import why_unlike
from gansearch.training.stacked.shape import shape_of, why_alone
from gansearch.training.stacked.step import Lanes
from gansearch.training.trainer import Trainer

log = logging.getLogger(__name__)

ALONE = ""
"""The turn of those that are trained one after another."""

OWN = " of "
"""What is in the name of a turn that is one training's own."""


@dataclass
class _Lane:
    start: Start
    heard: int
    trainer: Trainer | None = None
    new: bool = False  # it has just been built


@dataclass
class _Group:
    """Trainings of one shape.

    Attributes:
        held: by number.
        lanes: they as one, as of the last report; None: not yet, or there is but one.
        rows: the number in each row of `lanes`.
    """

    held: dict[int, _Lane] = field(default_factory=dict)
    lanes: Lanes | None = None
    rows: list[int] = field(default_factory=list)


class FusedPack:
    """Trains those of one shape as one (`gansearch.training.stacked`), and all others in turn.

    Which go together is found anew at each report: where one has ended, the next of its shape takes its
    row. One that is alone of its shape, or to be trained in pieces, is trained as in `SequentialPack`.

    Args:
        make: builds the trainer of a configuration.
        beside: opened with a training's number while something is done for it alone.
        fuses: whether those of a shape are to be trained as one.
        compiled: where compiled code is kept, to train by it what can be: each training that is alone,
            and packs of `most`; None: nothing is compiled.
        most: how many it will be given at a time.
    """

    def __init__(
        self,
        make: Make,
        beside: Callable[[int], AbstractContextManager[Any]] = lambda _: nullcontext(),
        fuses: Callable[[str], bool] = lambda _: True,
        compiled: Path | None = None,
        most: int = 1,
    ) -> None:
        self._make, self._beside, self._fuses = make, beside, fuses
        self._compiled, self._most = compiled, most
        self._uncompiled: set[tuple[str, int]] = set()
        self._unstacked: set[int] = set()  # trainings that are not like in a stack
        self._sequential = SequentialPack(make)
        self._groups: dict[str, _Group] = {}
        self._turns: list[str] = []
        self._cramped = False
        self._reasons: set[str] = set()

    # The protocol of packs

    def begin(self, starts: Sequence[Start]) -> None:
        """Take trainings in."""
        for start in starts:
            shape = self._shape(start)
            if shape == ALONE:
                self._sequential.begin([start])
            else:
                group = self._groups.setdefault(shape, _Group())
                group.held[start.number] = _Lane(start, start.heard)
            if shape not in self._turns:
                self._turns.append(shape)

    def _shape(self, start: Start) -> str:
        if self._cramped or start.alone or start.pieces > 1:
            return ALONE
        reason, shape = why_alone(start.config), shape_of(start.config)
        if not reason and self._fuses(shape) and start.number not in self._unstacked:
            return shape
        if reason and (self._most > 1 or self._compiled is None):
            self._tell(f"trained one after another, {reason}")
        if self._compiled is None:
            return ALONE
        if reason := why_uncompiled(start.config):
            self._tell(f"not compiled, {reason}")
            return ALONE
        return f"{shape}{OWN}{start.number}"  # so that it is a pack of one

    def _tell(self, text: str) -> None:
        if text not in self._reasons:
            log.warning("%s", text)
        self._reasons.add(text)

    def due(self) -> list[int]:
        """The trainings of the shape whose turn it is."""
        if not self._turns:
            return []
        turn = self._turns[0]
        return self._sequential.due() if turn == ALONE else list(self._groups[turn].held)

    def advance(self) -> list[tuple[int, Report]]:
        """Train those that are due until one is at its next report."""
        turn = self._turns[0]
        alone = turn == ALONE
        told = self._sequential.advance() if alone else self._advance(turn, self._groups[turn])
        if alone:
            self._let_join({number for number, _ in told})
        if not self._cramped and self._turns[:1] == [turn]:
            self._turns.append(self._turns.pop(0))
        return told

    def _let_join(self, numbers: Collection[int]) -> None:
        """Have those be together with others again whose worker's death was not their doing."""
        for number in numbers:
            start, trainer = self._sequential.cleared(number), self._sequential.trainer(number)
            if start is None or not isinstance(trainer, Trainer) or trainer.finished:
                continue
            if trainer.microbatches == 1 and (shape := self._shape(start)) != ALONE:
                self.stop([number])
                group = self._groups.setdefault(shape, _Group())
                group.held[number] = _Lane(start, start.heard, trainer)
                if shape not in self._turns:
                    self._turns.append(shape)

    def stop(self, numbers: Collection[int]) -> None:
        """Let trainings go."""
        self._sequential.stop(numbers)
        for group in self._groups.values():
            for number in numbers:
                group.held.pop(number, None)
        self._groups = {shape: group for shape, group in self._groups.items() if group.held}
        here = {*self._groups, *([ALONE] if self._sequential.due() else [])}
        self._turns = [turn for turn in self._turns if turn in here]
        self._cramped = self._cramped and bool(self._turns)

    def release(self) -> bool:
        """Hold one training at a time, and train it to its end before the next."""
        held = [lane for group in self._groups.values() for lane in group.held.values() if lane.trainer]
        if self._cramped or len(held) + self._sequential.built < 2:
            return False
        for shape in list(self._groups):
            self._part(shape)
        self._cramped = True
        self._sequential.cramp()
        return True

    def trainer(self, number: int) -> TrainerLike | None:
        """A training as it is now; None where it is not built."""
        lane = self._lane(number)
        return lane.trainer if lane else self._sequential.trainer(number)

    def state(self, number: int) -> dict[str, Any]:
        """What continuing a training needs; of one in a row of many, a copy of its own."""
        lane = self._lane(number)
        if lane is None:
            return self._sequential.state(number)
        state: dict[str, Any] = _copied(lane.trainer.state()) if lane.trainer else {}
        return state

    def _lane(self, number: int) -> _Lane | None:
        found = (group.held.get(number) for group in self._groups.values())
        return next(filter(None, found), None)

    # Those of one shape

    def _advance(self, shape: str, group: _Group) -> list[tuple[int, Report]]:
        for number in [number for number, lane in group.held.items() if lane.trainer is None]:
            self._build(number, shape, group)
        if not group.held:
            self.stop([])
            return []
        if unheard := [new for number in group.held for new in self._unheard(number, group)]:
            return unheard
        try:
            seated = self._seat(shape, group)
            due = group.lanes.train() if group.lanes else []
        except torch.AcceleratorError:
            raise
        except RAISED as error:  # whosever it is: each for itself they show it, and end by their own
            unlike = isinstance(error, CannotStack)
            self._tell(f"not as one, but one after another: {error if unlike else repr(error)}")
            self._part(shape, unlike=unlike and OWN not in shape)
            return []
        if group.lanes is None:
            return self._advance_the_only_one(seated[0], group)
        for row in due:
            number = group.rows[row]
            with self._own(number):
                group.lanes.report(row)
        return [new for row in due for new in self._unheard(group.rows[row], group)]

    def _build(self, number: int, shape: str, group: _Group) -> None:
        lane, reason = group.held[number], ""
        with self._own(number):
            state = lane.start.latest()
            trainer: object = made(self._make, lane.start.config, begun=state is not None)
            fits = isinstance(trainer, Trainer)
            if isinstance(trainer, Trainer):
                if state is not None:
                    trainer.load(dict(state))
                fits = trainer.microbatches == 1
                lane.trainer, lane.new = trainer, True
                if OWN not in shape:  # losses of several kinds are of one shape
                    reason = why_unlike(lane.start.config, trainer.domain)
        if reason:
            self._tell(f"not as one, but one after another: {reason}")
            self._set_apart(group.held.pop(number))
        elif not fits:
            self._hand_over(group.held.pop(number))

    @contextmanager
    def _own(self, number: int) -> Iterator[None]:
        """While it is open, what goes wrong is a training's own, and what is printed too."""
        try:
            with self._beside(number):
                yield
        except StorageError:  # no training's own
            raise
        except RAISED as error:
            raise LaneError(number) from error

    def _unheard(self, number: int, group: _Group) -> list[tuple[int, Report]]:
        """Reports of a training that are to be told."""
        lane = group.held[number]
        assert lane.trainer is not None
        reports = [report for report in lane.trainer.reports if report.step > lane.heard]
        if lane.new and lane.trainer.finished:
            reports = reports or lane.trainer.reports[-1:]
        lane.new = False
        if reports:
            lane.heard = reports[-1].step
        return [(number, report) for report in reports]

    def _seat(self, shape: str, group: _Group) -> list[int]:
        """Have a row for each training that is to go on, and no other; none where there is but one that
        is neither compiled nor amid what it began with others. Returns those trainings.
        """
        wanted = self._together(group)
        free = [row for row, number in enumerate(group.rows) if number not in wanted]
        new = [number for number in wanted if number not in group.rows]
        lanes = group.lanes
        amid = lanes is not None and lanes.is_amid(self._trainer(group, wanted[0]))
        stays = lanes is not None and (len(wanted) > 1 or amid or lanes.compiled)
        if lanes is not None and stays and len(free) == len(new) and (lanes.takes or not new):
            for row, number in zip(free, new, strict=True):
                lanes.take(row, self._trainer(group, number))
                group.rows[row] = number
            return wanted
        trainers = [self._trainer(group, number) for number in wanted]
        lanes = self._compile(shape, trainers, group.lanes)
        if lanes is None and (len(wanted) > 1 or amid):
            lanes = Lanes(trainers, group.lanes)
        group.lanes, group.rows = lanes, wanted if lanes else []
        return wanted

    def _together(self, group: _Group) -> list[int]:
        """Those that go on as one. A lazy penalty is due for all at once or for none: who would join
        others between two of its turns waits until they have reported.
        """
        seated = [number for number in group.rows if number in group.held]
        first = self._trainer(group, [*seated, *group.held][0])
        trainers = {number: self._trainer(group, number) for number in group.held}
        return [n for n, each in trainers.items() if each.since_penalty == first.since_penalty]

    def _compile(
        self, shape: str, trainers: Sequence[Trainer], before: Lanes | None
    ) -> CompiledLanes | None:
        """Trainings by compiled code; None where that is not wanted, or cannot be."""
        count = len(trainers)
        known = (shape, count) in self._uncompiled
        if self._compiled is None or known or count not in (1, self._most):
            return None
        if before is not None and any(before.is_amid(trainer) for trainer in trainers):
            return None  # what it has gathered is of steps that were not compiled, or of other code
        try:
            return CompiledLanes(trainers, before, cache=self._compiled)
        except CannotCompile as why:
            self._tell(f"not compiled: {why}")
            self._uncompiled.add((shape, count))
            return None

    @staticmethod
    def _trainer(group: _Group, number: int) -> Trainer:
        trainer = group.held[number].trainer
        assert trainer is not None
        return trainer

    def _advance_the_only_one(self, number: int, group: _Group) -> list[tuple[int, Report]]:
        with self._own(number):
            self._trainer(group, number).advance()
        return self._unheard(number, group)

    def _part(self, shape: str, *, unlike: bool = False) -> None:
        """Have those of a shape go on one after another, from their last states; `unlike`: they have no
        stack.
        """
        self._turns = [turn for turn in self._turns if turn != shape]
        for lane in self._groups.pop(shape).held.values():
            if unlike:
                self._set_apart(lane)
            else:
                self._hand_over(lane)

    def _set_apart(self, lane: _Lane) -> None:
        """Have one never be with others: compiled by itself, where that is asked for."""
        self._unstacked.add(lane.start.number)
        self.begin([replace(lane.start, heard=lane.heard)])

    def _hand_over(self, lane: _Lane) -> None:
        self._sequential.begin([replace(lane.start, heard=lane.heard)])
        if ALONE not in self._turns:
            self._turns.append(ALONE)


def _copied(state: Any) -> Any:
    """A state whose tensors have memory of their own; a view would be saved with all that it is of."""
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, dict):
        copied = copy.copy(state)  # with what torch notes of its modules' versions
        copied.update({key: _copied(value) for key, value in state.items()})
        return copied
    return [_copied(value) for value in state] if isinstance(state, list) else state

"""Who trains what: trials are handed to workers, and what workers tell is written down.

To Ray Tune a trial is a worker. The ledger's trials go on from their checkpoints with another one, as
they would in a resumed study: a node's death, a node that is to end and a worker's death are all met in
this one way. Tune's own retries cannot tell them apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

import ray
from ray import tune
from ray.exceptions import RayActorError

from gansearch.errors import StudyError, UserError
from gansearch.search.pruners import Decision
from gansearch.study.plan import Resources
from gansearch.study.records import Outcome, TrialRecord, count
from gansearch.tuning.deaths import NOBODY, Deaths, GivenUp, error_of
from gansearch.tuning.ledger import Ledger
from gansearch.tuning.nodes import Nodes
from gansearch.tuning.pruning import Pruning
from gansearch.tuning.trainable import Begin, Told

_T = TypeVar("_T")


class NotSaved:
    """Something that Tune pickles with a Tuner so as to restore it. Nothing here is ever restored so:
    a study resumes from its journal.
    """

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())


def resumably(method: Callable[..., _T]) -> Callable[..., _T | None]:
    """Have trouble end the run, with nothing written after it.

    Tune would otherwise make a `TuneError` of it, with the traceback for its text.
    """

    @wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> _T | None:
        if self.interruption.trouble is None:
            try:
                return method(self, *args, **kwargs)
            except UserError as error:
                self.interruption.trouble = error
        return None

    return guarded


@dataclass
class Load:
    """What a worker carries.

    Attributes:
        numbers: its trials, in the order in which it was given them.
        due: those that it is training now, by what it last told.
    """

    numbers: list[int] = field(default_factory=list)
    due: list[int] = field(default_factory=list)

    def suspects(self) -> list[int]:
        """The trials that may have caused the worker's death: those that were being trained."""
        return [number for number in self.due if number in self.numbers] or self.numbers[:1]


class Dispatcher(NotSaved, tune.Callback):  # type: ignore[misc]
    """Gives every worker trials up to its share, judges their reports, and fills the places of those
    that have ended or are paused, until there are no more.

    A free place goes to a trial that has lost its worker; then to a paused one, if the pruner chooses
    one; then to a new one.

    Args:
        ledger: where trials come from, and what happens to them goes.
        pruning: who is stopped early, or paused, and who goes on.
        nodes: knows whose fault a death was.
        resources: how many trials a worker carries at most, and how many deaths in a row, with no
            report between them, a trial survives.
        slots: how many workers may be there now.
        most: trials at once, at most; None: as many as the workers carry.
        on_move: called with the number of each trial that has ended, is paused, or goes on after that.
        on_step: each called between Tune's events, several times a second.
        interruption: told where no trial can go on.
    """

    def __init__(
        self,
        ledger: Ledger,
        pruning: Pruning,
        nodes: Nodes,
        resources: Resources,
        slots: Callable[[], int],
        most: int | None,
        on_move: Callable[[int], None],
        on_step: Sequence[Callable[[], None]],
        interruption: Interruption,
    ) -> None:
        self.interruption = interruption
        self._ledger, self._pruning, self._nodes = ledger, pruning, nodes
        self._lanes, self._slots, self._most = resources.carried, slots, most or math.inf
        self._on_move, self._on_step = on_move, on_step
        self._deaths = Deaths(resources.retries, nodes.took)
        self._heard = 0
        self._moved: set[str] = set()
        self._loads: dict[str, Load] = {}

    # Whether there is work for another worker

    @property
    def finished(self) -> bool:
        """Whether all trials that there are to be have ended, or are paused for good; or wait for what
        they are to begin with.
        """
        return not self._ledger.live and not self._startable(1)

    def close(self) -> None:
        """Nothing more is to be learnt: end the trials that are paused.

        Raises:
            StudyError: there is, of trials that cannot begin.
        """
        if left := self._ledger.remaining:
            raise StudyError(
                f"{count(left, 'trial')} cannot begin: {self._ledger.held}. "
                "When that is mended, `gansearch resume` goes on"
            )
        for number in self._ledger.give_up_paused():
            self._on_move(number)

    def _startable(self, most: int) -> int:
        """How many trials could be started now, counted up to a number."""
        waiting = min(self._ledger.startable, most)
        return waiting + len(self._pruning.wakes(most - waiting))

    def wants_worker(self, workers: int) -> bool:
        """Whether there is room for one more than so many, and something for it to do."""
        # Proposals are made as late as can be: when the worker is there.
        idle = workers - sum(bool(load.numbers) for load in self._loads.values())
        room = self._most - len(self._ledger.live)
        return idle < min(self._startable(idle + 1), room) and workers < self._slots()

    # What Tune tells

    @resumably
    def on_trial_start(self, *, trial: Any, **_: Any) -> None:
        """A worker is there."""
        load = self._loads[trial.trial_id] = Load()
        self._talk(trial, load, [])

    @resumably
    def hear(self, trial: Any, result: dict[str, Any]) -> bool:
        """A worker has told something; returns whether it has anything more to do."""
        load = self._loads[trial.trial_id]
        load.due = list(result["due"])
        stop: list[int] = []
        for told in result["told"]:
            if told.number in load.numbers:  # and was not stopped by the report before
                stop += self._note(load, told)
        self._talk(trial, load, stop)
        if self._nodes.leaving and load.numbers:
            self._move(trial, only_in_a_hurry=False)
        return bool(load.numbers)

    def _note(self, load: Load, told: Told) -> list[int]:
        """Write a report or an error down; returns the trial if its worker is to let it go."""
        number, report = told.number, told.report
        if report is None:
            self._end(load, number, Outcome.FAILED, told.failure)
            return []
        self._ledger.note_provenance(number, told.provenance)
        before = self._ledger.records[number].step
        self._ledger.report(number, report)
        self._heard += self._ledger.records[number].step > before
        verdict = self._pruning.judge(number, report)
        if report.outcome is not None:
            self._end(load, number)
        elif verdict.decision is Decision.STOP:
            self._end(load, number, Outcome.PRUNED, verdict.reason)
        elif verdict.decision is Decision.PAUSE:
            self._pause(load, number, verdict.reason)
        return [number] if verdict.decision is not Decision.GO_ON else []

    def _talk(self, trial: Any, load: Load, stop: list[int]) -> None:
        """Tell a worker whom to stop, and give it what it has room for.

        Tune asks it for its next step after this, and it does what it is asked in order.
        """
        begin = []
        while len(load.numbers) < self._share() and self._may_take(trial):
            record = self._next(load)
            load.numbers.append(record.number)
            # As text: it is shorter, and read where it is needed.
            alone = self._deaths.alone(record.number, record.step)
            begin.append(Begin(record.number, json.dumps(record.config), record.step, alone))
        if load.numbers and (begin or stop):
            trial.temporary_state.ray_actor.tell.remote(begin, stop)
        load.due = load.suspects()

    def _next(self, load: Load) -> TrialRecord:
        """The trial that takes a free place beside a worker's trials."""
        wakes = [] if self._ledger.unstarted else self._pruning.wakes(1)
        if not wakes:
            carried = [self._ledger.records[number].configuration for number in load.numbers]
            return self._ledger.next(["", *carried][-1] if self._lanes > 1 else None)
        record = self._ledger.wake(wakes[0].number, wakes[0].reason)
        self._on_move(record.number)
        return record

    def _share(self) -> int:
        """How many trials a worker is given: where few are left they are spread over all workers."""
        live, slots = len(self._ledger.live), max(self._slots(), 1)
        at_once = min(live + self._startable(self._lanes * slots), self._most)
        return min(self._lanes, math.ceil(at_once / slots))

    def _may_take(self, trial: Any) -> bool:
        ledger, nodes = self._ledger, self._nodes
        if not self._startable(1) or len(ledger.live) >= self._most:
            return False
        shunned = {*nodes.leaving, *nodes.avoided()}
        return not shunned or nodes.node_of(_actor(trial)) not in shunned

    @resumably
    def on_trial_complete(self, *, trial: Any, **_: Any) -> None:
        """A worker has nothing more to do."""
        self._put_back(self._loads.pop(trial.trial_id, Load()).numbers)
        _forget(trial)

    @resumably
    def on_trial_error(self, *, trial: Any, **_: Any) -> None:
        """A worker has died, or cannot go on."""
        load, error = self._loads.pop(trial.trial_id, Load()), error_of(trial)
        _forget(trial)
        if not self._is_moved(error):
            if isinstance(error, RayActorError) and error.actor_init_failed:
                self._nodes.doubt(error.actor_id)
            self._blame(load, error)
        self._put_back(load.numbers)

    def _blame(self, load: Load, error: Any) -> None:
        """Count a death for the trials that may be behind it, and end those that have had too many."""
        for number in load.suspects() or [NOBODY]:
            step = self._ledger.records[number].step if load.numbers else 0
            end = self._deaths.add(number, step, error, self._heard)
            if end is None:
                continue
            if end.blameless and end.heard == self._heard:
                self._put_back(load.numbers)
                raise StudyError(_nothing_goes_on(number, end))
            if number == NOBODY:  # others have gone on meanwhile
                self._deaths.forget(NOBODY)
            else:
                self._end(load, number, Outcome.FAILED, end.reason, blameless=end.blameless)

    def _put_back(self, numbers: list[int]) -> None:
        """Have trials go on with the next worker that has room, in their order."""
        for number in reversed(numbers):
            self._ledger.put_back(number)

    def _is_moved(self, error: Any) -> bool:
        """Whether a worker died because its trials were to move on."""
        return isinstance(error, RayActorError) and error.actor_id in self._moved

    @resumably
    def on_step_end(self, *, trials: list[Any], **_: Any) -> None:
        """Between two events of Tune."""
        self._nodes.look()
        if any(map(self._nodes.hurries, self._nodes.leaving)):
            for trial in trials:
                if trial.status == trial.RUNNING:
                    self._move(trial, only_in_a_hurry=True)
        for action in self._on_step:
            action()

    def _move(self, trial: Any, *, only_in_a_hurry: bool) -> None:
        """End a worker if its node is to end; its trials go on elsewhere."""
        worker = trial.temporary_state.ray_actor
        if worker is None or (actor := _actor(trial)) in self._moved:
            return
        node = self._nodes.node_of(actor)
        if node in self._nodes.leaving and (self._nodes.hurries(node) or not only_in_a_hurry):
            self._moved.add(actor)
            ray.kill(worker)

    def _end(
        self,
        load: Load,
        number: int,
        outcome: Outcome | None = None,
        reason: str = "",
        *,
        blameless: bool = False,
    ) -> None:
        load.numbers.remove(number)
        self._ledger.end(number, outcome, reason, blameless=blameless)
        if outcome is Outcome.FAILED:
            self._pruning.failed(number)
        self._deaths.forget(number)
        self._on_move(number)

    def _pause(self, load: Load, number: int, reason: str) -> None:
        load.numbers.remove(number)
        self._ledger.pause(number, reason)
        self._deaths.forget(number)
        self._on_move(number)


class Interruption(NotSaved, tune.Stopper):  # type: ignore[misc]
    """Ends the run when an event is set, there is trouble, or all is done.

    Attributes:
        trouble: why nothing can go on, such as a journal that cannot be written.
        finished: whether there is nothing more to do.
    """

    def __init__(self, stop: Callable[[], bool]) -> None:
        self._stop = stop
        self.trouble: UserError | None = None
        self.finished: Callable[[], bool] = lambda: False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        """No worker is stopped by itself."""
        return False

    def stop_all(self) -> bool:
        """Whether to end."""
        if self._stop() or self.trouble is not None:
            return True
        try:
            return self.finished()
        except UserError as error:  # a pruner of the user's, asked who goes on
            self.trouble = error
            return True


def _nothing_goes_on(number: int, end: GivenUp) -> str:
    if number == NOBODY:
        why = f"a worker died {end.deaths} times before it had one: {end.kinds}"
    else:
        why = f"trial {number}'s {end.reason.removeprefix('its ')}"
    return f"no trial goes on: {why}. When that is mended, `gansearch resume` goes on"


def _actor(trial: Any) -> str:
    return str(trial.temporary_state.ray_actor._actor_id.hex())


def _forget(trial: Any) -> None:
    """Let go of what Tune knows of a worker that has ended: it keeps all of them, and at the end writes
    every one's state to a file that nobody reads.
    """
    trial.run_metadata.last_result = {}
    trial.run_metadata.metric_analysis = {}
    trial.run_metadata.metric_n_steps = {}
    trial.get_json_state = lambda: ("", "")

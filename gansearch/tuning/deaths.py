"""What becomes of a trial whose worker has died: it goes on, or it has been often enough.

A worker may die of what it trains (a crash in a user's part, more memory than the machine has) or of
what happens around it (a node that ends, a disk that is full, somebody's `kill`). Ray does not tell the
signal. But what comes from around strikes anywhere, and seldom the same place of the same trial again:
deaths are counted that follow each other with no report between them, a node's own not among them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError

from gansearch.errors import StorageError
from gansearch.masking import first_line, kind_and_line, last_line
from gansearch.tuning.meanwhile import replaced

NODES = 5
"""How many times as many deaths a trial survives where none is its own: one that takes its node with
it, each time at the same step, is not to go from node to node for ever."""


NOBODY = -1
"""The number under which deaths are counted of workers that carried no trial yet."""


class LostActorError(RayActorError):  # type: ignore[misc]
    """An actor that is lost for a reason which Ray does not tell as a `RayActorError`."""


@dataclass(frozen=True)
class Death:
    """A worker's, or an error after which only another worker can go on.

    Attributes:
        step: the last that the trial had reported.
        actor: its id; "" where it lives.
        words: of what.
        around: the configuration had certainly no part in it.
        heard: how many reports of all trials there were.
    """

    step: int
    heard: int
    actor: str
    words: str
    around: bool


@dataclass(frozen=True)
class GivenUp:
    """How a trial ends whose workers die.

    Attributes:
        deaths: how many there were.
        step: the last that the trial had reported.
        kinds: what they were, in words.
        blameless: the search is to learn nothing from it.
        heard: how many reports of all trials there were at the first of these deaths.
    """

    deaths: int
    step: int
    kinds: str
    blameless: bool
    heard: int

    @property
    def reason(self) -> str:
        """In words."""
        return f"its worker died {self.deaths} times at step {self.step}: {self.kinds}"


class Deaths:
    """Counts what trials' workers die of.

    Args:
        retries: how many deaths in a row a trial survives that comes no further between them.
        took: whether an actor was taken by its node, or the way there; asked again at each death, since
            Ray knows some seconds late that a node is dead.
    """

    def __init__(self, retries: int, took: Callable[[str], bool]) -> None:
        self._retries, self._took = retries, took
        self._deaths: dict[int, list[Death]] = defaultdict(list)

    def add(self, number: int, step: int, error: Any, heard: int = 0) -> GivenUp | None:
        """Note a death; returns the trial's end, or None: it goes on.

        Args:
            number: of the trial.
            step: the last that it has reported.
            error: what Ray tells, or its text where a worker could not begin.
            heard: how many reports of all trials there have been.
        """
        deaths = self._deaths[number]
        deaths.append(_death(step, heard, error))
        row = [death for death in deaths if death.step == step]
        counted = self._own(row)
        takes_nodes = len(row) > NODES * (self._retries + 1)
        if takes_nodes:
            counted = row
        elif len(counted) <= self._retries:
            return None
        kinds = "; ".join(dict.fromkeys(death.words for death in counted))
        blameless = takes_nodes or any(death.around for death in counted)
        return GivenUp(len(counted), step, kinds, blameless, counted[0].heard)

    def alone(self, number: int, step: int) -> float:
        """How many reports a trial that has come to a step is to make by itself, to find whose doing a
        death was: one after its worker's; all, where that has died at several steps, which may be
        none's doing but that of their being together.
        """
        deaths = self._deaths.get(number, [])
        if len({death.step for death in self._own(deaths)}) > 1:
            return math.inf
        return float(any(death.step == step for death in deaths))

    def _own(self, deaths: Iterable[Death]) -> list[Death]:
        """Those that were not of a whole node."""
        return [death for death in deaths if not (death.actor and self._took(death.actor))]

    def forget(self, number: int) -> None:
        """A trial has ended."""
        self._deaths.pop(number, None)


def error_of(trial: Any) -> Any:
    """What ended a trial of Tune's: an exception, or what Tune says where Ray could not even begin.

    Tune's own `get_pickled_error` looks for it where Tune's results are to go, and it is not yet there.
    """
    pickled, text = trial.pickled_error_file, trial.error_file
    if pickled and Path(pickled).exists():
        return cloudpickle.loads(Path(pickled).read_bytes())
    said = Path(text).read_text(encoding="utf-8") if text and Path(text).exists() else ""
    return said.rpartition("Failure # ")[2].partition("\n")[2] or "of unknown cause"


def _death(step: int, heard: int, error: Any) -> Death:
    if isinstance(error, RayActorError):
        actor = str(error.actor_id or "")
        return Death(step, heard, actor, _of_what(error), error.actor_init_failed)
    if isinstance(error, str):
        return Death(step, heard, "", f"it could not begin: {first_line(error)}", around=True)
    cause = error.cause if isinstance(error, RayTaskError) else error
    return Death(step, heard, "", kind_and_line(cause), isinstance(cause, StorageError))


def _of_what(error: RayActorError) -> str:
    if "running low on memory" in str(error):
        return "out of memory, the machine's"
    if error.actor_init_failed:
        return f"it could not begin: {last_line(error)}"
    if "worker process has died" in str(error):
        return "it crashed, or was killed by a signal or for want of the machine's memory"
    return first_line(error)


def every_loss_told() -> AbstractContextManager[None]:
    """Have Ray Tune (2.60) hear of all lost actors as such, while it is open.

    It knows `RayActorError` alone. An actor that Ray's memory monitor has killed is told by an
    `OutOfMemoryError`, a result that was lost with a node by an `ObjectLostError`: over each of them
    the whole of Tune stops with a "RuntimeError: Caught unexpected exception".
    """
    failed = RayActorManager._actor_task_failed

    def told(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            live = manager._live_actors_to_ray_actors_resources
            lost = live.get(tracked_actor_task._tracked_actor)
            actor = lost[0]._actor_id.hex() if lost else None
            exception = LostActorError(actor, f"{type(exception).__name__}: {exception}")
        failed(manager, tracked_actor_task=tracked_actor_task, exception=exception)

    return replaced(RayActorManager, _actor_task_failed=told)

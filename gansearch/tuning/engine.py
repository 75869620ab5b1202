"""Ray Tune as the engine: its searcher, callback and stopper, each a few lines over the ledger."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, TypeVar

import ray
from ray import tune
from ray.exceptions import RayActorError
from ray.tune.search import Searcher

from gansearch.errors import StudyError, UserError
from gansearch.study.plan import Resources
from gansearch.study.records import Outcome
from gansearch.study.spec import StudySpec
from gansearch.tuning.deaths import Deaths, error_of, every_loss_told
from gansearch.tuning.ledger import Ledger
from gansearch.tuning.nodes import NODE_ID, Nodes
from gansearch.tuning.scheduler import NotSaved, Scheduler, make_scheduler
from gansearch.tuning.scratch import scratch
from gansearch.tuning.trainable import Trial

__all__ = ["fit", "make_scheduler"]

_T = TypeVar("_T")


def fit(
    spec: StudySpec,
    ledger: Ledger,
    scheduler: Scheduler,
    *,
    nodes: Nodes,
    slots: Callable[[], int],
    on_end: Callable[[int], None],
    on_step: Sequence[Callable[[], None]],
    stop: threading.Event,
    shared: dict[str, Any],
) -> None:
    """Run what remains of a study under Ray Tune, until it is done or `stop` is set.

    Args:
        spec: the study.
        ledger: where trials come from and what happens to them goes.
        scheduler: who is stopped early.
        nodes: where trials run.
        slots: how many trials may be live now.
        on_end: called with the number of each trial that has ended.
        on_step: each called between Tune's events, several times a second.
        stop: asks for an early end.
        shared: what every trial's `setup` is given; object references stay references.

    Raises:
        UserError: what is wrong with the journal, or around the trials, so that none can go on.
    """
    if not ledger.remaining:
        return
    resources = spec.plan.resources
    trainable = tune.with_resources(tune.with_parameters(Trial, **shared), partial(_request, resources))
    for what in ("tune", "analysis"):  # of trials that had to move, and of files that nobody writes
        logging.getLogger(f"ray.tune.{what}").setLevel(logging.CRITICAL)
    # Tune's own state is not needed once the session is over, nor on any node but the driver's: the
    # journal is what a study resumes by, and our trials save no checkpoints of Tune's.
    interruption = Interruption(stop)
    steps = [scheduler.check, *on_step]
    with scratch() as folder, every_loss_told():
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=Proposals(ledger, nodes, slots, interruption),
                scheduler=scheduler,
                num_samples=-1,  # the searcher says when there are no more
                reuse_actors=True,
                trial_dirname_creator=lambda trial: f"{trial.config['number']:04d}",
                trial_name_creator=lambda trial: f"{trial.config['number']:04d}",
            ),
            run_config=tune.RunConfig(
                name="session",
                storage_path=folder,
                verbose=0,
                log_to_file=False,
                stop=interruption,
                # A trial saves itself: to be asked for it at the end would be one task more.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[Recorder(ledger, nodes, resources.retries, on_end, steps, interruption)],
            ),
        ).fit()
    if interruption.trouble is not None:
        raise interruption.trouble


def _request(resources: Resources, config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What a trial asks Ray for, on any node but those to avoid."""
    bundle = {"CPU": resources.cpus, "GPU": resources.gpus}
    if not config["avoided"]:
        return tune.PlacementGroupFactory([bundle])
    elsewhere = {NODE_ID: f"!in({','.join(config['avoided'])})"}
    return tune.PlacementGroupFactory([bundle], bundle_label_selector=[elsewhere])


def _forget(trial: Any) -> None:
    """Let go of what Tune knows of a trial that has ended: it keeps all of them, and at the end writes
    every one's state to a file that nobody reads.
    """
    trial.run_metadata.last_result = {}
    trial.run_metadata.metric_analysis = {}
    trial.run_metadata.metric_n_steps = {}
    trial.get_json_state = lambda: ("", "")


def _resumably(method: Callable[..., _T]) -> Callable[..., _T | None]:
    """Have trouble end the run, with nothing written after it.

    Tune would otherwise make a `TuneError` of it, with the traceback for its text.
    """

    @wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> _T | None:
        if self._interruption.trouble is None:
            try:
                return method(self, *args, **kwargs)
            except UserError as error:
                self._interruption.trouble = error
        return None

    return guarded


class Proposals(NotSaved, Searcher):  # type: ignore[misc]
    """Gives Tune the ledger's next trial whenever there is room for one.

    Tune would otherwise ask for dozens of trials ahead, all proposed in ignorance of each other.
    """

    def __init__(
        self, ledger: Ledger, nodes: Nodes, slots: Callable[[], int], interruption: Interruption
    ) -> None:
        super().__init__()
        self._ledger, self._nodes, self._slots = ledger, nodes, slots
        self._interruption = interruption

    def suggest(self, trial_id: str) -> Any:
        """The next trial; None while there is no room; FINISHED when there are no more."""
        suggested = self._suggest()
        # Else Tune, where nothing runs, would wait for the next one for ten minutes.
        return suggested if self._interruption.trouble is None else Searcher.FINISHED

    @_resumably
    def _suggest(self) -> Any:
        if not self._ledger.remaining:  # a trial that is live may have to start again
            return None if self._ledger.live else Searcher.FINISHED
        if len(self._ledger.live) >= self._slots():
            return None
        record = self._ledger.next()
        avoided = self._nodes.avoided()
        # As text: Tune copies, flattens and names what a trial is given, value by value, many times.
        text = json.dumps(record.config)
        known = {"number": record.number, "step": record.step}
        return {**known, "config": text, "avoided": avoided}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the recorder hears of it, with more to go on."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class Recorder(NotSaved, tune.Callback):  # type: ignore[misc]
    """Writes what Tune tells into the ledger, and has trials go on that have lost their worker.

    To Tune a trial ends with its worker. The ledger's goes on as another one of Tune's, from its
    checkpoint, as it would in a resumed study: a node's death, a node that is to end and a worker's
    death are all met in this one way. Tune's own retries cannot tell them apart, and a worker that
    dies while it waits for its next trial uses up two of that trial's.

    Args:
        ledger: where it is written.
        nodes: knows whose fault a death was.
        retries: how many deaths in a row, with no report between them, a trial survives.
        on_end, on_step: see `fit`.
        interruption: told where no trial can go on.
    """

    def __init__(
        self,
        ledger: Ledger,
        nodes: Nodes,
        retries: int,
        on_end: Callable[[int], None],
        on_step: Sequence[Callable[[], None]],
        interruption: Interruption,
    ) -> None:
        self._ledger, self._nodes, self._interruption = ledger, nodes, interruption
        self._on_end, self._on_step = on_end, on_step
        self._deaths = Deaths(retries, nodes.took)
        self._heard = 0
        self._moved: set[str] = set()

    @_resumably
    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """A report has come."""
        number = trial.config["number"]
        if result["outcome"] != Outcome.FAILED:
            self._ledger.note_provenance(number, result["provenance"])
            before = self._ledger.records[number].step
            self._ledger.report(number, result["report"])
            self._heard += self._ledger.records[number].step > before
        if self._nodes.leaving:
            self._move(trial, only_in_a_hurry=False)

    @_resumably
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial has ended by itself or by the scheduler."""
        number, last = trial.config["number"], trial.last_result or {}
        if last.get("outcome") == Outcome.FAILED:
            self._end(number, Outcome.FAILED, last["reason"])
        else:
            self._end(number)
        _forget(trial)

    @_resumably
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial has lost its worker, or its worker cannot go on."""
        number, error = trial.config["number"], error_of(trial)
        _forget(trial)
        if not self._is_moved(error):
            if isinstance(error, RayActorError) and error.actor_init_failed:
                self._nodes.doubt(error.actor_id)
            end = self._deaths.add(number, self._ledger.records[number].step, error, self._heard)
            if end is not None and end.blameless and end.heard == self._heard:
                text = f"no trial goes on: trial {number}'s {end.reason.removeprefix('its ')}"
                self._ledger.put_back(number)
                raise StudyError(f"{text}. When that is mended, `gansearch resume` goes on")
            if end is not None:
                self._end(number, Outcome.FAILED, end.reason, blameless=end.blameless)
                return
        self._ledger.put_back(number)

    def _is_moved(self, error: Any) -> bool:
        """Whether a worker died because its trial was to move on."""
        return isinstance(error, RayActorError) and error.actor_id in self._moved

    @_resumably
    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Between two events of Tune."""
        self._nodes.look()
        if any(map(self._nodes.hurries, self._nodes.leaving)):
            for trial in trials:
                if trial.status == trial.RUNNING:
                    self._move(trial, only_in_a_hurry=True)
        for action in self._on_step:
            action()

    def _move(self, trial: Any, *, only_in_a_hurry: bool) -> None:
        """End a trial's worker if its node is to end; the trial goes on elsewhere."""
        worker = trial.temporary_state.ray_actor
        if worker is None or (actor := worker._actor_id.hex()) in self._moved:
            return
        node = self._nodes.node_of(actor)
        if node in self._nodes.leaving and (self._nodes.hurries(node) or not only_in_a_hurry):
            self._moved.add(actor)
            ray.kill(worker)

    def _end(
        self,
        number: int,
        outcome: Outcome | None = None,
        reason: str = "",
        *,
        blameless: bool = False,
    ) -> None:
        self._ledger.end(number, outcome, reason, blameless=blameless)
        self._deaths.forget(number)
        self._on_end(number)


class Interruption(NotSaved, tune.Stopper):  # type: ignore[misc]
    """Ends the run when an event is set, or there is trouble.

    Attributes:
        trouble: why nothing can go on, such as a journal that cannot be written.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.trouble: UserError | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial is stopped by itself."""
        return False

    def stop_all(self) -> bool:
        """Whether to end."""
        return self._stop.is_set() or self.trouble is not None

"""Ray Tune as the engine: its searcher and its scheduler, each a few lines over the dispatcher."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.air._internal import usage
from ray.tune.progress_reporter import ProgressReporter
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from gansearch import files
from gansearch.study.plan import Resources
from gansearch.study.spec import StudySpec
from gansearch.tuning.deaths import every_loss_told
from gansearch.tuning.dispatcher import Dispatcher, Interruption, NotSaved, resumably
from gansearch.tuning.ledger import Ledger
from gansearch.tuning.meanwhile import replaced
from gansearch.tuning.nodes import NODE_ID, Nodes
from gansearch.tuning.pruning import Pruning
from gansearch.tuning.trainable import Worker


def fit(
    spec: StudySpec,
    ledger: Ledger,
    pruning: Pruning,
    *,
    nodes: Nodes,
    slots: Callable[[], int],
    most: int | None,
    on_move: Callable[[int], None],
    on_step: Sequence[Callable[[], None]],
    stop: threading.Event,
    shared: dict[str, Any],
) -> None:
    """Run what remains of a study under Ray Tune, until it is done or `stop` is set.

    Args:
        spec: the study.
        ledger: where trials come from and what happens to them goes.
        pruning: who is stopped early, or paused, and who goes on.
        nodes: where trials run.
        slots: how many workers there may be now.
        most: trials at once, at most; None: as many as the workers carry.
        on_move: called with the number of each trial that has ended, is paused, or goes on after that.
        on_step: each called between Tune's events, several times a second.
        stop: asks for an early end.
        shared: what every worker's `setup` is given; object references stay references.

    Raises:
        UserError: what is wrong with the journal, or around the trials, so that none can go on.
    """
    resources = spec.plan.resources
    for what in ("tune", "analysis"):  # of workers that have died, and of files that nobody writes
        logging.getLogger(f"ray.tune.{what}").setLevel(logging.CRITICAL)
    interruption = Interruption(stop.is_set)
    dispatcher = Dispatcher(
        ledger, pruning, nodes, resources, slots, most, on_move, on_step, interruption
    )
    interruption.finished = lambda: dispatcher.finished
    if not dispatcher.finished:
        _tune(dispatcher, nodes, resources, interruption, shared)
    if interruption.trouble is not None:
        raise interruption.trouble
    if dispatcher.finished:
        dispatcher.close()


def _tune(
    dispatcher: Dispatcher,
    nodes: Nodes,
    resources: Resources,
    interruption: Interruption,
    shared: dict[str, Any],
) -> None:
    """Have workers train until all is done, or there is an interruption."""
    trainable = tune.with_resources(
        tune.with_parameters(Worker, **shared), partial(_request, resources)
    )
    # Tune (2.60) would count the callbacks that it is given, by their kinds, for Ray's usage
    # statistics, which are off, and load MLflow and others for that alone: a second.
    uncounted = replaced(usage, tag_callbacks=lambda _: False)
    # Tune's own state is not needed once the session is over, nor on any node but the driver's: the
    # journal is what a study resumes by, and our trials save no checkpoints of Tune's.
    scratch = files.temporary(Path(tempfile.gettempdir()), "gansearch-session-", 0o700)
    with scratch as folder, every_loss_told(), uncounted:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=Workers(dispatcher, nodes),
                scheduler=FirstComeFirstServed(dispatcher),
                num_samples=-1,  # the searcher says when there are no more
                reuse_actors=True,
                trial_dirname_creator=lambda trial: f"worker-{trial.config['worker']:04d}",
                trial_name_creator=lambda trial: f"worker-{trial.config['worker']:04d}",
            ),
            run_config=tune.RunConfig(
                name="session",
                storage_path=str(folder),
                verbose=0,
                log_to_file=False,
                stop=interruption,
                # A trial saves itself: to be asked for it at the end would be one task more.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[dispatcher],
                progress_reporter=Unsaid(),
            ),
        )
        try:
            tuner.fit()
        except ValueError:  # Tune's summary of a folder that something else has emptied
            if not interruption.stop_all():
                raise


def _request(resources: Resources, config: dict[str, Any]) -> tune.PlacementGroupFactory:
    """What a worker asks Ray for, on any node but those to avoid."""
    bundle = {"CPU": resources.cpus, "GPU": resources.gpus}
    if not config["avoided"]:
        return tune.PlacementGroupFactory([bundle])
    elsewhere = {NODE_ID: f"!in({','.join(config['avoided'])})"}
    return tune.PlacementGroupFactory([bundle], bundle_label_selector=[elsewhere])


class Unsaid(NotSaved, ProgressReporter):  # type: ignore[misc]
    """Has Tune say nothing. Its own reporter would not either at `verbose=0`, but clears in a notebook
    what the cell has shown.
    """

    def should_report(self, trials: object, done: bool = False) -> bool:
        """Never."""
        return False


class Workers(NotSaved, Searcher):  # type: ignore[misc]
    """Has Tune start another worker whenever there is room and work for one."""

    def __init__(self, dispatcher: Dispatcher, nodes: Nodes) -> None:
        super().__init__()
        self.interruption = dispatcher.interruption
        self._dispatcher, self._nodes = dispatcher, nodes
        self._there: set[str] = set()
        self._count = 0

    def suggest(self, trial_id: str) -> Any:
        """The next worker; None while there is no room; FINISHED when there is no more work."""
        suggested = self._suggest(trial_id)
        # Else Tune, where nothing runs, would wait for the next one for ten minutes.
        return suggested if self.interruption.trouble is None else Searcher.FINISHED

    @resumably
    def _suggest(self, trial_id: str) -> Any:
        if self._dispatcher.finished:
            return Searcher.FINISHED
        if not self._dispatcher.wants_worker(len(self._there)):
            return None
        self._there.add(trial_id)
        self._count += 1
        return {"worker": self._count, "avoided": self._nodes.avoided()}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A worker has ended, or died."""
        self._there.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class FirstComeFirstServed(NotSaved, FIFOScheduler):  # type: ignore[misc]
    """Has a worker go on while it carries anything, at a cost that stays the same.

    Tune's own look for one to start among all that there ever were, at every event. Without their
    advice Tune starts the oldest of those that wait; and gives a process that has become free to the
    newest, not to one whose own is already about to start, and then for nothing.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """No advice."""
        return

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Hear a worker; Tune asks before it has it go on, and that is the time to talk to it."""
        goes_on = self._dispatcher.hear(trial, result)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

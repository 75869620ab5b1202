"""Ray Tune as the engine: its searcher, callback and stopper, each a few lines over the ledger."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from gansearch.study.records import Outcome
from gansearch.study.spec import StudySpec
from gansearch.tuning.ledger import Ledger
from gansearch.tuning.scheduler import NotSaved, make_scheduler
from gansearch.tuning.trainable import Trial

__all__ = ["fit", "make_scheduler"]


def fit(
    spec: StudySpec,
    ledger: Ledger,
    scheduler: Any,
    *,
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
        scheduler: a Tune scheduler.
        slots: how many trials may be live now.
        on_end: called with the number of each trial that has ended.
        on_step: each called between Tune's events, several times a second.
        stop: asks for an early end.
        shared: what every trial's `setup` is given; object references stay references.
    """
    if not ledger.remaining:
        return
    resources = spec.plan.resources
    trainable = tune.with_resources(
        tune.with_parameters(Trial, **shared), {"cpu": resources.cpus, "gpu": resources.gpus}
    )
    # Tune's own state is not needed once the session is over: the journal is what a study resumes by.
    scratch = ledger.directory.path / "tune"
    shutil.rmtree(scratch, ignore_errors=True)  # of a driver that was killed
    try:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=Proposals(ledger, slots),
                scheduler=scheduler,
                num_samples=-1,  # the searcher says when there are no more
                reuse_actors=True,
                trial_dirname_creator=lambda trial: f"{trial.config['number']:04d}",
                trial_name_creator=lambda trial: f"{trial.config['number']:04d}",
            ),
            run_config=tune.RunConfig(
                name="session",
                storage_path=str(scratch),
                verbose=0,
                log_to_file=False,
                stop=Interruption(stop),
                callbacks=[Recorder(ledger, on_end, on_step)],
                failure_config=tune.FailureConfig(max_failures=resources.retries),
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class Proposals(NotSaved, Searcher):  # type: ignore[misc]
    """Gives Tune the ledger's next trial whenever there is room for one.

    Tune would otherwise ask for dozens of trials ahead, all proposed in ignorance of each other.
    """

    def __init__(self, ledger: Ledger, slots: Callable[[], int]) -> None:
        super().__init__()
        self._ledger, self._slots = ledger, slots

    def suggest(self, trial_id: str) -> Any:
        """The next trial; None while there is no room; FINISHED when there are no more."""
        if not self._ledger.remaining:
            return Searcher.FINISHED
        if len(self._ledger.live) >= self._slots():
            return None
        record = self._ledger.next()
        return {"number": record.number, "config": record.config}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: the recorder hears of it, with more to go on."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the journal has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class Recorder(NotSaved, tune.Callback):  # type: ignore[misc]
    """Writes what Tune tells into the ledger."""

    def __init__(
        self, ledger: Ledger, on_end: Callable[[int], None], on_step: Sequence[Callable[[], None]]
    ) -> None:
        self._ledger, self._on_end, self._on_step = ledger, on_end, on_step

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """A report has come."""
        number = trial.config["number"]
        if result["outcome"] != Outcome.FAILED:
            self._ledger.note_provenance(number, result["provenance"])
            self._ledger.report(number, result["report"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial has ended by itself or by the scheduler."""
        number, last = trial.config["number"], trial.last_result or {}
        if last.get("outcome") == Outcome.FAILED:
            self._end(number, Outcome.FAILED, last["reason"])
        else:
            self._end(number)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial's worker has died more often than it may."""
        error = trial.get_error() or trial.get_pickled_error()
        text = str(error).strip().splitlines() if error else ["of unknown cause"]
        reason = f"its worker died {trial.num_failures} times: {type(error).__name__}: {text[0]}"
        self._end(trial.config["number"], Outcome.FAILED, reason, blameless=True)

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Between two events of Tune."""
        for action in self._on_step:
            action()

    def _end(
        self,
        number: int,
        outcome: Outcome | None = None,
        reason: str = "",
        *,
        blameless: bool = False,
    ) -> None:
        self._ledger.end(number, outcome, reason, blameless=blameless)
        self._on_end(number)


class Interruption(NotSaved, tune.Stopper):  # type: ignore[misc]
    """Ends the run when an event is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial is stopped by itself."""
        return False

    def stop_all(self) -> bool:
        """Whether to end."""
        return self._stop.is_set()

"""Which trials are stopped early: Ray Tune's ASHA, made safe for failures and for resuming.

Ray's own (2.60) lets a trial whose metric is NaN run on for ever, since every comparison with NaN is
false, and forgets its rungs when a study is restored. Here a trial without a finite objective is
stopped at the first rung, a trial that a health rule ended leaves no mark, and the rungs are refilled
from the journal by showing the scheduler every report again, in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from gansearch.study.records import Outcome, TrialRecord, better
from gansearch.study.spec import StudySpec
from gansearch.tuning.ledger import Ledger

STOP: str = TrialScheduler.STOP
CONTINUE: str = TrialScheduler.CONTINUE


class Standin(NamedTuple):
    """A trial as ASHA's rungs know it: by its number, which a resumed study keeps."""

    trial_id: str


class NotSaved:
    """Something that Tune pickles with a Tuner so as to restore it. Nothing here is ever restored so:
    a study resumes from its journal.
    """

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())


class FirstComeFirstServed(NotSaved, FIFOScheduler):  # type: ignore[misc]
    """Tune's way of starting trials in the order in which they came, at a cost that stays the same.

    Its schedulers look for a trial to start among all that there ever were, at every event. Without
    their advice Tune starts the oldest of those that wait; and gives a worker that has become free to
    the newest, not to one whose own worker is already about to start, and then for nothing.
    """

    def choose_trial_to_run(self, tune_controller: Any) -> None:  # noqa: ARG002
        """No advice."""
        return


class PruningScheduler(FirstComeFirstServed, ASHAScheduler):  # type: ignore[misc]
    """ASHA (Li et al. 2020, arXiv 1810.05934) on the best objective so far, by generator steps.

    The best so far, and not the last, because that is what a trial is worth in this study.
    """

    def __init__(self, spec: StudySpec, ledger: Ledger) -> None:
        budget, pruner = spec.corner().budget, spec.plan.pruner
        reports = max(budget.steps // budget.report_every // 9, 1)
        self.min_steps = pruner.min_steps or reports * budget.report_every
        self.reduction_factor = pruner.reduction_factor
        self.ledger = ledger
        super().__init__(
            time_attr="step",
            metric="objective",
            mode=ledger.goal,
            max_t=max(budget.steps, self.min_steps),
            grace_period=self.min_steps,
            reduction_factor=self.reduction_factor,
            stop_last_trials=False,  # the budget ends a trial, as completed
        )

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """A trial begins, or begins again."""
        super().on_trial_add(tune_controller, _standin(trial))

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Judge a report."""
        decision = self._judge(tune_controller, _standin(trial), result)
        if decision == STOP:
            self.ledger.prune(trial.config["number"], self._reason(result))
        return decision

    def _judge(self, tune_controller: Any, trial: Standin, result: dict[str, Any]) -> str:
        if math.isfinite(result["objective"]):
            decision: str = super().on_trial_result(tune_controller, trial, result)
            return decision
        late = result["step"] >= self.min_steps
        return STOP if late else CONTINUE

    def _reason(self, result: dict[str, Any]) -> str:
        if not math.isfinite(result["objective"]):
            return f"no finite objective by step {result['step']}"
        share = f"the best 1/{self.reduction_factor} of those that came as far"
        return f"not among {share}, at step {result['step']}"

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """A trial has ended; only one that completed counts at its rung."""
        if result.get("outcome") == Outcome.COMPLETED and math.isfinite(result["objective"]):
            super().on_trial_complete(tune_controller, _standin(trial), result)
        else:
            self.on_trial_remove(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        """A trial has gone without a result."""
        self._trial_info.pop(_standin(trial).trial_id, None)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A trial has failed."""
        self.on_trial_remove(tune_controller, trial)

    def replay(self, records: Iterable[TrialRecord]) -> None:
        """Refill the rungs; an unfinished trial that they had already stopped is ended."""
        events = [(report.time, record) for record in records for report in record.reports]
        position: dict[int, int] = {}
        best: dict[int, float] = {}
        for _, record in sorted(events, key=lambda event: event[0]):
            trial, at = Standin(str(record.number)), position.get(record.number, 0)
            position[record.number] = at + 1
            report = record.reports[at]
            value = report.metrics.get(self.ledger.metric, math.nan)
            if better(value, best.get(record.number), self.ledger.goal):
                best[record.number] = value
            if at == 0:
                super().on_trial_add(None, trial)
            result = {"step": report.step, "objective": best.get(record.number, math.nan)}
            if report.outcome in (None, Outcome.COMPLETED):
                decision = self._judge(None, trial, result)
                stopped = decision == STOP and report.outcome is None
                if stopped and not record.outcome.ended and report is record.last:
                    self.ledger.prune(record.number, self._reason(result))


def make_scheduler(spec: StudySpec, ledger: Ledger) -> TrialScheduler:
    """The scheduler that a study asks for, with the rungs of what has already run.

    Unfinished trials whose end the journal already implies are ended on the way.
    """
    if spec.plan.pruner.name == "none":
        ledger.settle()
        return FirstComeFirstServed()
    scheduler = PruningScheduler(spec, ledger)
    scheduler.replay(list(ledger.records.values()))
    ledger.settle()
    return scheduler


def _standin(trial: Any) -> Standin:
    return trial if isinstance(trial, Standin) else Standin(str(trial.config["number"]))

"""A study's pruner at work, and the few lines by which Ray Tune hears of it.

Ray's own schedulers (2.60) forget what they know when a study is restored, and let a trial whose metric
is NaN run on for ever, since every comparison with NaN is false. Here Tune's part is to start trials in
their order; who is stopped is the pruner's to say (`gansearch.search.pruners`), which is shown each
report once and gets its knowledge back from the journal.
"""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from gansearch.errors import StudyError
from gansearch.search import PRUNERS
from gansearch.search.pruners import Decision, Pruner
from gansearch.study.records import Outcome, Report, TrialRecord
from gansearch.study.spec import StudySpec
from gansearch.tuning.ledger import Ledger


class NotSaved:
    """Something that Tune pickles with a Tuner so as to restore it. Nothing here is ever restored so:
    a study resumes from its journal.
    """

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())


class Pruning:
    """Shows a pruner each report of a study once, and has the ledger remember who is to stop.

    Args:
        pruner: the judge.
        name: what the study calls it, for messages.
        ledger: the trials; the reports that it holds are shown first, in their order, and unfinished
            trials whose end they imply are ended.

    Raises:
        StudyError: a pruner of the user's own fails, or asks for what cannot be done.
    """

    def __init__(self, pruner: Pruner, name: str, ledger: Ledger) -> None:
        self.pruner, self.name = pruner, name
        self._ledger = ledger
        self._heard: dict[int, int] = {}  # the last step that was shown, by number
        events = [(report.time, r, report) for r in ledger.records.values() for report in r.reports]
        for _, record, report in sorted(events, key=lambda event: event[0]):
            reason = self._ask(record, report)
            if reason and not record.outcome.ended and report is record.last:
                ledger.prune(record.number, reason)
        ledger.settle()

    def judge(self, number: int, report: Report) -> bool:
        """Whether a trial is to stop; of a report that was shown before, no.

        It does not matter whether the ledger has the report already.
        """
        reason = self._ask(self._ledger.records[number], report)
        if reason:
            self._ledger.prune(number, reason)
        return bool(reason)

    def _ask(self, record: TrialRecord, report: Report) -> str:
        """Why a trial is to stop, or nothing."""
        if report.step <= self._heard.get(record.number, 0):
            return ""
        self._heard[record.number] = report.step
        shown = replace(report, time=0.0)
        before = [one for one in record.reports if one.step < report.step]
        trial = replace(record, reports=[*before, shown], outcome=Outcome.RUNNING, reason="")
        try:
            verdict = self.pruner.judge(trial, shown)
        except Exception as error:  # a user's own may raise anything
            line = traceback.extract_tb(error.__traceback__)[-1]
            what = f"{type(error).__name__}: {error} ({line.filename}, line {line.lineno})"
            raise StudyError(f"{self._name(trial)} fails: {what}") from error
        if report.outcome is not None or verdict.decision is Decision.GO_ON:
            return ""
        if verdict.decision is Decision.PAUSE:
            why = "nothing can wake a paused trial yet, so it must answer with go on or stop"
            raise StudyError(f"{self._name(trial)} answers with pause: {why}")
        return verdict.reason or f"stopped by the pruner '{self.name}', at step {report.step}"

    def _name(self, trial: TrialRecord) -> str:
        return f"the pruner '{self.name}', asked about trial {trial.number} at step {trial.step},"


class Scheduler(NotSaved, FIFOScheduler):  # type: ignore[misc]
    """Starts trials in the order in which they came, and stops those that the pruner names.

    Tune's own look for a trial to start among all that there ever were, at every event. Without
    their advice Tune starts the oldest of those that wait; and gives a worker that has become free to
    the newest, not to one whose own worker is already about to start, and then for nothing.
    """

    def __init__(self, pruning: Pruning) -> None:
        super().__init__()
        self.pruning = pruning
        self._trouble: StudyError | None = None

    def choose_trial_to_run(self, tune_controller: Any) -> None:  # noqa: ARG002
        """No advice."""
        return

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Judge a report of a trial that could go on."""
        stops = self._judge(trial.config["number"], result["report"])
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:  # noqa: ARG002
        """Show the pruner the last report of a trial that ended by itself."""
        if result.get("outcome") not in (None, Outcome.FAILED):  # without a report of its own
            self._judge(trial.config["number"], result["report"])

    def _judge(self, number: int, report: Report) -> bool:
        """Tune would make a `TuneError` of what is raised here, with the traceback for its text."""
        try:
            return self._trouble is None and self.pruning.judge(number, report)
        except StudyError as error:
            self._trouble = error
            return False

    def check(self) -> None:
        """Raise the `StudyError` that a judgement met: the study cannot go on."""
        if self._trouble is not None:
            raise self._trouble


def make_scheduler(spec: StudySpec, ledger: Ledger) -> Scheduler:
    """The scheduler that a study asks for, whose pruner has seen what has run already."""
    part = spec.plan.pruner
    pruner = PRUNERS.build(part.name, part.options, spec.corner())
    return Scheduler(Pruning(pruner, part.name, ledger))

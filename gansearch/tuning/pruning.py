"""A study's pruner at work: it is shown each report once, and its verdicts go into the ledger.

Who is stopped is the pruner's to say (`gansearch.search.pruners`); its knowledge comes back from the
journal. Ray's own schedulers (2.60) forget what they know when a study is restored, let a trial whose
metric is NaN run on for ever, since every comparison with NaN is false, and can stop only a whole
worker, not one trial of those that it carries.
"""

from __future__ import annotations

import traceback
from dataclasses import replace

from gansearch.errors import StudyError
from gansearch.search import PRUNERS
from gansearch.search.pruners import Decision, Pruner
from gansearch.study.records import Outcome, Report, TrialRecord
from gansearch.study.spec import StudySpec
from gansearch.tuning.ledger import Ledger


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


def make_pruning(spec: StudySpec, ledger: Ledger) -> Pruning:
    """The pruner that a study asks for, which has seen what has run already."""
    part = spec.plan.pruner
    return Pruning(PRUNERS.build(part.name, part.options, spec.example()), part.name, ledger)

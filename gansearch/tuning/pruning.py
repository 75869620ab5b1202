"""A study's pruner at work: it is shown each report once, and asked who goes on.

Who is stopped or paused is the pruner's to say (`gansearch.search.pruners`); its knowledge comes back
from the journal. Ray's own schedulers (2.60) forget what they know when a study is restored, let a
trial whose metric is NaN run on for ever, since every comparison with NaN is false, and can stop only a
whole worker, not one trial of those that it carries.
"""

from __future__ import annotations

from dataclasses import replace

from gansearch.search import PRUNERS
from gansearch.search.pruners import (
    GO_ON,
    Decision,
    HearsOfErrors,
    HearsOfGivenUp,
    Pruner,
    SecondChances,
    Verdict,
    Wake,
)
from gansearch.search.trying import check_verdict, check_wake, failing
from gansearch.study.records import Outcome, Report, TrialRecord
from gansearch.study.spec import StudySpec
from gansearch.tuning.ledger import Ledger


class Pruning:
    """Shows a pruner each report of a study once, and asks it who of the paused goes on.

    Args:
        pruner: the judge.
        name: what the study calls it, for messages.
        ledger: the trials; the reports that it holds are shown first, in their order, and what they
            imply for unfinished trials is carried out.

    Raises:
        StudyError: a pruner of the user's own fails, or asks for what cannot be done.
    """

    def __init__(self, pruner: Pruner, name: str, ledger: Ledger) -> None:
        self.pruner, self.name = pruner, name
        self._ledger = ledger
        self._heard: dict[int, int] = {}  # the last step that was shown, by number
        self._shown = 0
        self._asked: tuple[int, bool, int] | None = None
        self._answers: list[Wake] = []
        self._exhausted = False  # whether it wakes nobody besides
        events = [(report.time, r, report) for r in ledger.records.values() for report in r.reports]
        verdicts = {}
        for _, record, report in sorted(events, key=lambda event: event[0]):
            verdict = self._ask(record, report)
            if report is record.last:
                verdicts[record.number] = verdict
        for record in ledger.records.values():
            if record.outcome is Outcome.FAILED:
                self.failed(record.number)
            elif record.outcome is Outcome.PRUNED and record.chances and not record.chances[-1].woken:
                self._given_up(record.number)
        ledger.settle(verdicts)

    def judge(self, number: int, report: Report) -> Verdict:
        """What is to become of a trial; of a report that was shown before, it goes on.

        It does not matter whether the ledger has the report already.
        """
        return self._ask(self._ledger.records[number], report)

    def failed(self, number: int) -> None:
        """Tell the pruner of a trial that ended in an error."""
        self._shown += 1
        if isinstance(self.pruner, HearsOfErrors):
            with failing(f"the pruner '{self.name}', told that trial {number} ended in an error,"):
                self.pruner.failed(number)

    def _given_up(self, number: int) -> None:
        """Tell the pruner of a trial that was paused when the search ended."""
        if isinstance(self.pruner, HearsOfGivenUp):
            with failing(f"the pruner '{self.name}', told that trial {number} was given up,"):
                self.pruner.given_up(number)

    def wakes(self, most: int) -> list[Wake]:
        """Who of the paused would go on in so many places that are free now, one after another."""
        if most < 1 or self._ledger.over:
            return []
        fresh = self._ledger.fresh > 0
        now = (self._shown, fresh, self._ledger.moves)
        if now != self._asked:
            self._asked, self._answers, self._exhausted = now, [], self._ledger.gives_up
        while len(self._answers) < most and not self._exhausted:
            paused, chosen = self._ledger.paused, {wake.number for wake in self._answers}
            if chosen:
                paused = [trial for trial in paused if trial.number not in chosen]
            wake = self._choose(paused, fresh)
            self._answers += [wake] if wake else []
            self._exhausted = wake is None
        return self._answers[:most]

    def _ask(self, record: TrialRecord, report: Report) -> Verdict:
        """The verdict on a report that is new."""
        if report.step <= self._heard.get(record.number, 0):
            return GO_ON
        self._heard[record.number] = report.step
        self._shown += 1
        shown = replace(report, time=0.0)
        before = [one for one in record.reports if one.step < report.step]
        trial = replace(record, reports=[*before, shown], outcome=Outcome.RUNNING, reason="")
        asked = f"asked about trial {trial.number} at step {trial.step},"
        with failing(f"the pruner '{self.name}', {asked}"):
            verdict = self.pruner.judge(trial, shown)
        check_verdict(verdict, self.pruner, self.name)
        if report.outcome is not None or verdict.decision is Decision.GO_ON:
            return GO_ON
        did = "stopped" if verdict.decision is Decision.STOP else "paused"
        reason = verdict.reason or f"{did} by the pruner '{self.name}', at step {report.step}"
        return Verdict(verdict.decision, reason)

    def _choose(self, paused: list[TrialRecord], fresh: bool) -> Wake | None:
        """Who of these goes on."""
        if not paused or not isinstance(self.pruner, SecondChances):
            return None
        with failing(f"the pruner '{self.name}', asked who of {len(paused)} paused trials goes on,"):
            wake = self.pruner.choose(paused, fresh)
        return check_wake(wake, paused, self.name)


def make_pruning(spec: StudySpec, ledger: Ledger) -> Pruning:
    """The pruner that a study asks for, which has seen what has run already."""
    part = spec.plan.pruner
    return Pruning(PRUNERS.build(part.name, part.options, spec.example()), part.name, ledger)

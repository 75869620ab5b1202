"""What happens to trials, written down: the one place where a study's state changes.

Ray's callbacks are thin and end here. What a driver does not live to write down is lost with it, and
found again: a report in the worker's checkpoint, a decision by showing the scheduler the journal.
"""

from __future__ import annotations

import bisect
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from gansearch.journal.directory import StudyDirectory
from gansearch.journal.facts import GIVEN_UP, OVER
from gansearch.journal.journal import Journal
from gansearch.masking import without_password
from gansearch.search.pruners import GO_ON, Decision, Verdict
from gansearch.study.records import Outcome, Report, TrialRecord, cost, table_row
from gansearch.training import checkpoint
from gansearch.tuning.upkeep import Upkeep


class Tracker(Protocol):
    """What the ledger needs of a tracker."""

    def submit(self, record: TrialRecord) -> None:
        """Show this record as it is now; must not block."""
        ...

    def run_ids(self) -> dict[int, str]:
        """Run ids by trial number that were not told before."""
        ...


class Source(Protocol):
    """Where new trials come from: a search's proposals, or a roster."""

    @property
    def total(self) -> int:
        """How many there are to be."""
        ...

    def propose(self, number: int, beside: str | None = None) -> TrialRecord:
        """The trial of the next free number, new in the journal.

        `beside`: the configuration of the trials with which it may be trained as one, empty where it
        is the first of them; None: it is trained alone.
        """
        ...

    def ended(self, number: int) -> None:
        """Learn how a trial ended, or what it is worth that is paused."""
        ...

    def over(self, records: Mapping[int, TrialRecord], number: int | None) -> str:
        """Why no more trials are to begin, nor paused ones to go on; empty while they are.

        `number`: of the trial of which there is news; None: of any.
        """
        ...


class Ledger:
    """The trials of a study: proposed, running, paused, ended.

    Args:
        source: where new trials come from; makes itself ready in the settled journal.
        directory: where its checkpoints are.
        journal: where everything is written.
        tracker: shows the trials elsewhere; None: nothing does.
        keep: for how many of the best trials, of each configuration where several are trained again,
            the weights are kept.
        held: why no training can begin now, only go on from its checkpoint; empty: they can.

    Attributes:
        records: the trials by number.
        live: the numbers of those that are being trained.
        moves: how often a trial was paused, or was no longer.
        images: real images of the reports that this driver has heard.
    """

    def __init__(
        self,
        source: Callable[[Journal], Source],
        directory: StudyDirectory,
        journal: Journal,
        tracker: Tracker | None = None,
        *,
        keep: int = 5,
        held: str = "",
    ) -> None:
        self.directory, self.journal, self.tracker, self.keep = directory, journal, tracker, keep
        self.held = held
        self.metric, self.goal = journal.metric, journal.goal
        journal.settle()
        self.source = source(journal)
        self.records = {record.number: record for record in journal.trials()}
        self.live: set[int] = set()
        self._kept: dict[str, list[tuple[float, int]]] = {}
        self._upkeep = Upkeep(directory)
        self._table_written = 0.0
        self._ended_rows: dict[int, dict[str, Any]] = {}
        self.over: str = (journal.facts.get(OVER) or {}).get("reason", "")
        self._given_up = journal.facts.get(GIVEN_UP)
        self._paused = [r for r in self.records.values() if r.outcome is Outcome.PAUSED]
        self.moves = self.images = 0
        open_ = (Outcome.RUNNING, Outcome.INTERRUPTED)
        waiting = [n for n, r in self.records.items() if r.outcome in open_]
        times = (report.time for record in self.records.values() for report in record.reports)
        self._latest = max(times, default=0.0)
        self._unstarted = deque(n for n in waiting if not held or self._has_begun(n))
        self._held_up = len(waiting) - len(self._unstarted)
        for number in self._unstarted:
            self.records[number] = journal.reopen(self.records[number])
        for record in self.records.values():
            if record.outcome.ended:
                self._keep_if_best(record)
            if record.outcome is not Outcome.RUNNING:
                self._show(record)
        self._consider(None)

    @property
    def total(self) -> int:
        """Trials that the study is to have; as many as it has, where it is over before."""
        return len(self.records) if self.over else self.source.total

    @property
    def remaining(self) -> int:
        """Trials still to start, the paused ones not among them."""
        return len(self._unstarted) + self._held_up + self.fresh

    @property
    def startable(self) -> int:
        """Those of them that can start now."""
        return len(self._unstarted) if self.held else self.remaining

    @property
    def fresh(self) -> int:
        """Trials still to be proposed."""
        return max(self.total - len(self.records), 0)

    @property
    def unstarted(self) -> int:
        """Trials that were begun, and wait for a worker to go on with them."""
        return len(self._unstarted)

    @property
    def paused(self) -> list[TrialRecord]:
        """Trials that wait for a second chance, by number."""
        return list(self._paused)

    def _has_begun(self, number: int) -> bool:
        """Whether there is anything of a trial from which to go on, or to end it by."""
        folder = self.directory.trial(number)
        return bool(self.records[number].reports or checkpoint.steps(folder))

    def next(self, beside: str | None = None) -> TrialRecord:
        """Start a trial: one that was left unfinished, else a new proposal.

        `beside`: see `Source`.
        """
        if self._unstarted:
            alike = (n for n in self._unstarted if self.records[n].configuration == beside)
            number = next(alike, self._unstarted[0])
            self._unstarted.remove(number)
            record = self.records[number]
        else:
            record = self.source.propose(len(self.records), beside)
        self.records[record.number] = record
        self.live.add(record.number)
        self._show(record)
        return record

    def put_back(self, number: int) -> None:
        """A trial has lost its worker: it is the next to start, and goes on from its checkpoint."""
        self.live.discard(number)
        self._unstarted.appendleft(number)

    def pause(self, number: int, reason: str) -> None:
        """Have a trial wait for a second chance: its place is free, and its checkpoint stays."""
        record = self.journal.pause(self.records[number], without_password(reason))
        self.records[number] = record
        self.live.discard(number)
        bisect.insort(self._paused, record, key=_number)
        self.moves += 1
        self.source.ended(number)
        self._show(record)

    def wake(self, number: int, reason: str) -> TrialRecord:
        """Start a paused trial again; it goes on from its checkpoint."""
        record = self.journal.wake(self.records[number], without_password(reason))
        self.records[number] = record
        self._forget_paused(number)
        self.live.add(number)
        self._show(record)
        return record

    def give_up_paused(self) -> list[int]:
        """The study is over: end the paused trials, each for the reason of its pause.

        Returns:
            their numbers.
        """
        given_up = [record.number for record in self._paused]
        if given_up:
            self._given_up = len(self.records)
            self.journal.set_facts({GIVEN_UP: self._given_up})
        for number in given_up:
            self._forget_paused(number)
            record = self.records[number]
            paused = "paused again" if len(record.chances) > 1 else "paused"
            reason = f"{paused}, and never went on: {record.reason}"
            self.end(number, Outcome.PRUNED, reason)
        return given_up

    def _forget_paused(self, number: int) -> None:
        del self._paused[bisect.bisect_left(self._paused, number, key=_number)]
        self.moves += 1

    @property
    def gives_up(self) -> bool:
        """Whether a driver that was killed had begun to end the paused trials."""
        return not self.fresh and self._given_up == len(self.records)

    def report(self, number: int, report: Report) -> None:
        """Write a report down. One of a step already known is a repetition, and changes nothing."""
        record = self.records[number]
        if record.last and report.step <= record.last.step:
            return
        self.images += report.images - (record.last.images if record.last else 0)
        # The driver's clock, because the order of reports is what ASHA is replayed by; also where it is
        # set back, or another driver's is behind.
        self._latest = max(time.time(), math.nextafter(self._latest, math.inf))
        report = replace(report, time=self._latest)
        self.journal.report(number, report)
        record.reports.append(report)
        self._show(record)
        self._consider(number)

    def _consider(self, number: int | None) -> None:
        """Write down that the search is over, where it is since the last news."""
        if not self.over and (reason := self.source.over(self.records, number)):
            self.over = reason
            self.journal.set_facts({OVER: {"trials": len(self.records), "reason": reason}})

    def settle(self, verdicts: Mapping[int, Verdict]) -> None:
        """Carry out what was decided of unfinished trials before the last driver died.

        Args:
            verdicts: the pruner's on their last reports.
        """
        for number in list(self._unstarted):
            record = self.records[number]
            verdict = verdicts.get(number, GO_ON)
            if record.last and record.last.outcome:
                self._unstarted.remove(number)
                self.end(number)
            elif verdict.decision is Decision.STOP:
                self._unstarted.remove(number)
                self.end(number, Outcome.PRUNED, verdict.reason)
            elif verdict.decision is Decision.PAUSE and not record.woken_at(record.step):
                self._unstarted.remove(number)
                self.pause(number, verdict.reason)

    def note_provenance(self, number: int, provenance: dict[str, dict[str, object]]) -> None:
        """Write down how a trial's metrics are made."""
        record = self.records[number]
        if provenance and not record.provenance:
            self.journal.note(number, provenance=provenance)
            record.provenance = provenance

    def end(
        self,
        number: int,
        outcome: Outcome | None = None,
        reason: str = "",
        *,
        blameless: bool = False,
    ) -> None:
        """End a trial: as said, else as its last report says.

        `blameless`: its configuration had no part in it, and the search is to learn nothing from it.
        """
        record = self.records[number]
        if outcome is None:
            assert record.last is not None
            assert record.last.outcome is not None
            outcome, reason = record.last.outcome, record.last.reason
        reason = without_password(reason)
        ended = self.journal.end(record, outcome, reason, blameless=blameless)
        self.records[number] = ended
        self.live.discard(number)
        self.source.ended(number)
        if outcome.ended:
            self._keep_if_best(ended)
        self._show(ended)
        self._consider(number)

    def interrupt(self) -> None:
        """The driver stops: what is unfinished waits for `resume`. What is paused stays so."""
        for number, record in self.records.items():
            if record.outcome is Outcome.RUNNING:
                self.end(number, Outcome.INTERRUPTED, f"at step {record.step}; resume goes on")

    def tick(self) -> None:
        """Now and then: make reports durable, note new run ids, write the table."""
        self.journal.tick()
        if self.tracker is not None:
            run_ids = self.tracker.run_ids()
            if run_ids:
                self.journal.note_runs(run_ids)
            for number, run_id in run_ids.items():
                self.records[number].mlflow_run_id = run_id
                self._ended_rows.pop(number, None)
        if time.monotonic() - self._table_written > self._upkeep.table_every:
            self.write_table()

    def write_table(self) -> None:
        """Write `trials.csv`."""
        rows = [self._row(number) for number in sorted(self.records)]
        self._upkeep.write_table(rows)
        self._table_written = time.monotonic()

    def close(self) -> None:
        """The driver is done: write the table, and wait until all files are as they are to be."""
        self.tick()
        self.journal.flush()  # the runs, too, of which the tracker told last
        self.write_table()
        self._upkeep.close()

    def _row(self, number: int) -> dict[str, Any]:
        """A trial's row; an ended trial's is made once, for there may be thousands."""
        if number in self._ended_rows:
            return self._ended_rows[number]
        row = table_row(self.records[number], self.metric, self.goal)
        if self.records[number].outcome.ended:
            self._ended_rows[number] = row
        return row

    def _show(self, record: TrialRecord) -> None:
        if self.tracker is not None:
            self.tracker.submit(record)

    def _keep_if_best(self, record: TrialRecord) -> None:
        """Keep the best checkpoint of the best trials, and nothing of the others."""
        best = record.best(self.metric, self.goal)
        if record.configuration and not record.succeeded(self.metric, self.goal):
            best = None  # a seed that failed does not stand for its configuration
        kept = self._kept.setdefault(record.configuration, [])
        bisect.insort(kept, (cost(best.value, self.goal) if best else math.inf, record.number))
        if best:
            self._upkeep.keep(record.number, {best.step})
        while len(kept) > self.keep or (kept and kept[-1][0] == math.inf):
            _, number = kept.pop()
            self._upkeep.keep(number, ())


def _number(record: TrialRecord) -> int:
    return record.number

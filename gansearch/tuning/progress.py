"""A study to watch: a line for each trial that ends, and on a terminal a live table below them."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gansearch.study.records import Outcome, TrialRecord, better, duration
from gansearch.tuning.saying import say

if TYPE_CHECKING:  # it loads torch, and `gansearch status` takes the styles below
    from gansearch.tuning.ledger import Ledger

REFRESH_EVERY = 0.5
LINE_EVERY = 30.0
WINDOW = 60.0
"""Seconds over which images are counted, at least."""

STYLES = {
    Outcome.RUNNING: "cyan",
    Outcome.PAUSED: "blue",
    Outcome.COMPLETED: "green",
    Outcome.PRUNED: "yellow",
    Outcome.DIVERGED: "red",
    Outcome.COLLAPSED: "red",
    Outcome.STALLED: "red",
    Outcome.FAILED: "bold red",
    Outcome.INTERRUPTED: "magenta",
}


class Progress:
    """Shows a ledger as it changes; a context manager around the run.

    Args:
        ledger: the study.
        console: where to write.
        steps: the budget of one trial.
        seconds: for which all trials together may be trained.
    """

    def __init__(self, ledger: Ledger, console: Console, steps: int, seconds: float = math.inf) -> None:
        self.ledger, self.console, self.steps, self.seconds = ledger, console, steps, seconds
        self._begun = time.monotonic()
        self._seen = deque([(self._begun, ledger.images)])
        self._done_before, self._trained_before = self._work_done(), self._trained()
        self._best: tuple[float, int] | None = None
        self._last_line, self._last_refresh = self._begun, 0.0
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        for record in ledger.records.values():
            self._note_best(record)

    def __enter__(self) -> Progress:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.update(self._table(), refresh=True)
            self._live.stop()

    def moved(self, number: int) -> None:
        """A trial has ended, is paused or goes on: a line says so, on a terminal above the table."""
        record = self.ledger.records[number]
        self._note_best(record)
        if record.outcome is Outcome.RUNNING:
            say(self.console, f"{record.label} goes on: {record.chances[-1].woken}")
            return
        best = record.best(self.ledger.metric, self.ledger.goal)
        value = f"{self.ledger.metric} {best.value:.4g} at step {best.step}" if best else "no value"
        value = f"best {value}" if best and best.step < record.step else value
        reason = f" ({record.reason})" if record.reason else ""
        what = f"{self._whose(number)}:" if record.configuration else record.label
        say(self.console, f"{what} {record.outcome}{reason}: {value}, {record.seconds:.0f} s")

    def tick(self) -> None:
        """Called often; refreshes now and then."""
        now = time.monotonic()
        self._count(now)
        if self._live and now - self._last_refresh > REFRESH_EVERY:
            self._last_refresh = now
            self._live.update(self._table(), refresh=True)
        elif not self._live and now - self._last_line > LINE_EVERY:
            self._last_line = now
            figures = self._figures().items()
            say(self.console, ", ".join(f"{what} {value}" for what, value in figures))

    def _note_best(self, record: TrialRecord) -> None:
        best = record.best(self.ledger.metric, self.ledger.goal)
        if best and better(best.value, self._best[0] if self._best else None, self.ledger.goal):
            self._best = (best.value, record.number)

    def _whose(self, number: int) -> str:
        """Which trial it is: in a stability study by whose, since `trial 1` is one of the search."""
        record = self.ledger.records[number]
        seed = record.config["seed"]
        return f"{record.configuration}, seed {seed}" if record.configuration else f"trial {number}"

    def _figures(self) -> dict[str, str]:
        for number in self.ledger.live:
            self._note_best(self.ledger.records[number])
        counts = Counter(record.outcome for record in self.ledger.records.values())
        trials = ", ".join(f"{counts[o]} {o}" for o in Outcome if counts[o]) or "none yet"
        total = self.ledger.total
        best = f"{self._best[0]:.4g} ({self._whose(self._best[1])})" if self._best else "-"
        return {
            "trials": f"{trials}, of {total}",
            f"best {self.ledger.metric}": best,
            "images/s": self._speed(),
            "left": self._left(),
        }

    def _count(self, now: float) -> None:
        """Note how many images were heard of, and forget what is long past: but not the last two rounds
        of reports, for where these are rare nothing is heard of for minutes.
        """
        seen = self._seen
        if self.ledger.images != seen[-1][1]:
            seen.append((now, self.ledger.images))
        while len(seen) > 2 * len(self.ledger.live) + 1 and now - seen[1][0] > WINDOW:
            seen.popleft()

    def _speed(self) -> str:
        """Real images a second of all trials, as this driver hears of them. (What each says of itself
        cannot be added up: of trials that share a worker it is the worker's speed.)
        """
        since, before = self._seen[0]
        images, seconds = self.ledger.images - before, time.monotonic() - since
        return f"{images / seconds:,.0f}" if images and seconds > 0 else "-"

    def _work_done(self) -> float:
        """Trials' worth of work that need not be done any more."""
        return sum(
            1.0
            if record.outcome.ended or record.outcome is Outcome.PAUSED
            else record.step / self.steps
            for record in self.ledger.records.values()
        )

    def _trained(self) -> float:
        """Seconds of all trials."""
        return sum(record.seconds for record in self.ledger.records.values())

    def _left(self) -> str:
        """Until all trials have ended, or their time is spent, as fast as it went so far."""
        lasted, left = time.monotonic() - self._begun, list[float]()
        done, trained = self._work_done(), self._trained()
        if (here := done - self._done_before) >= 0.5:
            left.append(lasted * (self.ledger.total - done) / here)
        if math.isfinite(self.seconds) and (here := trained - self._trained_before) > 0:
            left.append(lasted * max(self.seconds - trained, 0.0) / here)
        return duration(min(left)) if left else "-"

    def _table(self) -> Group:
        figures = Table.grid(padding=(0, 2))
        for what, value in self._figures().items():
            figures.add_row(Text(what, style="dim"), value)
        if not self.ledger.live:
            return Group(figures)
        running = Table(box=None, padding=(0, 1), header_style="dim")
        for column in ("trial", "step", "", self.ledger.metric, "best"):
            running.add_column(column, justify="right" if column else "left")
        for number in sorted(self.ledger.live)[:12]:
            running.add_row(*self._running_row(self.ledger.records[number]))
        return Group(figures, running)

    def _running_row(self, record: TrialRecord) -> tuple[str | Text | ProgressBar, ...]:
        best = record.best(self.ledger.metric, self.ledger.goal)
        now = record.last.metrics.get(self.ledger.metric) if record.last else None
        bar = ProgressBar(total=self.steps, completed=record.step, width=24)
        last_value = "-" if now is None else f"{now:.4g}"
        best_value = f"{best.value:.4g}" if best else "-"
        called = " ".join(filter(None, [str(record.number), record.configuration or record.origin]))
        return Text(called), f"{record.step:,}", bar, last_value, best_value

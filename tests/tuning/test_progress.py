"""What is shown of a study while it runs."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from gansearch.study.records import Outcome
from gansearch.tuning import progress as module
from gansearch.tuning.progress import Progress

BATCH = 1000
"""Images between two reports of a trial."""


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def study(make_ledger, spec, report, clock):
    """A ledger of four trials in lanes of a worker, and what shows it; a call has them all report."""

    class Study:
        def __init__(self):
            self.ledger, self.lines = make_ledger(spec()), io.StringIO()
            self.numbers = [self.ledger.next().number for _ in range(4)]
            self.progress = Progress(self.ledger, Console(file=self.lines, width=200), 20)
            self.steps = 0

        def report(self, claimed=4 * BATCH):
            self.steps += 1
            for number in self.numbers:
                made = replace(report(self.steps, 1.0), images=self.steps * BATCH)
                made.metrics["images_per_second"] = claimed
                self.ledger.report(number, made)
                self.progress.tick()

        @property
        def speed(self):
            self.progress.tick()
            return self.progress._figures()["images/s"]

    return Study()


def test_the_speed_of_lanes_is_counted_once(study, clock):
    assert study.speed == "-"
    clock[0] += 1
    study.report()
    assert study.speed == "4,000", "and not four times what each says of all four"
    for _ in range(200):
        clock[0] += 1
        study.report()
    assert study.speed == "4,000"
    for _ in range(70):
        clock[0] += 1
        study.report(claimed=1)
    for _ in range(100):
        clock[0] += 2
        study.report()
    assert study.speed == "2,000", "of the last minute"


def test_rare_reports_are_counted_over_two_rounds(study, clock):
    for _ in range(5):
        clock[0] += 1000
        study.report()
    assert study.speed == "4"


def test_a_line_tells_it(study, clock):
    clock[0] += 31
    study.report()
    assert "images/s 32," in study.lines.getvalue(), "of the first report, 1,000 in 31 s"


def test_on_a_terminal_too_a_line_tells_of_each_trial_that_ends(study):
    terminal = Console(file=study.lines, width=80, force_terminal=True)
    study.report()
    with Progress(study.ledger, terminal, 20) as progress:
        study.ledger.end(study.numbers[0], Outcome.COMPLETED)
        progress.moved(study.numbers[0])
    assert "trial 0 completed: fd_classifier 1 at step 1, 0 s" in study.lines.getvalue()


def test_a_value_that_is_not_the_last_is_told_as_the_best(study):
    study.report()
    study.report()
    study.ledger.end(study.numbers[0], Outcome.COMPLETED)
    study.progress.moved(study.numbers[0])
    assert "trial 0 completed: best fd_classifier 1 at step 1, 0 s" in study.lines.getvalue()


def test_a_trial_is_named_as_what_it_began(study):
    study.report()
    first = study.numbers[0]
    study.ledger.records[first].origin = "old[1]/config.yaml"
    study.progress.console.print(study.progress._table())
    study.ledger.pause(first, "4th of 4 at step 1")
    study.progress.moved(first)
    study.ledger.wake(first, "1st of 4 at step 1")
    study.progress.moved(first)
    told = study.lines.getvalue()
    assert " 0 old[1]/config.yaml " in told
    assert "trial 0 (old[1]/config.yaml) paused (4th of 4 at step 1)" in told
    assert "trial 0 (old[1]/config.yaml) goes on: 1st of 4 at step 1" in told


def test_nothing_is_said_before_there_is_something_to_say(study, clock):
    study.progress.tick()
    assert not study.lines.getvalue()


def test_what_was_known_before_is_not_counted(study, clock, make_ledger, spec):
    clock[0] += 1
    study.report()
    study.ledger.interrupt()
    again = make_ledger(spec())
    assert again.images == 0
    number = again.next().number
    again.report(number, study.ledger.records[number].last)
    assert again.images == 0


def test_a_search_ends_with_its_trials_or_with_their_time(study, clock):
    """Four of eight trials have trained half of 20 steps in 1 s each, which took 2 s of the clock."""
    for _ in range(10):
        clock[0] += 0.2
        study.report()
    assert study.progress._figures()["left"] == "6 s", "for the other 6 trials' worth"
    study.progress.seconds = 5.0
    assert study.progress._figures()["left"] == "0.5 s", "for the other second"
    study.progress.seconds = 3.0
    assert study.progress._figures()["left"] == "0 s"

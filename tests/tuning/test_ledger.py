"""The ledger: what is kept, what is repeated, what an interruption leaves."""

import math

import pytest

from gansearch.search.pruners import Decision, Verdict
from gansearch.study.records import Outcome
from gansearch.training import checkpoint


class Mirror:
    def __init__(self):
        self.shown, self.ids = [], {}

    def submit(self, record):
        self.shown.append((record.number, record.outcome, record.step))
        self.ids[record.number] = f"run-{record.number}"

    def run_ids(self):
        ids, self.ids = self.ids, {}
        return ids


@pytest.fixture
def ledger(make_ledger, spec):
    return make_ledger(spec())


def train(ledger, values, report, outcome=Outcome.COMPLETED, reason=""):
    """One trial with these values, and its checkpoints as the trainable leaves them."""
    record = ledger.next()
    folder = ledger.directory.trial(record.number)
    best = None
    for i, value in enumerate(values, start=1):
        last = i == len(values)
        ledger.report(record.number, report(10 * i, value, outcome if last else None, reason))
        checkpoint.save(folder, 10 * i, {"step": 10 * i})
        if math.isfinite(value) and (best is None or value < best[0]):
            best = (value, 10 * i)
        checkpoint.keep(folder, {10 * i, best[1] if best else 10 * i})
    ledger.end(record.number)
    return record.number


def kept(ledger):
    folders = (ledger.directory.path / "trials").iterdir()
    return {int(f.name): steps for f in folders if (steps := checkpoint.steps(f))}


def test_only_the_best_report_of_the_best_trials_is_kept(ledger, report):
    train(ledger, [5, 3, 9], report)
    assert kept(ledger) == {0: [20]}
    train(ledger, [4, 8], report)
    train(ledger, [7, 6], report)
    assert kept(ledger) == {0: [20], 1: [10]}, "keep: 2"
    train(ledger, [1], report)
    assert kept(ledger) == {0: [20], 3: [10]}
    train(ledger, [math.nan], report, Outcome.DIVERGED)
    assert kept(ledger) == {0: [20], 3: [10]}


def test_a_late_collapse_still_counts_and_says_so(ledger, report):
    number = train(ledger, [9, 2, 50], report, Outcome.COLLAPSED, "lost its modes")
    record = ledger.journal.trials()[number]
    assert record.outcome is Outcome.COLLAPSED
    assert record.reason == "lost its modes"
    assert record.best("fd_classifier", "min").value == 2
    assert record.last.metrics["fd_classifier"] == 50
    assert kept(ledger) == {number: [20]}


def test_keeping_is_settled_after_a_crash(make_ledger, spec, report):
    ledger = make_ledger(spec())
    for value in (5, 4, 3):
        train(ledger, [value], report)
    checkpoint.save(ledger.directory.trial(0), 10, {})  # deleted too late by a killed driver
    again = make_ledger(spec())
    assert kept(again) == {1: [10], 2: [10]}


HALF = "cannot read a\udcff.png"  # as Python has a file's name that is no UTF-8


@pytest.mark.parametrize("how", ["end", "pause", "wake"])
def test_whatever_a_part_says_the_journal_can_be_read_again(make_ledger, spec, report, how):
    ledger = make_ledger(spec())
    number = ledger.next().number
    ledger.report(number, report(10, 1.0))
    if how == "end":
        ledger.end(number, Outcome.FAILED, HALF)
    else:
        ledger.pause(number, HALF if how == "pause" else "why not")
    if how == "wake":
        ledger.wake(number, HALF)
    record = make_ledger(spec()).records[number]
    told = [record.reason, *(text for each in record.chances for text in (each.paused, each.woken))]
    assert r"cannot read a\udcff.png" in told


def test_a_repeated_report_changes_nothing(ledger, report):
    number = ledger.next().number
    ledger.report(number, report(10, 1.0))
    ledger.report(number, report(20, 2.0))
    ledger.report(number, report(10, 99.0))
    ledger.report(number, report(20, 99.0))
    stored = ledger.journal.trials()[number]
    assert [(r.step, r.metrics["fd_classifier"]) for r in stored.reports] == [(10, 1.0), (20, 2.0)]


def test_an_interruption_leaves_trials_waiting_and_a_new_driver_takes_them_first(
    make_ledger, spec, report
):
    ledger = make_ledger(spec())
    train(ledger, [1], report)
    running, fresh = ledger.next().number, ledger.next().number
    ledger.report(running, report(10, 2.0))
    ledger.interrupt()
    states = [t.state.name for t in ledger.journal.study.get_trials()]
    assert states == ["COMPLETE", "WAITING", "WAITING"]
    assert [r.outcome.value for r in ledger.journal.trials()][1:] == ["interrupted"] * 2

    again = make_ledger(spec())
    assert again.remaining == 2 + 5
    assert [again.next().number for _ in range(3)] == [running, fresh, 3]
    states = [t.state.name for t in again.journal.study.get_trials()]
    assert states == ["COMPLETE", "RUNNING", "RUNNING", "RUNNING"]
    assert again.records[running].step == 10


def test_the_mirror_sees_every_change_and_run_ids_come_home(make_ledger, spec, report):
    mirror = Mirror()
    ledger = make_ledger(spec(), mirror)
    train(ledger, [3, 2], report)
    assert mirror.shown[0] == (0, Outcome.RUNNING, 0)
    assert mirror.shown[-1] == (0, Outcome.COMPLETED, 20)
    ledger.tick()
    assert ledger.journal.trials()[0].mlflow_run_id == "run-0"
    ledger.write_table()
    assert "run-0" in ledger.directory.table.read_text()


def test_no_trial_more_than_asked(ledger, report):
    for _ in range(8):
        assert ledger.remaining
        train(ledger, [1], report)
    assert ledger.remaining == 0


def cut_short(ledger, lines):
    """The machine dies in the middle of the next write, after some lines of it and half a line."""
    file = ledger.journal.storage._file
    append = file._append

    def dying(data):
        parts = data.splitlines(keepends=True)
        append(b"".join(parts[:lines]) + b"".join(parts[lines : lines + 1])[:40])
        raise KeyboardInterrupt

    file._append = dying


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.PRUNED, Outcome.DIVERGED])
@pytest.mark.parametrize("lines", range(7))
def test_an_end_cut_short_at_any_line_is_finished_by_the_next_driver(
    make_ledger, spec, report, outcome, lines
):
    ledger = make_ledger(spec())
    number = ledger.next().number
    last = None if outcome is Outcome.PRUNED else outcome
    ledger.report(number, report(90, 1.0, last, "why"))
    cut_short(ledger, lines)
    with pytest.raises(KeyboardInterrupt):
        ledger.end(number, outcome, "why")

    again = make_ledger(spec())
    state = again.journal.study.get_trials()[number].state.name
    if again.records[number].outcome.ended:
        assert state == ("COMPLETE" if outcome is Outcome.COMPLETED else "PRUNED")
        assert again.records[number].outcome is outcome
        assert again.records[number].reason == "why"
    else:  # the decision itself was not written: the pruner's replay takes it again
        assert lines < 4
        assert state == "RUNNING"
        again.settle({number: Verdict(Decision.STOP, "why")})
        assert again.records[number].outcome is outcome


@pytest.mark.parametrize("lines", range(3))
def test_a_pause_or_a_second_chance_cut_short_at_any_line_is_whole_or_not_there(
    make_ledger, spec, report, lines
):
    ledger = make_ledger(spec())
    number = ledger.next().number
    ledger.report(number, report(10, 1.0))
    cut_short(ledger, lines)
    with pytest.raises(KeyboardInterrupt):
        ledger.pause(number, "why, at step 10")

    again = make_ledger(spec())
    paused = [trial.number for trial in again.paused]
    assert paused == ([number] if lines else [])
    assert again.remaining == (7 if lines else 8)
    again.settle({number: Verdict(Decision.PAUSE, "why, at step 10")})
    [trial] = again.paused
    assert (trial.outcome, trial.reason) == (Outcome.PAUSED, "why, at step 10")
    assert again.journal.study.get_trials()[number].state.name == "WAITING"
    cut_short(again, lines)
    with pytest.raises(KeyboardInterrupt):
        again.wake(number, "well, at step 10")

    again = make_ledger(spec())
    again.settle({number: Verdict(Decision.PAUSE, "why, at step 10")})
    assert [trial.number for trial in again.paused] == ([] if lines else [number])
    state = again.journal.study.get_trials()[number].state.name
    assert state == ("RUNNING" if lines else "WAITING")


def test_paused_trials_keep_their_checkpoints_and_an_interruption_leaves_them_paused(
    make_ledger, spec, report
):
    mirror = Mirror()
    ledger = make_ledger(spec(), mirror)
    number, other = ledger.next().number, ledger.next().number
    for step in (10, 20):
        ledger.report(number, report(step, 9.0))
        checkpoint.save(ledger.directory.trial(number), step, {"step": step})
    ledger.pause(number, "why, at step 20")
    for value in (1, 2, 3):
        train(ledger, [value], report)
    assert kept(ledger)[number] == [10, 20], "two others are the best, and it may yet go on"
    ledger.interrupt()
    assert ledger.records[number].outcome is Outcome.PAUSED
    assert ledger.records[other].outcome is Outcome.INTERRUPTED
    ledger.close()

    again = make_ledger(spec(), mirror)
    assert mirror.shown[-1][1] is not Outcome.RUNNING
    assert again.next().number == other
    record = again.wake(number, "well, at step 20")
    assert record.step == 20
    assert again.live == {number, other}
    assert (number, Outcome.PAUSED, 20) in mirror.shown
    again.pause(number, "why, at step 20")
    assert again.give_up_paused() == [number]
    assert again.records[number].outcome is Outcome.PRUNED
    assert again.records[number].reason == "paused again, and never went on: why, at step 20"
    assert number not in kept(again)


def test_a_report_cut_short_keeps_its_intermediate_value(make_ledger, spec, report):
    ledger = make_ledger(spec())
    number = ledger.next().number
    cut_short(ledger, lines=1)
    with pytest.raises(KeyboardInterrupt):
        ledger.report(number, report(10, 1.0))
    again = make_ledger(spec())
    assert again.next().number == number
    again.report(number, report(10, 1.0))
    again.report(number, report(20, 2.0))
    trial = again.journal.study.get_trials()[number]
    assert trial.intermediate_values == {10: 1.0, 20: 2.0}
    assert [r.step for r in again.journal.trials()[number].reports] == [10, 20]


def test_a_run_id_that_comes_after_the_end_reaches_the_table(make_ledger, spec, report):
    mirror = Mirror()
    ledger = make_ledger(spec(), mirror)
    train(ledger, [3, 2], report)
    ledger.write_table()
    assert "run-0" not in ledger.directory.table.read_text()
    ledger.tick()
    ledger.write_table()
    assert "run-0" in ledger.directory.table.read_text()

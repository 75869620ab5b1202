"""The journal against real Optuna storages: what is told of a trial is what is read back."""

from __future__ import annotations

import csv
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from sqlalchemy import create_engine, text

from gansearch.analysis.tables import trials_table
from gansearch.errors import StorageError, StudyError, UserError
from gansearch.journal.changes import Change
from gansearch.journal.directory import JOURNAL_FILE
from gansearch.journal.facts import CONSTRAINT
from gansearch.journal.file import JournalFile
from gansearch.journal.journal import FLUSH_EVERY, Journal
from gansearch.journal.table import write_table
from gansearch.study.records import Chance, Outcome, Report, TrialRecord, table_row
from gansearch.study.roster import Candidate, Roster

FACTS = {"metric": "fd", "goal": "min", "steps": 100, "digest": "d", "trials": 3, "report_every": 10}
FACTS |= {"question": "", "study": "question: ''", "id": "0"}
AXES = {"lr": FloatDistribution(1e-5, 1e-1, log=True), "loss": CategoricalDistribution(["a", None])}
PARAMS = {"lr": 1e-3, "loss": None}
NAN, INF = math.nan, math.inf


def test_a_change_made_twice_in_memory_is_made_once():
    trial = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"a": 1})
    Change(0, {10: 2.0}, {"b": 2}, {"c": 3}).apply(trial)
    assert (trial.state, trial.values, trial.datetime_complete) == (TrialState.RUNNING, None, None)
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    for _ in range(2):
        Change(0, {20: 1.0}, state=TrialState.COMPLETE, values=[1.0], time=at).apply(trial)
        assert (trial.state, trial.values) == (TrialState.COMPLETE, [1.0])
        assert trial.datetime_complete.astimezone(UTC) == at, "in local time, as Optuna has it"
        assert trial.intermediate_values == {10: 2.0, 20: 1.0}
        assert (trial.user_attrs, trial.system_attrs) == ({"a": 1, "b": 2}, {"c": 3})


def report(step: int, value: float, **metrics: float) -> Report:
    return Report(step, step * 64, step / 10, {"fd": value, **metrics}, 1.7e9 + step)


def begin(journal: Journal, number: int = 0) -> TrialRecord:
    journal.begin(number, PARAMS, AXES, {"ema": None, "seed": 0, "loss": {"name": "a"}})
    return journal.trials()[number]


def told(journal: Journal, *values: float) -> TrialRecord:
    """A trial with a report every ten steps."""
    number = begin(journal, len(journal.trials())).number
    for i, value in enumerate(values):
        journal.report(number, report(10 * (i + 1), value))
    return journal.trials()[number]


@pytest.fixture(params=["journal file", "sqlite"])
def storage(request, tmp_path):
    return None if request.param == "journal file" else f"sqlite:///{tmp_path}/team.db"


@pytest.fixture
def journal(tmp_path):
    return Journal.create(tmp_path, "s", FACTS)


def reopened(tmp_path, storage=None, **options) -> Journal:
    return Journal.open(tmp_path, "s", storage, **options)


def test_a_trial_is_read_back_as_it_was_told(tmp_path, storage):
    journal = Journal.create(tmp_path, "s", FACTS, storage)
    begin(journal)
    first, second = report(10, 3.5, d_loss=NAN, g_loss=INF), report(20, NAN, d_loss=-INF, x=1e-320)
    second = replace(second, usage={"process_memory_usage_megabytes": 812.5})  # the first has none
    journal.report(0, first)
    journal.report(0, second)
    journal.note(0, provenance={"fd": {"features": "classifier", "ema": True}})
    journal.note_runs({0: "run-0"})
    for reader in (journal, reopened(tmp_path, storage)):
        assert reader.facts.items() >= FACTS.items()
        assert (reader.metric, reader.goal, reader.steps) == ("fd", "min", 100)
        [found] = reader.trials()
        assert repr(found.reports) == repr([first, second])
        assert (found.params, found.mlflow_run_id) == (PARAMS, "run-0")
        assert found.config == {"ema": None, "seed": 0, "loss": {"name": "a"}}
        assert found.provenance == {"fd": {"features": "classifier", "ema": True}}
        assert found.outcome is Outcome.RUNNING
        assert found.best("fd", "min").step == 10
        assert (found.step, found.seconds) == (20, 2.0)


def test_the_order_of_the_ends_is_the_journal_s_and_no_clock_s(tmp_path, storage):
    journal = Journal.create(tmp_path, "s", FACTS, storage)
    for number in range(4):
        begin(journal, number)
    journal.end(journal.trials()[2], Outcome.INTERRUPTED)
    for number in (3, 1, 2):
        journal.end(journal.trials()[number], Outcome.PRUNED)
        journal = reopened(tmp_path, storage, writer=True)
    backwards(tmp_path, storage)
    for reader in (journal, reopened(tmp_path, storage)):
        assert [trial.number for trial in reader.ended()] == [3, 1, 2]


def test_an_end_costs_the_same_after_thousands_of_trials(tmp_path):
    class Many(dict):
        def values(self):
            raise AssertionError("all trials are looked at")

    journal = Journal.create(tmp_path, "s", FACTS)
    for number in range(3):
        begin(journal, number)
    journal = reopened(tmp_path, writer=True)
    records = journal.trials()
    journal.end(records[1], Outcome.PRUNED)
    journal._trials = Many(journal._trials)
    journal.end(records[0], Outcome.FAILED)
    assert [trial.number for trial in reopened(tmp_path).ended()] == [1, 0]


def test_the_order_of_the_ends_of_an_earlier_version_is_that_of_their_times(tmp_path):
    journal = Journal.create(tmp_path, "s", FACTS)
    for number in range(4):
        begin(journal, number)
    for number in (3, 0, 2):
        journal.end(journal.trials()[number], Outcome.PRUNED)
    file = tmp_path / JOURNAL_FILE
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "ended_after" not in line))
    journal = reopened(tmp_path, writer=True)
    journal.end(journal.trials()[1], Outcome.PRUNED)
    assert [trial.number for trial in reopened(tmp_path).ended()] == [3, 0, 2, 1]


def backwards(folder, storage):
    """Have each trial have ended the earlier the later it did, as by a clock that is set back."""
    if storage is not None:
        with create_engine(storage).begin() as connection:
            far = "julianday('2026-06-01') + julianday('2026-06-01') - julianday(datetime_complete)"
            connection.execute(text(f"UPDATE trials SET datetime_complete = datetime({far})"))
        return
    file = folder / JOURNAL_FILE
    logs = [json.loads(line) for line in file.read_text().splitlines()]
    ends = [log for log in logs if "datetime_complete" in log]
    times = [log["datetime_complete"] for log in ends]
    for log, time_ in zip(ends, reversed(times), strict=True):
        log["datetime_complete"] = time_
    file.write_text("".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs))


ENDS = [
    (Outcome.COMPLETED, (3.0, 2.0, 5.0), TrialState.COMPLETE, 2.0, None),
    (Outcome.COMPLETED, (NAN, INF), TrialState.PRUNED, None, 1.8),
    (Outcome.COMPLETED, (), TrialState.PRUNED, None, 2.0),
    (Outcome.PRUNED, (3.0, 4.0), TrialState.PRUNED, 4.0, None),
    (Outcome.DIVERGED, (3.0, NAN), TrialState.PRUNED, 3.0, 1.8),
    (Outcome.COLLAPSED, (3.0,) * 10, TrialState.PRUNED, 3.0, 1.0),
    (Outcome.STALLED, (3.0,) * 5, TrialState.PRUNED, 3.0, 1.5),
    (Outcome.FAILED, (3.0,), TrialState.FAIL, None, None),
    (Outcome.FAILED, (), TrialState.FAIL, None, None),
    (Outcome.INTERRUPTED, (3.0,), TrialState.WAITING, None, None),
]


def test_every_end_is_true_in_optuna(tmp_path, storage):
    journal = Journal.create(tmp_path, "s", FACTS, storage)
    for outcome, values, *_ in ENDS:
        ended = journal.end(told(journal, *values), outcome, "because")
        assert (ended.outcome, ended.reason) == (outcome, "because")
    url = storage or optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / JOURNAL_FILE))
    )
    trials = optuna.load_study(study_name="s", storage=url).get_trials()
    records = reopened(tmp_path, storage).trials()
    for trial, record, end in zip(trials, records, ENDS, strict=True):
        outcome, values, state, value, violation = end
        assert (trial.state, trial.value) == (state, value), outcome
        assert trial.constraints.get(CONSTRAINT) == (violation and pytest.approx(violation)), outcome
        finite = {10 * (i + 1): v for i, v in enumerate(values) if math.isfinite(v)}
        assert trial.intermediate_values == finite
        assert (record.outcome, record.reason) == (outcome, "because")


def test_the_goal_decides_which_report_is_the_value(tmp_path):
    journal = Journal.create(tmp_path, "s", FACTS | {"goal": "max"})
    journal.end(told(journal, 3.0, 9.0, 1.0), Outcome.COMPLETED)
    assert journal.study.best_value == 9.0


def test_the_sampler_ranks_an_unhealthy_trial_behind_every_other(journal):
    journal.end(told(journal, 50.0), Outcome.COMPLETED)
    journal.end(told(journal, 1.0), Outcome.COLLAPSED)
    assert journal.study.best_trial.number == 0


def test_an_interrupted_trial_goes_on(tmp_path, journal):
    journal.end(told(journal, 3.0), Outcome.INTERRUPTED, "Ctrl-C")
    again = reopened(tmp_path, writer=True)
    record = again.reopen(again.trials()[0])
    assert (record.outcome, record.reason) == (Outcome.RUNNING, "")
    again.report(0, report(10, 2.5))  # told again, by another session
    again.report(0, report(20, 2.0))
    again.end(again.trials()[0], Outcome.COMPLETED)
    [found] = reopened(tmp_path).trials()
    assert [r.metrics["fd"] for r in found.reports] == [2.5, 2.0]
    assert (found.outcome, found.reason) == (Outcome.COMPLETED, "")


def test_a_running_trial_of_a_killed_driver_goes_on(tmp_path, journal):
    told(journal, 3.0)
    again = reopened(tmp_path, writer=True)
    assert again.reopen(again.trials()[0]).outcome is Outcome.RUNNING
    again.end(again.trials()[0], Outcome.PRUNED)
    assert reopened(tmp_path).trials()[0].outcome is Outcome.PRUNED


def state_of(tmp_path, storage):
    url = storage or optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / JOURNAL_FILE))
    )
    [trial] = optuna.load_study(study_name="s", storage=url).get_trials()
    return trial.state


@pytest.mark.parametrize("end", [Outcome.COMPLETED, Outcome.PRUNED])
def test_a_paused_trial_waits_for_its_second_chance_whatever_becomes_of_its_driver(
    tmp_path, storage, end
):
    journal = Journal.create(tmp_path, "s", FACTS, storage)
    journal.pause(told(journal, 3.0), "behind, at step 10")
    journal.flush()
    assert state_of(tmp_path, storage) == TrialState.WAITING
    again = reopened(tmp_path, storage, writer=True)
    again.settle()
    [record] = again.trials()
    assert (record.outcome, record.reason) == (Outcome.PAUSED, "behind, at step 10")
    assert record.chances == [Chance(10, "behind, at step 10")]
    assert not record.woken_at(10)

    again._change(0, state=TrialState.RUNNING)  # as if its driver had died before it was told
    again.flush()
    again.settle()
    again.flush()
    assert state_of(tmp_path, storage) == TrialState.WAITING

    again.wake(record, "among the best, at step 10")
    assert state_of(tmp_path, storage) == TrialState.RUNNING
    again = reopened(tmp_path, storage, writer=True)
    [record] = again.trials()
    assert (record.outcome, record.reason) == (Outcome.RUNNING, "")
    assert record.chances == [Chance(10, "behind, at step 10", "among the best, at step 10")]
    assert record.woken_at(10)

    again.report(0, report(20, 2.0))
    record = again.pause(again.trials()[0], "behind, at step 20")
    assert record == again.trials()[0]
    if end is Outcome.COMPLETED:
        record = again.wake(record, "why not, at step 20")
        assert record == again.trials()[0]
        again.report(0, report(100, 1.0))
    ended = again.end(again.trials()[0], end, "so")
    [found] = reopened(tmp_path, storage).trials()
    assert found == ended
    assert [chance.step for chance in found.chances] == [10, 20]
    expected = TrialState.COMPLETE if end is Outcome.COMPLETED else TrialState.PRUNED
    assert state_of(tmp_path, storage) == expected


def test_an_ended_trial_stays_as_it_ended(tmp_path, journal):
    ended = journal.end(told(journal, 3.0), Outcome.COMPLETED, "budget")
    journal.end(ended, Outcome.FAILED, "told twice")
    journal.note_runs({0: "late"})  # MLflow may come later
    [found] = reopened(tmp_path).trials()
    assert (found.outcome, found.reason, found.mlflow_run_id) == (Outcome.COMPLETED, "budget", "late")


def test_a_line_cut_short_harms_no_reader_and_is_mended_by_a_writer(tmp_path, journal):
    told(journal, 3.0)
    file = tmp_path / JOURNAL_FILE
    whole = file.read_bytes()
    with file.open("ab") as end:
        end.write(b'{"op_code": 8, "worker_id": "x", "tri')
    [seen] = reopened(tmp_path).trials()
    assert seen.step == 10
    writer = reopened(tmp_path, writer=True)
    assert file.read_bytes() == whole
    writer.report(0, report(20, 2.0))
    assert reopened(tmp_path).trials()[0].step == 20


def test_a_journal_cut_anywhere_is_readable_after_mending(tmp_path, journal):
    file = tmp_path / JOURNAL_FILE
    create = file.stat().st_size  # the study itself is made before its directory is named
    journal.end(told(journal, 3.0, 2.0), Outcome.COMPLETED)
    whole = file.read_bytes()
    for cut in range(create, len(whole), 61):
        file.write_bytes(whole[:cut])
        found = reopened(tmp_path, writer=True).trials()
        assert len(found) <= 1
        assert all(len(record.reports) <= 2 for record in found)


@pytest.mark.timeout(20)
def test_a_lock_that_nobody_holds_does_not_delay_a_writer(tmp_path, journal):
    (tmp_path / f"{JOURNAL_FILE}.lock").symlink_to(tmp_path / JOURNAL_FILE)
    writer = reopened(tmp_path, writer=True)
    told(writer, 3.0)
    assert reopened(tmp_path).trials()[0].step == 10


WRITE = """
import sys, pathlib
from gansearch.journal.journal import Journal
from gansearch.study.records import Report
journal = Journal.open(pathlib.Path(sys.argv[1]), "s", writer=True)
for step in range(10, 60, 10):
    journal.report(0, Report(step, 0, 0.0, {"fd": 1.0 / step}, 0.0))
    print(step, flush=True)
    sys.stdin.readline()
"""


def test_a_reader_sees_what_a_running_writer_has_told(tmp_path, journal):
    begin(journal)
    reader = reopened(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", WRITE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        for step in (10, 20, 30):
            assert int(writer.stdout.readline()) == step
            assert reader.trials()[0].step == step
            writer.stdin.write(b"\n")
            writer.stdin.flush()
        writer.kill()
    assert reopened(tmp_path, writer=True).trials()[0].step in (30, 40)


def test_a_storage_takes_a_name_once(tmp_path, storage):
    Journal.create(tmp_path, "s", FACTS, storage)
    with pytest.raises(StudyError, match="already has a study named 's': resume it, or take another"):
        Journal.create(tmp_path, "s", FACTS | {"goal": "max"}, storage)
    Journal.create(tmp_path, "t", FACTS | {"goal": "max"}, storage)
    assert Journal.open(tmp_path, "s", storage).goal == "min"
    assert Journal.open(tmp_path, "t", storage).goal == "max"


def test_what_is_not_there_says_so(tmp_path):
    with pytest.raises(StudyError, match=r"has no journal\.log: if the study was made with --storage"):
        Journal.open(tmp_path, "s")
    with pytest.raises(StudyError, match="the storage has no study named 's'"):
        Journal.open(tmp_path, "s", f"sqlite:///{tmp_path}/team.db")
    (tmp_path / JOURNAL_FILE).touch()
    with pytest.raises(StudyError, match=r"journal\.log holds no study: bring it back from a copy"):
        Journal.open(tmp_path, "s")


@pytest.mark.parametrize(
    "url",
    [
        "nonsense://me:s3cr3t@host/db",
        "postgresql+nodriver://me:s3cr3t@127.0.0.1:1/db",
        "mysql+pymysql://me:s3cr3t@127.0.0.1:1/db",
        "postgresql://me:s3cr3t@127.0.0.1:1/db",
        "s3cr3t",
    ],
)
def test_a_password_is_in_no_message(tmp_path, url):
    with pytest.raises(UserError, match="cannot open the Optuna storage") as caught:
        Journal.create(tmp_path, "s", FACTS, url)
    if "@" in url:
        assert "s3cr3t" not in str(caught.value)


def test_the_table_has_a_row_a_trial_and_the_columns_of_all(tmp_path, journal):
    journal.end(told(journal, 3.0, NAN), Outcome.DIVERGED, 'loss is NaN, "gone"\nfor good')
    begin(journal, 1)
    records = journal.trials()
    records[1] = replace(records[1], params={"lr": 0.5, "depth": 3, "tags": ["a", "b"]})
    path = tmp_path / "trials.csv"
    write_table(path, [table_row(record, "fd", "min") for record in records])
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["number"], first["outcome"], first["reason"]) == (
        "0",
        "diverged",
        'loss is NaN, "gone"\nfor good',
    )
    assert (first["step"], first["best_step"], first["best.fd"]) == ("20", "10", "3.0")
    assert (first["last.fd"], first["param.depth"]) == ("nan", "")
    assert (second["param.lr"], second["param.depth"], second["best.fd"]) == ("0.5", "3", "")
    assert json.loads(second["param.tags"]) == ["a", "b"]
    assert [p.name for p in tmp_path.glob("trials*")] == ["trials.csv"], "nothing half-written"
    write_table(path, [table_row(r, "fd", "min") for r in []])
    assert path.read_text().startswith("number")


def test_columns_stand_alike_whichever_trial_comes_first(tmp_path, journal):
    told(journal, 3.0)
    begin(journal, 1)
    plain, begun = journal.trials()
    rows = [plain, replace(begun, origin="default", params={"lr": 0.5, "depth": 3})]
    for order in (rows, rows[::-1]):
        write_table(tmp_path / "trials.csv", [table_row(each, "fd", "min") for each in order])
        header = (tmp_path / "trials.csv").read_text().splitlines()[0].split(",")
        for names in (header, list(trials_table(order, "fd", "min").reset_index())):
            assert names[:3] == ["number", "origin", "outcome"]
            kinds = [name.partition(".")[0] for name in names if "." in name]
            assert kinds == sorted(kinds, key=["param", "best", "last"].index)


def test_the_journal_file_is_read_as_optuna_reads_it(tmp_path, monkeypatch):
    monkeypatch.setattr("gansearch.journal.file.JournalFile._LINES", 3)
    path = tmp_path / JOURNAL_FILE
    journal = Journal.create(tmp_path, "s", FACTS)
    reader = Journal.open(tmp_path, "s")  # reads on as the file grows
    for outcome, values, *_ in ENDS:
        journal.end(told(journal, *values), outcome, "because")
        plain = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        expected = optuna.load_study(study_name="s", storage=plain).get_trials()
        assert reader.study.get_trials() == journal.study.get_trials() == expected
    with pytest.raises(StudyError, match="already has a study named"):
        Journal.create(tmp_path, "s", FACTS)
    assert reopened(tmp_path).study.get_trials() == expected


def test_logs_are_read_from_any_number_on_and_one_s_own_from_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("gansearch.journal.file.JournalFile._LINES", 3)
    path, logs = tmp_path / JOURNAL_FILE, [{"op_code": number} for number in range(12)]
    theirs = optuna.storages.journal.JournalFileBackend(str(path))
    theirs.append_logs(logs[:7])
    ours = JournalFile(path)
    for start in (0, 4, 7, 2, 6, 9, 5):
        assert list(ours.read_logs(start)) == list(theirs.read_logs(start)) == logs[start:7]
    ours.append_logs(logs[7:10])
    for start in (3, 8, 10, 9, 0):
        assert list(ours.read_logs(start)) == logs[start:10]
    ours.append_logs(logs[10:])
    opened, opens = [], Path.open
    monkeypatch.setattr(Path, "open", lambda *a, **o: opened.append(a) or opens(*a, **o))
    assert list(ours.read_logs(10)) == logs[10:]
    assert list(ours.read_logs(12)) == []
    assert len(opened) == 1, "for what others may have written since"
    ours.write(logs[:2])
    next(ours.read_logs(12))  # and no more of them
    assert list(ours.read_logs(12)) == logs[:2]


def test_a_write_that_optuna_refuses_leaves_the_reader_in_place(tmp_path, journal):
    record = journal.end(told(journal, 3.0), Outcome.COMPLETED)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        journal.note(record.number, late=True)
    told(journal, 2.0)
    assert [trial.step for trial in journal.trials()] == [10, 10]
    assert journal.study.get_trials() == reopened(tmp_path).study.get_trials()


def test_a_trial_is_made_durable_as_it_begins_and_ends_and_reports_when_they_are_rare(
    tmp_path, journal, monkeypatch
):
    synced, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(file) or sync(file))

    def during(action, *args):
        del synced[:]
        action(*args)
        return len(synced)

    assert during(journal.begin, 0, PARAMS, AXES, {"seed": 0, "loss": {"name": "a"}}) == 1
    assert during(journal.tick) <= 1
    assert during(journal.report, 0, report(10, 1.0)) == 0
    assert during(journal.tick) == 0, "a moment after the last time"
    assert reopened(tmp_path).trials()[0].step == 10, "but whoever reads sees it"
    time.sleep(FLUSH_EVERY)
    assert during(journal.tick) == 1
    assert during(journal.tick) == 0, "there is nothing new"
    for step in range(20, 60, 10):
        journal.report(0, report(step, 1.0))
    assert during(journal.end, journal.trials()[0], Outcome.COMPLETED) == 1


def test_what_somebody_else_adds_to_the_file_is_seen(tmp_path, journal):
    """Such as a note made in optuna-dashboard while the study runs."""
    told(journal, 3.0)
    file = optuna.storages.journal.JournalFileBackend(str(tmp_path / JOURNAL_FILE))
    theirs = optuna.load_study(study_name="s", storage=optuna.storages.JournalStorage(file))
    note = partial(theirs._storage.set_study_system_attr, theirs._study_id, "dashboard:note")
    note("keep an eye on this")
    journal.report(0, report(20, 2.0))  # which does not read first
    note("better")
    journal.report(0, report(30, 1.0))
    assert journal.study._storage.get_study_system_attrs(0) == {"dashboard:note": "better"}
    assert [trial.step for trial in journal.trials()] == [30]
    assert journal.study.get_trials() == reopened(tmp_path).study.get_trials() == theirs.get_trials()


def test_a_disk_that_is_full_leaves_whole_lines(tmp_path, journal):
    told(journal, 3.0)
    file = tmp_path / JOURNAL_FILE
    before = file.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*: File too large; `gansearch resume`"):
            journal.report(0, report(20, 2.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert file.read_bytes() == before
    assert [trial.step for trial in journal.trials()] == [10]
    journal.report(0, report(20, 2.0))
    assert [trial.step for trial in reopened(tmp_path).trials()] == [20]


def test_what_a_disk_does_not_keep_is_told_until_it_does():
    file = JournalFile(Path("/dev/null"))  # takes all, and can be asked to keep nothing
    file.write([{"op_code": 0}])
    for _ in range(2):
        with pytest.raises(
            StorageError, match="cannot write /dev/null: Invalid argument; `gansearch res"
        ):
            file.flush()


def test_a_file_that_nobody_writes_any_more_is_closed(tmp_path):
    path = tmp_path / JOURNAL_FILE
    path.touch()
    file = JournalFile(path)
    file.append_logs([{"op_code": 0}])
    descriptor = file._descriptor
    assert os.fstat(descriptor).st_size == path.stat().st_size > 0
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_trial_that_somebody_else_wrote_meanwhile_is_told(tmp_path, journal):
    begin(Journal.open(tmp_path, "s", writer=True))
    with pytest.raises(StudyError, match="trial 0 is number 1 in the journal: somebody else writes it"):
        begin(journal)


def test_a_file_that_is_moved_under_its_writer_is_told(tmp_path, journal):
    told(journal, 3.0)
    file = tmp_path / JOURNAL_FILE
    file.rename(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=f"cannot read {file}: .*; was its folder moved while the"):
        journal.end(journal.trials()[0], Outcome.COMPLETED)
    (tmp_path / "elsewhere").rename(file)
    assert [trial.step for trial in reopened(tmp_path).trials()] == [10]


# What is trained again


@pytest.mark.parametrize("storage", [None, "sqlite"])
def test_a_stability_journal_is_whole_or_not_there(tmp_path, monkeypatch, storage):
    url = f"sqlite:///{tmp_path / 'optuna.db'}" if storage else None
    facts = FACTS | {"report_every": 1, "id": "x"}
    (tmp_path / "s").mkdir()
    search = Journal.create(tmp_path / "s", "s", facts, url)
    folder = tmp_path / "s" / "stability"
    roster = Roster().extended([Candidate("a", "given", {"loss": {"name": "a"}})], 3, 0)
    genuine = optuna.Study.set_user_attr

    def dying(lives):
        """`Study.set_user_attr`, as far as a driver that is killed after some writes comes."""
        left = iter(range(lives))

        def write(study, key, value):
            if next(left, None) is None:
                raise KeyboardInterrupt
            genuine(study, key, value)

        return write

    if not url:
        folder.touch()
        with pytest.raises(StudyError, match="stability is no folder: remove it"):
            search.create_stability(folder, roster, {})
        folder.unlink()
    for lives in (0, 1, 5, 9):
        monkeypatch.setattr(optuna.Study, "set_user_attr", dying(lives))
        with pytest.raises(KeyboardInterrupt):
            search.create_stability(folder, roster, {})
        monkeypatch.setattr(optuna.Study, "set_user_attr", genuine)
        assert search.open_stability(folder) is None
        assert search.open_stability(folder, writer=True) is None
        assert url or not list(folder.iterdir()), "nothing half made is left"
    made = search.create_stability(folder, roster, {})
    assert not made.finished
    found = search.open_stability(folder)
    assert found.roster == roster
    assert (found.planned, found.facts["id"], found.facts["part"]) == (3, "x", "stability")
    assert search.trials() == []

"""Trials in a real PostgreSQL: as Optuna has them there, and through its absences."""

import json
import logging
import sqlite3
import threading
import time

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from postgresql import PostgreSQL
from sqlalchemy import create_engine, event, inspect, text

from gansearch.errors import StorageError, StudyError, UserError
from gansearch.journal.database import DatabaseStorage
from gansearch.journal.facts import CONSTRAINT
from gansearch.journal.journal import Journal
from gansearch.journal.opening import INSERTED, UNWRITTEN
from gansearch.journal.stored import StoredStudy
from gansearch.study.records import Outcome, Report, TrialRecord

FACTS = {"metric": "fd", "goal": "min", "steps": 100, "digest": "d", "trials": 3, "report_every": 10}
FACTS |= {"question": "", "study": "question: ''", "id": "0"}
AXES = {"lr": FloatDistribution(1e-5, 1e-1, log=True), "loss": CategoricalDistribution(["a", None])}


@pytest.fixture(scope="module")
def server():
    with PostgreSQL() as server:
        yield server


@pytest.fixture
def running(server):
    yield server
    if not server.runs():
        server.start()


@pytest.fixture
def name(request):
    return request.node.name


def told(journal, number, values, outcome=Outcome.COMPLETED):
    """A trial with a report every ten steps, and its end."""
    return journal.end(begun(journal, number, values), outcome, "so")


def begun(journal, number, values):
    """A trial with a report every ten steps."""
    params = {"lr": 10.0 ** -(1 + number % 5), "loss": ("a", None)[number % 2]}
    config = {"seed": number, "loss": {"name": "a"}}
    journal.begin(number, params, AXES, config)
    journal.note(number, provenance={"fd": {"features": "classifier"}})
    record = TrialRecord(number, params, config)
    for i, value in enumerate(values):
        report = Report(10 * (i + 1), i, 0.5, {"fd": value, "x": -value}, 1.7e9 + i)
        journal.report(number, report)
        record.reports.append(report)
    return record


ENDS = [
    (Outcome.COMPLETED, (3.0, 2.0, 5.0)),
    (Outcome.COMPLETED, (float("nan"), float("inf"))),
    (Outcome.PRUNED, (3.0, 4.0)),
    (Outcome.DIVERGED, (3.0, float("nan"))),
    (Outcome.FAILED, ()),
    (Outcome.INTERRUPTED, (1.0,)),
]


def plain(trial):
    """A trial as all of Optuna sees it, but for ids and what depends on the clock."""
    return (
        trial.number,
        trial.state,
        trial.values,
        trial.params,
        trial.distributions,
        trial.user_attrs,
        trial.system_attrs,
        trial.intermediate_values,
        trial.datetime_start is not None,
        trial.datetime_complete is not None,
    )


@pytest.mark.parametrize("where", ["postgresql", "sqlite", "another database"])
def test_trials_are_what_they_are_in_a_journal_file(server, name, tmp_path, where, monkeypatch):
    url = f"sqlite:///{tmp_path}/team.db" if where == "sqlite" else server.url
    for folder in ("file", "database"):
        (tmp_path / folder).mkdir()
    in_file = Journal.create(tmp_path / "file", name, FACTS)
    in_database = Journal.create(tmp_path / "database", name, FACTS, url)
    in_database.storage._groups = where != "another database"
    for journal in (in_file, in_database):
        for number, (outcome, values) in enumerate(ENDS):
            told(journal, number, values, outcome)
        journal.note_runs({0: "run-0", 5: "run-5"})
        again = journal.reopen(journal.trials()[5])
        journal.report(5, Report(20, 1, 0.5, {"fd": 0.5}, 1.7e9))
        journal.flush()
        assert again.outcome is Outcome.RUNNING
        paused = journal.pause(begun(journal, 6, (4.0, 3.0)), "behind, at step 20")
        paused = journal.pause(journal.wake(paused, "well, at step 20"), "no, at step 20")
        assert paused.outcome is Outcome.PAUSED
        journal.flush()
    reader = Journal.open(tmp_path / "database", name, url)
    assert repr(reader.trials()) == repr(in_file.trials()) == repr(in_database.trials())
    assert [t.mlflow_run_id for t in reader.trials()] == ["run-0", *[None] * 4, "run-5", None]
    expected = [plain(trial) for trial in in_file.study.get_trials()]
    theirs = optuna.load_study(study_name=name, storage=_plain(in_database))
    assert [plain(trial) for trial in theirs.get_trials()] == expected
    assert [plain(trial) for trial in reader.study.get_trials()] == expected
    assert theirs.get_trials()[6].state == TrialState.WAITING
    assert theirs.best_value == 2.0
    assert theirs.get_trials()[3].constraints[CONSTRAINT] == pytest.approx(1.8)


def _plain(journal):
    """The URL that Optuna alone is given."""
    return journal.storage.engine.url.render_as_string(hide_password=False)


def statements(journal):
    """Statements and commits from now on, as lists."""
    engine, sent, commits = journal.storage.engine, [], []
    event.listen(engine, "before_cursor_execute", lambda *a: sent.append(a[2]))
    event.listen(engine, "commit", commits.append)
    return sent, commits


def test_an_event_is_a_transaction_of_few_statements(server, name, tmp_path):
    journal = Journal.create(tmp_path, name, FACTS, server.url)
    told(journal, 0, [1.0] * 20)
    sent, commits = statements(journal)
    told(journal, 1, [1.0] * 20)
    assert len(commits) == 2, "it begins, and it ends"
    assert len(sent) <= 8
    before = len(sent)
    for number in range(2, 12):
        told(journal, number, [1.0] * 20)
    del sent[:]
    reader = Journal.open(tmp_path, name, server.url)
    sent, _ = statements(reader)
    assert len(reader.trials()) == 12
    assert len(sent) <= 12, "however many trials there are"
    assert before


def test_a_killed_driver_loses_no_more_than_a_tenth_of_a_second(server, name, tmp_path):
    journal = Journal.create(tmp_path, name, FACTS, server.url)
    told(journal, 0, [1.0])
    journal.begin(1, {}, {}, {"seed": 1, "loss": {"name": "a"}})
    for step in (10, 20):
        time.sleep(0.11)
        journal.report(1, Report(step, 0, 0.0, {"fd": 1.0}, 0.0))
        journal.tick()
    journal.report(1, Report(30, 0, 0.0, {"fd": 1.0}, 0.0))
    journal.tick()
    assert [r.step for r in Journal.open(tmp_path, name, server.url).trials()] == [10, 20]
    time.sleep(0.11)
    journal.tick()
    assert [r.step for r in Journal.open(tmp_path, name, server.url).trials()] == [10, 30]


def away(server, seconds):
    """Kill the server; it is there again after some time."""
    server.kill()
    threading.Timer(seconds, server.start).start()


def test_trials_are_the_same_whenever_the_server_was_killed(running, name, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "gansearch.journal")
    whole = Journal.create(tmp_path, f"{name} whole", FACTS, running.url)
    hurt = Journal.create(tmp_path, f"{name} hurt", FACTS, running.url)
    hurt.storage.patience = 60
    for number, (outcome, values) in enumerate(ENDS[:4]):
        told(whole, number, values, outcome)
    for number, (outcome, values) in enumerate(ENDS[:4]):
        if number == 0:
            running.kill(), running.start()  # its connection is dead, and nothing else
        elif number < 3:
            away(running, 1.0)
        else:
            hurt.begin(3, {"lr": 1e-4, "loss": None}, AXES, {"seed": 3, "loss": {"name": "a"}})
            del hurt._known[3]
            hurt.storage._last_begun -= 1  # as where nobody has heard of the commit
            away(running, 0.5)
        told(hurt, number, values, outcome)
    assert [plain(t) for t in hurt.study.get_trials()] == [plain(t) for t in whole.study.get_trials()]
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition("(")[0].strip() for line in said[::2]] == [
        "the database does not answer"
    ] * 3
    assert all(line.startswith("the database is back after") for line in said[1::2])
    assert len(said) == 6, "one line when it goes, one when it is back"


class Unheard(Exception):
    """The connection dies."""


@pytest.mark.parametrize("which", ["begin", "report and end"])
def test_what_was_written_and_not_confirmed_is_not_written_twice(server, name, tmp_path, which):
    """The server commits, and dies before it can say so."""
    journal = Journal.create(tmp_path, name, FACTS, server.url)
    journal.storage.patience = 60
    told(journal, 0, [1.0])
    engine, left = journal.storage.engine, [1]

    def dies(connection):
        if left and left.pop():
            connection.connection.dbapi_connection.commit()
            connection.connection.dbapi_connection.close()

    if which == "begin":
        event.listen(engine, "commit", dies)
    else:
        begin = journal.begin

        def listening(*args):
            begin(*args)
            event.listen(engine, "commit", dies)

        journal.begin = listening
    told(journal, 1, [1.0, 2.0])
    assert not left
    with engine.connect() as connection:  # Optuna's view of two of one number shows one
        of_study = f"select number from trials where study_id = {journal.study._study_id}"
        assert sorted(connection.scalars(text(of_study))) == [0, 1]
    trials = Journal.open(tmp_path, name, server.url).study.get_trials()
    assert [(t.number, t.state, t.value) for t in trials] == [
        (0, TrialState.COMPLETE, 1.0),
        (1, TrialState.COMPLETE, 1.0),
    ]
    assert set(trials[1].user_attrs) > {"report:10", "report:20", "outcome"}


def test_a_trial_of_somebody_else_s_is_not_taken_for_ours(server, name, tmp_path):
    journal = Journal.create(tmp_path, name, FACTS, server.url)
    told(journal, 0, [1.0])
    optuna.load_study(study_name=name, storage=_plain(journal)).ask()
    template = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"config": {}})
    engine = journal.storage.engine
    with engine.connect() as connection, pytest.raises(StudyError, match="somebody else writes"):
        journal.storage._look_for(journal.study._study_id, 1, template, connection)


def test_it_gives_up_resumably(running, name, tmp_path):
    journal = Journal.create(tmp_path, name, FACTS, running.url)
    told(journal, 0, [1.0])
    running.kill()
    begun = time.monotonic()
    journal.storage.patience = 1.0
    with pytest.raises(
        StorageError, match=r"does not answer .*: `gansearch resume` goes on when it does"
    ):
        told(journal, 1, [1.0])
    assert 1 <= time.monotonic() - begun < 5
    with pytest.raises(StorageError, match="gansearch resume"):
        journal.note_runs({0: "x"}), journal.flush()
    assert time.monotonic() - begun < 5, "on the way out it does not wait again"
    with pytest.raises(StorageError, match="cannot open the Optuna storage"):
        Journal.open(tmp_path, name, running.url)


def test_a_user_who_stops_does_not_wait_for_it(running, name, tmp_path):
    journal = Journal.create(tmp_path, name, FACTS, running.url)
    journal.storage.patience = 600
    stop = threading.Event()
    journal.heed(stop.is_set)
    running.kill()
    threading.Timer(0.5, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(StorageError, match="gansearch resume"):
        told(journal, 0, [1.0])
    assert time.monotonic() - begun < 5


def test_only_a_writer_waits(server, name, tmp_path, monkeypatch):
    Journal.create(tmp_path, name, FACTS, server.url)
    assert Journal.open(tmp_path, name, server.url).storage.patience == 0
    assert Journal.open(tmp_path, name, server.url, writer=True).storage.patience == 600
    monkeypatch.setenv("GANSEARCH_STORAGE_PATIENCE", "5")
    assert Journal.open(tmp_path, name, server.url, writer=True).storage.patience == 5
    monkeypatch.setenv("GANSEARCH_STORAGE_PATIENCE", "soon")
    with pytest.raises(UserError, match="GANSEARCH_STORAGE_PATIENCE=soon: is no number"):
        Journal.open(tmp_path, name, server.url, writer=True)


def test_what_waiting_does_not_mend_is_not_waited_for(server, name, tmp_path):
    journal = Journal.create(tmp_path, name, FACTS, server.url)
    told(journal, 0, [1.0])
    journal.storage.patience = 600
    with create_engine(journal.storage.engine.url).begin() as connection:
        connection.execute(text("alter table trial_user_attributes rename to lost"))
    try:
        with pytest.raises(StorageError, match="trial_user_attributes"):
            told(journal, 1, [1.0])
    finally:
        with create_engine(journal.storage.engine.url).begin() as connection:
            connection.execute(text("alter table lost rename to trial_user_attributes"))


def test_a_database_storage_is_one_of_optuna_s(tmp_path):
    storage = DatabaseStorage(f"sqlite:///{tmp_path}/x.db")
    study = optuna.create_study(storage=storage, study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert len(optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path}/x.db").trials) == 3
    assert json.dumps(study.best_params)


ROLE = "reader"


@pytest.fixture
def reader(running):
    """Of a database of its own: who may make no table in it, as PostgreSQL has it since version 15."""
    admin = create_engine(_with_driver(running.url), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE strict"))
        connection.execute(text(f"CREATE ROLE {ROLE} LOGIN"))
    url = running.url.replace("/postgres?", "/strict?")
    yield url, url.replace("tester@", f"{ROLE}@")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE strict WITH (FORCE)"))
        connection.execute(text(f"DROP ROLE {ROLE}"))
    admin.dispose()


def _with_driver(url):
    return url.replace("postgresql://", "postgresql+psycopg://")


def _tables(url):
    engine = create_engine(_with_driver(url))
    names = inspect(engine).get_table_names()
    engine.dispose()
    return names


def _granted(url, *grants):
    engine = create_engine(_with_driver(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for grant in grants:
            connection.execute(text(f"{grant} {'FROM' if grant.startswith('REVOKE') else 'TO'} {ROLE}"))
    engine.dispose()


def test_whether_tables_can_be_made_is_seen_without_making_them(reader, tmp_path):
    owner, url = reader
    planned = StoredStudy.planned("s", "s", tmp_path, url)
    _granted(owner, "REVOKE CREATE ON SCHEMA public")
    told = []
    for make in (False, True):  # as check asks, and as run does
        with pytest.raises(StorageError) as error:
            planned.check_unused(make=make)
        told.append(str(error.value))
    assert told[0] == told[1]
    assert told[0].startswith("cannot open the Optuna storage postgresql")
    assert told[0].endswith("permission denied for schema public")
    assert _tables(owner) == []
    _granted(owner, "GRANT CREATE ON SCHEMA public")
    planned.check_unused(make=False)
    assert _tables(owner) == [], "it only looks"
    planned.check_unused()
    assert "studies" in _tables(owner)


def test_whether_tables_that_are_there_can_be_written_is_seen(reader, tmp_path):
    owner, url = reader
    planned = StoredStudy.planned("s", "s", tmp_path, url)
    StoredStudy.planned("s", "s", tmp_path, owner).check_unused()
    _granted(owner, "GRANT SELECT ON ALL TABLES IN SCHEMA public")
    for make in (False, True):
        with pytest.raises(StorageError, match=r"cannot open .*: permission denied for table "):
            planned.check_unused(make=make)
    _granted(owner, "GRANT ALL ON ALL TABLES IN SCHEMA public")
    _granted(owner, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public")
    planned.check_unused(make=False)


CONFIG = {"loss": {"name": "hinge"}, "seed": 0}
RIGHTS = {
    "INSERT ON studies": "table studies",
    "INSERT ON trial_values": "table trial_values",
    "UPDATE ON trials": "table trials",
    "DELETE ON trials": "table trials",
    "UPDATE ON trial_params": "table trial_params",
    "USAGE ON SEQUENCE studies_study_id_seq": "sequence studies_study_id_seq",
    "USAGE ON SEQUENCE trial_params_param_id_seq": "sequence trial_params_param_id_seq",
}


def test_a_study_needs_no_other_rights_than_those_that_are_looked_for(reader, tmp_path):
    owner, url = reader
    planned = StoredStudy.planned("s", "s", tmp_path, url)
    StoredStudy.planned("s", "s", tmp_path, owner).check_unused()
    unwritten = ", ".join(UNWRITTEN)
    _granted(
        owner,
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public",
        f"REVOKE INSERT, UPDATE, DELETE ON {unwritten}",
        f"REVOKE UPDATE ON {', '.join(INSERTED)}",
    )
    for right, what in RIGHTS.items():
        _granted(owner, f"REVOKE {right}")
        for make in (False, True):
            with pytest.raises(StorageError, match=f"cannot open .*: permission denied for {what}$"):
                planned.check_unused(make=make)
        _granted(owner, f"GRANT {right}")
    planned.check_unused(make=False)
    journal = planned.create(FACTS, tmp_path)
    journal.begin(0, {"x": 0.5}, {"x": FloatDistribution(0, 1)}, CONFIG, origin="default")
    journal.report(0, Report(10, 160, 1.0, {"fd": 2.0}, 1.0))
    record = journal.wake(journal.pause(journal.trials()[0], "behind"), "ahead")
    journal.end(record, Outcome.COMPLETED)
    journal.flush()
    [trial] = Journal.open(tmp_path, "s", url).trials()
    assert (trial.outcome, trial.params) == (Outcome.COMPLETED, {"x": 0.5})
    journal.delete()  # as a stability study's is that a killed driver left
    with pytest.raises(StudyError, match="no study named 's'"):
        Journal.open(tmp_path, "s", url)


def test_an_sqlite_file_is_as_it_was(tmp_path):
    path = tmp_path / "team.db"
    planned = StoredStudy.planned("s", "s", tmp_path / "runs", f"sqlite:///{path}")
    planned.check_unused(make=False)
    assert not path.exists()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (x)")
    before = path.read_bytes()
    planned.check_unused(make=False)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["team.db"]

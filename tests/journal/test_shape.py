"""What is ill-shaped in a journal is told with its line by every command, and never by a traceback."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from optuna.distributions import FloatDistribution
from sqlalchemy import create_engine, text

from gansearch.errors import StorageError, StudyError
from gansearch.journal.directory import JOURNAL_FILE
from gansearch.journal.journal import Journal
from gansearch.journal.repair import explain, repair
from gansearch.study.records import Outcome, Report
from gansearch.study.roster import Candidate, Roster

CONFIG = {"loss": {"name": "hinge", "penalty": None}, "seed": 1}
FACTS = {
    "metric": "fd",
    "goal": "min",
    "steps": 100,
    "report_every": 10,
    "trials": 4,
    "digest": "d",
    "question": "Why?",
    "study": "question: Why?\n",
    "id": "i",
}


@pytest.fixture
def path(tmp_path):
    """A journal of a search of one trial, of which everything is told that can be."""
    (tmp_path / "study.yaml").write_text(FACTS["study"])
    journal = Journal.create(tmp_path, "s", FACTS | {"apart": ["so"], "gansearch": "0.2.0"})
    journal.begin(0, {"lr": 0.1}, {"lr": FloatDistribution(0, 1)}, CONFIG, origin="default")
    journal.report(0, Report(10, 640, 1.0, {"fd": 2.0, "x": float("nan")}, 1.7e9, usage={"y": 1.0}))
    journal.note(0, provenance={"fd": {"features": None}})
    record = journal.pause(journal.trials()[0], "behind")
    journal.end(journal.wake(record, "ahead"), Outcome.COMPLETED, "so")
    journal.note_runs({0: "f00"})
    journal.flush()
    return tmp_path / JOURNAL_FILE


def read(folder):
    """All that a reader asks of a journal."""
    journal = Journal.open(folder, "s")
    return journal.trials(), journal.asked, journal.roster, journal.planned


def change(path, key, value):
    """Have what a journal says of a key be another value, wherever in its lines that stands."""

    def changed(tree):
        if isinstance(tree, dict):
            return {k: value if k == key else changed(v) for k, v in tree.items()}
        return [changed(each) for each in tree] if isinstance(tree, list) else tree

    logs = [json.loads(line) for line in path.read_text().splitlines()]
    after = [changed(log) for log in logs]
    path.write_text("".join(json.dumps(log) + "\n" for log in after))
    pairs = enumerate(zip(map(json.dumps, logs), map(json.dumps, after), strict=True), 1)
    return [number for number, (one, other) in pairs if one != other]


def without(path, key):
    """Take the lines that say a fact out of a journal."""
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if key not in json.loads(line).get("user_attr", {})))


@pytest.mark.parametrize("key", FACTS)
def test_a_fact_that_is_missing_is_told(path, key):
    without(path, key)
    with pytest.raises(StorageError, match=rf"(?s){path} is damaged:.*{key}: is missing.*put a copy"):
        read(path.parent)
    with pytest.raises(StudyError, match="cannot be repaired"):
        repair(path)


@pytest.mark.parametrize("key", [*FACTS, "apart", "gansearch", "mlflow_run:0"])
def test_a_fact_of_another_type_is_told_with_its_line(path, key):
    (line,) = change(path, key, {"a": 1})
    with pytest.raises(
        StorageError, match=rf"(?s)line {line}: {key}: (needs|must be) .*gansearch repair"
    ):
        read(path.parent)


@pytest.mark.parametrize(
    "study",
    [
        *("", "a list", "- 1", "a: b: c", "search: 3", "search: {trials: x}", "stability: [1]"),
        *("resources: x", "resources: {cpus: {}}", "published: 3", "published: {values: x}"),
    ],
)
def test_a_study_file_in_the_journal_that_is_none_is_told(path, study):
    (line,) = change(path, "study", study)
    with pytest.raises(StorageError, match=rf"line {line}: study: is no study file"):
        read(path.parent)


ATTRIBUTES = {
    "config": [3, {}, {"loss": {"name": "x"}}, {"seed": 1, "loss": "hinge"}],
    "loss": [None, {"name": 3}, {"name": "x", "penalty": {}}],
    "seed": ["1", None, -1, True],
    "origin": [3],
    "provenance": [3, {"fd": 3}],
    "chances": [3, [3], [{"step": "x", "paused": ""}], [{"step": 1, "paused": "", "novel": 1}]],
    "outcome": ["vanished", 3],
    "reason": [3, None, "half of a character: \ud800"],
    "blameless": ["yes", 1],
    "ended_after": ["1", -1, None],
    "report:10": [3, {}, {"step": 3}],
    "images": ["x", None, 1.5, -1],
    "seconds": ["x", None, float("nan"), float("inf")],
    "time": ["x", None, float("nan")],
    "metrics": [3, {"fd": "x"}, {"fd": None}],
    "usage": [3, {"y": "x"}],
    "params": [3, {"lr": "x"}],
    "distributions": [3, {"lr": 3}, {"lr": "{}"}],
    "intermediate_value": ["x"],
    "step": ["x", None],
    "values": [3, ["x"]],
    "state": ["x", 9, None],
    "datetime_start": [3, "x", [1]],
    "datetime_complete": [3, "x"],
    "trial_id": ["x", 10**12, None],
    "user_attrs": [3],
    "study_name": [3],
    "directions": [3, [7]],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, many in ATTRIBUTES.items() for v in many])
def test_a_record_of_another_type_is_told_with_its_lines_and_repaired(path, key, value):
    lines = change(path, key, value)
    assert lines
    with pytest.raises(StorageError, match=rf"(?s)line {lines[0]}: .*gansearch repair"):
        read(path.parent)
    if key in ("study_name", "directions"):
        with pytest.raises(StudyError, match="cannot be repaired"):
            repair(path)
        return
    done = repair(path)
    found = [damage.line for damage in done.damages]
    assert found[0] == lines[0]
    assert set(found) <= set(lines)  # what belongs to a trial whose beginning is lost is read
    assert explain(path, "s") is None
    read(path.parent)


@pytest.mark.parametrize("state", [1, 2, 3])
def test_a_trial_that_has_ended_and_whose_outcome_is_lost_has_one(path, state):
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"outcome":' not in line or '"report:' in line]
    assert len(kept) == len(lines) - 1
    path.write_text("".join(kept).replace('"state":1', f'"state":{state}'))
    (record,) = Journal.open(path.parent, "s", writer=True).trials()
    assert record.outcome == ("completed", "pruned", "failed")[state - 1]
    assert record.reason == "its outcome is lost"


def test_a_kind_of_record_that_nobody_knows_may_be_of_a_newer_version(path):
    with path.open("a") as file:
        file.write(json.dumps({"op_code": 12, "worker_id": "w", "novel": 1}) + "\n")
    with pytest.raises(StorageError, match=r"line \d+: is a record of kind 12, .*of a newer one"):
        read(path.parent)


CANDIDATE = {"label": "a", "kind": "search", "config": {"loss": {"name": "hinge"}}}


@pytest.mark.parametrize(
    "roster",
    [
        3,
        {},
        {"candidates": [3], "entries": []},
        {"candidates": [{"label": "a", "kind": "new", "config": {}}], "entries": []},
        {"candidates": [], "entries": [["a", "x"]]},
        {"candidates": [], "entries": [["a", 1]]},
        {"candidates": [{"label": "a", "kind": "search", "config": {}}], "entries": []},
        {"candidates": [CANDIDATE, CANDIDATE], "entries": []},
        {"candidates": [], "entries": [["a", 1, 2]]},
    ],
)
def test_a_roster_of_another_shape_is_told(path, roster):
    search = Journal.open(path.parent, "s", writer=True)
    known = Roster((Candidate("a", "search", CONFIG),), (("a", 11),))
    folder = path.parent / "stability"
    search.create_stability(folder, known, {})
    assert search.open_stability(folder).roster == known
    (line,) = change(folder / JOURNAL_FILE, "roster", roster)
    with pytest.raises(StorageError, match=rf"(?s)stability/journal.log.*line {line}: roster.*repair"):
        search.open_stability(folder)


def test_what_is_wrong_in_a_database_is_told_with_the_study(tmp_path):
    url = f"sqlite:///{tmp_path}/team.db"
    journal = Journal.create(tmp_path, "s", FACTS, url)
    journal.begin(0, {}, {}, CONFIG)
    journal.flush()
    tables = {"study": "steps", "trial": "config"}
    for table, key in tables.items():
        with create_engine(url).begin() as connection:
            words = f"UPDATE {table}_user_attributes SET value_json = :new WHERE key = '{key}'"
            before = f"SELECT value_json FROM {table}_user_attributes WHERE key = '{key}'"
            genuine = connection.execute(text(before)).scalar()
            connection.execute(text(words), {"new": '"x"'})
        with pytest.raises(StorageError, match=f"(?s)'s' in its database is damaged.*{key}.*copy of"):
            Journal.open(tmp_path, "s", url).trials()
        with create_engine(url).begin() as connection:
            connection.execute(text(words), {"new": genuine})
    assert len(Journal.open(tmp_path, "s", url).trials()) == 1


@pytest.mark.parametrize("key", ["question", "steps"])
def test_a_command_ends_with_the_sentence_and_2(path, key):
    change(path, key, ["x"])
    words = [sys.executable, "-m", "gansearch", "status", str(path.parent)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert f"{key}: needs" in ended.stderr
    assert "Traceback" not in ended.stderr

"""A study's tables and its state, from a real journal."""

from __future__ import annotations

import json
import math

import pytest
from optuna.distributions import FloatDistribution
from synthetic import evidence

from gansearch.analysis.evidence import gather, read_records
from gansearch.analysis.tables import curves_table, state_of, status, trials_table
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.facts import APART, DASHBOARD
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.study.records import Outcome, Report, strict_json
from gansearch.study.roster import Candidate, Roster

FACTS = {"metric": "fd", "goal": "min", "steps": 30, "trials": 4}
FACTS |= {"question": "", "study": "question: ''", "id": "0", "digest": "abc", "report_every": 10}
LEAST = {"loss": {"name": "hinge"}, "seed": 0}

ENDS = {
    0: ((5.0, 4.0), Outcome.PRUNED),
    1: ((math.nan, math.nan), Outcome.DIVERGED),
    2: ((3.0, 1.0, 9.0), Outcome.COLLAPSED),
    3: ((), Outcome.RUNNING),
}


@pytest.fixture
def study(tmp_path):
    """A study of four trials, of which the last was running when its driver was killed."""
    directory = StudyDirectory(tmp_path / "s")
    directory.path.mkdir()
    journal = Journal.create(directory.path, "s", FACTS)
    for number, (values, outcome) in ENDS.items():
        lr = 10.0**-number
        journal.begin(number, {"lr": lr}, {"lr": FloatDistribution(1e-5, 1)}, {"lr": lr} | LEAST)
        for i, value in enumerate(values):
            journal.report(number, Report(10 * i + 10, 640, i + 0.5, {"fd": value}, 0.0))
        if outcome.ended:
            journal.end(journal.trials()[number], outcome, "why")
    return directory, journal


def test_trials_are_rows_best_first(study):
    _, journal = study
    table = trials_table(journal.trials(), "fd", "min")
    assert list(table.index) == [2, 0, 1, 3]
    assert table.loc[2, ["outcome", "best_step", "best.fd", "last.fd"]].tolist() == [
        "collapsed",
        20,
        1.0,
        9.0,
    ]
    assert table.loc[0, "param.lr"] == 1.0
    assert math.isnan(table.loc[1, "best.fd"])
    assert list(trials_table(journal.trials(), "fd", "max").index[:2]) == [2, 0]


def test_reports_are_rows(study):
    _, journal = study
    curves = curves_table(journal.trials())
    assert curves.groupby("number")["step"].max().to_dict() == {0: 20, 1: 20, 2: 30}
    assert curves.query("number == 2")["fd"].tolist() == [3.0, 1.0, 9.0]


def test_tables_of_nothing_have_their_columns():
    assert trials_table([], "fd", "min").index.name == "number"
    assert "outcome" in trials_table([], "fd", "min")
    assert {"number", "step"} <= set(curves_table([]).columns)


def test_the_state_of_a_study(study):
    _, journal = study
    records = journal.trials()
    assert state_of(records, 4, running=False) == "interrupted"
    assert state_of(records, 3, running=False) == "finished"
    assert state_of([], 3, running=False) == "interrupted"


def test_what_runs_is_running_while_there_is_a_driver(study):
    _, journal = study
    for running, outcome in ((True, Outcome.RUNNING), (False, Outcome.INTERRUPTED)):
        assert [record.outcome for record in read_records(journal, running=running)] == [
            *(ends[1] for ends in list(ENDS.values())[:3]),
            outcome,
        ]


@pytest.mark.parametrize(
    ("trials", "told"), [(4, "in the stability study: runs alone"), (0, "runs alone")]
)
def test_of_which_phase_something_is_told_is_said_where_there_are_two(tmp_path, trials, told):
    directory = StudyDirectory(tmp_path / "s")
    directory.path.mkdir()
    study = StoredStudy(directory)
    search = Journal.create(directory.path, "s", FACTS | {"trials": trials})
    candidate = Candidate("x", "given", LEAST)
    study.create_stability(search, Roster((candidate,), (("x", 1),)), {APART: ["runs alone"]})
    assert gather(study).apart == [told]


@pytest.mark.parametrize(
    ("held", "devices"),
    [("{gpus: 0.5, cpus: 3}", 0.5), ("{gpus: 0, cpus: 3}", 3.0), ("{gpus: 0}", 1.0), ("null", 1.0)],
)
def test_what_a_trial_holds_is_a_share_of_a_gpu_or_else_cpus(tmp_path, held, devices):
    directory = StudyDirectory(tmp_path / "s")
    directory.path.mkdir()
    Journal.create(directory.path, "s", FACTS | {"study": f"resources: {held}"})
    assert gather(StoredStudy(directory)).devices == devices


def test_status_tells_all_and_is_json(study):
    directory, _ = study
    found = status(gather(StoredStudy(directory)))
    assert list(found) == [
        "study",
        "state",
        "dashboard",
        "objective",
        "over",
        "counts",
        "trials",
        "best",
        "second_chances",
        "stability",
        "costs",
        "lanes",
    ]
    assert (found["study"], found["state"]) == ("s", "interrupted")
    assert found["objective"] == {"metric": "fd", "goal": "min"}
    assert found["counts"] == {"pruned": 1, "diverged": 1, "collapsed": 1, "interrupted": 1}
    assert [trial["number"] for trial in found["trials"]] == [0, 1, 2, 3]
    assert set(found["trials"][0]) == {
        *("number", "origin", "outcome", "reason", "step", "params", "metrics", "best", "seconds"),
        *("usage", "mlflow_run_id", "chances"),
    }
    assert found["best"] == found["trials"][2]
    assert found["best"]["best"] == {"step": 20, "value": 1.0, "metrics": {"fd": 1.0}}
    assert (found["best"]["metrics"], found["best"]["reason"]) == ({"fd": 9.0}, "why")
    assert found["trials"][1]["best"] is None
    assert found["trials"][3]["outcome"] == "interrupted", "its driver could not say so"
    again = json.loads(json.dumps(strict_json(found), allow_nan=False))
    assert again["trials"][1]["metrics"] == {"fd": None}


def test_seeds_that_failed_are_told_with_why():
    found = evidence(trials=30, top=3, seeds=6, reports=4)
    told = status(found)["stability"]
    failed = [record for record in found.stability if record.outcome.unhealthy]
    assert failed
    assert [each["number"] for each in told["failures"]] == [record.number for record in failed]
    labels = {each["label"] for each in told["configurations"]}
    assert {each["configuration"] for each in told["failures"]} <= labels
    assert told["failures"][0]["reason"] == failed[0].reason


def test_ray_s_dashboard_is_told_while_a_driver_is_at_work(study):
    directory, journal = study
    page = "http://127.0.0.1:8265/#/jobs/01000000"
    journal.study.set_user_attr(DASHBOARD, page)
    assert status(gather(StoredStudy(directory)))["dashboard"] == ""
    with StoredStudy(directory).held():
        assert status(gather(StoredStudy(directory)))["dashboard"] == page


def test_a_study_without_a_value_has_no_best(tmp_path):
    directory = StudyDirectory(tmp_path)
    journal = Journal.create(tmp_path, "s", FACTS)
    assert status(gather(StoredStudy(directory)))["best"] is None
    journal.begin(0, {}, {}, LEAST)
    assert status(gather(StoredStudy(directory)))["best"] is None

"""A study's report in MLflow, once and again."""

import math
import socket

import pytest

from gansearch.errors import UserError
from gansearch.study.records import Outcome
from gansearch.tracking import default_store, log_report, sync
from gansearch.tracking.client import open_client
from gansearch.tracking.views import SUMMARY

from .helpers import STUDY, picture, seed, trial

LONG = "x" * 9000


@pytest.fixture
def uri(runs_dir, tracker):
    """A store with a search, and an interrupted stability study of two configurations."""
    sync(tracker(), [trial(0)], "FINISHED")
    records = [seed(0, "trial 0", 11), seed(1, LONG, 21, Outcome.RUNNING)]
    sync(tracker(phase="stability"), records, "KILLED")
    return default_store(runs_dir)[0]


@pytest.fixture
def files(tmp_path):
    def write(text):
        paths = [tmp_path / name for name in ("report.html", "configurations.csv")]
        for path in paths:
            path.write_text(text)
        return paths

    return write


def metrics(uri):
    """Of the configurations, by their seeds' number."""
    client = open_client(uri)
    found = client.search_runs([client.get_experiment_by_name(STUDY).experiment_id])
    runs = {run.data.tags.get("gansearch.configuration"): run for run in found}
    labels = {run.info.run_name: run for run in found if run.info.run_name in runs}
    return [dict(labels[name].data.metrics) for name in sorted(labels)]


def test_a_report_is_logged_and_no_status_changes(uri, files, tmp_path):
    before = picture(uri)
    summaries = {
        "trial 0": dict.fromkeys(SUMMARY, 0.5) | {"score[%]": 1},
        LONG: {"rank": 2, "iqm": math.inf, "success_rate": math.nan},
        "trial 9": {"rank": 3},
    }
    tags = {"gansearch.report": "y" * 9000}
    assert log_report(uri, STUDY, files("first"), summaries, tags=tags) == ["trial 9"]
    after = picture(uri)
    statuses = {name: (run["status"], run["times"]) for name, run in before.items()}
    assert {name: (run["status"], run["times"]) for name, run in after.items()} == statuses
    assert metrics(uri) == [dict.fromkeys(SUMMARY, 0.5) | {"score___": 1}, {"rank": 2}]
    parent = after[STUDY]
    assert parent["files"] == ["report", "study.yaml"]
    assert parent["tags"]["gansearch.report"].endswith("…")
    path = open_client(uri).download_artifacts(parent["id"], "report/report.html", str(tmp_path))
    assert (tmp_path / path).read_text() == "first"


def test_the_studys_description_leads_to_the_report(uri, files):
    def note():
        return picture(uri)[STUDY]["tags"].get("mlflow.note.content")

    log_report(uri, STUDY, files("first"))
    run_id = picture(uri)[STUDY]["id"]
    said = note()
    assert f"/runs/{run_id}/artifacts/report/report.html)" in said
    assert "csv" not in said
    second = files("second")
    second.append(second[0].with_name("trials.html"))
    second[-1].write_text("all trials")
    log_report(uri, STUDY, second)
    assert "[trials.html](" in note()
    open_client(uri).set_tag(run_id, "mlflow.note.content", "my own words")
    log_report(uri, STUDY, files("third"))
    assert note() == "my own words"


def test_a_later_report_takes_the_place_of_an_earlier_one(uri, files, tmp_path):
    log_report(uri, STUDY, files("first"), {"trial 0": {"rank": 1, "iqm": 3}, LONG: {"rank": 2}})
    log_report(uri, STUDY, files("second"), {"trial 0": {"rank": 2, "iqm": math.nan, "mean": 7}})
    first, other = metrics(uri)
    assert (first["rank"], first["mean"]) == (2, 7)
    assert math.isnan(first["iqm"])
    assert math.isnan(other["rank"])
    log_report(uri, STUDY, files("third"), {"trial 0": {"rank": 1, "iqm": 4}})
    assert metrics(uri)[0]["iqm"] == 4
    run_id = picture(uri)[STUDY]["id"]
    path = open_client(uri).download_artifacts(run_id, "report/configurations.csv", str(tmp_path))
    assert (tmp_path / path).read_text() == "third"


def test_the_tracker_leaves_a_report_as_it_is(uri, files, tracker):
    log_report(uri, STUDY, files("first"), {"trial 0": {"rank": 1}})
    records = [seed(0, "trial 0", 11), seed(1, LONG, 21), seed(2, "trial 0", 12)]
    assert sync(tracker(phase="stability"), records, "FINISHED") == 0
    assert metrics(uri)[0] == {"rank": 1}
    assert picture(uri)[STUDY]["files"] == ["report", "study.yaml"]


def test_a_search_alone_has_a_report_too(tracker, runs_dir, files):
    uri, _ = default_store(runs_dir)
    sync(tracker(), [trial(0)], "FINISHED")
    assert log_report(uri, STUDY, files("first")) == []
    assert picture(uri)[STUDY]["files"] == ["report", "study.yaml"]


def test_a_study_that_mlflow_does_not_have(uri, files, tmp_path):
    with pytest.raises(UserError, match="no study 'unknown' yet"):
        log_report(uri, "unknown", files("first"))
    with pytest.raises(UserError, match="no study"):
        log_report(uri, STUDY, files("first"), identity="another of this name")
    with pytest.raises(UserError, match="no study"):
        log_report(f"sqlite:///{tmp_path}/none.db", STUDY, files("first"))
    assert not (tmp_path / "none.db").exists()


def test_a_server_that_is_gone(files):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"127.0.0.1:{gone.getsockname()[1]}"
    with pytest.raises(UserError, match="does not answer: Connection refused") as caught:
        log_report(f"http://name:secret@{address}", STUDY, files("first"))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_sent(uri, tmp_path):
    with pytest.raises(UserError, match="does not take the report"):
        log_report(uri, STUDY, [tmp_path / "missing.html"])

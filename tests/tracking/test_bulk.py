"""Many new runs at once: as if they had come one by one."""

import re
import shutil
import sys
from pathlib import Path

import pytest

from gansearch.study.records import Outcome
from gansearch.tracking import default_store, sync
from gansearch.tracking.bulk import takes_many
from gansearch.tracking.client import open_client
from gansearch.tracking.runs import StudyRuns

from .helpers import STUDY, picture, report, seed, trial


def comparable(seen):
    """What MLflow shows, but for ids and what depends on the clock."""
    names = {run["id"]: name for name, run in seen.items()}
    found = {}
    for name, run in seen.items():
        tags = {k: names.get(v, v) for k, v in run["tags"].items() if not k.startswith("mlflow.shared")}
        images = [
            re.split("[+%]timestamp", path)[0] for path in run["images"]
        ]  # the rest of it is made up
        parts = {"tags": tags, "images": images, "times": run["times"] if run["points"] else ()}
        found[name] = {k: v for k, v in run.items() if k != "id"} | parts
    return found


def configs(seen, client):
    runs = {name: client.get_run(run["id"]) for name, run in seen.items()}
    files = {n: Path(run.info.artifact_uri.removeprefix("file://")) for n, run in runs.items()}
    texts = {n: (file / "config.yaml") for n, file in files.items()}
    return {n: text.read_text() for n, text in texts.items() if text.exists()}


@pytest.fixture
def sends(monkeypatch):
    """How many trials each call sent together, and one by one."""
    told = {"together": [], "singly": []}
    many, one = StudyRuns.send_new, StudyRuns.send

    def send_new(runs, records):
        sent = many(runs, records)
        told["together"].append(len(sent))
        return sent

    def send(runs, record):
        told["singly"].append(record.number)
        return one(runs, record)

    monkeypatch.setattr(StudyRuns, "send_new", send_new)
    monkeypatch.setattr(StudyRuns, "send", send)
    return told


def records_of_search():
    records = [trial(n, outcome=outcome, reason="so") for n, outcome in enumerate(Outcome)]
    records[3].reports[1] = report(200, fd=float("nan"), **{"loss.d": float("inf")})
    return [*records, trial(20, steps=0, outcome=Outcome.FAILED)]


def records_of_stability():
    ends = (Outcome.COMPLETED, Outcome.DIVERGED, Outcome.COMPLETED, Outcome.RUNNING)
    return [seed(n, f"trial {n % 2}", 1000 + n, outcome) for n, outcome in enumerate(ends)]


@pytest.mark.parametrize("phase", ["search", "stability"])
def test_together_they_are_what_they_are_one_by_one(
    tracker, runs_dir, migrated, sends, monkeypatch, phase, tmp_path
):
    records = records_of_search() if phase == "search" else records_of_stability()
    uri, _ = default_store(runs_dir)
    client = open_client(uri)
    mirror = tracker(phase=phase)
    assert sync(mirror, records, "KILLED") == 0
    assert max(sends["together"]) > 1
    first = picture(uri)
    read = comparable(first)
    texts = configs(first, client)

    (tmp_path / "other").mkdir()
    shutil.copy(migrated, tmp_path / "other" / "mlflow.db")
    other, artifacts = default_store(tmp_path / "other")
    sends["singly"].clear()
    monkeypatch.setattr(sys.modules[StudyRuns.__module__], "takes_many", lambda *_: False)
    assert sync(tracker(other, artifacts=artifacts, phase=phase), records, "KILLED") == 0
    assert sorted(set(sends["singly"])) == [record.number for record in records]
    second = picture(other)
    shown = comparable(second)
    for name, run in read.items():
        for what, value in run.items():
            assert shown[name][what] == value, (name, what)
    assert shown.keys() == read.keys()
    assert configs(second, open_client(other)) == texts


def test_what_came_together_goes_on_one_by_one(tracker, runs_dir, sends):
    uri, _ = default_store(runs_dir)
    records = [trial(n, outcome=Outcome.RUNNING) for n in range(3)]
    assert sync(tracker(), records, "KILLED") == 0
    for record in records:
        record.reports.append(report(400))
        record.outcome = Outcome.COMPLETED
    sends["together"].clear()
    assert sync(tracker(), records, "FINISHED") == 0
    assert max(sends["together"]) == 0
    seen = picture(uri)
    assert set(seen) == {STUDY, *(f"{n:04d} completed" for n in range(3))}
    assert {
        len([p for p in seen[f"{n:04d} completed"]["points"] if p[0] == "fd"]) for n in range(3)
    } == {4}


def test_one_that_mlflow_refuses_is_refused_alone(tracker, runs_dir):
    uri, _ = default_store(runs_dir)
    records = [trial(n) for n in range(3)]
    records[1].reports[0] = report(100, **{"a//b": 1.0})
    mirror = tracker()
    assert sync(mirror, records, "FINISHED") == 1
    assert list(mirror.unsent()) == [1]
    assert {"0000 completed", "0002 completed"} < set(picture(uri))


def test_only_files_of_this_machine_take_many(runs_dir):
    uri, artifacts = default_store(runs_dir)
    client = open_client(uri)
    assert takes_many(client, client.create_experiment("here", artifacts))
    assert not takes_many(client, client.create_experiment("there", "s3://bucket/artifacts"))

"""The mirror against a real SQLite store: complete, idempotent, and never in the way."""

import http.server
import json
import logging
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gansearch.study.document import parse_document
from gansearch.study.records import Chance, Outcome, TrialRecord
from gansearch.tracking import away, comparison_url, default_store, sync
from gansearch.tracking.client import open_client
from gansearch.tracking.tracker import CLOSING_TRIES

from .helpers import STUDY, picture, report, trial, until

ENDINGS = [outcome for outcome in Outcome if outcome.ended]


@pytest.fixture
def uri(runs_dir):
    return default_store(runs_dir)[0]


def without_parent(seen):
    return {name: run for name, run in seen.items() if name != STUDY}


def test_importing_it_does_not_import_mlflow():
    code = "import gansearch.tracking, sys; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_study_is_mirrored_in_full(tracker, uri):
    records = [trial(n, outcome=outcome, reason="so") for n, outcome in enumerate(ENDINGS)]
    mirror = tracker()
    assert sync(mirror, records, "FINISHED", tags={"best": "0000"}, metrics={"best.fd": 3.0}) == 0
    assert mirror.unsent() == {}

    seen = picture(uri)
    assert set(seen) == {STUDY} | {f"{n:04d} {o.value}" for n, o in enumerate(ENDINGS)}
    parent, run = seen[STUDY], seen["0000 completed"]
    assert parent["status"] == "FINISHED"
    assert parent["tags"]["best"] == "0000"
    assert parent["tags"]["gansearch.version"] == "0"
    assert parent["tags"]["gansearch.axes"] == "loss.name"
    assert parent["files"] == ["study.yaml"]
    assert run["status"] == "FINISHED"
    assert run["tags"]["mlflow.parentRunId"] == parent["id"]
    assert '"samples": 1000' in run["tags"]["provenance.fd"]
    assert run["params"]["loss.name"] == "hinge"
    assert [(s, v) for k, s, v, _ in run["points"] if k == "fd"] == [
        (100, 10.0),
        (200, 5.0),
        (300, 1000 / 300),
    ]
    assert run["files"] == ["config.yaml", "images"]
    assert len(run["images"]) == 2  # step 200, and MLflow's compressed copy of it
    assert {r["status"] for r in seen.values()} == {"FINISHED", "KILLED", "FAILED"}
    assert mirror.run_ids() == {n: seen[f"{n:04d} {o.value}"]["id"] for n, o in enumerate(ENDINGS)}
    assert mirror.run_ids() == {}


def test_the_configuration_can_be_read_back(tracker, uri, tmp_path):
    record = trial(0)
    sync(tracker(), [record], "FINISHED")
    run_id = picture(uri)["0000 completed"]["id"]
    path = open_client(uri).download_artifacts(run_id, "config.yaml", str(tmp_path))
    text = (tmp_path / path).read_text()
    assert parse_document(text, "config.yaml").tree == record.config


def test_the_comparison_view_is_laid_out(tracker, uri):
    sync(tracker(), [trial(0), trial(1)], "FINISHED")
    address = comparison_url("http://127.0.0.1:5000", uri, STUDY, charts=True)
    key = re.search(r"viewStateShareKey=([\w-]+)", address)[1]
    tags = open_client(uri).get_experiment_by_name(STUDY).tags
    view = json.loads(tags[f"mlflow.sharedViewState.{key}"])
    assert view["orderByKey"] == "metrics.`best.fd`"
    assert view["orderByAsc"] is True
    first = ["metrics.`best.fd`", "params.`loss.name`"]
    assert view["selectedColumns"][:2] == first
    assert view["columnOrder"][1:3] == first, "beside the runs' names"
    assert picture(uri)[STUDY]["id"] in view["searchFilter"]


def test_doing_it_again_changes_nothing(tracker, uri):
    records = [trial(n, outcome=o) for n, o in enumerate(ENDINGS)]
    assert sync(tracker(), records, "FINISHED") == 0
    before = picture(uri)
    assert sync(tracker(), records, "FINISHED") == 0
    after = picture(uri)
    assert without_parent(after) == without_parent(before)
    assert after[STUDY]["id"] == before[STUDY]["id"]


def test_points_arrive_as_they_are_made(tracker, uri):
    record = trial(0, steps=0, outcome=Outcome.RUNNING)
    mirror = tracker()
    for step in (100, 200, 300):
        record.reports.append(report(step))
        mirror.submit(record)
        wanted = str(len(record.reports))
        until(
            lambda wanted=wanted: (
                STUDY in (seen := picture_or_nothing(uri))
                and seen.get("0000", {}).get("tags", {}).get("gansearch.reports") == wanted
            )
        )
    record.outcome = Outcome.PRUNED
    mirror.submit(record)
    assert mirror.finish("FINISHED") == 0
    run = picture(uri)["0000 pruned"]
    assert [s for k, s, _, _ in run["points"] if k == "fd"] == [100, 200, 300]
    assert run["status"] == "KILLED"


def picture_or_nothing(uri):
    return picture(uri) if open_client(uri).get_experiment_by_name(STUDY) else {}


def test_a_restart_goes_on_with_the_same_runs(tracker, uri):
    """As after a kill: nobody has noted the run's id, and the last report reached only MLflow."""
    record = trial(0, steps=3, outcome=Outcome.RUNNING)
    first = tracker()
    first.submit(record)
    until(first.run_ids)
    del record.reports[-1]
    second = tracker()
    second.submit(record)
    until(lambda: not second.unsent())
    record.reports += [report(300), report(400)]
    record.outcome = Outcome.COMPLETED
    second.submit(record)
    assert second.finish("FINISHED") == 0
    run = picture(uri)["0000 completed"]
    assert [s for k, s, _, _ in run["points"] if k == "fd"] == [100, 200, 300, 400]
    assert len(run["images"]) == 4
    assert second.run_ids() == {0: run["id"]}


def test_a_driver_killed_in_the_middle_leaves_one_run_per_trial(tracker, uri, tmp_path):
    artifacts = tmp_path.as_uri()
    code = f"""
import time
from gansearch.tracking import Tracker, tracker as module
from tracking.helpers import STUDY, Outcome, trial
module.TOGETHER = 2
mirror = Tracker({uri!r}, STUDY, metric="fd", goal="min", interval=0.01, artifacts={artifacts!r})
for number in range(60):
    mirror.submit(trial(number, outcome=Outcome.RUNNING))
time.sleep(60)
"""
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    driver = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=env)
    try:
        until(lambda: len(picture_or_nothing(uri)) > 10)
    finally:
        driver.kill()
        driver.wait()
    count = len(picture(uri)) - 1
    assert sync(tracker(), [trial(n) for n in range(count + 2)], "FINISHED") == 0
    seen = picture(uri)  # which sees to it that no run is there twice
    assert set(seen) == {STUDY} | {f"{n:04d} completed" for n in range(count + 2)}
    assert {len(run["points"]) for run in without_parent(seen).values()} == {3 * 6}


def test_an_interrupted_study_is_killed_and_goes_on(tracker, uri):
    records = [trial(0, outcome=Outcome.RUNNING), trial(1, outcome=Outcome.INTERRUPTED)]
    assert sync(tracker(), records, "KILLED") == 0
    seen = picture(uri)
    assert {run["status"] for run in seen.values()} == {"KILLED"}
    assert seen["0000 interrupted"]["tags"]["gansearch.outcome"] == "interrupted"

    mirror = tracker()
    records[1].outcome = Outcome.RUNNING
    for record in records:
        mirror.submit(record)
    until(lambda: len(picture(uri)) == 3 and not mirror.unsent())
    assert {run["status"] for run in picture(uri).values()} == {"RUNNING"}
    for record in records:
        record.outcome = Outcome.COMPLETED
        mirror.submit(record)
    assert mirror.finish("FINISHED") == 0
    again = picture(uri)
    assert set(again) == {STUDY, "0000 completed", "0001 completed"}
    assert again["0000 completed"]["tags"]["mlflow.note.content"] == "completed at step 300"
    assert {run["id"] for run in again.values()} == {run["id"] for run in seen.values()}


def test_a_paused_trial_is_one_run_that_is_scheduled_and_goes_on(tracker, uri):
    record, other = trial(0, outcome=Outcome.RUNNING), trial(1, outcome=Outcome.RUNNING)
    mirror = tracker()

    def show(outcome, reason="", *, woken=""):
        chances = [Chance(300, "behind, at step 300", woken)] if reason or woken else []
        now = replace(record, outcome=outcome, reason=reason, chances=chances)
        mirror.submit(now)
        until(lambda: not mirror.unsent() and len(picture(uri)) == 3)
        return next(run for run in without_parent(picture(uri)).values() if run["id"] == ids[0])

    for each in (record, other):
        mirror.submit(each)
    until(lambda: len(picture(uri)) == 3 and not mirror.unsent())
    ids = mirror.run_ids()
    run = show(Outcome.PAUSED, "behind, at step 300")
    assert (run["status"], run["times"][1]) == ("SCHEDULED", None)
    assert run["tags"]["mlflow.note.content"] == "paused at step 300: behind, at step 300"
    assert mirror.finish("KILLED") == 0
    seen = picture(uri)
    assert seen["0000 paused"]["status"] == "SCHEDULED", "it is not interrupted"
    assert seen["0001 interrupted"]["status"] == "KILLED"

    mirror = tracker()
    run = show(Outcome.RUNNING, woken="among the best, at step 300")
    assert run["status"] == "RUNNING"
    assert run["tags"]["gansearch.woken"] == "1 time, last: among the best, at step 300"
    run = show(Outcome.PRUNED, "in the end", woken="among the best, at step 300")
    assert run["status"] == "KILLED"
    assert run["times"][1] is not None
    assert mirror.finish("FINISHED") == 0
    assert set(picture(uri)) == {STUDY, "0000 pruned", "0001 interrupted"}


def test_a_run_made_twice_is_made_one(tracker, uri):
    sync(tracker(), [trial(0)], "KILLED")
    seen = picture(uri)
    client = open_client(uri)
    experiment = client.get_experiment_by_name(STUDY).experiment_id
    tags = {"mlflow.parentRunId": seen[STUDY]["id"], "gansearch.trial": "0"}
    client.create_run(experiment, tags=tags)
    sync(tracker(), [trial(0)], "FINISHED")
    assert without_parent(picture(uri)) == without_parent(seen)


def test_studies_of_one_name_stay_apart(tracker, uri):
    sync(tracker(identity="a"), [trial(0)], "FINISHED")
    sync(tracker(identity="b"), [trial(0)], "FINISHED")
    experiment = open_client(uri).get_experiment_by_name(STUDY).experiment_id
    runs = open_client(uri).search_runs([experiment])
    assert sorted(run.info.run_name for run in runs) == ["0000 completed"] * 2 + [STUDY] * 2


def test_a_deleted_experiment_is_restored(tracker, uri, caplog):
    sync(tracker(), [trial(0)], "FINISHED")
    client = open_client(uri)
    client.delete_experiment(client.get_experiment_by_name(STUDY).experiment_id)
    assert sync(tracker(), [trial(0), trial(1)], "FINISHED") == 0
    assert "was deleted" in caplog.text
    assert "0001 completed" in picture(uri)


def test_more_than_mlflow_takes_in_one_call(tracker, uri):
    record = trial(0, steps=60)
    for one in record.reports:
        one.metrics.update({f"m{k}": float(k) for k in range(30)})
    record.config["generator"] |= {f"option{k}": k for k in range(250)}
    record.provenance = {f"m{k}": {"k": k} for k in range(150)}
    assert sync(tracker(samples=lambda n, s: None), [record], "FINISHED") == 0
    run = picture(uri)["0000 completed"]
    assert len(run["points"]) == 60 * (30 + 2 + 4)
    assert sum(key.startswith("generator.option") for key in run["params"]) == 250
    assert sum(key.startswith("provenance.") for key in run["tags"]) == 150


def test_a_trial_that_mlflow_refuses_does_not_hold_up_the_others(tracker, uri, caplog):
    poison = trial(0)
    poison.reports[0].metrics["../up"] = 1.0
    broken = trial(1)
    broken.config = {"loss": object()}
    mirror = tracker()
    assert sync(mirror, [poison, broken, trial(2)], "FINISHED") == 2
    assert set(mirror.unsent()) == {0, 1}
    assert "../up" in mirror.unsent()[0]
    assert "does not take trial 0" in caplog.text
    seen = picture(uri)
    assert "0002 completed" in seen
    assert "RUNNING" not in {run["status"] for run in seen.values()}


def test_a_damaged_grid_is_left_out(tracker, uri, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    assert sync(tracker(samples=lambda n, s: tmp_path / "bad.png"), [trial(0)], "FINISHED") == 0
    assert picture(uri)["0000 completed"]["images"] == []


def test_a_locked_store_is_waited_for(tracker, uri, runs_dir):
    """As when a server writes to the same file; submitting does not wait."""
    sync(tracker(), [trial(0)], "KILLED")
    with sqlite3.connect(runs_dir / "mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        mirror = tracker()
        assert seconds_to_submit(mirror) < 0.05
        time.sleep(1.0)
        assert mirror.unsent()
        other.execute("ROLLBACK")
    assert mirror.finish("FINISHED") == 0


def test_a_hung_server_costs_the_study_nothing(tracker):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mirror = tracker(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert seconds_to_submit(mirror) < 0.05
        until(lambda: "mlflow" in sys.modules)
        before = time.monotonic()
        assert mirror.finish("FINISHED", patience=1.0) == 100
        assert time.monotonic() - before < 3
        assert mirror.unsent()[7] == "no answer for 1 s"


def test_a_server_that_does_not_say_that_it_is_there_is_left_sooner(tracker, monkeypatch):
    monkeypatch.setattr(away, "SECONDS", 2)
    told = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mirror = tracker(f"http://127.0.0.1:{silent.getsockname()[1]}")
        mirror.submit(trial(0))
        before = time.monotonic()
        assert mirror.finish("FINISHED", waiting=lambda *said: told.append(said)) == 1
    assert time.monotonic() - before < 10, "and not a minute"
    assert mirror.unsent()[0] == "no answer within 2 s"
    ((unsent, silence),) = told
    assert (unsent, round(silence)) == (1, 2)


def test_a_server_that_says_that_it_is_there_is_waited_for(tracker, monkeypatch):
    """A busy one answers that by the side."""
    monkeypatch.setattr(away, "SECONDS", 1)
    told = []

    class Busy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/health":
                time.sleep(30)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirror = tracker(f"http://127.0.0.1:{server.server_port}")
        mirror.submit(trial(0))
        before = time.monotonic()
        assert mirror.finish("FINISHED", patience=5, waiting=lambda *said: told.append(said)) == 1
        server.shutdown()
    assert 5 < time.monotonic() - before < 10
    assert mirror.unsent()[0] == "no answer for 5 s"
    assert [round(silence) for _, silence in told] == [1], "it is said and asked once"


def test_the_end_waits_as_long_as_mlflow_goes_on_taking(tracker, uri, samples, monkeypatch):
    """Each grid takes long, all of them more than the patience; and someone is told of it."""
    monkeypatch.setattr("gansearch.tracking.tracker.TELL_EVERY", 0.5)

    def slow(number: int, step: int) -> Path | None:
        time.sleep(1.5)
        return samples(number, 200)

    mirror, told = tracker(samples=slow), []
    for number in range(3):
        mirror.submit(trial(number))
    begun = time.monotonic()
    assert mirror.finish("FINISHED", patience=8, waiting=lambda unsent, _: told.append(unsent)) == 0
    assert time.monotonic() - begun > 8
    assert set(told) <= {1, 2, 3}
    assert told == sorted(told, reverse=True) != []
    assert len(picture(uri)["0002 completed"]["images"]) == 6


def test_a_store_that_now_and_then_refuses_gets_all_in_the_end(tracker, uri, samples):
    """More visits fail than would end it if they failed in a row."""
    calls = iter(range(100))

    def shaky(number: int, step: int) -> Path | None:
        if next(calls) % 4 == 0:
            raise OSError("the line is bad")
        return samples(number, step)

    mirror = tracker(samples=shaky, interval=60.0)
    for number in range(6):
        mirror.submit(trial(number))
    assert mirror.finish("FINISHED") == 0
    assert "RUNNING" not in {run["status"] for run in picture(uri).values()}
    assert next(calls) > 4 * CLOSING_TRIES


def test_a_store_that_always_refuses_is_left(tracker):
    def bad(number: int, step: int) -> Path | None:
        raise OSError("the line is bad")

    mirror = tracker(samples=bad)
    mirror.submit(trial(0))
    begun = time.monotonic()
    assert mirror.finish("FINISHED") == 1
    assert time.monotonic() - begun < 30
    assert mirror.unsent() == {0: "the line is bad"}


def test_a_dead_server_is_one_warning_and_a_short_end(tracker, caplog):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"127.0.0.1:{gone.getsockname()[1]}"
    mirror = tracker(f"http://name:secret@{address}")
    assert seconds_to_submit(mirror) < 0.05
    until(lambda: caplog.records)
    before = time.monotonic()
    assert mirror.finish("FINISHED", patience=60) == 100
    assert time.monotonic() - before < 10
    ours = [r for r in caplog.records if r.name == "gansearch.tracking"]
    assert [r.levelno for r in ours] == [logging.WARNING]
    assert "secret" not in caplog.text


def seconds_to_submit(mirror) -> float:
    """The longest of 100 calls."""
    records: list[TrialRecord] = [trial(n) for n in range(100)]
    longest = 0.0
    for record in records:
        before = time.perf_counter()
        mirror.submit(record)
        longest = max(longest, time.perf_counter() - before)
    return longest

"""A real `mlflow server`: killed in the middle, restarted, read while it is written to."""

import os
import signal
import socket
import urllib.request

import pytest

from gansearch.errors import UserError
from gansearch.study.records import Outcome
from gansearch.tracking import comparison_url, default_store, sync, ui
from gansearch.tracking.store import open_client

from .helpers import STUDY, picture, report, trial, until


def killed(server):
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def test_a_server_killed_in_the_middle_has_it_all_in_the_end(tracker, runs_dir, caplog):
    uri, artifacts = default_store(runs_dir)
    running, ended = trial(0, outcome=Outcome.RUNNING), trial(1)
    with ui(uri, artifacts, port=0) as server:
        port = int(server.url.rsplit(":", 1)[1])
        mirror = tracker(server.url)
        mirror.submit(running)
        mirror.submit(ended)
        until(lambda: len(mirror.run_ids()) == 2 or not mirror.unsent())
        killed(server)
    running.reports += [report(400), report(500)]
    running.outcome = Outcome.DIVERGED
    mirror.submit(running)
    mirror.submit(trial(2))
    assert mirror.finish("FINISHED", timeout=10) == 2
    assert "what is missing is sent later" in caplog.text
    records = [running, ended, trial(2)]
    with ui(uri, artifacts, port=port) as server:
        assert sync(tracker(server.url), records, "FINISHED") == 0
        seen = picture(server.url)
        address = comparison_url(server.url, server.url, STUDY)
        urllib.request.urlopen(address).close()
    assert set(seen) == {STUDY, "0000 diverged", "0001 completed", "0002 completed"}
    run = seen["0000 diverged"]
    assert [s for k, s, _, _ in run["points"] if k == "fd"] == [100, 200, 300, 400, 500]
    assert len(run["images"]) == 4
    assert [r["status"] for _, r in sorted(seen.items())][:3] == ["FAILED", "FINISHED", "FINISHED"]
    assert f"{server.url}/#/experiments/" in address


@pytest.mark.slow
def test_a_server_that_comes_back_is_found_again_and_can_be_read_meanwhile(tracker, runs_dir, caplog):
    uri, artifacts = default_store(runs_dir)
    with ui(uri, artifacts, port=0) as server:
        port = int(server.url.rsplit(":", 1)[1])
        mirror = tracker(server.url)
        mirror.submit(trial(0))
        until(lambda: not mirror.unsent())
        killed(server)
    mirror.submit(trial(1))
    until(lambda: "sent later" in caplog.text)
    with ui(uri, artifacts, port=port) as server:
        until(lambda: "takes our runs again" in caplog.text, 40)
        assert not mirror.unsent()
        direct = tracker()  # writes to the file that the server has open
        for number in range(2, 12):
            direct.submit(trial(number))
            picture(server.url)
        assert direct.finish("KILLED") == 0
        assert mirror.finish("FINISHED") == 0
        seen = picture(server.url)
    assert len(seen) == 13
    assert "RUNNING" not in {run["status"] for run in seen.values()}


def test_the_server_ends_with_its_workers(runs_dir):
    with ui(default_store(runs_dir)[0], port=0) as server:
        group = server.process.pid
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


def test_a_port_in_use_is_said(runs_dir):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="in use"):
        ui(default_store(runs_dir)[0], port=taken.getsockname()[1])


def test_a_server_that_cannot_start_says_why(tmp_path):
    with pytest.raises(UserError, match="did not start"):
        ui("nonsense://store", port=0, timeout=30)


def test_a_study_that_mlflow_does_not_have(runs_dir):
    uri, _ = default_store(runs_dir)
    open_client(uri)
    with pytest.raises(UserError, match="gansearch sync"):
        comparison_url("http://127.0.0.1:5000", uri, "unknown")

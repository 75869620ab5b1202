"""A real `mlflow server`: killed in the middle, restarted, read while it is written to."""

import http.client
import json
import os
import signal
import socket
import sys
import urllib.request

import psutil
import pytest

from gansearch.errors import UserError
from gansearch.study.records import Outcome
from gansearch.tracking import comparison_url, default_store, sync, ui
from gansearch.tracking import server as server_module
from gansearch.tracking.client import open_client

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
    assert mirror.finish("FINISHED", patience=10) == 2
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


def ask(port, address="127.0.0.1", **headers):
    """The status of a request for the store's experiments, and what answers it."""
    connection = http.client.HTTPConnection(address, port, timeout=20)
    asked = headers.pop("method", "POST")
    sent = {"Content-Type": "application/json"} | {k.capitalize(): v for k, v in headers.items()}
    path = "/api/2.0/mlflow/experiments/search"
    connection.request(asked, path, json.dumps({"max_results": 1}), sent)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def listening(pid):
    """The addresses on which a process and all its descendants take connections."""
    parent = psutil.Process(pid)
    family = [parent, *parent.children(recursive=True)]
    found = [c for each in family for c in each.net_connections("tcp")]
    return {c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN}


def test_it_listens_on_loopback_answers_to_its_own_names_and_ends_with_its_workers(runs_dir):
    secret = "sqlite:///" + str(runs_dir / "mlflow.db") + "?timeout=77"
    with ui(secret, port=0) as server:
        group, port = server.process.pid, int(server.url.rsplit(":", 1)[1])
        assert server.private
        assert listening(group) == {"127.0.0.1"}
        for own in (f"127.0.0.1:{port}", f"localhost:{port}", "localhost:8080"):  # a tunnel's
            assert ask(port, host=own)[0] == 200
        for foreign in (f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", "192.168.1.5"):
            status, said = ask(port, host=foreign)
            assert (status, "DNS rebinding" in said) == (403, True)
        own = {"host": f"localhost:{port}"}
        assert ask(port, origin="http://evil.example", **own)[0] == 403
        assert ask(port, origin=f"http://localhost:{port}", **own)[0] == 200
        commands = [p.cmdline() for p in psutil.Process(group).children(recursive=True)]
        commands.append(psutil.Process(group).cmdline())
        assert "timeout=77" not in str(commands), "everyone on the machine sees command lines"
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.2"])
def test_elsewhere_it_answers_to_the_names_of_that_address(host, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu7")
    monkeypatch.setattr(socket, "getfqdn", lambda: "gpu7.lab")
    names = server_module._names(host)
    assert {"gpu7", "gpu7.lab"} <= set(names)
    assert "*" not in "".join(names)
    assert ("127.0.0.1" in names) == (host == "0.0.0.0")
    assert ("127.0.0.2" in names) == (host == "127.0.0.2")
    assert server_module._names("127.0.0.1") == ["127.0.0.1", "localhost"]


def test_a_port_in_use_is_said(runs_dir):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="in use"):
        ui(default_store(runs_dir)[0], port=taken.getsockname()[1])


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"port": 99999}, r"--port 99999: ports are from 0 to 65535"),
        ({"port": -1}, r"--port -1: ports are from 0 to 65535"),
        ({"port": 0, "host": "nowhere.invalid"}, "--host nowhere.invalid: no address of this machine"),
    ],
)
def test_what_is_no_address_is_told_as_it_was_asked_for(tmp_path, where, said):
    with pytest.raises(UserError, match=said):
        ui(f"sqlite:///{tmp_path / 'new.db'}", **where)
    assert not (tmp_path / "new.db").exists()


def test_a_server_that_cannot_start_says_why(tmp_path):
    with pytest.raises(UserError, match="did not start"):
        ui("nonsense://store", port=0, timeout=30)


def test_what_a_server_said_that_is_no_utf_8_hides_nothing(tmp_path, monkeypatch):
    server = tmp_path / "python"
    server.write_text("#!/bin/sh\nprintf 'before \\377 the reason'\nexit 1\n")
    server.chmod(0o755)
    uri, _ = default_store(tmp_path / "runs")
    monkeypatch.setattr(sys, "executable", str(server))
    with pytest.raises(UserError, match="did not start:\nbefore \\\\xff the reason"):
        ui(uri, port=0, timeout=30)


def test_a_study_that_mlflow_does_not_have(runs_dir):
    uri, _ = default_store(runs_dir)
    open_client(uri)
    with pytest.raises(UserError, match="gansearch sync"):
        comparison_url("http://127.0.0.1:5000", uri, "unknown")

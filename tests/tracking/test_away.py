"""Whether anybody answers where MLflow keeps its runs: asked once, and for some seconds at most."""

from __future__ import annotations

import http.server
import socket
import threading
import time

import pytest

from gansearch.errors import StorageError
from gansearch.journal.urls import NOTICED
from gansearch.tracking import away, log_report, ui
from gansearch.tracking.away import why_away
from gansearch.tracking.client import prepare

CLOSED = "127.0.0.1:1"
DATABASE = f"postgresql://me:secret@{CLOSED}/x"


@pytest.fixture
def silent(monkeypatch):
    """Who takes every call, and says nothing; nobody waits for that long."""
    monkeypatch.setattr(away, "SECONDS", 1)
    monkeypatch.setitem(NOTICED, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("uri", [f"http://{CLOSED}", f"https://{CLOSED}/mlflow", DATABASE])
def test_a_refusal_is_told_in_the_words_of_the_system(uri):
    assert "Connection refused" in why_away(uri)
    assert "secret" not in why_away(uri)


@pytest.mark.parametrize(
    ("uri", "why"),
    [("http://{}", "no answer within 1 s"), ("postgresql://{}/x", "connection timeout expired")],
)
def test_silence_is_not_waited_for_long(uri, why, silent):
    begun = time.monotonic()
    assert why_away(uri.format(silent)) == why
    assert time.monotonic() - begun < 10


def test_who_answers_anything_is_there(tmp_path):
    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(401)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert why_away(f"http://127.0.0.1:{server.server_port}") == ""
        finally:
            server.shutdown()
            thread.join()
    assert why_away(f"sqlite:///{tmp_path}/mlflow.db") == ""
    assert why_away("databricks") == ""


def test_mlflow_does_not_ask_a_database_that_is_away_eleven_times():
    begun = time.monotonic()
    for act in (lambda: prepare(DATABASE), lambda: ui(DATABASE, port=0)):
        with pytest.raises(StorageError, match=r"the database at postgresql://\S+ does not answer: "):
            act()
    with pytest.raises(StorageError, match=r"does not answer: .*Connection refused"):
        log_report(DATABASE, "x", [])
    assert time.monotonic() - begun < 30

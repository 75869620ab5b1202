"""What MLflow's client raises, in words."""

from __future__ import annotations

import functools
import http.server
import threading

import pytest
from mlflow.exceptions import MlflowException

from gansearch.tracking.client import one_line, open_client


def told(uri: str) -> str:
    with pytest.raises(MlflowException) as caught:
        open_client(uri).get_experiment_by_name("x")
    return one_line(caught.value)


def test_of_a_server_that_is_not_reached_the_system_says_why():
    assert told("http://127.0.0.1:1") == "Connection refused"


def test_of_a_server_that_is_not_mlflow_s_no_page_is_shown(tmp_path):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            words = told(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()
    assert words == "it answers with error 404, and not as MLflow does"


def test_what_else_is_raised_is_told_by_its_first_line_without_a_password():
    assert one_line(OSError("no http://me:secret@host\nmore")) == "no http://host"

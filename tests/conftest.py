"""What every test shares: no user's home, no network, classifiers trained once a session."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import signal
import sys
import urllib.request
import uuid

import pytest

# Hooks: how the tests are shared among several processes.
from longest_first import (  # noqa: F401
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_xdist_auto_num_workers,
    pytest_xdist_make_scheduler,
)

from gansearch import cli
from gansearch.process import GARBAGE

gc.set_threshold(*GARBAGE)  # as the command line's own

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded; subprocesses inherit it

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what is in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what tests start is to heed Ctrl-C


def pytest_collection_finish():
    """What has been loaded stays: no test that collects garbage need look through it, for 0.4 s."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def gansearch_cache(tmp_path_factory):
    """A cache of the session's own, which its processes share."""
    mine = tmp_path_factory.getbasetemp()
    folder = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "gansearch-cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANSEARCH_CACHE", str(folder))
        for name in ("GANSEARCH_RUNS", "GANSEARCH_STORAGE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        yield folder


@pytest.fixture(scope="session")
def object_store():
    """An object store that speaks S3, on loopback; the environment says where, as a user's would."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # or each request is a line
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-of-tests")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_MAX_ATTEMPTS", "1")  # where it is away, only our own patience is asked for
        yield server
    server.stop()


@pytest.fixture
def bucket(object_store):
    """A new bucket in it: `s3://NAME`."""
    from gansearch import files

    place = files.place(f"s3://test-{uuid.uuid4().hex}")
    place.mkdir()
    return str(place).rstrip("/")


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command line in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "argv", ["gansearch", *arguments])
        monkeypatch.setattr(sys, "path", list(sys.path))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def offline(monkeypatch):
    """Every download fails at once, also on a machine that has a network."""
    # Python keeps the opener of its first request, with the proxies of then.
    monkeypatch.setattr(urllib.request, "_opener", None)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.fixture
def emulated_gpu(monkeypatch):
    """A GPU where there is none, by its name; see tests/emulated_gpu.py."""
    from emulated_gpu import emulated

    with emulated(monkeypatch.setattr) as device:
        yield device

"""What every test shares: no user's home, no network, classifiers trained once a session."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded; subprocesses inherit it


@pytest.fixture(scope="session", autouse=True)
def gansearch_cache(tmp_path_factory):
    """A cache of the session's own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("gansearch-cache")
        patch.setenv("GANSEARCH_CACHE", str(folder))
        for name in ("GANSEARCH_RUNS", "GANSEARCH_STORAGE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        yield folder


@pytest.fixture
def offline(monkeypatch):
    """Every download fails at once, also on a machine that has a network."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

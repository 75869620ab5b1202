"""What the environment says to the workers of a local Ray, and for how long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from psutil import STATUS_ZOMBIE, Process

from gansearch.errors import ClusterError
from gansearch.tuning.connection import NICENESS, _for_workers, connected


@pytest.mark.parametrize(
    ("said", "asked", "is_so"),
    [(None, None, "0"), (None, 0, "0"), (None, 10, "10"), ("5", None, "5"), ("5", 0, "0")],
)
def test_how_nice_workers_are(monkeypatch, said, asked, is_so):
    monkeypatch.delenv(NICENESS, raising=False)
    if said is not None:
        monkeypatch.setenv(NICENESS, said)
    assert _for_workers([], asked)[NICENESS] == is_so


def test_workers_find_the_folder_one_works_in_and_modules(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}/known")
    module = tmp_path / "lib" / "parts.py"
    expected = os.pathsep.join([str(tmp_path), "/known", str(tmp_path / "lib")])
    assert _for_workers([module], None)["PYTHONPATH"] == expected


def test_a_second_study_of_a_notebook_is_not_as_nice_as_the_first(monkeypatch):
    """With a real Ray: what one study asked for said on how nice the next one was."""
    monkeypatch.delenv(NICENESS, raising=False)
    before = os.environ.get("PYTHONPATH")
    with connected(None, nice=10) as ray:
        asked = ray.remote(num_cpus=1)(lambda: os.nice(0))
        assert ray.get(asked.remote()) == 10
        family = [p for p in Process().children(recursive=True) if p.status() != STATUS_ZOMBIE]
        beside_us = {Path(word).name for process in family for word in process.cmdline()}
    assert NICENESS not in os.environ
    assert os.environ.get("PYTHONPATH") == before
    assert {"raylet", "gcs_server"} <= beside_us
    assert not {"monitor.py", "log_monitor.py", "dashboard.py"} & beside_us, "they would be idle"
    node = ray._private.node.Node
    assert node.start_monitor.__name__ == "start_monitor", "of the user's own Ray we take nothing away"


def test_a_folder_whose_name_is_too_long_for_ray_is_told_with_the_mend(monkeypatch, tmp_path):
    """Such as that of a job on a cluster of many users."""
    long = tmp_path / ("a" * 60)
    long.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    told = pytest.raises(ClusterError, match=r"cannot connect to a local Ray.*RAY_TMPDIR=/tmp")
    with told, connected(None):
        pass

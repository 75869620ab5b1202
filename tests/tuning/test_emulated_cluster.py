"""A whole study on a cluster with a GPU, where there is none: see tests/emulated_gpu.py."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from processes import QUIET, cluster, finish, launch, reports, wait_for_reports

import gansearch

STUDY = """
data: {name: digits}
generator: {name: mlp, depth: 1, width: 16}
discriminator: {name: mlp, depth: 1, width: 16}
optimizer: {generator: {lr: {log: [1e-4, 1e-2], default: 1e-3}}}
batch_size: 16
budget: {steps: 60, report_every: 20}
evaluation: {samples: 100, metrics: [fd_classifier]}
search: {trials: 4}
pruner: none
health: {collapsed: false, stalled: false}
stability: {top: 1, seeds: 2}
resources: {gpus: 0.5, lanes: LANES}
"""

EVERYWHERE = """
import importlib.machinery
import sys

sys.path.insert(0, {tests!r})


class Finder:
    # Torch, with a GPU from the moment on at which it has been loaded.

    @classmethod
    def find_spec(cls, name, path, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(cls)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def loaded(module):
            load(module)
            import emulated_gpu

            emulated_gpu.QUESTIONS |= {{"device_count": 1, "is_available": True}}
            cls.kept = emulated_gpu.emulated()  # for as long as the process lives
            cls.kept.__enter__()

        spec.loader.exec_module = loaded
        return spec


sys.meta_path.insert(0, Finder)
"""


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """A cluster with one, as an address, where all processes have an emulated one."""
    monkeypatch.chdir(tmp_path)
    site = tmp_path / "site"
    site.mkdir()
    tests = str(Path(__file__).parents[1])
    (site / "sitecustomize.py").write_text(EVERYWHERE.format(tests=tests))
    for name, said in QUIET.items():
        monkeypatch.setenv(name, said)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    with cluster("--num-gpus=1") as (address, _):
        yield address


@pytest.mark.slow
def test_a_study_moves_to_a_gpu(gpu, tmp_path):
    """Trials that have begun go on there, from their weights."""
    longer = STUDY.replace("steps: 60", "steps: 2000").replace("trials: 4", "trials: 2")
    Path("study.yaml").write_text(longer.replace("gpus: 0.5, lanes: LANES", "gpus: 0, lanes: 1"))
    where = ("--address", gpu, "--tracking", "off")
    driver = launch("run", "study.yaml", "--name", "s", "--set", "stability=null", *where)
    wait_for_reports("s", 6, driver)
    driver.send_signal(signal.SIGINT)
    code, _, err = finish(driver)
    assert code == 130, err
    begun, file = reports("s"), Path("runs/s/study.yaml")
    asked = file.read_text()
    code, _, err = finish(launch("resume", "s", "--set", "resources.gpus=2", *where))
    assert (code, file.read_text()) == (2, asked), err
    assert "GPU" in err
    code, _, err = finish(launch("resume", "s", "--set", "resources.gpus=0.5", *where))
    assert code == 0, err
    assert set(gansearch.trials("s")["outcome"]) == {"completed"}
    assert [*gansearch.curves("s")["step"]] == [*range(20, 2001, 20)] * 2
    told = (tmp_path / "runs" / "s" / "journal.log").read_text()
    assert 0 < told.count("process_gpu_memory_peak_megabytes") <= 200 - begun
    log = (tmp_path / "runs" / "s" / "trials" / "0000" / "log.txt").read_text()
    assert "which was made on cpu, it is trained on cuda, with other random numbers" in log
    assert "gpus: 0.5" in file.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 2])
def test_a_study_on_halves_of_a_gpu(gpu, tmp_path, lanes):
    Path("study.yaml").write_text(STUDY.replace("LANES", str(lanes)))
    where = ("--address", gpu, "--tracking", "off")
    code, out, err = finish(launch("run", "study.yaml", "--name", "s", *where))
    assert code == 0, err
    trials, curves = gansearch.trials("s"), gansearch.curves("s")
    assert set(trials["outcome"]) == {"completed"}
    assert len(trials) == 4
    assert (curves["lanes"].max() == lanes) if lanes > 1 else ("lanes" not in curves)
    assert re.search(r"trained again: \d configurations?, (\d) seeds in all: \1 completed\n", out)
    told = (tmp_path / "runs" / "s" / "journal.log").read_text()
    assert told.count("process_gpu_memory_peak_megabytes") == len(curves) == 12

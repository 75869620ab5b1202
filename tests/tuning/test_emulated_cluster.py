"""A whole study on a cluster with a GPU, where there is none: see tests/emulated_gpu.py."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from processes import QUIET, cluster, finish, launch

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


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 2])
def test_a_study_on_halves_of_a_gpu(tmp_path, monkeypatch, lanes):
    monkeypatch.chdir(tmp_path)
    site = tmp_path / "site"
    site.mkdir()
    tests = str(Path(__file__).parents[1])
    (site / "sitecustomize.py").write_text(EVERYWHERE.format(tests=tests))
    Path("study.yaml").write_text(STUDY.replace("LANES", str(lanes)))
    for name, said in QUIET.items():
        monkeypatch.setenv(name, said)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    with cluster("--num-gpus=1") as (address, _):
        launched = launch("run", "study.yaml", "--name", "s", "--address", address, "--tracking", "off")
        code, out, err = finish(launched)
    assert code == 0, err
    trials, curves = gansearch.trials("s"), gansearch.curves("s")
    assert set(trials["outcome"]) == {"completed"}
    assert len(trials) == 4
    assert (curves["lanes"].max() == lanes) if lanes > 1 else ("lanes" not in curves)
    assert re.search(r"trained again: \d configurations?, (\d) seeds in all: \1 completed\n", out)
    told = (tmp_path / "runs" / "s" / "journal.log").read_text()
    assert told.count("process_gpu_memory_peak_megabytes") == len(curves) == 12

"""What must hold of training on a device: on the CPU always, on a GPU under the mark `gpu`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.gpu_checks import CHECKS  # noqa: E402


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_on_a_device(name, device):
    print(CHECKS[name](device))


BARE = """
import sys
sys.modules |= dict.fromkeys({names})  # to import one of them raises ModuleNotFoundError
from benchmarks import gpu
sys.exit(gpu.main(sys.argv[1:]))
"""
ABSENT = ["ray", "mlflow", "optuna", "pandas", "scipy", "sklearn", "matplotlib", "pytest", "upath"]


@pytest.mark.parametrize(
    "more", [["--uncompiled"], pytest.param([], marks=pytest.mark.slow)], ids=["uncompiled", "whole"]
)
def test_the_benchmark_runs_on_a_bare_machine(tmp_path, more):
    out = tmp_path / "gpu.md"
    parts = ["dcgan", "mlp", "peak"]
    options = ["--device", "cpu", "--tiny", "--only", *parts, "--out", str(out), *more]
    ran = subprocess.run(
        [sys.executable, "-c", BARE.replace("{names}", repr(ABSENT)), *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    table = out.read_text()
    for row in ("one process | 1", "PyTorch tutorial's loop | 1", "2 processes | 2", "2 lanes | 2"):
        assert f"| {row} |" in table, table
    assert "| product of 256 x 256 |" in table
    assert ("| compiled | 1 |" in table) == (not more), table

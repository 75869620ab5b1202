"""What must hold of training on a device: on the CPU always, on a GPU under the mark `gpu`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.gpu_checks import CHECKS  # noqa: E402


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_on_a_device(name, device):
    print(CHECKS[name](device))


NEEDED = ["torch", "numpy", "pillow", "pydantic", "PyYAML", "safetensors", "filelock", "psutil"]


def site_of(names, folder):
    """A folder of these distributions and of what they need, and of no other, as links."""
    left, seen = list(names), set()
    while left:
        name = left.pop()
        try:
            found = distribution(name)
        except PackageNotFoundError:  # of another platform
            continue
        left += [re.match(r"[\w.-]+", each)[0] for each in found.requires or [] if "extra" not in each]
        left = [each for each in left if each not in seen]
        seen.add(name)
        for top in {file.parts[0] for file in found.files} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(found.locate_file(top))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "more", [["--uncompiled"], pytest.param([], marks=pytest.mark.slow)], ids=["uncompiled", "whole"]
)
def test_the_benchmark_runs_on_a_bare_machine(tmp_path, more):
    """On which gansearch is not installed either."""
    out, site, code = tmp_path / "gpu.md", tmp_path / "site", tmp_path / "code"
    for folder in (site, code):
        folder.mkdir()
    site_of(NEEDED, site)
    for name in ("gansearch", "benchmarks"):
        (code / name).symlink_to(ROOT / name)
    options = ["--device", "cpu", "--tiny", "--minutes", "60", "--out", str(out), *more]
    ran = subprocess.run(
        [sys.executable, "-S", "-m", "benchmarks.gpu", *options],
        cwd=code,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert not {"ray", "mlflow", "optuna", "gansearch"} & {each.name for each in site.iterdir()}
    table = out.read_text()
    for row in ("one process | 1", "PyTorch tutorial's loop | 1", "2 processes | 2", "2 lanes | 2"):
        assert f"| {row} |" in table, table
    assert "| product of 256 x 256 |" in table
    assert all(f"\n| {name} | " in table for name in CHECKS)
    assert ("| compiled | 1 |" in table) == (not more), table

"""Memory of K trainings as one (`resources.lanes`) over K times that of one.

    python -m benchmarks.lane_memory [--lanes 8] [--tiny]

Each is trained for a few steps in a process of its own; what is told is the most that the process held
beyond what it held before its trainings were built (Linux: VmHWM). What an earlier training had given
back was returned to the system before (glibc: malloc_trim), or there would be memory for nothing.
Beside it stands the ratio of what the trainings' tensors hold after a step, without what torch and the
libraries below it keep for themselves. Without `--device cpu`, where there is a GPU, it is what torch
took of it at most.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_checks import configuration, pictures, trainer
from gansearch.training.stacked.shape import why_alone
from gansearch.training.stacked.step import Lanes

GOAL = 1.1
STEPS = 5
CASES: dict[str, dict[str, Any]] = {
    "mlp, width 1024": {"name": "mlp", "width": 1024, "depth": 3},
    "mlp, width 128": {"name": "mlp", "width": 128, "depth": 3},
    "dcgan, width 64": {"name": "dcgan", "width": 64},
}


def sections(case: str) -> dict[str, Any]:
    """Sections of a configuration."""
    network = CASES[case]
    budget = {"steps": 2 * STEPS, "report_every": 2 * STEPS}
    return {"generator": network, "discriminator": network, "batch_size": 64, "budget": budget}


def most(case: str, lanes: int, device: str) -> tuple[float, float]:
    """MiB that so many trainings take at most, in this process, and MiB of tensors that they hold."""
    torch.set_num_threads(1)
    data = pictures(32)
    # What a first training loads for good is nobody's.
    trainer(device, data, **sections(case))._train_to(1)
    if lanes > 1:
        Lanes([trainer(device, data, **sections(case)) for _ in range(2)]).run(1)
    gc.collect()
    if device == "cpu":
        ctypes.CDLL(None).malloc_trim(0)
    before, tensors = _held(device, anew=True), _tensors()
    packed = [trainer(device, data, **sections(case), seed=seed) for seed in range(lanes)]
    if lanes == 1:
        packed[0]._train_to(STEPS)
    else:
        together = Lanes(packed)
        together.run(STEPS)
    return _held(device) - before, _tensors() - tensors


def _tensors() -> float:
    """MiB of all tensors that there are, and of their gradients."""
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # asked for their types, some of torch's objects warn
        there = [each for each in gc.get_objects() if isinstance(each, torch.Tensor)]
    there += [each.grad for each in there if each.is_leaf and each.grad is not None]
    stores = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in there}
    return sum(stores.values()) / 2**20


def _held(device: str, *, anew: bool = False) -> float:
    """MiB held now, if `anew`, and from then on at most."""
    if device != "cpu":
        if anew:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 2**20
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:" if anew else "VmHWM:"))
    return float(line.split()[1]) / 1024


def measured(case: str, lanes: int, device: str) -> list[float]:
    """Both, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.lane_memory", "--only", case, str(lanes), device]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(each) for each in told.stdout.split()]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true", help="one case, two lanes")
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        case, count, device = args.only
        print(*most(case, int(count), device))
        return
    lanes = 2 if args.tiny else args.lanes
    print(f"| what | one, MiB | {lanes} lanes, MiB | lanes / {lanes} x one | of tensors | goal |")
    print("|---|---|---|---|---|---|")
    for case in list(CASES)[: 1 if args.tiny else None]:
        if reason := why_alone(configuration(pictures(32), **sections(case))):
            print(f"| {case} | | | {reason} | | |")
            continue
        one, many = (measured(case, count, args.device) for count in (1, lanes))
        whole, tensors = (b / a / lanes for a, b in zip(one, many, strict=True))
        figures = f"{one[0]:.1f} | {many[0]:.1f} | {whole:.2f} | {tensors:.2f}"
        print(f"| {case} | {figures} | <= {GOAL} |", flush=True)


if __name__ == "__main__":
    main()

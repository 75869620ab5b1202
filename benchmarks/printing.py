"""What a network that prints costs: a trial's log beside a plain file and beside nothing.

    python -m benchmarks.printing [--prints 100] [--rounds 20]

Times a step of the digits' `mlp` of `benchmarks.loop` on one thread, and `--prints` lines a step
into a trial's log (a new one each time, and one that has reached its cap), into a text file that
stays open, and into `io.StringIO`, which is the least that a print can cost. Processor time, the median
of many rounds by turns.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

import torch

from gansearch.data.load import load
from gansearch.study.config import TrialConfig
from gansearch.training.completion import complete
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.trainer import Trainer
from gansearch.tuning.log import CAP, TrialLog

STEPS = 100
TREE = {
    "generator": {"name": "mlp", "width": 128},
    "discriminator": {"name": "mlp", "width": 128},
    "budget": {"steps": STEPS, "report_every": STEPS},
    "evaluation": {"samples": 64, "metrics": [{"name": "diversity"}]},
    "objective": {"metric": "diversity", "goal": "max"},
}


def step_seconds() -> float:
    """Processor time of a step that prints nothing."""
    data = load("digits", {}, root=Path(), split="train")
    config, _ = complete(TrialConfig.model_validate(TREE), data.domain)
    trainer = Trainer(config, data, prepare(config, data, LocalPaths(Path(), Path())))
    begun = time.process_time()
    trainer.advance()
    return (time.process_time() - begun) / STEPS


def print_seconds(stream: TextIO, prints: int) -> float:
    """Processor time of the prints of a step, over as many as train between two reports."""
    begun = time.process_time()
    with contextlib.redirect_stdout(stream):
        for i in range(prints * STEPS):
            print("latents of shape", (64, 100), "in pass", i)
    stream.flush()
    return (time.process_time() - begun) / STEPS


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prints", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "file").open("w") as file:
        capped: Any = TrialLog(Path(folder) / "capped")
        print("x" * CAP, file=capped)
        steps: list[float] = []
        costs: dict[str, list[float]] = {kind: [] for kind in ("StringIO", "file", "log", "capped")}
        for turn in range(asked.rounds):
            steps.append(step_seconds())
            log: Any = TrialLog(Path(folder) / f"log-{turn}")  # which has what `print` asks for
            streams = {"StringIO": io.StringIO(), "file": file, "log": log, "capped": capped}
            for kind, stream in streams.items():
                costs[kind].append(print_seconds(stream, asked.prints))
    step = statistics.median(steps)
    print(f"{asked.prints} prints beside a step of {step * 1e3:.2f} ms")
    for kind, measured in costs.items():
        cost = statistics.median(measured)
        print(f"{kind:8} {cost / asked.prints * 1e6:6.2f} us a print  {cost / step:7.1%} of a step")


if __name__ == "__main__":
    main()

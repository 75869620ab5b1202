"""Trainings as one (`resources.lanes`), and compiled (`resources.compile`), beside one after another,
on one core.

    python -m benchmarks.lanes [--rounds 15] [--only NAME ...] [--tiny]
    python -m benchmarks.lanes --deciding [--only NAME ...]     what `lanes: auto` takes to decide

What is compared with is today's build, one process with one thread for each core; on one core that is a
`Trainer`. Both take turns in blocks of a few steps, on the same data, in the same process; the clock is
the processor time of this process. Ratios are of neighbouring blocks; medians and quartiles are shown.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.loop import FOREVER, Workload, configure
from gansearch.data import DataSet
from gansearch.data.load import load
from gansearch.metrics.reference import Reference
from gansearch.study.config import TrialConfig
from gansearch.training.compiled.step import CompiledLanes
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.stacked.choice import Asked, choose, speeds_of
from gansearch.training.stacked.step import Lanes
from gansearch.training.trainer import Trainer

BLOCK = 8
"""Steps of one training between two turns."""


@dataclass(frozen=True)
class Case:
    """A row of the table: what is trained, in how many lanes, and what is to be reached."""

    name: str
    lanes: int
    goal: float
    tree: dict[str, Any]
    compiled: bool = False


def mlp(width: int, **more: Any) -> dict[str, Any]:
    sides = ("generator", "discriminator")
    return {"data": {"name": "digits"}} | {s: {"name": "mlp", "width": width} for s in sides} | more


def dcgan(width: int, batch: int) -> dict[str, Any]:
    return of_images("dcgan", width, batch)


def of_images(name: str, width: int, batch: int) -> dict[str, Any]:
    sides = ("generator", "discriminator")
    data = {"data": {"name": "digits", "image_size": 32}, "batch_size": batch}
    return data | {s: {"name": name, "width": width} for s in sides}


KIT: dict[str, Any] = {
    "loss": {"name": "hinge", "penalty": {"name": "r1", "every": 4, "schedule": "cosine"}},
    "optimizer": {
        "generator": {"schedule": {"name": "cosine", "warmup": 0.1}},
        "discriminator": {"schedule": "linear", "clip": 1.0},
    },
}
SHOWN: dict[str, Any] = {"augment": "diffaugment", "noise": 0.1}
"""How a discriminator is shown samples."""

PENALISED = {"loss": {"name": "wasserstein", "penalty": {"name": "gradient-penalty"}}}


def shown(tree: dict[str, Any]) -> dict[str, Any]:
    """The same with a discriminator that is shown samples so."""
    return tree | {"discriminator": tree["discriminator"] | SHOWN}


CASES = [
    Case("mlp-128", 8, 3.0, mlp(128)),
    Case("mlp-64", 8, 3.5, mlp(64)),
    Case("mlp-64", 32, 4.5, mlp(64)),
    Case("mlp-128, 16 lanes", 16, 0.0, mlp(128)),
    Case("mlp-128, gradient penalty", 8, 0.0, mlp(128, **PENALISED)),
    Case("mlp-128, lazy r1, schedules, clip", 8, 0.0, mlp(128, **KIT)),
    Case("mlp-128, augment, noise", 8, 0.0, shown(mlp(128))),
    Case("dcgan-8, batch 16", 8, 2.5, dcgan(8, 16)),
    Case("dcgan-8, batch 16, augment, noise", 8, 0.0, shown(dcgan(8, 16))),
    Case("dcgan-8, batch 64", 8, 1.6, dcgan(8, 64)),
    Case("dcgan-32, batch 64", 8, 0.0, dcgan(32, 64)),
    Case("resnet-8, batch 16", 8, 0.0, of_images("resnet", 8, 16)),
    Case("r3-8, batch 16", 8, 0.0, of_images("r3", 8, 16)),
    Case("compiled: mlp-128", 1, 2.0, mlp(128), compiled=True),
    Case("compiled: mlp-64", 1, 2.0, mlp(64), compiled=True),
    Case("compiled: mlp-128, gradient penalty", 1, 0.0, mlp(128, **PENALISED), compiled=True),
    Case("compiled: mlp-128", 8, 0.0, mlp(128), compiled=True),
]


def prepared(case: Case) -> tuple[TrialConfig, DataSet, Reference]:
    """A training without an end, its data, and the real side of its metrics."""
    config = configure(Workload(case.name, case.tree, BLOCK, FOREVER), FOREVER, FOREVER)
    part, places = config.data, LocalPaths.of_environment()
    data = load(part.name, part.options, root=places.data, split="train", image_size=part.image_size)
    return config, data, prepare(config, data, places)


def decide(case: Case) -> tuple[float, int]:
    """Seconds that `lanes: auto` takes, nothing being kept of before, and how many it chooses."""
    config, data, reference = prepared(case)
    asked = Asked([config], [FOREVER])
    with tempfile.TemporaryDirectory() as cache:
        begun = time.monotonic()
        (lanes,) = choose(asked, speeds_of(asked, data, reference, cache=Path(cache))).values()
        return time.monotonic() - begun, lanes


def measure(case: Case, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of a step of one training, of each round: alone, and as one of the lanes."""
    config, data, reference = prepared(case)

    def trainer(seed: int, steps: int) -> Trainer:
        budget = {"steps": steps, "report_every": steps}
        tree = config.plain() | {"seed": seed, "budget": budget}
        return Trainer(TrialConfig.model_validate(tree), data, reference)

    alone = trainer(0, FOREVER)
    each = max(BLOCK // 2, 1)
    packed = [trainer(seed, each) for seed in range(case.lanes)]
    cache = LocalPaths.of_environment().cache / "compiled"
    lanes = CompiledLanes(packed, cache=cache) if case.compiled else Lanes(packed)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 2):
        begun = time.process_time()
        alone._train_to(alone.step + BLOCK)
        between = time.process_time()
        for row in lanes.rows:  # as after a report
            row.trainer.step = 0
            row.begin()
        half = time.process_time()
        lanes.train()
        ended = time.process_time()
        if number > 1:  # the first ones warm up
            times[0].append((between - begun) / BLOCK)
            times[1].append((ended - half) / each / case.lanes)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="*", help="names of rows")
    parser.add_argument("--deciding", action="store_true", help="three times each")
    parser.add_argument("--tiny", action="store_true", help="two rounds, to see that it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = [case for case in CASES if not args.only or case.name in args.only]
    if args.deciding:
        print("| what | seconds to decide | lanes |\n|---|---|---|")
        for name, case in {case.name: case for case in cases if not case.compiled}.items():
            found = [decide(case) for _ in range(1 if args.tiny else 3)]
            seconds, lanes = (", ".join(f"{n:.2g}" for n in row) for row in zip(*found, strict=True))
            print(f"| {name} | {seconds} | {lanes} |", flush=True)
        return
    rounds = 2 if args.tiny else args.rounds
    print(f"1 thread, medians (quartiles) of {rounds} rounds; torch {torch.__version__}\n")
    print("| what | lanes | alone, ms | of the lanes, ms | ratio | goal |")
    print("|---|---|---|---|---|---|")
    for case in cases:
        alone, together = measure(case, rounds)
        ratios = [a / b for a, b in zip(alone, together, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        times = " | ".join(f"{1e3 * statistics.median(t):.2f}" for t in (alone, together))
        goal = f">= {case.goal:g}" if case.goal else ""
        spread = f"{middle:.2f} ({low:.2f}-{high:.2f})"
        print(f"| {case.name} | {case.lanes} | {times} | {spread} | {goal} |", flush=True)


if __name__ == "__main__":
    main()

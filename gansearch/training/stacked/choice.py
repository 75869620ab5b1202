"""`lanes: auto`: whether, and in how many lanes, trainings of a configuration are faster as one."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from gansearch import files
from gansearch.data import DataSet
from gansearch.metrics.reference import Reference
from gansearch.networks.stacked import CannotStack
from gansearch.study.config import TrialConfig, digest
from gansearch.training.stacked.shape import shape_of, why_alone
from gansearch.training.stacked.step import Lanes
from gansearch.training.trainer import Trainer

WIDTHS = (4, 8, 16)
"""In how many lanes it is tried, one after the other while more are better."""

GAIN = 1.1
"""How many times as fast as alone they must be: less is within what a measurement errs by."""

HOPELESS = 0.9
"""Share of that at which a width, and with it all wider ones, is given up after its first turn."""

ROUNDS, AT_LEAST = 3, 0.12
"""Turns of each width beside one training alone, and seconds of a turn."""

WORTH = 30.0
"""Seconds that trainings of a shape must take one at a time, for less is not worth asking."""

MOST = 12.0
"""Seconds after which nothing further is measured: 2 % of ten minutes."""


def choose(
    configs: Sequence[TrialConfig],
    steps: Sequence[float],
    data: DataSet,
    reference: Reference,
    *,
    cache: Path,
    device: str = "cpu",
    threads: int = 1,
) -> dict[str, int]:
    """Shape -> in how many lanes its trainings are fastest on this machine; 1: they are not together.

    A few steps of each, some two seconds for a shape, fewer where one at a time is clearly faster; kept
    in `cache` for the next study. What is to be `deterministic` is trained alone: what is fastest is
    not the same on every day.

    Args:
        configs: whose shapes are asked for.
        steps: of each, that a worker is to train in all.
        data: the training samples.
        reference: the real side of their metrics.
        cache: a folder of this machine.
        device: where trainings are to run.
        threads: of torch, that a worker has.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        until, chosen, work = time.monotonic() + MOST, {}, dict[str, float]()
        for config, asked in zip(configs, steps, strict=True):
            work[shape_of(config)] = work.get(shape_of(config), 0.0) + asked
        for shape, config in {shape_of(config): config for config in configs}.items():
            chosen[shape] = 1
            if why_alone(config) or config.deterministic:
                continue
            known = _Known(shape, cache, device, threads)
            speeds = known.speeds
            if not speeds and time.monotonic() < until:
                speeds = _measured(config, data, reference, device, work[shape], until)
                if len(speeds) > 1:
                    known.keep(speeds)
            if speeds and work[shape] / speeds[1] >= WORTH:
                chosen[shape] = fastest(speeds)
        return chosen
    finally:
        torch.set_num_threads(before)


def fastest(speeds: Mapping[int, float]) -> int:
    """The number of lanes of most speed; 1 where it is not clearly more than alone."""
    best = max(speeds, key=lambda lanes: speeds[lanes], default=1)
    return best if speeds and speeds[best] > GAIN * speeds[1] else 1


class _Known:
    """The speeds of a shape, as they were measured on this machine."""

    def __init__(self, shape: str, cache: Path, device: str, threads: int) -> None:
        self._path = cache / "lanes" / f"{digest([shape, _machine(device), threads])}.json"

    @property
    def speeds(self) -> dict[int, float]:
        """Lanes -> trainings x steps a second; empty where it was never measured."""
        try:
            known: dict[str, float] = json.loads(self._path.read_text())
            return {int(lanes): speed for lanes, speed in known.items()}
        except (OSError, ValueError, AttributeError):
            return {}  # or not by this version

    def keep(self, speeds: dict[int, float]) -> None:
        """Keep what was measured."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        files.write(self._path, json.dumps(speeds))


def _measured(
    config: TrialConfig,
    data: DataSet,
    reference: Reference,
    device: str,
    steps: float,
    until: float,
) -> dict[int, float]:
    """What `measure` finds; nothing where such trainings cannot be as one."""
    try:
        return measure(config, data, reference, device, steps=steps, until=until)
    except (CannotStack, RuntimeError):  # a part that is no training's own: alone it will say what
        return {}


def measure(
    config: TrialConfig,
    data: DataSet,
    reference: Reference,
    device: str = "cpu",
    *,
    steps: float = math.inf,
    until: float = math.inf,
) -> dict[int, float]:
    """Lanes -> trainings x steps a second, each at its best; 1 is a training alone.

    Each width takes turns with one training alone. A wider one is tried while it is better than the one
    before; none where so many `steps` are not worth it, and none from the time `until` on.
    """
    endless = config.budget.model_copy(update={"steps": 2**31, "report_every": 2**31})

    def trainer(seed: int) -> Trainer:
        return Trainer(
            config.model_copy(update={"seed": seed, "budget": endless}), data, reference, device
        )

    alone = trainer(0)

    def one(steps: int) -> object:
        return alone._train_to(alone.step + steps)

    one(1)  # the first step has torch load what it has not needed before
    best = {1: _rate(one, device)}
    if steps / best[1] < WORTH:
        return best
    trainers, lanes, narrower = list[Trainer](), None, 0.0
    for width in WIDTHS:
        if time.monotonic() >= until:
            break
        trainers += [trainer(seed) for seed in range(len(trainers), width)]
        lanes = Lanes(trainers, lanes)
        lanes.run(1)
        best[width] = 0.0
        for _ in range(ROUNDS):
            best[width] = max(best[width], width * _rate(lanes.run, device))
            if best[width] < HOPELESS * GAIN * best[1]:
                return best
            best[1] = max(best[1], _rate(one, device))
        if best[width] < narrower:
            break
        narrower = best[width]
    return best


def _rate(run: Callable[[int], object], device: str) -> float:
    """Steps a second; of the processor on one thread, for what else a machine does is no step's."""
    alone = device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    steps, taken = 1, 0.0
    while taken < AT_LEAST:
        begun = clock()
        run(steps)
        if device != "cpu":
            torch.cuda.synchronize()
        taken = clock() - begun
        rate, steps = steps / taken, max(steps + 1, round(1.2 * AT_LEAST * steps / max(taken, 1e-6)))
    return rate


def _machine(device: str) -> list[str]:
    """What a speed depends on, besides what is trained."""
    name = torch.cuda.get_device_name() if device != "cpu" else _processor()
    return [name, str(os.cpu_count()), torch.__version__, platform.machine()]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("model name")), platform.processor())

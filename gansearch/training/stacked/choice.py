"""`lanes: auto`: whether, and in how many lanes, trainings of a configuration are faster as one."""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from gansearch import files
from gansearch.data import DataSet
from gansearch.metrics.reference import Reference
from gansearch.networks.stacked import CannotStack
from gansearch.study.config import TrialConfig, digest
from gansearch.training.measuring import wait_for
from gansearch.training.settings import torch_threads
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

LONGEST = 2.5
"""How many times as long as alone a trial may take of which others wait to learn: those of a search."""

GLANCE = 0.03
"""Seconds in which it is seen which of several shapes is slowest."""


def choose(
    configs: Sequence[TrialConfig],
    steps: Sequence[float],
    data: DataSet,
    reference: Reference,
    *,
    cache: Path,
    device: str = "cpu",
    threads: int = 1,
    longest: float | None = None,
    seconds: float = math.inf,
    most: int = sys.maxsize,
) -> dict[str, int]:
    """Shape -> in how many lanes its trainings are fastest on this machine; 1: they are not together.

    A few steps of each, some two seconds for a shape, fewer where one at a time is clearly faster; kept
    in `cache` for the next study. What is to be `deterministic` is trained alone: what is fastest is
    not the same on every day.

    Of configurations that stand for a search's the shapes may be many. There the one that is slowest
    alone is measured, and the next slowest where that one wins nothing, and so on: those that are
    faster alone than one that wins have less arithmetic to a step, and win too.

    Args:
        configs: whose shapes are asked for.
        steps: of each, that a worker is to train in all.
        data: the training samples.
        reference: the real side of their metrics.
        cache: a folder of this machine.
        device: where trainings are to run.
        threads: of torch, that a worker has.
        longest: of a search, how many times as long as alone a trial may take; None: it is none.
        seconds: of a search, for which a worker is to train, at most.
        most: of a search, in how many lanes, where nothing but the steps ends it.
    """
    with torch_threads(threads):
        work = dict[str, float]()
        for config, asked in zip(configs, steps, strict=True):
            work[shape_of(config)] = work.get(shape_of(config), 0.0) + asked
        stackable = {
            shape: config
            for shape, config in {shape_of(config): config for config in configs}.items()
            if not why_alone(config) and not config.deterministic
        }
        bench = _Bench(data, reference, cache, device, threads, time.monotonic() + MOST)
        chosen = (
            _each(stackable, work, bench)
            if longest is None
            else _for_all(stackable, work, bench, longest, seconds, most)
        )
        return dict.fromkeys(work, 1) | chosen


def _each(
    stackable: Mapping[str, TrialConfig], work: Mapping[str, float], bench: _Bench
) -> dict[str, int]:
    """What is fastest for each shape that has work enough."""
    chosen = {}
    for shape, config in stackable.items():
        speeds = bench.speeds(shape, config, work[shape])
        if speeds and work[shape] / speeds[1] >= WORTH:
            chosen[shape] = fastest(speeds)
    return chosen


def _for_all(
    stackable: Mapping[str, TrialConfig],
    work: Mapping[str, float],
    bench: _Bench,
    longest: float,
    seconds: float,
    most: int,
) -> dict[str, int]:
    """What is fastest for the slowest shape that wins, and so for all that are faster.

    Where a search is to end sooner than its steps would take, it has fewer trials, and so fewer lanes.
    """
    alone = {shape: bench.glance(config) for shape, config in stackable.items()}
    whole = sum(work[shape] / max(speed, 1e-9) for shape, speed in alone.items())
    most = int(most * min(1.0, seconds / max(whole, 1e-9)))
    if min(whole, seconds) < WORTH or most < 2:
        return {}
    slowest_first = sorted(alone, key=lambda shape: alone[shape])
    for at, shape in enumerate(slowest_first):
        speeds = bench.speeds(shape, stackable[shape], sum(work.values()))
        if (lanes := min(fastest(speeds, longest), most)) > 1:
            return dict.fromkeys(slowest_first[at:], lanes)
    return {}


def fastest(speeds: Mapping[int, float], longest: float = math.inf) -> int:
    """The number of lanes of most speed; 1 where it is not clearly more than alone.

    Args:
        speeds: trainings x steps a second, by lanes, 1 among them; empty where nothing is known.
        longest: how many times as long as alone a training may take.
    """
    bearable = [lanes for lanes in speeds if lanes * speeds[1] <= longest * speeds[lanes]]
    best = max(bearable, key=lambda lanes: speeds[lanes], default=1)
    return best if speeds and speeds[best] > GAIN * speeds[1] else 1


@dataclass(frozen=True)
class _Bench:
    """Where speeds are measured, and until when."""

    data: DataSet
    reference: Reference
    cache: Path
    device: str
    threads: int
    until: float

    def speeds(self, shape: str, config: TrialConfig, steps: float) -> dict[int, float]:
        """A shape's speeds as they are known, or measured now if there is time; else empty."""
        known = _Known(shape, self.cache, self.device, self.threads)
        speeds = known.speeds
        if not speeds and time.monotonic() < self.until:
            speeds = _measured(config, self.data, self.reference, self.device, steps, self.until)
            if len(speeds) > 1:
                known.keep(speeds)
        return speeds

    def glance(self, config: TrialConfig) -> float:
        """Steps a second of one training, about; infinite where it cannot be trained."""
        return _glance(config, self.data, self.reference, self.device)


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
    trainer = _endless(config, data, reference, device)
    one = _steps_of(trainer(0))
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


def _endless(
    config: TrialConfig, data: DataSet, reference: Reference, device: str
) -> Callable[[int], Trainer]:
    """Builds the trainer of a seed, which never comes to a report."""
    endless = config.budget.model_copy(update={"steps": 2**31, "report_every": 2**31})

    def trainer(seed: int) -> Trainer:
        return Trainer(
            config.model_copy(update={"seed": seed, "budget": endless}), data, reference, device
        )

    return trainer


def _steps_of(trainer: Trainer) -> Callable[[int], object]:
    """Trains so many steps further; the first, in which torch loads what it needs, is behind it."""
    trainer._train_to(1)
    return lambda steps: trainer._train_to(trainer.step + steps)


def _glance(config: TrialConfig, data: DataSet, reference: Reference, device: str) -> float:
    """Steps a second of one training, about; infinite where it cannot be trained."""
    try:
        return _rate(_steps_of(_endless(config, data, reference, device)(0)), device, GLANCE)
    except RuntimeError:
        return math.inf


def _rate(run: Callable[[int], object], device: str, at_least: float | None = None) -> float:
    """Steps a second; of the processor on one thread, for what else a machine does is no step's."""
    at_least = at_least or AT_LEAST
    alone = device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    steps, taken = 1, 0.0
    while taken < at_least:
        begun = clock()
        run(steps)
        wait_for(torch.device(device))
        taken = clock() - begun
        rate, steps = steps / taken, max(steps + 1, round(1.2 * at_least * steps / max(taken, 1e-6)))
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

"""`lanes: auto`: whether, and in how many lanes, trainings of a configuration are faster as one."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from gansearch import files
from gansearch.data import DataSet
from gansearch.data.domain import Domain
from gansearch.errors import RAISED
from gansearch.metrics.reference import Reference
from gansearch.study.config import TrialConfig, digest
from gansearch.training.measuring import wait_for
from gansearch.training.settings import torch_threads
from gansearch.training.stacked.proof import why_unlike
from gansearch.training.stacked.shape import shape_of, why_alone
from gansearch.training.stacked.step import Lanes
from gansearch.training.trainer import Trainer

WIDTHS = (4, 8, 16, 32)
"""In how many lanes it is tried, one after the other while more are better."""

GAIN = 1.1
"""How many times as fast as alone they must be: less is within what a measurement errs by."""

HOPELESS = 0.9
"""Share of that, and of a narrower one's speed, below which a width is the last that is tried."""

ROUNDS, AT_LEAST = 3, 0.12
"""Turns of each width beside one training alone, and seconds of a turn."""

LONG = 0.25
"""Seconds of a step from which on it is not tried: asking for its operations takes a hundredth of that.
"""

WORTH = 30.0
"""Seconds that trainings of a shape must take one at a time, for less is not worth asking."""

MOST = 12.0
"""Seconds after which nothing further is measured: 2 % of ten minutes."""

LONGEST = 2.5
"""How many times as long as alone a trial may take of which others wait to learn: those of a search."""

GLANCE = 0.03
"""Seconds in which it is seen which of several shapes is slowest."""


Speeds = Mapping[int, float]
"""Lanes -> trainings x steps a second, 1 lane among them: a training alone."""


@dataclass(frozen=True)
class Asked:
    """For which trainings lanes are chosen.

    Attributes:
        configs: whose shapes are asked for.
        steps: of each, that a worker is to train in all.
        most: how many a worker carries at most.
        longest: of a search, how many times as long as alone a trial may take; None: it is none.
        seconds: of a search, for which a worker is to train at most.
    """

    configs: Sequence[TrialConfig]
    steps: Sequence[float]
    most: int = sys.maxsize
    longest: float | None = None
    seconds: float = math.inf

    @property
    def work(self) -> dict[str, float]:
        """Steps that a worker is to train, by shape."""
        work = dict[str, float]()
        for config, steps in zip(self.configs, self.steps, strict=True):
            work[shape_of(config)] = work.get(shape_of(config), 0.0) + steps
        return work

    def stackable(self, domain: Domain) -> dict[str, TrialConfig]:
        """A configuration of each shape that may be trained in lanes on samples of a domain. What is to
        be `deterministic` is not: what is fastest differs from day to day.
        """
        able = (c for c in self.configs if not why_alone(c) and not c.deterministic)
        return {shape_of(config): config for config in able if not why_unlike(config, domain)}


def speeds_of(
    asked: Asked,
    data: DataSet,
    reference: Reference,
    *,
    cache: Path,
    device: str = "cpu",
    threads: int = 1,
) -> dict[str, Speeds]:
    """Shape -> its speeds on this machine, in as many lanes as it was worth measuring.

    A few steps of each, some two seconds for a shape and a width, fewer where one at a time is clearly
    faster; kept in `cache` for the next study.

    Of configurations that stand for a search's the shapes may be many. There all are looked at alone,
    and told slowest first; the slowest is measured, the next where that one wins nothing, and so on.

    Args:
        asked: the trainings.
        data: the training samples.
        reference: the real side of their metrics.
        cache: a folder of this machine.
        device: where trainings are to run.
        threads: of torch, that a worker has.
    """
    with torch_threads(threads):
        until = time.monotonic() + MOST
        bench = _Bench(data, reference, cache, device, threads, asked.most, until)
        work, stackable = asked.work, asked.stackable(data.domain)
        if asked.longest is None:
            each = {s: bench.speeds(s, config, work[s]) for s, config in stackable.items()}
            return {shape: speeds for shape, speeds in each.items() if speeds}
        alone = {shape: bench.glance(config) for shape, config in stackable.items()}
        slowest_first = sorted(alone, key=lambda shape: alone[shape])
        found: dict[str, Speeds] = {shape: {1: alone[shape]} for shape in slowest_first}
        if min(_seconds(found, work), asked.seconds) < WORTH:
            return found
        for shape in slowest_first:
            speeds = bench.speeds(shape, stackable[shape], sum(work.values()))
            found[shape] = speeds or found[shape]
            if fastest(speeds, asked.longest) > 1:
                break
        return found


def pooled(found: Sequence[Mapping[str, Speeds]]) -> dict[str, Speeds]:
    """Speeds that several processes measured at once: their mean, where each of them did.

    Args:
        found: what `speeds_of` gave each.
    """
    every = [shape for shape in found[0] if all(shape in each for each in found)] if found else []
    return {shape: _mean([each[shape] for each in found]) for shape in every}


def _mean(found: Sequence[Speeds]) -> Speeds:
    every = [lanes for lanes in found[0] if all(lanes in speeds for speeds in found)]
    return {lanes: statistics.fmean(speeds[lanes] for speeds in found) for lanes in every}


def choose(asked: Asked, found: Mapping[str, Speeds]) -> dict[str, int]:
    """Shape -> in how many lanes its trainings are fastest; 1: they are not together, or too few for it
    to be worth while.

    In a search what is faster alone than a shape that wins has less arithmetic to a step, and wins too.

    Args:
        asked: the trainings.
        found: the speeds of their shapes, as far as they are known.
    """
    work = asked.work
    return dict.fromkeys(work, 1) | (
        {s: fastest(speeds) for s, speeds in found.items() if work[s] / speeds[1] >= WORTH}
        if asked.longest is None
        else _for_all(found, work, asked)
    )


def _for_all(found: Mapping[str, Speeds], work: Mapping[str, float], asked: Asked) -> dict[str, int]:
    """What is fastest for the slowest shape that wins, and so for all that are faster.

    Where a search is to end sooner than its steps would take, it has fewer trials, and so fewer lanes.
    """
    assert asked.longest is not None
    whole = _seconds(found, work)
    most = asked.most * min(1.0, asked.seconds / max(whole, 1e-9))
    if min(whole, asked.seconds) < WORTH or most < 2:
        return {}
    for at, speeds in enumerate(found.values()):
        if (lanes := math.floor(min(fastest(speeds, asked.longest), most))) > 1:
            return dict.fromkeys(list(found)[at:], lanes)
    return {}


def _seconds(found: Mapping[str, Speeds], work: Mapping[str, float]) -> float:
    """What all would take one at a time."""
    return sum(work[shape] / max(speeds[1], 1e-9) for shape, speeds in found.items())


def fastest(speeds: Speeds, longest: float = math.inf) -> int:
    """The number of lanes of most speed; 1 where it is not clearly more than alone.

    Args:
        speeds: empty where nothing is known.
        longest: how many times as long as alone a training may take.
    """
    bearable = [lanes for lanes in speeds if lanes * speeds[1] <= longest * speeds[lanes]]
    best = max(bearable, key=lambda lanes: speeds[lanes], default=1)
    return best if speeds and speeds[best] > GAIN * speeds[1] else 1


@dataclass(frozen=True)
class _Bench:
    """Where speeds are measured, up to which width, and until when."""

    data: DataSet
    reference: Reference
    cache: Path
    device: str
    threads: int
    most: float
    until: float

    def speeds(self, shape: str, config: TrialConfig, steps: float) -> dict[int, float]:
        """A shape's speeds as they are known, or measured now if there is time; else empty."""
        known = _Known(shape, self.cache, self.device, self.threads)
        speeds = known.speeds
        if not is_enough(speeds, self.most) and time.monotonic() < self.until:
            limits = {"steps": steps, "most": self.most, "until": self.until}
            speeds = speeds | _measured(config, self.data, self.reference, self.device, **limits)
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
        """Keep what was measured, where that can be: another node may have no such folder."""
        with suppress(OSError):
            files.write(self._path, json.dumps(speeds))


def is_enough(speeds: Speeds, most: float) -> bool:
    """Whether none of the wider packs that a worker may carry is worth measuring beside these."""
    return len(speeds) > 1 and (max(speeds) >= min(most, WIDTHS[-1]) or not _may_widen(speeds))


def _may_widen(speeds: Speeds) -> bool:
    """Whether the widest is not clearly slower than the one before, and than what one alone is to be
    surpassed by.
    """
    *_, before, widest = (speeds[lanes] for lanes in sorted(speeds))
    return widest >= HOPELESS * max(before, GAIN * speeds[1])


def _measured(
    config: TrialConfig, data: DataSet, reference: Reference, device: str, **limits: float
) -> dict[int, float]:
    """What `measure` finds; nothing where such trainings cannot be as one."""
    try:
        return measure(config, data, reference, device, **limits)
    except RAISED:  # of a part of the user's, or there is no stack: alone it will say what
        return {}


def measure(
    config: TrialConfig,
    data: DataSet,
    reference: Reference,
    device: str = "cpu",
    *,
    steps: float = math.inf,
    most: float = math.inf,
    until: float = math.inf,
) -> dict[int, float]:
    """Lanes -> trainings x steps a second, each at its best; 1 is a training alone.

    Each width takes turns with one training alone. A wider one is tried while it is not clearly worse
    than the one before; none where so many `steps` are not worth it or each is `LONG`, none wider
    than `most` by more than need be, and none from the time `until` on.
    """
    trainer = _endless(config, data, reference, device)
    one = _steps_of(trainer(0))
    best = {1: _rate(one, device)}
    if steps / best[1] < WORTH or best[1] * LONG < 1:
        return best
    trainers, lanes = list[Trainer](), None
    for width in WIDTHS:
        if time.monotonic() >= until or max(best) >= most:
            break
        try:
            trainers += [trainer(seed) for seed in range(len(trainers), width)]
            lanes = Lanes(trainers, lanes)
            lanes.run(1)
        except torch.OutOfMemoryError:  # of a GPU's memory
            return best | {width: 0.0}
        best[width] = 0.0
        for _ in range(ROUNDS):
            best[width] = max(best[width], width * _rate(lanes.run, device))
            if best[width] < HOPELESS * GAIN * best[1]:
                return best
            best[1] = max(best[1], _rate(one, device))
        if not _may_widen(best):
            break
    return best


def _endless(
    config: TrialConfig, data: DataSet, reference: Reference, device: str
) -> Callable[[int], Trainer]:
    """Builds the trainer of a seed, which never comes to a report."""
    endless = config.budget.model_copy(update={"steps": 2**31, "report_every": 2**31})

    def trainer(seed: int) -> Trainer:
        return Trainer(
            config.model_copy(update={"seed": seed, "budget": endless}),
            data,
            reference,
            device,
            begun=True,
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
    except RAISED:
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

"""Training on a GPU: does all hold there, and how fast is it? One command for whoever has one.

    python -m benchmarks.gpu [--device cuda] [--out gpu.md] [--minutes 8] [--only PART ...] [--tiny]
                             [--uncompiled]

It needs torch, NumPy, Pillow, pydantic, PyYAML, safetensors, filelock and psutil, and neither Ray nor
MLflow nor Optuna. It first runs every check of `gpu_checks` on the device, and then measures, each in
turn with the others, medians of rounds:

- `dcgan`: 32x32, width 64, batch 64: one training; PyTorch's tutorial's loop and torch-mimicry's
  (`gpu_rivals`); 4 and 8 processes that share the card, without NVIDIA's MPS and with it where it can
  be started; K trainings as one (`resources.lanes`), 1 to 16; one, and the most as one, compiled
  (`resources.compile`);
- `mlp`: the quickstart's networks, likewise;
- `peak`: width 128 in bfloat16: floating-point operations a second, as a share of what a product of
  two large matrices reaches on the same card.

What it saw is printed, with the card's name, and written as a table in Markdown. A part that fails is
told and does not stop the others; the exit code is 1 then. `--device cpu --tiny` shows that the command
runs; its figures mean nothing. On a CPU each compiled step takes half a minute and more to make:
`--uncompiled` leaves them out.

It is one file because its parts share what a session on a lent machine has: its minutes, its page.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_checks import CHECKS, pictures, places, settle
from benchmarks.gpu_rivals import Loop, Mimicry, Tutorial
from gansearch.data.images import ImageData
from gansearch.networks.stacked import CannotStack
from gansearch.study.config import TrialConfig
from gansearch.training.compiled.step import CompiledLanes
from gansearch.training.compiled.why import CannotCompile
from gansearch.training.completion import complete
from gansearch.training.prepare import prepare
from gansearch.training.stacked.shape import why_alone
from gansearch.training.stacked.step import Lanes
from gansearch.training.trainer import Trainer
from gansearch.tuning.meanwhile import environment

FOREVER = 10**7
Run = Callable[[int], object]
"""Trains for so many steps."""


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        rounds: turns of each contestant.
        seconds: of a turn.
        lanes: how many trainings as one.
        processes: how many share the card.
        width: of `dcgan`.
        wide: of `dcgan` in `peak`.
        product: rows and columns of the matrices whose product is the peak.
        images: side of an image, and how many.
    """

    rounds: int = 3
    seconds: float = 0.7
    lanes: tuple[int, ...] = (1, 2, 4, 8, 16)
    processes: tuple[int, ...] = (4, 8)
    width: int = 64
    wide: int = 128
    product: int = 8192
    images: tuple[int, int] = (32, 10_000)


FULL = Size()
TINY = Size(1, 0.05, (1, 2), (2,), 4, 4, 256, (8, 256))


@dataclass
class Bench:
    """Where it is measured, and what has been seen.

    Attributes:
        device: as torch names it.
        size: how much.
        until: when to begin with nothing more, of `time.monotonic`.
        compiles: whether compiled steps are measured.
        lines: of the table in Markdown.
        amiss: what failed, in words.
    """

    device: str
    size: Size
    until: float
    compiles: bool = True
    lines: list[str] = field(default_factory=list)
    amiss: list[str] = field(default_factory=list)

    def say(self, line: str = "") -> None:
        """Print a line, and keep it."""
        print(line, flush=True)
        self.lines.append(line)

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """While it is open, an error is told and stops nothing else."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            words = str(error).strip().splitlines() or [""]
            self.amiss.append(f"{what}: {type(error).__name__}: {words[0]}")
            self.say(f"| {what} | failed: {type(error).__name__}: {words[0]} |")

    @property
    def late(self) -> bool:
        """Whether there is no time for more."""
        return time.monotonic() > self.until


@dataclass
class Contest:
    """Who is measured in turn, by name, and how many trainings each is."""

    bench: Bench
    runs: dict[str, Run] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def enter(self, name: str, count: int, make: Callable[[], Run]) -> None:
        """Have one join, or tell why it does not."""
        with self.bench.trying(name):
            try:
                self.runs[name], self.counts[name] = make(), count
            except (CannotStack, CannotCompile) as why:
                self.bench.say(f"| {name} | {count} | {why} | |")

    def enter_compiled(self, name: str, count: int, make: Callable[[], Run]) -> None:
        """Likewise, where compiled steps are measured."""
        if self.bench.compiles:
            self.enter(name, count, make)


# What is trained


def configuration(data: ImageData, network: dict[str, Any], **more: Any) -> TrialConfig:
    """An endless training."""
    tree = {
        "generator": network,
        "discriminator": network,
        "batch_size": 64,
        "budget": {"steps": FOREVER, "report_every": FOREVER},
        "evaluation": {"samples": 64, "metrics": [{"name": "diversity"}]},
        "objective": {"metric": "diversity", "goal": "max"},
    }
    config, mistakes = complete(TrialConfig.model_validate(tree | more), data.domain)
    if mistakes:
        raise ValueError(str(mistakes))
    return config


def trainers(config: TrialConfig, data: ImageData, device: str, count: int) -> list[Trainer]:
    """So many trainings of a configuration, on seeds of their own."""
    reference = prepare(config, data, places())
    each = [config.model_copy(update={"seed": seed}) for seed in range(count)]
    return [Trainer(one, data, reference, device) for one in each]


def alone(config: TrialConfig, data: ImageData, device: str) -> Run:
    """One training."""
    (one,) = trainers(config, data, device, 1)
    return lambda steps: one._train_to(one.step + steps)


def as_one(config: TrialConfig, data: ImageData, device: str, count: int) -> Run:
    """So many trainings as one."""
    return Lanes(trainers(config, data, device, count)).run


def compiled(config: TrialConfig, data: ImageData, device: str, count: int) -> Run:
    """So many trainings as one, by compiled code."""
    cache = places().cache / "compiled"
    return CompiledLanes(trainers(config, data, device, count), cache=cache).run


def rival(kind: type[Loop], config: TrialConfig, data: ImageData, device: str) -> Run:
    """Another's loop."""
    return kind(config, data, device).train


# How it is measured


def rate(run: Run, device: str, seconds: float) -> float:
    """Steps a second, over about so many seconds."""
    steps, taken = 1, 0.0
    while True:
        settle(device)
        begun = time.perf_counter()
        run(steps)
        settle(device)
        taken = time.perf_counter() - begun
        if taken >= seconds / 2:
            return steps / taken
        steps = max(steps + 1, min(round(seconds * steps / max(taken, 1e-6)), 20 * steps))


def in_turn(runs: Mapping[str, Run], bench: Bench) -> dict[str, float]:
    """Name -> steps a second, the median of turns."""
    seen: dict[str, list[float]] = {name: [] for name in runs}
    for name, run in runs.items():
        with bench.trying(name):
            run(3)  # the first steps choose kernels
    for _ in range(bench.size.rounds):
        for name, run in runs.items():
            if not any(words.startswith(f"{name}: ") for words in bench.amiss):
                with bench.trying(name):
                    seen[name].append(rate(run, bench.device, bench.size.seconds))
    return {name: statistics.median(rates) for name, rates in seen.items() if rates}


def shared(config: TrialConfig, data: ImageData, bench: Bench, count: int) -> float:
    """Steps a second of all of several processes that train on one device."""
    context = multiprocessing.get_context("spawn")
    ready, told = context.Barrier(count), context.Queue()
    seconds = 3 * bench.size.seconds
    arguments = (config.plain(), data, bench.device, seconds, ready, told)
    children = [context.Process(target=_share, args=arguments) for _ in range(count)]
    for child in children:
        child.start()
    try:
        return float(sum(told.get(timeout=120) for _ in children))
    finally:
        for child in children:
            child.join(10)
            if child.is_alive():
                child.kill()


def _share(
    tree: dict[str, Any], data: ImageData, device: str, seconds: float, ready: Any, told: Any
) -> None:
    torch.set_num_threads(1)
    run = alone(TrialConfig.model_validate(tree), data, device)
    run(3)
    settle(device)
    ready.wait(120)
    begun, steps = time.perf_counter(), 0
    while (taken := time.perf_counter() - begun) < seconds:
        run(10 if seconds > 1 else 1)
        settle(device)
        steps += 10 if seconds > 1 else 1
    told.put(steps / taken)


@contextmanager
def mps() -> Iterator[str]:
    """NVIDIA's MPS while it is open, for processes that begin meanwhile, or why there is none."""
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None:
        yield "nvidia-cuda-mps-control is not on this machine"
        return
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:
        own = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        started = subprocess.run(
            [control, "-d"], env=os.environ | own, capture_output=True, text=True, check=False
        )
        if started.returncode:
            yield f"it does not start: {(started.stderr or started.stdout).strip()[:200]}"
            return
        with environment(own):
            try:
                yield ""
            finally:
                words = "quit\n"
                subprocess.run([control], input=words, text=True, capture_output=True, check=False)


# The parts


def checks(bench: Bench) -> None:
    """Every check of training."""
    bench.say("\n## Does it hold?\n\n| check | seen |\n|---|---|")
    for name, check in CHECKS.items():
        with bench.trying(name):
            bench.say(f"| {name} | {check(bench.device)} |")


def speeds(bench: Bench, title: str, network: dict[str, Any], *, with_processes: bool) -> None:
    """One training, others' loops, processes that share the device, lanes."""
    size, device = bench.size, bench.device
    data = pictures(*size.images)
    config = configuration(data, network)
    bench.say(
        f"\n## {title}\n\n| what | trainings | steps/s of all | x one process |\n|---|---|---|---|"
    )
    contest = Contest(bench)
    enter, runs, counts = contest.enter, contest.runs, contest.counts
    enter("one process", 1, lambda: alone(config, data, device))
    contest.enter_compiled("compiled", 1, lambda: compiled(config, data, device, 1))
    enter("PyTorch tutorial's loop", 1, lambda: rival(Tutorial, config, data, device))
    enter("torch-mimicry's loop", 1, lambda: rival(Mimicry, config, data, device))
    if reason := why_alone(config):
        bench.say(f"| lanes | | trained one after another: {reason} | |")
    else:
        for count in size.lanes:
            make = lambda count=count: as_one(config, data, device, count)  # noqa: E731
            enter(f"{count} lanes", count, make)
        most = size.lanes[-1]
        both = lambda: compiled(config, data, device, most)  # noqa: E731
        contest.enter_compiled(f"{most} lanes, compiled", most, both)
    seen = {name: counts[name] * each for name, each in in_turn(runs, bench).items()}
    first = seen.get("one process", float("nan"))
    for name, of_all in seen.items():
        bench.say(f"| {name} | {counts[name]} | {of_all:.1f} | {of_all / first:.2f} |")
    runs.clear()
    if with_processes:
        _processes(bench, config, data, first)


def _processes(bench: Bench, config: TrialConfig, data: ImageData, first: float) -> None:
    for count in bench.size.processes:
        if not bench.late:
            with bench.trying(f"{count} processes"):
                of_all = shared(config, data, bench, count)
                bench.say(f"| {count} processes | {count} | {of_all:.1f} | {of_all / first:.2f} |")
    if bench.device == "cpu":
        return
    with mps() as reason:
        if reason:
            bench.say(f"| with MPS | | {reason} | |")
            return
        for count in bench.size.processes:
            if not bench.late:
                with bench.trying(f"{count} processes, MPS"):
                    of_all = shared(config, data, bench, count)
                    bench.say(
                        f"| {count} processes, MPS | {count} | {of_all:.1f} | {of_all / first:.2f} |"
                    )


def dcgan(bench: Bench) -> None:
    """The issue's networks."""
    width = bench.size.width
    title = f"dcgan {bench.size.images[0]}x{bench.size.images[0]}, width {width}, batch 64"
    speeds(bench, title, {"name": "dcgan", "width": width}, with_processes=True)


def mlp(bench: Bench) -> None:
    """The quickstart's networks."""
    speeds(bench, "mlp, width 128, batch 64", {"name": "mlp", "width": 128}, with_processes=False)


def peak(bench: Bench) -> None:
    """Operations a second in bfloat16, and what the device can do."""
    size, device = bench.size, bench.device
    data = pictures(*size.images)
    network = {"name": "dcgan", "width": size.wide}
    config = configuration(data, network, precision="bfloat16")
    most = _product(size.product, device, size.seconds)
    one = alone(config, data, device)
    with FlopCounterMode(display=False) as counter:
        one(1)
    a_step = counter.get_total_flops()
    bench.say(f"\n## bfloat16, width {size.wide}\n\n| what | trainings | TFLOP/s | of the peak |")
    bench.say("|---|---|---|---|")
    name = f"product of {size.product} x {size.product}"
    bench.say(f"| {name} | | {most / 1e12:.4g} | 100 % |")
    contest = Contest(bench)
    contest.enter("one process", 1, lambda: one)
    contest.enter_compiled("compiled", 1, lambda: compiled(config, data, device, 1))
    if not why_alone(config):
        count = size.lanes[-1]
        contest.enter(f"{count} lanes", count, lambda: as_one(config, data, device, count))
    for what, each in in_turn(contest.runs, bench).items():
        done = contest.counts[what] * each * a_step
        bench.say(
            f"| {what} | {contest.counts[what]} | {done / 1e12:.4g} | {100 * done / most:.1f} % |"
        )


def _product(rows: int, device: str, seconds: float) -> float:
    """Floating-point operations a second of a bfloat16 product."""
    left, right = (torch.randn(rows, rows, device=device, dtype=torch.bfloat16) for _ in range(2))

    def run(times: int) -> None:
        for _ in range(times):
            torch.mm(left, right)

    run(2)
    return 2 * rows**3 * rate(run, device, seconds)


PARTS: dict[str, Callable[[Bench], None]] = {
    "checks": checks,
    "dcgan": dcgan,
    "mlp": mlp,
    "peak": peak,
}


def machine(device: str) -> list[str]:
    """What it is measured on."""
    found = [f"torch {torch.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores"]
    if device == "cpu":
        return [f"# {platform.processor() or platform.machine()}, no GPU", "", *found]
    about = torch.cuda.get_device_properties(0)
    more = f"{about.total_memory / 2**30:.0f} GiB, {about.multi_processor_count} multiprocessors, "
    more += f"compute capability {about.major}.{about.minor}, CUDA {torch.version.cuda}, "
    more += f"cuDNN {torch.backends.cudnn.version()}"
    return [f"# {about.name}", "", more, *found]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts; returns 1 where something failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="where the table is written, in Markdown")
    parser.add_argument("--minutes", type=float, default=8, help="after them nothing more begins")
    parser.add_argument("--only", nargs="*", choices=PARTS, help="some of the parts")
    parser.add_argument("--tiny", action="store_true", help="small, to see that it runs")
    parser.add_argument("--uncompiled", action="store_true", help="leave compiled steps out")
    args = parser.parse_args(arguments)
    begun = time.monotonic()
    # What is begun may take a minute.
    until = begun + 60 * args.minutes - 60
    bench = Bench(args.device, TINY if args.tiny else FULL, until, not args.uncompiled)
    for line in machine(args.device):
        bench.say(line)
    for name in args.only or PARTS:
        if bench.late:
            bench.amiss.append(f"{name}: no time was left")
            continue
        with bench.trying(name):
            PARTS[name](bench)
    bench.say(f"\n{time.monotonic() - begun:.0f} seconds" + (", TINY" if args.tiny else ""))
    for words in bench.amiss:
        bench.say(f"- {words}")
    if args.out:
        args.out.write_text("\n".join(bench.lines) + "\n")
    return 1 if bench.amiss else 0


if __name__ == "__main__":
    sys.exit(main())

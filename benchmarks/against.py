"""This version beside another checkout: the ratio of each figure, in rounds that take turns.

    python -m benchmarks.against CHECKOUT [--rounds 5] [--only loop turnover scale tracking commands]

`CHECKOUT` is a worktree of the other version: `git worktree add ../old e1a4be4`. Each figure is made by
the checkout's own benchmark in a fresh process, with the same packages. Smaller is better for each of
them, and a ratio is this version's over the other's in the same round; the table has the median and
the range. Processor time, where it says so, depends little on what else the machine does; the clock
does.

- `loop`: processor seconds of a step of an `mlp` on the digits, without and with reports, of two
  processes that take turns every few tenths of a second (`benchmarks.loop`); with GANSEARCH_DATA also
  the `dcgan` on Fashion-MNIST;
- `turnover`: seconds of a trivial trial, once running, and of a study of 40 from start to end
  (`benchmarks.turnover`);
- `scale`: 1,000 trivial trials of 10 reports, with MLflow: the whole, a trial of the last third, the
  driver's processor time a trial, its largest resident set (`benchmarks.scale`);
- `tracking`: what a trial holds up the driver's loop, and the tracker's processor time a trial
  (`benchmarks.tracking`);
- `commands`: processor seconds of `--help`, `status` of a study of the other version's, and `check`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Figures = dict[str, float]
Measure = Callable[[Sequence[Path]], list[Figures]]

TURNS = 12
"""Blocks of some tenths of a second that each loop trains in a round."""

HERE = Path(__file__).parents[1]

LOOP = """
import json, sys, time, torch
from benchmarks import loop
torch.set_num_threads(1)
workload = next(workload for workload in loop.WORKLOADS if workload.name == sys.argv[1])
entries = {name: block for name, block in loop.contestants(workload).items() if "ours" in name}
print(flush=True)
for line in sys.stdin:
    train, steps = entries[line.strip()]
    begun = time.process_time()
    train()
    print((time.process_time() - begun) / steps, flush=True)
"""
"""A checkout's two loops, which train a block whenever they are told to."""

STUDY = """
data: {name: digits}
generator: {name: mlp}
discriminator: {name: mlp}
loss: {choice: [{name: hinge}, {name: minimax}, {name: wasserstein, penalty: {name: gradient-penalty}}]}
budget: {steps: 40, report_every: 20}
search: {trials: 3}
"""


def run(checkout: Path, *command: str, folder: Path | None = None) -> str:
    """What Python prints in a checkout; ends the benchmark where it fails."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder or checkout,
        env=_environment(checkout),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(
            f"{checkout}: {' '.join(command)[:80]} failed:\n{done.stdout[-500:]}{done.stderr[-3000:]}"
        )
    return done.stdout


def _environment(checkout: Path) -> dict[str, str]:
    own = {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    return {**os.environ, **own}


def last_line(text: str) -> Figures:
    """What a benchmark has printed at its end, as JSON."""
    figures: Figures = json.loads(text.strip().splitlines()[-1])
    return figures


class Looper:
    """A process of a checkout's own that trains a block of a workload whenever it is told to."""

    def __init__(self, checkout: Path, workload: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", LOOP, workload],
            cwd=checkout,
            env=_environment(checkout),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()  # it has loaded what it needs

    def train(self, name: str) -> float:
        """Processor seconds of a step."""
        assert self._process.stdin
        print(name, file=self._process.stdin, flush=True)
        return float(self._answer())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            sys.exit("a loop has ended early: see above")
        return line


def loop(checkouts: Sequence[Path]) -> list[Figures]:
    """Processor seconds of a step, of two fresh processes that take turns block by block."""
    figures: list[Figures] = [{} for _ in checkouts]
    workloads = ["mlp 8x8, width 128"]
    if os.environ.get("GANSEARCH_DATA"):
        workloads.append("dcgan 32x32, width 32")
    for workload in workloads:
        loopers = [Looper(checkout, workload) for checkout in checkouts]
        for name in ("ours", "ours, with reports"):
            times: list[list[float]] = [[] for _ in loopers]
            for turn in range(TURNS + 1):
                for which in range(len(loopers)) if turn % 2 else reversed(range(len(loopers))):
                    took = loopers[which].train(name)
                    if turn:  # the first warms up
                        times[which].append(took)
            for which, series in enumerate(times):
                figures[which][f"{workload}, {name}, processor s a step"] = statistics.median(series)
        for looper in loopers:
            looper.close()
    return figures


def _each(measure: Callable[[Path], Figures]) -> Measure:
    """One checkout after the other."""
    return lambda checkouts: [measure(checkout) for checkout in checkouts]


def turnover(checkout: Path) -> Figures:
    """A trivial trial of 40."""
    begun = time.perf_counter()
    printed = run(checkout, "-m", "benchmarks.turnover", "--one", "gansearch", "--trials", "40")
    whole = time.perf_counter() - begun
    ended: list[float] = json.loads(printed.strip().splitlines()[-1])
    return {"a trial, s": (ended[-1] - ended[1]) / 38, "40 trials, s": whole}


def scale(checkout: Path) -> Figures:
    """A thousand trivial trials."""
    size = ("--trials", "1000", "--reports", "10")
    found = last_line(run(checkout, "-m", "benchmarks.scale", "--one", "random", *size))
    return {
        "1,000 trials, s": found["seconds"],
        "a trial of the last third, s": found["last"],
        "driver's processor a trial, s": found["processor"],
        "driver's memory, MB": found["memory"],
    }


def tracking(checkout: Path) -> Figures:
    """Journal and MLflow beside a real training."""
    size = ("--trials", "8", "--steps", "1000")
    found = last_line(run(checkout, "-m", "benchmarks.tracking", "--one", "MLflow", *size))
    return {
        "in the loop, s a trial": (found["journal"] + found["handing over"]) / 8,
        "tracker's processor, s a trial": found["sending"] / 8,
    }


def commands(checkout: Path) -> Figures:
    """What the command line takes before it answers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "study.yaml").write_text(STUDY)
        material = HERE / "tests" / "material" / "v0_1_0" / "material.tar.xz"
        subprocess.run(["tar", "xf", str(material), "-C", name], check=True)
        asked = {
            "--help": ("--help",),
            "status": ("status", "finished"),
            "check": ("check", "study.yaml"),
        }
        took: Figures = {}
        for which, words in asked.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            run(checkout, "-m", "gansearch", *words, folder=folder)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
            took[f"{which}, processor s"] = used
        return took


MEASURES: dict[str, Measure] = {
    "loop": loop,
    "turnover": _each(turnover),
    "scale": _each(scale),
    "tracking": _each(tracking),
    "commands": _each(commands),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    args = parser.parse_args()
    other = args.checkout.resolve()
    print("| | the other's | this one's | ratio | range |\n|---|---|---|---|---|")
    for name in args.only:
        rounds: list[tuple[Figures, Figures]] = []
        for number in range(args.rounds):
            turns = (other, HERE) if number % 2 else (HERE, other)
            figures = dict(zip(turns, MEASURES[name](turns), strict=True))
            rounds.append((figures[other], figures[HERE]))
            shown = {k: round(v / rounds[-1][0][k], 3) for k, v in rounds[-1][1].items()}
            print(f"# {name}, load {os.getloadavg()[0]:.1f}: {shown}", file=sys.stderr, flush=True)
        for figure in rounds[0][0]:
            theirs, ours = ([side[i][figure] for side in rounds] for i in (0, 1))
            ratios = sorted(b / a for a, b in zip(theirs, ours, strict=True))
            cells = [f"{statistics.median(side):.3g}" for side in (theirs, ours)]
            cells += [f"**{statistics.median(ratios):.2f}**", f"{ratios[0]:.2f} to {ratios[-1]:.2f}"]
            words = re.sub(r"\s+", " ", figure)
            print(f"| {name}: {words} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

"""What does a proposal cost in a long search, and does bounding the sampler's history harm the search?

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.proposals cost [--sizes 100 1000 5000 10000] [--live 4]
    OPENBLAS_NUM_THREADS=1 python -m benchmarks.proposals quality [--seeds 12] [--trials 1000]
        [--functions branin hartmann ackley]
    OPENBLAS_NUM_THREADS=1 python -m benchmarks.proposals samplers [--seeds 20] [--trials 40]
        [--samplers random qmc tpe cmaes curves gp]

Cost: a `tpe` search of the made-up study of `benchmarks.search` (half of the space fails) is driven to
each size, its journal in memory (/dev/shm) because a disk is not what is measured. There each sampler
goes on with a copy of that journal for some trials. A proposal is all of `Ledger.next`: the draws, the
model of failure, the configuration and the journal's entry; its processor time is measured, because
other jobs run on the machine.

Quality: the regret (distance from the known least value) of the best trial of a `tpe` search that sees
at most 300 ended trials, against one that sees all of them, on standard functions: Branin in two
dimensions, Hartmann in six, and Ackley's in a space like a study's: logarithmic, integer and
conditional axes under a choice of three, of which two have a worse optimum. Each seed is a pair, and
the first 300 trials of a pair are the same. Given are the medians, and the mean ratio of the two
regrets over the seeds (geometric) with its bootstrap 95 % interval; above 1 the bound does harm.

Samplers: the regret of the best trial of short searches by each sampler on the same functions, one
trial at a time, each trained to its end: geometric means over the seeds.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from optuna.study import StudyDirection

from benchmarks.search import Study, make_spec
from gansearch.search import SAMPLERS
from gansearch.search.history import History
from gansearch.search.view import View, distribution
from gansearch.study.axes import Choice, Float, Int
from gansearch.study.config import trial_seed
from gansearch.study.location import Point
from gansearch.study.space import Space

BOUND = 300
UNBOUNDED = 10**6
ARMS: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("random", {"name": "random"}, 60),
    ("tpe", {"name": "tpe"}, 100),
    ("tpe, unbounded", {"name": "tpe", "history": UNBOUNDED}, 20),
    ("qmc", {"name": "qmc"}, 60),
    ("cmaes", {"name": "cmaes"}, 60),
    ("curves", {"name": "curves"}, 60),
    ("gp", {"name": "gp"}, 5),
)
"""Label, sampler, and how many proposals are measured."""


def cost(sizes: list[int], live: int) -> None:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = Path(name)
        source = Study(make_spec(folder, "tpe", max(sizes), 0), folder / "source", live)
        print("Processor time of a proposal, ms: median (95th percentile)\n")
        print(
            f"| finished trials | {' | '.join(label for label, _, _ in ARMS)} | to open the study, s |"
        )
        print(f"|{'---|' * (len(ARMS) + 2)}")
        for size in sizes:
            source.run(size - len(source.ledger.records))
            cells = []
            for label, sampler, proposals in ARMS:
                if label == "gp" and size < max(sizes):
                    cells.append("")
                    continue
                shutil.copytree(folder / "source", folder / "copy")
                begun = time.process_time()
                spec = make_spec(folder, sampler, size + proposals, 0)
                copy = Study(spec, folder / "copy", live)
                opened = time.process_time() - begun
                copy.run()
                taken = np.array(copy.proposal_seconds) * 1e3
                cells.append(f"{np.median(taken):.1f} ({np.quantile(taken, 0.95):.1f})")
                shutil.rmtree(folder / "copy")
            print(f"| {size:,} | {' | '.join(cells)} | {opened:.1f} |", flush=True)
        taken = np.array(source.proposal_seconds) * 1e3
        edges = range(0, len(taken) - 999, 1000)
        thousands = " ".join(f"{taken[edge : edge + 1000].mean():.1f}" for edge in edges)
        print(f"\nthe search itself, mean of each thousand, ms: {thousands}")


def branin(trial: optuna.Trial) -> float:
    x, y = trial.suggest_float("x", -5, 10), trial.suggest_float("y", 0, 15)
    bowl = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.39788736


HARTMANN_SCALES = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
HARTMANN_CENTRES = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(trial: optuna.Trial) -> float:
    x = np.array([trial.suggest_float(f"x{i}", 0, 1) for i in range(6)])
    exponents = (HARTMANN_SCALES * (x - HARTMANN_CENTRES) ** 2).sum(1)
    return 3.32236801 - float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-exponents))


def ackley(trial: optuna.Trial) -> float:
    loss = trial.suggest_categorical("loss", ["a", "b", "c"])
    z = [
        math.log10(trial.suggest_float("generator_lr", 1e-6, 1, log=True)) + 2.7,
        math.log10(trial.suggest_float("discriminator_lr", 1e-6, 1, log=True)) + 3.3,
        0.5 * (trial.suggest_int("depth", 1, 8) - 3),
    ]
    if loss != "a":
        weight = trial.suggest_float(f"weight_{loss}", 1e-3, 1e3, log=True)
        z.append(math.log10(weight) + (1 if loss == "c" else -1))
    radius = math.sqrt(statistics.fmean(v**2 for v in z))
    waves = statistics.fmean(math.cos(2 * math.pi * v) for v in z)
    worse = {"a": 1.0, "b": 0.5, "c": 0.0}[loss]
    return worse - 20 * math.exp(-0.2 * radius) - math.exp(waves) + 20 + math.e


FUNCTIONS: dict[str, Callable[[optuna.Trial], float]] = {
    "branin": branin,
    "hartmann": hartmann,
    "ackley": ackley,
}


def search(function: str, history: int, trials: int, seed: int) -> list[float]:
    """The best regret after each trial."""
    study = optuna.create_study(storage=History(StudyDirection.MINIMIZE, history))
    best, course = math.inf, []
    for number in range(trials):
        options = {"history": history}
        proposal = trial_seed(seed, number, "proposal")
        study.sampler = SAMPLERS.build("tpe", options, proposal, function == "ackley")
        trial = study.ask()
        value = FUNCTIONS[function](trial)
        study.tell(trial, value)
        best = min(best, value)
        course.append(best)
    return course


def quality(functions: list[str], seeds: int, trials: int) -> None:
    at = sorted({min(100, trials), min(300, trials), min(500, trials), trials})
    print(f"Pairs of searches: {seeds}; all trials shown / at most {BOUND}\n")
    print("| function | trials | median regret | ratio (95 % interval) | better / worse |")
    print("|---|---|---|---|---|")
    chance = np.random.default_rng(0)
    for function in functions:
        pairs = [[search(function, h, trials, s) for h in (UNBOUNDED, BOUND)] for s in range(seeds)]
        regrets = np.maximum(np.array(pairs), 1e-9)  # seed x arm x trial
        for count in at:
            of_all, of_bound = regrets[:, 0, count - 1], regrets[:, 1, count - 1]
            ratios = np.log(of_bound / of_all)
            means = chance.choice(ratios, (2000, seeds)).mean(1)
            low, high = np.exp(np.quantile(means, [0.025, 0.975]))
            ratio = f"{math.exp(ratios.mean()):.2f} ({low:.2f} to {high:.2f})"
            counts = f"{(ratios < 0).sum()} / {(ratios > 0).sum()}"
            medians = f"{np.median(of_all):.2g} / {np.median(of_bound):.2g}"
            print(f"| {function} | {count:,} | {medians} | {ratio} | {counts} |", flush=True)


SPACES: dict[str, Space] = {
    "branin": Space({"x": Float(-5, 10), "y": Float(0, 15)}),
    "hartmann": Space({f"x{i}": Float(0, 1) for i in range(6)}),
    "ackley": Space(
        {
            "loss": Choice(
                {
                    "a": "a",
                    "b": {"weight_b": Float(1e-3, 1e3, log=True)},
                    "c": {"weight_c": Float(1e-3, 1e3, log=True)},
                }
            ),
            "generator_lr": Float(1e-6, 1, log=True),
            "discriminator_lr": Float(1e-6, 1, log=True),
            "depth": Int(1, 8),
        }
    ),
}


class Given:
    """A point that answers for an Optuna trial."""

    def __init__(self, point: Point) -> None:
        self._values = {name.rpartition(".")[2]: value for name, value in point.items()}

    def suggest_float(self, name: str, *_: float, **__: Any) -> Any:
        """Its value there."""
        return self._values[name]

    suggest_int = suggest_categorical = suggest_float


def short_search(function: str, sampler: str, trials: int, seed: int) -> list[float]:
    """The best regret after each trial of a search by one of the samplers."""
    space, view = SPACES[function], View(StudyDirection.MINIMIZE, seed)
    kinds = {name: distribution(axis) for name, axis in space.axes().items()}
    best, course = math.inf, []
    for number in range(trials):
        part = SAMPLERS.build(sampler, {}, trial_seed(seed, number, "proposal"), function == "ackley")
        view.ask(part)
        point = next(view.draws(part, number, space))
        own = {name: kinds[name] for name in point}
        view.enter(number, point, own)
        value = FUNCTIONS[function](cast(optuna.Trial, Given(point)))
        ended = optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE,
            value=value,
            params=point,
            distributions=own,
            intermediate_values={100: value},
        )
        ended.number = number
        view.update(ended)
        best = min(best, value)
        course.append(best)
    return course


def samplers(functions: list[str], names: list[str], seeds: int, trials: int) -> None:
    at = [count for count in (10, 20, 40, 80, 160) if count <= trials]
    print(f"Regret of the best of {', '.join(map(str, at))} trials; geometric means of {seeds} seeds\n")
    print(f"| sampler | {' | '.join(functions)} | processor time of a proposal, ms |")
    print(f"|{'---|' * (len(functions) + 2)}")
    for name in names:
        cells, begun = [], time.process_time()
        for function in functions:
            courses = [short_search(function, name, trials, seed) for seed in range(seeds)]
            logs = np.log(np.maximum(np.array(courses), 1e-9))
            cells.append(" / ".join(f"{math.exp(logs[:, count - 1].mean()):.2g}" for count in at))
        taken = 1e3 * (time.process_time() - begun) / (len(functions) * seeds * trials)
        print(f"| {name} | {' | '.join(cells)} | {taken:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("cost", "quality", "samplers"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000, 10000])
    parser.add_argument("--live", type=int, default=4, help="trials at once")
    parser.add_argument("--functions", nargs="+", choices=FUNCTIONS, default=list(FUNCTIONS))
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS.names, default=SAMPLERS.names)
    parser.add_argument("--seeds", type=int, help="default: 12, of samplers 20")
    parser.add_argument("--trials", type=int, help="default: 1,000, of samplers 40")
    args = parser.parse_args()
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if args.what == "cost":
        cost(args.sizes, args.live)
    elif args.what == "quality":
        quality(args.functions, args.seeds or 12, args.trials or 1000)
    else:
        samplers(args.functions, args.samplers, args.seeds or 20, args.trials or 40)


if __name__ == "__main__":
    main()

"""What does the analysis of a large study cost, on one core?

    python -m benchmarks.analysis [--trials 5000] [--reports 50] [--keep DIR]

A made-up search of `--trials` trials with `--reports` reports each, and a stability study of its ten
best configurations on 50 seeds, are written through the project's own journal (only its
fsync is left out, which costs 2 ms a trial). The axes are a real study's: both learning rates,
beta1, a depth, a norm, five losses, one of which has a penalty whose weight is an axis of its own. A
trial fails with a probability that is logistic in the sum of the learning rates on their log scale; a
third of the healthy ones are pruned.

Then a process of its own, whose libraries have one thread each, reads the journals, makes every table,
and writes the whole report, tables and all, in seconds of its processor time, which other jobs on the
machine hardly add to, and of the clock. Targets: loading and report within 20 s on a free core and 2 GB
of resident memory; an HTML file under 10 MB.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from benchmarks.facts import made_up
from gansearch.journal.directory import JOURNAL_FILE
from gansearch.journal.journal import Journal
from gansearch.study.axes import Axis, Choice, Float, Int
from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome, Report, TrialRecord, ranked
from gansearch.study.roster import Candidate, Roster

METRIC, STEPS = "fd_classifier", 5000
TOP, SEEDS = 10, 50
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR")}
FACTS = made_up(METRIC, STEPS, 5000)
LOSSES = ("minimax", "non-saturating", "hinge", "least-squares", "wasserstein")
WEIGHT = "loss.wasserstein.penalty.weight"
AXES: dict[str, Axis] = {
    "optimizer.generator.lr": Float(1e-5, 1e-1, log=True),
    "optimizer.discriminator.lr": Float(1e-5, 1e-1, log=True),
    "optimizer.generator.beta1": Float(0.0, 0.9),
    "generator.depth": Int(1, 4),
    "discriminator.norm": Choice({label: label for label in ("none", "batch", "spectral")}),
    "loss": Choice({label: {"name": label} for label in LOSSES}),
    WEIGHT: Float(0.1, 100.0, log=True),
}
OTHERS = (
    "d_loss",
    "g_loss",
    "d_grad_norm",
    "g_grad_norm",
    "d_accuracy",
    "d_error_real",
    "d_error_fake",
    "d_doubt",
    "d_weight_growth",
    "g_weight_growth",
    "is_classifier",
    "diversity",
)
"""Besides the objective, what a report of the project's own trainer holds."""
PROVENANCE = {name: {"features": None, "over": "made up"} for name in (*OTHERS, METRIC)}


def point(rng: np.random.Generator) -> dict[str, Any]:
    """One random point of the space."""
    values: dict[str, Any] = {}
    for name, axis in AXES.items():
        if isinstance(axis, Choice):
            values[name] = str(rng.choice([str(label) for label in axis.options]))
        elif isinstance(axis, Int):
            values[name] = int(rng.integers(axis.low, axis.high + 1))
        elif isinstance(axis, Float) and axis.log:
            values[name] = float(10 ** rng.uniform(math.log10(axis.low), math.log10(axis.high)))
        elif isinstance(axis, Float):
            values[name] = float(rng.uniform(axis.low, axis.high))
    if values["loss"] != "wasserstein":
        del values[WEIGHT]
    return values


def config(params: dict[str, Any], seed: int) -> dict[str, Any]:
    """The point as a resolved configuration, plain."""
    penalty = {"name": "gradient-penalty", "weight": params[WEIGHT]} if WEIGHT in params else None
    lr, beta1 = params["optimizer.generator.lr"], params["optimizer.generator.beta1"]
    network = {"name": "dcgan", "width": 32}
    tree = {
        "generator": network | {"depth": params["generator.depth"], "norm": "batch"},
        "discriminator": network | {"depth": 2, "norm": params["discriminator.norm"]},
        "loss": {"name": params["loss"], "penalty": penalty},
        "optimizer": {
            "generator": {"lr": lr, "beta1": beta1, "beta2": 0.999},
            "discriminator": {
                "lr": params["optimizer.discriminator.lr"],
                "beta1": 0.5,
                "beta2": 0.999,
            },
        },
        "seed": seed,
    }
    return TrialConfig.model_validate(tree).plain()


def ending(params: dict[str, Any], rng: np.random.Generator, *, prune: bool) -> tuple[Outcome, int]:
    """How a trial ends, and at which step."""
    x, y = (
        math.log10(params[f"optimizer.{side}.lr"]) / 4 + 1.25 for side in ("generator", "discriminator")
    )
    if rng.random() < 1 / (1 + math.exp(-12 * (x + y - 1.2))):
        outcome = (Outcome.DIVERGED, Outcome.COLLAPSED, Outcome.STALLED)[int(rng.integers(3))]
        return outcome, int(STEPS * rng.uniform(0.1, 0.9))
    if prune and rng.random() < 1 / 3:
        return Outcome.PRUNED, int(STEPS * rng.uniform(0.1, 0.9))
    return Outcome.COMPLETED, STEPS


def reports(
    params: dict[str, Any], count: int, rng: np.random.Generator, *, prune: bool = True
) -> Iterator[Report]:
    """The curve of a trial, whose last report says how it ended."""
    outcome, last = ending(params, rng, prune=prune)
    base = 10 + 20 * abs(math.log10(params["optimizer.generator.lr"]) + 3.5) + 5 * rng.random()
    noise = rng.normal(size=(count, len(OTHERS) + 1))
    for i in range(1, count + 1):
        step = max(last * i // count, i)
        value = base * (1 + 4 * math.exp(-5 * i / count)) * math.exp(0.05 * noise[i - 1, 0])
        final = outcome if i == count else None
        if final is Outcome.DIVERGED:
            value = math.nan
        metrics = dict(zip(OTHERS, noise[i - 1, 1:].tolist(), strict=True)) | {METRIC: value}
        yield Report(
            step, 64 * step, 0.01 * step, metrics, 1.7e9 + step, final, "made up" if final else ""
        )


def open_bulk(directory: Path) -> Journal:
    """A new journal in a directory, which does not wait for the disk."""
    directory.mkdir(parents=True, exist_ok=True)
    journal = Journal.create(directory, "large", FACTS)
    journal.storage.flush = lambda: None  # type: ignore[method-assign]
    return journal


def enter(journal: Journal, record: TrialRecord, distributions: dict[str, Any]) -> None:
    """Write a trial with its reports and its end, as the ledger does."""
    journal.begin(
        record.number,
        record.params,
        {name: distributions[name] for name in record.params},
        record.config,
        record.configuration,
    )
    journal.note(record.number, provenance=PROVENANCE)
    for report in record.reports:
        journal.report(record.number, report)
    end = record.reports[-1]
    assert end.outcome is not None
    journal.end(record, end.outcome, end.reason)


def write_study(directory: Path, trials: int, count: int) -> None:
    """The journals of a finished search and of its stability study."""
    rng = np.random.default_rng(0)
    distributions = {
        name: CategoricalDistribution(list(axis.options))
        if isinstance(axis, Choice)
        else IntDistribution(axis.low, axis.high)
        if isinstance(axis, Int)
        else FloatDistribution(axis.low, axis.high, log=axis.log)
        for name, axis in AXES.items()
    }
    journal = open_bulk(directory)
    records = []
    for number in range(trials):
        params = point(rng)
        curve = list(reports(params, count, rng))
        record = TrialRecord(number, params, config(params, number), reports=curve)
        enter(journal, record, distributions)
        records.append(record)
    journal.flush()
    candidates = [
        Candidate(
            f"trial-{r.number}", "search", without_seed(r.config), trial=r.number, params=r.params
        )
        for r in ranked(records, METRIC, "min")[:TOP]
    ]
    roster = Roster().extended(candidates, SEEDS, 0)
    again = open_bulk(directory / "stability")
    again.extend(roster)
    for number, (label, seed) in enumerate(roster.entries):
        candidate = roster[label]
        curve = list(reports(candidate.params or {}, count, rng, prune=False))
        seeded = candidate.config | {"seed": seed}
        enter(again, TrialRecord(number, {}, seeded, reports=curve, configuration=label), distributions)
    again.flush()


def without_seed(tree: dict[str, Any]) -> dict[str, Any]:
    """A configuration as a roster has it."""
    return {key: value for key, value in tree.items() if key != "seed"}


def peak_memory() -> float:
    """The largest resident set of this process in MB: `getrusage` would count its parent's too."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def measure(directory: Path) -> Iterator[dict[str, Any]]:
    """Each step with its seconds of processor and clock, and the largest resident set so far in MB."""
    from gansearch.analysis import budget, evidence, importance, maps, tables, trials  # noqa: PLC0415
    from gansearch.reporting import writing  # noqa: PLC0415

    def timed(step: str, work: Callable[[], Any]) -> dict[str, Any]:
        cpu, clock = time.process_time(), time.perf_counter()
        results[step] = work()
        used = time.process_time() - cpu, time.perf_counter() - clock
        return {"step": step, "cpu": used[0], "clock": used[1], "peak": peak_memory()}

    results: dict[str, Any] = {}
    yield timed(
        "journals opened", lambda: [Journal.open(directory / p, "large") for p in ("", "stability")]
    )
    search, again = results["journals opened"]
    yield timed("records", lambda: (search.trials(), again.trials()))
    study = evidence.Evidence(
        name="large",
        question="What does analysis cost?",
        metric=METRIC,
        goal="min",
        steps=STEPS,
        planned=len(results["records"][0]),
        axes=AXES,
        search=results["records"][0],
        stability=results["records"][1],
        roster=again.roster,
        facts=FACTS,
    )
    families = trials.families(study.search)
    steps: dict[str, Callable[[], Any]] = {
        "trials table": lambda: tables.trials_table(study.search, METRIC, "min"),
        "curves table": lambda: tables.curves_table(study.search),
        "stability maps": lambda: [maps.stability_map(study, family=f) for f in families],
        "map points": lambda: [maps.map_points(study, family=f) for f in families],
        "safe rates": lambda: maps.safe_rates(study),
        "budget curves": lambda: budget.budget_curves(study),
        "seconds curves": lambda: budget.seconds_curves(study),
        "importance": lambda: importance.importance(study),
        "outcomes by axis": lambda: [importance.outcomes_by(study, axis) for axis in AXES],
        "slices, parallel": lambda: (importance.slices(study), importance.parallel(study)),
        "whole report": lambda: writing.write_report(study, directory / "report"),
    }
    for step, work in steps.items():
        yield timed(step, work)
        if step != "whole report":
            del results[step]
    yield {"step": "html", "size": results["whole report"].stat().st_size / 2**20}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--reports", type=int, default=50)
    parser.add_argument("--keep", type=Path, help="a folder for the study, used again if it is there")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        for step in measure(args.measure):
            print(json.dumps(step), flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        directory = args.keep or Path(folder)
        if not (directory / JOURNAL_FILE).exists():
            write_study(directory, args.trials, args.reports)
        size = (directory / JOURNAL_FILE).stat().st_size / 2**20
        print(f"{args.trials} trials with {args.reports} reports each: a journal of {size:.0f} MB\n")
        print("| step | processor, s | clock, s | peak so far, MB |\n|---|---|---|---|")
        command = [sys.executable, "-m", "benchmarks.analysis", "--measure", str(directory)]
        with subprocess.Popen(
            command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            steps = [_printed(json.loads(line)) for line in child.stdout]
        if child.returncode:
            sys.exit(child.returncode)
    *timed, html = steps
    loading, tables, report = timed[:2], timed[2:-1], timed[-1]
    for name, parts in (
        ("loading and tables", [*loading, *tables]),
        ("loading and report", [*loading, report]),
    ):
        cpu, clock = (sum(part[key] for part in parts) for key in ("cpu", "clock"))
        print(f"| **{name}** | **{cpu:.1f}** | {clock:.1f} | **{parts[-1]['peak']:.0f}** |")
    print(f"\nreport.html: {html['size']:.1f} MB")


def _printed(step: dict[str, Any]) -> dict[str, Any]:
    if "cpu" in step:
        print(
            f"| {step['step']} | {step['cpu']:.2f} | {step['clock']:.2f} | {step['peak']:.0f} |",
            flush=True,
        )
    return step


if __name__ == "__main__":
    main()

"""Trivial trials a second: our whole machinery beside a function trainable of Ray's documentation.

    python -m benchmarks.turnover [--trials 30] [--rounds 3]

Both run on two CPUs, one trial a CPU, in a fresh process each, by turns. A trivial trial makes one
report and trains nothing.

- `function`: `def objective(config): ... tune.report({"score": score})` with torch imported, three
  random axes, `tune.Tuner(objective, ...).fit()` and every setting as Ray has it.
- `gansearch`: a study of the same number of trials through `gansearch.tuning.launch.run`: TPE over six
  axes, ASHA, journal, ledger, table, progress lines, resource checks, data and reference through the
  object store, with `benchmarks.trivial:TrivialTrainer`. `gansearch, MLflow` is the same with tracking
  to SQLite, until MLflow has everything.

`steady` counts from the second trial's end to the last one's; `all` is the whole process, with imports
and the start of Ray.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.fresh import in_fresh_process

if TYPE_CHECKING:
    from gansearch.study.records import TrialRecord

KINDS = ("function", "gansearch", "gansearch, MLflow")
WARM_UP = 2

STUDY = """
data: {name: digits}
generator: {name: mlp, depth: {int: [1, 3]}}
discriminator: {name: mlp, depth: {int: [1, 3]}}
loss: {choice: [{name: non-saturating}, {name: hinge}, {name: wasserstein}]}
optimizer: {generator: {lr: {log: [1e-5, 1e-1]}}, discriminator: {lr: {log: [1e-5, 1e-1]}}}
latent_size: {int: [16, 128]}
budget: {steps: 1, report_every: 1}
"""


def time_function(trials: int) -> list[float]:
    """When each trial ended, under a stock Tuner."""
    import ray  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from ray import tune  # noqa: PLC0415

    def objective(config: dict[str, float]) -> None:
        score = torch.tensor([config["lr_g"], config["lr_d"]]).sum().item()
        tune.report({"score": score})

    ended: list[float] = []

    class Clock(tune.Callback):  # type: ignore[misc]
        def on_trial_complete(self, **_: Any) -> None:
            ended.append(time.time())

    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    space = {
        "lr_g": tune.loguniform(1e-5, 1e-1),
        "lr_d": tune.loguniform(1e-5, 1e-1),
        "depth": tune.randint(1, 4),
    }
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            objective,
            param_space=space,
            tune_config=tune.TuneConfig(num_samples=trials, metric="score", mode="min"),
            run_config=tune.RunConfig(storage_path=folder, callbacks=[Clock()], verbose=0),
        ).fit()
    ray.shutdown()
    return ended


def time_ours(trials: int, tracking: str | None) -> list[float]:
    """When each trial ended, in a study."""
    records, _ = trivial_study(trials, tracking=tracking, concurrency=2)
    outcomes = [str(record.outcome) for record in records]
    if outcomes != ["completed"] * trials:
        raise RuntimeError(f"not all trials completed: {outcomes}")
    return sorted(record.last.time for record in records if record.last)


def trivial_study(trials: int, **where: Any) -> tuple[list[TrialRecord], float]:
    """The trials of a study that trains nothing, and its seconds; `where`: fields of `Where`."""
    from rich.console import Console  # noqa: PLC0415

    from gansearch.journal.directory import StudyDirectory  # noqa: PLC0415
    from gansearch.journal.journal import Journal  # noqa: PLC0415
    from gansearch.journal.stored import StoredStudy  # noqa: PLC0415
    from gansearch.training.prepare import LocalPaths  # noqa: PLC0415
    from gansearch.training.validation import load_study  # noqa: PLC0415
    from gansearch.tuning.launch import run  # noqa: PLC0415
    from gansearch.tuning.where import Where  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "study.yaml"
        path.write_text(STUDY)
        places = LocalPaths.of_environment()
        spec, data = load_study(path, places.data, {"search.trials": trials})
        directory = StudyDirectory.new("study", "study", Path(name) / "runs")
        there = Where(**where, trainer="benchmarks.trivial:TrivialTrainer")
        begun = time.perf_counter()
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            run(spec, data, StoredStudy(directory), there, Console(file=nowhere))
        seconds = time.perf_counter() - begun
        return Journal.open(directory.path, directory.name).trials(), seconds


def time_one(kind: str, trials: int) -> list[float]:
    if kind == "function":
        return time_function(trials)
    return time_ours(trials, "off" if kind == "gansearch" else None)


def measure(kind: str, trials: int) -> tuple[float, float]:
    """Trials a second in a fresh process: steady, all."""
    begun = time.perf_counter()
    ended = in_fresh_process("turnover", kind, "--trials", str(trials))
    whole = time.perf_counter() - begun
    steady = (trials - WARM_UP) / (ended[-1] - ended[WARM_UP - 1])
    return steady, trials / whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=KINDS, help="measure one, in this process")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(time_one(args.one, args.trials)))
        return
    measured: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for number in range(args.rounds):
        for kind in KINDS:
            measured[kind].append(measure(kind, args.trials))
            print(f"# round {number}: {kind}: {measured[kind][-1]}", file=sys.stderr, flush=True)
    print(f"{args.trials} trials, medians of {args.rounds} rounds by turns; ratios are of each round\n")
    print("| | steady, trials/s | ratio | all, trials/s | ratio |")
    print("|---|---|---|---|---|")
    base = measured["function"]
    for kind, runs in measured.items():
        cells = []
        for i in range(2):
            rate = statistics.median(run[i] for run in runs)
            ratio = statistics.median(run[i] / b[i] for run, b in zip(runs, base, strict=True))
            cells += [f"{rate:.2f}", f"{ratio:.1f}"]
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

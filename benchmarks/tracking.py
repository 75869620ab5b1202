"""What tracking and the journal cost a study, beside Ray's own `MLflowLoggerCallback`.

    python -m benchmarks.tracking [--trials 8] [--steps 2000] [--rounds 3]

A small real study: an `mlp` GAN on the digits, 20 reports a trial, random search, no pruner, two trials
at once; the same trials in every run, which take turns in fresh processes:

- `off`: journal, checkpoints, table, no MLflow; `MLflow`: the same with tracking to SQLite as by
  default, sample grids and resolved configurations as artifacts included;
- `stock, off`: the same configurations and the same trainable under a plain `tune.Tuner`;
  `stock, MLflow`: with `ray.air.integrations.mlflow.MLflowLoggerCallback` to SQLite, metrics and
  parameters only.

Wall times of whole runs differ by several per cent on a busy machine, so what counts is measured
directly too. `in the loop`: seconds in which the driver's loop is held up and nothing new can be given
to the workers: the journal's writes, handing records to the tracker, or all of the stock callback.
`thread`: processor seconds of the tracker's own thread; first what a study costs once (importing
mlflow, making the database), then what a trial costs; the latter also as a share of the trial's own
processor time (wall x 2 cores).
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.facts import made_up
from benchmarks.fresh import in_fresh_process

KINDS = ("off", "MLflow", "stock, off", "stock, MLflow")
CORES = 2

STUDY = """
data: {name: digits}
generator: {name: mlp, width: 128, depth: {int: [1, 3]}}
discriminator: {name: mlp, width: 128}
optimizer: {generator: {lr: {log: [1e-4, 1e-3]}}, discriminator: {lr: {log: [1e-4, 1e-3]}}}
budget: {steps: 2000, report_every: 100}
search: {sampler: random}
pruner: {name: none}
health: {diverged: false, collapsed: false, stalled: false}
"""


class Clock:
    """Adds up the time spent in methods."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._active = threading.local()

    def on(self, owner: type, names: list[str], label: str, timer: Any = time.perf_counter) -> None:
        """Count the time in these methods under a label; calls within calls count once."""
        for name in names:
            setattr(owner, name, self._timed(getattr(owner, name), label, timer))

    def _timed(self, method: Any, label: str, timer: Any) -> Any:
        @functools.wraps(method)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._active, label, False):
                return method(*args, **kwargs)
            setattr(self._active, label, True)
            begun = timer()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds[label] += timer() - begun
                setattr(self._active, label, False)

        return wrapper


def time_ours(trials: int, steps: int, tracking: str | None) -> dict[str, float]:
    from rich.console import Console  # noqa: PLC0415

    from gansearch.journal.directory import StudyDirectory  # noqa: PLC0415
    from gansearch.journal.journal import Journal  # noqa: PLC0415
    from gansearch.journal.stored import StoredStudy  # noqa: PLC0415
    from gansearch.tracking import Tracker  # noqa: PLC0415
    from gansearch.tracking.runs import StudyRuns  # noqa: PLC0415
    from gansearch.tuning import engine  # noqa: PLC0415
    from gansearch.tuning.launch import run  # noqa: PLC0415
    from gansearch.tuning.where import Where  # noqa: PLC0415

    clock = Clock()
    clock.on(Journal, ["report", "end", "note", "note_runs", "tick"], "journal")
    clock.on(Tracker, ["submit", "run_ids"], "handing over")
    clock.on(Tracker, ["finish"], "at the end")
    clock.on(Tracker, ["_work"], "beside it", time.thread_time)
    clock.on(StudyRuns, ["send"], "sending", time.thread_time)
    fit = engine.fit
    engine.fit = clock._timed(fit, "fit", time.perf_counter)
    with tempfile.TemporaryDirectory() as name:
        spec, data, _ = _study(Path(name), trials, steps)
        directory = StudyDirectory.new("study", "study", Path(name) / "runs")
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            where = Where(tracking=tracking, concurrency=2)
            run(spec, data, StoredStudy(directory), where, Console(file=nowhere))
        records = Journal.open(directory.path, directory.name).trials()
    reports = sum(len(record.reports) for record in records)
    wall = clock.seconds["fit"] + clock.seconds["at the end"]
    return dict(clock.seconds) | {"wall": wall, "reports": reports}


def time_stock(trials: int, steps: int, mlflow: bool) -> dict[str, float]:
    import ray  # noqa: PLC0415
    from ray import tune  # noqa: PLC0415
    from ray.air.integrations.mlflow import MLflowLoggerCallback  # noqa: PLC0415

    from gansearch.journal.journal import Journal  # noqa: PLC0415
    from gansearch.search.proposer import Proposer  # noqa: PLC0415
    from gansearch.training.prepare import prepare  # noqa: PLC0415
    from gansearch.tuning.trainable import Begin, Worker  # noqa: PLC0415
    from gansearch.tuning.where import TRAINER  # noqa: PLC0415

    class Plain(Worker):
        """Our trainable with one trial, a flat result and configuration, as the stock callback wants
        them.
        """

        def setup(self, config: dict[str, Any], **shared: Any) -> None:
            super().setup(config, **shared)
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            super().reset_config(new_config)
            trial = new_config["trial"]
            self.tell([Begin(trial["number"], json.dumps(trial["config"]))])
            return True

        def step(self) -> dict[str, Any]:
            (told,) = super().step()["told"]
            if told.report is None:
                raise RuntimeError(told.failure)
            report = told.report
            return {**report.metrics, "step": report.step, "done": report.outcome is not None}

    clock = Clock()
    names = ["log_trial_start", "log_trial_result", "log_trial_end"]
    clock.on(MLflowLoggerCallback, names, "stock callback")
    ray.init(num_cpus=CORES, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spec, data, places = _study(folder, trials, steps)
        facts = made_up("fd_classifier", steps, trials)
        proposer = Proposer(spec, Journal.create(folder, "study", facts))
        records = [proposer.propose(number) for number in range(trials)]
        configs = [{"number": r.number, "config": r.config} for r in records]
        reference = prepare(spec.example(), data, places)
        callback = MLflowLoggerCallback(f"sqlite:///{folder}/mlflow.db", experiment_name="study")
        parts = tune.with_parameters(
            Plain, data=data, reference=reference, directory=str(folder), trainer=TRAINER
        )
        tuner = tune.Tuner(
            tune.with_resources(parts, {"cpu": 1}),
            param_space={"trial": tune.grid_search(configs)},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=2),
            run_config=tune.RunConfig(
                storage_path=str(folder / "tune"), callbacks=[callback] if mlflow else [], verbose=0
            ),
        )
        begun = time.perf_counter()
        results = tuner.fit()
        wall = time.perf_counter() - begun
        reports = sum(len(result.metrics_dataframe) for result in results)
    ray.shutdown()
    return dict(clock.seconds) | {"wall": wall, "reports": reports}


def _study(folder: Path, trials: int, steps: int) -> Any:
    from gansearch.training.prepare import LocalPaths  # noqa: PLC0415
    from gansearch.training.validation import load_study  # noqa: PLC0415

    path = folder / "study.yaml"
    path.write_text(STUDY)
    places = LocalPaths.of_environment()
    budget = {"budget.steps": steps, "budget.report_every": steps // 20}
    return *load_study(path, places.data, {"search.trials": trials, **budget}), places


def time_one(kind: str, trials: int, steps: int) -> dict[str, float]:
    if kind.startswith("stock"):
        return time_stock(trials, steps, kind.endswith("MLflow"))
    return time_ours(trials, steps, "off" if kind == "off" else None)


def measure(kind: str, args: argparse.Namespace) -> dict[str, float]:
    size = ("--trials", str(args.trials), "--steps", str(args.steps))
    seconds: dict[str, float] = in_fresh_process("tracking", kind, *size)
    print(f"# {kind}: {seconds}", file=sys.stderr, flush=True)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=KINDS, help="measure one, in this process")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(time_one(args.one, args.trials, args.steps)))
        return
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(args.rounds):
        for kind in KINDS:
            runs[kind].append(measure(kind, args))
    print(f"{args.trials} trials of {args.steps} steps, 20 reports each, two at once;")
    print(f"medians of {args.rounds} rounds\n")
    print(
        "| | wall, s | to own off | in the loop, ms/trial | share | thread, s once | ms/trial | share |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        off = runs["stock, off" if kind.startswith("stock") else "off"]
        print(f"| {kind} | {' | '.join(_cells(runs[kind], off, args.trials))} |")


def _cells(runs: list[dict[str, float]], off: list[dict[str, float]], trials: int) -> list[str]:
    def middle(values: list[float]) -> float:
        return statistics.median(values)

    in_loop = [
        run.get("journal", 0) + run.get("handing over", 0) + run.get("stock callback", 0)
        for run in runs
    ]
    walls = [run["wall"] for run in runs]
    once = [run.get("beside it", 0) - run.get("sending", 0) for run in runs]
    sending = [run.get("sending", 0) for run in runs]
    return [
        f"{middle(walls):.1f}",
        f"{middle([a / o['wall'] for a, o in zip(walls, off, strict=True)]):.3f}",
        f"{middle(in_loop) / trials * 1e3:.0f}",
        f"{middle([a / b for a, b in zip(in_loop, walls, strict=True)]):.1%}",
        f"{middle(once):.1f}",
        f"{middle(sending) / trials * 1e3:.0f}",
        f"{middle([a / b / CORES for a, b in zip(sending, walls, strict=True)]):.1%}",
    ]


if __name__ == "__main__":
    main()

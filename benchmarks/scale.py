"""Ten thousand trivial trials: a whole study beside stock Ray Tune, which writes nothing down.

    python -m benchmarks.scale [--trials 10000] [--reports 10] [--rounds 1] [--kinds stock ...]

Both sides run on two CPUs, two trials at once, in a fresh process each, by turns. A trivial trial makes
`--reports` reports and trains nothing.

- `stock`: `tune.Tuner` with a class trainable whose `step` computes the same number and whose
  `reset_config` returns True, so that `reuse_actors` keeps its processes for all trials; three random
  axes. It is as fast as options make it: no logger callbacks (which write three files a trial), no
  experiment state on disk until the end (`TUNE_GLOBAL_CHECKPOINT_S`: what dies could not be restored),
  no output, no search algorithm, no scheduler.
- `stock, defaults`: the same trainable with every setting as Ray has it, `reuse_actors` excepted.
- `random`: a gansearch study of as many trials through `gansearch.tuning.launch.run`: journal file,
  MLflow on SQLite, ledger, table, progress lines, the random sampler, and
  `benchmarks.trivial:TrivialTrainer`. Its time ends when MLflow has everything.
- `tpe`: the same with the `tpe` sampler. `random, no MLflow`: with tracking off.

The wall time is that of the call, `Tuner.fit` or `run`, with the start of Ray on both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.fresh import in_fresh_process
from benchmarks.turnover import STUDY

KINDS = ("stock", "stock, defaults", "random", "tpe", "random, no MLflow")
USUAL = ("stock", "random", "tpe")


Ends = list[tuple[float, float]]
"""Of each trial in turn: when it ended, and the driver's processor time until then, in seconds."""


def run_stock(trials: int, reports: int, *, defaults: bool) -> Ends:
    """A stock Tuner."""
    if not defaults:
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
        os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1000000"
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    import ray  # noqa: PLC0415
    from ray import tune  # noqa: PLC0415

    class Trivial(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, float]) -> None:
            self.config = config

        def reset_config(self, new_config: dict[str, float]) -> bool:
            self.config = new_config
            return True

        def step(self) -> dict[str, Any]:
            step = self.iteration + 1
            value = (self.config["lr_g"] + self.config["lr_d"]) * (1 + 1 / step)
            return {"score": value, "done": step == reports}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            pass

        def load_checkpoint(self, checkpoint: Any) -> None:
            pass

    ended: Ends = []

    class Clock(tune.Callback):  # type: ignore[misc]
        def on_trial_complete(self, **_: Any) -> None:
            ended.append((time.time(), time.process_time()))

    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
    )
    space = {
        "lr_g": tune.loguniform(1e-5, 1e-1),
        "lr_d": tune.loguniform(1e-5, 1e-1),
        "depth": tune.randint(1, 4),
    }
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            Trivial,
            param_space=space,
            tune_config=tune.TuneConfig(
                num_samples=trials, metric="score", mode="min", reuse_actors=True
            ),
            run_config=tune.RunConfig(storage_path=folder, callbacks=[Clock()], verbose=0),
        ).fit()
    if results.num_errors or len(results) != trials:
        raise RuntimeError(f"{results.num_errors} errors in {len(results)} trials")
    ray.shutdown()
    return ended


def run_ours(trials: int, reports: int, sampler: str, tracking: str | None) -> Ends:
    """A study."""
    from rich.console import Console  # noqa: PLC0415

    from gansearch.journal.directory import StudyDirectory  # noqa: PLC0415
    from gansearch.journal.stored import StoredStudy  # noqa: PLC0415
    from gansearch.training.prepare import LocalPaths  # noqa: PLC0415
    from gansearch.training.validation import load_study  # noqa: PLC0415
    from gansearch.tuning.launch import run  # noqa: PLC0415
    from gansearch.tuning.ledger import Ledger  # noqa: PLC0415
    from gansearch.tuning.where import Where  # noqa: PLC0415

    ended: Ends = []
    end = Ledger.end

    outcomes: list[str] = []

    def timed(ledger: Ledger, number: int, *args: Any, **options: Any) -> None:
        end(ledger, number, *args, **options)
        ended.append((time.time(), time.process_time()))
        outcomes.append(str(ledger.records[number].outcome))

    Ledger.end = timed  # type: ignore[method-assign, assignment]
    settings = {
        "search.trials": trials,
        "search.sampler": sampler,
        "budget.steps": reports,
        "pruner.name": "none",  # so that every trial makes all its reports
    }
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "study.yaml"
        path.write_text(STUDY)
        places = LocalPaths.of_environment()
        spec, data = load_study(path, places.data, settings)
        directory = StudyDirectory.new("study", "study", Path(name) / "runs")
        where = Where(tracking=tracking, concurrency=2, trainer="benchmarks.trivial:TrivialTrainer")
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            run(spec, data, StoredStudy(directory), where, Console(file=nowhere))
    if outcomes != ["completed"] * trials:
        raise RuntimeError(f"{len(outcomes)} trials ended {set(outcomes)}")
    return ended


def run_kind(kind: str, trials: int, reports: int) -> dict[str, float]:
    """One side, in this process."""
    begun = time.perf_counter()
    if kind.startswith("stock"):
        ended = run_stock(trials, reports, defaults=kind == "stock, defaults")
    else:
        sampler = kind.partition(",")[0]
        ended = run_ours(trials, reports, sampler, "off" if "no MLflow" in kind else None)
    seconds = time.perf_counter() - begun
    part = max(min(1000, trials // 3), 1)
    return {
        "seconds": seconds,
        "first": (ended[part][0] - ended[0][0]) / part,
        "last": (ended[-1][0] - ended[-1 - part][0]) / part,
        "part": part,
        "processor": (ended[-1][1] - ended[0][1]) / trials,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure(kind: str, trials: int, reports: int) -> dict[str, float]:
    """Measure in a fresh process."""
    size = ("--trials", str(trials), "--reports", str(reports))
    result: dict[str, float] = in_fresh_process("scale", kind, *size)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--reports", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(USUAL))
    parser.add_argument("--one", choices=KINDS, help="measure one, in this process")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(run_kind(args.one, args.trials, args.reports)))
        return
    measured: dict[str, list[dict[str, float]]] = {kind: [] for kind in args.kinds}
    for number in range(args.rounds):
        for kind in args.kinds:
            load = os.getloadavg()[0]
            measured[kind].append(measure(kind, args.trials, args.reports))
            told = {name: round(value, 4) for name, value in measured[kind][-1].items()}
            print(f"# round {number}, load {load:.1f}: {kind}: {told}", file=sys.stderr, flush=True)
    show(measured, args.trials, args.reports)


def show(measured: dict[str, list[dict[str, float]]], trials: int, reports: int) -> None:
    base = next(iter(measured.values()))
    part = int(base[0]["part"])
    print(f"{trials:,} trials with {reports} reports; medians of {len(base)} rounds by turns\n")
    columns = f"a trial, first / last {part:,} | driver's processor time | largest resident set"
    print(f"| | seconds | ratio | {columns} |")
    print("|---|---|---|---|---|---|")
    for kind, runs in measured.items():
        middle = {name: statistics.median(run[name] for run in runs) for name in base[0]}
        pairs = zip(runs, base, strict=True)
        ratio = statistics.median(run["seconds"] / b["seconds"] for run, b in pairs)
        each = f"{middle['first'] * 1e3:.1f} / {middle['last'] * 1e3:.1f} ms"
        processor = f"{middle['processor'] * 1e3:.1f} ms a trial"
        memory = f"{middle['memory']:,.0f} MB"
        print(f"| {kind} | {middle['seconds']:.0f} | {ratio:.2f} | {each} | {processor} | {memory} |")


if __name__ == "__main__":
    main()

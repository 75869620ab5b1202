"""Is a search sooner if its workers train several trials as one?

    python -m benchmarks.search_lanes cost TABLE FOLDER [--data DIR]    what a report of several costs
    python -m benchmarks.search_lanes play TABLE [--trials 30] [--workers 2 8] [--lanes 1 2 3 4 8]
                                           [--repeats 30] [--half tune]

`cost` trains the default of a table's study, and one of each of its most common shapes, alone and in
lanes, and writes the processor time of a report, evaluation and all, over that of one alone into
benchmarks/tables/costs.json: medians of the shapes. `play` plays the quickstart's policy on the
recorded curves: a search of so many trials to its end, and one that ends when it has come within 5 %
of the best, by workers and the trials that each carries. Lanes win time and lose knowledge: of what is
proposed and judged, more is so before others have ended. `gansearch/tuning/together.py` says what
follows from it; that was chosen on the tuning halves.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.allocation import HALVES, OURS, TABLES, Table
from gansearch.search.replay import NEAR, quartiles
from gansearch.search.simulation import Played, Simulation, StandIns, within
from gansearch.search.worker import Lanes
from gansearch.study.config import TrialConfig
from gansearch.study.records import TrialRecord, cost

if TYPE_CHECKING:
    from benchmarks.record_curves import Recorder

COSTS = TABLES / "costs.json"
WIDTHS = (2, 3, 4, 6, 8)
SHAPES, DRAWN, ROUNDS = 3, 40, 2


def measure(args: argparse.Namespace) -> None:
    """Write a table's costs down."""
    import torch  # noqa: PLC0415

    from benchmarks.record_curves import Recorder  # noqa: PLC0415
    from gansearch.training.stacked.shape import shape_of  # noqa: PLC0415

    torch.set_num_threads(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(args.table, args.folder, args.data)
    configs = [recorder.config(number, 0) for number in range(DRAWN)]
    by_shape = {shape_of(config): config for config in configs}
    common = Counter(shape_of(config) for config in configs).most_common(SHAPES)
    found: dict[int, list[float]] = {lanes: [] for lanes in WIDTHS}
    for shape, _ in common:
        for lanes in WIDTHS:
            ratios = [
                _report(recorder, by_shape[shape], lanes) / _report(recorder, by_shape[shape], 1)
                for _ in range(ROUNDS)
            ]
            found[lanes].append(statistics.median(ratios))
    costs = {str(lanes): round(statistics.median(each), 2) for lanes, each in found.items()}
    known = json.loads(COSTS.read_text()) if COSTS.exists() else {}
    COSTS.write_text(json.dumps(known | {args.table: costs}, indent=1) + "\n")
    print(f"| {args.table} | {' | '.join(map(str, costs.values()))} |")


def _report(recorder: Recorder, config: TrialConfig, lanes: int) -> float:
    """Processor seconds until each of so many has made its second report."""
    from gansearch.training.pack import Start  # noqa: PLC0415
    from gansearch.training.stacked.pack import FusedPack  # noqa: PLC0415

    pack = FusedPack(recorder.trainer, most=lanes)
    pack.begin([Start(n, config.model_copy(update={"seed": n})) for n in range(lanes)])
    told, taken = 0, 0.0
    while told < 2 * lanes:
        before = time.process_time()
        told += len(pack.advance())
        taken += (time.process_time() - before) * (told > lanes)
    return taken


def shape(trial: TrialRecord) -> str:
    """Which trials are trained as one."""
    from gansearch.training.stacked.shape import shape_of  # noqa: PLC0415

    return shape_of(TrialConfig.model_validate(trial.config))


def play(args: argparse.Namespace) -> None:
    """Play a search by workers and lanes."""
    table, known = Table(args.table), json.loads(COSTS.read_text())[args.table]
    widths, costs = zip((1, 1.0), *((int(k), v) for k, v in known.items()), strict=True)

    def of(lanes: int) -> float:
        return float(np.interp(lanes, widths, costs))

    heads = f"seconds of {args.trials} trials | over one lane | better, worse than it"
    print(
        f"| {args.table}, {args.half}: workers | lanes | {heads} | device-seconds to 5 % of the best |"
    )
    print("|---|---|---|---|---|---|")
    for workers in args.workers:
        alone: list[Played] = []
        for lanes in args.lanes:
            held = Lanes(lanes, shape, of)
            ended = [
                _search(table, args, workers, held, seed, args.trials) for seed in range(args.repeats)
            ]
            near = [_search(table, args, workers, held, seed, None) for seed in range(args.repeats)]
            alone = alone or ended
            _row(table, args, workers, lanes, ended, alone, near)


def _search(
    table: Table, args: argparse.Namespace, workers: int, lanes: Lanes, seed: int, trials: int | None
) -> Played:
    """A search of so many trials, or to within 5 % of the best."""
    recording, study = table.recording(args.half, seed), table.study(OURS, seed, args.half)
    source, until = StandIns(study, recording), within(recording, NEAR)
    simulation = Simulation(
        study,
        source,
        recording,
        workers=workers,
        lanes=lanes if lanes.most > 1 else None,
        trials=trials,
    )
    return simulation.run(until) if trials is None else simulation.run()


def _row(
    table: Table,
    args: argparse.Namespace,
    workers: int,
    lanes: int,
    ended: list[Played],
    alone: list[Played],
    near: list[Played],
) -> None:
    """One line."""
    ratio = statistics.median(a.seconds / b.seconds for a, b in zip(ended, alone, strict=True))
    gains = [
        cost(a.best[-1][1], table.goal) - cost(b.best[-1][1], table.goal)
        for a, b in zip(ended, alone, strict=True)
    ]
    better, worse = sum(gain < 0 for gain in gains), sum(gain > 0 for gain in gains)
    times = [
        played.reached(within(table.recording(args.half, seed), NEAR))
        for seed, played in enumerate(near)
    ]
    low, middle, high = quartiles(times)
    never = sum(map(math.isinf, times))
    seconds = statistics.median(played.seconds for played in ended)
    reached = f"{middle:.1f} [{low:.1f}, {high:.1f}]" + (f", {never} never" if never else "")
    cells = [workers, lanes, f"{seconds:.1f}", f"{ratio:.2f}", f"{better}, {worse}", reached]
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_subparsers(required=True)
    costs, played = what.add_parser("cost"), what.add_parser("play")
    for each in (costs, played):
        each.add_argument("table", help="ring, dense, digits or fashion")
    costs.add_argument("folder", type=Path)
    costs.add_argument("--data", type=Path, default=Path("~/.cache/gansearch/data").expanduser())
    costs.set_defaults(run=measure)
    played.add_argument("--trials", type=int, default=30)
    played.add_argument("--workers", type=int, nargs="+", default=[2, 8])
    played.add_argument("--lanes", type=int, nargs="+", default=[1, 2, 3, 4, 8])
    played.add_argument("--repeats", type=int, default=30)
    played.add_argument("--half", choices=HALVES, default="tune")
    played.set_defaults(run=play)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()

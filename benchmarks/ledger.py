"""Where the device-seconds go until a search has found something good, and how many it takes at least.

    python -m benchmarks.ledger TABLE [--half tune] [--share 0.75] [--repeats 40] [--workers 2]
                                [--policies "0.1.0" ours ...]

Plays of `benchmarks.allocation`, each on a random share of the half's configurations, until within 5 %
of the best of these. A policy's device-seconds, all workers' until then, are those spent on

- good: configurations that end within 5 % of the best, whether or not they were trained so far;
- first: the others, up to the first rung, a ninth of the budget's reports;
- second: up to the second rung, three times as far;
- later: beyond it;
- default: of the default configuration beyond the first rung, where it is not good;
- rest: what is under way when it is over, and workers that had nothing to do.

The last rows are what a search needs at least that tries configurations in a random order: it knows
which are good, and stops all others, but only after a trial's first report, its second, its third.
Nobody can know that; with --share 1 and --half judge they stand beside the table of
`benchmarks.allocation`. Last, how far apart a configuration's seeds end, where the table has several.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import statistics
from collections.abc import Collection

from benchmarks.allocation import HALVES, POLICIES, Table
from gansearch.search.recording import Recording
from gansearch.search.replay import NEAR, quartiles
from gansearch.search.simulation import Played, Simulation, StandIns, within
from gansearch.study.records import cost

PARTS = ("good", "first", "second", "later", "default", "rest")


def part_of(table: Table, half: str, share: float, seed: int) -> Recording:
    """A half, without some of its configurations."""
    recording, chance = table.recording(half, seed), random.Random(seed)
    kept = [curve for curve in recording.curves if curve.number == 0 or chance.random() < share]
    return Recording(recording.axes, recording.metric, recording.goal, kept)


def good_ones(recording: Recording) -> set[int]:
    """The places of the configurations that come within 5 % of the best."""
    near = within(recording, NEAR)
    return {at for at in range(len(recording.curves)) if near(recording.best_of([at]))}


def known_after(recording: Recording, reports: int, workers: int, seed: int) -> float:
    """Device-seconds of who knows what is good after so many reports of it, in a random order."""
    near, good, free = within(recording, NEAR), good_ones(recording), [0.0] * workers
    found = math.inf
    for at in random.Random(seed).sample(range(len(recording.curves)), len(recording.curves)):
        begun = heapq.heappop(free)
        if begun >= found:
            break
        made = recording.curves[at].reports
        if at in good:
            seconds = next(r.seconds for r in made if near(r.metrics[recording.metric]))
            found = min(found, begun + seconds)
        else:
            seconds = made[min(reports, len(made)) - 1].seconds
        heapq.heappush(free, begun + seconds)
    return found * workers


def parts(table: Table, played: Played, total: float, good: Collection[str]) -> list[float]:
    """What a play's device-seconds went to."""
    every = table.spec.example().budget.report_every
    ninth = table.spec.example().budget.steps // every // 9 * every
    spent = dict.fromkeys(PARTS, 0.0)
    for trial in played.trials:
        if str(trial.params) in good:
            spent["good"] += trial.seconds
            continue
        at = {report.step: report.seconds for report in trial.reports}
        first, second = (max([s for t, s in at.items() if t <= k * ninth], default=0) for k in (1, 3))
        spent["first"] += first
        if trial.number == 0 and trial.origin == "default":
            spent["default"] += trial.seconds - first
        else:
            spent["second"] += second - first
            spent["later"] += trial.seconds - second
    spent["rest"] = total - sum(spent.values())
    return [spent[name] for name in PARTS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("--half", choices=HALVES, default="tune")
    parser.add_argument("--share", type=float, default=0.75, help="of the half's configurations")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--without-default", action="store_true")
    parser.add_argument("--policies", nargs="*", choices=POLICIES, default=["0.1.0", "ours"])
    args = parser.parse_args()
    table = Table(args.table, default=not args.without_default)
    halves = [part_of(table, args.half, args.share, seed) for seed in range(args.repeats)]
    print(f"{table.label}, {args.half}, {args.repeats} plays, {args.workers} workers")
    print(f"| policy | device-seconds | trials | {' | '.join(PARTS)} |")
    print(f"|{'---|' * (len(PARTS) + 3)}")
    for name in args.policies:
        if (policy := POLICIES[name]) is None:
            raise SystemExit(f"{name} has no ledger")
        times, rows, counts = [], [], []
        for seed, recording in enumerate(halves):
            study = table.study(policy, seed, args.half)
            source = StandIns(study, recording)
            near = within(recording, NEAR)
            played = Simulation(study, source, recording, workers=args.workers).run(near)
            times.append(total := played.reached(near))
            if math.isfinite(total):
                good = {str(recording.curves[at].point) for at in good_ones(recording)}
                rows.append(parts(table, played, total, good))
                counts.append(len(played.trials))
        means = " | ".join(f"{statistics.fmean(column):.1f}" for column in zip(*rows, strict=True))
        print(f"| {name} | {told(times)} | {statistics.median(counts):.0f} | {means} |", flush=True)
    for reports in (1, 2, 3):
        times = [known_after(half, reports, args.workers, seed) for seed, half in enumerate(halves)]
        print(f"| good ones known after report {reports} | {told(times)} | |")
    deviations = ", ".join(f"{share:.0%}" for share in between_seeds(table))
    print(f"of those trained on several seeds, the best first, between them: {deviations} of the best")


def between_seeds(table: Table) -> list[float]:
    """Standard deviations of what configurations end at, as shares of the table's best."""
    ends: dict[int, list[float]] = {}
    for trial in table.trials:
        values = [cost(float(value), table.goal) for value in trial["metrics"][table.metric]]
        finite = [value for value in values if math.isfinite(value)]
        if finite:
            ends.setdefault(trial["number"], []).append(min(finite))
    best = min(map(min, ends.values()))
    repeated = sorted((each for each in ends.values() if len(each) > 1), key=min)
    return [statistics.stdev(each) / abs(best) for each in repeated]


def told(times: list[float]) -> str:
    """Median and quartiles."""
    low, middle, high = quartiles(times)
    return f"{middle:.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()

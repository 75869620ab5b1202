"""Does the rule for a collapse name the trainings that turn, and leave the others alone?

    python -m benchmarks.collapse [--half judge] [--worsening 1.5]
    python -m benchmarks.collapse --tables    the trials of `benchmarks/tables` that have `stalled`

Replays `benchmarks/material/curves.json.gz`, recorded by `benchmarks.curves` without health rules. The
rule's form and thresholds were chosen on the half `tune`; the half `judge` (other configurations) was
not looked at before. A training has *turned* where the median of its last three distances of 1,000
samples is more than 1.5 times its best; what the rule reads is that distance, or the one of the same
training's first 100 samples, with its constant bias. A stop is *early* where a later report of the same
curve is more than 5 % better than all before the stop: harm, whatever the end is.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
from pathlib import Path
from statistics import median
from typing import Any

from gansearch.study.document import parse_document
from gansearch.study.health import Collapsed, Stalled
from gansearch.study.records import Report
from gansearch.training.health import Collapse, Rule, Stall

TABLES = Path(__file__).parent / "tables"
MATERIAL = Path(__file__).parent / "material" / "curves.json.gz"
TURNED = 1.5
METRICS = {"fd_classifier": "1,000 samples", "fd_few": "100 samples"}
Curve = dict[str, Any]


def read(path: Path = MATERIAL) -> list[Curve]:
    """All curves that have a report after the warm-up."""
    with gzip.open(path, "rt") as file:
        curves: list[Curve] = json.load(file)
    return [curve for curve in curves if len(curve["columns"].get("fd_classifier", [])) > 5]


def turned(curve: Curve) -> bool:
    values = curve["columns"]["fd_classifier"]
    return bool(median(values[-3:]) > TURNED * min(values))


def stop(curve: Curve, rule: Rule) -> int | None:
    """The place of the report at which a rule ends a curve."""
    columns = curve["columns"]
    for i, step in enumerate(columns["step"]):
        metrics = {key: values[i] for key, values in columns.items()}
        if rule.observe(Report(step, 0, 0.0, metrics, 0.0)).outcome:
            return i
    return None


def by_tables() -> None:
    """Print the trials of the recorded tables that have stalled; all were looked at for that rule."""
    print("| table | trials | trial | ended at | reason | objective there | at the end | best of all |")
    print("|---|---|---|---|---|---|---|---|")
    for path in sorted(TABLES.glob("*.json.gz")):
        with gzip.open(path, "rt") as file:
            table: dict[str, Any] = json.load(file)
        objective = parse_document(table["study"], path.name).tree["objective"]
        metric, goal = objective["metric"], objective["goal"]
        budget = max(trial["steps"][-1] for trial in table["trials"])
        best = (min if goal == "min" else max)(
            value
            for trial in table["trials"]
            for value in trial["metrics"][metric]
            if value is not None
        )
        for trial in table["trials"]:
            rule = Stall(Stalled(), metric, goal, budget)
            values = trial["metrics"][metric]
            for i, step in enumerate(trial["steps"]):
                metrics = {
                    key: math.nan if v[i] is None else v[i] for key, v in trial["metrics"].items()
                }
                found = rule.observe(Report(step, 0, 0.0, metrics, 0.0))
                if found.outcome:
                    cells = [path.name.partition(".")[0], len(table["trials"]), trial["number"]]
                    cells += [f"{step} of {budget}", found.reason, values[i], values[-1], best]
                    print(f"| {' | '.join(map(str, cells))} |")
                    break


def early(values: list[float], at: int | None) -> bool:
    if at is None or at + 1 == len(values):
        return False
    return min(values[at + 1 :]) < 0.95 * min(values[: at + 1])


def collapse(curve: Curve, metric: str, worsening: float) -> int | None:
    options = Collapsed(worsening=worsening, deaf=0.0, min_diversity=0.0)
    return stop(curve, Collapse(options, metric, "min", curve["steps"]))


def row(curves: list[Curve], metric: str, worsening: float) -> list[str]:
    named = spared = false = alone = harm = 0
    for curve in curves:
        at = collapse(curve, metric, worsening)
        good = turned(curve)
        named += good and at is not None
        spared += good and at is None
        false += not good and at is not None
        alone += not good and at is None
        harm += early(curve["columns"]["fd_classifier"], at)
    return [f"{named} of {named + spared}", f"{false} of {false + alone}", str(harm)]


def own_statistics(curves: list[Curve]) -> str:
    """How reports with the averaged weights' own batch-norm statistics compare with the live ones'."""
    pairs = [
        pair
        for curve in curves
        for pair in zip(
            curve["columns"]["fd_classifier"], curve["columns"]["fd_live_statistics"], strict=True
        )
        if pair[0] != pair[1]
    ]
    won = sum(own < live for own, live in pairs)
    ratio = median(own / live for own, live in pairs)
    return f"statistics of their own: better in {won} of {len(pairs)} reports, median ratio {ratio:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=("tune", "judge"), help="only this one")
    parser.add_argument(
        "--worsening", type=float, nargs="*", help="factors [the default, and 0.1.0's 5]"
    )
    parser.add_argument("--tables", action="store_true", help="of the recorded tables")
    parser.add_argument("--curves", type=Path, default=MATERIAL)
    args = parser.parse_args()
    if args.tables:
        by_tables()
        return
    curves = read(args.curves)
    factors = args.worsening or [Collapsed().worsening or math.inf, 5.0]
    print("| half | metric of | worsening | turned, and named | healthy, and stopped | stopped early |")
    print("|---|---|---|---|---|---|")
    for half in [args.half] if args.half else ["tune", "judge"]:
        mine = [curve for curve in curves if curve["half"] == half]
        for metric, of in METRICS.items():
            for factor in factors:
                print("| " + " | ".join([half, of, f"{factor:g}", *row(mine, metric, factor)]) + " |")
        stalled = [(c, stop(c, Stall(Stalled(), "fd_classifier", "min", c["steps"]))) for c in mine]
        harmed = sum(early(c["columns"]["fd_classifier"], at) for c, at in stalled)
        ended = sum(at is not None for _, at in stalled)
        print(f"| {half} | the discriminator's doubt | | {ended} of {len(mine)} stalled | | {harmed} |")
    print(f"\n{own_statistics(curves)}")


if __name__ == "__main__":
    main()

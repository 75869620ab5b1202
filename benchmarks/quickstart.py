"""Does the quickstart find something better than its default configuration, whatever the search's seed?

    python -m benchmarks.quickstart [--seeds 0 1 ... 9] [--study studies/quickstart.yaml]
                                    [--runs FOLDER] [--set KEY=VALUE]...

Runs the study for real once with each search seed, one after another, each with its stability study
on fresh seeds, and compares two configurations with the default one by the interquartile mean of what
their fresh seeds confirm: the answer (the first of the confirmed ranking, which may be the default),
and the trial that was best in the search, the default aside, which is chosen before any seed of the
comparison. Given are the ratios to the default with their 95 % intervals (bootstrap, widened for few
seeds); below 1 is better, where the objective is to be minimised. Studies that are in FOLDER already
are not run again; one that was broken off goes on.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import gansearch
from gansearch.analysis.comparisons import ratio_interval
from gansearch.analysis.seeds import Group, grouped
from gansearch.analysis.statistics import Interval
from gansearch.study.records import cost

STUDY = Path(__file__).parents[1] / "studies" / "quickstart.yaml"


@dataclass(frozen=True)
class Compared:
    """A configuration beside the default one.

    Attributes:
        label: of the configuration.
        value: the interquartile mean of its seeds' best values.
        ratio: to the default's.
    """

    label: str
    value: float | None
    ratio: Interval

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or that nobody knows."""
        if self.ratio.value == 1 and self.ratio.low is None:
            return "the default itself"
        if self.ratio.low is None or self.ratio.high is None:
            return "unknown"
        return "better" if self.ratio.high < 1 else "worse" if self.ratio.low > 1 else "no difference"

    def words(self) -> str:
        """For a table."""
        value = "" if self.value is None else f"{self.value:.3g}"
        ratio, low, high = self.ratio.value, self.ratio.low, self.ratio.high
        told = "" if ratio is None else f"{ratio:.2f}"
        told += "" if low is None or high is None else f" ({low:.2f}-{high:.2f})"
        return f"{self.label} | {value} | {told} | {self.verdict}"


def run(study: Path, seed: int, runs: Path, changes: list[str]) -> float:
    """Run the study with a search seed, or go on with it; returns its seconds."""
    name, begun = f"{study.stem}-{seed}", time.monotonic()
    told = [f"--set={change}" for change in (f"search.seed={seed}", *changes)]
    command = (
        ["resume", name] if (runs / name).exists() else ["run", str(study), f"--name={name}", *told]
    )
    subprocess.run(
        [sys.executable, "-m", "gansearch", *command, "--runs-dir", str(runs)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.monotonic() - begun


def compared(groups: dict[str, Group], label: str) -> Compared:
    """A configuration beside the one called `default`."""
    group, default = groups[label], groups["default"]
    value = group.interval(group.bests, "iqm").value
    same = label == "default"
    ratio = Interval(1.0) if same else ratio_interval(group.bests, default.bests)
    return Compared(label, value, ratio)


def judged(name: str, runs: Path) -> tuple[Compared, Compared, Compared]:
    """The default of a study, its answer, and the best of its search."""
    evidence = gansearch.evidence(name, runs_dir=runs)
    groups = {group.label: group for group in grouped(evidence)}
    answer = gansearch.configurations(evidence).index[0]

    def searched(label: str) -> float:
        trial = groups[label].candidate.trial
        best = None if trial is None else evidence.search[trial].best(evidence.metric, evidence.goal)
        return math.inf if best is None else cost(best.value, evidence.goal)

    best = min((label for label in groups if label != "default"), key=searched)
    return compared(groups, "default"), compared(groups, answer), compared(groups, best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--runs", type=Path, default=Path("runs-quickstart"))
    parser.add_argument("--set", nargs="+", default=[], help="changes of the study: KEY=VALUE")
    args = parser.parse_args()
    head = ["seed", "minutes", "default", "answer", "iqm", "/ default (95 %)", "it is"]
    print(f"| {' | '.join([*head, 'best of the search', *head[4:]])} |\n{'|---' * 11}|")
    answers, bests = [], []
    for seed in args.seeds:
        seconds = run(args.study, seed, args.runs, args.set)
        default, answer, best = judged(f"{args.study.stem}-{seed}", args.runs)
        answers.append(answer)
        bests.append(best)
        cells = [f"{seconds / 60:.1f}", f"{default.value:.3g}", answer.words(), best.words()]
        print(f"| {seed} | {' | '.join(cells)} |", flush=True)
    for what, found in (("answer", answers), ("best of the search", bests)):
        better = sum(one.verdict == "better" for one in found)
        worse = sum(one.verdict == "worse" for one in found)
        print(f"{what}: better than the default in {better} of {len(found)}, worse in {worse}")


if __name__ == "__main__":
    main()

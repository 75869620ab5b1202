"""Does the search learn from failure? (What a proposal costs: `benchmarks.proposals`.)

    python -m benchmarks.search [--seeds 10] [--trials 60] [--live 1]

No training and no Ray: the study's own proposer, ledger and journal (in a temporary directory) are
driven by a made-up trial that is known in closed form. The axes are those of a real study: both
learning rates, log in [1e-5, 1e-1], a loss by name whose penalty has a weight, and a depth. With x
and y the learning rates on their log scale, 0 to 1, a trial diverges where x + y > 1, which is half of
the space, the earlier the further beyond. Its objective is 1 + 40 ((x - 0.55)^2 + (y - 0.3)^2) plus
0 to 0.4 for the loss and the depth: the optimum lies 0.11 from the boundary, so the best is near what
fails, and a trial that fails has reported good values before. The target is a share of failing
proposals among the last 20, median of the seeds, under half of random search's.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.facts import made_up
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.search.proposer import Proposer
from gansearch.study.records import Outcome, Report, TrialRecord
from gansearch.study.spec import StudySpec
from gansearch.training.prepare import LocalPaths
from gansearch.training.validation import load_study
from gansearch.tuning.ledger import Ledger

STUDY = """
data: {name: digits}
generator: {name: mlp, depth: {int: [1, 3]}}
discriminator: {name: mlp}
loss:
  choice:
    - {name: non-saturating}
    - {name: hinge}
    - {name: wasserstein, penalty: {name: gradient-penalty, weight: {log: [0.1, 100]}}}
optimizer: {generator: {lr: {log: [1e-5, 1e-1]}}, discriminator: {lr: {log: [1e-5, 1e-1]}}}
budget: {steps: 1000, report_every: 100}
search: {trials: 60}
pruner: {name: none}
"""
LOSS_COSTS = {"non-saturating": 0.0, "hinge": 0.1, "wasserstein": 0.2}
EVERY = 100


def position(config: dict[str, Any], side: str) -> float:
    """A learning rate on its log scale, 0 to 1."""
    return (math.log10(config["optimizer"][side]["lr"]) + 5) / 4


def reports(config: dict[str, Any]) -> list[Report]:
    """The curve that a configuration leads to; the last report says how it ended."""
    x, y = position(config, "generator"), position(config, "discriminator")
    beyond = x + y - 1
    value = 1 + 40 * ((x - 0.55) ** 2 + (y - 0.3) ** 2)
    value += LOSS_COSTS[config["loss"]["name"]] + 0.1 * abs(config["generator"]["depth"] - 2)
    last = 10 if beyond <= 0 else max(1, round(8 * (1 - 3 * beyond)))
    curve = []
    for i in range(1, last + 1):
        reached = value * (1 + math.exp(-i / 2))
        outcome = (Outcome.DIVERGED if beyond > 0 else Outcome.COMPLETED) if i == last else None
        metrics = {"fd_classifier": math.nan if outcome is Outcome.DIVERGED else reached}
        curve.append(Report(EVERY * i, 64 * EVERY * i, 0.0, metrics, time.time(), outcome))
    return curve


class Study:
    """A study of made-up trials in a temporary directory.

    Args:
        spec: what is asked.
        folder: where it is, or is to be.
        live: trials at once; each ends when so many more have begun.
    """

    def __init__(self, spec: StudySpec, folder: Path, live: int) -> None:
        directory = StudyDirectory(folder)
        if not folder.exists():
            folder.mkdir()
            facts = made_up("fd_classifier", 1000, spec.plan.search.trials)
            Journal.create(directory.path, directory.name, facts)
        journal = Journal.open(directory.path, directory.name, writer=True)
        self.ledger, self.live = Ledger(partial(Proposer, spec), directory, journal), live
        self.waiting: list[TrialRecord] = []
        self.proposal_seconds: list[float] = []

    def run(self, trials: int | None = None) -> None:
        """As many trials, or all that the study is to have; then what is running comes to its end."""
        left = self.ledger.remaining if trials is None else trials
        for _ in range(left):
            begun = time.process_time()
            self.waiting.append(self.ledger.next())
            self.proposal_seconds.append(time.process_time() - begun)
            if len(self.waiting) == self.live:
                self.end(self.waiting.pop(0))
        while self.waiting:
            self.end(self.waiting.pop(0))

    def end(self, record: TrialRecord) -> None:
        for report in reports(record.config):
            self.ledger.report(record.number, report)
        self.ledger.end(record.number)

    def failing(self, last: int) -> float:
        """The share of failures among the last proposals."""
        chosen = [self.ledger.records[n] for n in sorted(self.ledger.records)][-last:]
        return statistics.fmean(record.outcome is Outcome.DIVERGED for record in chosen)

    def best(self) -> float:
        """The best value of a trial that did not fail."""
        good = [r for r in self.ledger.records.values() if r.outcome is Outcome.COMPLETED]
        return min(b.value for r in good if (b := r.best("fd_classifier", "min")))


def make_spec(folder: Path, sampler: str | dict[str, Any], trials: int, seed: int) -> StudySpec:
    """The study above with a sampler, by its name or with its options beside."""
    path = folder / "study.yaml"
    path.write_text(STUDY)
    spec, _ = load_study(path, LocalPaths.of_environment().data)
    search = {"sampler": sampler, "trials": trials, "seed": seed}
    return replace(spec, plan=spec.plan.model_validate(spec.plan.model_dump() | {"search": search}))


def learning(args: argparse.Namespace) -> None:
    print("| sampler | failing of all | failing of the last 20: median (each seed) | best, median |")
    print("|---|---|---|---|")
    medians = {}
    for sampler in ("random", "tpe"):
        last, whole, best = [], [], []
        for seed in range(args.seeds):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                study = Study(make_spec(folder, sampler, args.trials, seed), folder / "s", args.live)
                study.run()
            last.append(study.failing(20))
            whole.append(study.failing(args.trials))
            best.append(study.best())
        medians[sampler] = statistics.median(last)
        each = " ".join(f"{share:.2f}" for share in last)
        mean = f"{statistics.fmean(whole):.2f}"
        print(f"| {sampler} | {mean} | **{medians[sampler]:.3f}** ({each}) | {median(best):.3f} |")
    ratio = medians["tpe"] / medians["random"]
    print(f"\ntpe / random: {ratio:.2f} (target: under 0.5), {args.live} trials at once")


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--live", type=int, default=1)
    learning(parser.parse_args())


if __name__ == "__main__":
    main()

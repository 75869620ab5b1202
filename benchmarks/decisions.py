"""What a decision costs the driver when a search has thousands of trials.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.decisions [--trials 5000] [--reports 50]
        [--pruner none '{name: asha}' ...] [--sampler random]

Of each pruner, in milliseconds of processor time, which other work on the machine does not change much:

- judge: for the verdict on a report, when the pruner has seen all reports of all trials;
- choose: to say which of so many paused trials goes on, with a new trial to be had and without one;
- driver: from a report to what its worker does next, with ledger and journal file, but without the
  proposal of a new trial: the median, the 99th percentile and the highest of the last tenth of a study.
  Eight trials are trained at once, with made-up curves.
- proposal: of a new trial, in that tenth, by the sampler that is said, with its journal entry
  (`benchmarks.proposals` compares samplers).

Curves fall at random paces, a tenth of them die.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.search import PRUNERS
from gansearch.search.proposer import Proposer
from gansearch.search.pruners import Decision, SecondChances
from gansearch.study.document import parse_document
from gansearch.study.records import Outcome, Report, TrialRecord
from gansearch.study.spec import StudySpec
from gansearch.training.validation import read_study
from gansearch.tuning.creation import create
from gansearch.tuning.ledger import Ledger
from gansearch.tuning.pruning import Pruning, make_pruning

STUDY = """
data: {name: digits}
generator: {name: mlp, depth: {int: [1, 3]}, width: 16}
discriminator: {name: mlp}
optimizer:
  generator: {lr: {log: [1e-5, 1e-1]}}
  discriminator: {lr: {log: [1e-5, 1e-1]}}
budget: {steps: STEPS, report_every: 10}
evaluation: {metrics: [fd_classifier]}
search: {trials: TRIALS, sampler: SAMPLER}
pruner: PRUNER
"""
AT_ONCE = 8
DEFAULTS = ["asha", "{name: asha, second_chances: true}", "{name: hyperband, second_chances: true}"]


def spec_of(pruner: str, sampler: str, trials: int, reports: int) -> StudySpec:
    text = STUDY.replace("STEPS", str(10 * reports)).replace("TRIALS", str(trials))
    text = text.replace("SAMPLER", sampler)
    return read_study(parse_document(text.replace("PRUNER", pruner), "study.yaml"), Path())[0]


def made_up(number: int, step: int, steps: int) -> Report:
    """The report of a trial at a step."""
    chance = random.Random(number)
    begin, end, pace = chance.uniform(5, 10), chance.uniform(1, 9), chance.uniform(0.3, 3)
    dies = chance.random() < 0.1 and step >= steps * chance.random()
    value = begin + (end - begin) * (step / steps) ** pace
    outcome = Outcome.DIVERGED if dies else Outcome.COMPLETED if step == steps else None
    metrics = {"fd_classifier": value, "d_loss": 1.0, "g_loss": 1.0, "diversity": 0.9}
    return Report(step, 64 * step, 0.1 * step, metrics, 0.0, outcome)


def timed(action: Callable[[], Any], times: int = 50) -> float:
    """Milliseconds that it takes, the median."""
    taken = []
    for _ in range(times):
        begun = time.process_time()
        action()
        taken.append(1000 * (time.process_time() - begun))
    return statistics.median(taken)


def alone(spec: StudySpec, trials: int, reports: int) -> tuple[float, float, float]:
    """Milliseconds to judge, and to choose with and without new trials, once all has been seen."""
    part = spec.plan.pruner
    pruner = PRUNERS.build(part.name, part.options, spec.example())
    config = spec.example().plain()
    records = [TrialRecord(number, {}, config) for number in range(trials)]
    judged = []
    for i in range(1, reports):  # the last is not made: all of them may be paused
        for record in records:
            report = replace(made_up(record.number, 10 * i, 10 * reports), outcome=None)
            record.reports.append(report)
            begun = time.process_time()
            pruner.judge(record, report)
            judged.append(1000 * (time.process_time() - begun))
    choose = [float("nan")] * 2
    if isinstance(pruner, SecondChances):
        paused = [replace(record, outcome=Outcome.PAUSED) for record in records]
        while wake := pruner.choose(paused, True):  # the most work is to find nobody
            paused = [record for record in paused if record.number != wake.number]
        choose = [timed(partial(pruner.choose, paused, fresh)) for fresh in (True, False)]
    return statistics.median(judged[-trials:]), choose[0], choose[1]


def study(spec: StudySpec, folder: Path) -> Iterator[tuple[float, list[float]]]:
    """A study played through ledger and journal; the milliseconds of each decision, and of the
    proposals that it led to.
    """
    directory = StudyDirectory(folder / "study")
    create(spec, StoredStudy(directory), None)
    journal = Journal.open(directory.path, "study", writer=True)
    ledger = Ledger(partial(Proposer, spec), directory, journal)
    pruning = make_pruning(spec, ledger)
    steps, chance = spec.example().budget.steps, random.Random(0)
    proposing: list[float] = []
    live = [_next(ledger, pruning, proposing) for _ in range(AT_ONCE)]
    while numbers := [number for number in live if number is not None]:
        number = chance.choice(numbers)
        report = made_up(number, ledger.records[number].step + 10, steps)
        proposing.clear()
        begun = time.process_time()
        ledger.report(number, report)
        verdict = pruning.judge(number, report)
        if report.outcome is not None:
            ledger.end(number)
        elif verdict.decision is Decision.STOP:
            ledger.end(number, Outcome.PRUNED, verdict.reason)
        elif verdict.decision is Decision.PAUSE:
            ledger.pause(number, verdict.reason)
        if number not in ledger.live:
            live.remove(number)
            live += [_next(ledger, pruning, proposing) for _ in range(AT_ONCE - len(live))]
        taken = time.process_time() - begun - sum(proposing)
        yield 1000 * taken, [1000 * seconds for seconds in proposing]
    ledger.give_up_paused()
    ledger.close()


def _next(ledger: Ledger, pruning: Pruning, proposing: list[float]) -> int | None:
    """Whom a free place goes to, as the dispatcher has it; notes the seconds that a proposal takes."""
    if wakes := pruning.wakes(1):
        return ledger.wake(wakes[0].number, wakes[0].reason).number
    if not ledger.remaining:
        return None
    begun = time.process_time()
    number = ledger.next().number
    proposing.append(time.process_time() - begun)
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--reports", type=int, default=50, help="of a trial that completes")
    parser.add_argument("--pruner", nargs="+", default=DEFAULTS, help="as in a study file")
    parser.add_argument("--sampler", default="random", help="as in a study file")
    arguments = parser.parse_args()
    print(f"{arguments.trials} trials, {arguments.reports} reports each; milliseconds")
    columns = ["judge", "choose, new trials", "choose, none", "driver: median", "99 %", "highest"]
    columns += ["proposal: median", "99 %", "highest", "reports"]
    print(f"| sampler and pruner | {' | '.join(columns)} |")
    print("|---" * (len(columns) + 1) + "|")
    for text in arguments.pruner:
        spec = spec_of(text, arguments.sampler, arguments.trials, arguments.reports)
        cells = list(alone(spec, arguments.trials, arguments.reports))
        with tempfile.TemporaryDirectory(prefix="decisions-") as folder:
            taken = list(study(spec, Path(folder)))
        last = taken[-len(taken) // 10 :]
        for times in ([own for own, _ in last], [each for _, made in last for each in made]):
            ordered = sorted(times)
            cells += [statistics.median(ordered), ordered[int(0.99 * len(ordered))], ordered[-1]]
        told = " | ".join(f"{cell:.2f}" for cell in cells)
        print(f"| `{arguments.sampler}`, `{text}` | {told} | {len(taken):,} |", flush=True)


if __name__ == "__main__":
    main()

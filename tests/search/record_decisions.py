"""Record what version 0.1.0's ASHA decided: `tests/search/decisions.json`, which today's is held to.

    cd tests/search
    PYTHONPATH=/path/to/gansearch-0.1.0 python record_decisions.py [RUNS/STUDY ...] > decisions.json

Random curves (of either goal, with ties, with NaN and infinities, with failures, late starters, steps
that are no multiple of a rung, and drivers that were restarted) are shown to 0.1.0's scheduler as Ray
Tune would; studies that it ran are read from their journals as they are.
"""

import json
import math
import random
import sys
from pathlib import Path
from types import SimpleNamespace

CASES = 24
EVENTS = 110
LIVE = 4
LETTERS = {"": None, "c": "completed", "d": "diverged"}


class Recorder:
    """A ledger's place: remembers what 0.1.0's scheduler said."""

    def __init__(self, goal):
        self.goal, self.metric, self.records, self.pruned = goal, "m", {}, {}

    def prune(self, number, reason):
        self.pruned[number] = reason


def make_case(seed):
    chance = random.Random(seed)
    every = chance.choice([10, 10, 30])
    steps = every * chance.choice([9, 9, 27, 10]) + chance.choice([0, 0, every // 2])
    return {
        "goal": chance.choice(["min", "max"]),
        "steps": steps,
        "every": every,
        "factor": chance.choice([2, 3, 3, 4]),
        "min_steps": chance.choice([None, None, every, 25, 3 * every]),
        "kind": chance.choice(["plain", "ties", "nan", "late"]),
        "restarts": sorted(chance.sample(range(10, EVENTS), chance.choice([0, 0, 1, 3]))),
    }


def spec_of(case):
    budget = SimpleNamespace(steps=case["steps"], report_every=case["every"])
    pruner = SimpleNamespace(name="asha", min_steps=case["min_steps"], reduction_factor=case["factor"])
    return SimpleNamespace(
        example=lambda: SimpleNamespace(budget=budget), plan=SimpleNamespace(pruner=pruner)
    )


def value_of(chance, case, number, step):
    if case["kind"] == "ties":
        return float(chance.randint(0, 3))
    if case["kind"] == "nan" and chance.random() < 0.3:
        return chance.choice([math.nan, math.nan, math.inf, -math.inf])
    if case["kind"] == "late" and number % 3 == 0 and step < case["steps"] // 3:
        return math.nan  # the first finite value comes late
    return round(chance.uniform(-1, 10), 3)


def simulate(seed):
    """The events of one case, each [number, step, value, outcome, reason to stop or ""]."""
    from gansearch.tuning.scheduler import STOP, PruningScheduler

    from gansearch.study.records import Outcome, Report, TrialRecord, better

    case, chance = make_case(seed), random.Random(seed + 1000)
    ledger, events = Recorder(case["goal"]), []
    scheduler = PruningScheduler(spec_of(case), ledger)
    steps, best, tune, live = {}, {}, {}, []
    for index in range(EVENTS):
        if index in case["restarts"]:
            scheduler = PruningScheduler(spec_of(case), ledger)
            ledger.pruned.clear()
            scheduler.replay(list(ledger.records.values()))
            assert not ledger.pruned
            for number in live:
                scheduler.on_trial_add(None, tune[number])
        while len(live) < LIVE:
            number = len(tune)
            tune[number] = SimpleNamespace(trial_id=f"tune-{number}", config={"number": number})
            ledger.records[number] = TrialRecord(number, {}, {})
            steps[number], best[number] = 0, math.nan
            scheduler.on_trial_add(None, tune[number])
            live.append(number)
        number = chance.choice(live)
        step = steps[number] = min(steps[number] + case["every"], case["steps"])
        value = value_of(chance, case, number, step)
        if better(value, None if math.isnan(best[number]) else best[number], case["goal"]):
            best[number] = value
        outcome = "c" if step == case["steps"] else "d" if chance.random() < 0.05 else ""
        told = Outcome(LETTERS[outcome]) if outcome else None
        result = {"step": step, "objective": best[number], "outcome": told}
        stopped = told is not None
        if told is None:
            stopped = scheduler.on_trial_result(None, tune[number], result) == STOP
        record = ledger.records[number]
        record.reports.append(Report(step, 0, 0.0, {"m": value}, float(index), told))
        if stopped:
            scheduler.on_trial_complete(None, tune[number], result)
            record.outcome = told or Outcome.PRUNED
            live.remove(number)
        events.append([number, step, value, outcome, ledger.pruned.pop(number, "")])
    return case, events


def read(study):
    """The same of a study that 0.1.0 ran: a pruned trial's last report is where it was stopped."""
    import yaml

    from gansearch.journal import Journal

    journal = Journal.open(study, study.name)
    plan = yaml.safe_load((study / "study.yaml").read_text())["pruner"]
    case = {"goal": journal.goal, "steps": journal.steps, "every": journal.facts["report_every"]}
    case |= {"factor": plan["reduction_factor"], "min_steps": plan.get("min_steps")}
    case |= {"kind": "real", "restarts": []}
    letters = {word: letter for letter, word in LETTERS.items()}
    reports = [
        (report.time, record, report) for record in journal.trials() for report in record.reports
    ]
    events = []
    for _, record, report in sorted(reports, key=lambda item: item[0]):
        stopped = record.outcome == "pruned" and report is record.last
        told = letters.get(report.outcome and report.outcome.value, "d")  # any rule's end is a failure
        value = report.metrics.get(journal.metric, math.nan)
        why = record.reason if stopped else ""
        events.append([record.number, report.step, value, told, why])
    return case, events


if __name__ == "__main__":
    made = [simulate(seed) for seed in range(CASES)] + [read(Path(name)) for name in sys.argv[1:]]
    reasons = list(dict.fromkeys(event[-1] for _, events in made for event in events))
    print(json.dumps(reasons))
    for case, events in made:
        short = [[*event[:-1], reasons.index(event[-1])] for event in events]
        print(json.dumps([case, short], separators=(",", ":")))

"""A round: a study, the strikes at it, and what is left of it."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks.faults.strikes import FAULTS, ONCE, Strike, disks
from benchmarks.faults.study import (
    TRIALS,
    Study,
    World,
    exact,
    exact_report,
    reach,
)

if TYPE_CHECKING:
    from gansearch.journal.journal import Journal
    from gansearch.study.records import TrialRecord


FIRST, LAST = 0.08, 0.85
"""Strikes come at these shares of an undisturbed study's reports."""


@dataclass
class Round:
    """A line of the log."""

    fault: str
    sequential: bool
    seed: int
    struck: int = 0
    trials: int = 0
    lost: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    limbo: list[int] = field(default_factory=list)
    runs: int = 0
    runs_of: int = 0
    runs_running: int = 0
    curves: int = 0
    wrong_curves: list[int] = field(default_factory=list)
    blamed: list[str] = field(default_factory=list)
    proposals: bool | None = None
    woken: int = 0
    resumes: int = 0
    syncs: int = 0
    hung: int = 0
    seconds: list[float] = field(default_factory=list)
    took: float = 0.0
    said: list[str] = field(default_factory=list)


def play(
    world: World,
    fault: str,
    seed: int,
    *,
    sequential: bool,
    known: list[Any],
    reports: int,
    lanes: int = 1,
) -> Round:
    """One round."""
    chance = random.Random(seed)
    begun = time.monotonic()
    line = Round(fault, sequential, seed)
    study = Study(
        world, f"{fault}-{seed}", sequential=sequential, storage=fault == "postgresql", lanes=lanes
    )
    study.begin_counting()
    before: dict[int, Any] = {}
    with disks(study, fault):
        study.run()
        if fault in ("trials-full", "journal-full"):
            study.put_trials_on_a_disk()
        strikes = 1 if fault in ONCE else chance.randint(1, 3)
        for share in sorted(chance.uniform(FIRST, LAST) for _ in range(strikes)):
            reach(study, max(int(share * reports), 1))
            if study.ended:
                break
            time.sleep(chance.uniform(0, 0.2))
            before |= {r.number: exact(r) for r in study.journal().trials() if r.outcome.ended}
            at, strike = study.count(), time.monotonic()
            FAULTS[fault](Strike(study, chance))
            line.struck += 1
            reach(study, at + 1)
            line.seconds.append(round(time.monotonic() - strike, 1))
        study.finish()
        look(world, study, line, before, known)
    line.resumes, line.syncs, line.hung = study.resumes, study.synced, study.hung
    line.said = [text for text in study.said if not text.startswith("0:")]
    line.took = round(time.monotonic() - begun, 1)
    return line


def look(world: World, study: Study, line: Round, before: dict[int, Any], known: list[Any]) -> None:
    """What is left after a study."""
    journal = study.journal()
    records = journal.trials()
    line.trials = len(records)
    line.lost = [number for number, was in before.items() if exact(records[number]) != was]
    line.limbo = [r.number for r in records if not r.outcome.ended]
    line.limbo += [
        t.number for t in journal.study.get_trials(deepcopy=False) if not t.state.is_finished()
    ]
    line.limbo += range(len(records), TRIALS)
    line.twice = sorted(set(trained_again(world, journal, records)) | set(ended_twice(study)))
    line.woken = sum(bool(chance.woken) for r in records for chance in r.chances)
    line.blamed = [f"{r.number}: {r.reason}" for r in records if str(r.outcome) == "failed"]
    for record in records:
        curve = [exact_report(report) for report in record.reports]
        # What a trial says of its end is in the last report of those that ended by themselves.
        wanted = world.undisturbed(record, study.path / "reference.safetensors")
        if curve == wanted:
            line.curves += 1
        else:
            line.wrong_curves.append(record.number)
    if study.sequential and known:
        line.proposals = [exact(r) for r in records] == known
    runs = mlflow_runs(world, study.name)
    line.runs, line.runs_of = len(runs), len({number for number, _ in runs})
    line.runs_running = sum(status == "RUNNING" for _, status in runs)


def trained_again(world: World, journal: Journal, records: list[TrialRecord]) -> Iterator[int]:
    """Trials whose training has begun after they ended."""
    beginnings = defaultdict(list)
    for path in (world.folder / "beginnings").iterdir():
        seed, _, at = path.name.partition("-")
        beginnings[int(seed)].append(float(at))
    for record, trial in zip(records, journal.study.get_trials(deepcopy=False), strict=True):
        if trial.datetime_complete is None:
            continue
        end = trial.datetime_complete.timestamp()
        if any(at > end + 0.05 for at in beginnings[record.config["seed"]]):
            yield record.number


def ended_twice(study: Study) -> Iterator[int]:
    """Trials with two ends in the journal file, or a report after the end."""
    from optuna.storages.journal._storage import JournalOperation  # noqa: PLC0415
    from optuna.trial import TrialState  # noqa: PLC0415

    if study.storage:
        return
    ends: Counter[int] = Counter()
    for text in (study.path / "journal.log").read_text().splitlines():
        log = json.loads(text)
        trial = log.get("trial_id")
        if log["op_code"] == JournalOperation.SET_TRIAL_STATE_VALUES:
            ends[trial] += TrialState(log["state"]).is_finished()
        late = log["op_code"] == JournalOperation.SET_TRIAL_USER_ATTR and ends[trial]
        if ends[trial] > 1 or (late and "report:" in text):
            yield trial


def mlflow_runs(world: World, name: str) -> list[tuple[str, str]]:
    with sqlite3.connect(world.store) as database:
        return database.execute(
            "select t.value, r.status from runs r join tags t using (run_uuid) "
            "join experiments e using (experiment_id) where t.key = 'gansearch.trial' "
            "and e.name = ? and r.lifecycle_stage = 'active'",
            (name,),
        ).fetchall()


def undisturbed(world: World) -> tuple[list[Any], int, Round]:
    """A sequential study that nothing happens to: its trials, and how many reports they make."""
    study = Study(world, "undisturbed", sequential=True, storage=False)
    study.begin_counting()
    begun = time.monotonic()
    study.run()
    study.finish()
    records = study.journal().trials()
    line = Round("none", True, 0)
    look(world, study, line, {}, [])
    line.resumes, line.said = study.resumes, study.said
    line.took = round(time.monotonic() - begun, 1)
    return [exact(record) for record in records], sum(len(r.reports) for r in records), line

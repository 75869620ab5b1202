"""Second chances in execution: no paused trial is lost, and a study that is killed anywhere, again and
again, ends as one that nothing happened to. With a real ledger, journal and dispatcher, without Ray.
"""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from test_dispatcher import Study

from gansearch.journal.journal import Journal
from gansearch.study.records import Outcome
from gansearch.tuning import dispatcher as module
from gansearch.tuning.pruning import make_pruning

STEPS, EVERY = 90, 10
SALT = 2
SPEC = "search: {trials: 16, sampler: {name: tpe, startup_trials: 4}}\npruner: "
PRUNERS = ("{name: asha, second_chances: true}", "{name: hyperband, second_chances: true}")


class Killed(BaseException):
    """The driver's process is gone."""


class World:
    """A study whose workers train made-up curves, and whose driver dies after some writes.

    A curve is a function of the trial's configuration; how far it was trained, its checkpoint, survives
    drivers and workers.

    Args:
        make: opens the study's ledger, as a resumed driver does.
        study: what is asked.
        report: makes one.
    """

    def __init__(self, make, study, report, *, lanes=1, slots=1):
        self.make, self.study, self.report = make, study, report
        self.lanes, self.slots = lanes, slots
        self.saved: dict[int, int] = {}
        self.begun: list[tuple[int, int]] = []

    def outcome(self, config, step):
        if random.Random(config["seed"]).random() < 0.15 and step >= 40:
            return Outcome.DIVERGED
        return Outcome.COMPLETED if step == STEPS else None

    def value(self, config, step):
        chance = random.Random(config["seed"] + SALT)
        begin, end, late = chance.uniform(5, 10), chance.uniform(1, 9), chance.random()
        return begin + (end - begin) * (step / STEPS) ** (0.3 + 3 * late)

    def driver(self):
        ledger = self.make(self.study)
        pruning = make_pruning(self.study, ledger)
        return Study(ledger, pruning, self.report, self.lanes, self.slots, None, 100)

    def live(self, chance, deaths, dies_after=None):
        """One driver's life: to the end of the study, or until it is killed."""
        s = self.driver()
        if dies_after is not None:
            _dying(s.ledger.journal, dies_after)
        lanes: dict[str, list[int]] = {}
        try:
            while not s.dispatcher.finished:
                self._go_on(s, lanes, chance, deaths)
            s.dispatcher.close()
            s.ledger.journal.flush()
        except Killed:
            return False
        return True

    def _go_on(self, s, lanes, chance, deaths):
        name = f"w{chance.randrange(self.slots)}"
        if name not in s.workers:
            lanes.pop(name, None)
            if s.start(name) is None:
                return
        if deaths and chance.random() < 0.05:
            s.die(name)
            return
        number = s.carries(name)[0]
        record = s.ledger.records[number]
        # A worker goes on from its checkpoint, and tells first what the journal has not heard.
        step = record.step + EVERY
        self.saved[number] = max(self.saved.get(number, 0), step)
        self.begun.append((number, step))
        end = self.outcome(record.config, step)
        told = (number, step, self.value(record.config, step), *([end] if end else []))
        s.tell(name, told)


def _dying(journal: Journal, writes: int):
    """Have the process be gone in the middle of its next write but so many."""
    file = journal.storage._file
    append, left = file._append, [writes]

    def dying(data):
        left[0] -= 1
        if left[0] < 0:
            lines = data.splitlines(keepends=True)
            append(b"".join(lines[: len(lines) // 2]))
            raise Killed
        append(data)

    file._append = dying


def told(ledger):
    """What a study has come to, but for the clock."""
    return [
        (
            r.number,
            r.params,
            r.outcome,
            r.reason,
            r.chances,
            [(one.step, one.metrics, one.outcome) for one in r.reports],
        )
        for r in ledger.journal.trials()
    ]


@pytest.fixture
def world(make_ledger, spec, report, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "error_of", lambda trial: trial.error)
    monkeypatch.setattr(module.ray, "kill", lambda actor: None)
    count = iter(range(10**6))

    def make(pruner, **options):
        folder = tmp_path / "runs" / "study"
        if folder.exists():
            folder.rename(tmp_path / "runs" / f"before-{next(count)}")
        return World(make_ledger, spec(SPEC + pruner), report, **options)

    return make


@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_sequential_study_that_is_killed_again_and_again_is_the_undisturbed_one(world, pruner):
    whole = world(pruner)
    assert whole.live(random.Random(0), deaths=False)
    expected = told(whole.make(whole.study))
    outcomes = {trial[2] for trial in expected}
    assert Outcome.PRUNED in outcomes
    assert Outcome.COMPLETED in outcomes
    assert sum(bool(chance.woken) for trial in expected for chance in trial[4]) >= 3

    killed, drivers = world(pruner), 0
    chance = random.Random(1)
    while not killed.live(random.Random(0), False, dies_after=chance.randrange(1, 12)):
        drivers += 1
        assert drivers < 500
    assert drivers > 10
    assert told(killed.make(killed.study)) == expected


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.integers(0, 2**32), some.sampled_from(PRUNERS), some.integers(1, 3))
def test_no_paused_trial_is_lost_whatever_dies(world, seed, pruner, lanes):
    chance = random.Random(seed)
    w = world(pruner, lanes=lanes, slots=3)
    for _ in range(200):
        if w.live(chance, True, dies_after=chance.randrange(3, 60)):
            break
    ledger = w.make(w.study)
    records = ledger.journal.trials()
    assert [r.number for r in records] == list(range(16))
    assert all(r.outcome.ended for r in records)
    assert all(t.state.is_finished() for t in ledger.journal.study.get_trials())
    for r in records:
        assert [one.step for one in r.reports] == list(range(EVERY, r.step + 1, EVERY)), "no gap"
        assert all(chance.woken for chance in r.chances[:-1])
        if r.outcome is Outcome.PRUNED:
            assert r.chances[-1].woken == ""
            assert r.chances[-1].step == r.step
            assert r.chances[-1].paused in r.reason
        elif r.chances:
            assert r.chances[-1].woken


@pytest.mark.parametrize("pruner", PRUNERS)
def test_what_a_journal_decides_it_decides_again(world, pruner):
    """A new pruner, shown the journal's reports in their order, pauses whom the old one paused."""
    w = world(pruner, slots=4, lanes=2)
    assert w.live(random.Random(3), deaths=True)
    records = {r.number: r for r in w.make(w.study).journal.trials()}
    blank = SimpleNamespace(records={}, settle=lambda verdicts: None)
    pruning = make_pruning(w.study, blank)
    blank.records = records
    events = sorted((one.time, r.number, one) for r in records.values() for one in r.reports)
    again: dict[int, list[tuple[int, str]]] = {number: [] for number in records}
    for _, number, one in events:
        verdict = pruning.judge(number, one)
        if verdict.reason:
            again[number].append((one.step, verdict.reason))
    assert again == {n: [(c.step, c.paused) for c in r.chances] for n, r in records.items()}


@pytest.mark.parametrize("name", ["asha", "hyperband"])
def test_who_was_given_up_takes_no_steps_of_a_search_that_is_asked_for_more(
    make_ledger, spec, report, name
):
    """Until one trial has completed, the best that waits goes on in any case."""
    asked = f"search: {{trials: %d}}\npruner: {{name: {name}, second_chances: true}}"
    study = spec(asked % 6)
    ledger = make_ledger(study)
    pruning = make_pruning(study, ledger)
    for number in range(6):
        for step in (10, 30):  # one of hyperband's waits at its first rung, its second
            ledger.next() if step == 10 else ledger.wake(number, "")
            ledger.report(number, report(step, 9.0 - number))
            ledger.pause(number, pruning.judge(number, ledger.records[number].last).reason)
    assert len(ledger.give_up_paused()) == 6  # as when its device-hours were spent

    more = spec(asked % 7)
    again = make_ledger(more)
    pruning = make_pruning(more, again)
    assert again.next().number == 6
    for step in (10, 30):
        again.report(6, report(step, 5.0))
        verdict = pruning.judge(6, again.records[6].last)
    again.pause(6, verdict.reason or "why")
    assert [wake.number for wake in pruning.wakes(1)] == [6]


def test_a_woken_trial_is_not_paused_again_for_the_same_report(make_ledger, spec, report):
    study = spec("pruner: {name: asha, second_chances: true}")
    ledger = make_ledger(study)
    pruning = make_pruning(study, ledger)
    numbers = [ledger.next().number for _ in range(3)]
    for number, value in zip(numbers, (1.0, 2.0, 3.0), strict=True):
        ledger.report(number, report(10, value))
        ledger.pause(number, pruning.judge(number, ledger.records[number].last).reason)
    [wake] = pruning.wakes(1)
    ledger.wake(wake.number, wake.reason)  # and the driver is killed

    again = make_ledger(study)
    assert again.records[wake.number].outcome is Outcome.RUNNING
    make_pruning(study, again)
    assert [trial.number for trial in again.paused] == [n for n in numbers if n != wake.number]
    assert again.next().number == wake.number


def test_the_end_of_paused_trials_is_finished_by_the_next_driver(world):
    """A pruner that would wake those who are left, had it been asked again."""
    w = world("{name: 'test_second_chances:Fickle'}")
    s = w.driver()
    w_chance = random.Random(0)
    lanes: dict[str, list[int]] = {}
    while not s.dispatcher.finished:
        w._go_on(s, lanes, w_chance, deaths=False)
    _dying(s.ledger.journal, 3)
    with pytest.raises(Killed):
        s.dispatcher.close()
    before = [
        r.number for r in Journal.open(s.ledger.directory.path, "study").trials() if r.outcome.ended
    ]
    assert 0 < len(before) < 16
    assert w.live(random.Random(0), deaths=False)
    records = w.make(w.study).journal.trials()
    assert {r.outcome for r in records} == {Outcome.PRUNED}
    assert {r.step for r in records} == {EVERY}


class Fickle:
    """Pauses everybody, and has them go on when there are few."""

    def __init__(self, config):
        pass

    def judge(self, trial, report):
        from gansearch.search.pruners import Decision, Verdict

        return Verdict(Decision.PAUSE, f"at step {report.step}")

    def choose(self, paused, fresh):
        from gansearch.search.pruners import Wake

        first = paused[0]
        return Wake(first.number, f"at step {first.step}") if len(paused) < 16 and not fresh else None

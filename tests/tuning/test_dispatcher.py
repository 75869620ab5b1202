"""Who trains what: workers filled and refilled, deaths, nodes that leave. Called as Tune would, without
Ray.
"""

from __future__ import annotations

import re
import threading
from functools import partial
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, RayActorError

from gansearch.errors import StudyError
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.search.proposer import Proposer
from gansearch.search.pruners import Decision, Verdict, Wake
from gansearch.search.repeats import Repeats
from gansearch.study.config import TrialConfig
from gansearch.study.plan import Resources
from gansearch.study.records import Outcome
from gansearch.study.roster import Candidate, Roster
from gansearch.training import checkpoint
from gansearch.tuning import dispatcher as module
from gansearch.tuning.dispatcher import Dispatcher, Interruption
from gansearch.tuning.engine import Workers
from gansearch.tuning.ledger import Ledger
from gansearch.tuning.pruning import make_pruning
from gansearch.tuning.trainable import Told

UNPRUNED = "search: {trials: 10, sampler: random}\npruner: none"


class Actor:
    """A worker's handle: what it was told."""

    def __init__(self, name):
        self._actor_id = SimpleNamespace(hex=lambda: name)
        self.numbers: list[int] = []
        self.alone: set[int] = set()
        self.tell = SimpleNamespace(remote=self._tell)

    def _tell(self, begin, stop):
        assert begin or stop, "an empty message"
        self.numbers = [n for n in self.numbers if n not in stop]
        assert not {one.number for one in begin} & set(self.numbers)
        self.numbers += [one.number for one in begin]
        self.alone |= {one.number for one in begin if one.alone}


class Study:
    """A dispatcher over a real ledger, and workers that tell what a test has them tell."""

    def __init__(self, ledger, pruning, report, lanes, slots, most, retries):
        self.ledger, self.report, self.ended, self.workers = ledger, report, [], {}
        self.nodes = SimpleNamespace(
            leaving={}, avoided=list, took=lambda actor: False, doubted=[], node_of=lambda actor: "node"
        )
        self.nodes.doubt = self.nodes.doubted.append
        self.interruption = Interruption(threading.Event().is_set)
        self.dispatcher = Dispatcher(
            *(
                ledger,
                pruning,
                self.nodes,
                Resources(lanes=lanes, retries=retries),
                lambda: slots,
                most,
            ),
            *(self.ended.append, [], self.interruption),
        )
        self.searcher = Workers(self.dispatcher, self.nodes)

    def start(self, name):
        """A worker begins, as Tune asks for it; returns what it carries, or None: there is none."""
        if not isinstance(self.searcher.suggest(name), dict):
            return None
        actor, metadata = Actor(name), SimpleNamespace()
        state = SimpleNamespace(ray_actor=actor)
        trial = SimpleNamespace(trial_id=name, temporary_state=state, run_metadata=metadata)
        self.workers[name] = trial
        self.dispatcher.on_trial_start(trial=trial)
        return actor.numbers

    def carries(self, name):
        return self.workers[name].temporary_state.ray_actor.numbers

    def tell(self, name, *told, due=()):
        """A worker's step: (number, step, value), or with an outcome, or (number, error)."""
        actor = self.workers[name].temporary_state.ray_actor
        sent = []
        for number, *what in told:
            ended = len(what) == 1 or what[2:]
            sent.append(Told(number, None if len(what) == 1 else self.report(*what), {}, str(what[0])))
            if ended:
                actor.numbers = [n for n in actor.numbers if n != number]
        goes_on = self.dispatcher.hear(self.workers[name], {"told": sent, "due": list(due)})
        if not goes_on:
            self.dispatcher.on_trial_complete(trial=self.workers.pop(name))
            self.searcher.on_trial_complete(name)
        return goes_on

    def die(self, name, error=None):
        trial = self.workers.pop(name)
        self.searcher.on_trial_complete(name, error=True)
        if error is None:
            error = RayActorError(name, "its worker process has died")
            error.__class__ = ActorDiedError
        trial.error = error
        self.dispatcher.on_trial_error(trial=trial)


@pytest.fixture
def study(make_ledger, spec, report, monkeypatch):
    monkeypatch.setattr(module, "error_of", lambda trial: trial.error)
    monkeypatch.setattr(module.ray, "kill", lambda actor: None)

    def make(changes=UNPRUNED, lanes=4, slots=1, most=None, retries=2, ledger=None):
        asked = spec(changes)
        ledger = ledger or make_ledger(asked)
        return Study(ledger, make_pruning(asked, ledger), report, lanes, slots, most, retries)

    return make


def outcomes(study):
    return {n: str(r.outcome) for n, r in study.ledger.records.items()}


def test_a_worker_carries_as_many_as_it_has_lanes_and_is_refilled(study):
    s = study()
    assert s.start("a") == [0, 1, 2, 3]
    assert s.start("b") is None, "there is room for one worker"
    assert s.tell("a", (0, 10, 1.0))
    assert s.carries("a") == [0, 1, 2, 3]
    s.tell("a", (1, "KeyError: 'a bug'"))
    s.tell("a", (0, 90, 1.0, Outcome.COMPLETED))
    assert s.carries("a") == [2, 3, 4, 5]
    for number in (2, 3, 4, 5, 6, 7, 8):
        assert s.tell("a", (number, 90, 1.0, Outcome.COMPLETED))
    assert not s.dispatcher.finished
    assert not s.tell("a", (9, 90, 1.0, Outcome.COMPLETED))
    assert s.dispatcher.finished
    assert s.ended == [1, 0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert outcomes(s) == {n: "failed" if n == 1 else "completed" for n in range(10)}
    assert s.ledger.records[1].reason == "KeyError: 'a bug'"
    assert s.start("b") is None


def test_with_one_lane_workers_take_one_trial_after_another(study):
    s = study(lanes=1, slots=2)
    assert (s.start("a"), s.start("b"), s.start("c")) == ([0], [1], None)
    s.tell("b", (1, 90, 1.0, Outcome.COMPLETED))
    assert (s.carries("a"), s.carries("b")) == ([0], [2])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"slots": 3}, [4, 4, 2]),
        ({"slots": 4}, [3, 3, 3, 1]),
        ({"slots": 2, "most": 2}, [1, 1]),
        ({"slots": 2, "most": 5}, [3, 2]),
        ({"slots": 1, "most": 1}, [1]),
        ({"lanes": 1, "slots": 20}, [1] * 10),
        ({"lanes": 100, "slots": 2}, [5, 5]),
    ],
)
def test_few_trials_are_spread_over_all_workers(study, options, expected):
    s = study(**options)
    carried = []
    while (numbers := s.start(f"worker {len(carried)}")) is not None:
        carried.append(len(numbers))
    assert carried == expected
    assert len(s.ledger.live) == sum(expected)


def test_seeds_of_one_configuration_go_to_one_worker(study, repeats):
    s = study(lanes=3, slots=2, ledger=repeats)
    assert (s.start("a"), s.start("b")) == ([0, 1, 2], [3, 4, 5])

    def configurations(name):
        return "".join(repeats.records[n].configuration for n in s.carries(name))

    assert (configurations("a"), configurations("b")) == ("xxx", "yyy")
    s.die("a")
    s.tell("b", (3, 90, 1.0, Outcome.COMPLETED))
    assert configurations("b") == "yyx", "one that has lost its worker comes first"
    s.tell("b", (0, 90, 1.0, Outcome.COMPLETED))
    assert configurations("b") == "yyx"


@pytest.fixture
def repeats(tmp_path):
    """A ledger of two configurations with four seeds each."""
    directory = StudyDirectory(tmp_path / "repeats")
    directory.path.mkdir()
    facts = {"metric": "fd_classifier", "goal": "min", "steps": 90, "trials": 0, "report_every": 10}
    facts |= {"question": "", "study": "question: ''", "id": "0", "digest": "abc"}
    journal = Journal.create(directory.path, "repeats", facts)
    configs = [(label, TrialConfig(batch_size=n).plain()) for n, label in enumerate("xy", 4)]
    candidates = [Candidate(label, "given", config) for label, config in configs]
    journal.extend(Roster().extended(candidates, 4, 0))
    return Ledger(Repeats, directory, journal)


@pytest.fixture
def held(make_ledger, spec, report):
    """A ledger that was made again: of three trials one has a report, one a checkpoint, one neither;
    nothing can begin.
    """
    ledger = make_ledger(spec(UNPRUNED))
    told, saved, _neither = (ledger.next().number for _ in range(3))
    ledger.report(told, report(10, 1.0))
    checkpoint.save(ledger.directory.trial(saved), 10, {"step": 10})
    ledger.interrupt()
    asked = spec(UNPRUNED)
    held = "generator: weights: /gone cannot be read"
    return Ledger(partial(Proposer, asked), ledger.directory, ledger.journal, held=held)


def test_where_nothing_can_begin_what_has_begun_goes_on_and_the_rest_is_told(study, held):
    s = study(lanes=4, ledger=held)
    assert s.start("a") == [0, 1]
    assert s.start("b") is None
    s.tell("a", (0, 90, 1.0, Outcome.COMPLETED))
    s.die("a")
    assert s.start("c") == [1], "also after its worker has died"
    assert not s.dispatcher.finished
    s.tell("c", (1, 90, 1.0, Outcome.COMPLETED))
    assert s.dispatcher.finished
    with pytest.raises(StudyError, match=r"8 trials cannot begin: .*/gone cannot be read.*resume"):
        s.dispatcher.close()
    assert outcomes(s) == {0: "completed", 1: "completed", 2: "interrupted"}
    assert held.remaining == 8


def test_a_worker_that_waits_for_room_has_no_trials_yet(study):
    """Tune has it ready for a node that may join: its proposals are made when it is there."""
    s = study(slots=2)
    assert isinstance(s.searcher.suggest("waiting"), dict)
    assert len(s.start("a")) == 4
    for number in range(10):
        s.tell("a", (number, 90, 1.0, Outcome.COMPLETED))
    assert s.dispatcher.finished, "and it is not waited for"


def test_one_that_is_pruned_makes_room_and_the_others_stay(study):
    s = study("search: {trials: 60, sampler: random}", lanes=4)
    s.start("a")
    for number, value in enumerate((1.0, 2.0, 3.0)):
        s.tell("a", (number, 10, value))
    assert s.carries("a") == [0, 3, 4, 5], "ASHA: 1 and 2 are not the best third"
    assert outcomes(s)[1] == outcomes(s)[2] == "pruned"
    assert "not among the best 1/3" in s.ledger.records[2].reason
    s.tell("a", (3, 10, 9.0), (3, 20, 0.1), (4, 10, 0.5))
    assert s.ledger.records[3].step == 10, "what comes after the verdict is not heard"
    assert s.carries("a") == [0, 4, 5, 6]


def test_only_the_one_that_was_being_trained_is_blamed_for_a_death(study):
    s = study(retries=0)
    s.start("a")
    for number in (0, 1):
        s.tell("a", (number, 10, 1.0), due=[number + 1])
    s.die("a")
    assert outcomes(s)[2] == "failed"
    assert s.ledger.records[2].reason.startswith("its worker died 1 times at step 0: it crashed")
    assert s.start("b") == [0, 1, 3, 4], "the others go on first, in their order"
    assert s.ledger.live == {0, 1, 3, 4}
    s.die("b")
    assert outcomes(s)[0] == "failed", "it was the first in turn"
    assert s.start("c") == [1, 3, 4, 5]


def test_who_gets_on_between_deaths_goes_on(study):
    s = study(retries=1)
    s.start("a")
    s.tell("a", (0, 10, 1.0), due=[1])
    s.die("a")
    assert s.start("b") == [0, 1, 2, 3]
    s.tell("b", (0, 20, 1.0), due=[1])
    s.tell("b", (1, 10, 1.0), due=[2])
    s.die("b")
    assert s.start("c") == [0, 1, 2, 3]
    s.tell("c", (0, 30, 1.0), due=[1])
    s.die("c")
    assert "failed" not in outcomes(s).values(), "1 had come further, 2 has died once"
    s.start("d")
    s.tell("d", due=[2])
    s.die("d")
    assert s.ledger.records[2].reason.startswith("its worker died 2 times at step 0")
    assert {outcomes(s)[n] for n in (0, 1, 3)} == {"running"}


def test_a_worker_that_must_move_takes_nobody_with_it(study):
    s = study(retries=0)
    s.start("a")
    s.nodes.leaving = {"node": 1e12}
    s.nodes.hurries = lambda node: False
    s.tell("a", (0, 90, 1.0, Outcome.COMPLETED), due=[1])
    assert s.carries("a") == [1, 2, 3], "no more for a node that is to end"
    s.die("a")
    assert "failed" not in outcomes(s).values()
    s.nodes.leaving = {}
    assert s.start("b") == [1, 2, 3, 4]


def test_a_node_that_is_avoided_gets_no_more(study):
    s = study()
    s.start("a")
    s.nodes.avoided = lambda: ["node"]
    s.tell("a", (0, 90, 1.0, Outcome.COMPLETED))
    assert s.carries("a") == [1, 2, 3]


def begin_failed(name):
    error = RayActorError(name, "x\nImportError: no libcuda", actor_init_failed=True)
    error.__class__ = ActorDiedError
    return error


def test_where_no_worker_can_begin_no_trial_is_lost_and_the_study_says_so(study):
    s = study(retries=2, slots=2)
    for name in "abc":
        assert isinstance(s.searcher.suggest(name), dict)
        s.workers[name] = SimpleNamespace(trial_id=name, run_metadata=SimpleNamespace())
        s.die(name, begin_failed(name))
    assert s.nodes.doubted == ["a", "b", "c"]
    assert str(s.interruption.trouble) == (
        "no trial goes on: a worker died 3 times before it had one: it could not begin: "
        "ImportError: no libcuda. When that is mended, `gansearch resume` goes on"
    )
    assert outcomes(s) == {}


def test_while_others_go_on_workers_that_cannot_begin_are_tried_again(study):
    s = study(retries=1, slots=2)
    s.start("a")
    for at in range(1, 7):
        assert isinstance(s.searcher.suggest(f"w{at}"), dict)
        s.workers["w"] = SimpleNamespace(trial_id=f"w{at}", run_metadata=SimpleNamespace())
        s.tell("a", (0, 10 * at, 1.0))
        s.searcher.on_trial_complete(f"w{at}")
        s.die("w", begin_failed("w"))
    assert s.interruption.trouble is None
    assert "failed" not in outcomes(s).values()


def test_what_nobody_can_write_down_puts_all_of_a_pack_back(study):
    from ray.exceptions import RayTaskError

    from gansearch.errors import StorageError

    s = study(retries=0)
    s.start("a")
    refused = RayTaskError("step", "", StorageError("cannot save checkpoints: no space left"))
    s.die("a", refused)
    assert str(s.interruption.trouble).startswith("no trial goes on: trial 0's worker died 1 times")
    assert s.ledger.live == set()
    s.ledger.interrupt()
    assert outcomes(s) == dict.fromkeys(range(4), "interrupted")


SECOND_CHANCES = "pruner: {name: asha, second_chances: true}\nsearch: {trials: 6, sampler: random}"


def test_one_that_is_paused_frees_its_place_and_goes_on_when_it_is_among_the_best(study):
    s = study(SECOND_CHANCES, lanes=1)
    assert s.start("a") == [0]
    s.tell("a", (0, 10, 3.0))
    assert s.carries("a") == [1], "the first of one is no third of anything"
    assert outcomes(s)[0] == "paused"
    assert s.ledger.live == {1}
    s.tell("a", (1, 10, 5.0))
    assert s.carries("a") == [2]
    s.tell("a", (2, 10, 4.0))
    assert s.carries("a") == [0], "0 is the best of three, and goes before a new one"
    assert outcomes(s) == {0: "running", 1: "paused", 2: "paused"}
    chance = s.ledger.records[0].chances[0]
    assert (chance.step, chance.paused) == (10, "1st of 1 at step 10, of which the best 1/3 go on")
    assert chance.woken == "1st of 3 at step 10, of which the best 1/3 go on"
    s.tell("a", (0, 20, 2.0))
    assert s.carries("a") == [0], "between rungs nobody is judged"


def finish(s, names, curve=lambda number, step: number + step / 100):
    """Workers tell one report after the other until there is nothing more to do; returns how many."""
    told = 0
    while not s.dispatcher.finished:
        for name in names:
            if name not in s.workers:
                s.start(name)
            if name not in s.workers or not s.carries(name):
                continue
            number = s.carries(name)[0]
            step = s.ledger.records[number].step + 10
            told += 1
            s.tell(name, (number, step, curve(number, step), *([Outcome.COMPLETED] * (step == 90))))
        assert told < 1000, "it does not end"
    s.dispatcher.close()
    return told


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("workers", ["a", "abc"])
def test_a_study_with_second_chances_ends_and_says_of_each_trial_why(study, lanes, workers):
    s = study(SECOND_CHANCES.replace("6", "30"), lanes=lanes, slots=len(workers))
    told = finish(s, workers)
    assert sorted(outcomes(s)) == list(range(30))
    assert set(outcomes(s).values()) == {"completed", "pruned"}
    assert outcomes(s)[0] == "completed", "the best one"
    assert told < 30 * 9 / 2
    for record in s.ledger.records.values():
        if record.outcome is Outcome.PRUNED:
            again = " again" if len(record.chances) > 1 else ""
            assert record.reason == f"paused{again}, and never went on: {record.chances[-1].paused}"
    assert sorted(s.ended) != s.ended, "pauses and second chances are told, too"


def test_when_new_trials_are_over_the_best_that_is_paused_goes_on_and_the_study_has_an_answer(study):
    s = study(SECOND_CHANCES.replace("6", "2"), lanes=1)
    finish(s, "a")
    assert outcomes(s) == {0: "completed", 1: "pruned"}
    assert s.ledger.records[0].chances[0].woken == (
        "1st of 2 at step 10, with no new trial left and steps to spare"
    )


class WaitsForTrial1:
    """Pauses at step 10, and has all go on once trial 1 has come there."""

    come = False

    def __init__(self, config):
        pass

    def judge(self, trial, report):
        self.come = self.come or trial.number == 1
        return Verdict(Decision.PAUSE if report.step == 10 else Decision.GO_ON, "at step 10")

    def choose(self, paused, fresh):
        return Wake(paused[0].number, "at step 10") if self.come and not fresh else None


def test_a_worker_that_has_ended_comes_back_for_a_second_chance(study):
    trials = "search: {trials: 3, sampler: random}"
    s = study(f"pruner: {{name: 'test_dispatcher:WaitsForTrial1'}}\n{trials}", lanes=1, slots=2)
    assert (s.start("a"), s.start("b")) == ([0], [1])
    s.tell("a", (0, 10, 5.0))
    assert s.carries("a") == [2]
    assert not s.tell("a", (2, 10, 3.0)), "nobody is left for it while 1 trains"
    assert not s.dispatcher.finished
    assert s.start("a") is None
    s.tell("b", (1, 10, 4.0))
    assert s.carries("b") == [0]
    assert s.start("a") == [1]
    assert s.start("c") is None, "there is room for two"
    s.tell("a", (1, 90, 1.0, Outcome.COMPLETED))
    assert s.carries("a") == [2]


def test_one_that_lost_its_worker_goes_before_second_chances(study):
    s = study(SECOND_CHANCES, lanes=2)
    s.start("a")
    s.tell("a", (0, 10, 1.0))
    assert s.carries("a") == [1, 2]
    s.tell("a", (1, 10, 2.0))
    s.tell("a", (2, 10, 3.0), due=[3])
    assert s.carries("a") == [3, 0]
    s.die("a")
    assert s.start("b") == [3, 0]


class Fails:
    """Pauses everybody, and cannot choose."""

    def __init__(self, config):
        pass

    def judge(self, trial, report):
        return Verdict(Decision.PAUSE, f"at step {report.step}")

    def choose(self, paused, fresh):
        raise KeyError("who?")


class Dreams(Fails):
    def choose(self, paused, fresh):
        return Wake(99, "at step 10")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Fails", r"asked who of 1 paused trials goes on, fails: KeyError: 'who\?' \(.*dispatcher.py"),
        ("Dreams", "wakes trial 99, which is not paused"),
    ],
)
def test_a_pruner_that_cannot_choose_ends_the_study_resumably(study, name, message):
    s = study(f"pruner: {{name: 'test_dispatcher:{name}'}}", lanes=1)
    s.start("a")
    s.tell("a", (0, 10, 1.0))
    assert s.interruption.stop_all()
    assert re.search(message, str(s.interruption.trouble))
    assert outcomes(s)[0] == "paused"


def test_whom_a_death_may_be_the_doing_of_is_trained_by_itself_until_it_reports(study):
    s = study()
    s.start("a")
    s.tell("a", (0, 10, 1.0), due=[1, 2])
    s.die("a")
    assert sorted(s.start("b")) == [0, 1, 2, 3]
    actor = s.workers["b"].temporary_state.ray_actor
    assert actor.alone == {1, 2}, "those that were being trained"
    s.tell("b", (1, 10, 1.0), due=[1])
    s.die("b", KeyError("of the cluster's"))
    s.start("c")
    assert s.workers["c"].temporary_state.ray_actor.alone == {1, 2}
    s.tell("c", (1, 20, 1.0), (2, 10, 1.0), due=[0, 1, 2, 3])
    s.die("c")
    s.start("d")
    assert s.workers["d"].temporary_state.ray_actor.alone == {0, 1, 2, 3}

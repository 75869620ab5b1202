"""When a search is over before it has had all its trials."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gansearch.analysis.evidence import gather
from gansearch.analysis.tables import status
from gansearch.errors import InvalidInput, StudyError
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.facts import OVER
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.search.stopping import FEWEST, Ending, chance_of_better
from gansearch.search.trying import idle_plan
from gansearch.study.document import parse_document
from gansearch.study.plan import Resources, Search
from gansearch.study.records import Outcome, Report, TrialRecord
from gansearch.training.validation import override, read_study
from gansearch.tuning.extension import More, extend
from gansearch.tuning.pruning import make_pruning
from studies import STUDY

DRAWS = {
    "lognormal": lambda chance, n: chance.lognormal(1, 1, n),
    "normal": lambda chance, n: chance.normal(5, 1, n),
    "bounded": lambda chance, n: (chance.normal(size=(n, 2)) ** 2).sum(1),
    "failing": lambda chance, n: np.where(chance.random(n) < 0.4, np.inf, chance.lognormal(1, 1, n)),
}


@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize(("ended", "more"), [(40, 40), (100, 50), (100, 10)])
def test_the_chance_of_a_better_one_is_as_often_right_as_it_says(name, ended, more):
    chance, said, came = np.random.default_rng(0), [], []
    for _ in range(300):
        costs, rest = DRAWS[name](chance, ended), DRAWS[name](chance, more)
        said.append(chance_of_better(costs, costs.min(), more))
        came.append(rest.min() < costs.min())
    assert np.mean(said) == pytest.approx(np.mean(came), abs=0.12)
    assert np.mean(said) > np.mean(came) - 0.06  # rather too much


@pytest.mark.parametrize("more", [10, 50, 400])
@pytest.mark.parametrize("far", [0.3, 1.0])
def test_of_an_exponential_tail_it_is_right_too_of_how_much_better(far, more):
    chance, said, came = np.random.default_rng(0), [], []
    for _ in range(1500):
        costs, rest = -chance.exponential(1, 40), -chance.exponential(1, more)
        than = costs[20:].min() - far  # the next are taken to be like the newer half
        said.append(chance_of_better(costs, than, more))
        came.append(rest.min() < than)
    assert np.mean(said) == pytest.approx(np.mean(came), abs=0.04)


def test_the_chance_grows_with_what_is_left_and_falls_with_what_is_wanted():
    costs = np.random.default_rng(0).lognormal(1, 1, 80)
    best = costs.min()
    chances = [chance_of_better(costs, best, more) for more in (1, 10, 100, 1000)]
    assert chances == sorted(chances)
    wanted = [chance_of_better(costs, best - far, 50) for far in (0, 0.1, 0.3, 1, 10)]
    assert wanted == sorted(wanted, reverse=True)
    assert wanted[-1] < 0.01
    assert chance_of_better([math.inf] * 30, 1.0, 10) == pytest.approx(10 / 30)
    assert chance_of_better([1.0] * 30, 0.5, 10) == 0.0  # nothing ever differs


def test_too_few_values_say_nothing_of_how_much_better_the_next_best_will_be():
    for finite in range(8):
        costs = [math.inf] * 20 + [1.0 + i for i in range(finite)]
        said = chance_of_better(costs, 0.0, 10)
        share = 10 / 30  # ten of them and twenty, the newer ones
        assert said == pytest.approx(share) if finite < 5 else said < share
    assert chance_of_better([1.0] * 30, 1.0, 10) == pytest.approx(10 / 30), "that only one is better"


def record(number, value, seconds=36.0, outcome=Outcome.COMPLETED, noise=0.0):
    reports = [
        Report(10 * i, 0, seconds * i / 10, {"fd": value + noise * (-1) ** i}, 0.0)
        for i in range(1, 11)
    ]
    return TrialRecord(number, {}, {}, outcome, reports=reports)


def search(**budget):
    return Search(trials=100, budget=budget)


def judged(ending, records):
    return ending.judge({r.number: r for r in records}, None)


@pytest.mark.parametrize(("resources", "hours"), [({"cpus": 2}, 0.02), ({"gpus": 0.25}, 0.0025)])
def test_device_hours_are_seconds_times_what_a_trial_holds(resources, hours):
    """One trial of 36 s on two CPUs, or on a quarter of a GPU."""
    outcomes = (Outcome.RUNNING, Outcome.FAILED, Outcome.PAUSED, Outcome.PRUNED, Outcome.COMPLETED)
    records = [record(i, 1.0, outcome=outcome) for i, outcome in enumerate(outcomes)]
    held = Resources(**resources)
    enough = Ending(search(device_hours=5.01 * hours), held, "fd", "min")
    assert judged(enough, records) == ""
    spent = Ending(search(device_hours=4.99 * hours), held, "fd", "min")
    assert judged(spent, records[:4]) == ""
    assert judged(spent, records) == f"its {4.99 * hours:g} device-hours are spent"
    to_the_second = Ending(search(device_hours=0.01), Resources(), "fd", "min")
    assert judged(to_the_second, records[:1]) == "its 0.01 device-hours are spent"


def test_what_is_told_one_after_another_is_what_is_told_at_once():
    records = {i: record(i, 1.0) for i in range(7)}
    one_by_one, at_once = (
        Ending(search(device_hours=0.0701), Resources(), "fd", "min") for _ in range(2)
    )
    for number, whole in records.items():
        for reports in range(1, 11):
            some = replace(whole, reports=whole.reports[:reports])
            one_by_one.judge({**records, number: some}, number)
    assert one_by_one._spent == pytest.approx(at_once._spent + 7 * 36)
    at_once.judge(records, None)
    assert one_by_one._spent == pytest.approx(at_once._spent)


@pytest.mark.parametrize("goal", ["min", "max"])
def test_nothing_better_in_sight_is_told_in_words(goal):
    sign = 1 if goal == "min" else -1
    chance = np.random.default_rng(0)
    alike = [record(i, sign * (2 + 0.01 * chance.random()), noise=0.3) for i in range(90)]
    ending = Ending(search(least_chance=0.05), Resources(), "fd", goal)
    words = judged(ending, alike)
    best = sign * min(sign * each.best("fd", goal).value for each in alike)
    noise = math.sqrt((4 * 0.3) ** 2 / 6)  # of 0.3 up and down, by second differences
    told = f"improve on fd {best:.4g} by more than {noise:.2g}, a run's usual ups and downs"
    assert words.startswith(f"the chance that 10 more trials will {told}, is ")
    assert words.endswith("under search.budget.least_chance (5 %)")
    wide = [record(i, sign * chance.lognormal(1, 1), noise=0.01) for i in range(30)]
    assert judged(Ending(search(least_chance=0.05), Resources(), "fd", goal), wide) == ""
    assert judged(Ending(search(least_chance=0.05), Resources(), "fd", goal), alike[:19]) == ""
    assert judged(Ending(search(), Resources(), "fd", goal), alike) == ""
    for insisted, expected in ((91, ""), (90, words)):
        more = Ending(search(least_chance=0.05), Resources(), "fd", goal, insisted=insisted)
        assert judged(more, alike) == expected
    for outcome, expected in ((Outcome.RUNNING, ""), (Outcome.PRUNED, words)):  # it is asked at an end
        newest = {r.number: r for r in (*alike, replace(alike[0], number=90, outcome=outcome))}
        told = Ending(search(least_chance=0.05), Resources(), "fd", goal).judge(newest, 90)
        assert told.startswith("the chance that 9 more trials") == bool(expected)
    running = [replace(each, outcome=Outcome.RUNNING) for each in alike[19:]]
    assert (
        judged(Ending(search(least_chance=0.05), Resources(), "fd", goal), alike[:19] + running) == ""
    )
    backwards, ended = Ending(search(least_chance=0.05), Resources(), "fd", goal), {}
    for each in reversed(alike):  # whoever ended first, as a resumed search may be told otherwise
        ended[each.number] = each
        last = backwards.judge(ended, each.number)
    assert last == words
    blameless = [replace(each, blameless=True) for each in alike[19:]]
    assert (
        judged(Ending(search(least_chance=0.05), Resources(), "fd", goal), alike[:19] + blameless) == ""
    )
    none_left = [*alike, *(record(i, sign * 2.5) for i in range(90, 100))]
    assert "1 more trial will" in judged(
        Ending(search(least_chance=0.05), Resources(), "fd", goal), none_left[:99]
    )
    assert judged(Ending(search(least_chance=0.05), Resources(), "fd", goal), none_left) == ""
    blind = [replace(report, metrics={}) for report in alike[0].reports[:5]]
    late = [replace(each, reports=blind + each.reports[5:]) for each in alike]
    assert judged(Ending(search(least_chance=0.05), Resources(), "fd", goal), late) == words
    short = [replace(each, reports=each.reports[:5]) for each in alike]
    told = judged(Ending(search(least_chance=0.5), Resources(), "fd", goal), short)
    assert " by more than 0, a run's usual" in told, "three reports say nothing of ups and downs"


def test_trials_that_took_no_time_leave_all_that_were_asked_for():
    """Such as fail before their first report: what one costs is not known yet."""
    failed = [replace(record(i, 1.0, outcome=Outcome.DIVERGED), reports=[]) for i in range(30)]
    ending = Ending(search(device_hours=1, least_chance=0.9), Resources(), "fd", "min")
    assert judged(ending, failed) == ""
    assert ending._left(30) == 70
    late = Ending(search(device_hours=1, least_chance=0.9), Resources(), "fd", "min")
    judged(late, [record(i, 1.0, seconds=60.0) for i in range(30)])
    assert late._left(30) == 30, "half of an hour is spent, a minute each"


def read(text):
    return read_study(parse_document(text, "s.yaml"), Path())[0]


def with_search(keys):
    return STUDY.replace("search: {trials: 8}", f"search: {{{keys}}}")


@pytest.mark.parametrize(
    ("keys", "trials", "hours"),
    [
        ("trials: 8", 8, None),
        ("budget: {trials: 9}", 9, None),
        ("budget: {trials: 9, device_hours: 2}", 9, 2.0),
        ("trials: 9, budget: {device_hours: 2}", 9, 2.0),
        ("budget: {device_hours: 0.5}", 10_000, 0.5),
        ("budget: {}", 20, None),
    ],
)
def test_the_number_of_trials_is_at_one_of_two_places(keys, trials, hours):
    spec = read(with_search(keys))
    found = spec.plan.search
    assert (found.trials, found.budget.device_hours if found.budget else None) == (trials, hours)
    assert read(spec.to_yaml()) == spec


def test_said_twice_is_a_mistake_and_the_command_line_wins():
    with pytest.raises(InvalidInput, match="search: trials is said twice: here, and in budget"):
        read(with_search("trials: 8, budget: {trials: 9}"))
    document = parse_document(with_search("budget: {trials: 9, device_hours: 2}"), "s.yaml")
    override(document, {"search.trials": 30})
    assert read_study(document, Path())[0].plan.search.trials == 30
    for key, value in {"search.budget.trials": 7, "search.budget": {"trials": 7}}.items():
        document = parse_document(with_search("trials: 9"), "s.yaml")
        override(document, {key: value})
        assert read_study(document, Path())[0].plan.search.trials == 7
    for wrong in ("device_hours: 0", "least_chance: 1", "hours: 3"):
        with pytest.raises(InvalidInput, match=r"search\.budget"):
            read(with_search(f"budget: {{{wrong}}}"))


LIMITED = with_search("budget: {trials: 8, device_hours: 0.01}")  # 36 s, of trials that take 9


def play(ledger, count, report):
    for _ in range(count):
        trial = ledger.next()
        ledger.report(trial.number, report(90, 1.0, Outcome.COMPLETED))
        ledger.end(trial.number)


def test_a_search_that_is_over_begins_nothing_and_wakes_nobody(make_ledger, report, tmp_path):
    spec = read(LIMITED.replace("name: asha", "name: asha, second_chances: true"))
    ledger = make_ledger(spec)
    pruning = make_pruning(spec, ledger)
    waits, runs = ledger.next().number, ledger.next().number
    ledger.report(waits, report(10, 1.0))
    ledger.pause(waits, "behind, at step 10")
    assert pruning.wakes(1) or ledger.fresh
    play(ledger, 3, report)
    assert ledger.over == ""
    assert (ledger.fresh, ledger.total) == (3, 8)
    ledger.report(runs, report(90, 2.0, Outcome.COMPLETED))  # it was let go on
    assert ledger.over == "its 0.01 device-hours are spent"
    ledger.end(runs)
    assert (ledger.fresh, ledger.total, ledger.remaining) == (0, 5, 0)
    assert pruning.wakes(1) == []
    ledger.give_up_paused()
    assert ledger.records[waits].outcome is Outcome.PRUNED
    study = StoredStudy(StudyDirectory(tmp_path / "runs" / "study"))
    assert study.journal().finished
    told = status(gather(study))
    assert told["over"] == ledger.over
    resumed = make_ledger(spec)
    assert (resumed.over, resumed.fresh) == (ledger.over, 0)


def test_a_driver_killed_before_it_wrote_that_down_finds_it_again(make_ledger, report):
    spec = read(LIMITED)
    ledger = make_ledger(spec)
    ledger.source.over = lambda records, number: ""
    play(ledger, 5, report)
    assert ledger.fresh == 3
    assert make_ledger(spec).over == "its 0.01 device-hours are spent"


def opened(tmp_path):
    directory = StudyDirectory(tmp_path / "runs" / "study")
    return directory, Journal.open(directory.path, "study", writer=True)


def test_it_goes_on_when_it_is_asked_for_more(make_ledger, report, tmp_path):
    play(make_ledger(read(LIMITED)), 4, report)
    directory, journal = opened(tmp_path)
    assert journal.planned == 4
    with pytest.raises(StudyError, match=r"is over: its 0.01 device-hours are spent. --set search.bud"):
        extend(directory, journal, More(trials=12))
    with pytest.raises(StudyError, match=r"has 0.01 device-hours: it can only be asked for more"):
        extend(directory, journal, More(device_hours=0.005))
    extend(directory, journal, More(device_hours=0.02))
    again = make_ledger(read(directory.study_file.read_text()))
    assert (again.over, again.total) == ("", 8)
    play(again, 4, report)
    assert again.over == "its 0.02 device-hours are spent"
    directory, journal = opened(tmp_path)
    assert journal.finished
    extend(directory, journal, More(trials=9, device_hours=1.0))
    assert journal.facts[OVER] is None
    assert make_ledger(read(directory.study_file.read_text())).fresh == 1


def test_only_a_study_with_device_hours_can_be_given_more(make_ledger, tmp_path):
    make_ledger(read(STUDY))
    with pytest.raises(StudyError, match="has no limit of device-hours"):
        extend(*opened(tmp_path), More(device_hours=1.0))


def test_after_nothing_better_was_in_sight_more_trials_are_had(make_ledger, report, tmp_path):
    spec = read(with_search("sampler: random, budget: {trials: 26, least_chance: 0.5}"))
    ledger = make_ledger(spec)
    while ledger.fresh:
        play(ledger, 1, report)
    assert 20 <= len(ledger.records) < 26
    assert ledger.over.startswith("the chance that ")
    directory, journal = opened(tmp_path)
    extend(directory, journal, More(trials=30))
    again = make_ledger(read(directory.study_file.read_text()))
    assert (again.over, again.total) == ("", 30)
    play(again, again.fresh, report)
    assert len(again.records) == 30


@pytest.mark.parametrize("trials", [FEWEST, FEWEST + 1])
def test_a_search_too_short_to_be_judged_is_told(spec, trials):
    budget = f"budget: {{trials: {trials}, least_chance: 0.05}}"
    told = idle_plan(spec(f"pruner: none\nsearch: {{{budget}}}\n"))
    assert [words.partition(":")[0] for words in told] == (
        ["search.budget.least_chance is said, and the search has 20 trials"] if trials == FEWEST else []
    )

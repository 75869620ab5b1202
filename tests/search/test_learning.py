"""Learning from earlier studies: their trials enter the sampler's history, and nothing else."""

from __future__ import annotations

import math
import shutil
from functools import partial
from pathlib import Path

import pytest

from gansearch import api
from gansearch.errors import InvalidInput, UserError
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.search.learning import check_origin
from gansearch.search.proposer import Proposer
from gansearch.search.start import Known
from gansearch.search.trying import idle_plan
from gansearch.study.document import parse_document
from gansearch.study.learnt import LEARNT, Learnt, Lesson
from gansearch.study.records import Outcome
from gansearch.training.validation import read_study
from gansearch.tuning.creation import create
from gansearch.tuning.ledger import Ledger
from studies import STUDY, best_of

LONG = STUDY.replace("{trials: 8}", "{trials: 40}")
LEARNING = STUDY.replace("{trials: 8}", "{trials: 40, start: [], learn_from: [last-week]}")


def rate(record):
    return abs(math.log10(record.params["optimizer.generator.lr"]) + 2.5)


def launched(runs: Path, name: str, spec) -> Ledger:
    """A new study, or one that goes on, read from its own file."""
    directory = StudyDirectory(runs / name)
    if not directory.path.exists():
        create(spec, StoredStudy(directory), None)
    journal = Journal.open(directory.path, name, writer=True)
    return Ledger(partial(Proposer, spec), directory, journal, keep=2)


def play(ledger, report, count):
    for _ in range(count):
        record = ledger.next()
        kind = record.number % 5
        if kind == 4:  # failed at once, with no value
            ledger.report(record.number, report(10, math.nan, Outcome.DIVERGED, "not finite"))
        elif kind == 3:
            ledger.report(record.number, report(30, rate(record)))
            ledger.end(record.number, Outcome.PRUNED, "behind at step 30")
            continue
        else:
            ledger.report(record.number, report(90, rate(record), Outcome.COMPLETED))
        ledger.end(record.number)


def read(text, runs=None, launched=False):
    known = Known(Path(), runs, best=best_of)
    document = parse_document(text, "s.yaml")
    learn = None if launched else known.learn
    return read_study(document, Path(), find=known, learn=learn, launched=launched)[0]


@pytest.fixture
def runs(tmp_path, report):
    """A folder with a study of 30 trials that have ended, and one that runs."""
    ledger = launched(tmp_path / "runs", "last-week", read(LONG))
    play(ledger, report, 30)
    ledger.next()
    return tmp_path / "runs"


def test_earlier_studies_lie_in_the_storage_that_is_said_or_in_their_own_files(runs, report, tmp_path):
    """A study that goes into a database learns from those of before there was one, too."""
    url = f"sqlite:///{tmp_path / 'team.db'}"
    directory = StudyDirectory(runs / "team")
    create(read(LONG), StoredStudy(directory, url), None)
    journal = StoredStudy(directory, url).journal(writer=True)
    play(Ledger(partial(Proposer, read(LONG)), directory, journal, keep=2), report, 5)
    known = Known(Path(), runs, url, best_of)
    text = LEARNING.replace("start: []", "start: [{study: last-week}, {study: team}]")
    document = parse_document(text.replace("[last-week]", "[last-week, team]"), "s.yaml")
    spec, _ = read_study(document, Path(), find=known, learn=known.learn)
    assert [len(learnt.lessons) for learnt in spec.learnt] == [30, 5]
    assert [point.name[:9] for point in spec.start] == ["last-week", "team tria"]
    table = api.compare("last-week", "team", runs_dir=runs, storage=url)
    assert list(table["trials"]) == [30, 5]


def test_the_sampler_knows_them_and_the_leaderboard_does_not(runs, report):
    spec = read(LEARNING, runs)
    (learnt,) = spec.learnt
    assert learnt.words == "the sampler knows 30 trials of 'last-week'"
    assert spec.notes == (learnt.words,)
    ledger = launched(runs, "new", spec)
    assert ledger.records == {}
    there = Journal.open(runs / "last-week", "last-week").study.get_trials()
    first = ledger.next()
    assert first.number == 0
    seen = ledger.source._view.trials
    assert len(seen) == 31
    for trial, own in zip(seen[:30], there[:30], strict=True):
        assert trial.params == own.params
        assert trial.state == own.state
        assert (trial.value, bool(trial.constraints)) == (own.value, bool(own.constraints))
    play(ledger, report, 5)
    assert len(ledger.records) == 6
    rates = [rate(record) for record in ledger.records.values()]
    alone = launched(runs, "alone", read(LEARNING.replace(", learn_from: [last-week]", "")))
    play(alone, report, 5)
    assert sum(rates) / 6 < sum(rate(r) for r in alone.records.values()) / 5  # no random start


def test_what_lies_where_the_study_runs_is_learnt_from_there():
    (learnt,) = read(LEARNING).learnt
    assert (learnt.study, learnt.lessons) == ("last-week", ())
    assert learnt.words == "'last-week' is read where the study runs"


def test_a_resumed_search_needs_no_earlier_study(runs, report):
    whole = launched(runs, "whole", read(LEARNING, runs))
    play(whole, report, 14)
    cut = launched(runs, "cut", read(LEARNING, runs))
    play(cut, report, 5)
    shutil.rmtree(runs / "last-week")
    stored = (runs / "cut" / "study.yaml").read_text()
    for _ in range(3):
        cut = launched(runs, "cut", read(stored, launched=True))
        play(cut, report, 3)
    assert [r.params for r in cut.records.values()] == [r.params for r in whole.records.values()]


def test_a_sampler_of_ones_own_sees_numbers_below_zero(runs):
    ledger = launched(runs, "new", read(LEARNING.replace("40,", "40, sampler: cmaes,"), runs))
    ledger.next()
    past = ledger.source._view.past(0)
    assert [trial.number for trial in past.trials] == list(range(-30, 0))
    assert sum(trial.failed for trial in past.trials) == 6
    assert sum(trial.pruned for trial in past.trials) == 6


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("samples: 50", "samples: 60", "evaluation.samples is 50 there and 60 here"),
        (
            "{name: digits}",
            "{name: digits, image_size: 16}",
            "data.image_size is null there and 16 here",
        ),
        ("steps: 90", "steps: 180", "budget.steps is 90 there and 180 here"),
        (
            "evaluation: {samples: 50}",
            "evaluation: {samples: 50}\nobjective: {metric: d_loss, goal: min}",
            "objective.metric is fd_classifier there and d_loss here",
        ),
    ],
)
def test_numbers_made_differently_are_refused_unless_told_to(runs, old, new, said):
    with pytest.raises(InvalidInput) as caught:
        read(LEARNING.replace(old, new), runs)
    (problem,) = caught.value.problems
    assert problem.place.endswith("search.learn_from[0]")
    assert said in problem.message
    assert "{study: last-week, anyway: true}" in problem.message
    told = LEARNING.replace("[last-week]", "[{study: last-week, anyway: true}]")
    spec = read(told.replace(old, new), runs)
    assert said in spec.notes[0]
    assert spec.to_yaml().count("anyway: true") == 1


def test_how_the_objective_is_measured_is_compared_and_what_else_is_measured_is_not(tmp_path, report):
    kd = "{name: kd_classifier, subset_size: 50}"
    old = LONG.replace("{samples: 50}", f"{{samples: 50, metrics: [fd_classifier, {kd}]}}")
    old += "objective: {metric: kd_classifier}\n"
    ledger = launched(tmp_path / "runs", "last-week", read(old))
    record = ledger.next()  # one is enough
    ledger.end(record.number, Outcome.FAILED, "its machine died", blameless=True)
    new = LEARNING + "objective: {metric: kd_classifier}\n"
    alone = new.replace("{samples: 50}", f"{{samples: 50, metrics: [{kd}]}}")
    assert read(alone, tmp_path / "runs").notes[0] == (
        "the sampler knows 0 trials of 'last-week'; 1 other cannot be used: ended through no fault of "
        "its configuration (1)"
    )
    with pytest.raises(InvalidInput, match=r"kd_classifier.subset_size is 50 there and 40 here"):
        read(alone.replace("size: 50", "size: 40"), tmp_path / "runs")


def test_another_goal_is_refused_whatever_is_told(runs):
    changed = LEARNING.replace("[last-week]", "[{study: last-week, anyway: true}]") + (
        "objective: {metric: d_loss, goal: max}\n"
    )
    with pytest.raises(InvalidInput, match="'last-week' has the goal min, this study max"):
        read(changed, runs)
    with pytest.raises(InvalidInput, match="there is no study 'gone'"):
        read(LEARNING.replace("last-week", "gone"), runs)


def test_parameters_are_matched_by_path_and_what_cannot_be_used_is_said(runs):
    fixed = LEARNING.replace("depth: 1, width: 16}", "depth: 1, width: 32}")
    spec = read(fixed.replace("weight: {log: [0.1, 100]}", "weight: {log: [1, 100]}"), runs)
    assert "discriminator.width is 16, and 32 in this study" in spec.notes[0]
    all_points = [r.params for r in launched(runs, "last-week", read(LONG)).records.values()][:30]
    weight = "loss.wasserstein.penalty.weight"
    light = [point for point in all_points if point.get(weight, 1) < 1]
    assert light
    told = (
        f"the sampler knows {30 - len(light)} trials of 'last-week'; {len(light)} others cannot be used"
    )
    assert spec.notes[0].startswith(f"{told}: loss.penalty.weight ({len(light)})")
    alone = LEARNING.replace("    - hinge\n", "").replace("name: wasserstein", "name: least-squares")
    words = read(alone, runs).notes[0]
    assert words.startswith(
        "the sampler knows 0 trials of 'last-week'; 30 others cannot be used: loss (30)"
    )


def test_what_is_otherwise_there_is_said_with_the_number_of_trials_and_once(runs):
    points = [r.params for r in launched(runs, "last-week", read(LONG)).records.values()][:30]
    deep, hinge = (
        sum(point[axis] == value for point in points)
        for axis, value in (("generator.depth", 3), ("loss", "hinge"))
    )
    fixed = LEARNING.replace("{int: [1, 3]}", "3").replace("lr: {log: [1e-5, 1e-1]}", "lr: 1e-3", 1)
    note = read(fixed.replace("samples: 50", "samples: 50, metrics: [fd_classifier]"), runs).notes[0]
    assert note == (
        "the sampler knows 30 trials of 'last-week'; they differ: optimizer.generator.lr is another "
        f"than in this study, generator.depth is another than in this study ({30 - deep})"
    )
    alone = LEARNING.replace("loss:\n  choice:\n    - hinge\n    - ", "loss: ")
    told = f"the sampler knows {30 - hinge} trials of 'last-week'; {hinge} others cannot be used: loss"
    assert read(alone, runs).notes[0].startswith(told)
    shorter = LEARNING.replace("[last-week]", "[{study: last-week, anyway: true}]")
    assert (
        read(shorter.replace("steps: 90", "steps: 80"), runs)
        .notes[0]
        .endswith("; they differ: budget.steps is 90 there and 80 here")
    )


def test_a_sampler_that_learns_of_no_trial_is_told(runs):
    even = LEARNING.replace("{trials: 40,", "{trials: 40, sampler: random,")
    (told,) = idle_plan(read(even, runs))
    assert told.startswith("search.learn_from changes nothing: the sampler random learns of no trial")
    assert idle_plan(read(even.replace("1e-1]}", "1e-1], default: 1e-3}"), runs)) == []  # held to them
    assert idle_plan(read(LEARNING, runs)) == []


def test_what_only_measuring_shows_is_checked_before_anything_is_made():
    lesson = Lesson(0, {}, "COMPLETE", 90, 1.0)
    learnt = Learnt("old", (lesson,), {"dataset_hash": "a", "features": "x", "options": {}})
    check_origin(learnt, {"dataset_hash": "a", "features": "x", "options": {"other": 1}})
    with pytest.raises(
        UserError, match="'old' were made differently: dataset_hash is a there and b here"
    ):
        check_origin(learnt, {"dataset_hash": "b", "features": "x"})
    check_origin(Learnt("old", (lesson,), {"dataset_hash": "a"}, anyway=True), {"dataset_hash": "b"})
    check_origin(Learnt("old", (), {"dataset_hash": "a"}), {"dataset_hash": "b"})  # nothing to mislead


def test_what_is_learnt_is_written_down_and_read_back(runs):
    spec = read(LEARNING, runs)
    launched(runs, "new", spec)
    facts = Journal.open(runs / "new", "new").facts
    assert tuple(map(Learnt.of_plain, facts[LEARNT])) == spec.learnt


def test_a_study_that_is_named_twice_teaches_once(runs):
    with pytest.raises(InvalidInput) as caught:
        read(LEARNING.replace("[last-week]", "[last-week, {study: last-week}]"), runs)
    (problem,) = caught.value.problems
    assert problem.place.endswith("search.learn_from[1]")
    assert "'last-week' is named twice" in problem.message


@pytest.mark.parametrize(
    ("search", "place"),
    [
        ("{trials: 9, start: [], learn_from: [LONG]}", "search.learn_from[0]"),
        ("{trials: 9, start: [{study: LONG}]}", "search.start[0]"),
    ],
)
def test_a_name_that_no_folder_can_have_is_told(tmp_path, search, place):
    with pytest.raises(InvalidInput) as caught:
        read(STUDY.replace("{trials: 8}", search.replace("LONG", "x" * 3000)), tmp_path)
    (problem,) = caught.value.problems
    assert problem.place.endswith(place)
    assert f"cannot look for a study '{'x' * 80}...': File name too long" in problem.message

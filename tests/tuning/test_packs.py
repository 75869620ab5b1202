"""Four trials in a worker, one after another: each is what it is alone, in its own folder."""

# ruff: noqa: F811  fixtures are named as they are defined

from __future__ import annotations

import gc
import sys
import weakref

import pytest
import torch
from test_nodes import assert_same
from test_trainable import config, digits, exact, handed, reference, worker  # noqa: F401

from gansearch.journal.directory import ERROR, LOG, StudyDirectory
from gansearch.study.records import Outcome
from gansearch.training import checkpoint
from gansearch.training.stacked.step import Lanes
from gansearch.training.trainer import Trainer


@pytest.fixture
def directory(tmp_path):
    return StudyDirectory(tmp_path / "study")


@pytest.fixture
def settings(config):
    """By number: one that completes, one that diverges, one that draws, one of another depth."""
    rates = {"generator": {"name": "sgd", "lr": 1e30}, "discriminator": {"name": "adam"}}
    return {
        0: config(room=16, seed=0),
        1: config(room=16, seed=1, optimizer=rates),
        2: config(room=16, seed=2, loss={"name": "hinge", "penalty": {"name": "dragan"}}),
        3: config(room=16, seed=3, discriminator={"name": "mlp", "depth": 2, "width": 16}),
    }


def run(worker, numbers, settings, known=None, steps=1000):
    """Has a worker carry trials; returns what it told of each, up to so many steps."""
    found = {} if known is None else known
    heard = {n: told[-1].report.step for n, told in found.items()}
    worker.reset_config({})
    worker.tell([handed(settings[n], n, heard.get(n, 0)) for n in numbers])
    for _ in range(steps):
        result = worker.step()
        for told in result["told"]:
            found.setdefault(told.number, []).append(told)
        if not result["due"]:
            break
    return found


def reports(told):
    return [exact(one.report) for one in told]


def folders(directory, numbers):
    """Names and checkpoints of trials' folders."""
    return {
        n: (
            sorted(str(p.relative_to(directory.trial(n))) for p in directory.trial(n).rglob("*")),
            [checkpoint.load(p) for p in sorted(directory.trial(n).glob("step-*.pt"))],
        )
        for n in numbers
    }


def assert_same_folders(ours, theirs):
    for number, (names, states) in theirs.items():
        assert ours[number][0] == names
        for left, right in zip(ours[number][1], states, strict=True):
            assert left["usage"].keys() == right["usage"].keys()
            assert_same({**left, "reports": 0}, {**right, "reports": 0}, str(number))


@pytest.fixture
def alone(worker, settings, tmp_path):
    """What each trial tells alone, and its folder."""
    directory = StudyDirectory(tmp_path / "alone")
    told = {}
    for number in settings:
        one = worker(directory=str(directory.path))
        told |= run(one, [number], settings)
    return {n: reports(told[n]) for n in settings}, folders(directory, settings)


def test_reports_checkpoints_and_outcomes_are_those_of_four_alone(worker, settings, directory, alone):
    told = run(worker(), list(settings), settings)
    assert {n: reports(told[n]) for n in settings} == alone[0]
    assert_same_folders(folders(directory, settings), alone[1])
    assert told[1][-1].report.outcome is Outcome.DIVERGED
    assert all(one.report.usage["images_per_second"] > 0 for n in settings for one in told[n])


@pytest.mark.parametrize("steps", [1, 6, 9])
def test_after_a_worker_s_death_they_go_on_in_other_packs(worker, settings, directory, alone, steps):
    told = run(worker(), list(settings), settings, steps=steps)
    left = [n for n in settings if n not in told or not told[n][-1].report.outcome]
    for numbers in (left[:1], left[1:]):  # of the next workers one carries one, the other the rest
        run(worker(), numbers, settings, told)
    assert {n: reports(told[n]) for n in settings} == alone[0]
    assert_same_folders(folders(directory, settings), alone[1])


def test_each_prints_into_its_own_log_and_an_error_ends_one_alone(
    worker, settings, directory, monkeypatch, capsys
):
    genuine = Trainer.advance

    def talkative(trainer):
        print("seed", trainer.config.seed, "step", trainer.step)
        if trainer.config.seed == 2 and trainer.step == 10:
            raise KeyError("a bug of the user's")
        return genuine(trainer)

    monkeypatch.setattr(Trainer, "advance", talkative)
    told = run(worker(), [0, 2, 3], settings)
    assert told[2][-1].failure == 'KeyError: "a bug of the user\'s"'
    assert told[2][-1].report is None
    for number, steps in ((0, [0, 5, 10, 15]), (2, [0, 5, 10]), (3, [0, 5, 10, 15])):
        printed = (directory.trial(number) / LOG).read_text()
        assert printed == "".join(f"seed {number} step {step}\n" for step in steps)
        assert (directory.trial(number) / ERROR).exists() is (number == 2)
    assert [told[n][-1].report.outcome for n in (0, 3)] == [Outcome.COMPLETED] * 2
    assert capsys.readouterr() == ("", "")


def test_the_driver_stops_one_and_hands_over_another(worker, settings, alone):
    one = worker()
    told = run(one, [0, 2], settings, steps=3)
    one.tell([handed(settings[3], 3)], [0])
    result = one.step()
    while result["due"]:
        for each in result["told"]:
            told.setdefault(each.number, []).append(each)
        result = one.step()
    for each in result["told"]:
        told.setdefault(each.number, []).append(each)
    assert [one.report.step for one in told[0]] == [5, 10]
    assert {n: reports(told[n]) for n in (2, 3)} == {n: alone[0][n] for n in (2, 3)}


def test_one_that_was_paused_goes_on_in_another_pack_or_in_its_own(worker, settings, directory, alone):
    """Stopped as for a second chance; its checkpoint is all that the next pack needs."""
    first = worker()
    told = run(first, [0, 2], settings, steps=3)  # 0 has told twice, 2 once
    first.tell([], [0])
    for each in first.step()["told"]:
        told[each.number].append(each)
    assert [one.report.step for one in told[0]] == [5, 10]
    run(worker(), [0, 3], settings, told)
    heard = told[2][-1].report.step
    first.tell([handed(settings[2], 2, heard)], [2])  # in one breath
    result = first.step()
    while result["due"]:
        told[2] += result["told"]
        result = first.step()
    told[2] += result["told"]
    assert {n: reports(told[n]) for n in (0, 2, 3)} == {n: alone[0][n] for n in (0, 2, 3)}
    assert_same_folders(folders(directory, [0, 2, 3]), {n: alone[1][n] for n in (0, 2, 3)})


def test_what_fits_alone_is_not_trained_in_pieces_for_the_others_sake(worker, settings, alone, caplog):
    """A GPU with room for two trials."""
    one, held = worker(halve_batch=3), weakref.WeakSet()
    make, refused = one._make, []

    def cramped(config):
        gc.collect()
        if len(held) == 2:
            refused.append(config.seed)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        trainer = make(config)
        held.add(trainer)
        return trainer

    one._make = cramped
    told = run(one, list(settings), settings)
    assert refused == [3], "1 had ended by then"
    assert {n: reports(told[n]) for n in settings} == alone[0]
    assert "out of memory" not in caplog.text


def test_in_a_pack_too_one_that_does_not_fit_goes_on_in_pieces(worker, settings, config, alone):
    settings = settings | {1: config(room=4, seed=1)}
    told = run(worker(halve_batch=2), list(settings), settings)
    assert told[1][-1].report.reason == "its batches of 16 were computed in 4 pieces"
    assert {n: reports(told[n]) for n in (0, 2, 3)} == {n: alone[0][n] for n in (0, 2, 3)}
    told = run(worker(halve_batch=1), [11, 10], {10: settings[0], 11: settings[1]})
    assert told[11][-1].failure == "out of memory, even with its batches in 2 pieces"
    assert reports(told[10]) == alone[0][0]


def test_as_one_each_has_its_own_folder_and_its_share_of_what_was_used(
    worker, config, directory, tmp_path, monkeypatch
):
    genuine = Lanes.run

    def talkative(lanes, steps):
        print("from", lanes.rows[0].trainer.step)
        sys.stdout.buffer.write(b"and\n")
        return genuine(lanes, steps)

    monkeypatch.setattr(Lanes, "run", talkative)
    mlp = {"generator": {"name": "mlp", "depth": 1, "width": 16}}
    settings = {n: config(seed=n, **mlp) for n in range(3)}
    told = run(worker(lanes=3), list(settings), settings)
    for number in settings:
        assert [one.report.step for one in told[number]] == [5, 10, 15, 20]
        assert [one.report.metrics["lanes"] for one in told[number]] == [3.0] * 4
        assert told[number][-1].report.outcome is Outcome.COMPLETED
        assert told[number][0].provenance["lanes"]["over"].startswith("trainings computed as one")
        assert checkpoint.latest(directory.trial(number))["step"] == 20
        used = [one.report.usage["images_per_second"] for one in told[number]]
        assert used == [one.report.usage["images_per_second"] for one in told[0]]
    for number in settings:  # and what any prints meanwhile
        printed = (directory.trial(number) / LOG).read_text()
        assert printed == "".join(f"from {step}\nand\n" for step in (0, 5, 10, 15))
    apart = worker(directory=str(tmp_path / "apart"), lanes=3, together={})
    alone = run(apart, list(settings), settings)
    assert all("lanes" not in one.report.metrics for n in settings for one in alone[n])
    last, theirs = told[1][-1].report.metrics, alone[1][-1].report.metrics
    assert last["diversity"] == pytest.approx(theirs["diversity"], rel=1e-2)

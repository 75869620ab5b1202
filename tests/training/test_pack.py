"""A pack of trainings: each is what it would have been alone, whoever else is in the pack."""

from __future__ import annotations

import copy

import pytest
import torch

from gansearch.study.records import Outcome
from gansearch.training.pack import SequentialPack, Start
from gansearch.training.trainer import Trainer

SECTIONS = {
    0: {"loss": {"name": "wasserstein", "penalty": {"name": "gradient-penalty"}}},
    1: {"loss": {"name": "hinge", "penalty": {"name": "dragan"}}},
    2: {"optimizer": {"generator": {"name": "sgd", "lr": 1e30}}},  # diverges
    3: {"discriminator": {"name": "mlp", "depth": 1, "width": 16, "norm": "spectral"}},
}


@pytest.fixture
def config(tiny):
    def make(number):
        sections = {"discriminator": {"name": "mlp", "depth": 1, "width": 16}} | SECTIONS[number]
        return tiny(seed=number, **sections)

    return make


@pytest.fixture
def pack(digits, reference):
    return SequentialPack(lambda config: Trainer(config, digits, reference))


def exact(report):
    metrics = {k: repr(v) for k, v in report.metrics.items() if k != "images_per_second"}
    return report.step, report.images, metrics, report.outcome, report.reason


def timeless(state):
    """A state without what depends on the clock, as text, which is equal where NaN is."""
    torch.set_printoptions(profile="full", precision=12)
    kept = {key: value for key, value in state.items() if key not in ("seconds", "reports")}
    return str(kept)


@pytest.fixture
def alone(config, digits, reference):
    def train(number):
        trainer = Trainer(config(number), digits, reference)
        while not trainer.finished:
            trainer.advance()
        return [exact(report) for report in trainer.reports], timeless(trainer.state())

    return train


def play(pack, curves, states, rounds=1000):
    """Advance a pack, letting go of what has ended."""
    while pack.due() and rounds:
        rounds -= 1
        due = pack.due()
        for number, report in pack.advance():
            assert number in due
            curves.setdefault(number, []).append(exact(report))
            states[number] = copy.deepcopy(pack.state(number))
            if report.outcome:
                pack.stop([number])


def test_four_in_a_pack_are_each_what_they_are_alone(pack, config, alone):
    pack.begin([Start(number, config(number)) for number in range(4)])
    curves, states = {}, {}
    play(pack, curves, states)
    for number in range(4):
        assert (curves[number], timeless(states[number])) == alone(number)
    assert curves[2][-1][3] is Outcome.DIVERGED
    assert {curves[n][-1][3] for n in (0, 1, 3)} == {Outcome.COMPLETED}


def test_they_train_in_turn_and_a_new_one_comes_last(pack, config):
    pack.begin([Start(0, config(0)), Start(1, config(1))])
    turns = []
    for _ in range(3):
        turns += [(number, report.step) for number, report in pack.advance()]
    pack.begin([Start(3, config(3))])
    pack.stop([1])
    assert pack.due() == [0]
    for _ in range(3):
        turns += [(number, report.step) for number, report in pack.advance()]
    assert turns == [(0, 5), (1, 5), (0, 10), (0, 15), (3, 5), (0, 20)]
    assert pack.trainer(3).step == 5
    pack.stop([0, 3])
    assert pack.due() == []


def test_from_a_pack_of_four_into_packs_of_one_and_two_and_back(pack, config, alone, digits, reference):
    curves, states = {}, {}
    pack.begin([Start(number, config(number)) for number in range(4)])
    play(pack, curves, states, rounds=7)  # one of them is a report behind
    left = {n: s for n, s in states.items() if not curves[n][-1][3]}
    for numbers in ([0], [3, 1]):
        other = SequentialPack(lambda config: Trainer(config, digits, reference))
        for n in numbers:
            other.begin([Start(n, config(n), curves[n][-1][0], lambda n=n: left[n])])
        play(other, curves, states, rounds=len(numbers))
    last = SequentialPack(lambda config: Trainer(config, digits, reference))
    last.begin([Start(n, config(n), curves[n][-1][0], lambda n=n: states[n]) for n in left])
    play(last, curves, states)
    for number in left:
        assert (curves[number], timeless(states[number])) == alone(number)


def test_what_nobody_has_heard_is_told_before_it_goes_on(pack, config, digits, reference):
    ahead = Trainer(config(1), digits, reference)
    for _ in range(3):
        ahead.advance()
    pack.begin([Start(1, config(1), 5, ahead.state)])
    assert [(n, r.step) for n, r in pack.advance()] == [(1, 10), (1, 15)]
    assert [(n, r.step) for n, r in pack.advance()] == [(1, 20)]
    state = pack.state(1)
    pack.stop([1])
    pack.begin([Start(1, config(1), 20, lambda: state)])
    assert [(n, r.step, r.outcome) for n, r in pack.advance()] == [(1, 20, Outcome.COMPLETED)]


def test_for_want_of_memory_one_is_held_at_a_time(pack, config, alone):
    curves, states = {}, {}
    pack.begin([Start(n, config(n), latest=lambda n=n: states.get(n)) for n in (0, 1, 3)])
    assert not pack.release(), "none is held"
    play(pack, curves, states, rounds=1)
    assert not pack.release(), "the one that is held may be too large by itself"
    play(pack, curves, states, rounds=4)
    assert pack.release()
    assert not pack.release()
    ends = []
    while pack.due():
        (number,) = pack.due()
        play(pack, curves, states, rounds=1)
        held = [n for n in (0, 1, 3) if n in pack._lanes and pack.trainer(n)]
        assert held in ([number], [])
        ends.append(number)
    assert ends == sorted(ends, key=[3, 0, 1].index), "each to its end"
    for number in (0, 1, 3):
        assert (curves[number], timeless(states[number])) == alone(number)
    pack.begin([Start(0, config(0)), Start(1, config(1))])
    assert [pack.advance()[0][0] for _ in range(2)] == [0, 1], "an empty pack begins anew"

"""`lanes: auto`: measured once for a machine and a shape, and never a choice that is slower."""

from __future__ import annotations

import json
import math

import pytest
import torch

from gansearch.training.stacked import choice
from gansearch.training.stacked.choice import (
    LONGEST,
    Asked,
    choose,
    fastest,
    is_enough,
    measure,
    pooled,
    speeds_of,
)
from gansearch.training.stacked.shape import shape_of


@pytest.mark.parametrize(
    ("speeds", "lanes"),
    [
        ({1: 100.0, 4: 200.0, 8: 350.0, 16: 340.0}, 8),
        ({1: 100.0, 4: 105.0, 8: 109.0}, 1),
        ({1: 100.0, 4: 50.0}, 1),
        ({}, 1),
    ],
)
def test_the_fastest_and_one_where_little_is_won(speeds, lanes):
    assert fastest(speeds) == lanes


@pytest.mark.parametrize(("longest", "lanes"), [(1.0, 1), (1.9, 1), (2.0, 4), (4.0, 16)])
def test_where_others_wait_a_trial_may_take_so_much_longer(longest, lanes):
    speeds = {1: 100.0, 4: 200.0, 8: 250.0, 16: 400.0}  # of 8 each takes 3.2 times as long as alone
    assert fastest(speeds, longest) == lanes


MANY = 1e9  # steps


def chosen(configs, steps, data, reference, *, cache, threads=1, **limits):
    """In how many lanes each shape is fastest, as one process finds it."""
    asked = Asked(configs, steps, **limits)
    return choose(asked, speeds_of(asked, data, reference, cache=cache, threads=threads))


def test_it_is_measured_once_and_kept(tiny, digits, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "AT_LEAST", 0.01)
    configs = [tiny(seed=1), tiny(seed=2), tiny(batch_size=8)]
    steps = [MANY] * 3
    found = chosen(configs, steps, digits, reference, cache=tmp_path)
    assert found.keys() == {shape_of(configs[0]), shape_of(configs[2])}
    kept = list((tmp_path / "lanes").iterdir())
    assert len(kept) == 2
    speeds = {"1": 10.0, "4": 30.0, "8": 20.0}
    for path in kept:
        path.write_text(json.dumps(speeds))
    monkeypatch.setattr(choice, "measure", None)
    assert set(chosen(configs, steps, digits, reference, cache=tmp_path).values()) == {4}
    few = [150.0, 140.0, 290.0]  # at 10 a second 29 seconds of each shape
    assert set(chosen(configs, few, digits, reference, cache=tmp_path).values()) == {1}
    few[0] = 170.0
    assert list(chosen(configs, few, digits, reference, cache=tmp_path).values()) == [4, 1]


def test_little_work_is_not_measured_further(tiny, digits, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "AT_LEAST", 0.01)
    monkeypatch.setattr(choice, "Lanes", None)
    assert set(chosen([tiny()], [20], digits, reference, cache=tmp_path).values()) == {1}
    assert not (tmp_path / "lanes").exists()


@pytest.fixture
def machine(tiny, digits, reference, monkeypatch):
    """A machine on which so many lanes have a certain speed; a call measures there, and tells in how
    many lanes turns were taken, and when.
    """

    def measured(speeds, until=math.inf, turn=1.0, **limits):
        now, turns = [0.0], []
        monkeypatch.setattr(choice.time, "monotonic", lambda: now[0])

        def rate(run, device):
            width = len(run.__self__.rows) if hasattr(run, "__self__") else 1
            now[0] += turn
            turns.append(width)
            return speeds[width] / width

        monkeypatch.setattr(choice, "_rate", rate)
        return measure(tiny(), digits, reference, until=until, **limits), turns

    return measured


def test_what_cannot_win_takes_one_turn(machine):
    """As convolutions of 32 channels and more: of a turn of 16 of those 1 costs 16 times as much."""
    speeds, turns = machine({1: 100.0, 4: 93.0})
    assert turns == [1, 4]
    assert fastest(speeds) == 1


def test_a_long_step_is_not_tried_in_lanes(machine):
    assert machine({1: 3.9})[1] == [1]
    assert machine({1: 4.1, 4: 1.0})[1] == [1, 4]


def test_less_than_half_a_minute_of_work_is_not_tried_in_lanes(machine):
    assert machine({1: 100.0}, steps=2999)[1] == [1]
    assert machine({1: 100.0, 4: 1.0}, steps=3001)[1] == [1, 4]


@pytest.mark.parametrize(
    ("steps", "seconds", "lanes"),
    [(2999, math.inf, 1), (3001, math.inf, 8), (3200, 31.0, 7), (3200, 29.0, 1), (30_000, 60.0, 1)],
)
def test_a_search_that_is_soon_over_is_trained_one_at_a_time(tiny, steps, seconds, lanes):
    """Of 100 steps a second alone; one that ends sooner than its steps would take has fewer lanes."""
    asked = Asked([tiny()], [steps], 8, LONGEST, seconds)
    shape = shape_of(tiny())
    assert choose(asked, {shape: {1: 100.0, 8: 600.0}}) == {shape: lanes}


@pytest.mark.parametrize("error", [ValueError("not so many"), SystemExit(3)])
def test_what_a_part_raises_ends_no_study(error, tiny, digits, reference, tmp_path, monkeypatch):
    def lanes(*_):
        raise error

    monkeypatch.setattr(choice, "Lanes", lanes)
    assert list(chosen([tiny()], [MANY], digits, reference, cache=tmp_path).values()) == [1]


def test_wider_is_tried_while_it_is_better(machine):
    speeds, turns = machine({1: 100.0, 4: 210.0, 8: 260.0, 16: 330.0, 32: 400.0})
    widths = (4, 8, 16, 32)
    assert (fastest(speeds), turns) == (32, [1, *(turn for width in widths for turn in 3 * [width, 1])])
    speeds, turns = machine({1: 100.0, 4: 210.0, 8: 180.0})
    assert (fastest(speeds), 16 in turns) == (4, False)
    speeds, turns = machine({1: 100.0, 4: 105.0, 8: 125.0, 16: 110.0})
    assert (fastest(speeds), 32 in turns) == (8, False), "a little is worth a further look"


def test_a_width_that_was_measured_badly_hides_no_wider_one(machine):
    """One look of twelve on a busy machine had 8 lanes slower than 4, and 16 were never tried."""
    speeds, _ = machine({1: 185.0, 4: 452.0, 8: 441.0, 16: 640.0, 32: 500.0})
    assert fastest(speeds) == 16


@pytest.mark.parametrize(("most", "widths"), [(3, [4]), (4, [4]), (10, [4, 8, 16])])
def test_no_wider_than_a_worker_carries(machine, most, widths):
    speeds = {1: 100.0, 4: 210.0, 8: 260.0, 16: 330.0, 32: 400.0}
    assert list(machine(speeds, most=most)[0]) == [1, *widths]


@pytest.mark.parametrize(
    ("speeds", "most", "enough"),
    [
        ({}, 8, False),
        ({1: 100.0}, 8, False),
        ({1: 100.0, 4: 93.0}, 8, True),  # given up
        ({1: 100.0, 4: 210.0}, 3, True),
        ({1: 100.0, 4: 210.0}, 8, False),
        ({1: 100.0, 4: 210.0, 8: 180.0}, 100, True),
        ({1: 100.0, 4: 210.0, 8: 200.0}, 100, False),
        ({1: 100.0, 4: 210.0, 8: 260.0, 16: 330.0, 32: 400.0}, 100, True),
    ],
)
def test_what_is_kept_is_enough_for_as_many_as_a_worker_carries(speeds, most, enough):
    assert is_enough(speeds, most) == enough


def test_what_is_kept_of_fewer_is_measured_for_more(tiny, digits, reference, tmp_path, monkeypatch):
    asked = []

    def measured(*_, most, **__):
        asked.append(most)
        return {1: 1.0, 4: 4.0} | ({8: 7.0} if most > 4 else {})

    monkeypatch.setattr(choice, "measure", measured)
    for most, lanes in ((3, 4), (3, 4), (8, 8), (3, 8)):
        ask = Asked([tiny()], [MANY], most)
        found = choose(ask, speeds_of(ask, digits, reference, cache=tmp_path))
        assert list(found.values()) == [lanes]
    assert asked == [3, 8]


def test_processes_that_measure_at_once_are_believed_together():
    found = [
        {"a": {1: 100.0, 4: 240.0, 8: 230.0, 16: 260.0}, "b": {1: 10.0, 4: 30.0}, "c": {1: 1.0}},
        {"a": {1: 110.0, 4: 250.0, 8: 330.0}, "b": {1: 12.0}},
    ]
    assert pooled(found) == {"a": {1: 105.0, 4: 245.0, 8: 280.0}, "b": {1: 11.0}}
    assert pooled([]) == {}


def test_what_a_gpu_has_no_room_for_ends_it(tiny, digits, reference, monkeypatch):
    """Narrower packs are as they were measured."""
    lanes = choice.Lanes

    def roomy(trainers, before):
        if len(trainers) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return lanes(trainers, before)

    monkeypatch.setattr(choice, "AT_LEAST", 0.01)
    monkeypatch.setattr(choice, "Lanes", roomy)
    speeds = measure(tiny(batch_size=4), digits, reference)
    assert (speeds[8], max(speeds)) == (0.0, 8)
    assert fastest(speeds) in (1, 4)
    assert is_enough(speeds, 32)


def test_a_width_is_not_begun_when_the_time_is_over(machine):
    speeds, turns = machine({1: 100.0, 4: 210.0, 8: 260.0, 16: 330.0}, until=6.5)
    assert turns == [1] + 3 * [4, 1]
    assert fastest(speeds) == 4


def test_after_a_while_no_further_shape_is_measured(tiny, digits, reference, tmp_path, monkeypatch):
    speeds = {1: 1.0, 4: 4.0}
    monkeypatch.setattr(choice, "measure", lambda *_, **__: speeds)
    configs = [tiny(), tiny(batch_size=8)]
    first, second = (shape_of(config) for config in configs)
    assert chosen(configs, [MANY] * 2, digits, reference, cache=tmp_path / "a") == {first: 4, second: 4}
    monkeypatch.setattr(choice, "MOST", 0.0)
    assert chosen(configs, [MANY] * 2, digits, reference, cache=tmp_path / "b") == {first: 1, second: 1}


def test_it_is_kept_for_so_many_threads_of_this_machine(tiny, digits, reference, tmp_path, monkeypatch):
    """And torch has as many as before, when all is done."""
    before, used = torch.get_num_threads(), []

    def measured(*_, **__):
        used.append(torch.get_num_threads())
        return {1: 1.0, 4: 0.9}

    monkeypatch.setattr(choice, "measure", measured)

    def ask(threads):
        chosen([tiny()], [MANY], digits, reference, cache=tmp_path, threads=threads)
        assert torch.get_num_threads() == before

    more = before + 1
    for threads in (more, before, more, before):
        ask(threads)
    assert used == [more, before]
    monkeypatch.setattr(choice, "_processor", lambda: "another")
    ask(before)
    assert used == [more, before, before]


def test_where_nothing_can_be_kept_it_is_chosen_all_the_same(
    tiny, digits, reference, tmp_path, monkeypatch
):
    """The cache is the driver's path, and another node of a cluster may not have a folder there."""
    monkeypatch.setattr(choice, "measure", lambda *_, **__: {1: 1.0, 4: 4.0})
    (tmp_path / "file").touch()
    assert list(chosen([tiny()], [MANY], digits, reference, cache=tmp_path / "file").values()) == [4]


@pytest.mark.parametrize(
    "section",
    [
        {"generator": {"name": "mlp", "mixture": 2, "diversity": 0.5}},
        {"deterministic": True},
        {"loss": {"name": "vae"}},
    ],
)
def test_what_is_to_be_alone_is_not_measured(section, tiny, digits, reference, tmp_path, monkeypatch):
    config = tiny(**section)
    monkeypatch.setattr(choice, "measure", None)
    assert chosen([config], [MANY], digits, reference, cache=tmp_path) == {shape_of(config): 1}


def test_small_networks_are_faster_together(tiny, digits, reference):
    """On a machine that does something else besides, at one of three looks."""
    looks = (measure(tiny(), digits, reference) for _ in range(3))
    assert any(max(speeds.values()) > 1.2 * speeds[1] for speeds in looks)


@pytest.fixture
def shapes(tiny, digits, reference, tmp_path, monkeypatch):
    """Three shapes, the later the slower alone; a call asks for a search of them, and tells what was
    measured by the way.
    """
    configs = [tiny(batch_size=8 * n) for n in (1, 2, 3)]
    asked = []

    def choose_among(speeds, steps=MANY, **more):
        monkeypatch.setattr(choice, "_glance", lambda config, *_: 800.0 / config.batch_size)

        def measured(config, *_, **__):
            asked.append(config.batch_size)
            return speeds[config.batch_size]

        monkeypatch.setattr(choice, "measure", measured)
        asked.clear()
        asking = {"cache": tmp_path, "longest": LONGEST, **more}
        found = chosen(configs, [steps] * 3, digits, reference, **asking)
        return [found[shape_of(config)] for config in configs]

    choose_among.asked = asked
    return choose_among


WINS, LOSES = {1: 100.0, 4: 200.0, 8: 210.0}, {1: 100.0, 4: 90.0}


def test_of_a_search_the_slowest_shape_is_measured_for_all(shapes):
    assert shapes({24: WINS}) == [4, 4, 4], "8 would take 3.8 times as long"
    assert shapes.asked == [24]
    assert shapes({}) == [4, 4, 4], "and it is known from then on"
    assert shapes({}, longest=math.inf) == [8, 8, 8]


def test_where_the_slowest_wins_nothing_the_next_is_measured(shapes):
    assert shapes({24: LOSES, 16: WINS}) == [4, 4, 1]
    assert shapes.asked == [24, 16]


def test_none_wins(shapes):
    assert shapes({24: LOSES, 16: LOSES, 8: LOSES}) == [1, 1, 1]


def test_a_search_that_is_soon_over_is_not_measured(shapes):
    assert shapes({}, steps=100.0) == [1, 1, 1]  # 100 steps at 100, 50 and 33 a second


def test_a_glance_is_a_speed(tiny, digits, reference):
    assert 1 < choice._glance(tiny(), digits, reference, "cpu") < 1e5


def test_a_search_that_its_hours_end_has_no_more_lanes_than_its_trials_fill(shapes):
    """Of 60,000 steps at 100, 50 and 33 a second each, an hour; then 16 lanes would be filled."""
    asked = {"steps": 60_000.0, "longest": math.inf, "most": 16}
    wins = {lanes: speed / 3 for lanes, speed in WINS.items()}
    assert shapes({24: wins}, **asked) == [8, 8, 8]
    assert shapes({}, seconds=1800.0, **asked) == [8, 8, 8]
    assert shapes({}, seconds=700.0, **asked) == [3, 3, 3]
    assert shapes({}, seconds=400.0, **asked) == [1, 1, 1]
    assert shapes({}, seconds=29.0, **asked | {"most": 10**6}) == [1, 1, 1], "it is soon over"

"""`lanes: auto`: measured once for a machine and a shape, and never a choice that is slower."""

from __future__ import annotations

import json

import pytest

from gansearch.training.stacked import choice
from gansearch.training.stacked.choice import choose, fastest, measure
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


MANY = 1e9  # steps


def test_it_is_measured_once_and_kept(tiny, digits, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "AT_LEAST", 0.01)
    configs = [tiny(seed=1), tiny(seed=2), tiny(batch_size=8)]
    steps = [MANY] * 3
    chosen = choose(configs, steps, digits, reference, cache=tmp_path)
    assert chosen.keys() == {shape_of(configs[0]), shape_of(configs[2])}
    kept = list((tmp_path / "lanes").iterdir())
    assert len(kept) == 2
    speeds = {"1": 10.0, "4": 30.0}
    for path in kept:
        path.write_text(json.dumps(speeds))
    monkeypatch.setattr(choice, "measure", None)
    assert set(choose(configs, steps, digits, reference, cache=tmp_path).values()) == {4}
    few = [150.0, 140.0, 290.0]  # at 10 a second 29 seconds of each shape
    assert set(choose(configs, few, digits, reference, cache=tmp_path).values()) == {1}
    few[0] = 170.0
    assert list(choose(configs, few, digits, reference, cache=tmp_path).values()) == [4, 1]


def test_little_work_is_not_measured_further(tiny, digits, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "AT_LEAST", 0.01)
    widths = []

    def measured(*args):
        widths.append(args[-1])
        return measure(*args)

    monkeypatch.setattr(choice, "measure", measured)
    assert set(choose([tiny()], [20], digits, reference, cache=tmp_path).values()) == {1}
    assert widths == [()]
    assert not (tmp_path / "lanes").exists()


def test_after_a_while_no_further_shape_is_measured(tiny, digits, reference, tmp_path, monkeypatch):
    speeds = {1: 1.0, 4: 4.0}
    monkeypatch.setattr(choice, "measure", lambda *args: speeds if args[-1] else {1: 1.0})
    configs = [tiny(), tiny(batch_size=8)]
    first, second = (shape_of(config) for config in configs)
    assert choose(configs, [MANY] * 2, digits, reference, cache=tmp_path / "a") == {first: 4, second: 4}
    monkeypatch.setattr(choice, "MOST", 0.0)
    assert choose(configs, [MANY] * 2, digits, reference, cache=tmp_path / "b") == {first: 1, second: 1}


@pytest.mark.parametrize(
    "section", [{"optimizer": {"generator": {"clip": 1.0}}}, {"deterministic": True}]
)
def test_what_is_to_be_alone_is_not_measured(section, tiny, digits, reference, tmp_path, monkeypatch):
    config = tiny(**section)
    monkeypatch.setattr(choice, "measure", None)
    assert choose([config], [MANY], digits, reference, cache=tmp_path) == {shape_of(config): 1}


def test_small_networks_are_faster_together(tiny, digits, reference):
    speeds = measure(tiny(), digits, reference, widths=(4,))
    assert speeds[4] > 1.2 * speeds[1]

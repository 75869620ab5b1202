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


def test_it_is_measured_once_and_kept(tiny, digits, reference, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "AT_LEAST", 0.01)
    configs = [tiny(seed=1), tiny(seed=2), tiny(batch_size=8)]
    chosen = choose(configs, digits, reference, cache=tmp_path)
    assert chosen.keys() == {shape_of(configs[0]), shape_of(configs[2])}
    kept = list((tmp_path / "lanes").iterdir())
    assert len(kept) == 2
    speeds = {"1": 10.0, "4": 30.0}
    for path in kept:
        path.write_text(json.dumps(speeds))
    monkeypatch.setattr(choice, "measure", None)
    assert set(choose(configs, digits, reference, cache=tmp_path).values()) == {4}


def test_what_cannot_be_together_is_not_measured(tiny, digits, reference, tmp_path):
    config = tiny(optimizer={"generator": {"clip": 1.0}})
    assert choose([config], digits, reference, cache=tmp_path) == {shape_of(config): 1}
    assert not (tmp_path / "lanes").exists()


def test_small_networks_are_faster_together(tiny, digits, reference):
    speeds = measure(tiny(), digits, reference, widths=(4,))
    assert speeds[4] > 1.2 * speeds[1]

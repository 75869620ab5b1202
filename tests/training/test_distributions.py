"""Whole trainings in lanes end as those alone do, in distribution."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.distributions import LEVEL, finals, probability
from benchmarks.lane_memory import GOAL, measured


def test_a_shift_is_told_from_none():
    """What judges can tell: half the distance is another distribution, the same numbers are not."""
    ours = [10 + 0.3 * seed for seed in range(20)]
    assert probability(ours, ours) > 0.5
    assert probability([value / 2 for value in ours], ours) < LEVEL


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", ["mlp, non-saturating", "mlp, hinge, gradient-penalty"])
def test_final_metrics_are_of_one_distribution(case):
    alone, lanes = (finals(case, 300, 20, how) for how in ("alone", "lanes"))
    assert len(alone) == len(lanes) == 20
    assert probability(alone, lanes) >= LEVEL


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_lanes_take_no_more_memory_than_as_many_alone():
    one, many = (measured("mlp, width 1024", lanes, "cpu") for lanes in (1, 4))
    process, tensors = (b / a / 4 for a, b in zip(one, many, strict=True))
    assert process <= GOAL + 0.1
    assert tensors <= GOAL

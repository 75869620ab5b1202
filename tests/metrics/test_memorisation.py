from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gansearch.metrics.contract import Activations
from gansearch.metrics.distances import nearest_of
from gansearch.metrics.memorisation import Memorisation


def measure(fake: Tensor, real: Tensor) -> float:
    metric = Memorisation(features="raw")
    return metric(Activations(fake, None), metric.of_real(Activations(real, None)))


def clouds(width: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(width)
    return torch.randn(300, width, generator=random), torch.randn(400, width, generator=random)


def test_copies_are_found_and_fresh_samples_are_not() -> None:
    fresh, real = clouds(8)
    copies = real[:200] + 1e-3
    assert measure(copies, real) == 1
    assert 0.25 < measure(fresh, real) < 0.55
    assert measure(torch.cat([copies[:100], fresh]), real) == pytest.approx(
        (100 + 300 * measure(fresh, real)) / 400
    )
    assert measure(fresh + 100, real) < 0.01


@pytest.mark.parametrize("width", [1, 2, 16])
def test_it_is_the_formula(width: int) -> None:
    fake, real = clouds(width)
    within = torch.cdist(real.double(), real.double(), compute_mode="donot_use_mm_for_euclid_dist")
    across = torch.cdist(fake.double(), real.double(), compute_mode="donot_use_mm_for_euclid_dist")
    reach = within.fill_diagonal_(math.inf).min(1).values
    distance, nearest = across.min(1)
    expected = float((distance < reach[nearest]).double().mean())
    assert measure(fake, real) == expected


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    offset=st.sampled_from([0.0, 1e3, 1e6]),
    spread=st.sampled_from([1e-6, 1.0, 1e6]),
    levels=st.sampled_from([0, 2]),
    centres=st.integers(1, 60),
)
def test_the_nearest_is_the_nearest(
    seed: int, offset: float, spread: float, levels: int, centres: int
) -> None:
    sides = np.random.default_rng(seed).normal(size=(2, 60, 2))
    if levels:
        sides = np.round(sides * levels)
    points, others = (torch.tensor(side * spread + offset, dtype=torch.float32) for side in sides)
    others = others[:centres]
    _, squares = nearest_of(points, others)
    exact = (points.double()[:, None] - others.double()).square().sum(-1)
    assert torch.equal(squares, exact.min(1).values)


def test_nan_and_a_single_real_sample() -> None:
    fake, real = clouds(3)
    fake[7, 1] = math.nan
    assert math.isnan(measure(fake, real))
    with pytest.raises(ValueError, match="1 neighbour needs more than 1 sample, not 1"):
        measure(fake, real[:1])
    with pytest.raises(ValueError, match="no generated samples"):
        measure(fake[:0], real)


def test_as_far_as_the_other_real_sample_is_no_copy() -> None:
    real, made = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[2.0], [1.5]])
    assert measure(made[:1], real) == 0
    assert measure(made[1:], real) == 1


def test_repeated_real_samples_are_told_and_never_a_quiet_number() -> None:
    """Copies of what occurs twice do not count: of doubled data a generator of copies would have 0."""
    _, real = clouds(3)
    few = torch.cat([real, real[:2]])
    assert measure(few, few) == pytest.approx(398 / 402)
    with pytest.raises(ValueError, match="10 of 405 real samples occur more than once"):
        measure(real, torch.cat([real, real[:5]]))

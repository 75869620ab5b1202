"""Distances by tiles: whatever their sizes, what is found is what exact distances say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gansearch.metrics import distances
from gansearch.metrics.distances import (
    Balls,
    Frame,
    lower_bounds,
    memberships,
    nearest_of,
    nearest_squares,
)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that a few hundred points fill many, with ragged ones at the ends."""
    sizes = {"ROWS": 16, "COLUMNS": 64, "RUN": 4, "GROUP": 4, "DIFFERENCES": 64}
    for name, size in sizes.items():
        monkeypatch.setattr(distances, name, size)


def squares_of(left: Tensor, right: Tensor) -> Tensor:
    return (left.double()[:, None] - right.double()).square().sum(-1)


def cloud(count: int, width: int, seed: int, levels: int = 0) -> Tensor:
    points = np.random.default_rng(seed).normal(size=(count, width)) + 3
    if levels:
        points = np.round(points * levels)  # a lattice: ties and doubles
    return torch.tensor(points, dtype=torch.float32)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("count", [5, 17, 64, 65, 150, 331])
@pytest.mark.parametrize("levels", [0, 1])
@pytest.mark.parametrize("width", [1, 2, 10])
def test_the_nearest_others_over_many_tiles(count: int, levels: int, width: int) -> None:
    points = cloud(count, width, count, levels)
    exact = squares_of(points, points).fill_diagonal_(torch.inf).sort(1).values
    torch.testing.assert_close(nearest_squares(points, 4), exact[:, :4], rtol=1e-14, atol=0)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("width", [2, 10])
def test_the_nearest_others_in_any_unit(unit: float, width: int) -> None:
    """Within two clusters so far apart that float32 cannot order all the distances in one."""
    sides = torch.where(torch.arange(150) % 2 == 0, 1.0, -1.0)
    points = (cloud(150, width, 0) * 2e-3 + sides[:, None]).double() * unit
    exact = squares_of(points, points).fill_diagonal_(torch.inf).sort(1).values
    torch.testing.assert_close(nearest_squares(points, 4), exact[:, :4], rtol=1e-12, atol=0)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("levels", [0, 1])
def test_the_nearest_of_others_is_the_first_of_equally_near_ones(levels: int) -> None:
    points, centres = cloud(150, 3, 0, levels), cloud(190, 3, 1, levels).unique(dim=0)
    exact = squares_of(points, centres)
    places, squares = nearest_of(points, centres)
    torch.testing.assert_close(squares, exact.min(1).values, rtol=1e-14, atol=0)
    assert torch.equal(exact.gather(1, places[:, None])[:, 0], squares)
    near = (exact <= exact.min(1, keepdim=True).values).sum(1) <= 4  # more ties than candidates
    assert torch.equal(places[near], exact.argmin(1)[near])


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("levels", [0, 1])
@pytest.mark.parametrize("reach", [0.5, 5.0, 100.0])
def test_balls_over_many_tiles(closed: bool, levels: int, reach: float) -> None:
    """With a reach of 100 all points lie in all balls: no answer is rare."""
    points, centres = cloud(130, 5, 0, levels), cloud(201, 5, 1, levels)
    exact = squares_of(points, centres)
    about_centres = exact.median(0).values.round() * reach / 5
    about_points = exact.median(1).values.round() * reach / 5
    held, found = memberships(
        points, centres, [Balls(about_centres, closed)], [Balls(about_points, closed)]
    )
    within = exact <= about_centres if closed else exact < about_centres
    turned = exact <= about_points[:, None] if closed else exact < about_points[:, None]
    assert torch.equal(held[0].counts, within.sum(1))
    assert torch.equal(held[0].met, within.any(0))
    assert torch.equal(found[0], turned.any(0))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    width=st.sampled_from([1, 2, 7, 300, 700]),
    offset=st.sampled_from([0.0, 100.0, 1e4]),
    spread=st.sampled_from([1e-3, 1.0, 1e3]),
)
@example(seed=1248, width=2, offset=1e4, spread=1e-3)
def test_the_bounds_hold_and_are_narrow(seed: int, width: int, offset: float, spread: float) -> None:
    random = np.random.default_rng(seed)
    sides = random.normal(size=(2, 40, width)) * spread * np.logspace(0, -2, width) + offset
    points, centres = (torch.tensor(side, dtype=torch.float32) for side in sides)
    frame = Frame.of(centres)
    left, right = (frame.cloud(side, torch.float32) for side in (points, centres))
    lower = lower_bounds(left, right).double() * frame.scale**2
    room = 2.02 * (left.slack[:, None] + right.slack).double() * frame.scale**2
    exact = squares_of(points, centres)
    assert (lower <= exact).all()
    assert (exact <= lower + room).all()
    lengths = (left.squares[:, None] + right.squares).double() * frame.scale**2
    assert (room <= 4e-5 * lengths).all()  # whatever the width; none of either where all coincide

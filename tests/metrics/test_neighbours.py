from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch import Tensor

from gansearch.metrics.contract import Activations
from gansearch.metrics.neighbours import Coverage, Density, Precision, Recall


def seen(features: Tensor) -> Activations:
    return Activations(features, None)


def measure(metric: type, fake: Tensor, real: Tensor, neighbours: int) -> float:
    made = metric(neighbours=neighbours)
    return made(seen(fake), made.of_real(seen(real)))


def clouds(count: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(width, width))
    real = random.normal(size=(count, width)) @ mixing
    fake = 0.8 * random.normal(size=(count + 7, width)) @ mixing + 0.1
    return torch.tensor(fake), torch.tensor(real)


def by_torch_fidelity(fake: Tensor, real: Tensor, neighbours: int) -> tuple[float, float]:
    """Its first input is the generated one."""
    from torch_fidelity.metric_prc import prc_features_to_metric

    found = prc_features_to_metric(
        fake,
        real,
        prc_neighborhood=neighbours,
        prc_batch_size=10_000,
        save_cpu_ram=False,
        verbose=False,
    )
    return found["precision"], found["recall"]


def by_authors(fake: Tensor, real: Tensor, neighbours: int) -> tuple[float, float]:
    """Density and coverage as Naeem et al. define them, with balls open as in their code."""
    x, y = real.numpy(), fake.numpy()
    within = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    radii = np.sort(within, axis=1)[:, neighbours]  # the nearest is itself
    across = np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))
    inside = across < radii[:, None]
    return inside.sum(0).mean() / neighbours, inside.any(1).mean()


@pytest.mark.parametrize("width", [1, 2, 16, 64])
@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_equals_torch_fidelity_and_the_authors(width: int, neighbours: int) -> None:
    fake, real = clouds(200, width, width)
    expected = by_torch_fidelity(fake, real, neighbours)
    assert measure(Precision, fake, real, neighbours) == pytest.approx(expected[0], rel=1e-6)
    assert measure(Recall, fake, real, neighbours) == pytest.approx(expected[1], rel=1e-6)
    density, coverage = by_authors(fake, real, neighbours)
    assert measure(Density, fake, real, neighbours) == pytest.approx(density, rel=1e-12)
    assert measure(Coverage, fake, real, neighbours) == pytest.approx(coverage, rel=1e-12)


def test_one_pass_gives_what_each_gives_alone() -> None:
    fake, real = clouds(300, 8, 3)
    recalls = [Recall(neighbours=4), Recall(neighbours=1), Recall(neighbours=6)]
    metrics = [Precision(), *recalls, Density(), Coverage(neighbours=2)]
    together = Precision.family.values(
        metrics, seen(fake), Precision.family.of_real(metrics, seen(real))
    )
    assert together == [metric(seen(fake), metric.of_real(seen(real))) for metric in metrics]


def test_balls_are_closed_for_precision_and_recall_and_open_for_density_and_coverage() -> None:
    """On a line of points one apart, a generated one at its neighbour's very radius."""
    real = torch.arange(4.0)[:, None]
    at_the_rim = torch.tensor([[4.0], [-1.0]])
    assert measure(Precision, at_the_rim, real, 1) == 1
    assert measure(Density, at_the_rim, real, 1) == 0
    assert measure(Coverage, at_the_rim, real, 1) == 0
    assert measure(Recall, torch.tensor([[0.0], [3.0]]), torch.tensor([[-3.0], [9.0]]), 1) == 0.5


class OpenPrecision(Precision):
    closed = False


def test_the_conventions_differ_on_digits() -> None:
    """Their pixels are whole numbers, so that many distances are equal."""
    pixels = torch.from_numpy(load_digits().data)
    even, odd = pixels[::2], pixels[1::2]
    assert measure(Precision, even, odd, 5) == pytest.approx(0.9633, abs=5e-5)
    assert measure(OpenPrecision, even, odd, 5) == pytest.approx(0.9611, abs=5e-5)
    expected = by_torch_fidelity(even, odd, 5)
    assert measure(Precision, even, odd, 5) == pytest.approx(expected[0], rel=1e-6)
    assert measure(Recall, even, odd, 5) == pytest.approx(expected[1], rel=1e-6)


def test_a_collapsed_generator_is_precise_and_recalls_one() -> None:
    _, real = clouds(50, 6, 0)
    collapsed = real[7].repeat(60, 1)
    assert measure(Precision, collapsed, real, 3) == 1
    assert measure(Recall, collapsed, real, 3) == pytest.approx(1 / 50)
    assert measure(Coverage, collapsed, real, 5) < 0.5


def test_density_rewards_blur_and_coverage_does_not() -> None:
    """Nothing but the mean of the data, next to which many of its samples have their balls."""
    random = torch.Generator().manual_seed(0)
    real, held_out = (torch.randn(500, 12, generator=random, dtype=torch.float64) for _ in range(2))
    blurred = real.mean(0) + 1e-3 * torch.randn(500, 12, generator=random, dtype=torch.float64)
    assert measure(Density, held_out, real, 5) == pytest.approx(1, abs=0.1)
    assert measure(Density, blurred, real, 5) > 5
    assert measure(Coverage, blurred, real, 5) < measure(Coverage, held_out, real, 5) - 0.2


def test_coverage_of_real_samples_is_known() -> None:
    """Among n + n samples of one distribution the k nearest to a real one are real by chance only."""
    random = torch.Generator().manual_seed(1)
    fake, real = (torch.randn(2000, 3, generator=random) for _ in range(2))
    n, k = 2000, 5
    lost = math.prod((n - 1 - i) / (2 * n - 1 - i) for i in range(k))
    assert measure(Coverage, fake, real, k) == pytest.approx(1 - lost, abs=0.01)


@pytest.mark.parametrize("metric", [Precision, Recall, Density, Coverage])
def test_doubled_real_samples_are_told_and_never_a_quiet_number(metric: type) -> None:
    fake, real = clouds(30, 4, 0)
    repeated = torch.cat([real, *[real[:2]] * 5])  # two occur six times, of forty
    with pytest.raises(ValueError, match=r"12 of 40 real samples occur more than 5 times"):
        measure(metric, fake, repeated, 5)
    assert math.isfinite(measure(metric, fake, torch.cat([real, real]), 5))
    _, more = clouds(595, 4, 1)  # one of them six times is 6 of 600, a hundredth
    assert math.isfinite(measure(metric, fake, torch.cat([more, *[more[:1]] * 5]), 5))


@pytest.mark.parametrize("metric", [Precision, Recall, Density, Coverage])
def test_features_that_are_not_finite_give_nan(metric: type) -> None:
    fake, real = clouds(30, 4, 0)
    fake[3, 1] = math.inf
    assert math.isnan(measure(metric, fake, real, 5))


@pytest.mark.parametrize("metric", [Precision, Recall, Density, Coverage])
def test_too_few_real_samples_are_refused(metric: type) -> None:
    fake, real = clouds(5, 4, 0)
    assert metric(neighbours=5).least_samples == 6
    with pytest.raises(ValueError, match="5 neighbours need more than 5 samples, not 5"):
        measure(metric, fake, real, 5)


@pytest.mark.parametrize("metric", [Precision, Recall, Density, Coverage])
def test_no_generated_samples_are_refused_and_get_no_quiet_number(metric: type) -> None:
    _, real = clouds(30, 4, 0)
    with pytest.raises(ValueError, match="no generated samples"):
        measure(metric, real[:0], real, 5)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    offset=st.sampled_from([0.0, 1e3, 1e6]),
    spread=st.sampled_from([1e-6, 1.0, 1e6]),
    levels=st.sampled_from([0, 2, 5]),
    neighbours=st.integers(1, 5),
)
def test_float32_products_change_no_verdict(
    seed: int, offset: float, spread: float, levels: int, neighbours: int
) -> None:
    """Far from the origin, in tight and in wide clouds, on a lattice full of ties and doubles."""
    random = np.random.default_rng(seed)
    sides = random.normal(size=(2, 80, 3))
    if levels:
        sides = np.round(sides * levels)
    fake, real = (torch.tensor(side * spread + offset, dtype=torch.float32) for side in sides)
    squares = {
        "rr": (real.double()[:, None] - real.double()).square().sum(-1),
        "ff": (fake.double()[:, None] - fake.double()).square().sum(-1),
        "fr": (fake.double()[:, None] - real.double()).square().sum(-1),
    }
    about_real = squares["rr"].sort(1).values[:, neighbours]
    about_fake = squares["ff"].sort(1).values[:, neighbours]
    if (about_real == 0).sum() > 0.01 * len(real):
        return
    closed, opened = squares["fr"] <= about_real, squares["fr"] < about_real
    turned = squares["fr"] <= about_fake[:, None]
    assert measure(Precision, fake, real, neighbours) == float(closed.any(1).double().mean())
    assert measure(Recall, fake, real, neighbours) == float(turned.any(0).double().mean())
    density = float(opened.sum(1).double().mean()) / neighbours
    assert measure(Density, fake, real, neighbours) == density
    assert measure(Coverage, fake, real, neighbours) == float(opened.any(0).double().mean())


def test_tight_clusters_far_apart_are_told_apart_to_the_last_bit() -> None:
    """Three modes a million of their widths apart: float32 products see no distance within one."""
    random = torch.Generator().manual_seed(0)
    modes = torch.tensor([[0.0, 0], [1e6, 0], [0, 1e6]], dtype=torch.float64)
    sides = torch.randn(2, 300, 2, generator=random, dtype=torch.float64) + modes.repeat(100, 1)
    fake, real = sides
    expected = by_authors(fake, real, 5)
    assert measure(Density, fake, real, 5) == pytest.approx(expected[0], rel=1e-12)
    assert measure(Coverage, fake, real, 5) == expected[1]


def test_a_far_generated_sample_that_float32_cannot_hold() -> None:
    fake, real = clouds(40, 3, 0)
    real *= 3
    fake[0] = 1e60
    precision, recall = by_torch_fidelity(fake, real, 3)
    assert measure(Precision, fake, real, 3) == pytest.approx(precision, rel=1e-6)
    assert measure(Recall, fake, real, 3) == recall == 1  # its own ball reaches as far as they lie

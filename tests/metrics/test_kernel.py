from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gansearch.metrics.contract import Activations
from gansearch.metrics.kernel import KernelClassifierDistance, kernel_distance


def features(count: int, width: int, seed: int, shift: float = 0.0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=random, dtype=torch.float64).relu() + shift


def by_torch_fidelity(fake: Tensor, real: Tensor, subsets: int, size: int) -> float:
    from torch_fidelity.metric_kid import kid_features_to_metric

    options: dict[str, Any] = {
        "kid_kernel": "poly",
        "kid_kernel_poly_degree": 3,
        "kid_kernel_poly_gamma": None,
        "kid_kernel_poly_coef0": 1,
        "rng_seed": 2020,
        "verbose": False,
    }
    found = kid_features_to_metric(fake, real, kid_subsets=subsets, kid_subset_size=size, **options)
    return float(found["kernel_inception_distance_mean"])


@pytest.mark.parametrize(
    ("fakes", "reals", "size"), [(300, 400, 200), (150, 150, 150), (700, 300, 257)]
)
def test_equals_torch_fidelity(fakes: int, reals: int, size: int) -> None:
    fake, real = features(fakes, 24, 0, 0.2), features(reals, 24, 1)
    ours = kernel_distance(fake, real, subsets=7, subset_size=size)
    assert ours == pytest.approx(by_torch_fidelity(fake, real, 7, size), rel=1e-9)


@pytest.mark.parametrize(("fakes", "reals"), [(1100, 600), (600, 1100), (515, 515)])
@pytest.mark.parametrize("subsets", [1, 2, 30])
def test_all_pairs_at_once_or_subset_by_subset(fakes: int, reals: int, subsets: int) -> None:
    """Sizes beside those of a tile; few subsets have fewer pairs than the samples, many have more."""
    fake, real = features(fakes, 12, 0, 0.2), features(reals, 12, 1)
    ours = kernel_distance(fake, real, subsets=subsets, subset_size=513)
    assert ours == pytest.approx(by_torch_fidelity(fake, real, subsets, 513), rel=1e-9)


def test_float32_features_are_as_good_as_float64() -> None:
    """To 1e-7 of the exact value; torch-fidelity in float32 is not."""
    fake, real = features(900, 300, 0, 0.05).float(), features(800, 300, 1).float()
    exact = by_torch_fidelity(fake.double(), real.double(), 10, 500)
    assert kernel_distance(fake, real, subsets=10, subset_size=500) == pytest.approx(exact, rel=1e-7)
    assert by_torch_fidelity(fake, real, 10, 500) != pytest.approx(exact, rel=1e-7)


def test_float32_features_lose_nothing() -> None:
    """A large mean and a small spread, where products in float32 alone are off by a third."""
    fake, real = (features(400, 64, seed, 30).float() for seed in (0, 1))
    fake += 0.02
    exact = by_torch_fidelity(fake.double(), real.double(), 5, 300)
    assert kernel_distance(fake, real, subsets=5, subset_size=300) == pytest.approx(exact, rel=1e-5)
    assert by_torch_fidelity(fake, real, 5, 300) != pytest.approx(exact, rel=1e-5)


def test_closed_form_for_two_points() -> None:
    """All real samples at x and all generated at y: (k(x, x) + k(y, y) - 2 k(x, y))."""
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([0.5, -1.0])

    def kernel(a: Tensor, b: Tensor) -> float:
        return float(a @ b / 2 + 1) ** 3

    expected = kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)
    ours = kernel_distance(y.repeat(20, 1), x.repeat(30, 1), subsets=2, subset_size=20)
    assert ours == pytest.approx(expected, rel=1e-6)


def test_has_no_bias() -> None:
    """Of equal distributions it is 0 in the mean, where a Frechet distance is far from it."""
    values = [
        kernel_distance(features(60, 8, 2 * i), features(60, 8, 2 * i + 1), subsets=1, subset_size=60)
        for i in range(200)
    ]
    mean = sum(values) / len(values)
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
    assert abs(mean) < 3 * error
    assert min(values) < 0


def test_the_real_side_is_computed_once_and_for_these_samples_only() -> None:
    metric = KernelClassifierDistance(subsets=3, subset_size=50)
    real, other = (metric.of_real(Activations(features(80, 6, s), None)) for s in (0, 1))
    fakes = [Activations(features(count, 6, 2, 0.1), None) for count in (90, 70)]
    known_by_fake = [(known, fake) for fake in fakes for known in (real, other, real)]
    fake_by_known = [(known, fake) for known in (real, other, real) for fake in fakes]
    for known, fake in known_by_fake + fake_by_known:
        fresh = KernelClassifierDistance(subsets=3, subset_size=50)
        assert metric(fake, known) == fresh(fake, known)


def test_subsets_larger_than_a_side_and_nan() -> None:
    metric = KernelClassifierDistance(subset_size=50)
    known = metric.of_real(Activations(features(80, 6, 0), None))
    with pytest.raises(ValueError, match="subsets of 50 needs as many generated samples, not 49"):
        metric(Activations(features(49, 6, 1), None), known)
    with pytest.raises(ValueError, match="subsets of 50 needs as many real samples, not 20"):
        metric.of_real(Activations(features(20, 6, 1), None))
    with pytest.raises(ValueError, match="needs as many generated samples, not 49"):
        kernel_distance(features(49, 6, 1), features(50, 6, 0), subset_size=50)
    with pytest.raises(ValueError, match="needs as many real samples, not 49"):
        kernel_distance(features(50, 6, 1), features(49, 6, 0), subset_size=50)
    broken = features(60, 6, 1)
    broken[5, 5] = math.nan
    assert math.isnan(metric(Activations(broken, None), known))

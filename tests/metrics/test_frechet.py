from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gansearch.metrics.frechet import fit, frechet_distance, moments


def by_sqrtm(fake: Tensor, real: Tensor) -> float:
    """Heusel et al.'s formula, word for word."""
    x, y = fake.double().numpy(), real.double().numpy()
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    difference = x.mean(0) - y.mean(0)
    root = scipy.linalg.sqrtm(s1 @ s2).real
    return float(difference @ difference + np.trace(s1 + s2 - 2 * root))


def by_full_form(fake: Tensor, real: Tensor) -> float:
    """By d x d covariances and eigenvalues whatever the sample counts, in numpy."""
    x, y = fake.double().numpy(), real.double().numpy()
    s1, s2 = (np.atleast_2d(np.cov(side, rowvar=False)) for side in (x, y))
    difference = x.mean(0) - y.mean(0)
    values, vectors = np.linalg.eigh(s1)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    overlap = np.sqrt(np.linalg.eigvalsh(root @ s2 @ root).clip(0)).sum()
    return float(difference @ difference + np.trace(s1 + s2) - 2 * overlap)


def correlated(count: int, width: int, seed: int) -> Tensor:
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(width, width))
    return torch.tensor(random.normal(size=(count, width)) @ mixing + random.normal(size=width))


def with_moments(mean: Tensor, deviation: Tensor) -> Tensor:
    """2 d samples whose mean and (diagonal) covariance are exactly these."""
    width = len(mean)
    corners = torch.eye(width, dtype=torch.float64) * math.sqrt((2 * width - 1) / 2)
    return mean + torch.cat([corners, -corners]) * deviation


@pytest.mark.parametrize("width", [2, 16, 64])
def test_equals_an_independent_reference(width: int) -> None:
    fake, real = correlated(300, width, 1), correlated(500, width, 2)
    ours = frechet_distance(fake, fit(real))
    assert ours == pytest.approx(by_sqrtm(fake, real), rel=1e-6)


def test_float32_features_are_computed_in_float64() -> None:
    fake, real = correlated(300, 32, 1).float() + 100, correlated(300, 32, 2).float() + 100
    assert frechet_distance(fake, fit(real)) == pytest.approx(by_sqrtm(fake, real), rel=1e-6)


def test_where_both_sides_lie_changes_nothing() -> None:
    """Of a spread of 1 about a million: float32 knows such a mean to 0.06."""
    fake, real = correlated(300, 8, 1), correlated(300, 8, 2)
    there = frechet_distance(fake + 1e6, fit(real + 1e6))
    assert there == pytest.approx(frechet_distance(fake, fit(real)), rel=1e-6)


def test_closed_form_for_diagonal_gaussians() -> None:
    means = torch.tensor([[0.0, 1, 2], [3, 1, -1]], dtype=torch.float64)
    deviations = torch.tensor([[1.0, 2, 3], [4, 2, 0.5]], dtype=torch.float64)
    fake, real = (with_moments(m, s) for m, s in zip(means, deviations, strict=True))
    expected = ((means[0] - means[1]) ** 2 + (deviations[0] - deviations[1]) ** 2).sum()
    assert frechet_distance(fake, fit(real)) == pytest.approx(float(expected), rel=1e-12)


def test_closed_form_for_gaussians_that_do_not_commute() -> None:
    """In the plane the trace of a square root is known: tr M^(1/2) = (tr M + 2 (det M)^(1/2))^(1/2)."""
    turn = math.radians(30)
    rotation = torch.tensor(
        [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]], dtype=torch.float64
    )
    origin = torch.zeros(2, dtype=torch.float64)
    fake = with_moments(origin, torch.tensor([1.0, 3.0], dtype=torch.float64)) @ rotation + 0.5
    real = with_moments(origin, torch.tensor([2.0, 0.5], dtype=torch.float64))
    s1 = rotation.T @ torch.diag(torch.tensor([1.0, 9.0], dtype=torch.float64)) @ rotation
    product = s1 @ torch.diag(torch.tensor([4.0, 0.25], dtype=torch.float64))
    root = math.sqrt(float(product.trace()) + 2 * math.sqrt(float(torch.linalg.det(product))))
    assert frechet_distance(fake, fit(real)) == pytest.approx(0.5 + 10 + 4.25 - 2 * root, rel=1e-12)


@pytest.mark.parametrize("width", [3, 40])
def test_closed_form_for_singular_covariances(width: int) -> None:
    """Each side varies along one axis only, not the same: nothing overlaps, and all variance counts."""
    spread = torch.arange(-5.0, 6.0, dtype=torch.float64)
    fake, real = (torch.zeros(11, width, dtype=torch.float64) for _ in range(2))
    fake[:, 0], real[:, 1] = spread, 2 * spread
    variance = float(spread.var())
    assert frechet_distance(fake, fit(real)) == pytest.approx(variance + 4 * variance, rel=1e-12)
    real[:, 0], real[:, 1] = 2 * spread, 0
    # Of eigenvalues that are 0 rounding leaves 1e-16, and of their roots 1e-8.
    assert frechet_distance(fake, fit(real)) == pytest.approx(variance, rel=1e-6)


def test_closed_form_for_fewer_samples_than_features() -> None:
    """Of two samples at +-u the covariance is 2 u u^T: along one axis, and known."""
    u, v = (torch.zeros(50, dtype=torch.float64) for _ in range(2))
    u[3], v[3], v[7] = 2.0, 3.0, 4.0
    fake, real = torch.stack([u, -u]), torch.stack([v, -v])
    # tr (2uu' 2vv')^(1/2) = 2 |u . v|
    expected = 2 * u.dot(u) + 2 * v.dot(v) - 4 * u.dot(v).abs()
    assert frechet_distance(fake, fit(real)) == pytest.approx(float(expected), rel=1e-12)


def test_a_large_mean_and_a_small_spread_lose_nothing() -> None:
    """Second moments in float32 are far off here; covariances in float64 are not."""
    fake, real = (1000 + 0.01 * correlated(300, 8, seed).float() for seed in (1, 2))
    assert frechet_distance(fake, fit(real)) == pytest.approx(by_sqrtm(fake, real), rel=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    fakes=st.integers(2, 40),
    reals=st.integers(2, 40),
    width=st.integers(1, 20),
    seed=st.integers(0, 2**16),
)
def test_every_form_agrees_with_the_full_one(fakes: int, reals: int, width: int, seed: int) -> None:
    fake, real = correlated(fakes, width, seed), correlated(reals, width, seed + 1)
    scale = float(fake.square().sum() + real.square().sum())
    ours = frechet_distance(fake, fit(real))
    assert ours == pytest.approx(by_full_form(fake, real), rel=1e-6, abs=1e-6 * scale)


@settings(max_examples=20, deadline=None)
@given(fakes=st.integers(2, 40), reals=st.integers(2, 40), seed=st.integers(0, 2**16))
def test_is_symmetric_and_not_negative(fakes: int, reals: int, seed: int) -> None:
    fake, real = correlated(fakes, 12, seed), correlated(reals, 12, seed + 1)
    forth, back = frechet_distance(fake, fit(real)), frechet_distance(real, fit(fake))
    assert forth == pytest.approx(back, rel=1e-6)
    assert forth > 0


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 60), seed=st.integers(0, 2**16))
def test_a_rotation_of_both_sides_changes_nothing(count: int, seed: int) -> None:
    fake, real = correlated(count, 10, seed), correlated(50, 10, seed + 1)
    rotation = torch.linalg.qr(correlated(10, 10, seed + 2)).Q
    rotated = frechet_distance(fake @ rotation, fit(real @ rotation))
    assert rotated == pytest.approx(frechet_distance(fake, fit(real)), rel=1e-8)


@pytest.mark.parametrize("count", [5, 30, 300])
def test_is_zero_at_identity(count: int) -> None:
    features = correlated(count, 30, 0)
    distance = frechet_distance(features, fit(features))
    assert abs(distance) < 1e-6 * float(moments(features)[1].trace())


def test_moments_are_those_of_numpy_over_many_chunks() -> None:
    features = correlated(20_000, 3, 0)
    mean, covariance = moments(features)
    np.testing.assert_allclose(mean, features.numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(features.numpy(), rowvar=False), rtol=1e-12)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("count", [5, 50])
def test_a_non_finite_feature_gives_nan(value: float, count: int) -> None:
    fake = correlated(count, 8, 0)
    fake[0, 0] = value
    assert math.isnan(frechet_distance(fake, fit(correlated(50, 8, 1))))


def test_too_few_samples_and_broken_real_features_are_refused() -> None:
    features = correlated(20, 4, 0)
    with pytest.raises(ValueError, match="at least 2 samples, not 1"):
        frechet_distance(features[:1], fit(features))
    with pytest.raises(ValueError, match="at least 2 samples, not 1"):
        fit(features[:1])
    features[3, 2] = math.nan
    with pytest.raises(ValueError, match="not finite"):
        fit(features)

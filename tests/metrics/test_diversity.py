from __future__ import annotations

import numpy as np
import pytest
import torch

from gansearch.errors import DataError
from gansearch.metrics.contract import Activations
from gansearch.metrics.diversity import Diversity, total_variance


def pixels(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 48), dtype=torch.uint8, generator=generator)


def test_variance_is_that_of_numpy_over_many_chunks() -> None:
    many = pixels(3000)
    expected = many.numpy().astype(np.float64).var(0, ddof=1).sum()
    assert float(total_variance(many)) == pytest.approx(expected, rel=1e-12)


def test_one_for_the_data_itself_zero_without_noise_four_at_twice_the_contrast() -> None:
    metric = Diversity()
    low = pixels(100) // 2
    real = metric.of_real(Activations(low, None))
    assert metric(Activations(low, None), real) == 1
    assert metric(Activations(low[:1].repeat(50, 1), None), real) == 0
    assert metric(Activations(low * 2, None), real) == pytest.approx(4)


@pytest.mark.parametrize(("fake", "expected"), [(0.0, 1.0), (0.5, 1.0), (float("nan"), float("nan"))])
def test_of_data_that_are_one_point_it_says_nothing(fake: float, expected: float) -> None:
    """Infinity would be shown as NaN, which means samples that are not finite."""
    metric = Diversity()
    real = metric.of_real(Activations(torch.zeros(50, 1), None))
    drawn = metric(Activations(fake * torch.linspace(-1, 1, 20)[:, None], None), real)
    assert drawn == pytest.approx(expected, nan_ok=True)


def test_too_few_samples_and_equal_real_images_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 samples, not 1"):
        total_variance(pixels(1))
    with pytest.raises(DataError, match="all the same"):
        Diversity().of_real(Activations(pixels(1).repeat(9, 1), None))

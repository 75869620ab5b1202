from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gansearch.metrics.contract import Activations
from gansearch.metrics.reach import Reach

ANGLES = torch.arange(8) * (2 * torch.pi / 8)
CENTRES = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)
NAMES = ("centres", "shares", "mean", "near")


def ring(count: int, modes: list[int], std: float = 0.02, seed: int = 0) -> Tensor:
    """Points about some of the eight centres."""
    random = torch.Generator().manual_seed(seed)
    chosen = torch.tensor(modes)[torch.randint(len(modes), (count,), generator=random)]
    return CENTRES[chosen] + std * torch.randn(count, 2, generator=random)


def seen(samples: Tensor) -> Activations:
    return Activations(samples, None)


ALL = list(range(8))
KNOWN = Reach().of_real(seen(ring(5000, ALL, seed=1)))


def reach(samples: Tensor) -> float:
    return Reach()(seen(samples), KNOWN)


def test_the_share_of_the_modes_that_are_met() -> None:
    assert tuple(KNOWN) == NAMES
    assert KNOWN["centres"].shape == (50, 2)
    assert float(KNOWN["shares"].sum()) == pytest.approx(1)
    assert reach(ring(1000, ALL)) == 1
    for met in range(1, 8):
        chosen = ALL[:met]
        inside = Reach().of_real(seen(ring(5000, ALL, seed=1)))["centres"] + KNOWN["mean"]
        nearest = torch.cdist(inside, CENTRES).argmin(1)
        expected = float((nearest < met).double().mean())
        assert reach(ring(1000, chosen)) == pytest.approx(expected, abs=1e-4), (
            "their cells, all of them"
        )
    assert reach(ring(1000, [0])) == pytest.approx(1 / 8, abs=0.05)


def test_cells_are_the_means_of_their_samples() -> None:
    samples = torch.cat([ring(20, [mode], seed=mode) for mode in (1, 4, 6)])
    known = Reach().of_real(seen(samples))
    centres = known["centres"] + known["mean"]
    nearest = torch.cdist(CENTRES[[1, 4, 6]], centres).argmin(1)
    means = torch.stack([part.mean(0) for part in samples.split(20)])
    torch.testing.assert_close(centres[nearest], means)
    assert known["shares"].tolist() == pytest.approx([1 / 3] * 3)
    spread = (samples - samples.mean(0)).square().sum(1).mean().sqrt()
    assert float(known["near"]) == pytest.approx(float(spread) / 4)


def test_how_good_samples_are_is_another_question() -> None:
    assert reach(ring(1000, ALL, std=0.3)) == 1, "noisy"
    assert reach(ring(1000, ALL, std=0.0)) == 1, "each mode a point"
    assert reach(0.9 * ring(1000, ALL)) == 1, "beside the modes"
    assert reach(ring(1000, ALL) * 1e3) < 0.3, "but not how far off"
    assert reach(ring(1000, [0, 2, 4, 6], std=0.1)) < 0.65


def test_a_tenth_of_what_is_due() -> None:
    """Two cells, each of half of the data, the centres at 1 and -1."""
    known = {
        "centres": torch.tensor([[1.0], [-1.0]]),
        "shares": torch.tensor([0.5, 0.5]).double(),
        "mean": torch.tensor([3.0]),
        "near": torch.tensor(0.25).double(),
    }
    for few, expected in ((0, 0.5), (4, 0.5), (5, 1.0)):
        samples = torch.cat([torch.full((few, 1), 2.0), torch.full((100 - few, 1), 4.0)])
        assert Reach()(seen(samples), known) == pytest.approx(expected)
    near = torch.full((100, 1), 4.0)  # 2 from the other centre
    assert Reach()(seen(near), known | {"near": torch.tensor(1.9).double()}) == pytest.approx(0.5)
    assert Reach()(seen(near), known | {"near": torch.tensor(2.1).double()}) == pytest.approx(1)


def test_chance_is_allowed_for() -> None:
    """Of 20 samples of 50 equal cells 0.4 are a cell's due: it is met with probability 1 - e^-0.4."""
    many = {
        "centres": 100 * torch.eye(50),
        "shares": torch.full((50,), 0.02).double(),
        "mean": torch.zeros(50),
        "near": torch.tensor(1.0).double(),
    }
    met = 100 * torch.eye(50)[:10].repeat(2, 1)
    assert Reach()(seen(met), many) == pytest.approx(10 / (50 * (1 - math.exp(-0.4))))
    random = torch.Generator().manual_seed(0)
    real = [100 * torch.eye(50)[torch.randint(50, (20,), generator=random)] for _ in range(200)]
    values = [Reach()(seen(samples), many) for samples in real]
    assert sum(values) / 200 == pytest.approx(1, abs=0.03)


def test_images_few_samples_and_equal_ones() -> None:
    random = torch.Generator().manual_seed(0)
    kinds = torch.randint(0, 256, (10, 192), generator=random)
    noise = torch.randint(-20, 21, (3000, 192), generator=random)
    images = (kinds[torch.arange(3000) % 10] + noise).clamp(0, 255).to(torch.uint8)
    known = Reach().of_real(seen(images))
    assert Reach()(seen(images[:1000]), known) == pytest.approx(1, abs=0.02)
    half = images[torch.arange(3000) % 10 < 5]
    assert Reach()(seen(half), known) == pytest.approx(0.5, abs=0.1)
    assert Reach()(seen(images[:1].expand(500, -1)), known) < 0.1
    again = Reach().of_real(seen(images))
    assert all(torch.equal(known[name], again[name]) for name in NAMES)
    assert len(Reach().of_real(seen(images[:45]))["centres"]) == 2, "20 samples a cell"
    one = Reach().of_real(seen(images[:1].expand(100, -1)))
    assert len(one["centres"]) == 1
    assert Reach()(seen(images[:9]), one) == 1


def test_what_is_not_finite_has_no_reach() -> None:
    samples = ring(100, ALL)
    samples[3, 1] = math.inf
    assert math.isnan(reach(samples))

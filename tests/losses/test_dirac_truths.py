"""The Dirac-GAN's truths (Mescheder et al. 2018, arXiv 1801.04406, figure 3 and section 3).

The data are the point 0, the generator is the point theta, the discriminator D(x) = psi x. Gradients
are those of our own losses and penalties, by autograd. Steps of h = 0.2, 500 of them, from (1, 1); the
number is the distance from the equilibrium (0, 0) at the end. As in the authors' code the generator
moves first where the two take turns, and the discriminator is high for fakes: their psi = 1 is -1 here.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gansearch.losses import LOSSES, PENALTIES
from gansearch.losses.clipping import Clipping

RATE, STEPS = 0.2, 500


def play(loss, penalty=None, *, alternating, noise=0.0, seed=0):
    """(theta, psi) after each step; `noise` is added to all that the discriminator sees."""
    loss = LOSSES.build(loss, {})
    chance = torch.Generator().manual_seed(seed)
    theta = torch.ones((), dtype=torch.float64, requires_grad=True)
    psi = -torch.ones((), dtype=torch.float64)
    psi.requires_grad_()
    path = []

    def logits():
        """Of real and of fake samples, and the samples."""
        count = 1000 if noise else 1
        draws = noise * torch.randn(2, count, generator=chance, dtype=torch.float64)
        real, fake = draws[0], theta + draws[1]
        return psi * real, psi * fake, real, fake

    def generator():
        real, fake, *_ = logits()
        return torch.autograd.grad(loss.g(real if loss.g_uses_real else None, fake), theta)[0]

    def discriminator():
        real, fake, *samples = logits()
        value = loss.d(real, fake)
        if penalty is not None and not isinstance(penalty, Clipping):
            value = value + penalty(lambda x: psi * x[..., 0], *(s.reshape(-1, 1) for s in samples))
        return torch.autograd.grad(value, psi)[0]

    def move(parameter, gradient):
        parameter -= RATE * gradient

    for _ in range(STEPS):
        gradients = () if alternating else (generator(), discriminator())
        with torch.no_grad():
            move(theta, gradients[0] if gradients else grad_of(generator))
            move(psi, gradients[1] if gradients else grad_of(discriminator))
            if isinstance(penalty, Clipping):
                penalty.constrain([psi])
        path.append((theta.item(), psi.item()))
    return np.array(path)


def grad_of(side):
    with torch.enable_grad():
        return side()


def distance(*args, **kwargs):
    return np.hypot(*play(*args, **kwargs)[-1])


PUBLISHED = [
    ("minimax", None, 3.10, 1.42),
    ("non-saturating", None, 0.64, 0.28),
    ("minimax", ("r1", {"weight": 0.3}), 2.6e-6, 2.3e-7),
]


@pytest.mark.parametrize(("loss", "penalty", "simultaneous", "alternating"), PUBLISHED)
def test_final_distances_are_the_published_ones(loss, penalty, simultaneous, alternating):
    made = penalty and PENALTIES.build(*penalty)
    for turns, expected in ((False, simultaneous), (True, alternating)):
        unit = 10.0 ** (np.floor(np.log10(expected)) - (2 if expected > 1 else 1))
        assert distance(loss, made, alternating=turns) == pytest.approx(expected, abs=0.51 * unit)


def test_wasserstein_with_clipping_goes_round_for_ever():
    """Alternating, with a bound of 1, it ends at the published 1.02."""
    bound = Clipping(bound=1.0)
    assert distance("wasserstein", bound, alternating=True) == pytest.approx(1.02, abs=0.005)
    for turns in (False, True):
        path = play("wasserstein", bound, alternating=turns)
        sizes = np.hypot(*path[-200:].T)
        assert 0.9 < sizes.min() <= sizes.max() < 1.3
        assert np.ptp(np.sign(path[-200:]), axis=0).tolist() == [2, 2], "through all quadrants"


def test_wasserstein_with_a_target_of_the_slope_never_arrives():
    """The penalty wants |psi| = 0.7 and the equilibrium psi = 0: it goes round, at the pace of the code
    written out here.
    """
    penalty = PENALTIES.build("gradient-penalty", {"weight": 0.5, "target": 0.7})
    for turns in (False, True):
        theta, psi = 1.0, -1.0
        for _ in range(STEPS):
            before = psi
            if turns:
                theta += RATE * psi
                before = psi
            psi -= RATE * (theta + (abs(psi) - 0.7) * np.sign(psi))
            if not turns:
                theta += RATE * before
        path = play("wasserstein", penalty, alternating=turns)
        np.testing.assert_allclose(path[-1], [theta, psi], rtol=1e-6)
        assert np.hypot(*path[-200:].T).min() > 0.5


def test_instance_noise_arrives_as_near_as_its_own_noise_lets_it():
    """Published for one draw: 0.019 simultaneous, 0.012 alternating, of 1,000 samples a step."""
    ends = {
        turns: [distance("minimax", alternating=turns, noise=0.7, seed=seed) for seed in range(3)]
        for turns in (False, True)
    }
    assert 0.001 < np.median(ends[False]) < 0.05
    assert 0.001 < np.median(ends[True]) < 0.05


@pytest.mark.parametrize("penalty", ["r1", "r2", "r1-r2", "zero-centred"])
@pytest.mark.parametrize("loss", ["minimax", "non-saturating", "relativistic-paired"])
def test_zero_centred_penalties_arrive(loss, penalty):
    """On a linear discriminator they are all psi^2 times something."""
    weight = {"zero-centred": 0.15, "r1-r2": 0.15}.get(penalty, 0.3)
    made = PENALTIES.build(penalty, {"weight": weight})
    torch.manual_seed(0)
    assert distance(loss, made, alternating=True) < 1e-5
    assert distance(loss, None, alternating=True) > 0.2


def test_one_sample_of_each_kind_makes_both_relativistic_losses_one_game():
    """With a single pair the mean is the other sample, so that average is twice paired."""
    paired = play("relativistic-paired", alternating=False)
    single = [torch.tensor([x], dtype=torch.float64) for x in (0.3, -1.2)]
    average, pair = (LOSSES.build(f"relativistic-{kind}", {}) for kind in ("average", "paired"))
    assert average.d(*single).item() == pytest.approx(2 * pair.d(*single).item())
    assert np.isfinite(paired).all()

"""The Dirac-GAN's truths (Mescheder et al. 2018, arXiv 1801.04406, figure 3 and section 3).

Our own losses and penalties, played as `benchmarks.dirac_distances` says, beside the authors' formulas.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gansearch.losses import LOSSES

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.dirac_distances import GAMES, PUBLISHED, our_distance, ours, theirs

DRAWN = [name for name, game in GAMES.items() if game.noise]


@pytest.mark.parametrize("name", PUBLISHED)
def test_final_distances_are_the_published_ones(name):
    for turns, expected in zip((False, True), PUBLISHED[name], strict=True):
        unit = 10.0 ** (np.floor(np.log10(expected)) - (2 if expected >= 1 else 1))
        assert our_distance(GAMES[name], alternating=turns) == pytest.approx(expected, abs=0.51 * unit)


@pytest.mark.parametrize("name", PUBLISHED)
def test_final_distances_are_those_of_the_authors_formulas(name):
    for turns in (False, True):
        expected = theirs(GAMES[name], alternating=turns)
        assert our_distance(GAMES[name], alternating=turns) == pytest.approx(expected, rel=1e-9)


def test_every_game_is_held_to_the_authors():
    assert PUBLISHED.keys() | set(DRAWN) == GAMES.keys()


@pytest.mark.parametrize("name", DRAWN)
def test_instance_noise_arrives_as_near_as_its_own_noise_lets_it(name):
    """Published is one draw, 0.019 of both at once and 0.012 in turn, of 1,000 samples a step."""
    for turns, published in ((False, 0.019), (True, 0.012)):
        ends = [our_distance(GAMES[name], alternating=turns, seed=seed) for seed in range(5)]
        same = [theirs(GAMES[name], alternating=turns, seed=seed) for seed in range(100)]
        low, high = np.quantile(same, [0.005, 0.995])
        assert low < published < high
        assert low < np.median(ends) < high


def test_wasserstein_with_clipping_goes_round_for_ever():
    for turns in (False, True):
        path = ours("wasserstein", ("clipping", {"bound": 1.0}), alternating=turns)
        sizes = np.hypot(*path[-200:].T)
        assert 0.9 < sizes.min() <= sizes.max() < 1.3
        assert np.ptp(np.sign(path[-200:]), axis=0).tolist() == [2, 2], "through all quadrants"


def test_wasserstein_with_a_target_of_the_slope_never_arrives():
    """The penalty wants |psi| = 1 and the equilibrium psi = 0: it goes round."""
    for turns in (False, True):
        path = ours("wasserstein", GAMES["wasserstein, gradient penalty"].penalty, alternating=turns)
        assert np.hypot(*path[-200:].T).min() > 0.5


@pytest.mark.parametrize("penalty", ["r1", "r2", "r1-r2", "zero-centred"])
@pytest.mark.parametrize("loss", ["minimax", "non-saturating", "relativistic-paired"])
def test_zero_centred_penalties_arrive(loss, penalty):
    """On a linear discriminator they are all psi^2 times something."""
    weight = {"zero-centred": 0.15, "r1-r2": 0.15}.get(penalty, 0.3)
    torch.manual_seed(0)
    assert np.hypot(*ours(loss, (penalty, {"weight": weight}), alternating=True)[-1]) < 1e-5
    assert np.hypot(*ours(loss, alternating=True)[-1]) > 0.2


def test_one_sample_of_each_kind_makes_both_relativistic_losses_one_game():
    """With a single pair the mean is the other sample, so that average is twice paired."""
    single = [torch.tensor([x], dtype=torch.float64) for x in (0.3, -1.2)]
    average, pair = (LOSSES.build(f"relativistic-{kind}", {}) for kind in ("average", "paired"))
    assert average.d(*single).item() == pytest.approx(2 * pair.d(*single).item())
    assert np.isfinite(ours("relativistic-paired", alternating=False)).all()

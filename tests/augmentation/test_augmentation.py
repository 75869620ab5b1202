"""Augmentations: the contract, and what each does against what is written out or counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gansearch.augmentation import AUGMENTATIONS
from gansearch.augmentation.ada import ADA, INTERVAL
from gansearch.augmentation.diffaugment import DiffAugment
from gansearch.losses.draws import Draws
from gansearch.testing import check_augmentation


def images(count=6, channels=3, size=16, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.rand(count, channels, size, size, generator=draws, dtype=torch.float64) * 2 - 1


def seeded(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


class Given:
    """Random numbers that are known: the same one for all images, in turn."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def rand_like(self, like):
        return torch.full_like(like, self.numbers.pop(0))


@pytest.mark.parametrize("name", AUGMENTATIONS.names)
def test_ours_keep_the_contract(name):
    check_augmentation(AUGMENTATIONS.find(name))


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_a_strong_one_keeps_the_contract(p):
    check_augmentation(lambda: ADA(probability=p))


class Global:
    def __call__(self, images, *, draws):
        return images + torch.rand_like(images)


class Mixes:
    def __call__(self, images, *, draws):
        return images - images.mean(0)


class InPlace:
    def __call__(self, images, *, draws):
        return images.mul_(0.5)


class Cut:
    def __call__(self, images, *, draws):
        return images.detach() * 0.5


class Clips:
    """A brightness as of libraries whose images lie in [0, 1]."""

    def __call__(self, images, *, draws):
        return (images + 0.2 * (draws.rand_like(images[:, :1, :1, :1]) - 0.5)).clamp(0, 1)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Clips, r"below 0, as where colours are clipped to \[0, 1\]"),
        (Global, "torch's global generator"),
        (Mixes, "each for itself"),
        (InPlace, "in place"),
        (Cut, "cut off"),
    ],
)
def test_broken_ones_are_caught(broken, message):
    with pytest.raises(AssertionError, match=message):
        check_augmentation(broken)


# DiffAugment, as its authors' code has it, written out in NumPy


def test_colours_are_the_authors():
    x = images().numpy()
    brightness, saturation, contrast = 0.3, 0.8, 0.1
    x = x + (brightness - 0.5)
    mean = x.mean(1, keepdims=True)
    x = (x - mean) * (saturation * 2) + mean
    mean = x.mean((1, 2, 3), keepdims=True)
    x = (x - mean) * (contrast + 0.5) + mean
    augment = DiffAugment(translation=0, cutout=0)
    found = augment(images(), draws=Given(brightness, saturation, contrast))
    np.testing.assert_allclose(found.numpy(), x, rtol=1e-12)


@pytest.mark.parametrize(("down", "right"), [(-2, -2), (0, 1), (2, -1), (1, 2)])
def test_translation_moves_whole_pixels_with_zeros_behind(down, right):
    """At 16 pixels an eighth is 2: a share s of five choices, from -2 to 2."""
    shares = [(shift + 2 + 0.5) / 5 for shift in (down, right)]
    found = DiffAugment(color=False, cutout=0)(images(), draws=Given(*shares))
    padded = np.pad(images().numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)))
    expected = padded[:, :, 2 + down : 18 + down, 2 + right : 18 + right]
    assert np.array_equal(found.numpy(), expected)


def test_cutout_is_a_square_that_may_reach_over_the_edge():
    """At 16 pixels the side is 8 and its middle one of 17 places, as in the authors' code."""
    for place in range(17):
        share = (place + 0.5) / 17
        found = DiffAugment(color=False, translation=0)(images(), draws=Given(share, 0.5))
        rows = [(row, 8) for row in range(16)]
        zero = [row for row, column in rows if not found[0, :, row, column].any()]
        assert zero == [row for row in range(16) if place - 4 <= row < place + 4], place


def test_parts_can_be_left_out():
    still = DiffAugment(color=False, translation=0, cutout=0)
    assert torch.equal(still(images(), draws=seeded()), images())


# ADA


def test_without_probability_nothing_changes():
    assert torch.equal(ADA()(images(), draws=seeded()), images())
    assert not torch.equal(ADA(probability=0.9)(images(), draws=seeded()), images())


def test_changes_come_as_often_as_they_should():
    """With p an image stays as it was with the chance that all of its changes are left out.

    Of geometry: mirrored (or by chance not), a quarter turn (by chance none), shifted, scaled, turned
    (before or after stretching, together with p), stretched, moved.
    """
    p, small = 0.1, images(4000, 1, 4)
    found = ADA(probability=p, color=False)(small, draws=seeded())
    same = torch.isclose(found, small, atol=1e-6).flatten(1).all(1).double().mean().item()
    expected = (1 - p / 2) * (1 - p * 3 / 4) * (1 - p) ** 5
    # A shift of less than half a pixel is none: of 4 pixels an eighth rounds to 0 or, at its end, to 1.
    assert expected * 0.97 < same < expected / (1 - p) ** 2 * 1.03


def test_mirroring_and_quarter_turns_are_exact():
    """Pixel blitting resamples nothing: what comes out is a turned or mirrored image."""
    square = images(1, 2, 8)

    class Only:
        """All changes are left out but those whose turn it is."""

        def __init__(self, turns):
            self.turns, self.calls = turns, 0

        def rand_like(self, like):
            self.calls += 1
            return torch.full_like(like, self.turns.get(self.calls, 0.999))

        def randn_like(self, like):
            return torch.zeros_like(like)

    # Calls in order: one for the shape; mirror's choice and chance; quarter's choice and chance; ...
    mirrored = ADA(probability=0.5, color=False)(square, draws=Only({2: 0.9, 3: 0.0}))
    assert torch.allclose(mirrored, square.flip(3), atol=1e-6)
    turned = ADA(probability=0.5, color=False)(square, draws=Only({4: 0.3, 5: 0.0}))
    candidates = [torch.rot90(square, turns, (2, 3)) for turns in (1, 3)]
    assert any(torch.allclose(turned, candidate, atol=1e-6) for candidate in candidates)


def test_colours_keep_what_they_should():
    """A luma flip and a hue turn keep lengths; a grey image stays grey under hue and saturation."""
    grey = images(500, 1, 4).expand(-1, 3, -1, -1)
    found = ADA(probability=1.0, geometry=False)(grey, draws=seeded())
    assert (found - found.mean(1, keepdim=True)).abs().max() < 1e-9
    assert not torch.allclose(found, grey)
    colourful = ADA(probability=1.0, geometry=False)(images(500), draws=seeded())
    assert (colourful - colourful.mean(1, keepdim=True)).abs().max() > 0.1


def test_the_probability_follows_the_signs():
    augment = ADA(target=0.6, images=1000)
    for _ in range(INTERVAL):
        assert augment.probability == 0
        augment.adapt(torch.ones(10))
    assert augment.probability == pytest.approx(INTERVAL * 10 / 1000)
    for _ in range(INTERVAL):
        augment.adapt(torch.tensor([1.0] * 7 + [-1.0] * 3))  # r = 0.4: it doubts enough
    assert augment.probability == pytest.approx(0)
    twin = ADA(target=0.6, images=1000)
    for _ in range(3 * INTERVAL - 2):
        augment.adapt(torch.ones(10))
    twin.load_state_dict(augment.state_dict())
    for _ in range(2):
        augment.adapt(torch.ones(10)), twin.adapt(torch.ones(10))
    assert twin.probability == augment.probability > 0
    for _ in range(1000):
        augment.adapt(torch.ones(10))
    assert augment.probability == 1
    fixed = ADA(probability=0.3)
    for _ in range(20):
        fixed.adapt(torch.ones(10))
    assert fixed.probability == 0.3

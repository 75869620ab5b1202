"""The penalties against their closed forms for linear critics, where slopes are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gansearch.losses import PENALTIES
from gansearch.losses.clipping import Clipping
from gansearch.losses.consistency import Consistency
from gansearch.losses.dragan import DRAGAN
from gansearch.losses.flat import on_samples
from gansearch.losses.gradient_penalty import GradientPenalty
from gansearch.losses.lecam import LeCam
from gansearch.losses.r1 import R1
from gansearch.losses.r1_r2 import R1R2
from gansearch.losses.r2 import R2
from gansearch.losses.zero_centred import ZeroCentred

WEIGHTED = [name for name in PENALTIES.names if name != "clipping"]
"""All but the one that adds nothing to the loss."""

FLAT = [name for name in PENALTIES.names if getattr(PENALTIES.find(name), "flat", False)]
"""Those for any data."""


def images(*lead, seed=0):
    return torch.randn(*lead, 32, generator=torch.Generator().manual_seed(seed)).double()


def linear(slope):
    return lambda x: (x * slope).sum(-1)


slopes = st.tuples(st.floats(0.01, 5), st.integers(0, 10**6)).map(
    lambda drawn: drawn[0] * images(seed=drawn[1])
)


@settings(max_examples=25, deadline=None)
@given(slope=slopes, weight=st.floats(0, 100))
def test_gradient_penalty_of_a_linear_critic(slope, weight):
    value = GradientPenalty(weight=weight)(linear(slope), images(5), images(5, seed=1))
    torch.testing.assert_close(value, weight * (slope.square().sum().sqrt() - 1) ** 2)


@settings(max_examples=25, deadline=None)
@given(slope=slopes, weight=st.floats(0, 100))
def test_dragan_of_a_linear_critic(slope, weight):
    value = DRAGAN(weight=weight)(linear(slope), images(5), images(5, seed=1))
    torch.testing.assert_close(value, weight * (slope.square().sum().sqrt() - 1) ** 2)


@settings(max_examples=25, deadline=None)
@given(slope=slopes, weight=st.floats(0, 100))
def test_r1_of_a_linear_critic(slope, weight):
    value = R1(weight=weight)(linear(slope), images(5), images(5, seed=1))
    torch.testing.assert_close(value, weight / 2 * slope.square().sum())


def test_r1_of_a_quadratic_critic():
    """D(x) = |x|^2 / 2 has slope x: the penalty is the mean squared length of the real images."""
    real, fake = images(6), images(6, seed=1)
    value = R1(weight=4.0)(lambda x: x.square().sum(-1) / 2, real, fake)
    torch.testing.assert_close(value, 2 * real.flatten(1).square().sum(1).mean())


def test_gradient_penalty_looks_between_real_and_fake():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.sum(-1)

    GradientPenalty()(critic, torch.zeros(500, 32), torch.ones(500, 32))
    share = seen[0].flatten(1)
    assert (share == share[:, :1]).all()  # one draw for an image, not one for a pixel
    assert share.min() < 0.05
    assert share.max() > 0.95
    assert share.mean() == pytest.approx(0.5, abs=0.06)


def test_dragan_looks_around_the_real_images_and_nowhere_else():
    """Uniform noise times a uniform share of half the batch's standard deviation, as its authors draw
    it: the mean offset is s/2 * 1/4, its mean square (s/2)^2 * 1/9.
    """
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.sum(-1)

    real = images(3, 4000) * torch.tensor([1.0, 2.0, 0.0]).double().view(3, 1, 1)
    torch.manual_seed(0)
    DRAGAN()(critic, real, torch.full_like(real, torch.nan))
    for replica, offset in zip(real, seen[0] - real, strict=True):
        half = replica.numpy().std() / 2
        assert 0 <= offset.min() <= offset.max() <= half
        assert offset.mean().item() == pytest.approx(half / 4, rel=0.02, abs=1e-12)
        assert offset.square().mean().item() == pytest.approx(half**2 / 9, rel=0.03, abs=1e-12)
    offset = (seen[0] - real)[0].flatten(1)
    shares = offset.max(1).values  # of one image: pixels share what bounds them
    assert (offset / shares[:, None]).mean().item() == pytest.approx(33 / 2 / 32, abs=0.01)
    assert offset.unique().numel() == offset.numel(), "one draw for each pixel"


class Constant:
    """Draws that are all the same."""

    def __init__(self, value):
        self.value = value

    def rand_like(self, like):
        return torch.full_like(like, self.value)


def test_dragan_goes_half_a_standard_deviation_of_the_batch_at_most():
    """That of all numbers of the batch as its authors take it (NumPy's, divided by their count)."""
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.sum(-1)

    real = images(2)
    DRAGAN()(critic, real, real, draws=Constant(1.0))
    expected = real.numpy() + real.numpy().std() / 2
    np.testing.assert_allclose(seen[0].numpy(), expected, rtol=1e-12)


def test_dragan_of_a_curved_critic():
    """D(x) = |x|^2 / 2 has slope x: the penalty is of the lengths of the points it looked at."""
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.square().sum(-1) / 2

    value = DRAGAN(weight=3.0)(critic, images(50), images(50, seed=1))
    lengths = seen[0].flatten(1).numpy()
    assert value.item() == pytest.approx(3 * np.mean((np.linalg.norm(lengths, axis=1) - 1) ** 2))


@pytest.mark.parametrize("bound", [0.01, 0.3])
def test_clipping_is_numpys(bound):
    shapes = [(3, 4), (7,), (), (2, 3, 4, 4)]
    parameters = [torch.nn.Parameter(torch.randn(shape) * 0.2) for shape in shapes]
    expected = [np.clip(p.detach().numpy(), -bound, bound) for p in parameters]
    with torch.no_grad():
        Clipping(bound=bound).constrain(parameters)
    for parameter, clipped in zip(parameters, expected, strict=True):
        np.testing.assert_array_equal(parameter.detach().numpy(), clipped)
        assert parameter.requires_grad


def test_clipping_adds_nothing_and_hides_nothing():
    value = Clipping()(linear(images(seed=3)), images(3, 5), images(3, 5, seed=1))
    assert value.tolist() == [0, 0, 0]
    broken = [torch.tensor([float("nan"), 1.0])]
    Clipping().constrain(broken)
    assert broken[0].isnan().tolist() == [True, False]


def test_bounds_of_clipping():
    (problem,) = PENALTIES.check("clipping", {"bound": 0})
    assert problem[0] == ("bound",)
    assert PENALTIES.options("clipping")().bound == 0.01  # Arjovsky et al. 2017, algorithm 1


@pytest.mark.parametrize("name", [name for name in WEIGHTED if name in FLAT])
def test_differentiable_in_the_critic(name):
    """The gradient by the slope's length agrees with a finite difference."""
    penalty, direction = PENALTIES.build(name, {}), images(seed=3)

    def at(length):
        torch.manual_seed(0)
        return penalty(linear(length * direction), images(5), images(5, seed=1))

    length = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(at(length), length)
    step = torch.tensor(1e-6, dtype=torch.float64)
    numeric = (at(length.detach() + step) - at(length.detach() - step)) / (2 * step)
    torch.testing.assert_close(slope, numeric, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FLAT)
def test_leading_axes_equal_a_loop(name):
    penalty, slope = PENALTIES.build(name, {}), images(seed=3)
    real, fake = images(3, 2, 5), images(3, 2, 5, seed=1)
    value = penalty(linear(slope), real, fake)
    assert value.shape == (3, 2)
    for row in range(3):
        for column in range(2):
            alone = penalty(linear(slope), real[row, column], fake[row, column])
            torch.testing.assert_close(value[row, column], alone)


@pytest.mark.parametrize("name", [name for name in WEIGHTED if name in FLAT])
def test_a_flat_critic_gives_no_nan(name):
    """A critic that ignores its input has slope 0, where the norm has no derivative."""
    flat = torch.zeros(32, dtype=torch.float64, requires_grad=True)
    value = PENALTIES.build(name, {})(linear(flat), images(5), images(5, seed=1))
    (slope,) = torch.autograd.grad(value, flat)
    assert value == {"gradient-penalty": 10.0, "dragan": 10.0}.get(name, 0.0)
    assert slope.isfinite().all()


@pytest.mark.parametrize("name", [name for name in WEIGHTED if name in FLAT])
def test_images_get_no_gradient_and_keep_theirs(name):
    real, fake = images(5), images(5, seed=1).requires_grad_()
    slope = images(seed=3).requires_grad_()
    PENALTIES.build(name, {})(linear(slope), real, fake).backward()
    assert fake.grad is None
    assert not real.requires_grad
    assert slope.grad is not None


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_negative_weight_is_refused(name):
    (problem,) = PENALTIES.check(name, {"weight": -1})
    assert problem[0] == ("weight",)
    assert PENALTIES.check(name, {"weight": 0}) == []


# What came later


@settings(max_examples=25, deadline=None)
@given(slope=slopes, weight=st.floats(0, 100), target=st.floats(0, 3))
def test_gradient_penalty_of_another_target(slope, weight, target):
    penalty = GradientPenalty(weight=weight, target=target)
    value = penalty(linear(slope), images(5), images(5, seed=1))
    torch.testing.assert_close(value, weight * (slope.square().sum().sqrt() - target) ** 2)


def quadratic(x):
    """D(x) = |x|^2 / 2, whose slope is x."""
    return x.square().sum(-1) / 2


def squared(x):
    return x.square().sum(-1).mean()


def test_r2_and_both_of_a_quadratic_critic():
    real, fake = images(6), 3 * images(6, seed=1)
    torch.testing.assert_close(R2(weight=4.0)(quadratic, real, fake), 2 * squared(fake))
    both = R1R2(weight=4.0)(quadratic, real, fake)
    torch.testing.assert_close(both, 2 * (squared(real) + squared(fake)))


def test_zero_centred_of_a_quadratic_critic():
    """Between 0 and a point f the slope is u f with u uniform, and E[u^2] = 1/3."""
    fake = images(1).expand(200_000, -1)
    value = ZeroCentred(weight=6.0)(quadratic, torch.zeros_like(fake), fake)
    assert value.item() == pytest.approx(2 * squared(fake).item(), rel=0.01)


def test_lecam_is_its_equation_with_averages_written_out():
    penalty, generator = LeCam(weight=0.5, decay=0.9), torch.Generator().manual_seed(0)
    mean_real = mean_fake = 0.0
    for _ in range(7):
        real, fake = torch.randn(2, 5, dtype=torch.float64, generator=generator)
        value = penalty(lambda x: x[..., 0], real[:, None], fake[:, None])
        r, f = real.numpy(), fake.numpy()
        expected = 0.5 * (((r - mean_fake) ** 2).mean() + ((f - mean_real) ** 2).mean())
        assert value.item() == pytest.approx(expected, rel=1e-6)
        penalty.observe(real, fake)
        mean_real = 0.9 * mean_real + 0.1 * r.mean()
        mean_fake = 0.9 * mean_fake + 0.1 * f.mean()
    twin = LeCam(weight=0.5, decay=0.9)
    twin.load_state_dict(penalty.state_dict())
    at = images(4), 2 * images(4, seed=1)  # each side has an average of its own
    assert torch.equal(twin(quadratic, *at), penalty(quadratic, *at))
    learnt = torch.ones(3, requires_grad=True)
    twin.observe(learnt, 2 * learnt)
    assert not any(average.requires_grad for average in twin.state_dict().values())


def pictures(count, height=6, width=6, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, height, width, dtype=torch.float64, generator=draws)


def looked_at(height=6, width=6, **options):
    """Images and what the penalty makes of them."""
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.flatten(-3).sum(-1)

    real = pictures(400, height, width)
    torch.manual_seed(0)
    Consistency(**options)(critic, real, real)
    return real, seen[1]


@pytest.mark.parametrize(("height", "width"), [(6, 6), (5, 7)])
def test_consistency_moves_by_whole_pixels_and_mirrors(height, width):
    real, changed = looked_at(height, width, shift=2)
    padded = np.pad(real.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    counts = {}
    for image, (before, after) in enumerate(zip(padded, changed.numpy(), strict=True)):
        found = [
            (down, right, mirror)
            for down in range(5)
            for right in range(5)
            for mirror in (1, -1)
            if np.array_equal(
                before[:, down : down + height, right : right + width][..., ::mirror], after
            )
        ]
        assert found, image
        counts[found[0]] = counts.get(found[0], 0) + 1
    assert len(counts) == 50, "all of them, sooner or later"
    assert max(counts.values()) < 25


def test_consistency_of_an_image_smaller_than_its_shift():
    """It is moved as far as an edge may be mirrored: one pixel less than its side."""
    real, changed = looked_at(3, 4, shift=64, mirror=False)
    padded = np.pad(real.numpy(), ((0, 0), (0, 0), (2, 2), (3, 3)), mode="reflect")
    places = {
        (down, right)
        for before, after in zip(padded, changed.numpy(), strict=True)
        for down in range(5)
        for right in range(7)
        if np.array_equal(before[:, down : down + 3, right : right + 4], after)
    }
    assert len(places) == 35


def test_consistency_leaves_what_it_may_not_change():
    real, changed = looked_at(shift=0, mirror=False)
    assert torch.equal(real, changed)
    _, changed = looked_at(shift=3, mirror=False)
    assert not torch.equal(real, changed)


def test_consistency_is_the_mean_square_of_what_the_logits_move():
    column = torch.arange(6.0).double()

    def critic(x):
        return (x[..., 0, :, :] * column).sum((-1, -2))

    real, fake = pictures(50), pictures(50, seed=1)
    torch.manual_seed(0)
    value = Consistency(weight=3.0, fake=0.5, shift=0)(critic, real, fake)
    moved = [critic(x) - critic(x.flip(-1)) for x in (real, fake)]
    # Half of the images are mirrored; the others do not move.
    rough = 3 * moved[0].square().mean() / 2 + 0.5 * moved[1].square().mean() / 2
    assert value.item() == pytest.approx(rough.item(), rel=0.4)
    assert Consistency(weight=3.0, shift=0, mirror=False)(critic, real, fake) == 0


def test_consistency_of_each_side_is_weighted_by_its_own():
    """Every image mirrored, as by a draw of one half or more."""

    column = torch.arange(6.0).double().requires_grad_()

    def critic(x):
        return (x[..., 0, :, :] * column).sum((-1, -2))

    real, fake = pictures(20), pictures(20, seed=1)
    real.requires_grad_()
    penalty, draws = Consistency(weight=3.0, fake=0.5, shift=0), Constant(0.9)
    value = penalty(critic, real, fake, draws=draws)
    moved = [(x[:, 0] - x[:, 0].flip(-1)).sum(1) @ column for x in (real.detach(), fake)]
    expected = 3 * moved[0].square().mean() + 0.5 * moved[1].square().mean()
    torch.testing.assert_close(value, expected)
    found, theirs = (torch.autograd.grad(v, column, retain_graph=True)[0] for v in (value, expected))
    torch.testing.assert_close(found, theirs)
    (into,) = torch.autograd.grad(value, real, allow_unused=True)
    assert into is None


def test_a_flat_penalty_is_given_either_side_as_it_is():
    """Rows of numbers for the penalty, images for the critic."""
    real, fake = pictures(5), 3 * pictures(5, seed=1)

    def critic(x):
        assert x.shape[1:] == (2, 6, 6)
        return x.square().sum((-1, -2, -3)) / 2

    for penalty, side in ((R1(weight=2.0), real), (R2(weight=2.0), fake)):
        value = on_samples(penalty, flat=True)(critic, real, fake)
        torch.testing.assert_close(value, squared(side.flatten(1)))

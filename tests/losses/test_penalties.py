"""The penalties against their closed forms for linear critics, where slopes are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gansearch.losses import PENALTIES
from gansearch.losses.clipping import Clipping
from gansearch.losses.dragan import DRAGAN
from gansearch.losses.gradient_penalty import GradientPenalty
from gansearch.losses.r1 import R1

WEIGHTED = [name for name in PENALTIES.names if name != "clipping"]
"""All but the one that adds nothing to the loss."""


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


@pytest.mark.parametrize("name", WEIGHTED)
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


@pytest.mark.parametrize("name", PENALTIES.names)
def test_leading_axes_equal_a_loop(name):
    penalty, slope = PENALTIES.build(name, {}), images(seed=3)
    real, fake = images(3, 2, 5), images(3, 2, 5, seed=1)
    value = penalty(linear(slope), real, fake)
    assert value.shape == (3, 2)
    for row in range(3):
        for column in range(2):
            alone = penalty(linear(slope), real[row, column], fake[row, column])
            torch.testing.assert_close(value[row, column], alone)


@pytest.mark.parametrize("name", WEIGHTED)
def test_a_flat_critic_gives_no_nan(name):
    """A critic that ignores its input has slope 0, where the norm has no derivative."""
    flat = torch.zeros(32, dtype=torch.float64, requires_grad=True)
    value = PENALTIES.build(name, {})(linear(flat), images(5), images(5, seed=1))
    (slope,) = torch.autograd.grad(value, flat)
    assert value == {"gradient-penalty": 10.0, "dragan": 10.0, "r1": 0.0}[name]
    assert slope.isfinite().all()


@pytest.mark.parametrize("name", WEIGHTED)
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

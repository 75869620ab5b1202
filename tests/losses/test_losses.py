"""The adversarial losses against their equations, written out again in numpy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gansearch.losses import LOSSES

NAMES = LOSSES.names


def log_sigmoid(x):
    return np.log(1 / (1 + np.exp(-x)))


def hinge(x):
    return np.where(x > 0, x, 0)


# The papers' equations as they are printed, not as the code has them.
EQUATIONS = {
    "minimax": (
        lambda r, f: -log_sigmoid(r).mean() - np.log(1 - np.exp(log_sigmoid(f))).mean(),
        lambda f: np.log(1 - np.exp(log_sigmoid(f))).mean(),
    ),
    "non-saturating": (
        lambda r, f: -log_sigmoid(r).mean() - np.log(1 - np.exp(log_sigmoid(f))).mean(),
        lambda f: -log_sigmoid(f).mean(),
    ),
    "hinge": (
        lambda r, f: hinge(1 - r).mean() + hinge(1 + f).mean(),
        lambda f: -f.mean(),
    ),
    "least-squares": (
        lambda r, f: 0.5 * ((r - 1) ** 2).mean() + 0.5 * (f**2).mean(),
        lambda f: 0.5 * ((f - 1) ** 2).mean(),
    ),
    "wasserstein": (
        lambda r, f: f.mean() - r.mean(),
        lambda f: -f.mean(),
    ),
}

DECISIONS = {
    "minimax": 0.0,
    "non-saturating": 0.0,
    "hinge": 0.0,
    "least-squares": 0.5,
    "wasserstein": None,
}


def logits(shape, bound=10.0):
    return hnp.arrays(np.float64, shape, elements=st.floats(-bound, bound))


def test_every_loss_is_checked_here():
    assert set(NAMES) == set(EQUATIONS) == set(DECISIONS)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(real=logits(6), fake=logits(6))
def test_equals_its_equation(name, real, fake):
    loss, (d, g) = LOSSES.build(name, {}), EQUATIONS[name]
    tensors = torch.from_numpy(real), torch.from_numpy(fake)
    np.testing.assert_allclose(loss.d(*tensors).numpy(), d(real, fake), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(loss.g(None, tensors[1]).numpy(), g(fake), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(shape=hnp.array_shapes(min_dims=2, max_dims=4, max_side=4), data=st.data())
def test_leading_axes_equal_a_loop(name, shape, data):
    loss = LOSSES.build(name, {})
    real = torch.from_numpy(data.draw(logits(shape)))
    fake = torch.from_numpy(data.draw(logits(shape)))
    d, g = loss.d(real, fake), loss.g(None, fake)
    assert d.shape == g.shape == shape[:-1]
    for index in np.ndindex(*shape[:-1]):
        torch.testing.assert_close(d[index], loss.d(real[index], fake[index]))
        torch.testing.assert_close(g[index], loss.g(None, fake[index]))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(real=logits(5, bound=0.4), fake=logits(5, bound=0.4))
def test_gradients_pull_the_logits_the_right_way(name, real, fake):
    """The discriminator raises real logits and lowers fake ones; the generator raises fake ones."""
    loss = LOSSES.build(name, {})
    real = torch.from_numpy(real).requires_grad_()
    # Near its targets least squares turns round: keep fake logits above 0 and both below 1.
    fake = (torch.from_numpy(fake).abs() + 0.01).requires_grad_()
    by_real, by_fake = torch.autograd.grad(loss.d(real, fake), (real, fake))
    (g_by_fake,) = torch.autograd.grad(loss.g(None, fake), fake)
    assert (by_real < 0).all()
    assert (by_fake > 0).all()
    assert (g_by_fake < 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e2, 1e4, 1e8])
def test_finite_at_large_logits(name, size):
    loss = LOSSES.build(name, {})
    for sign in (-1.0, 1.0):
        real = torch.full((4,), sign * size, requires_grad=True)
        fake = torch.full((4,), -sign * size, requires_grad=True)
        total = loss.d(real, fake) + loss.g(None, fake)
        slopes = torch.autograd.grad(total, (real, fake))
        assert total.isfinite()
        assert all(slope.isfinite().all() for slope in slopes)


def test_minimax_saturates_and_non_saturating_does_not():
    sure = torch.full((3,), -30.0, requires_grad=True)  # the discriminator is sure: these are fake
    slopes = {
        name: torch.autograd.grad(LOSSES.build(name, {}).g(None, sure), sure)[0].abs().sum()
        for name in ("minimax", "non-saturating")
    }
    assert slopes["minimax"] < 1e-12
    assert slopes["non-saturating"] == pytest.approx(1.0)


@pytest.mark.parametrize("name", NAMES)
def test_decision_is_where_the_discriminator_is_undecided(name):
    loss = LOSSES.build(name, {})
    assert loss.decision == DECISIONS[name]
    assert loss.g_uses_real is False
    if loss.decision is not None:  # there a real and a fake sample pull equally and oppositely
        real, fake = (torch.tensor([loss.decision], requires_grad=True) for _ in range(2))
        by_real, by_fake = torch.autograd.grad(loss.d(real, fake), (real, fake))
        assert by_real == -by_fake


def test_reading_the_registry_does_not_import_torch():
    rooms = "gansearch.losses, gansearch.networks, gansearch.data"
    code = f"import sys, {rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

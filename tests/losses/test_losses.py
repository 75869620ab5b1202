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

from gansearch.losses import ADVERSARIAL, LOSSES
from gansearch.losses.draws import Draws

NAMES = ADVERSARIAL


def log_sigmoid(x):
    return np.log(1 / (1 + np.exp(-x)))


def hinge(x):
    return np.where(x > 0, x, 0)


# The papers' equations as they are printed, not as the code has them.
EQUATIONS = {
    "minimax": (
        lambda r, f: -log_sigmoid(r).mean() - np.log(1 - np.exp(log_sigmoid(f))).mean(),
        lambda r, f: np.log(1 - np.exp(log_sigmoid(f))).mean(),
    ),
    "non-saturating": (
        lambda r, f: -log_sigmoid(r).mean() - np.log(1 - np.exp(log_sigmoid(f))).mean(),
        lambda r, f: -log_sigmoid(f).mean(),
    ),
    "hinge": (
        lambda r, f: hinge(1 - r).mean() + hinge(1 + f).mean(),
        lambda r, f: -f.mean(),
    ),
    "least-squares": (
        lambda r, f: 0.5 * ((r - 1) ** 2).mean() + 0.5 * (f**2).mean(),
        lambda r, f: 0.5 * ((f - 1) ** 2).mean(),
    ),
    "wasserstein": (
        lambda r, f: f.mean() - r.mean(),
        lambda r, f: -f.mean(),
    ),
    "relativistic-average": (
        lambda r, f: (
            -log_sigmoid(r - f.mean()).mean() - np.log(1 - np.exp(log_sigmoid(f - r.mean()))).mean()
        ),
        lambda r, f: (
            -np.log(1 - np.exp(log_sigmoid(r - f.mean()))).mean() - log_sigmoid(f - r.mean()).mean()
        ),
    ),
    "relativistic-paired": (
        lambda r, f: -log_sigmoid(r - f).mean(),
        lambda r, f: -log_sigmoid(f - r).mean(),
    ),
}

DECISIONS = {
    "minimax": 0.0,
    "non-saturating": 0.0,
    "hinge": 0.0,
    "least-squares": 0.5,
    "wasserstein": None,
    "relativistic-average": None,
    "relativistic-paired": None,
}

RELATIVISTIC = {"relativistic-average", "relativistic-paired"}


def g_loss(loss, real, fake):
    """As the trainer calls it."""
    return loss.g(real if loss.g_uses_real else None, fake)


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
    np.testing.assert_allclose(g_loss(loss, *tensors).numpy(), g(real, fake), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(shape=hnp.array_shapes(min_dims=2, max_dims=4, max_side=4), data=st.data())
def test_leading_axes_equal_a_loop(name, shape, data):
    loss = LOSSES.build(name, {})
    real = torch.from_numpy(data.draw(logits(shape)))
    fake = torch.from_numpy(data.draw(logits(shape)))
    d, g = loss.d(real, fake), g_loss(loss, real, fake)
    assert d.shape == g.shape == shape[:-1]
    for index in np.ndindex(*shape[:-1]):
        torch.testing.assert_close(d[index], loss.d(real[index], fake[index]))
        torch.testing.assert_close(g[index], g_loss(loss, real[index], fake[index]))


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
    (g_by_fake,) = torch.autograd.grad(g_loss(loss, real, fake), fake)
    assert (by_real < 0).all()
    assert (by_fake > 0).all()
    assert (g_by_fake < 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_equation(name):
    """By every logit, also where one stands in another's average."""
    loss, (d, g) = LOSSES.build(name, {}), EQUATIONS[name]
    logits = np.random.default_rng(0).normal(size=(2, 5))
    sides = [torch.from_numpy(side).requires_grad_() for side in logits]
    for value, equation in ((loss.d(*sides), d), (g_loss(loss, *sides), g)):
        slopes = torch.autograd.grad(value, sides, allow_unused=True)
        for side, slope in enumerate(slopes):
            for place in range(5):
                step = np.zeros((2, 5))
                step[side, place] = 1e-6
                numeric = (equation(*(logits + step)) - equation(*(logits - step))) / 2e-6
                found = 0.0 if slope is None else slope[place].item()
                assert found == pytest.approx(numeric, abs=1e-8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e2, 1e4, 1e8])
def test_finite_at_large_logits(name, size):
    loss = LOSSES.build(name, {})
    for sign in (-1.0, 1.0):
        real = torch.full((4,), sign * size, requires_grad=True)
        fake = torch.full((4,), -sign * size, requires_grad=True)
        total = loss.d(real, fake) + g_loss(loss, real, fake)
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
    assert loss.g_uses_real is (name in RELATIVISTIC)
    if loss.decision is not None:  # there a real and a fake sample pull equally and oppositely
        real, fake = (torch.tensor([loss.decision], requires_grad=True) for _ in range(2))
        by_real, by_fake = torch.autograd.grad(loss.d(real, fake), (real, fake))
        assert by_real == -by_fake


def labelled(logits, label):
    """The cross-entropy of one label, from a probability."""
    p = 1 / (1 + np.exp(-logits))
    return -label * np.log(p) - (1 - label) * np.log(1 - p)


@pytest.mark.parametrize("name", ["minimax", "non-saturating"])
@settings(max_examples=25, deadline=None)
@given(real=logits(6), fake=logits(6), smoothing=st.floats(0, 0.4))
def test_one_sided_smoothing_is_a_lower_label_of_real_samples(name, real, fake, smoothing):
    loss = LOSSES.build(name, {"smoothing": smoothing})
    expected = labelled(real, 1 - smoothing).mean() + labelled(fake, 0).mean()
    value = loss.d(torch.from_numpy(real), torch.from_numpy(fake)).item()
    assert value == pytest.approx(expected, rel=1e-8, abs=1e-8)
    plain = LOSSES.build(name, {})
    assert torch.equal(loss.g(None, torch.from_numpy(fake)), plain.g(None, torch.from_numpy(fake)))


def test_an_undecided_discriminator_of_smoothed_labels_has_the_loss_s_decision():
    """Where real and fake samples are alike the best logit is that of half of a real label."""
    loss = LOSSES.build("non-saturating", {"smoothing": 0.2})
    at = torch.tensor([loss.decision], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss.d(at, at), at)
    assert slope.item() == pytest.approx(0, abs=1e-12)
    assert torch.sigmoid(at).item() == pytest.approx(0.4)


def test_flipped_labels_are_the_wrong_ones_for_their_share():
    loss = LOSSES.build("minimax", {"flipping": 0.2, "smoothing": 0.1})
    real, fake = torch.randn(
        2, 100_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ) + torch.tensor([[1.0], [-2.0]])  # about 0 a label and its opposite would cost as much
    drawn = loss.d(real, fake, draws=Draws(torch.Generator().manual_seed(1)))
    again = loss.d(real, fake, draws=Draws(torch.Generator().manual_seed(1)))
    assert torch.equal(drawn, again)
    assert drawn != loss.d(real, fake, draws=Draws(torch.Generator().manual_seed(2)))
    r, f = real.numpy(), fake.numpy()
    of_real = 0.8 * labelled(r, 0.9) + 0.2 * labelled(r, 0)
    of_fake = 0.8 * labelled(f, 0) + 0.2 * labelled(f, 0.9)
    expected = of_real.mean() + of_fake.mean()
    assert loss.d(real, fake).item() == pytest.approx(expected, rel=1e-10)
    assert drawn.item() == pytest.approx(expected, rel=0.01)


def test_without_options_labels_are_the_papers():
    real, fake = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    plain, said = LOSSES.build("minimax", {}), LOSSES.build("minimax", {"smoothing": 0, "flipping": 0})
    assert torch.equal(plain.d(real, fake), said.d(real, fake))
    assert LOSSES.options("minimax")().model_dump() == {}, (
        "a configuration of before is written as before"
    )
    assert LOSSES.options("minimax")(smoothing=0.1).model_dump() == {"smoothing": 0.1}


def test_a_relativistic_critic_sees_differences_alone():
    """The same shift of all logits changes nothing, and pairs matter only where they are compared."""
    real, fake = torch.randn(2, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for name in RELATIVISTIC:
        loss = LOSSES.build(name, {})
        for method in (loss.d, loss.g):
            torch.testing.assert_close(method(real + 5, fake + 5), method(real, fake))
        mixed = loss.d(real, fake.flip(0)).item()
        assert (mixed == pytest.approx(loss.d(real, fake).item())) == (name == "relativistic-average")


def test_reading_the_registry_does_not_import_torch():
    rooms = "gansearch.losses, gansearch.networks, gansearch.data"
    code = f"import sys, {rooms}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

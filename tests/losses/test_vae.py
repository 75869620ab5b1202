"""The variational autoencoder's loss against closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Bernoulli, Laplace, Normal, kl_divergence

from gansearch.losses.vae import VAE, divergence


def test_the_divergence_is_that_of_two_normals():
    mean, log_variance = torch.randn(5, 3).double(), torch.randn(5, 3).double()
    theirs = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(divergence(mean, log_variance), theirs)


@pytest.mark.parametrize(
    ("likelihood", "density"),
    [("gaussian", lambda x: Normal(x, 0.3)), ("laplace", lambda x: Laplace(x, 0.3))],
)
def test_reconstructions_are_densities(likelihood, density):
    samples, decoded = torch.randn(4, 2, 3).double(), torch.randn(4, 2, 3).double()
    zero = torch.zeros(4, 1).double()
    found = VAE(likelihood=likelihood, std=0.3)(samples, decoded, zero, zero)
    theirs = -density(decoded).log_prob(samples).flatten(1).sum(1).mean()
    torch.testing.assert_close(found.reconstruction, theirs)
    assert found.kl == 0


def test_a_bernoulli_is_one_of_pixels():
    samples, decoded = (2 * torch.rand(4, 1, 3, 3).double() - 1).sign(), torch.rand(4, 1, 3, 3).double()
    zero = torch.zeros(4, 1).double()
    found = VAE(likelihood="bernoulli")(samples, decoded, zero, zero).reconstruction
    theirs = -Bernoulli((decoded + 1) / 2).log_prob((samples + 1) / 2).flatten(1).sum(1).mean()
    torch.testing.assert_close(found, theirs)
    far = VAE(likelihood="bernoulli")(-torch.ones(2, 3), torch.ones(2, 3), zero[:2], zero[:2])
    assert far.reconstruction.item() == pytest.approx(41.4, abs=0.1), "a tanh reaches its ends"


def test_both_sides_are_means_over_the_batch():
    samples, decoded = torch.randn(2, 6, 5).double()
    mean, log_variance = torch.randn(2, 6, 3).double()
    vae = VAE(std=0.5)
    sides = samples, decoded, mean, log_variance
    each = [vae(*(side[i : i + 1] for side in sides)) for i in range(6)]
    whole = vae(*sides)
    for side in ("reconstruction", "kl"):
        alone = torch.stack([getattr(one, side) for one in each])
        torch.testing.assert_close(getattr(whole, side), alone.mean())


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
def test_without_a_scale_it_is_the_best_for_the_batch(likelihood):
    samples, decoded, zero = torch.randn(8, 5), torch.randn(8, 5), torch.zeros(8, 1)
    best = VAE(likelihood=likelihood)(samples, decoded, zero, zero).reconstruction
    scales = np.geomspace(0.2, 5, 400)
    others = [VAE(likelihood=likelihood, std=s)(samples, decoded, zero, zero)[0] for s in scales]
    assert best <= min(others) + 1e-5
    assert best == pytest.approx(float(min(others)), abs=1e-3)


def test_the_bound_is_tight_where_the_posterior_is_exact():
    """Of a linear decoder with normal noise the posterior is known, and the bound is log p(x) itself.

    Its expectation is over a quadratic function of the noise, which a few points of Gauss and Hermite
    integrate exactly.
    """
    weights, std = torch.tensor([1.5, -0.4]).double(), 0.7
    x = torch.tensor([[0.3, -1.2]]).double()
    covariance = np.diag(weights.numpy() ** 2 + std**2)
    evidence = stats.multivariate_normal(np.zeros(2), covariance).logpdf(x[0].numpy())
    precision = 1 + weights**2 / std**2
    mean, log_variance = x * weights / std**2 / precision, -precision.log().expand(1, 2)
    vae, nodes = VAE(std=std), np.polynomial.hermite_e.hermegauss(3)
    bound = 0.0
    for (a, p), (b, q) in itertools.product(zip(*nodes, strict=True), repeat=2):
        noise = torch.tensor([[a, b]]).double()
        decoded = (mean + (log_variance / 2).exp() * noise) * weights
        bound -= float(vae.loss(vae(x, decoded, mean, log_variance))) * p * q / (2 * math.pi)
    assert bound == pytest.approx(evidence, abs=1e-12)
    heavier = VAE(std=std, beta=3)
    elbo = heavier(x, x, mean, log_variance)
    assert heavier.loss(elbo) == elbo.reconstruction + 3 * elbo.kl


def test_a_bernoulli_has_no_scale():
    with pytest.raises(ValueError, match="std: a bernoulli likelihood has none"):
        VAE(likelihood="bernoulli", std=1.0)

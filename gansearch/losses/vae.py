"""The variational autoencoder's loss: the baseline of a study of GANs."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

SMALLEST = 1e-6
"""How near to 0 and 1 a pixel's probability may come: in float32 a tanh reaches its ends."""

Likelihood = Literal["gaussian", "laplace", "bernoulli"]


class Elbo(NamedTuple):
    """The two sides of the evidence lower bound, each a mean over the samples of a batch, in nats.

    Attributes:
        reconstruction: -log p(x | z) -> [].
        kl: KL(q(z | x) || p(z)) -> [].
    """

    reconstruction: Tensor
    kl: Tensor


class VAE:
    """The negative evidence lower bound, in place of a game: the baseline of a study of GANs.

    Kingma and Welling 2014 (arXiv 1312.6114), equation 10, where beta is 1; Higgins et al. 2017 for
    others: E[-log p(x | z)] + beta KL(q(z | x) || p(z)). p(z) is a standard normal, q(z | x) a normal
    with a diagonal covariance. The generator is the decoder. The encoder is the network of
    `discriminator`, with 2 latent_size numbers in the place of its logit; both learn at once, each with
    its own side's optimizer.

    Args:
        beta: the weight of the divergence.
        likelihood: what p(x | z) is: independent normals or Laplace distributions around what the
            decoder makes; or, of images alone, `bernoulli`, which takes a pixel from -1 to 1 for a
            probability from 0 to 1, and fits black and white ones.
        std: the standard deviation of `gaussian`, the scale of `laplace`, where images are from -1 to 1
            and points divided by their scale. None: what fits each batch best (Rybkin et al. 2021,
            arXiv 2006.13202), which needs no beta to balance it.
        lr: learning rate of both networks; None: those of `optimizer`. It is for studies that search
            GANs beside it, whose best rates are others.

    Raises:
        ValueError: a `std` of the likelihood `bernoulli`, which has none.
    """

    variational: ClassVar[bool] = True

    def __init__(
        self,
        *,
        beta: Annotated[float, Field(gt=0)] = 1.0,
        likelihood: Likelihood = "gaussian",
        std: Annotated[float, Field(gt=0)] | None = None,
        lr: Annotated[float, Field(gt=0)] | None = None,
    ) -> None:
        if likelihood == "bernoulli" and std is not None:
            raise ValueError("std: a bernoulli likelihood has none: drop it, or take gaussian")
        self.beta, self.likelihood, self.std, self.lr = beta, likelihood, std, lr

    def __call__(self, samples: Tensor, decoded: Tensor, mean: Tensor, log_variance: Tensor) -> Elbo:
        """The two sides for a batch.

        Args:
            samples: [B, ...], as the networks see them.
            decoded: [B, ...], what the decoder makes of a latent drawn from each one's q.
            mean: [B, L], of q.
            log_variance: [B, L], the logarithm of q's variances.
        """
        return Elbo(self._reconstruction(samples, decoded), divergence(mean, log_variance).mean())

    def loss(self, elbo: Elbo) -> Tensor:
        """What is minimised -> []: the reconstruction's side, and the divergence times beta."""
        return elbo.reconstruction + self.beta * elbo.kl

    def _reconstruction(self, samples: Tensor, decoded: Tensor) -> Tensor:
        dimensions = samples[0].numel()
        if self.likelihood == "bernoulli":
            share = ((decoded + 1) / 2).clamp(SMALLEST, 1 - SMALLEST)
            return binary_cross_entropy(share, (samples + 1) / 2, reduction="sum") / len(samples)
        error = samples - decoded
        if self.likelihood == "laplace":
            distance = error.abs().mean()
            scale = distance if self.std is None else distance.new_tensor(self.std)
            return dimensions * (torch.log(2 * scale) + distance / scale)
        square = error.square().mean()
        variance = square if self.std is None else square.new_tensor(self.std**2)
        return dimensions / 2 * (torch.log(2 * math.pi * variance) + square / variance)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)), summed over the last axis: [..., L] twice -> [...]."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1) / 2

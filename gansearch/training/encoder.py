"""The encoder of a variational autoencoder: the network of `discriminator` with another last layer."""

from __future__ import annotations

from torch import nn

from gansearch.networks.classes import Head
from gansearch.training.telling import last_layer


def as_encoder(network: nn.Module, latent_size: int) -> nn.Module:
    """A discriminator that gives 2 latent_size numbers, means and log-variances, in place of a logit.

    The layer that gave the logit is replaced by a linear one of its own weights, without spectral norm:
    how narrow a posterior is must be free.

    Raises:
        ValueError: its last layer is no linear one, or a projection of the classes is added to it.
    """
    last = last_layer(network)
    if last is None:
        raise ValueError(
            "the loss vae makes an encoder of it, and its last layer is no nn.Linear to one number: "
            "take a network that ends in one"
        )
    if any(isinstance(part, Head) and part.projection is not None for part in network.modules()):
        raise ValueError(
            "the loss vae makes an encoder of it, without a logit to add the classes' projection to: "
            "take mlp with `classes: embedding`, or drop `conditional`"
        )
    (name,) = (name for name, part in network.named_modules() if part is last)
    network.set_submodule(name, nn.Linear(last.in_features, 2 * latent_size))
    return network

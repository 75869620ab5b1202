"""The parts of a training, built from its configuration."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from numbers import Real
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from gansearch.data.domain import Domain
from gansearch.errors import UserError
from gansearch.losses import LOSSES, PENALTIES, Loss, Penalty, is_variational
from gansearch.losses.vae import VAE
from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.networks.mixture import Mixture
from gansearch.study.config import TrialConfig
from gansearch.study.networks import Discriminator, Generator, Optimizer
from gansearch.training.blame import PARTS, part_at, section_at
from gansearch.training.encoder import as_encoder
from gansearch.training.optimizers import OPTIMIZERS
from gansearch.training.transfer import freeze, start_from


def build_generator(config: TrialConfig, domain: Domain, device: torch.device) -> nn.Module:
    """A fresh generator of a domain's samples; raises `ValueError` for one that it cannot do."""
    part = config.generator
    about = described(GENERATORS.find(part.name), part.name, domain)

    def one() -> nn.Module:
        return GENERATORS.build(part.name, part.options, about, config.latent_size)

    with _birthplace(device):
        network = one() if part.mixture == 1 else Mixture(one, part.mixture)
        return _begun(network, part, "generator").to(device)


def build_discriminator(config: TrialConfig, domain: Domain, device: torch.device) -> nn.Module:
    """A fresh discriminator of a domain's samples, or the encoder that a variational autoencoder has in
    its place; raises `ValueError` as above.
    """
    part = config.discriminator
    about = described(DISCRIMINATORS.find(part.name), part.name, domain_judged(config, domain))
    with _birthplace(device):
        network = DISCRIMINATORS.build(part.name, part.options, about)
        if is_variational(config.loss.name):
            network = as_encoder(network, config.latent_size)
        return _begun(network, part, "discriminator").to(device)


def judged_shape(config: TrialConfig) -> tuple[int, ...]:
    """The shape of what the discriminator, or the encoder in its place, gives for one sample."""
    return (2 * config.latent_size,) if is_variational(config.loss.name) else ()


def _begun(network: nn.Module, part: Generator | Discriminator, kind: str) -> nn.Module:
    """The network, given the weights that it starts from, with the layers frozen that are to stay.

    Raises `ValueError` for what is no network.
    """
    if not isinstance(network, nn.Module):
        raise ValueError(f"'{part.name}' gives {type(network).__name__}, not a torch.nn.Module")
    if getattr(network.forward, "__func__", None) is nn.Module.forward:
        raise ValueError(f"'{part.name}' has no forward")
    parameters = list(network.parameters())
    if not parameters:
        raise ValueError(f"'{part.name}' has no parameters: there is nothing to train")
    if any(isinstance(each, UninitializedParameter) for each in parameters):
        raise ValueError(
            f"'{part.name}' has lazy layers: say their sizes, which must not wait for data"
        )
    if part.weights is not None:
        start_from(network, part.weights, kind)
    freeze(network, part.freeze)
    return network


def domain_judged(config: TrialConfig, domain: Domain) -> Domain:
    """What the discriminator judges: a domain's samples, or packs of them as one, whose channels, or
    numbers, lie one after another.
    """
    first, *rest = domain.shape
    pack = config.discriminator.pack
    return domain if pack == 1 else replace(domain, shape=(pack * first, *rest))


def described(network: Callable[..., nn.Module], name: str, domain: Domain) -> Domain | tuple[int, ...]:
    """What a network is built from: the whole domain, where its first parameter is called `domain`.

    A network written when images were the only samples takes their shape (C, H, W) there; raises
    `ValueError` where such a one is to make other samples.
    """
    first = next(iter(inspect.signature(network).parameters), "")
    if first.strip("_") == "domain":
        return domain
    if domain.kind != "images":
        raise ValueError(
            f"{name} is built from the shape of an image, and the data are {domain.kind}: "
            "take mlp, or have its first parameter be `domain`"
        )
    return domain.shape


def is_conditional(network: nn.Module) -> bool:
    """Whether a network is called with labels besides."""
    return bool(getattr(network, "conditional", False))


def _birthplace(device: torch.device) -> torch.device:
    """Networks are initialised on the CPU, so that a seed means the same start on any device."""
    return device if device.type == "meta" else torch.device("cpu")


def same_training(one: TrialConfig, other: TrialConfig) -> bool:
    """Whether what was trained under a configuration may go on under another.

    Health rules may differ: they judge a training, and do not change it. An option that a part did not
    have when one of them was written means its default.
    """
    other = other.model_copy(update={"health": one.health})
    return one == other or _with_defaults(one) == _with_defaults(other)


def _with_defaults(config: TrialConfig) -> TrialConfig:
    tree = config.model_dump()
    for path, registry in PARTS.items():
        section = part_at(path, tree)
        if section and path != ("data",):  # whose module a worker need not have
            part = section_at(path).model_validate(section)
            options = registry.options(part.name).model_validate(part.options)
            section |= options.model_dump(mode="json")
    return TrialConfig.model_validate(tree)


def build_loss(config: TrialConfig) -> tuple[Loss, Penalty | None]:
    """The loss and the penalty that a configuration names; raises `ValueError` for one that lacks what
    its kind has.
    """
    loss = LOSSES.build(config.loss.name, config.loss.options)
    if not is_variational(config.loss.name):
        _check_loss(loss, config.loss.name)
    part = config.loss.penalty
    penalty = PENALTIES.build(part.name, part.options) if part else None
    if part and not callable(penalty):
        raise ValueError(f"the penalty '{part.name}' has no __call__(critic, real, fake)")
    return loss, penalty


def _check_loss(loss: Loss, name: str) -> None:
    """Raises `ValueError` for a loss that lacks something, or has something else than it is to be."""
    if lacking := [key for key in ("d", "g", "decision", "g_uses_real") if not hasattr(loss, key)]:
        raise ValueError(f"the loss '{name}' has no {', '.join(lacking)}")
    if loss.g_uses_real not in (True, False):
        raise ValueError(f"the loss '{name}': g_uses_real is {loss.g_uses_real!r}, not True or False")
    decision: Any = loss.decision
    number = isinstance(decision, Real) and not isinstance(decision, bool)
    if decision is not None and not (number and math.isfinite(decision)):
        wanted = "the logit above which a sample is called real, a number, or None where there is none"
        raise ValueError(f"the loss '{name}': decision is {decision!r}; it is {wanted}")
    for method in ("d", "g"):
        if not callable(getattr(loss, method)):
            raise ValueError(f"the loss '{name}': {method} cannot be called")


def build_vae(config: TrialConfig) -> VAE:
    """The loss of a variational autoencoder, of a configuration that names one."""
    built: Any = LOSSES.build(config.loss.name, config.loss.options)
    return cast("VAE", built)


def own_rate(config: TrialConfig) -> float | None:
    """The learning rate that a variational autoencoder has for both networks, if it has one."""
    return build_vae(config).lr if is_variational(config.loss.name) else None


def build_optimizer(
    side: Optimizer, network: nn.Module, lr: float | None = None
) -> torch.optim.Optimizer:
    """The optimizer of one network; `lr`, if any, is its learning rate whatever its section says."""
    options = side.options if lr is None else side.options | {"lr": lr}
    optimizer: Any = OPTIMIZERS.build(side.name, options, network.parameters())
    if not isinstance(optimizer, torch.optim.Optimizer):
        kind = type(optimizer).__name__
        raise UserError(f"the optimizer '{side.name}' gives {kind}, not a torch.optim.Optimizer")
    try:
        inspect.signature(optimizer.step).bind()
    except TypeError as error:
        raise UserError(
            f"the optimizer '{side.name}' takes a step by a closure, as L-BFGS does, and is given "
            "none: take one whose `step()` asks for nothing"
        ) from error
    own = {id(parameter) for parameter in network.parameters()}
    if not any(id(each) in own for group in optimizer.param_groups for each in group["params"]):
        raise UserError(f"the optimizer '{side.name}' holds none of the parameters that it is given")
    return optimizer

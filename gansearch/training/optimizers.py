"""Optimizers by name, with the options that a study may set; fused into one kernel where torch can.

Every option means what it means in torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

import torch
from pydantic import Field
from torch import nn, optim

from gansearch.study.registry import Registry

OPTIMIZERS: Registry[optim.Optimizer] = Registry(
    "optimizer",
    {
        "adam": "gansearch.training.optimizers:adam",
        "adamw": "gansearch.training.optimizers:adamw",
        "rmsprop": "gansearch.training.optimizers:rmsprop",
        "sgd": "gansearch.training.optimizers:sgd",
    },
)

Kind = TypeVar("Kind", bound=optim.Optimizer)


def _uncompiled(kind: type[Kind]) -> type[Kind]:
    """An optimizer of torch's without the hooks of torch's compiler around its methods.

    They load it with the first step, 1.7 s of processor time and 150 MB in each process that trains,
    and nothing here is compiled. What the methods compute stays the same.
    """
    hooked = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in hooked}
    methods["step"] = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), methods)


Adam, AdamW = _uncompiled(optim.Adam), _uncompiled(optim.AdamW)
RMSprop, SGD = _uncompiled(optim.RMSprop), _uncompiled(optim.SGD)

Parameters = Iterable[nn.Parameter]
Rate = Annotated[float, Field(gt=0)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Decay = Annotated[float, Field(ge=0)]


def adam(
    parameters: Parameters, *, lr: Rate = 2e-4, beta1: Beta = 0.5, beta2: Beta = 0.999
) -> optim.Optimizer:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980).

    The defaults of `lr` and `beta1` are those of DCGAN (Radford et al. 2016, section 3).

    Args:
        parameters: of one network.
        lr: learning rate.
        beta1: decay of the gradient's average, per step.
        beta2: decay of the squared gradient's average, per step.
    """
    return Adam(parameters, lr=lr, betas=(beta1, beta2), fused=True)


def adamw(
    parameters: Parameters,
    *,
    lr: Rate = 2e-4,
    beta1: Beta = 0.5,
    beta2: Beta = 0.999,
    weight_decay: Decay = 0.01,
) -> optim.Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101).

    Args:
        parameters: of one network.
        lr: learning rate.
        beta1: decay of the gradient's average, per step.
        beta2: decay of the squared gradient's average, per step.
        weight_decay: share of each weight that is taken away per step, times the learning rate.
    """
    betas = (beta1, beta2)
    return AdamW(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


def rmsprop(parameters: Parameters, *, lr: Rate = 5e-5, alpha: Beta = 0.99) -> optim.Optimizer:
    """RMSprop (Hinton 2012, lecture 6e); the default of `lr` is the Wasserstein GAN's.

    Args:
        parameters: of one network.
        lr: learning rate; 5e-5 in Arjovsky et al. 2017 (arXiv 1701.07875).
        alpha: decay of the squared gradient's average, per step.
    """
    return RMSprop(parameters, lr=lr, alpha=alpha)


def sgd(parameters: Parameters, *, lr: Rate = 1e-2, momentum: Beta = 0.0) -> optim.Optimizer:
    """Plain gradient descent, with momentum if asked for.

    Args:
        parameters: of one network.
        lr: learning rate.
        momentum: share of the last step's direction that is kept.
    """
    return SGD(parameters, lr=lr, momentum=momentum, fused=True)

"""The discriminator's slope at given samples, which every gradient penalty is made of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gansearch.losses.draws import Draws


def slope(critic: Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    """The gradient of each logit by its own sample: [..., B, D] -> [..., B, D].

    It can be differentiated once more. Samples do not see each other (but for batch norm), so the
    gradient of the sum of the logits holds every sample's own.
    """
    at = samples.detach().requires_grad_()
    gradient: Tensor
    (gradient,) = torch.autograd.grad(critic(at).sum(), at, create_graph=True)
    return gradient


def between(real: Tensor, fake: Tensor, draws: Draws) -> Tensor:
    """A uniformly random point between each real and its fake sample: [..., B, D] twice -> the same."""
    share = draws.rand_like(real[..., :1])
    return torch.lerp(real.detach(), fake.detach(), share)

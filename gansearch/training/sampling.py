"""Samples of a generator, and the averaged weights that they are made with."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gansearch.data.domain import Domain

AT_ONCE = 256
"""Samples generated in one pass where no gradient is wanted."""


class NonFiniteSamples(ArithmeticError):
    """A generator made NaN or infinity. As bytes that would be black images, and look like a result."""


GRID_SIZE = 64
SCATTER_SIZE = 500
"""Samples in the fixed-noise picture: of images, of points."""


EVALUATION_SEED, GRID_SEED = 1, 2
"""Offsets of the evaluation's noise: the same at every report, so that curves differ by the network
alone, and apart from the training noise."""


def picture_size(domain: Domain) -> int:
    """Samples in a picture of them."""
    return GRID_SIZE if domain.kind == "images" else SCATTER_SIZE


@torch.no_grad()
def generate(
    network: nn.Module,
    count: int,
    latent_size: int,
    seed: int,
    device: torch.device,
    domain: Domain,
    at_once: int = AT_ONCE,
    labels: np.ndarray | None = None,
) -> Tensor:
    """Samples of a generator in evaluation mode, as they are stored, [count, ...].

    Args:
        network: the generator, on the device.
        count: how many.
        latent_size: numbers in a latent.
        seed: of the latents; the same seed, the same samples.
        device: where they are made.
        domain: what they are samples of.
        at_once: how many in one pass, which changes them by rounding alone.
        labels: of a conditional generator the classes, int [count].

    Raises:
        NonFiniteSamples: some value is NaN or infinite.
    """
    noise = torch.Generator(device).manual_seed(seed)
    finite = torch.ones((), dtype=torch.bool, device=device)
    batches = []
    for start in range(0, count, AT_ONCE):
        size = (min(AT_ONCE, count - start), latent_size)
        latents = torch.randn(size, generator=noise, device=device)
        inputs = [torch.split(latents, at_once)]
        if labels is not None:
            here = torch.from_numpy(labels[start : start + AT_ONCE]).to(device)
            inputs.append(torch.split(here, at_once))
        for parts in zip(*inputs, strict=True):
            samples = network(*parts)
            finite &= samples.isfinite().all()
            batches.append(domain.decode(samples))
    if not finite:  # asked once: it waits for the device
        raise NonFiniteSamples("the generator's samples are not finite")
    return torch.cat(batches)


@torch.no_grad()
def update_average(average: nn.Module, live: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights (Yazici et al. 2019, arXiv 1806.04498)."""
    torch._foreach_lerp_(
        list(average.parameters()), list(live.parameters()), share_of_live(decay, step)
    )


def share_of_live(decay: float, step: int) -> float:
    """How far averaged weights move towards the live ones after a step, in (0, 1].

    The decay rises with the step as (1 + t) / (10 + t), so that the average forgets the random
    start; TensorFlow's `ExponentialMovingAverage(num_updates)` does the same.
    """
    return 1 - min(decay, (1 + step) / (10 + step))

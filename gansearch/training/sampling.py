"""Samples of a generator, and the averaged weights that they are made with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

AT_ONCE = 256
"""Images generated in one pass where no gradient is wanted."""


class NonFiniteSamples(ArithmeticError):
    """A generator made NaN or infinity. As bytes that would be black images, and look like a result."""


GRID_SIZE = 64
"""Images in the fixed-noise sample grid."""


EVALUATION_SEED, GRID_SEED = 1, 2
"""Offsets of the evaluation's noise: the same at every report, so that curves differ by the network
alone, and apart from the training noise."""


@torch.no_grad()
def generate(
    network: nn.Module,
    count: int,
    latent_size: int,
    seed: int,
    device: torch.device,
    at_once: int = AT_ONCE,
) -> Tensor:
    """Images of a generator in evaluation mode: uint8, count x C x H x W; a seed, the same images,
    up to rounding however many are made `at_once`.

    Raises:
        NonFiniteSamples: some value is NaN or infinite.
    """
    noise = torch.Generator(device).manual_seed(seed)
    finite = torch.ones((), dtype=torch.bool, device=device)
    batches = []
    for start in range(0, count, AT_ONCE):
        size = (min(AT_ONCE, count - start), latent_size)
        latents = torch.randn(size, generator=noise, device=device)
        for part in torch.split(latents, at_once):
            images = network(part)
            finite &= images.isfinite().all()
            batches.append(unscale(images))
    if not finite:  # asked once: it waits for the device
        raise NonFiniteSamples("the generator's samples are not finite")
    return torch.cat(batches)


def scale(pixels: Tensor) -> Tensor:
    """uint8 0..255 -> float32 -1..1, the range of tanh."""
    return pixels.float().mul_(1 / 127.5).sub_(1)


def unscale(images: Tensor) -> Tensor:
    """float -1..1 -> uint8 0..255, rounded; what lies outside is cut off as an image file would."""
    return images.mul(127.5).add_(127.5).round_().clamp_(0, 255).to(torch.uint8)


@torch.no_grad()
def update_average(average: nn.Module, live: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights (Yazici et al. 2019, arXiv 1806.04498).

    The decay rises with the step as (1 + t) / (10 + t), so that the average forgets the random
    start; TensorFlow's `ExponentialMovingAverage(num_updates)` does the same.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(live.parameters()), weight)

"""The averaged generator's running statistics, counted anew for its own weights.

Batch norm divides by statistics that a network gathers while it trains. Those of the live generator
belong to weights that the averaged one does not have, and at a large learning rate the difference
shows. So before averaged weights are evaluated, their statistics are counted on a few batches of fixed
noise, as stochastic weight averaging does (Izmailov et al. 2018, arXiv 1803.05407, section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from gansearch.data.domain import Domain
from gansearch.study.config import TrialConfig, trial_seed
from gansearch.training.building import is_conditional
from gansearch.training.randomness import seeded

BATCHES = 8
"""Batches of the training's own size on which statistics are counted."""


def counting_layers(network: nn.Module) -> list[_NormBase]:
    """The layers of a network that keep running statistics: batch norm, instance norm that tracks."""
    layers = (module for module in network.modules() if isinstance(module, _NormBase))
    return [layer for layer in layers if layer.running_mean is not None]


@torch.no_grad()
def settle(
    average: nn.Module,
    live: nn.Module,
    config: TrialConfig,
    domain: Domain,
    device: torch.device,
    pieces: int = 1,
) -> None:
    """Give averaged weights the buffers that they are evaluated with.

    Buffers are the live network's, but for running statistics, which are counted for the averaged
    weights. The same weights get the same statistics, whatever was drawn before; nothing is drawn from
    the global generators, and the live network stays as it is.

    Args:
        average: the averaged generator, in evaluation mode.
        live: the generator in training.
        config: the trial's.
        domain: what is learnt; a conditional generator is asked for its classes as often as the data
            have them.
        device: where both networks are.
        pieces: micro-batches in which the training computes each batch.
    """
    for ours, theirs in zip(average.buffers(), live.buffers(), strict=True):
        ours.copy_(theirs)
    if layers := counting_layers(average):
        seed = trial_seed(config.seed, 0, "statistics")
        with seeded(seed, device):  # for a network that draws by itself
            inputs = _inputs(config, domain if is_conditional(average) else None, seed, device, pieces)
            count_statistics(average, layers, inputs)


def count_statistics(
    network: nn.Module, layers: Iterable[_NormBase], inputs: Iterable[tuple[Tensor, ...]]
) -> None:
    """Set running statistics to their plain mean over some passes, each of which weighs the same.

    All other layers stay in evaluation mode: dropout drops nothing, spectral norm iterates no further.

    Args:
        network: in evaluation mode.
        layers: those of its layers that count.
        inputs: the arguments of each pass.
    """
    before = [(layer, layer.momentum) for layer in layers]
    for layer, _ in before:
        layer.reset_running_stats()
        layer.train()
    try:
        for seen, arguments in enumerate(inputs):
            for layer, _ in before:
                layer.momentum = 1 / (seen + 1)
            network(*arguments)
    finally:
        for layer, momentum in before:
            layer.momentum = momentum
            layer.eval()


def _inputs(
    config: TrialConfig, classes: Domain | None, seed: int, device: torch.device, pieces: int
) -> Iterator[tuple[Tensor, ...]]:
    """Latents of the fixed batches, and labels beside them where there are classes, piece by piece."""
    noise = torch.Generator(device).manual_seed(seed)
    labels = classes.labels_as_drawn(BATCHES * config.batch_size, seed) if classes else None
    for number in range(BATCHES):
        size = (config.batch_size, config.latent_size)
        whole = [torch.randn(size, generator=noise, device=device)]
        if labels is not None:
            here = labels[number * config.batch_size :][: config.batch_size]
            whole.append(torch.from_numpy(here).to(device))
        yield from zip(*(each.tensor_split(pieces) for each in whole), strict=True)


def statistics_words(network: nn.Module, config: TrialConfig) -> dict[str, str]:
    """What provenance says of an averaged generator's statistics; nothing where it has none."""
    if config.ema is None or not counting_layers(network):
        return {}
    counted = f"recomputed for the averaged weights, {BATCHES} x {config.batch_size} samples"
    return {"statistics": counted}

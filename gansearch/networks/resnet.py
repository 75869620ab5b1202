"""The residual networks of spectral normalisation (Miyato et al. 2018, arXiv 1802.05957).

Up to 32 x 32 all maps have the same channels, and two blocks of the discriminator keep the size, as in
the paper's network for CIFAR-10; above, the channels double with each halving of the map, up to
16 x width, and one block keeps the size, as in its networks for larger images.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from gansearch.data.domain import Domain, as_domain
from gansearch.networks.blocks import (
    Attention,
    BatchSpread,
    Depth,
    ResidualDown,
    ResidualUp,
    SelfAttention,
    check_attention,
    plan,
)
from gansearch.networks.classes import Head, Layers, check_norm, count_classes, embedded, joined
from gansearch.networks.initialisation import Deviation, Init, initialise
from gansearch.networks.norms import DiscriminatorNorm, GeneratorNorm, activation_norm, spectral_norm

PaperWidth = Annotated[int | None, Field(ge=1, le=4096)]
ALIKE = 32
"""The largest size at which all maps have the same channels."""


class Generator(nn.Module):
    """Residual blocks (SN-GAN's ResNet; Miyato et al. 2018, arXiv 1802.05957).

    Maps latents [B, latent_size] to images [B, C, H, W] in [-1, 1].

    Args:
        domain: images C x H x W, H = W a power of two from 8.
        latent_size: length of a latent vector; 128 in the paper.
        depth: blocks that double the map, 1 to log2(H) - 1; None begins at a map of 4 x 4.
        width: channels of the largest map; None: the paper's, 256 up to 32 x 32 and 64 above.
        norm: before each activation; the paper has `batch`.
        conditional: make images of given classes: an embedding of the class is joined to the latents,
            or with the norm `conditional-batch` the classes are told there, as in the paper.
        attention: the size of the map at which each place sees all others (Zhang et al. 2019, arXiv
            1805.08318).
        init: how the weights are drawn; `own` is `xavier`, as in the authors' code.
        init_std: the standard deviation of `init: normal`.

    Raises:
        ValueError: for an image size or a depth that cannot be built.
    """

    stacks: ClassVar[bool] = True

    def __init__(
        self,
        domain: Domain | tuple[int, ...],
        latent_size: int,
        *,
        depth: Depth = None,
        width: PaperWidth = None,
        norm: GeneratorNorm = "batch",
        conditional: bool = False,
        attention: Attention = None,
        init: Init = "own",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        check_norm(norm, conditional)
        domain = as_domain(domain)
        channels, size, smallest = plan("resnet", domain, depth)
        check_attention("resnet", attention, smallest, size)
        stages = (size // smallest).bit_length() - 1
        hidden = _channels(width or (256 if size <= ALIKE else 64), stages, size)[::-1]
        hidden = [hidden[0], *hidden]
        classes = count_classes(domain, conditional)
        extra = embedded(conditional, norm)
        layers: list[nn.Module] = [
            nn.Linear(latent_size + extra, hidden[0] * smallest**2),
            nn.Unflatten(1, (hidden[0], smallest, smallest)),
        ]
        for stage, (before, after) in enumerate(pairwise(hidden)):
            if smallest << stage == attention:
                layers.append(SelfAttention(before))
            layers.append(ResidualUp(before, after, norm, classes))
        if size == attention:
            layers.append(SelfAttention(hidden[-1]))
        layers += [
            *activation_norm(norm, hidden[-1], spatial=True, classes=classes),
            nn.ReLU(),
            nn.Conv2d(hidden[-1], channels, 3, padding=1),
            nn.Tanh(),
        ]
        self.layers = Layers(*layers)
        self.classes = nn.Embedding(classes, extra) if extra else None
        _initialise(self, init, init_std)
        if norm == "spectral":
            spectral_norm(self)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents [B, latent_size], and labels [B] if conditional -> images [B, C, H, W] in [-1, 1]."""
        images: Tensor = self.layers(joined(latents, labels, self.classes), labels)
        return images


class Discriminator(nn.Module):
    """Residual blocks (SN-GAN's ResNet; Miyato et al. 2018, arXiv 1802.05957).

    Maps images [B, C, H, W] to logits [B], from the sum of the last map over its places.

    Args:
        domain: images C x H x W, H = W a power of two from 8.
        depth: blocks that halve the map, 1 to log2(H) - 1; None: two up to 32 x 32 as in the paper, and
            above as many as end at 4 x 4. One more block keeps the size, two up to 32 x 32.
        width: channels of the largest map; None: the paper's, 128 up to 32 x 32 and 64 above.
        norm: `spectral` on the weights of every layer as in the paper, or what stands before each
            activation but the first.
        conditional: judge images as ones of given classes, whose projection on the last features is
            added to the logit (Miyato and Koyama 2018, arXiv 1802.05637).
        attention: the size of the map at which each place sees all others, as in the generator.
        minibatch_std: show how much the samples of a batch differ as one map more, before the last
            block (Karras et al. 2018, arXiv 1710.10196).
        init: how the weights are drawn; `own` is `xavier`, as in the authors' code.
        init_std: the standard deviation of `init: normal`.

    Raises:
        ValueError: for an image size or a depth that cannot be built.
    """

    stacks: ClassVar[bool] = True

    def __init__(
        self,
        domain: Domain | tuple[int, ...],
        *,
        depth: Depth = None,
        width: PaperWidth = None,
        norm: DiscriminatorNorm = "spectral",
        conditional: bool = False,
        attention: Attention = None,
        minibatch_std: bool = False,
        init: Init = "own",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        domain = as_domain(domain)
        channels, size, smallest = plan("resnet", domain, depth)
        if depth is None and size <= ALIKE:
            smallest = max(size // 4, 4)
        check_attention("resnet", attention, smallest, size // 2)
        stages = (size // smallest).bit_length() - 1
        hidden = _channels(width or (128 if size <= ALIKE else 64), stages, size)
        classes = count_classes(domain, conditional)
        layers: list[nn.Module] = []
        for stage, (before, after) in enumerate(pairwise([channels, *hidden])):
            if size >> stage == attention and stage:
                layers.append(SelfAttention(before))
            layers.append(ResidualDown(before, after, norm, down=True, first=stage == 0))
        if smallest == attention:
            layers.append(SelfAttention(hidden[-1]))
        if size <= ALIKE:
            layers.append(ResidualDown(hidden[-1], hidden[-1], norm, down=False))
        if minibatch_std:
            layers.append(BatchSpread())
        layers += [ResidualDown(hidden[-1] + minibatch_std, hidden[-1], norm, down=False), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.head = Head(hidden[-1], classes)
        _initialise(self, init, init_std)
        if norm == "spectral":
            spectral_norm(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [B, C, H, W], and labels [B] if conditional -> logits [B]."""
        logits: Tensor = self.head(self.layers(images).sum((-2, -1)), labels)
        return logits


def _channels(width: int, stages: int, size: int) -> list[int]:
    """Channels of the maps behind each of the blocks that change the size, the largest map first."""
    return [width if size <= ALIKE else width * min(2**stage, 16) for stage in range(stages)]


def _initialise(network: nn.Module, init: Init, deviation: float) -> None:
    """Xavier's weights, by the square root of two larger on a block's long way."""
    initialise(network, "xavier" if init == "own" else init, deviation)
    if init != "own" or any(weight.is_meta for weight in network.parameters()):
        return
    for block in network.modules():
        if isinstance(block, ResidualUp | ResidualDown):
            for layer in block.long:
                if isinstance(layer, nn.Conv2d):
                    nn.init.xavier_uniform_(layer.weight, 2**0.5)

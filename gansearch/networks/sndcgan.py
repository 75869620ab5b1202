"""SN-DCGAN: the standard CNN of spectral normalisation (Miyato et al. 2018, arXiv 1802.05957, table 3).

`depth` stages of stride 2 lie between the image and the smallest map; `width` is the channels of the
largest map, doubled by each stage up to 8 x width. At 32 x 32 with width 64 this is the paper's.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from gansearch.data.domain import Domain, as_domain
from gansearch.networks.blocks import (
    Attention,
    BatchSpread,
    Depth,
    SelfAttention,
    Width,
    check_attention,
    doubled,
    plan,
)
from gansearch.networks.classes import Head, Layers, check_norm, count_classes, embedded, joined
from gansearch.networks.initialisation import Deviation, Init, initialise
from gansearch.networks.norms import (
    DiscriminatorNorm,
    GeneratorNorm,
    activation_norm,
    biased,
    spectral_norm,
)


class Generator(nn.Module):
    """The standard CNN (SN-DCGAN; Miyato et al. 2018, arXiv 1802.05957, table 3).

    Maps latents [B, latent_size] to images [B, C, H, W] in [-1, 1]: transposed convolutions of 4 x 4,
    and one of 3 x 3 at the full size.

    Args:
        domain: images C x H x W, H = W a power of two from 8.
        latent_size: length of a latent vector; 128 in the paper.
        depth: stages of stride 2, 1 to log2(H) - 1; None ends at a map of 4 x 4.
        width: channels of the largest hidden map; 64 in the paper.
        norm: what follows each hidden layer; the paper has `batch`.
        conditional: make images of given classes: an embedding of the class is joined to the latents,
            or with the norm `conditional-batch` the classes are told there.
        attention: the size of the map at which each place sees all others (Zhang et al. 2019, arXiv
            1805.08318).
        init: how the weights are drawn; `own` is `normal` of 0.02.
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
        width: Width = 64,
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
        channels, size, smallest = plan("sndcgan", domain, depth)
        check_attention("sndcgan", attention, smallest, size)
        hidden = doubled(width, smallest, size)[::-1]
        classes, bias = count_classes(domain, conditional), biased(norm)
        extra = embedded(conditional, norm)
        layers: list[nn.Module] = [
            nn.Linear(latent_size + extra, hidden[0] * smallest**2, bias=bias),
            nn.Unflatten(1, (hidden[0], smallest, smallest)),
            *activation_norm(norm, hidden[0], spatial=True, classes=classes),
            nn.ReLU(),
        ]
        for stage, (before, after) in enumerate(pairwise(hidden)):
            if smallest << stage == attention:
                layers.append(SelfAttention(before))
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=bias),
                *activation_norm(norm, after, spatial=True, classes=classes),
                nn.ReLU(),
            ]
        if size == attention:
            layers.append(SelfAttention(hidden[-1]))
        layers += [nn.Conv2d(hidden[-1], channels, 3, padding=1), nn.Tanh()]
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
    """The standard CNN (SN-DCGAN; Miyato et al. 2018, arXiv 1802.05957, table 3).

    Maps images [B, C, H, W] to logits [B]: at each size one convolution of 3 x 3 and one of 4 x 4 with
    stride 2, and one of 3 x 3 at the smallest.

    Args:
        domain: images C x H x W, H = W a power of two from 8.
        depth: stages of stride 2, 1 to log2(H) - 1; None ends at a map of 4 x 4.
        width: channels of the largest hidden map; 64 in the paper.
        norm: `spectral` on the weights of every layer as in the paper, or what follows each hidden
            layer but the first.
        conditional: judge images as ones of given classes, whose projection on the last features is
            added to the logit (Miyato and Koyama 2018, arXiv 1802.05637).
        attention: the size of the map at which each place sees all others, as in the generator.
        minibatch_std: show how much the samples of a batch differ as one map more, at the smallest size
            (Karras et al. 2018, arXiv 1710.10196).
        init: how the weights are drawn; `own` is `normal` of 0.02.
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
        width: Width = 64,
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
        channels, size, smallest = plan("sndcgan", domain, depth)
        check_attention("sndcgan", attention, smallest, size)
        hidden = doubled(width, smallest, size)
        classes, bias = count_classes(domain, conditional), biased(norm)
        layers: list[nn.Module] = [nn.Conv2d(channels, hidden[0], 3, padding=1), nn.LeakyReLU(0.1)]
        for stage, (before, after) in enumerate(pairwise(hidden)):
            if size >> stage == attention:
                layers.append(SelfAttention(before))
            layers += [
                nn.Conv2d(before, before, 4, stride=2, padding=1, bias=bias),
                *activation_norm(norm, before, spatial=True),
                nn.LeakyReLU(0.1),
                nn.Conv2d(before, after, 3, padding=1, bias=bias),
                *activation_norm(norm, after, spatial=True),
                nn.LeakyReLU(0.1),
            ]
        if smallest == attention:
            layers.append(SelfAttention(hidden[-1]))
        if minibatch_std:
            layers.append(BatchSpread())
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.head = Head((hidden[-1] + minibatch_std) * smallest**2, classes)
        _initialise(self, init, init_std)
        if norm == "spectral":
            spectral_norm(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [B, C, H, W], and labels [B] if conditional -> logits [B]."""
        logits: Tensor = self.head(self.layers(images), labels)
        return logits


def _initialise(network: nn.Module, init: Init, deviation: float) -> None:
    """The paper's weights, normal of 0.02, or others."""
    initialise(network, *(("normal", 0.02) if init == "own" else (init, deviation)))

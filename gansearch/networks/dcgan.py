"""DCGAN: strided convolutions all the way (Radford et al. 2016, arXiv 1511.06434).

`depth` stages of stride 2 lie between the image and the smallest map, which is at least 2 x 2.
`width` is the channels of the largest map (half the image's size); each stage towards the
smallest doubles them, up to 8 x width. At 64 x 64 with width 64 (generator 128) and the default
depth, whose smallest map is 4 x 4, this is the paper's network.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor, nn

from gansearch.data.domain import Domain, as_domain
from gansearch.networks.blocks import Depth, doubled, plan
from gansearch.networks.classes import (
    Head,
    Layers,
    check_norm,
    count_classes,
    embedded,
    joined,
)
from gansearch.networks.initialisation import Deviation, Init, initialise
from gansearch.networks.norms import (
    DiscriminatorNorm,
    GeneratorNorm,
    activation_norm,
    biased,
    spectral_norm,
)
from gansearch.study.sections import later

Width = Annotated[int, Field(ge=1, le=1024)]
Conditional = Annotated[bool, later(False)]


class Generator(nn.Module):
    """Strided convolutions (DCGAN; Radford et al. 2016, arXiv 1511.06434).

    Maps latents [B, latent_size] to images [B, C, H, W] in [-1, 1].

    Args:
        domain: images C x H x W, H = W a power of two from 8.
        latent_size: length of a latent vector.
        depth: stages of stride 2, 1 to log2(H) - 1; None ends at a map of 4 x 4.
        width: channels of the largest hidden map.
        norm: what follows each hidden layer; the paper has `batch`. `spectral` acts on the weights of
            every layer.
        conditional: make images of given classes: an embedding of the class is joined to the latents,
            or with the norm `conditional-batch` the classes are told there.
        init: how the weights are drawn; `own` is the paper's, `normal` of 0.02.
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
        conditional: Conditional = False,
        init: Init = "own",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        check_norm(norm, conditional)
        domain = as_domain(domain)
        channels, size, smallest = plan("dcgan", domain, depth)
        hidden = doubled(width, smallest, size // 2)[::-1]
        bias = biased(norm)
        classes = count_classes(domain, conditional)
        extra = embedded(conditional, norm)

        # On a map of one pixel a transposed convolution is a linear layer, and slower.
        layers: list[nn.Module] = [
            nn.Linear(latent_size + extra, hidden[0] * smallest**2, bias=bias),
            nn.Unflatten(1, (hidden[0], smallest, smallest)),
            *activation_norm(norm, hidden[0], spatial=True, classes=classes),
            nn.ReLU(inplace=True),
        ]
        for before, after in pairwise(hidden):
            layers += [
                nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=bias),
                *activation_norm(norm, after, spatial=True, classes=classes),
                nn.ReLU(inplace=True),
            ]
        layers += [nn.ConvTranspose2d(hidden[-1], channels, 4, stride=2, padding=1), nn.Tanh()]
        self.layers = Layers(*layers)
        self.classes = nn.Embedding(classes, extra) if extra else None
        self.apply(_initialise)
        initialise(self, init, init_std)
        if norm == "spectral":
            spectral_norm(self)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents [B, latent_size], and labels [B] if conditional -> images [B, C, H, W] in [-1, 1]."""
        images: Tensor = self.layers(joined(latents, labels, self.classes), labels)
        return images


class Discriminator(nn.Module):
    """Strided convolutions (DCGAN; Radford et al. 2016, arXiv 1511.06434).

    Maps images [B, C, H, W] to logits [B].

    Args:
        domain: images C x H x W, H = W a power of two from 8.
        depth: stages of stride 2, 1 to log2(H) - 1; None ends at a map of 4 x 4.
        width: channels of the largest hidden map.
        norm: `batch` as in the paper, on all but the first stage, not for gradient penalties;
            `layer`, `group` and `instance` likewise; `spectral` on the weights of every layer; or
            `none`.
        conditional: judge images as ones of given classes, whose projection on the last features is
            added to the logit (Miyato and Koyama 2018, arXiv 1802.05637).
        init: how the weights are drawn; `own` is the paper's, `normal` of 0.02.
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
        conditional: Conditional = False,
        init: Init = "own",
        init_std: Deviation = 0.02,
    ) -> None:
        super().__init__()
        self.conditional = conditional
        domain = as_domain(domain)
        channels, size, smallest = plan("dcgan", domain, depth)
        hidden = doubled(width, smallest, size // 2)
        classes, features = count_classes(domain, conditional), hidden[-1] * smallest**2

        layers: list[nn.Module] = []
        for stage, (before, after) in enumerate(pairwise([channels, *hidden])):
            here: DiscriminatorNorm = norm if stage else "none"
            layers += [
                nn.Conv2d(before, after, 4, stride=2, padding=1, bias=here != "batch"),
                *activation_norm(here, after, spatial=True),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers += [nn.Flatten(), *([] if conditional else [nn.Linear(features, 1)])]
        self.layers = nn.Sequential(*layers)
        self.head = Head(features, classes) if conditional else None
        self.apply(_initialise)
        initialise(self, init, init_std)
        if norm == "spectral":
            spectral_norm(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [B, C, H, W], and labels [B] if conditional -> logits [B]."""
        outputs: Tensor = self.layers(images)
        if self.head is None:
            return outputs.squeeze(-1)
        logits: Tensor = self.head(outputs, labels)
        return logits


def _initialise(layer: nn.Module) -> None:
    """The initial weights of the paper's section 4."""
    if any(weight.is_meta for weight in layer.parameters(recurse=False)):
        return  # no numbers: torch would load its compiler to draw none
    if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.BatchNorm2d) and layer.affine:
        nn.init.normal_(layer.weight, 1.0, 0.02)

"""Generators and discriminators: plain `nn.Module`s, one family one file.

A generator is built as `Generator(domain, latent_size, **options)` and maps latents [B, latent_size] to
samples: images [B, C, H, W] in [-1, 1], points [B, D]. A discriminator is built as
`Discriminator(domain, **options)` and maps samples to logits [B]. `domain` says what is learnt
(`gansearch.data.domain`: shape, kind, classes); the first parameter has to be called so, for one of
another name is given the shape (C, H, W) of images alone. The options are keyword-only. A network
whose attribute `conditional` is true is called with labels besides, int64 [B]. A constructor raises
`ValueError` with the mend in it for a size or depth it cannot build, and works under
`torch.device("meta")`, where a study is checked without allocating anything.

A family is added by its file and one line below; a user's own network needs no line, only its
name `package.module:Thing`. `gansearch.testing.check_generator` and `check_discriminator` tell
whether it keeps the contract. Importing this package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gansearch.study.registry import Registry

if TYPE_CHECKING:
    from torch import nn

GENERATORS: Registry[nn.Module] = Registry(
    "generator",
    {
        "dcgan": "gansearch.networks.dcgan:Generator",
        "mlp": "gansearch.networks.mlp:Generator",
        "sndcgan": "gansearch.networks.sndcgan:Generator",
        "resnet": "gansearch.networks.resnet:Generator",
        "r3": "gansearch.networks.r3:Generator",
    },
)

DISCRIMINATORS: Registry[nn.Module] = Registry(
    "discriminator",
    {
        "dcgan": "gansearch.networks.dcgan:Discriminator",
        "mlp": "gansearch.networks.mlp:Discriminator",
        "sndcgan": "gansearch.networks.sndcgan:Discriminator",
        "resnet": "gansearch.networks.resnet:Discriminator",
        "r3": "gansearch.networks.r3:Discriminator",
    },
)

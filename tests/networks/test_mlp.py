"""Fully connected networks: any shape, so many layers of such a width."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gansearch.networks.mlp import Discriminator, Generator


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 20, 20), (1, 28, 28), (3, 5, 9)])
@pytest.mark.parametrize("depth", [1, 4])
def test_shapes(shape, depth):
    images = Generator(shape, 6, depth=depth, width=8)(torch.randn(3, 6))
    assert images.shape == (3, *shape)
    assert Discriminator(shape, depth=depth, width=8)(images).shape == (3,)


def test_depth_is_hidden_layers_and_width_their_units():
    layers = [
        (layer.in_features, layer.out_features)
        for layer in Discriminator((1, 8, 8), depth=3, width=7).modules()
        if isinstance(layer, nn.Linear)
    ]
    assert layers == [(64, 7), (7, 7), (7, 7), (7, 1)]

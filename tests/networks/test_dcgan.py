"""DCGAN: which sizes and depths it builds, what it says about the rest, what comes out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.networks.dcgan import Discriminator, Generator

SIZES_AND_DEPTHS = [
    (size, depth)
    for size in (8, 16, 32, 64, 128)
    for depth in (None, *range(1, int(math.log2(size)) - 1))
]


@pytest.mark.parametrize(("size", "depth"), SIZES_AND_DEPTHS)
def test_shapes_of_all_sizes_and_depths(size, depth):
    with torch.device("meta"):
        for channels in (1, 3):
            shape = (channels, size, size)
            generator = Generator(shape, 5, depth=depth, width=4)
            discriminator = Discriminator(shape, depth=depth, width=4)
            images = generator(torch.empty(2, 5))
            assert images.shape == (2, *shape)
            assert discriminator(images).shape == (2,)
            for network, kind in ((generator, nn.ConvTranspose2d), (discriminator, nn.Conv2d)):
                stages = sum(isinstance(layer, kind) for layer in network.modules())
                assert stages == (depth or math.log2(size) - 2)


@pytest.mark.parametrize(
    ("shape", "depth", "message"),
    [
        ((1, 20, 20), None, "size 20 is not a power of two from 8: set data.image_size to 16"),
        ((1, 28, 28), None, "set data.image_size to 16 or 32"),
        ((3, 4, 4), None, "image size 4 is not a power of two from 8: set data.image_size to 8"),
        ((3, 9, 9), None, "set data.image_size to 8 or 16"),
        ((3, 16, 32), None, "images of 16x32 are not square"),
        ((1, 16, 16), 5, "depth 5 at 16x16: at least 1, at most 3"),
        ((1, 8, 8), 3, "depth 3 at 8x8: at least 1, at most 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_says_so(shape, depth, message):
    with pytest.raises(ValueError, match="dcgan: ") as of_generator:
        Generator(shape, 8, depth=depth)
    with pytest.raises(ValueError, match="dcgan: ") as of_discriminator:
        Discriminator(shape, depth=depth)
    assert message in str(of_generator.value)
    assert str(of_generator.value) == str(of_discriminator.value)


def test_parameters_of_the_paper_at_64():
    """The paper's generator, written out: a 4x4 projection and four 4x4 transposed convolutions."""
    with torch.device("meta"):
        generator = Generator((3, 64, 64), 100, width=128)
    convolutions = [(100, 1024), (1024, 512), (512, 256), (256, 128), (128, 3)]
    weights = sum(16 * before * after for before, after in convolutions)
    batch_norms = 2 * (1024 + 512 + 256 + 128)
    assert sum(p.numel() for p in generator.parameters()) == weights + batch_norms + 3


def test_width_doubles_towards_the_smallest_map_up_to_eight_times():
    with torch.device("meta"):
        network = Discriminator((3, 256, 256), width=4)
    widths = [layer.out_channels for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    assert widths == [4, 8, 16, 32, 32, 32]


def test_initial_weights_are_those_of_the_paper():
    torch.manual_seed(0)
    for layer in Generator((1, 32, 32), 64).modules():
        if isinstance(layer, nn.Linear | nn.ConvTranspose2d):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1.0, abs=0.02)
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.5)


def test_options_are_checked_by_the_registry():
    for registry in (GENERATORS, DISCRIMINATORS):
        assert registry.check("dcgan", {"depth": 2, "width": 8, "norm": "batch"}) == []
        assert [path for path, _ in registry.check("dcgan", {"width": 0})] == [("width",)]
        assert [path for path, _ in registry.check("dcgan", {"norm": "bach"})] == [("norm",)]
        assert [path for path, _ in registry.check("dcgan", {"depths": 2})] == [("depths",)]

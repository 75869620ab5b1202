"""Networks of the kit: the papers' tables written out, their options, and the contract of each."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from gansearch.data.domain import Images, Points
from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.networks.blocks import BatchSpread, SelfAttention
from gansearch.networks.norms import activation_norm, spectral_norm
from gansearch.networks.r3 import Block, Resample
from gansearch.testing import check_discriminator, check_generator

CONVOLUTIONAL = ["dcgan", "sndcgan", "resnet", "r3"]
CLASSED = Images((3, 16, 16), ("a", "b", "c"), (5, 3, 2))
POINTS = Points((2,), ("a", "b", "c"), (5, 3, 2))
SMALL = {"width": 8}
NORMS = ["none", "batch", "conditional-batch", "layer", "group", "instance", "spectral"]
INITS = ["normal", "orthogonal", "xavier", "kaiming"]


def generator(name, **options):
    return partial(GENERATORS.find(name), **SMALL, **options)


def discriminator(name, **options):
    return partial(DISCRIMINATORS.find(name), **SMALL, **options)


def options_of(registry, name):
    return registry.options(name).model_fields


# The contract


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_they_keep_the_contract(name):
    check_generator(generator(name), ((1, 8, 8), (3, 32, 32)))
    check_discriminator(discriminator(name), ((1, 8, 8), (3, 32, 32)))


@pytest.mark.parametrize("name", [*CONVOLUTIONAL, "mlp"])
def test_with_classes(name):
    shapes = (CLASSED, POINTS) if name == "mlp" else (CLASSED,)
    check_generator(generator(name, conditional=True), shapes)
    check_discriminator(discriminator(name, conditional=True), shapes)
    if name != "r3":
        check_generator(generator(name, conditional=True, norm="conditional-batch"), shapes)
    if name == "mlp":
        check_discriminator(discriminator(name, conditional=True, classes="projection"), shapes)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["mlp", "dcgan", "sndcgan", "resnet"])
def test_every_norm(name, norm):
    conditional = {"conditional": True} if norm == "conditional-batch" else {}
    if name == "mlp" and norm == "instance":
        assert GENERATORS.check(name, {"norm": norm})
        return
    check_generator(generator(name, norm=norm, **conditional), (CLASSED,))
    if norm != "conditional-batch":
        check_discriminator(discriminator(name, norm=norm), (CLASSED,))


@pytest.mark.parametrize("name", ["sndcgan", "resnet", "r3"])
def test_attention_and_the_spread_of_a_batch(name):
    check_generator(generator(name, attention=8), (CLASSED,))
    check_discriminator(discriminator(name, attention=8, minibatch_std=True), (CLASSED,))


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("size", [8, 16, 32, 64, 128])
def test_all_sizes_and_depths(name, size):
    deepest = size.bit_length() - 2
    with torch.device("meta"):
        for depth in (None, *range(1, deepest + 1)):
            images = generator(name, depth=depth)((3, size, size), 5)(torch.empty(4, 5))
            assert images.shape == (4, 3, size, size)
            assert discriminator(name, depth=depth)((3, size, size))(images).shape == (4,)


@pytest.mark.parametrize("name", ["sndcgan", "resnet", "r3"])
def test_what_cannot_be_built_says_so(name):
    for build in (generator(name), lambda d, *_: discriminator(name)(d)):
        with pytest.raises(ValueError, match=f"{name}: image size 20 is not a power of two from 8"):
            build((3, 20, 20), 5)
        with pytest.raises(ValueError, match=f"{name} is for images, and the data are points"):
            build(POINTS, 5)
    with pytest.raises(ValueError, match="depth 4 at 16x16: at least 1, at most 3"):
        generator(name, depth=4)((3, 16, 16), 5)
    with pytest.raises(ValueError, match="no map of 32x32: attention at 4, 8"):
        discriminator(name, attention=32)((3, 16, 16))
    with pytest.raises(ValueError, match="the data have no labels"):
        generator(name, conditional=True)((3, 16, 16), 5)


def test_a_conditional_norm_wants_classes():
    with pytest.raises(ValueError, match="needs `conditional: true`"):
        generator("sndcgan", norm="conditional-batch")(CLASSED, 5)


# The papers' tables


def count(network):
    return sum(p.numel() for p in network.parameters())


def conv(before, after, size, bias=True):
    return before * after * size**2 + bias * after


def test_sndcgan_is_table_3_at_32():
    with torch.device("meta"):
        of_g = GENERATORS.find("sndcgan")((3, 32, 32), 128)
        of_d = DISCRIMINATORS.find("sndcgan")((3, 32, 32), norm="none")
    hidden = (512, 256, 128, 64)
    norms = sum(2 * channels for channels in hidden)
    expected = 128 * 4 * 4 * 512 + norms + conv(64, 3, 3)
    expected += sum(conv(a, b, 4, False) for a, b in pairwise(hidden))
    assert count(of_g) == expected
    layers = [(3, 64, 3), (64, 64, 4), (64, 128, 3), (128, 128, 4), (128, 256, 3), (256, 256, 4)]
    assert count(of_d) == sum(conv(*layer) for layer in [*layers, (256, 512, 3)]) + 4 * 4 * 512 + 1


def test_resnet_is_table_4_at_32():
    """The numbers are those of torch-mimicry's `SNGANGenerator32` and `SNGANDiscriminator32`."""
    with torch.device("meta"):
        of_g = GENERATORS.find("resnet")((3, 32, 32), 128)
        of_d = DISCRIMINATORS.find("resnet")((3, 32, 32), norm="none")
    assert count(of_g) == 4_276_739
    first = conv(3, 128, 3) + conv(128, 128, 3) + conv(3, 128, 1)
    second = 2 * conv(128, 128, 3) + conv(128, 128, 1)
    assert count(of_d) == first + second + 4 * conv(128, 128, 3) + 128 + 1 == 1_053_825


def test_resnet_at_128_is_table_5():
    """The numbers are those of torch-mimicry's `SNGANGenerator128` and `SNGANDiscriminator128`."""
    with torch.device("meta"):
        of_g = GENERATORS.find("resnet")((3, 128, 128), 128)
        of_d = DISCRIMINATORS.find("resnet")((3, 128, 128), norm="none")
    assert count(of_g) == 32_150_787
    assert count(of_d) == 29_017_857
    ups = [m.short.out_channels for m in of_g.modules() if type(m).__name__ == "ResidualUp"]
    assert ups == [1024, 512, 256, 128, 64]
    downs = [m for m in of_d.modules() if type(m).__name__ == "ResidualDown"]
    wide = [[c for c in m.long if isinstance(c, nn.Conv2d)][-1].out_channels for m in downs]
    assert wide == [64, 128, 256, 512, 1024, 1024]
    assert of_d.layers(torch.empty(2, 3, 128, 128, device="meta")).shape == (2, 1024, 4, 4)


def test_r3_begins_as_the_identity_between_its_sizes():
    torch.manual_seed(0)
    block = Block(8, 4)
    maps = torch.randn(3, 8, 6, 6)
    assert torch.equal(block(maps), maps)
    nn.init.normal_(block.narrow.weight)
    assert not torch.equal(block(maps), maps)


def test_r3_has_no_norm_at_all():
    for network in (generator("r3")(CLASSED, 5), discriminator("r3")(CLASSED)):
        kinds = {type(module).__name__ for module in network.modules()}
        assert not any("Norm" in kind for kind in kinds), kinds


def test_r3_resamples_by_a_smooth_filter():
    """Halving is SciPy's convolution at every second place, doubling its transpose; the mean stays."""
    from scipy.signal import convolve2d

    maps = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    filter_ = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    padded = np.pad(maps[0, 0].numpy(), 1)
    halved = Resample(1, 1, up=False)(maps)[0, 0].detach().numpy()
    np.testing.assert_allclose(halved, convolve2d(padded, filter_, "valid")[::2, ::2], atol=1e-6)
    spaced = np.zeros((17, 17))
    spaced[1::2, 1::2] = maps[0, 0].numpy()
    doubled = Resample(1, 1, up=True)(maps)[0, 0].detach().numpy()
    np.testing.assert_allclose(
        doubled, convolve2d(np.pad(spaced, 1), 4 * filter_, "valid")[:16, :16], atol=1e-6
    )
    flat = Resample(1, 1, up=True)(torch.ones(1, 1, 8, 8))[0, 0, 1:-1, 1:-1]
    torch.testing.assert_close(flat, torch.ones_like(flat))


# Attention and the spread of a batch


def test_attention_is_its_equation():
    torch.manual_seed(0)
    layer, maps = SelfAttention(16).double(), torch.randn(2, 16, 4, 4).double()
    assert torch.equal(layer(maps), maps), "at first it adds nothing"
    nn.init.constant_(layer.share, 0.7)
    flat = {
        name: np.einsum("oi,bihw->bohw", module.weight[:, :, 0, 0].detach().numpy(), maps.numpy())
        for name, module in layer.named_children()
        if name not in ("back", "pool")
    }
    pooled = {
        name: flat[name].reshape(2, -1, 2, 2, 2, 2).max((3, 5)).reshape(2, -1, 4)
        for name in ("key", "value")
    }
    weights = np.exp(np.einsum("bcq,bck->bqk", flat["query"].reshape(2, -1, 16), pooled["key"]))
    weights /= weights.sum(-1, keepdims=True)
    seen = np.einsum("bqk,bck->bcq", weights, pooled["value"])
    back = np.einsum("oi,biq->boq", layer.back.weight[:, :, 0, 0].detach().numpy(), seen)
    expected = maps.numpy() + 0.7 * back.reshape(2, 16, 4, 4)
    np.testing.assert_allclose(layer(maps).detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("count", [4, 8, 6, 3])
def test_the_spread_of_a_batch_is_numpys(count):
    maps = torch.randn(count, 3, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    seen = BatchSpread()(maps)
    assert seen.shape == (count, 4, 2, 2)
    assert torch.equal(seen[:, :3], maps)
    size = math.gcd(4, count)
    rest = count // size
    for sample in range(count):
        group = maps.numpy()[sample % rest :: rest]
        assert len(group) == size
        expected = np.sqrt(group.var(0) + 1e-8).mean()
        np.testing.assert_allclose(seen[sample, 3].numpy(), expected, rtol=1e-9)


# Norms


def test_layer_group_and_instance_norm_are_numpys():
    maps = torch.randn(3, 64, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    for norm, groups in (("layer", 1), ("group", 32), ("instance", 64)):
        [module] = activation_norm(norm, 64, spatial=True)
        grouped = maps.numpy().reshape(3, groups, -1)
        expected = grouped - grouped.mean(-1, keepdims=True)
        expected /= np.sqrt(grouped.var(-1, keepdims=True) + 1e-5)
        found = module.double()(maps).detach().numpy().reshape(3, groups, -1)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_conditional_batch_norm_has_a_scale_and_a_shift_for_each_class():
    torch.manual_seed(0)
    [many] = activation_norm("conditional-batch", 100, spatial=True, classes=30)
    assert [name for name, _ in many.named_parameters()] == ["scale.weight", "shift.weight"]
    assert many.scale.weight.mean().item() == pytest.approx(1, abs=0.002)
    assert many.scale.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not many.shift.weight.any()
    [module] = activation_norm("conditional-batch", 4, spatial=False, classes=3)
    nn.init.normal_(module.scale.weight), nn.init.normal_(module.shift.weight)
    inputs, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 2, 1, 0])
    plain = nn.BatchNorm1d(4, affine=False)(inputs)
    expected = plain * module.scale.weight[labels] + module.shift.weight[labels]
    torch.testing.assert_close(module(inputs, labels), expected)


@pytest.mark.parametrize("name", ["mlp", "dcgan", "sndcgan", "resnet"])
@pytest.mark.parametrize("init", INITS)
def test_the_effective_weights_of_spectral_norm_are_of_the_initialisation(name, init):
    """Torch's parametrized spectral norm swallows an initialisation made after it, without a word."""
    for build in (
        lambda **o: generator(name, norm="spectral", **o)(CLASSED, 5),
        lambda **o: discriminator(name, norm="spectral", **o)(CLASSED),
    ):
        torch.manual_seed(0)
        network = build(init=init)
        layers = [
            m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        ]
        assert layers
        for layer in layers:
            original = layer.parametrizations.weight.original
            if init == "orthogonal":
                rows = original.detach().flatten(1)
                small = min(rows.shape)
                gram = rows @ rows.T if len(rows) == small else rows.T @ rows
                torch.testing.assert_close(gram, torch.eye(small), rtol=1e-4, atol=1e-4)
            if init == "normal" and original.numel() > 500:
                assert original.std().item() == pytest.approx(0.02, rel=0.15)
            turned = isinstance(layer, nn.ConvTranspose2d)
            weight = layer.eval().weight.detach()
            matrix = (weight.transpose(0, 1) if turned else weight).flatten(1).numpy()
            assert np.linalg.svd(matrix, compute_uv=False)[0] == pytest.approx(1, rel=0.15)
            torch.testing.assert_close(
                weight / weight.norm(),
                original.detach() / original.detach().norm(),
                rtol=1e-4,
                atol=1e-5,
            )


@pytest.mark.parametrize("name", [*CONVOLUTIONAL, "mlp"])
def test_initialisations_have_their_spread(name):
    for init in INITS:
        torch.manual_seed(0)
        wide = partial(DISCRIMINATORS.find(name), width=64, init=init, init_std=0.3)
        network = wide(CLASSED) if name == "r3" else wide(CLASSED, norm="none")
        kinds = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
        for layer in (m for m in network.modules() if isinstance(m, kinds)):
            if layer.weight.numel() < 2000:
                continue
            fan_out, fan_in = len(layer.weight), layer.weight[0].numel()
            spread = {
                "normal": 0.3,
                "xavier": math.sqrt(2 / (fan_in + fan_out * layer.weight[0][0].numel())),
                "kaiming": math.sqrt(2 / 1.04 / fan_in),
                "orthogonal": math.sqrt(min(fan_out, fan_in) / (fan_out * fan_in)),
            }
            assert layer.weight.std().item() == pytest.approx(spread[init], rel=0.1), (init, layer)
            assert layer.bias is None or not layer.bias.any()


def test_spectral_norm_of_a_transposed_convolution_equals_torch():
    torch.manual_seed(0)
    ours, theirs = (nn.ConvTranspose2d(6, 4, 3) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    spectral_norm(ours)
    theirs = nn.utils.parametrizations.spectral_norm(theirs, n_power_iterations=30)
    inputs = torch.randn(2, 6, 5, 5)
    for _ in range(30):
        left, right = ours(inputs), theirs(inputs)
    torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


def test_what_was_added_is_not_written_where_it_has_its_default():
    """Configurations of before are written as before, so that their digests are the same."""
    for name, kept in (
        ("mlp", {"depth", "width", "norm", "conditional"}),
        ("dcgan", {"depth", "width", "norm"}),
    ):
        for registry in (GENERATORS, DISCRIMINATORS):
            assert set(registry.options(name)().model_dump()) == kept
            assert "init" in registry.options(name)(init="xavier").model_dump()

"""Normalisation: what each name does, and spectral norm against numpy's SVD."""

from __future__ import annotations

import copy
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from gansearch.networks.dcgan import Discriminator
from gansearch.networks.mlp import Discriminator as MLPDiscriminator
from gansearch.networks.mlp import Generator as MLPGenerator
from gansearch.networks.norms import (
    FlatDiscriminatorNorm,
    FlatGeneratorNorm,
    activation_norm,
    biased,
    spectral_norm,
)

NORMS = ["none", "batch", "layer", "spectral"]


def largest_singular_values(network):
    return [
        np.linalg.svd(layer.weight.detach().flatten(1).numpy(), compute_uv=False)[0]
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]


def test_spectral_norm_makes_sigma_one():
    torch.manual_seed(0)
    network = Discriminator((1, 16, 16), width=8, norm="spectral")
    for _ in range(50):
        network(torch.randn(2, 1, 16, 16))
    np.testing.assert_allclose(largest_singular_values(network.eval()), 1.0, rtol=1e-3)


def test_spectral_norm_holds_from_the_first_step_and_while_weights_move():
    torch.manual_seed(0)
    network = Discriminator((1, 16, 16), width=8, norm="spectral")
    np.testing.assert_allclose(largest_singular_values(network.eval()), 1.0, rtol=0.1)
    optimiser = torch.optim.Adam(network.train().parameters(), 1e-2)
    for _ in range(20):
        optimiser.zero_grad()
        network(torch.randn(8, 1, 16, 16)).mean().backward()
        optimiser.step()
    network(torch.randn(2, 1, 16, 16))
    np.testing.assert_allclose(largest_singular_values(network.eval()), 1.0, rtol=0.1)


def test_spectral_norm_equals_torch():
    torch.manual_seed(0)
    ours, theirs = nn.Linear(6, 4), nn.Linear(6, 4)
    theirs.load_state_dict(ours.state_dict())
    spectral_norm(ours)
    theirs = nn.utils.parametrizations.spectral_norm(theirs, n_power_iterations=30)
    inputs = torch.randn(5, 6)
    for _ in range(30):
        left, right = ours(inputs), theirs(inputs)
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        torch.autograd.grad(left.square().sum(), ours.parametrizations.weight.original)[0],
        torch.autograd.grad(right.square().sum(), theirs.parametrizations.weight.original)[0],
        rtol=1e-3,
        atol=1e-4,
    )


def test_spectral_norm_rests_in_evaluation():
    network = Discriminator((1, 8, 8), width=4, norm="spectral").eval()
    before = copy.deepcopy(network.state_dict())
    network(torch.randn(2, 1, 8, 8))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_spectral_norm_under_autocast(training):
    torch.manual_seed(0)
    network = Discriminator((1, 16, 16), width=8, norm="spectral").train(training)
    images = torch.randn(8, 1, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(images)
    logits.float().sum().backward()
    torch.testing.assert_close(logits.float(), network(images), rtol=0.1, atol=0.03)


@pytest.mark.parametrize("norm", NORMS)
def test_two_forward_passes_before_a_backward_one(norm):
    """The discriminator's step sees real and fake images one after the other."""
    network = Discriminator((1, 8, 8), width=4, norm=norm)
    total = network(torch.randn(4, 1, 8, 8)).mean() - network(torch.randn(4, 1, 8, 8)).mean()
    total.backward()


@pytest.mark.parametrize("norm", NORMS)
def test_replicas_stacked_by_vmap_equal_a_loop(norm):
    torch.manual_seed(0)
    networks = [Discriminator((1, 8, 8), width=4, norm=norm) for _ in range(3)]
    alone = copy.deepcopy(networks)
    parameters, buffers = stack_module_state(networks)
    images = torch.randn(3, 5, 1, 8, 8)
    for _ in range(2):  # the second pass starts from the buffers that the first one left
        stacked = vmap(lambda p, b, x: functional_call(networks[0], (p, b), (x,)))(
            parameters, buffers, images
        )
        looped = torch.stack([network(x) for network, x in zip(alone, images, strict=True)])
        torch.testing.assert_close(stacked, looped, rtol=1e-4, atol=1e-5)
    for name, buffer in buffers.items():
        assert torch.allclose(buffer, torch.stack([n.state_dict()[name] for n in alone]), atol=1e-5)


def test_layer_norm_is_each_sample_for_itself_and_batch_norm_is_not():
    torch.manual_seed(0)
    images = torch.randn(4, 1, 8, 8)
    for norm in ("none", "layer", "spectral", "batch"):
        network = Discriminator((1, 16, 16), width=4, norm=norm)
        larger = nn.functional.interpolate(images, 16)
        network(larger)  # lets the power iteration settle a little
        changed = torch.cat([larger[:1], 3 * larger[1:]])
        same = torch.allclose(network(larger)[0], network(changed)[0], rtol=1e-2, atol=1e-4)
        assert same == (norm != "batch")


def test_names():
    kinds = {
        ("batch", True): nn.BatchNorm2d,
        ("batch", False): nn.BatchNorm1d,
        ("layer", True): nn.GroupNorm,
    }
    for (norm, spatial), kind in kinds.items():
        (module,) = activation_norm(norm, 4, spatial=spatial)
        assert isinstance(module, kind)
        assert sum(p.numel() for p in module.parameters()) == 8, "a scale and a shift each"
    for norm in ("none", "spectral"):
        assert activation_norm(norm, 4, spatial=True) == []
    every = ("none", "spectral", "layer", "group", "instance", "batch", "conditional-batch")
    assert [name for name in every if not biased(name)] == ["batch", "conditional-batch"]


@pytest.mark.parametrize(
    ("width", "groups"), [(8, 1), (16, 1), (24, 1), (32, 2), (64, 4), (100, 4), (128, 8), (1024, 32)]
)
def test_groups_of_units_are_of_sixteen_at_least(width, groups):
    (module,) = activation_norm("group", width, spatial=False)
    assert module.num_groups == groups


@pytest.mark.parametrize("width", [8, 32, 64])
@pytest.mark.parametrize(
    "norm", sorted({*get_args(FlatGeneratorNorm), *get_args(FlatDiscriminatorNorm)})
)
def test_no_norm_of_an_mlp_leaves_nothing(norm, width):
    """What a network gives varies with what it is given, about as without a norm."""
    torch.manual_seed(0)
    latents, images = torch.randn(64, 8), torch.randn(64, 1, 8, 8)
    options = {"width": width, "depth": 1}
    if norm in get_args(FlatGeneratorNorm) and norm != "conditional-batch":
        made = [
            MLPGenerator((1, 8, 8), 8, norm=each, **options)(latents).std(0).mean().item()
            for each in (norm, "none")
        ]
        assert made[0] > 0.1 * made[1]
    if norm in get_args(FlatDiscriminatorNorm):
        judged = [
            MLPDiscriminator((1, 8, 8), norm=each, **options)(images).std().item()
            for each in (norm, "none")
        ]
        assert judged[0] > 0.1 * judged[1]

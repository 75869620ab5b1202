"""Stacked layers and optimizers: each row is what it is alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn, optim
from torch.nn.utils import parametrizations

from gansearch.data.domain import Images
from gansearch.networks import dcgan, mlp
from gansearch.networks.norms import spectral_norm
from gansearch.networks.stacked import CannotStack, stack, stacked_name
from gansearch.training.optimizers import OPTIMIZERS
from gansearch.training.stacked.side import Side

ROWS, BATCH = 3, 10


class Given(nn.Sequential):
    """Layers in a row, as a user's network that stacks."""

    stacks = True


def spectral(*layers):
    network = Given(*layers)
    spectral_norm(network)
    return network


def maps(*layers):
    """Behind which there are two maps of 8 x 8."""
    return nn.Linear(6, 128), nn.Unflatten(1, (2, 8, 8)), *layers


class TwoWays(nn.Module):
    """Rows of layers that see the same inputs and are given the same gradient."""

    stacks = True

    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(0.2), nn.Linear(5, 4), nn.ReLU())
        self.other = nn.Sequential(nn.Linear(6, 4, bias=False), nn.BatchNorm1d(4), nn.LeakyReLU(0.1))
        self.third = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 4))

    def forward(self, inputs):
        return self.third(inputs) + self.one(inputs) + self.other(inputs)


def spectral_two_ways():
    network = TwoWays()
    spectral_norm(network)
    return network


def one_activation(act):
    """A network that uses one module twice, as is common for what has no weights."""
    return Given(nn.Sequential(nn.Linear(6, 5), act, nn.Linear(5, 5), act, nn.Linear(5, 4)))


NETWORKS = {
    "one tanh, twice": lambda: one_activation(nn.Tanh()),
    "one leaky relu, twice": lambda: one_activation(nn.LeakyReLU(0.2)),
    "two ways": TwoWays,
    "spectral, two ways": spectral_two_ways,
    "in a row": lambda: Given(
        nn.Sequential(
            *(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5), nn.LeakyReLU(0.2)),
            *(nn.Linear(5, 4), nn.Linear(4, 5), nn.ReLU(), nn.Identity()),
            *(nn.Linear(5, 3, bias=False), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2)),
        )
    ),
    "norm behind an activation": lambda: Given(
        nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(0.2), nn.BatchNorm1d(5), nn.Linear(5, 2))
    ),
    "linear": lambda: Given(nn.Linear(6, 5), nn.LeakyReLU(0.2, True), nn.Linear(5, 4, bias=False)),
    "batch norm": lambda: Given(nn.Linear(6, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU(inplace=True)),
    "batch norm without weights": lambda: Given(nn.BatchNorm1d(6, affine=False), nn.Tanh()),
    "group norm": lambda: Given(nn.Linear(6, 8), nn.GroupNorm(2, 8), nn.ELU()),
    "layer norm": lambda: Given(nn.Linear(6, 8), nn.LayerNorm(8), nn.Sigmoid()),
    "spectral": lambda: spectral(nn.Linear(6, 5), nn.LeakyReLU(0.2), nn.Linear(5, 1, bias=False)),
    "shapes": lambda: Given(nn.Unflatten(1, (2, 3)), nn.Flatten(), nn.Linear(6, 2)),
    "convolutions": lambda: Given(
        *maps(nn.Conv2d(2, 3, 4, 2, 1), nn.LeakyReLU(0.2, True), nn.Conv2d(3, 4, 3, bias=False))
    ),
    "transposed": lambda: Given(
        *maps(nn.ConvTranspose2d(2, 3, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(3, 1, 3), nn.Tanh())
    ),
    "groups and dilation": lambda: Given(*maps(nn.Conv2d(2, 4, 3, groups=2, dilation=2, padding=1))),
    "batch norm of maps": lambda: Given(
        *maps(nn.Conv2d(2, 3, 4, 2, 1, bias=False), nn.BatchNorm2d(3), nn.ReLU(True), nn.Flatten())
    ),
    "group norm of maps": lambda: Given(
        *maps(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.LeakyReLU(0.1))
    ),
    "spectral convolutions": lambda: spectral(
        *maps(nn.Conv2d(2, 3, 4, 2, 1), nn.LeakyReLU(0.2), nn.ConvTranspose2d(3, 2, 4, 2, 1))
    ),
    "pooling": lambda: Given(
        *maps(nn.Conv2d(2, 3, 3), nn.AvgPool2d(2), nn.Upsample(scale_factor=2), nn.MaxPool2d(2))
    ),
    "nested": lambda: Given(nn.Sequential(nn.Linear(6, 5), nn.GELU()), nn.Sequential(nn.Linear(5, 2))),
}


def built(make, rows=ROWS):
    networks = []
    for row in range(rows):
        torch.manual_seed(row)
        networks.append(make())
        scales = [p for name, p in networks[-1].named_parameters() if name.endswith("weight")]
        for tensor in (*scales, *networks[-1].buffers()):
            if tensor.is_floating_point() and tensor.dim() == 1:  # a norm's scale is no longer 1
                tensor.detach().add_(torch.rand_like(tensor))
    return networks


def close(ours, theirs, tolerance=5e-6):
    assert ours.shape == theirs.shape
    assert (ours - theirs).norm() <= tolerance * theirs.norm() + 1e-7


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_gradients_and_buffers_are_those_of_each_alone(name, twice):
    networks = built(NETWORKS[name])
    stacked = stack(networks)
    torch.manual_seed(9)
    inputs = torch.randn(ROWS, BATCH, 6)
    inputs[1] *= 50
    ours = inputs.clone().requires_grad_()
    outputs = (stacked.differentiable_twice if twice else stacked)(ours)
    weights = torch.randn_like(outputs)
    (outputs * weights).sum().backward()
    found = dict(stacked.network.named_parameters()) | dict(stacked.network.named_buffers())
    for row, network in enumerate(networks):
        theirs = inputs[row].clone().requires_grad_()
        output = network(theirs)
        (output * weights[row]).sum().backward()
        close(outputs[row], output)
        close(ours.grad[row], theirs.grad)
        assert len([*network.parameters(), *network.buffers()]) == len(found)
    for row, network in enumerate(networks):
        for key, parameter in network.named_parameters():
            close(found[stacked_name(key)].grad[row], parameter.grad)
        for key, buffer in network.named_buffers():
            close(found[stacked_name(key)][row].float(), buffer.float())
        network.eval()
    stacked.eval()
    seen = stacked(inputs)
    for row, network in enumerate(networks):
        close(seen[row], network(inputs[row]))


@pytest.mark.parametrize(
    "name", ["linear", "group norm", "spectral", "batch norm", "convolutions", "spectral convolutions"]
)
def test_a_slope_can_be_differentiated_once_more(name):
    networks = built(NETWORKS[name])
    stacked = stack(networks)
    inputs = torch.randn(ROWS, BATCH, 6)

    def slope(network, at):
        at = at.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(at).square().sum(), at, create_graph=True)
        return gradient

    slope(stacked.differentiable_twice, inputs).square().sum().backward()
    for row, network in enumerate(networks):
        slope(network, inputs[row]).square().sum().backward()
    for ours, *theirs in zip(stacked.parameters(), *(n.parameters() for n in networks), strict=True):
        if "spectral" not in name:  # whose parameters are in another order
            for row, parameter in enumerate(theirs):
                close(ours.grad[row], parameter.grad, 1e-5)


def test_two_batches_in_one_pass_are_as_two_passes():
    networks = built(NETWORKS["spectral"])
    stacked, one, two = stack(networks), torch.randn(ROWS, BATCH, 6), torch.randn(ROWS, BATCH, 6)
    with stacked.in_turn(2):
        both = stacked(torch.cat([one, two], 1))
    both.square().sum().backward()
    for row, network in enumerate(networks):
        first, second = network(one[row]), network(two[row])
        close(both[row], torch.cat([first, second]))
        (first.square().sum() + second.square().sum()).backward()
        weight = network[0].parametrizations.weight
        close(stacked.network[0].weight.grad[row], weight.original.grad)
        close(stacked.network[0].u[row], weight[0].u)


def test_rows_of_nan_leave_the_others_as_they_are():
    for name in NETWORKS.keys() - {"batch norm without weights"}:
        make = NETWORKS[name]
        inputs = torch.randn(ROWS, BATCH, 6)
        grads = []
        for broken in (False, True):
            stacked = stack(built(make))
            given = inputs.clone()
            if broken:
                given[1] = torch.nan
            stacked(given).flatten(1).sum(1).backward(torch.ones(ROWS))
            grads.append([p.grad[[0, 2]] for p in stacked.parameters()])
        for before, after in zip(*grads, strict=True):
            assert torch.equal(before, after)


DOMAIN = Images((1, 8, 8), ("a", "b", "c"))
CONDITIONAL = {
    "embedding": lambda: mlp.Discriminator(DOMAIN, depth=1, width=8, conditional=True),
    "projection": lambda: mlp.Discriminator(
        DOMAIN, depth=1, width=8, conditional=True, classes="projection"
    ),
    "joined": lambda: mlp.Generator(DOMAIN, 6, depth=1, width=8, conditional=True),
    "norm": lambda: mlp.Generator(
        DOMAIN, 6, depth=1, width=8, conditional=True, norm="conditional-batch"
    ),
    "maps, projection": lambda: dcgan.Discriminator(DOMAIN, width=4, conditional=True),
    "maps, joined": lambda: dcgan.Generator(DOMAIN, 6, width=4, conditional=True),
    "maps, norm": lambda: dcgan.Generator(
        DOMAIN, 6, width=4, conditional=True, norm="conditional-batch"
    ),
}


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_conditional_network_takes_its_classes(name):
    networks = built(CONDITIONAL[name])
    shape = (6,) if name.endswith(("joined", "norm")) else DOMAIN.shape
    inputs, labels = torch.randn(ROWS, BATCH, *shape), torch.randint(3, (ROWS, BATCH))
    stacked = stack(networks)
    outputs = stacked(inputs, labels)
    outputs.square().sum().backward()
    found = dict(stacked.network.named_parameters())
    for row, network in enumerate(networks):
        alone = network(inputs[row], labels[row])
        close(outputs[row], alone)
        alone.square().sum().backward()
        for key, parameter in network.named_parameters():
            close(found[stacked_name(key)].grad[row], parameter.grad, 1e-5)


def test_what_cannot_be_stacked_is_named():
    class Silent(nn.Sequential):
        pass

    class Weighty(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))

    for make, words in (
        (lambda: Silent(nn.Linear(2, 2)), "does not say that it stacks"),
        (lambda: Given(nn.Linear(2, 2), nn.Dropout(0.1)), "a layer torch.nn.modules.dropout.Dropout"),
        (lambda: Given(nn.Bilinear(2, 2, 2)), "Bilinear"),
        (lambda: Given(nn.Linear(2, 2), Weighty()), "a layer .*Weighty"),
        (lambda: Given(parametrizations.weight_norm(nn.Linear(2, 2))), "a parametrized weight"),
    ):
        with pytest.raises(CannotStack, match=words):
            stack([make(), make()])


SETTINGS = [
    ("adam", [{}, {"lr": 1e-2}, {"beta1": 0.0, "beta2": 0.9}]),
    ("adamw", [{}, {"lr": 1e-2, "weight_decay": 0.3}, {"beta1": 0.9}]),
    ("rmsprop", [{}, {"lr": 1e-2}, {"alpha": 0.5}]),
    ("sgd", [{}, {"lr": 0.2, "momentum": 0.9}, {"momentum": 0.5}]),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=[name for name, _ in SETTINGS])
def test_optimizers_are_torch_s_for_each_row(name, settings):
    """1,000 steps, the first 300 of each alone, its own settings, a row of NaN beside them."""
    networks = built(lambda: Given(nn.Linear(9, 7), nn.Linear(7, 1)), rows=len(settings) + 1)
    alone = copy.deepcopy(networks)
    make = [
        lambda network, options=options: OPTIMIZERS.build(name, options, network.parameters())
        for options in [*settings, settings[1]]
    ]
    theirs = [each(network) for each, network in zip(make, alone, strict=True)]
    chance = torch.Generator().manual_seed(1)

    def gradients(step):
        return [
            [10.0 ** (step % 5 - 2) * torch.randn(p.shape, generator=chance) for p in each.parameters()]
            for each in networks
        ]

    def train_alone(step, grads):
        for network, optimizer, own in zip(alone, theirs, grads, strict=True):
            for parameter, gradient in zip(network.parameters(), own, strict=True):
                parameter.grad = gradient
            optimizer.step()

    for step in range(300):
        train_alone(step, gradients(step))
    ours = [each(network) for each, network in zip(make, networks, strict=True)]
    for network, optimizer, known, state in zip(networks, ours, alone, theirs, strict=True):
        network.load_state_dict(known.state_dict())
        optimizer.load_state_dict(copy.deepcopy(state.state_dict()))
    side = Side(networks, ours)
    for step in range(300, 1000):
        grads = gradients(step)
        train_alone(step, grads)
        for row, own in enumerate(grads):
            for part, gradient in zip(side.split(side.gradients), own, strict=True):
                part[row] = torch.nan if row == 3 else gradient
        side.optimizer.step()
    for row in range(3):
        side.optimizer.give(row)
        for parameter, known in zip(networks[row].parameters(), alone[row].parameters(), strict=True):
            close(parameter, known, 3e-6)
        state, known = ours[row].state_dict()["state"], theirs[row].state_dict()["state"]
        assert state.keys() == known.keys()
        for key in known:
            assert state[key].keys() == known[key].keys()
            for what, value in known[key].items():
                if value is None:
                    assert state[key][what] is None
                else:
                    close(state[key][what], value, 3e-6)


@pytest.mark.parametrize(("name", "settings"), SETTINGS, ids=[name for name, _ in SETTINGS])
def test_who_takes_a_row_has_its_own_settings(name, settings):
    """And so have the others, also where all were alike before."""
    networks = built(lambda: Given(nn.Linear(9, 7)), rows=4)
    alone = copy.deepcopy(networks)
    options = [settings[1], settings[1], settings[1], settings[2]]
    ours, theirs = (
        [
            OPTIMIZERS.build(name, each, net.parameters())
            for each, net in zip(options, nets, strict=True)
        ]
        for nets in (networks, alone)
    )
    side = Side(networks[:3], ours[:3])
    for rows in ([0, 1, 2], [0, 3, 2]):
        if rows[1] == 3:
            side.take(1, networks[3], ours[3])
        for _ in range(2):
            for row, number in enumerate(rows):
                known = zip(side.split(side.gradients), alone[number].parameters(), strict=True)
                for part, parameter in known:
                    parameter.grad = part[row].normal_().clone()
                theirs[number].step()
            side.optimizer.step()
    for number in (0, 3, 2):
        pairs = zip(networks[number].parameters(), alone[number].parameters(), strict=True)
        for parameter, known in pairs:
            close(parameter, known, 3e-6)


def test_a_network_of_which_a_part_is_frozen_is_none_of_several():
    networks = built(lambda: Given(nn.Linear(3, 2)))
    networks[0][0].bias.requires_grad_(False)
    optimizers = [OPTIMIZERS.build("sgd", {}, network.parameters()) for network in networks]
    with pytest.raises(CannotStack, match="a network with frozen weights"):
        Side(networks, optimizers)


def test_who_takes_a_row_brings_its_buffers():
    """A norm's running statistics, and the vectors of a spectral one."""
    networks = built(lambda: spectral(nn.Linear(5, 4), nn.BatchNorm1d(4)))
    optimizers = [OPTIMIZERS.build("sgd", {}, network.parameters()) for network in networks]
    known = [{k: b.clone() for k, b in network.named_buffers()} for network in networks]
    assert len(known[0]) == 5
    side = Side(networks[:2], optimizers[:2])
    side.take(1, networks[2], optimizers[2])
    ours = dict(side.network.named_buffers())
    for row, number in enumerate((0, 2)):
        for name, buffer in known[number].items():
            assert torch.equal(ours[stacked_name(name)][row], buffer)
            assert torch.equal(networks[number].get_buffer(name), buffer)


@pytest.mark.filterwarnings("ignore:grad and param do not obey")
@pytest.mark.parametrize("way", ["once", "twice as much", "both", "by autograd", "never"])
@pytest.mark.parametrize(
    "name", ["two ways", "spectral, two ways", "in a row", "layer norm", "batch norm"]
)
def test_gradients_are_of_one_step(name, way):
    """Whatever stood there before, which is NaN in a row whose training diverged."""
    networks = built(NETWORKS[name])
    fresh = stack(networks)
    side = Side(networks, [OPTIMIZERS.build("sgd", {}, network.parameters()) for network in networks])

    def backward(stacked):
        passes = {
            "once": [stacked],
            "twice as much": [stacked, stacked],
            "both": [stacked, stacked.differentiable_twice, stacked],
            "by autograd": [stacked.differentiable_twice],
            "never": [],
        }
        torch.manual_seed(0)
        outputs = [each(torch.randn(ROWS, BATCH, 6)).square().sum() for each in passes[way]]
        if outputs:
            sum(outputs).backward()

    for stacked in (fresh, side.stacked):
        for gradient in side.split(side.gradients):
            gradient.fill_(torch.nan)
        side.clear()
        backward(stacked)
        side.settle()
    known = dict(fresh.network.named_parameters())
    for key, ours in zip(side.names, side.split(side.gradients), strict=True):
        theirs = known[key].grad
        close(ours, torch.zeros_like(ours) if theirs is None else theirs)


def test_odd_options_of_optimizers_are_refused():
    def side(make):
        networks = built(lambda: Given(nn.Linear(2, 2)), rows=2)
        return Side(networks, [make(network.parameters()) for network in networks])

    for make, words in (
        (lambda p: optim.Adam(p, amsgrad=True), "amsgrad"),
        (lambda p: optim.SGD(p, lr=1, momentum=0.9, nesterov=True), "nesterov"),
        (optim.Adagrad, "an optimizer Adagrad"),
    ):
        with pytest.raises(CannotStack, match=words):
            side(make)

"""The conformance suite: our own parts pass it, and each broken part is caught in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gansearch.data import ImageData
from gansearch.data.digits import digits
from gansearch.data.domain import Images
from gansearch.losses import ADVERSARIAL, LOSSES, PENALTIES
from gansearch.losses.clipping import Clipping
from gansearch.losses.hinge import Hinge
from gansearch.losses.r1 import R1
from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.testing import (
    check_dataset,
    check_discriminator,
    check_generator,
    check_loss,
    check_penalty,
    check_stacked,
)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_our_losses(name):
    check_loss(LOSSES.find(name))


@pytest.mark.parametrize("name", PENALTIES.names)
def test_our_penalties(name):
    check_penalty(PENALTIES.find(name))


def normed(registry, norms):
    """Each network with each norm that it may have, and one that has none as it is."""
    has = {name: "norm" in registry.options(name).model_fields for name in registry.names}
    return [
        pytest.param(name, {"width": 8} | ({"norm": norm} if has[name] else {}), id=f"{name}-{norm}")
        for name in registry.names
        for norm in (norms if has[name] else [None])
    ]


@pytest.mark.parametrize(("name", "options"), normed(GENERATORS, ["batch", "none"]))
def test_our_generators(name, options):
    check_generator(lambda shape, latent: GENERATORS.build(name, options, shape, latent))


@pytest.mark.parametrize(
    ("name", "options"), normed(DISCRIMINATORS, ["none", "batch", "layer", "spectral"])
)
def test_our_discriminators(name, options):
    check_discriminator(lambda shape: DISCRIMINATORS.build(name, options, shape))


def test_our_defaults():
    check_generator(GENERATORS.find("dcgan"), shapes=((1, 8, 8),))
    check_discriminator(DISCRIMINATORS.find("dcgan"), shapes=((1, 8, 8),))
    check_dataset(digits)


# Parts that break the contract, each in one way.


class MeanOverAll(Hinge):
    def d(self, real, fake):
        return super().d(real, fake).mean()


class MixesReplicas(Hinge):
    def d(self, real, fake):
        return super().d(real - real.mean(), fake)


class Overflows(Hinge):
    def g(self, real, fake):
        return torch.log(1 + torch.exp(-fake)).mean(-1)


class InPlace(Hinge):
    def g(self, real, fake):
        return -fake.mul_(2).mean(-1) / 2 if not fake.requires_grad else super().g(real, fake)


class Detached(Hinge):
    def g(self, real, fake):
        return super().g(real, fake.detach())


class NoDecision(Hinge):
    decision = "zero"


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (MeanOverAll, "must give"),
        (MixesReplicas, "independent"),
        (Overflows, "g: not finite"),
        (InPlace, "fake logits in place|independent"),
        (Detached, "g: the gradient by the fake logits is cut off"),
        (NoDecision, "decision"),
    ],
)
def test_broken_losses(loss, message):
    with pytest.raises(AssertionError, match=message):
        check_loss(loss)


class SumsReplicas(R1):
    def __call__(self, critic, real, fake):
        return super().__call__(critic, real, fake).sum() + torch.zeros(real.shape[:-2])


class NoGraph(R1):
    def __call__(self, critic, real, fake):
        return super().__call__(critic, real, fake).detach()


class MarksImages(R1):
    def __call__(self, critic, real, fake):
        real.requires_grad_()
        return super().__call__(critic, real, fake)


class ClipsCopies(Clipping):
    def constrain(self, parameters):
        super().constrain([parameter.clone() for parameter in parameters])


class ClipsTheFirst(Clipping):
    def constrain(self, parameters):
        super().constrain(parameters[:1])


class ShrinksForEver(Clipping):
    def constrain(self, parameters):
        for parameter in parameters:
            parameter.mul_(0.5)


class Divides(Clipping):
    def constrain(self, parameters):
        for parameter in parameters:
            parameter.div_(torch.zeros(1))


class DrawsGlobally(R1):
    def __call__(self, critic, real, fake):
        return super().__call__(critic, real * (1 + torch.rand_like(real)), fake)


class DrawsBesides(DrawsGlobally):
    def __call__(self, critic, real, fake, *, draws):
        return super().__call__(critic, real, fake)


class KeepsCount(R1):
    calls = 0

    def __call__(self, critic, real, fake, *, draws):
        self.calls += 1
        return self.calls * super().__call__(critic, real, fake)


@pytest.mark.parametrize(
    ("penalty", "message"),
    [
        (SumsReplicas, "independent"),
        (NoGraph, "cut off"),
        (MarksImages, "requires_grad"),
        (ClipsCopies, "in place, on every parameter"),
        (ClipsTheFirst, "in place, on every parameter"),
        (ShrinksForEver, "stay as it is"),
        (Divides, "not finite"),
        (DrawsBesides, "not from its `draws` alone"),
        (KeepsCount, "the same draws must give the same"),
    ],
)
def test_broken_penalties(penalty, message):
    with pytest.raises(AssertionError, match=message):
        check_penalty(penalty)


@pytest.mark.filterwarnings("error")
def test_a_penalty_of_three_arguments_may_draw_and_is_told_how_to_do_better():
    with pytest.warns(UserWarning, match=r"torch's global generator: take the keyword `draws`"):
        check_penalty(DrawsGlobally)
    check_penalty(R1)  # which has three arguments and draws nothing


class Net(nn.Module):
    """A generator of one layer, to be broken below."""

    def __init__(self, shape, latent_size):
        super().__init__()
        self.shape = shape
        self.layer = nn.Linear(latent_size, int(np.prod(shape)))

    def forward(self, latents):
        return self.layer(latents).tanh().reshape(-1, *self.shape)


class Unbounded(Net):
    def forward(self, latents):
        return self.layer(latents).reshape(-1, *self.shape)


class Flat(Net):
    def forward(self, latents):
        return super().forward(latents).flatten(1)


class SameForAll(Net):
    def forward(self, latents):
        return super().forward(latents).mean(0, keepdim=True).expand(len(latents), *self.shape)


class Unused(Net):
    def __init__(self, shape, latent_size):
        super().__init__(shape, latent_size)
        self.spare = nn.Linear(2, 2)


class NotOnMeta(Net):
    def __init__(self, shape, latent_size):
        super().__init__(shape, latent_size)
        self.register_buffer("scale", torch.from_numpy(np.ones(1)))


class Unseeded(Net):
    def __init__(self, shape, latent_size):
        super().__init__(shape, latent_size)
        draws = np.random.default_rng().normal(size=self.layer.bias.shape)
        self.layer.bias = nn.Parameter(torch.tensor(draws, dtype=torch.float32))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Unbounded, r"must lie in \[-1, 1\]"),
        (Flat, "the output must be"),
        (SameForAll, "two latents give one image"),
        (Unused, "no gradient reaches 'spare"),
        (NotOnMeta, "meta"),
        (Unseeded, "not the same under the same seed"),
    ],
)
def test_broken_generators(network, message):
    check_generator(Net)
    with pytest.raises(AssertionError, match=message):
        check_generator(network)


class Critic(nn.Module):
    """A discriminator whose logits are [B, 1]."""

    def __init__(self, shape):
        super().__init__()
        self.layer = nn.Linear(int(np.prod(shape)), 1)

    def forward(self, images):
        return self.layer(images.flatten(1))


def test_broken_discriminator():
    with pytest.raises(AssertionError, match=r"the output must be \[4\], not \[4, 1\]"):
        check_discriminator(Critic)


def one_split_for_both(root, split, image_size):
    data = digits(root, "train", image_size)
    return ImageData(data.name, split, data.images, data.labels, data.classes)


def ones_for_pixels(root, split, image_size):
    data = digits(root, split, image_size)
    return ImageData(data.name, split, data.images // 255, data.labels, data.classes)


def floats(root, split, image_size):
    data = digits(root, split, image_size)
    return ImageData(data.name, split, data.images / 255, data.labels, data.classes)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (one_split_for_both, "train and test are the same"),
        (ones_for_pixels, "span only 1 of 255"),
        (floats, "float64, not uint8"),
    ],
)
def test_broken_datasets(loader, message):
    with pytest.raises(AssertionError, match=message):
        check_dataset(loader, root=Path())


STACKS = [
    (side, name, norm, options)
    for side, registry in (("generator", GENERATORS), ("discriminator", DISCRIMINATORS))
    for name in registry.names
    if getattr(registry.find(name), "stacks", False)
    for norm in ("batch", "none", "spectral", "layer", "group")
    for options in ({}, {"conditional": True})
    if not (options and norm in ("none", "group"))
    if name != "r3"
]
STACKS += [
    (side, name, None, options | ({"minibatch_std": True} if side == "discriminator" else {}))
    for side in ("generator", "discriminator")
    for name in ("r3", "resnet", "sndcgan")
    for options in ({"attention": 4}, {"attention": 4, "conditional": True})
]


@pytest.mark.parametrize(("side", "name", "norm", "options"), STACKS, ids=str)
def test_our_stacks(side, name, norm, options):
    registry = GENERATORS if side == "generator" else DISCRIMINATORS
    # Groups of one number or two leave next to nothing of them.
    width = 256 if (name, norm) == ("mlp", "group") else 4
    options = options | {"width": width} | ({"norm": norm} if norm else {})
    check_stacked(
        lambda domain, *latent: registry.build(name, options, domain, *latent),
        side,
        (Images((1, 8, 8), ("a", "b")),),
    )


class Stacked(nn.Module):
    """A discriminator that stacks; its kinds each get one thing wrong."""

    stacks = True

    def __init__(self, domain):
        super().__init__()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.LeakyReLU(0.2))
        self.last = nn.Linear(8, 1)

    def forward(self, samples):
        return self.last(self.first(samples)).squeeze(-1)


class Silent(Stacked):
    stacks = False


class CountsFromTheFront(Stacked):
    def forward(self, samples):
        features = self.first(samples)
        return self.last(features - features.mean(1, keepdim=True)).squeeze(-1)


class FlattensAll(Stacked):
    def forward(self, samples):
        return self.last(self.first[1:](samples.view(len(samples), -1))).squeeze(-1)


class Merges(Stacked):
    def forward(self, samples):
        return super().forward(samples).flatten()


class SeesTheBatch(Stacked):
    def forward(self, samples):
        features = self.first(samples)
        return self.last(features - features.mean(-2, keepdim=True)).squeeze(-1)


class SeesAll(Stacked):
    def forward(self, samples):
        features = self.first(samples)
        return self.last(features / (1 + features.abs().mean())).squeeze(-1)


class Draws(Stacked):
    def forward(self, samples):
        return super().forward(samples + torch.randn_like(samples))


class DropsOut(Stacked):
    def __init__(self, domain):
        super().__init__(domain)
        self.first.append(nn.Dropout(0.5))


class Waves(Stacked):
    def __init__(self, domain):
        super().__init__(domain)
        self.waves = torch.randn(64, 64)

    def forward(self, samples):
        waves = samples.flatten(-3) @ self.waves
        return super().forward(waves.unflatten(-1, (1, 8, 8)))


class Grows(Stacked):
    stacks = False

    def __init__(self, domain):
        super().__init__(domain)
        self.register_buffer("bank", torch.zeros(0, 8))

    def forward(self, samples):
        features = self.first(samples)
        self.bank = torch.cat([self.bank, features.detach().mean(0, keepdim=True)])
        return self.last(features - self.bank.mean(0)).squeeze(-1)


class WeightOfItsOwn(Stacked):
    def __init__(self, domain):
        super().__init__(domain)
        self.scale = nn.Parameter(torch.ones(8))

    def forward(self, samples):
        return super().forward(samples) * self.scale.mean(-1)


class ByTheFirst(Stacked):
    """One network's numbers in all of them, though too small to be seen but by NaN."""

    def forward(self, samples):
        return super().forward(samples) + (samples.sum() * 0).detach()


class Told(Stacked):
    conditional = True

    def __init__(self, domain):
        super().__init__(domain)
        self.table = nn.Embedding(len(domain.classes), 8)

    def forward(self, samples, labels):
        features = self.first(samples)
        return self.last(features * self.table(labels)).squeeze(-1)


class ToldTheFirst(Told):
    """All networks are told the first one's labels."""

    def forward(self, samples, labels):
        return super().forward(samples, labels if labels.dim() == 1 else labels[:1].expand_as(labels))


def test_labels_are_each_network_s_own():
    shapes = (Images((1, 8, 8), ("a", "b")),)
    check_stacked(Told, "discriminator", shapes)
    with pytest.raises(AssertionError, match="outputs differ"):
        check_stacked(ToldTheFirst, "discriminator", shapes)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Silent, "does not say that it stacks: write `stacks = True`"),
        (CountsFromTheFront, "outputs differ .* count axes from the last one"),
        (FlattensAll, r"fails in a stack, on \[3, 4, 1, 8, 8\](.|\n)*count axes from the last one"),
        (Merges, r"must give \[3, 4\], not \[12\]: count axes from the last one"),
        (SeesTheBatch, "two batches in one pass differ .* samples of a batch see each other"),
        (SeesAll, "outputs differ"),
        (Draws, "draws random numbers"),
        (DropsOut, "cannot be stacked: a layer torch.nn.modules.dropout.Dropout"),
        (WeightOfItsOwn, "`forward` fails in a stack"),
        (ByTheFirst, "NaN in one network reaches another"),
        (
            Waves,
            "has a state that no checkpoint or export holds: keep what it must remember in buffers",
        ),
    ],
)
def test_broken_stacks(network, message):
    check_discriminator(Stacked, ((1, 8, 8),))
    check_stacked(Stacked, "discriminator", ((1, 8, 8),))
    with pytest.raises(AssertionError, match=message):
        check_stacked(network, "discriminator", ((1, 8, 8),))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Waves, "has a state that no checkpoint or export holds"),
        (Grows, "cannot go on from what it has saved: size mismatch for bank"),
    ],
)
def test_networks_that_would_be_others_when_they_go_on(network, message):
    with pytest.raises(AssertionError, match=message):
        check_discriminator(network, ((1, 8, 8),))


class Recalls(Hinge):
    """A loss with a memory."""

    mean = 0.0

    def d(self, real, fake):
        self.mean = 0.9 * self.mean + 0.1 * float(fake.detach().mean())
        return super().d(real, fake) + self.mean


class Recalled(R1):
    """A penalty with one, of which its state holds nothing."""

    mean = 0.0

    def observe(self, real, fake):
        self.mean = real.mean(-1)

    def __call__(self, critic, real, fake):
        return super().__call__(critic, real, fake) + self.mean

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_losses_and_penalties_that_remember():
    with pytest.raises(AssertionError, match="remembers something from one call to the next"):
        check_loss(Recalls)
    with pytest.raises(AssertionError, match="remembers something that its `state_dict` does not hold"):
        check_penalty(Recalled)

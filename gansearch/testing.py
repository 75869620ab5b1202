"""Does a part keep its contract? One line in a plug-in's own tests.

    from gansearch.testing import check_loss
    from my_package import MyLoss

    def test_my_loss():
        check_loss(MyLoss)

Each check takes what a study would name, a class or a function, and raises `AssertionError`
saying what was broken. gansearch's own parts pass the same checks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gansearch.augmentation import Augmentation
from gansearch.conformance.metrics import check_metric
from gansearch.conformance.optimizers import check_optimizer
from gansearch.conformance.pruners import check_pruner
from gansearch.conformance.samplers import check_sampler
from gansearch.data import DataSet, ImageData
from gansearch.data.domain import Domain, as_domain
from gansearch.data.load import validate
from gansearch.errors import DataError
from gansearch.losses import Constraint, Loss, Penalty
from gansearch.losses.draws import Draws, drawing_from, takes_draws
from gansearch.networks.stacked.check import StackCheck, told
from gansearch.training.building import described, is_conditional
from gansearch.training.kept import (
    forgotten,
    lost_of_loss,
    lost_of_network,
    lost_of_penalty,
    why_not_loaded,
)
from gansearch.training.outputs import CLIPS, hides_below_0

__all__ = [
    "check_augmentation",
    "check_dataset",
    "check_discriminator",
    "check_generator",
    "check_loss",
    "check_metric",
    "check_optimizer",
    "check_penalty",
    "check_pruner",
    "check_sampler",
    "check_stacked",
]

Shape = tuple[int, int, int]

SHAPES: tuple[Shape | Domain, ...] = ((1, 16, 16), (3, 32, 32))
"""Of images that networks are checked with, if nothing else is said."""

HOW_TO_DRAW = "write `draws.rand_like(x)` where it says `torch.rand_like(x)`"


def check_loss(factory: Callable[[], Loss]) -> None:
    """A loss: [..., B] -> [...] with free leading axes, differentiable, pure, finite."""
    loss = factory()
    decision = loss.decision
    assert isinstance(loss.g_uses_real, bool), "g_uses_real must be True or False"
    assert decision is None or isinstance(decision, float), "decision must be a float or None"

    def g(real: Tensor, fake: Tensor) -> Tensor:
        return loss.g(real if loss.g_uses_real else None, fake)

    real, fake = _seeded(2, 3, 5), _seeded(2, 3, 5, seed=1)
    before = real.clone(), fake.clone()
    for name, method in (("d", loss.d), ("g", g)):
        value = method(real, fake)
        assert value.shape == (2, 3), f"{name}: [2, 3, 5] must give [2, 3], not {[*value.shape]}"
        lost = lost_of_loss(factory())
        assert not lost, f"it {lost}"
        looped = [[method(real[i, j], fake[i, j]) for j in range(3)] for i in range(2)]
        _same(value, torch.tensor(looped), f"{name}: leading axes must be independent")
        for size in (1e-4, 1e4):
            value = method(real * size, fake * size)
            assert value.isfinite().all(), f"{name}: not finite at logits of about {size:g}"
    _same(real, before[0], "a loss must not change the real logits in place")
    _same(fake, before[1], "a loss must not change the fake logits in place")

    real, fake = real.requires_grad_(), fake.requires_grad_()
    d_loss, g_loss = loss.d(real, fake).sum(), g(real, fake).sum()
    assert real.grad is None, "a loss must not call backward"
    assert fake.grad is None, "a loss must not call backward"
    _reaches(d_loss, real, "d: the gradient by the real logits")
    _reaches(d_loss, fake, "d: the gradient by the fake logits")
    _reaches(g_loss, fake, "g: the gradient by the fake logits")


def check_penalty(factory: Callable[[], Penalty]) -> None:
    """A penalty: (critic, samples twice) -> [...], reaching the critic's parameters, by its
    gradient or by constraining them.

    Where it takes its random numbers as the keyword `draws`, it must draw from there alone, and the
    same again after the same seed. One that draws from torch's global generator works as well, and is
    warned of: trainings with it cannot be computed as one.
    """
    made = factory()
    chance = torch.Generator()
    penalty = drawing_from(Draws(chance), made)
    # One for any data is given numbers in a row, another what images are.
    shape = (12,) if getattr(made, "flat", False) else (3, 8, 8)
    weight = _seeded(*shape).requires_grad_()

    def critic(samples: Tensor) -> Tensor:
        return (weight * samples.square()).flatten(-len(shape)).sum(-1)

    real, fake = _seeded(2, 5, *shape), _seeded(2, 5, *shape, seed=1)
    before = real.clone(), fake.clone()
    torch.manual_seed(0)
    chance.manual_seed(0)
    unused = torch.get_rng_state()
    value = penalty(critic, real, fake)
    if not torch.equal(torch.get_rng_state(), unused):
        why = "the penalty draws from torch's global generator"
        assert not takes_draws(made), f"{why}, and not from its `draws` alone"
        warnings.warn(f"{why}: take the keyword `draws`, and {HOW_TO_DRAW}", stacklevel=2)
    assert value.shape == (2,), f"[2, 5, ...] must give [2], not {[*value.shape]}"
    assert value.isfinite().all(), "the penalty is not finite"
    assert weight.grad is None, "a penalty must not call backward"
    for images in (real, fake):
        assert not images.requires_grad, "a penalty must not set requires_grad on its images"
    _same(real, before[0], "a penalty must not change the real images in place")
    _same(fake, before[1], "a penalty must not change the fake images in place")
    if isinstance(made, Constraint):
        _check_constraint(made)
    else:
        _reaches(value.sum(), weight, "the gradient by the critic's parameters")

    torch.manual_seed(0)
    chance.manual_seed(0)
    _same(penalty(critic, real, fake), value, "the same draws must give the same penalty")
    other = real.clone()
    other[1] *= 2
    torch.manual_seed(0)
    chance.manual_seed(0)
    _same(penalty(critic, other, fake)[0], value[0], "leading axes must be independent of each other")
    lost = lost_of_penalty(factory, shape)
    assert not lost, f"it {lost}"


@torch.no_grad()
def _check_constraint(penalty: Constraint) -> None:
    parameters = [nn.Parameter(_seeded(*shape) * 1e4) for shape in ((3, 8, 8), (4,), (1, 1))]
    before = [parameter.clone() for parameter in parameters]
    penalty.constrain(list(parameters))
    once = [parameter.clone() for parameter in parameters]
    for parameter, old in zip(parameters, before, strict=True):
        assert parameter.isfinite().all(), "constrain: a parameter is not finite"
        assert not torch.equal(parameter, old), "constrain must act in place, on every parameter"
    penalty.constrain(list(parameters))
    for parameter, first in zip(parameters, once, strict=True):
        _same(parameter, first, "constrain: what is within bounds must stay as it is")


def check_augmentation(factory: Callable[[], Augmentation]) -> None:
    """An augmentation: images [B, C, H, W] in [-1, 1] -> the same shape, differentiable above 0 and
    below it, each image for itself, drawing from `draws` alone.
    """
    for shape in ((6, 3, 16, 16), (5, 1, 8, 8)):
        augment, chance = factory(), torch.Generator()
        draws, images = Draws(chance), _seeded(*shape).clamp(-1, 1)
        before = images.clone()
        torch.manual_seed(0)
        unused = torch.get_rng_state()
        chance.manual_seed(0)
        changed = augment(images, draws=draws)
        assert torch.equal(torch.get_rng_state(), unused), (
            f"it draws from torch's global generator: {HOW_TO_DRAW}"
        )
        assert changed.shape == images.shape, f"{[*shape]} must stay so, not be {[*changed.shape]}"
        assert changed.dtype == images.dtype, f"images must stay {images.dtype}, not {changed.dtype}"
        assert changed.isfinite().all(), "an image is not finite"
        _same(images, before, "an augmentation must not change the images in place")
        chance.manual_seed(0)
        _same(augment(images, draws=draws), changed, "the same draws must give the same images")
        other = images.clone()
        other[1] *= -1
        chance.manual_seed(0)
        _same(augment(other, draws=draws)[0], changed[0], "images must be changed each for itself")
        leaf = images.clone().requires_grad_()
        chance.manual_seed(0)
        slope = _reaches(augment(leaf, draws=draws).sum(), leaf, "the gradient by the images")
        assert not hides_below_0(leaf, slope), f"it {CLIPS}"


def check_generator(
    factory: Callable[..., nn.Module], shapes: tuple[Shape | Domain, ...] = SHAPES
) -> None:
    """A generator: [B, latent] -> samples [B, ...], images in [-1, 1], seeded, differentiable.

    Args:
        factory: the class, or a function as a study would name it, its options filled in.
        shapes: what it is to make: domains, or (C, H, W) of images. One that is conditional needs
            domains with classes.
    """
    for shape in shapes:
        domain = as_domain(shape)
        build = partial(factory, described(factory, "the generator", domain), 10)
        labels = _labels(build, domain)
        network = _check_network(build, (_seeded(4, 10), *labels), (4, *domain.shape))
        samples = network(_seeded(4, 10) * 100, *labels)
        if domain.kind == "images":
            assert samples.abs().max() <= 1, f"{shape}: images must lie in [-1, 1]"
        assert not torch.equal(samples[0], samples[1]), f"{shape}: two latents give one {domain.noun}"
        _check_labels(network, _seeded(4, 10), labels)


def check_discriminator(
    factory: Callable[..., nn.Module], shapes: tuple[Shape | Domain, ...] = SHAPES
) -> None:
    """A discriminator: samples [B, ...] -> logits [B], seeded, differentiable.

    Args:
        factory: as for `check_generator`.
        shapes: what it is to judge, as there.
    """
    for shape in shapes:
        domain = as_domain(shape)
        build = partial(factory, described(factory, "the discriminator", domain))
        samples = _seeded(4, *domain.shape).tanh()
        labels = _labels(build, domain)
        network = _check_network(build, (samples, *labels), (4,))
        _check_labels(network, samples, labels)
        samples.requires_grad_()
        logits = network(samples, *labels).sum()
        _reaches(logits, samples, f"{shape}: the gradient by the samples")


def check_stacked(
    factory: Callable[..., nn.Module],
    side: Literal["generator", "discriminator"],
    shapes: tuple[Shape | Domain, ...] = SHAPES,
) -> None:
    """A network that says `stacks = True` is in a stack what it is alone (`resources.lanes`).

    Three of different weights are trained and evaluated on inputs of their own, alone and as one:
    outputs, gradients and running statistics are the same up to rounding, and NaN in one reaches no
    other.

    Args:
        factory: as for `check_generator` or `check_discriminator`.
        side: which of the two it is.
        shapes: what it is to make or to judge, as there.
    """
    for shape in shapes:
        domain = as_domain(shape)
        about = described(factory, f"the {side}", domain)
        build = partial(factory, about, 10) if side == "generator" else partial(factory, about)
        given = (10,) if side == "generator" else domain.shape
        labels = [told(3, 4, len(domain.classes)) for _ in _labels(build, domain)]
        first, second = (_seeded(3, 4, *given, seed=seed).tanh() for seed in (1, 2))
        networks = [_built(build, seed) for seed in range(3)]
        lost = forgotten(networks, [each[0] for each in (first, *labels)])
        assert not lost, f"{shape}: it {lost}"
        StackCheck(
            networks,
            [first, *labels],
            [second, *labels],
            judges=side == "discriminator",
            where=str(shape),
        ).run()


def _labels(build: Callable[[], nn.Module], domain: Domain) -> tuple[Tensor, ...]:
    """Four labels, for a network that takes any."""
    with torch.device("meta"):
        conditional = is_conditional(build())
    if not conditional:
        return ()
    assert len(domain.classes) > 1, "a conditional network is checked with a domain that has classes"
    return (torch.arange(4) % len(domain.classes),)


def _check_labels(network: nn.Module, inputs: Tensor, labels: tuple[Tensor, ...]) -> None:
    if labels:
        same = network.eval()(inputs, torch.zeros_like(labels[0]))
        assert not torch.equal(same, network(inputs, labels[0])), "the labels change nothing"
        network.train()


def _check_network(
    build: Callable[[], nn.Module], inputs: tuple[Tensor, ...], shape: tuple[int, ...]
) -> nn.Module:
    with torch.device("meta"):
        away = {t.device.type for t in build().state_dict().values()} - {"meta"}
    assert not away, f"under torch.device('meta') tensors were made on {sorted(away)}"

    network, twin = _built(build), _built(build)
    assert network.state_dict().keys() == twin.state_dict().keys()
    for name, tensor in network.state_dict().items():
        _same(tensor, twin.state_dict()[name], f"'{name}' is not the same under the same seed")

    outputs = network(*inputs)
    assert outputs.shape == shape, f"the output must be {[*shape]}, not {[*outputs.shape]}"
    assert outputs.dtype == inputs[0].dtype, (
        f"the output must be {inputs[0].dtype}, not {outputs.dtype}"
    )
    assert outputs.isfinite().all(), "the output is not finite"
    # Random weights on the outputs: a plain sum may cancel in a normalisation.
    (outputs * _seeded(*shape, seed=1)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, f"no gradient reaches '{name}'"
        assert parameter.grad.isfinite().all(), f"the gradient of '{name}' is not finite"

    other = _built(build, 1)
    lost = why_not_loaded(network, other) or lost_of_network(network, other, inputs)
    assert not lost, f"it {lost}"
    return network.train()


def _built(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build().train()


def check_dataset(
    loader: Callable[..., DataSet],
    *,
    root: Path = Path(),
    image_size: int | None = None,
    **options: Any,
) -> None:
    """A data set: both splits keep what `ImageData` or `PointData` promises, agree, differ and repeat.

    Args:
        loader: the loader function.
        root: the folder of data sets to load from.
        image_size: for a loader that needs one.
        options: the loader's own options.
    """
    splits = {split: loader(root, split, image_size, **options) for split in ("train", "test")}
    for split, data in splits.items():
        try:
            validate(data)
        except DataError as error:
            raise AssertionError(str(error)) from error
        assert data.split == split, f"asked for split '{split}', got '{data.split}'"
        again = loader(root, split, image_size, **options)
        assert again.digest == data.digest, f"loading the {split} split twice gives two digests"
        if isinstance(data, ImageData):
            # A wrong scale shows here: pixels in 0..1 or 0..16 look like a black image.
            span = np.ptp(data.images)
            assert span > 127, f"{split} pixels span only {span} of 255"
        else:
            size = float(data.domain.encode(torch.from_numpy(data.points)).abs().max())
            assert size <= 10, f"{split} points divided by their scale reach {size:.3g}, not about 1"
    train, test = splits["train"], splits["test"]
    assert train.shape == test.shape, f"shapes differ: train {train.shape}, test {test.shape}"
    assert train.classes == test.classes, f"classes differ: {train.classes}, {test.classes}"
    assert train.names == test.names, f"class names differ: {train.names}, {test.names}"
    if not isinstance(train, ImageData) and not isinstance(test, ImageData):
        assert train.scale == test.scale, f"scales differ: {train.scale}, {test.scale}"
    assert train.name == test.name, f"names differ: {train.name}, {test.name}"
    assert train.digest != test.digest, f"train and test are the same {train.domain.kind}"


def _reaches(value: Tensor, source: Tensor, what: str) -> Tensor:
    """The gradient of a scalar by `source`, which must exist, be finite and not be zero."""
    assert value.requires_grad, f"{what} is cut off"
    (slope,) = torch.autograd.grad(value, source, retain_graph=True, allow_unused=True)
    assert slope is not None, f"{what} is cut off"
    assert slope.isfinite().all(), f"{what} is not finite"
    assert slope.any(), f"{what} is zero"
    return slope


def _seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _same(left: Tensor, right: Tensor, otherwise: str) -> None:
    assert torch.allclose(left, right, rtol=1e-4, atol=1e-5), otherwise

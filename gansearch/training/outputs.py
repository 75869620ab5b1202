"""What networks and losses must return, told in words before torch says it in its own, or says nothing:
logits of [B, 1] in place of [B] train another loss without a sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gansearch.errors import UserError
from gansearch.losses import Loss, Penalty
from gansearch.losses.draws import Draws
from gansearch.metrics.door import described, told_in_place, versions
from gansearch.study.config import TrialConfig

SLACK = 1e-3
"""How far images may lie outside [-1, 1] by rounding."""

AXES = {3: "[B, C, H, W]", 1: "[B, D]", 0: "[B]"}


class OutputError(UserError):
    """A part that returns something else than its kind must."""


def check_first_output(
    network: nn.Module, what: str, shape: Sequence[int], config: TrialConfig, device: torch.device
) -> None:
    """Have the first thing that a network returns looked at, and none after it.

    Args:
        network: a generator or a discriminator.
        what: its kind, "generator" or "discriminator".
        shape: of what it must return for one sample, () for a logit.
        config: in which it is named.
        device: where it must be.

    Raises:
        OutputError: by the network's first pass, not here.
    """
    name = f"the {what} '{getattr(config, what).name}'"

    def look(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        looking.remove()
        check_output(output, name, (len(inputs[0]), *shape), config.precision, device)

    looking = network.register_forward_hook(look)


def check_output(
    output: Any, name: str, shape: tuple[int, ...], precision: str, device: torch.device
) -> None:
    """Raise `OutputError` for an output that is not what a network must return."""
    given = "images" if len(shape) > 1 else "logits"
    wanted = f"{AXES.get(len(shape) - 1, '[B, ...]')} = {[*shape]}"
    if not isinstance(output, Tensor):
        raise OutputError(f"{name} gives {described(output)}; one tensor of {given} {wanted} is wanted")
    if tuple(output.shape) != shape:
        mend = ""
        if output.numel() == shape[0] and len(shape) == 1:
            mend = ": end it with .flatten()"
        elif output.numel() == torch.Size(shape).numel():
            mend = f": end it with .view(-1, {', '.join(map(str, shape[1:]))})"
        raise OutputError(f"{name} gives {given} of shape {[*output.shape]}; {wanted} is wanted{mend}")
    fitting = {torch.float32} if precision == "float32" else {torch.float32, torch.bfloat16}
    if output.dtype not in fitting:
        raise OutputError(f"{name} gives {given} of type {output.dtype}; torch.float32 is wanted")
    if output.device.type != device.type:
        raise OutputError(
            f"{name} gives {given} on {output.device}; {device} is wanted: make its tensors as "
            "parameters or buffers, or where its input is"
        )


def check_loss_output(loss: Loss, config: TrialConfig) -> None:
    """Raise `OutputError` where a loss does not give one finite number for a batch of logits, by which
    a network can learn.
    """
    name = f"the loss '{config.loss.name}'"
    real, fake = (torch.linspace(end, -end, 4, requires_grad=True) for end in (1, -1))
    seen = real.clone(), fake.clone()  # a network's logits are no leaves either
    with _untouched(name, *seen):
        given = {"d": loss.d(*seen), "g": loss.g(seen[0] if loss.g_uses_real else None, seen[1])}
    for method, value in given.items():
        gives = f"{name}: {method} gives {described(value)} for logits"
        if not isinstance(value, Tensor) or value.shape != ():
            wanted = "a tensor of shape [] is wanted: the mean over the last axis"
            raise OutputError(f"{gives} of shape [4]; {wanted}")
        if not value.is_floating_point():
            raise OutputError(f"{gives}; a real number is wanted, of type torch.float32")
        if not torch.isfinite(value):
            raise OutputError(f"{name}: {method} gives {value.item()} for logits from -1 to 1")
        if not _slopes(value, [real, fake] if method == "d" else [fake]):
            whose = "the logits" if method == "d" else "the fake logits"
            raise OutputError(
                f"{name}: {method} gives a number through which no gradient reaches {whose}: compute "
                "it of them, without `detach`, `item` or `no_grad`"
            )


def _slopes(value: Tensor, sources: Sequence[Tensor]) -> list[Tensor]:
    """The gradients of a number by what it may have been computed of, as far as there are any."""
    if not value.requires_grad:
        return []
    slopes = torch.autograd.grad(value, sources, allow_unused=True)
    return [slope for slope in slopes if slope is not None]


@contextmanager
def _untouched(name: str, *given: Any) -> Iterator[None]:
    """Raise `OutputError` where a part changes in place what it is given, while it is open."""
    before = versions(*given)
    yield
    if versions(*given) != before:
        raise OutputError(told_in_place(name))


def check_passes(network: nn.Module, name: str) -> None:
    """Have what a network is given and returns looked at, up to its first pass in a step of training:
    whether it leaves that as it is, and whether anything can be learnt through it.

    Raises:
        OutputError: by such a pass, not here.
    """

    learning: list[tuple[bool, list[int]]] = []

    def begin(_: nn.Module, given: tuple[Any, ...]) -> None:
        learning.append((torch.is_grad_enabled(), versions(*given)))  # both may a network change

    def look(_: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        learns, before = learning.pop()
        if versions(*given) != before:
            raise OutputError(told_in_place(name))
        if not learns:
            return
        beginning.remove()
        looking.remove()
        if not output.requires_grad:
            raise OutputError(
                f"{name} gives numbers through which no gradient reaches its weights: compute them "
                "without `detach` or `no_grad`, of parameters that require one"
            )

    beginning = network.register_forward_pre_hook(begin)
    looking = network.register_forward_hook(look)


def check_augmentation_output(augment: Any, config: TrialConfig, shape: Sequence[int]) -> list[str]:
    """Raise `OutputError` where an augmentation does not give samples like those that it is given, of
    `shape`, through which a generator can learn; returns what it hides of images, in words.
    """
    assert config.discriminator.augment is not None
    name = f"the augmentation '{config.discriminator.augment.name}'"
    if not callable(augment):
        raise OutputError(f"{name} has no __call__(images, *, draws)")
    chance = torch.Generator().manual_seed(0)
    samples = torch.rand(4, *shape, generator=chance).mul(2).sub(1).requires_grad_()
    seen = samples.view(4, *shape)
    with _untouched(name, seen):
        given = augment(seen, draws=Draws(chance))
    if not isinstance(given, Tensor) or given.shape != seen.shape or given.dtype != seen.dtype:
        wanted = f"a tensor of shape {[*seen.shape]}, {seen.dtype} is wanted, as it is given"
        raise OutputError(f"{name} gives {described(given)}; {wanted}")
    if not (slopes := _slopes(given.sum(), [samples])):
        raise OutputError(f"{name} gives samples through which no gradient reaches the generator")
    return [f"{name} {CLIPS}"] if hides_below_0(samples, *slopes) else []


def hides_below_0(samples: Tensor, slope: Tensor) -> bool:
    """Whether by an augmentation's slope hardly any of the samples below 0 reaches the discriminator,
    beside those above it. Places that are cut out at random are so on both sides.
    """
    below, above = (slope[side].ne(0).double().mean() for side in (samples < 0, samples > 0))
    return bool(below < above / 4)


CLIPS = (
    "gives no gradient for most of what lies below 0, as where colours are clipped to [0, 1]: images "
    "lie in [-1, 1] here; change their range before it and after"
)


def check_penalty_output(value: Any, config: TrialConfig) -> None:
    """Raise `OutputError` where a penalty does not give one number for a batch of samples, or one of
    which nothing can be learnt.
    """
    assert config.loss.penalty is not None
    name = f"the penalty '{config.loss.penalty.name}'"
    if not isinstance(value, int | float) and not (isinstance(value, Tensor) and value.shape == ()):
        raise OutputError(
            f"{name} gives {described(value)} for a batch; a tensor of shape [] is wanted: the mean "
            "over the last axis of the critic's logits"
        )
    if is_detached(value):
        raise OutputError(f"{name} {DETACHED}")


def is_detached(value: Any) -> bool:
    """Whether a penalty's number is one of which nothing can be learnt; of 0 nothing need be."""
    return not (isinstance(value, Tensor) and value.requires_grad) and bool(value != 0)


DETACHED = (
    "gives a number through which no gradient reaches the discriminator's weights: compute it of what "
    "the critic gives, without `detach`, `item` or `no_grad`; a slope by the samples needs "
    "`create_graph=True`"
)


def check_penalty_gradient(
    penalty: Penalty,
    critic: Callable[[Tensor], Tensor],
    samples: tuple[Tensor, Tensor],
    weights: Sequence[Tensor],
    config: TrialConfig,
) -> None:
    """Raise `OutputError` where a penalty gives a number by which a discriminator does not learn, or
    changes the samples that it is given.

    Args:
        penalty: as it is called in a training.
        critic: what it is given of the discriminator.
        samples: real and fake ones.
        weights: those that are trained.
        config: in which it is named.
    """
    assert config.loss.penalty is not None
    name = f"the penalty '{config.loss.penalty.name}'"
    real, fake = samples
    with _untouched(name, real, fake):
        given: Any = penalty(critic, real, fake)
    check_penalty_output(given, config)
    value = torch.as_tensor(given)
    if bool(value != 0) and not _slopes(value, weights):
        raise OutputError(f"{name} {DETACHED}")


@torch.no_grad()
def doubts_about_images(generator: Callable[[Tensor], Tensor], latents: Tensor, name: str) -> list[str]:
    """What is odd in the range of a generator's images, in words; they should fill [-1, 1].

    Latents ten times as large are tried too, since a generator that has hardly been trained stays near
    the middle of its range.
    """
    images = torch.cat([generator(latents), generator(10 * latents)])
    low, high = images.min().item(), images.max().item()
    if low < -1 - SLACK or high > 1 + SLACK:
        return [
            f"{name} gives images that leave [-1, 1] (from {low:.3g} to {high:.3g}): what lies outside "
            "is cut off in samples and metrics; end it with .tanh()"
        ]
    if low >= 0 < high:
        return [
            f"{name} gives images that never go below 0 (from {low:.3g} to {high:.3g}), as by a "
            "sigmoid: black is -1 here, and the real images fill [-1, 1]; end it with .tanh()"
        ]
    return []

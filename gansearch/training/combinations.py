"""Combinations of parts that can be built and make no sense, each with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gansearch.augmentation import AUGMENTATIONS
from gansearch.errors import RAISED, UnknownPart
from gansearch.losses import LOSSES, PENALTIES, is_variational
from gansearch.study.config import TrialConfig
from gansearch.study.mistakes import Mistakes
from gansearch.study.records import count
from gansearch.training import settings
from gansearch.training.building import is_conditional
from gansearch.training.telling import last_layer

ALL_THE_SAME = "; `unsound: allow` trains it all the same"


def unsound(config: TrialConfig, kind: str, discriminator: Callable[[], nn.Module | None]) -> Mistakes:
    """What makes no sense in a configuration whose parts are each well by themselves.

    Args:
        config: completed.
        kind: of the data, "images" or "points".
        discriminator: gives it, on whatever device; None where it cannot be built.
    """
    if not LOSSES.check(config.loss.name, config.loss.options) and is_variational(config.loss.name):
        return list(_of_autoencoder(config, kind))
    return [
        *_of_mixture(config, discriminator),
        *_of_view(config, kind, discriminator),
        *_of_penalty(config, kind),
        *_of_networks(config, discriminator),
    ]


ELSE = "; or give the autoencoder a study of its own, and compare the two"


def _of_autoencoder(config: TrialConfig, kind: str) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is said of a game of two networks where there is none: not to be allowed."""
    name, shown = config.loss.name, config.discriminator
    if config.loss.penalty is not None:
        yield ("loss", "penalty"), f"is on a discriminator, and the loss {name} has none: drop it"
    if kind != "images" and config.loss.options.get("likelihood") == "bernoulli":
        yield ("loss", "likelihood"), f"bernoulli is of pixels, and the data are {kind}: take gaussian"
    if config.generator.mixture > 1:
        yield ("generator", "mixture"), f"the loss {name} has one decoder: drop mixture{ELSE}"
    said = {"pack": shown.pack > 1, "noise": shown.noise, "augment": shown.augment}
    for key, value in said.items():
        if value:
            why = f"is of what a discriminator is shown, and the loss {name} has none: drop it{ELSE}"
            yield ("discriminator", key), why
    if config.discriminator_steps > 1:
        why = f"the loss {name} updates both networks at once: say 1{ELSE}"
        yield ("discriminator_steps",), why


def _of_mixture(
    config: TrialConfig, discriminator: Callable[[], nn.Module | None]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Why generators cannot be told apart: not to be allowed."""
    if not config.generator.diversity:
        return
    here = ("generator", "diversity")
    if config.generator.mixture == 1:
        yield here, "a single generator cannot be told from others: set generator.mixture"
    if config.discriminator.pack > 1:
        yield here, "a pack holds samples of several generators: drop discriminator.pack"
    network = discriminator()
    if network is not None and last_layer(network) is None:
        yield here, "needs a discriminator whose last layer is an nn.Linear to one number"


def _of_view(
    config: TrialConfig, kind: str, discriminator: Callable[[], nn.Module | None]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What cannot be shown to a discriminator: not to be allowed."""
    shown = config.discriminator
    if config.batch_size % shown.pack:
        yield (
            ("discriminator", "pack"),
            f"packs of {shown.pack} do not divide batch_size, {config.batch_size}: "
            f"take a batch of {_near(config.batch_size, shown.pack)}",
        )
    held_out = config.evaluation.held_out
    if held_out is not None and held_out < shown.pack:
        yield ("evaluation", "held_out"), f"{held_out} are no pack, of {shown.pack}: ask for more"
    if held_out is not None and (made := config.evaluation.samples) < shown.pack and _is_critic(config):
        why = f"{made} are no pack, of {shown.pack}, and a critic is asked about one: ask for more"
        yield ("evaluation", "samples"), why
    judge = discriminator() if shown.pack > 1 else None  # None, too, where there are no data yet
    if config.batch_size == shown.pack and judge is not None and _normalises_rows(judge):
        yield (
            ("discriminator", "pack"),
            f"a batch of {config.batch_size} is one pack, and batch norm takes two: take a batch of "
            f"{2 * shown.pack}, or another `norm` of the discriminator",
        )
    told = shown.options.get("conditional") or (judge is not None and is_conditional(judge))
    if shown.pack > 1 and told:
        why = "a pack holds samples of several classes, and the discriminator is told one: drop either"
        yield ("discriminator", "pack"), why
    if shown.augment is None:
        return
    here, name = ("discriminator", "augment"), shown.augment.name
    try:
        with settings.left_alone("it"):
            augmentation = AUGMENTATIONS.build(name, shown.augment.options)
    except RAISED:  # which is told elsewhere
        return
    wanted = getattr(augmentation, "kind", None)
    if wanted not in (None, kind):
        yield here, f"{name} is for {wanted}, and the data are {kind}"
    if getattr(augmentation, "needs_decision", False) and _is_critic(config):
        yield (
            here,
            f"{name} adapts by how many real images the discriminator calls real, and the critic of "
            f"{config.loss.name} calls none so: give it a fixed `probability`, or take another loss",
        )


def _is_critic(config: TrialConfig) -> bool:
    """Whether the loss has no logit of its own above which a sample is called real."""
    try:
        with settings.left_alone("it"):
            return bool(LOSSES.build(config.loss.name, config.loss.options).decision is None)
    except RAISED:  # which is told elsewhere
        return False


def _normalises_rows(network: nn.Module) -> bool:
    """Whether it has a batch norm of single numbers, of which one sample leaves nothing."""
    return any(isinstance(module, nn.BatchNorm1d) for module in network.modules())


def _near(size: int, pack: int) -> str:
    """The batches below and above that packs divide."""
    below = size // pack * pack
    return f"{below} or {below + pack}" if below else str(pack)


def _of_penalty(config: TrialConfig, kind: str) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What a penalty cannot be, by itself: not to be allowed, but for one that is hardly ever due."""
    part = config.loss.penalty
    penalty = _penalty(config)
    if part is None or penalty is None:
        return
    here = ("loss", "penalty")
    wanted = getattr(penalty, "kind", None)
    if wanted not in (None, kind):
        yield here, f"{part.name} is a penalty for {wanted}, and the data are {kind}"
    if _constrains(penalty):
        adds = f"{part.name} adds nothing to the loss but holds the weights after each update"
        if part.every != 1:
            yield (*here, "every"), f"{adds}: it cannot be lazy"
        if part.schedule is not None:
            yield (*here, "schedule"), f"{adds}: it has no weight to schedule"
    updates = config.budget.steps * config.discriminator_steps
    if part.every > updates and config.unsound == "refuse" and not _constrains(penalty):
        yield (
            (*here, "every"),
            f"is {part.every:,}, and a trial has {count(updates, 'update')} of the discriminator: it "
            f"is due at the first alone; lower it, or raise budget.steps{ALL_THE_SAME}",
        )


def _of_networks(
    config: TrialConfig, discriminator: Callable[[], nn.Module | None]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What a penalty and a discriminator are not together."""
    part = config.loss.penalty
    penalty = _penalty(config)
    if config.unsound == "allow" or part is None or penalty is None:
        return
    constrains, per_sample = _constrains(penalty), bool(getattr(penalty, "per_sample", False))
    if not constrains and not per_sample:
        return
    network = discriminator()
    if network is None:
        return
    here = ("loss", "penalty")
    if constrains and _is_spectral(network):
        yield (
            here,
            f"{part.name} holds the weights, which spectral norm divides by their size again: the "
            f"bound means nothing; take another `norm` of the discriminator{ALL_THE_SAME}",
        )
    if per_sample and any(isinstance(module, _BatchNorm) for module in network.modules()):
        yield (
            here,
            f"{part.name} looks at the slope at each sample, and batch norm in the discriminator mixes "
            f"those of a batch: take `norm: none`, `layer` or `spectral`{ALL_THE_SAME}",
        )


def _penalty(config: TrialConfig) -> Callable[..., object] | None:
    part = config.loss.penalty
    try:
        return PENALTIES.find(part.name) if part else None
    except UnknownPart:  # which is told elsewhere
        return None


def _constrains(penalty: object) -> bool:
    """Whether a class of penalties is one of constraints."""
    return callable(getattr(penalty, "constrain", None)) and isinstance(penalty, type)


def _is_spectral(network: nn.Module) -> bool:
    """Whether a network has a spectral norm: ours, torch's parametrization or torch's older hook."""
    parts = [type(module).__name__ for module in network.modules()]
    hooks = [
        type(hook).__name__
        for module in network.modules()
        for hook in module._forward_pre_hooks.values()
    ]
    return any("SpectralNorm" in name for name in (*parts, *hooks))

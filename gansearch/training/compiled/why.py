"""Which configurations are not compiled, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gansearch.losses import LOSSES, PENALTIES, Observer, is_variational
from gansearch.losses.draws import takes_draws
from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.study.config import TrialConfig
from gansearch.training.stacked.shape import is_ours, odd_parts


class CannotCompile(Exception):
    """A step that is not compiled, and why."""


def why_uncompiled(config: TrialConfig) -> str:
    """Why a configuration's step is never compiled, in words; empty where it may be."""
    return next(iter(whys_uncompiled(config)), "")


def whys_uncompiled(config: TrialConfig) -> list[str]:
    """All the reasons, each beginning with the part that it is of."""
    odd = list(odd_parts(config))
    return odd if is_variational(config.loss.name) else [*odd, *_reasons(config)]


def _reasons(config: TrialConfig) -> Iterator[str]:
    penalty = config.loss.penalty
    yield from (key for key, asked in _odd_keys(config).items() if asked)
    if takes_draws(LOSSES.build(config.loss.name, config.loss.options).d):
        if config.loss.options.get("flipping"):
            yield "loss.flipping"
        elif not is_ours(LOSSES.find(config.loss.name)):
            yield f"loss: '{config.loss.name}' draws random numbers"
    parts = [
        ("generator", GENERATORS.find(config.generator.name)),
        ("discriminator", DISCRIMINATORS.find(config.discriminator.name)),
        ("loss", LOSSES.find(config.loss.name)),
    ]
    if penalty is not None:
        parts.append(("loss.penalty", PENALTIES.find(penalty.name)))
    for section, part in parts:
        if not _compiles(part):
            name = f"{part.__module__}.{getattr(part, '__qualname__', part)}"
            yield f"{section}: {name} does not say that it compiles (compiles = True)"
        if isinstance(part, type) and issubclass(part, Observer):
            yield f"{section}: {penalty and penalty.name} remembers something"


def _odd_keys(config: TrialConfig) -> dict[str, bool]:
    """The keys that `Lanes` know and compiled code does not, and whether they are asked for."""
    shown, penalty, sides = config.discriminator, config.loss.penalty, config.optimizer
    return {
        "discriminator.augment": shown.augment is not None,
        "discriminator.noise": shown.noise is not None,
        "discriminator.pack": shown.pack > 1,
        "loss.penalty.every": penalty is not None and penalty.every > 1,
        "loss.penalty.schedule": penalty is not None and penalty.schedule is not None,
        "optimizer.generator.clip": sides.generator.clip is not None,
        "optimizer.generator.schedule": sides.generator.schedule is not None,
        "optimizer.discriminator.clip": sides.discriminator.clip is not None,
        "optimizer.discriminator.schedule": sides.discriminator.schedule is not None,
    }


def _compiles(part: Any) -> bool:
    """Whether what a part does is fixed by its options alone, so that it may be written down once.

    Ours are so; one of a user's may count its calls, say, and says itself that it does not.
    """
    own = str(part.__module__).partition(".")[0] == "gansearch"
    return own or bool(getattr(part, "compiles", False))

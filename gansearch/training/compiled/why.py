"""Which configurations are not compiled, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gansearch.losses import LOSSES, PENALTIES, Observer, is_variational
from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.study.config import TrialConfig
from gansearch.training.stacked.shape import odd_parts


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
    parts = [
        ("generator", GENERATORS.find(config.generator.name)),
        ("discriminator", DISCRIMINATORS.find(config.discriminator.name)),
        ("loss", LOSSES.find(config.loss.name)),
    ]
    if config.loss.penalty is not None:
        parts.append(("loss.penalty", PENALTIES.find(config.loss.penalty.name)))
    for section, part in parts:
        if not _compiles(part):
            name = f"{part.__module__}.{getattr(part, '__qualname__', part)}"
            yield f"{section}: {name} does not say that it compiles (compiles = True)"
        if isinstance(part, type) and issubclass(part, Observer):
            yield f"{section}: {config.loss.penalty and config.loss.penalty.name} remembers something"


def _compiles(part: Any) -> bool:
    """Whether what a part does is fixed by its options alone, so that it may be written down once.

    Ours are so; one of a user's may count its calls, say, and says itself that it does not.
    """
    own = str(part.__module__).partition(".")[0] == "gansearch"
    return own or bool(getattr(part, "compiles", False))

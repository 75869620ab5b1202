"""What is wrong with a configuration that only building its networks and its loss shows.

They are built on torch's meta device, which costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from gansearch.data.domain import Domain
from gansearch.errors import RAISED, UserError
from gansearch.study.config import TrialConfig
from gansearch.study.mistakes import Mistakes
from gansearch.training import settings
from gansearch.training.blame import whereabouts
from gansearch.training.building import (
    build_discriminator,
    build_generator,
    build_loss,
    is_conditional,
)
from gansearch.training.transfer import begins_with_weights, weights_file

T = TypeVar("T")


class _Relevant(NamedTuple):
    """What networks and losses are built from; what building shows is remembered by it.

    Attributes:
        config: those sections, as JSON.
        files: of weights that they name, each with its state: a user may mend one and ask again in the
            same notebook.
    """

    config: str
    files: tuple[tuple[str, int, int], ...]

    def parsed(self) -> TrialConfig:
        """The configuration, all other sections at their defaults."""
        return TrialConfig.model_validate_json(self.config)


def network_mistakes(config: TrialConfig, domain: Domain | None, wrong: set[Any]) -> Mistakes:
    """What only building shows: sizes that do not fit, options that exclude each other."""
    sections = [s for s in ("generator", "discriminator", "loss") if s not in wrong]
    relevant = _relevant(config)
    failures = ((section, _failure(section, relevant, domain)) for section in sections)
    mistakes: Mistakes = [((section,), message) for section, message in failures if message]
    if not mistakes and {"generator", "discriminator"} <= set(sections) and domain is not None:
        mistakes += _one_sided(relevant, domain)
    return mistakes


def lost_starts(configs: Iterable[TrialConfig], domain: Domain) -> list[str]:
    """Why networks cannot begin with the weights that they are to, each reason once, of configurations
    in which nothing else is amiss.
    """
    found = (
        f"{path[0]}: {message}"
        for config in configs
        if begins_with_weights(config)
        for path, message in network_mistakes(config, domain, {"loss"})
    )
    return list(dict.fromkeys(found))


def _relevant(config: TrialConfig) -> _Relevant:
    text = config.model_dump_json(include={"generator", "discriminator", "loss", "latent_size"})
    named = {"generator": config.generator.weights, "discriminator": config.discriminator.weights}
    files = [weights_file(source, kind) for kind, source in named.items() if source is not None]
    return _Relevant(text, tuple(map(_state, files)))


def _state(file: Path) -> tuple[str, int, int]:
    """A file with its time of change in nanoseconds and its size in bytes, 0 where it is missing."""
    try:
        found = file.stat()
    except (OSError, ValueError):  # the second of what can be no file's name
        return str(file), 0, 0
    return str(file), found.st_mtime_ns, found.st_size


def discriminator_of(config: TrialConfig, domain: Domain | None) -> nn.Module | None:
    """The discriminator of a configuration, to be looked at; None where it cannot be built."""
    return _judging(_relevant(config), domain)


@functools.lru_cache(maxsize=256)
def _judging(relevant: _Relevant, domain: Domain | None) -> nn.Module | None:
    if domain is None:
        return None
    config = relevant.parsed()
    try:
        with settings.left_alone("it"):
            return _build_somewhere(functools.partial(build_discriminator, config, domain))
    except RAISED:  # which is told elsewhere
        return None


@functools.lru_cache(maxsize=4096)
def _one_sided(relevant: _Relevant, domain: Domain) -> Mistakes:
    """That only one of the two networks is told the classes."""
    config = relevant.parsed()
    told, judging = (
        is_conditional(_build_somewhere(functools.partial(build, config, domain)))
        for build in (build_generator, build_discriminator)
    )
    if told == judging:
        return []
    here, there = ("discriminator", "generator") if told else ("generator", "discriminator")
    return [((here,), f"the {there} is conditional and the {here} is not: both must be, or neither")]


@functools.lru_cache(maxsize=4096)  # the corners of a search space repeat most of their parts
def _failure(section: str, relevant: _Relevant, domain: Domain | None) -> str:
    """Why a section cannot be built, or nothing."""
    config = relevant.parsed()
    try:
        with settings.left_alone(f"'{getattr(config, section).name}', as it is made,"):
            if section == "loss":
                build_loss(config)
            elif domain is not None:
                build = build_generator if section == "generator" else build_discriminator
                _build_somewhere(functools.partial(build, config, domain))
    except RAISED as error:  # a constructor of the user's own may raise anything
        return words_of(error)
    return ""


def _build_somewhere(build: Callable[[torch.device], T]) -> T:
    """Build on the meta device, which costs nothing; or for real, where a network cannot be built there
    (it is initialised by NumPy, or looks at its weights).
    """
    try:
        return build(torch.device("meta"))
    except RAISED:  # whatever it was, it is told if it happens for real too
        with torch.random.fork_rng(devices=[]):
            return build(torch.device("cpu"))


def words_of(error: BaseException) -> str:
    """What a part says of itself when it is made (a `ValueError`), or what has happened to it; with the
    line, where that is the user's own.
    """
    said = isinstance(error, ValueError | RuntimeError | UserError) and str(error)
    return f"{said or f'raises {type(error).__name__}: {error}'}{whereabouts(error)}"

"""What is wrong with a configuration that only building its networks and its loss shows.

They are built on torch's meta device, which costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from gansearch.data.domain import Domain
from gansearch.errors import RAISED, UserError
from gansearch.study.config import TrialConfig
from gansearch.study.mistakes import Mistakes
from gansearch.training.blame import whereabouts
from gansearch.training.building import (
    build_discriminator,
    build_generator,
    build_loss,
    is_conditional,
)

T = TypeVar("T")


def network_mistakes(config: TrialConfig, domain: Domain | None, wrong: set[Any]) -> Mistakes:
    """What only building shows: sizes that do not fit, options that exclude each other."""
    sections = [s for s in ("generator", "discriminator", "loss") if s not in wrong]
    relevant = _relevant(config)
    failures = ((section, _failure(section, relevant, domain)) for section in sections)
    mistakes: Mistakes = [((section,), message) for section, message in failures if message]
    if not mistakes and {"generator", "discriminator"} <= set(sections) and domain is not None:
        mistakes += _one_sided(relevant, domain)
    return mistakes


def _relevant(config: TrialConfig) -> str:
    """What networks and losses are built from."""
    return config.model_dump_json(include={"generator", "discriminator", "loss", "latent_size"})


def discriminator_of(config: TrialConfig, domain: Domain | None) -> nn.Module | None:
    """The discriminator of a configuration, to be looked at; None where it cannot be built."""
    return _judging(_relevant(config), domain)


@functools.lru_cache(maxsize=256)
def _judging(relevant: str, domain: Domain | None) -> nn.Module | None:
    if domain is None:
        return None
    config = TrialConfig.model_validate_json(relevant)
    try:
        return _build_somewhere(functools.partial(build_discriminator, config, domain))
    except RAISED:  # which is told elsewhere
        return None


@functools.lru_cache(maxsize=4096)
def _one_sided(relevant: str, domain: Domain) -> Mistakes:
    """That only one of the two networks is told the classes."""
    config = TrialConfig.model_validate_json(relevant)
    told, judging = (
        is_conditional(_build_somewhere(functools.partial(build, config, domain)))
        for build in (build_generator, build_discriminator)
    )
    if told == judging:
        return []
    here, there = ("discriminator", "generator") if told else ("generator", "discriminator")
    return [((here,), f"the {there} is conditional and the {here} is not: both must be, or neither")]


@functools.lru_cache(maxsize=4096)  # the corners of a search space repeat most of their parts
def _failure(section: str, relevant: str, domain: Domain | None) -> str:
    """Why a section cannot be built, or nothing."""
    config = TrialConfig.model_validate_json(relevant)
    try:
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

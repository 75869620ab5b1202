"""Parts of a user's own, held to their word before trainings with them are as one.

Networks that say that they stack, losses, and penalties that say what may differ are tried on three
trainings at once and on each alone, for numbers of one in another's would be seen by nobody.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gansearch.data.domain import Domain
from gansearch.losses import LOSSES, PENALTIES, Observer
from gansearch.losses.draws import Draws, drawing_from
from gansearch.losses.flat import on_samples
from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.networks.stacked.check import StackCheck, chance, told
from gansearch.study.config import TrialConfig, digest
from gansearch.study.sections import Part
from gansearch.training.building import (
    build_discriminator,
    build_generator,
    build_loss,
    domain_judged,
    is_conditional,
)
from gansearch.training.kept import forgotten, lost_of_loss, lost_of_penalty
from gansearch.training.outputs import DETACHED, is_detached
from gansearch.training.randomness import seeded
from gansearch.training.stacked.parts import LaneDraws, remembered
from gansearch.training.stacked.shape import is_ours
from gansearch.training.transfer import from_scratch

COUNT, SAMPLES = 3, 4
"""Trainings that are tried as one, and the samples of each."""

MEND = "take means over the last axis, `.mean(-1)`, and leave those before it"

Attempt = Callable[[TrialConfig, Domain], None]

_found: dict[tuple[Callable[..., Any], str], str] = {}


def why_unlike(config: TrialConfig, domain: Domain) -> str:
    """How the first of a configuration's own parts that is for trainings as one not what it is for each
    differs, beginning with the part that it is; empty where none does.

    They are built and tried on the CPU, once for each kind and its options in a process; what is drawn
    at random afterwards stays as it was. Ours are not tried: the tests hold them to the same.
    """
    judged = domain_judged(config, domain)
    for section, part, kind, attempt in _parts(config):
        if is_ours(kind):
            continue
        about = domain if section == "generator" else judged
        shrinks = _shrinks(config, section)
        key = kind, digest([part.model_dump(mode="json"), config.latent_size, about.plain(), shrinks])
        if key not in _found:
            _found[key] = _tried(partial(attempt, config, domain), part.name)
        if _found[key]:
            return f"{section}: {_found[key]}"
    return ""


def _parts(config: TrialConfig) -> Iterator[tuple[str, Part, Callable[..., Any], Attempt]]:
    penalty = config.loss.penalty
    yield "generator", config.generator, GENERATORS.find(config.generator.name), _try_generator
    judge = config.discriminator
    yield "discriminator", judge, DISCRIMINATORS.find(judge.name), _try_discriminator
    yield "loss", config.loss, LOSSES.find(config.loss.name), _try_loss
    if penalty is not None:
        yield "loss.penalty", penalty, PENALTIES.find(penalty.name), _try_penalty


def _tried(attempt: Callable[[], None], name: str) -> str:
    with seeded(0, torch.device("cpu")):
        try:
            attempt()
        except AssertionError as why:
            return str(why).replace("\n", "; ")
        except Exception as error:  # whatever a part of a user's raises
            return f"'{name}' fails on {SAMPLES} samples: {type(error).__name__}: {error}"
    return ""


def _try_generator(config: TrialConfig, domain: Domain) -> None:
    build = partial(build_generator, from_scratch(config), domain, torch.device("cpu"))
    given = _drawn(config.latent_size, seed=1), _drawn(config.latent_size, seed=2)
    check = _checked(build, domain, given, config.generator.name, judges=False)
    _hold_unreached(check, config, "generator")


def _try_discriminator(config: TrialConfig, domain: Domain) -> None:
    build = partial(build_discriminator, from_scratch(config), domain, torch.device("cpu"))
    shape = domain_judged(config, domain).shape
    given = _drawn(*shape, seed=1), _drawn(*shape, seed=2)
    check = _checked(build, domain, given, config.discriminator.name, judges=True)
    _hold_unreached(check, config, "discriminator")


def _checked(
    build: Callable[[], nn.Module],
    domain: Domain,
    given: tuple[Tensor, Tensor],
    name: str,
    *,
    judges: bool,
) -> StackCheck:
    networks = []
    for seed in range(COUNT):
        torch.manual_seed(seed)
        networks.append(build().train())
    conditional = is_conditional(networks[0])
    labels = [told(COUNT, SAMPLES, len(domain.classes))] if conditional else []
    first, second = ([each, *labels] for each in given)
    if reason := forgotten(networks, [each[0] for each in first]):
        raise AssertionError(f"'{name}' {reason}")
    check = StackCheck(networks, first, second, judges=judges, where=f"'{name}'")
    check.run()
    return check


def _hold_unreached(check: StackCheck, config: TrialConfig, section: str) -> None:
    """Alone a weight without a gradient stays; in a stack, where that is 0, it would shrink."""
    if check.unreached and _shrinks(config, section):
        names = ", ".join(f"'{name}'" for name in sorted(check.unreached))
        raise AssertionError(
            f"{check.where}: no gradient reaches {names}, which adamw would shrink in a stack, and not "
            "alone: leave out what is not used"
        )


def _shrinks(config: TrialConfig, section: str) -> bool:
    """Whether a network's optimizer shrinks weights by itself."""
    return getattr(getattr(config.optimizer, section, None), "name", "") == "adamw"


def _try_loss(config: TrialConfig, _: Domain) -> None:
    if reason := lost_of_loss(build_loss(config)[0]):
        raise AssertionError(f"'{config.loss.name}' {reason}")
    loss, _penalty = build_loss(config)

    def g(real: Tensor, fake: Tensor) -> Tensor:
        return loss.g(real if loss.g_uses_real else None, fake)

    real, fake = _drawn(seed=1), _drawn(seed=2)
    pairs = list(zip(real, fake, strict=True))
    d_alone = [
        drawing_from(Draws(chance), loss.d)(*pair)
        for chance, pair in zip(_chances(), pairs, strict=True)
    ]

    def d(real: Tensor, fake: Tensor) -> Tensor:
        return drawing_from(LaneDraws(_chances()), loss.d)(real, fake)

    _compare(d, d_alone, real, fake, f"'{config.loss.name}': d")
    _compare(g, [g(*pair) for pair in pairs], real, fake, f"'{config.loss.name}': g")


def _try_penalty(config: TrialConfig, domain: Domain) -> None:
    """Each training has options of its own, its own random numbers, and a memory of its own."""
    assert config.loss.penalty is not None
    shape = domain_judged(config, domain).shape
    if reason := lost_of_penalty(lambda: build_loss(config)[1], shape):
        raise AssertionError(f"'{config.loss.penalty.name}' {reason}")
    _loss, made = build_loss(config)
    part: Any = made
    real, fake = (_drawn(*shape, seed=seed) for seed in (1, 2))
    weight = _drawn(*shape, seed=3)[0, 0].requires_grad_()
    set_: dict[str, Any] = {option: getattr(part, option) for option in part.per_lane}
    own = [
        {k: v / (1 + row) if isinstance(v, float) else v for k, v in set_.items()}
        for row in range(COUNT)
    ]
    stacked = {
        k: torch.tensor([each[k] for each in own]) if isinstance(v, float) else v
        for k, v in set_.items()
    }

    def critic(samples: Tensor) -> Tensor:
        return (weight * samples.square()).flatten(-len(shape)).sum(-1)

    def penalty(options: dict[str, Any], draws: Draws, leading: int) -> Callable[..., Tensor]:
        with_them = copy.deepcopy(part)
        for option, value in options.items():
            setattr(with_them, option, value)
        if isinstance(with_them, Observer) and leading == 2:
            with_them.load_state_dict(remembered([part] * COUNT, torch.device("cpu")))
        drawing = drawing_from(draws, with_them)
        called = on_samples(drawing, flat=bool(getattr(part, "flat", False)), leading=leading)

        def after_an_update(real: Tensor, fake: Tensor) -> Tensor:
            if isinstance(with_them, Observer):
                with_them.observe(critic(real).detach(), critic(fake).detach())
            return called(critic, real, fake)

        return after_an_update

    def together(*samples: Tensor) -> Tensor:
        return penalty(stacked, LaneDraws(_chances()), 2)(*samples)

    given = zip(own, _chances(), real, fake, strict=True)
    alone = [penalty(each, Draws(chance), 1)(*pair) for each, chance, *pair in given]
    name = f"'{config.loss.penalty.name}'"
    assert not any(map(is_detached, alone)), f"{name} {DETACHED}"
    _compare(together, alone, real, fake, name)


def _compare(
    method: Callable[..., Tensor], alone: Sequence[Tensor], real: Tensor, fake: Tensor, what: str
) -> None:
    """That numbers of K trainings at once are each one's, [K], and stay so beside one full of NaN."""
    expected = torch.stack([torch.as_tensor(each).detach() for each in alone])
    broken = [each.clone() for each in (real, fake)]
    for each in broken:
        each[1] = torch.nan
    before = chance()
    try:
        found, beside = (torch.as_tensor(method(*pair)).detach() for pair in ((real, fake), broken))
    except Exception as error:
        raise AssertionError(f"{what} fails for {COUNT} trainings at once: {error}: {MEND}") from error
    assert chance() == before, (
        f"{what} draws from a global generator of random numbers, and each training has its own"
    )
    same = found.shape == expected.shape and torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert same, f"{what} gives for {COUNT} trainings at once not what it gives for each: {MEND}"
    others = [row for row in range(COUNT) if row != 1]
    assert torch.equal(found[others], beside[others]), f"{what}: NaN in one reaches another: {MEND}"


def _drawn(*shape: int, seed: int) -> Tensor:
    """Numbers [K, B, ...]."""
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(COUNT, SAMPLES, *shape, generator=chance).tanh()


def _chances() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(COUNT)]

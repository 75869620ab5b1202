"""Which configurations can be trained as one: those whose trainings do the same operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gansearch.losses import LOSSES, PENALTIES, is_variational
from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.networks.stacked import why_not
from gansearch.study.config import TrialConfig, digest

OWN_OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")


def shape_of(config: TrialConfig) -> str:
    """A text that is equal for configurations that can be trained as one.

    They may differ in what each training has for itself: seed, loss, the settings of its optimizers,
    schedules, a penalty's options that are `per_lane`, how samples are augmented and how much noise is
    on them, the average's decay, budget, health rules, evaluation. Those with a lazy penalty report at
    the same steps, so that it is due for all or for none; and of losses that ask for real samples in
    the generators' updates, which are then one pass more, all do or none.
    """
    tree = config.plain()
    for key in ("augment", "noise"):
        tree["discriminator"].pop(key, None)
    penalty = config.loss.penalty
    kept: dict[str, Any] = {
        key: tree[key]
        for key in (
            "data",
            "generator",
            "discriminator",
            "latent_size",
            "batch_size",
            "discriminator_steps",
            "precision",
            "deterministic",
        )
    }
    kept["optimizer"] = [config.optimizer.generator.name, config.optimizer.discriminator.name]
    kept["ema"] = config.ema is not None
    if is_variational(config.loss.name):  # always alone, and no shape of games
        kept["loss"] = config.loss.name
    else:
        loss = LOSSES.build(config.loss.name, config.loss.options)
        kept["g_uses_real"] = loss.g_uses_real
    if penalty is not None:
        own = getattr(PENALTIES.find(penalty.name), "per_lane", ())
        kept["penalty"] = [penalty.name, {k: v for k, v in penalty.options.items() if k not in own}]
        if penalty.every > 1:
            kept["lazy"] = [penalty.every, config.budget.report_every]
    return digest(kept)


def is_ours(part: Callable[..., Any]) -> bool:
    """Whether a part is not the user's own."""
    return part.__module__.partition(".")[0] == "gansearch"


def why_alone(config: TrialConfig) -> str:
    """Why a configuration is always trained alone, in words; empty where it can be with others."""
    return next(iter(whys_alone(config)), "")


def whys_alone(config: TrialConfig) -> list[str]:
    """All the reasons, each beginning with the part that it is of."""
    odd = list(odd_parts(config))
    return odd if is_variational(config.loss.name) else [*odd, *_unstacked(config)]


def _unstacked(config: TrialConfig) -> Iterator[str]:
    """What cannot be stacked of a configuration."""
    for section, registry in (("generator", GENERATORS), ("discriminator", DISCRIMINATORS)):
        if reason := why_not(registry.find(getattr(config, section).name)):
            yield f"{section}: {reason}"
    penalty = config.loss.penalty
    if penalty is None:
        return
    kind = PENALTIES.find(penalty.name)
    if not hasattr(kind, "per_lane"):
        yield f"loss.penalty: '{penalty.name}' does not say which of its options may differ (per_lane)"


def odd_parts(config: TrialConfig) -> Iterator[str]:
    """What a configuration asks for that a step of `Lanes` does not do."""
    if is_variational(config.loss.name):
        yield f"loss: '{config.loss.name}' has a step of its own"
        return
    if config.generator.diversity:
        yield "generator.diversity"
    for side in ("generator", "discriminator"):
        if getattr(config, side).freeze:
            yield f"{side}.freeze"
    penalty, updates = config.loss.penalty, config.budget.report_every * config.discriminator_steps
    if penalty is not None and updates % penalty.every:
        yield f"loss.penalty.every: the {updates} updates from report to report are no multiple of it"
    for side in ("generator", "discriminator"):
        name = getattr(config.optimizer, side).name
        if name not in OWN_OPTIMIZERS:
            known = ", ".join(OWN_OPTIMIZERS)
            yield f"optimizer.{side}: '{name}' has no stacked counterpart; {known} have"

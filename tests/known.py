"""Searches whose truth is known: what the tests of maps, curves and importance are tried on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gansearch.analysis.evidence import Evidence
from gansearch.study.axes import Axis, Choice, Float, Int
from gansearch.study.records import Goal, Outcome, Report, TrialRecord

G, D = "optimizer.generator.lr", "optimizer.discriminator.lr"
STEPS = 100
RATES: dict[str, Axis] = {G: Float(1e-5, 1e-1, log=True), D: Float(1e-5, 1e-1, log=True)}


def trial(
    number: int,
    params: Mapping[str, Any] | None = None,
    outcome: Outcome = Outcome.COMPLETED,
    value: float | None = 1.0,
    *,
    loss: str = "hinge",
    step: int = STEPS,
    seconds: float = 1.0,
    config: Mapping[str, Any] | None = None,
    blameless: bool = False,
) -> TrialRecord:
    """A trial of one report; a value of None is NaN."""
    metrics = {"fd": math.nan if value is None else value}
    reports = [Report(step, 64 * step, seconds, metrics, 0.0, outcome if outcome.ended else None)]
    tree = {"loss": {"name": loss, "penalty": None}, "seed": number} | dict(config or {})
    return TrialRecord(number, dict(params or {}), tree, outcome, "", reports, blameless=blameless)


def study(
    search: Sequence[TrialRecord],
    axes: Mapping[str, Axis] | None = None,
    goal: Goal = "min",
    stability: Sequence[TrialRecord] = (),
) -> Evidence:
    """A study of these trials."""
    return Evidence(
        name="known",
        question="",
        metric="fd",
        goal=goal,
        steps=STEPS,
        planned=len(search),
        axes=RATES if axes is None else axes,
        search=list(search),
        stability=list(stability),
    )


def logistic(x: Any, y: Any, steepness: float, place: float = 1.1) -> Any:
    """The probability of success at a point of the unit square: it falls with x + y."""
    return 1 / (1 + np.exp(steepness * (x + y - place)))


def rates(u: float, v: float) -> dict[str, float]:
    """A point of the unit square as learning rates."""
    return {G: 10 ** (4 * u - 5), D: 10 ** (4 * v - 5)}


def random_search(n: int, steepness: float, rng: np.random.Generator, place: float = 1.1) -> Evidence:
    """n random trials that fail by `logistic`; axes without an effect beside the learning rates."""
    axes = RATES | {"generator.depth": Int(1, 4), "norm": Choice({"batch": "batch", None: None})}
    trials = []
    for number in range(n):
        u, v = rng.random(2)
        works = rng.random() < logistic(u, v, steepness, place)
        params = rates(u, v) | {
            "generator.depth": int(rng.integers(1, 5)),
            "norm": [None, "batch"][number % 2],
        }
        outcome = Outcome.COMPLETED if works else Outcome.DIVERGED
        value = float(10 * (u - 0.4) ** 2 + rng.normal(0, 0.05)) if works else None
        trials.append(trial(number, params, outcome, value, seconds=float(rng.gamma(2.0))))
    return study(trials, axes)

"""Evidence made up from known distributions: what reports are tried on.

The true probability of success falls with the sum of the learning rates' logarithms, the sooner the
more fragile a loss is; a trial's value is quadratic in the learning rates, with noise between seeds.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from gansearch.analysis.evidence import Evidence
from gansearch.study.axes import Choice, Float, Int
from gansearch.study.config import TrialConfig, loss_family
from gansearch.study.records import Goal, Outcome, Report, TrialRecord, ranked
from gansearch.study.roster import Candidate, Roster

FRAGILITY = {
    "minimax": 1.2,
    "non-saturating": 0.4,
    "hinge": 0.0,
    "least-squares": 0.8,
    "wasserstein": -0.6,
}
LEVEL = {
    "minimax": 26.0,
    "non-saturating": 21.0,
    "hinge": 22.5,
    "least-squares": 25.0,
    "wasserstein": 19.5,
}
AXES = {
    "generator.depth": Int(1, 4),
    "loss": Choice({name: {"name": name} for name in FRAGILITY}),
    "loss.wasserstein.penalty.weight": Float(0.1, 100.0, log=True),
    "optimizer.generator.lr": Float(1e-5, 1e-2, log=True),
    "optimizer.discriminator.lr": Float(1e-5, 1e-2, log=True),
    "optimizer.generator.beta1": Float(0.0, 1.0),
    "discriminator_steps": Choice({1: 1, 5: 5}),
}
PROVENANCE = {
    "features": "classifier",
    "features_hash": "cbb575da860cf30a",
    "features_accuracy": 0.9048,
    "options": {},
    "real_samples": 60000,
    "split": "train",
    "dataset": "fashion-mnist",
    "dataset_hash": "eff6c0207659a577",
    "fake_samples": 2000,
    "ema": True,
}
FACTS = {
    "digest": "4392ac6cb855fee7",
    "gansearch": "0.1.0",
    "id": "a1d019407692",
    "launched": "2026-11-20T05:53:11+00:00",
}
REASONS = {
    Outcome.DIVERGED: "the discriminator's loss: nan, at step {step}",
    Outcome.COLLAPSED: "the samples hardly differ: 0.01 of the real images' variance, at step {step}",
    Outcome.STALLED: "the discriminator is sure of every image: its loss is 0.01 of a guess's",
    Outcome.FAILED: "OutOfMemoryError: <b>2 GiB</b> & more",
}


def evidence(
    *,
    trials: int = 120,
    top: int = 3,
    seeds: int = 8,
    reports: int = 12,
    default: bool = True,
    around: float | None = None,
    goal: Goal = "min",
    missing: int = 0,
    published: bool = False,
    seed: int = 0,
    name: str = "fashion_mnist",
) -> Evidence:
    """A search of `trials` and a stability study of its `top` on `seeds` each."""
    rng = np.random.default_rng(seed)
    search = [_trial(number, draw(rng), rng, reports, goal, prune=True) for number in range(trials)]
    found = Evidence(
        name=name,
        question="Which loss works for the widest range of learning rates on Fashion-MNIST?",
        metric="fd_classifier",
        goal=goal,
        steps=100 * reports,
        planned=trials,
        axes=AXES,
        search=search,
        facts=FACTS,
        published=PUBLISHED if published else None,
    )
    best = [r for r in ranked(search, "fd_classifier", goal) if r.best("fd_classifier", goal)]
    candidates = [_candidate(f"trial {r.number}", "search", r) for r in best[:top]]
    if default:
        config = configure(dict(MIDDLE))
        candidates.append(Candidate("default", "default", config, params=dict(MIDDLE)))
    if around and candidates:
        candidates += _around(candidates[0], around)
    return with_stability(found, candidates, seeds, rng, reports, missing)


MIDDLE = {
    "generator.depth": 2,
    "loss": "minimax",
    "optimizer.generator.lr": 2e-4,
    "optimizer.discriminator.lr": 2e-4,
    "optimizer.generator.beta1": 0.5,
    "discriminator_steps": 1,
}
PUBLISHED = {
    "source": "Lucic et al. 2018, table 2 <arXiv 1711.10337>",
    "metric": "fid",
    "note": "FID on 10,000 samples, Inception features, best of 100 configurations over 50 seeds.",
    "values": {
        "minimax": {"mean": 29.6, "sd": 1.6},
        "non-saturating": {"mean": 26.5, "sd": 1.6},
        "least-squares": {"mean": 30.7, "sd": 2.2},
        "wasserstein + gradient-penalty": {"mean": 24.5, "sd": None},
        "dragan": {"mean": 27.7, "sd": 1.2},
    },
}


def with_stability(found, candidates, seeds, rng, reports=12, missing=0) -> Evidence:
    """The evidence with a stability study of these candidates, the last `missing` seeds not yet run."""
    roster = Roster().extended(candidates, seeds, 0)
    runs = []
    for number, (label, run_seed) in enumerate(roster.entries):
        candidate = roster[label]
        params = candidate.params or MIDDLE
        run = _trial(number, params, rng, reports, found.goal, prune=False)
        run.configuration, run.config = label, candidate.config | {"seed": run_seed}
        if number >= len(roster.entries) - missing:
            run = replace(run, outcome=Outcome.RUNNING, reason="", reports=run.reports[:2])
        runs.append(run)
    return replace(found, stability=runs, roster=roster)


def draw(rng) -> dict:
    """A point of the space, at random."""
    loss = str(rng.choice(list(FRAGILITY)))
    params = {
        "generator.depth": int(rng.integers(1, 5)),
        "loss": loss,
        "optimizer.generator.lr": float(10 ** rng.uniform(-5, -2)),
        "optimizer.discriminator.lr": float(10 ** rng.uniform(-5, -2)),
        "optimizer.generator.beta1": float(rng.uniform()),
        "discriminator_steps": int(rng.choice([1, 5])),
    }
    if loss == "wasserstein":
        params["loss.wasserstein.penalty.weight"] = float(10 ** rng.uniform(-1, 2))
    return params


def configure(params) -> dict:
    """The resolved configuration at a point."""
    loss = {"name": params["loss"], "penalty": None}
    if params["loss"] == "wasserstein":
        weight = params.get("loss.wasserstein.penalty.weight", 10.0)
        loss["penalty"] = {"name": "gradient-penalty", "weight": weight}
    beta1 = params["optimizer.generator.beta1"]
    config = TrialConfig.model_validate(
        {
            "data": {"name": "fashion-mnist", "image_size": 32},
            "generator": {"name": "dcgan", "depth": params["generator.depth"]},
            "loss": loss,
            "optimizer": {
                "generator": {"lr": params["optimizer.generator.lr"], "beta1": beta1},
                "discriminator": {"lr": params["optimizer.discriminator.lr"], "beta1": 0.5},
            },
            "discriminator_steps": params["discriminator_steps"],
        }
    ).plain()
    del config["seed"]
    return config


def _candidate(label, kind, record, **more) -> Candidate:
    config = {key: value for key, value in record.config.items() if key != "seed"}
    return Candidate(label, kind, config, trial=record.number, params=record.params, **more)


def _around(centre, factor) -> list[Candidate]:
    axes = [a for a in centre.params if isinstance(AXES[a], Float) and centre.params[a]]
    made = []
    for name in axes:
        for by in (1 / (1 + factor), 1 + factor):
            params = centre.params | {name: centre.params[name] * by}
            axis = name.replace("loss.wasserstein.", "loss.")
            label = f"{centre.label}: {axis} x {by:.3g}"
            made.append(
                Candidate(
                    label,
                    "around",
                    configure(params),
                    params=params,
                    of=centre.label,
                    axis=axis,
                    factor=by,
                )
            )
    return made


def _trial(number, params, rng, reports, goal, *, prune) -> TrialRecord:
    loss = params["loss"]
    lr_g, lr_d = (math.log10(params[f"optimizer.{who}.lr"]) for who in ("generator", "discriminator"))
    works = rng.uniform() < 1 / (1 + math.exp(2.2 * (lr_g + lr_d + 6.2 + FRAGILITY[loss])))
    floor = LEVEL[loss] + 4 * (lr_g + 3.6) ** 2 + 3 * (lr_d + 3.6) ** 2 + rng.gamma(2.0, 0.8)
    outcome, length = Outcome.COMPLETED, reports
    if not works:
        outcome = rng.choice([Outcome.DIVERGED, Outcome.COLLAPSED, Outcome.STALLED], p=[0.5, 0.3, 0.2])
        length = int(rng.integers(1, reports))
    elif prune and floor > LEVEL[loss] + 8:
        outcome, length = Outcome.PRUNED, max(1, reports // 3)
    outcome = Outcome(str(outcome))
    records = []
    for i in range(1, length + 1):
        value = floor + 90 * math.exp(-4 * i / reports) + rng.normal(0, 0.4)
        if outcome is Outcome.DIVERGED and i == length:
            value = math.nan
        value = value if goal == "min" else 10 - value / 20
        last = i == length
        reason = REASONS.get(outcome, "").format(step=100 * i) if last else ""
        metrics = {"fd_classifier": value, "is_classifier": 5.0 + rng.normal(0, 0.2), "d_loss": 1.0}
        ended = outcome if last else None
        records.append(Report(100 * i, 6400 * i, 1.4 * i, metrics, 1.7e9 + i, ended, reason))
    config = configure(params) | {"seed": int(rng.integers(2**31))}
    assert loss_family(config)
    return TrialRecord(
        number,
        params,
        config,
        outcome,
        records[-1].reason,
        records,
        {"fd_classifier": dict(PROVENANCE)},
    )

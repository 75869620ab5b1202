"""Optuna's samplers by name, with the options that a study may set."""

from __future__ import annotations

import warnings
from typing import Annotated

import optuna
from optuna.samplers import BaseSampler
from pydantic import Field

from gansearch.study.registry import Registry

SAMPLERS: Registry[BaseSampler] = Registry(
    "sampler",
    {
        "tpe": "gansearch.tuning.samplers:tpe",
        "random": "gansearch.tuning.samplers:random",
        "gp": "gansearch.tuning.samplers:gp",
    },
)
"""A sampler is called with (seed, conditional): the seed of one proposal, and whether some axes exist
only under some options. A new one is made for every proposal, so that a proposal depends on the seed,
its number and the trials before it, and on nothing that a crash could lose."""

UNSWAYED = ("random",)
"""Samplers that are to cover the space evenly, whatever has failed there."""

Count = Annotated[int, Field(ge=1)]


def tpe(
    seed: int, conditional: bool, *, startup_trials: Count = 10, candidates: Count = 24
) -> BaseSampler:
    """Multivariate tree-structured Parzen estimators (Bergstra et al. 2011; Falkner et al. 2018).

    Trials that still run count as bad ones near which nothing new is proposed (constant liar), and
    those that a health rule ended rank behind all others (constraints, arXiv 2211.14411).

    Args:
        seed: of this proposal.
        conditional: whether to model groups of axes that exist together.
        startup_trials: proposals made at random before the first that is not.
        candidates: points drawn, of which the best is proposed.
    """
    with warnings.catch_warnings():  # `group` has been "experimental" since 2021
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=startup_trials,
            n_ei_candidates=candidates,
            multivariate=True,
            group=conditional,
            constant_liar=True,
        )


def random(seed: int, conditional: bool) -> BaseSampler:  # noqa: ARG001
    """Independent uniform draws: the baseline, and what Lucic et al. 2018 used."""
    return optuna.samplers.RandomSampler(seed=seed)


def gp(seed: int, conditional: bool, *, startup_trials: Count = 10) -> BaseSampler:  # noqa: ARG001
    """Bayesian optimisation by a Gaussian process: for few, costly trials on a fixed space."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup_trials)

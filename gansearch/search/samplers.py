"""Optuna's samplers by name, with the options that a study may set.

What a sampler is stands in `gansearch.search.contract`; these are Optuna's, which serve as they are.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace, _SearchSpaceGroup
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field

Count = Annotated[int, Field(ge=1)]
Shown = Annotated[int, Field(ge=250)]
"""How many ended trials a sampler is shown at most. Of fewer than 250 TPE takes fewer than 25 as good
ones, and then narrows its search more slowly."""


class _Groups(_GroupDecomposedSearchSpace):
    """Optuna's groups of axes that exist together.

    It splits the groups by the axes of each trial in turn. A second trial with the same axes splits
    nothing any more, so that one of each kind is enough, and takes a tenth of the time.
    """

    def calculate(self, study: optuna.Study, use_cache: bool = False) -> _SearchSpaceGroup:
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        kinds: dict[frozenset[str], dict[str, BaseDistribution]] = {}
        for trial in study._get_trials(deepcopy=False, states=ended, use_cache=use_cache):
            kinds.setdefault(frozenset(trial.distributions), trial.distributions)
        groups = _SearchSpaceGroup()
        for distributions in kinds.values():
            groups.add_distributions(distributions)
        return groups


class Tpe(TPESampler):
    """Optuna's, fitted once for all the draws of the one proposal for which it is made.

    Attributes:
        history: ended trials that it is to see at most.
    """

    swayed = True

    def __init__(self, *, history: int, **options: Any) -> None:
        super().__init__(**options)
        self.history = history
        if self._group:
            self._group_decomposed_search_space = _Groups(include_pruned=True)
        self._fits: dict[tuple[bool, tuple[str, ...]], _ParzenEstimator] = {}

    def _build_parzen_estimator(
        self,
        study: optuna.Study,
        search_space: dict[str, BaseDistribution],
        trials: list[FrozenTrial],
        handle_below: bool,
    ) -> _ParzenEstimator:
        key = (handle_below, tuple(search_space))
        if key not in self._fits:
            self._fits[key] = super()._build_parzen_estimator(study, search_space, trials, handle_below)
        return self._fits[key]


def tpe(
    seed: int,
    conditional: bool,
    *,
    startup_trials: Count = 10,
    candidates: Count = 24,
    history: Shown = 300,
) -> BaseSampler:
    """Multivariate tree-structured Parzen estimators (Bergstra et al. 2011; Falkner et al. 2018).

    Trials that still run count as bad ones near which nothing new is proposed (constant liar), and
    those that failed without ever having a value rank behind all others (constraints, arXiv
    2211.14411).

    Args:
        seed: of this proposal.
        conditional: whether to model groups of axes that exist together.
        startup_trials: proposals made at random before the first that is not.
        candidates: points drawn, of which the best is proposed.
        history: ended trials that are modelled at most: the best, and an even choice of the others. A
            proposal's cost grows with it.
    """
    with warnings.catch_warnings():  # `group` has been "experimental" since 2021
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return Tpe(
            history=history,
            seed=seed,
            n_startup_trials=startup_trials,
            n_ei_candidates=candidates,
            multivariate=True,
            group=conditional,
            constant_liar=True,
        )


def random(seed: int, conditional: bool) -> BaseSampler:  # noqa: ARG001
    """Independent uniform draws: the baseline, and what Lucic et al. 2018 used."""
    return Random(seed=seed)


class Random(RandomSampler):
    """Optuna's. It is to cover the space evenly, whatever has failed there."""

    history = None
    swayed = False


class Gp(GPSampler):
    """Optuna's, shown a bounded number of trials.

    Attributes:
        history: ended trials that it is to see at most.
    """

    swayed = True

    def __init__(self, *, history: int, **options: Any) -> None:
        super().__init__(**options)
        self.history = history


def gp(
    seed: int,
    conditional: bool,  # noqa: ARG001
    *,
    startup_trials: Count = 10,
    history: Shown = 300,
) -> BaseSampler:
    """Bayesian optimisation by a Gaussian process: for few, costly trials on a fixed space.

    A proposal takes tenths of a second, since the process is fitted anew for each.

    Args:
        seed: of this proposal.
        conditional: makes no difference: axes that exist only under some options are drawn at random.
        startup_trials: proposals made at random before the first that is not.
        history: ended trials that are modelled at most; the cost grows with the cube of it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return Gp(
            history=history,
            seed=seed,
            n_startup_trials=startup_trials,
            warn_independent_sampling=False,  # it names arguments that no study has
        )

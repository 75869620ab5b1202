"""From a study and its journal to the next trial's configuration."""

from __future__ import annotations

from typing import Any

import optuna

from gansearch.journal import Journal
from gansearch.study.config import trial_seed
from gansearch.study.records import TrialRecord
from gansearch.study.space import Axis, Choice, Int
from gansearch.study.spec import StudySpec
from gansearch.tuning.samplers import SAMPLERS


class Proposer:
    """Asks Optuna for points and writes each into the journal before anyone trains it.

    A proposal is a function of the study's seed, the trial's number and the trials ended before it.
    One that a crash cut short is completed to what it would have been.
    """

    def __init__(self, spec: StudySpec, journal: Journal) -> None:
        self.spec = spec
        self.journal = journal
        axes = spec.space.axes().values()
        options = (
            option for axis in axes if isinstance(axis, Choice) for option in axis.options.values()
        )
        self._conditional = any(isinstance(option, dict | list) for option in options)

    def propose(self, number: int) -> TrialRecord:
        """The trial of the next free number, new in the journal."""
        self._seed(number)
        trial = self.journal.study.ask()
        if trial.number != number:
            raise RuntimeError(f"expected trial {number}, the journal gave {trial.number}")
        return self._resolve(trial)

    def complete(self, number: int) -> TrialRecord:
        """A trial whose proposal was cut short."""
        self._seed(number)
        return self._resolve(optuna.Trial(self.journal.study, self.journal.trial_id(number)))

    def _seed(self, number: int) -> None:
        search = self.spec.plan.search
        seed = trial_seed(search.seed, number, "proposal")
        options = search.sampler.options
        sampler = SAMPLERS.build(search.sampler.name, options, seed, self._conditional)
        self.journal.study.sampler = sampler

    def _resolve(self, trial: optuna.Trial) -> TrialRecord:
        config = self.spec.trial(trial.number, lambda name, axis: suggest(trial, name, axis))
        record = TrialRecord(trial.number, dict(trial.params), config.plain())
        self.journal.note(trial.number, config=record.config)
        return record


def suggest(trial: optuna.Trial, name: str, axis: Axis) -> Any:
    """Optuna's value for an axis; of a choice, the label."""
    if isinstance(axis, Choice):
        return trial.suggest_categorical(name, list(axis.options))
    if isinstance(axis, Int):
        return trial.suggest_int(name, axis.low, axis.high)
    return trial.suggest_float(name, axis.low, axis.high, log=axis.log)

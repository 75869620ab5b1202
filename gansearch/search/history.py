"""The trials of a search as a sampler sees them: all of a short search, a fair part of a long one."""

from __future__ import annotations

import bisect
import copy
import math
from collections.abc import Container, Sequence
from typing import Any

from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

BEST = 25
"""How many of the best are shown in any case: TPE models at most that many as good ones."""

BLAMELESS = "blameless"
"""The attribute of a trial whose configuration had no part in the error that ended it."""


def is_blameless(trial: FrozenTrial) -> bool:
    """Whether a trial's configuration had no part in the error that ended it."""
    return bool(trial.user_attrs.get(BLAMELESS))


class History(InMemoryStorage):
    """One study's trials in memory, of which no more than a limit are shown.

    A sampler's fit costs time in proportion to the trials that it reads (a Gaussian process's, to their
    cube), so a long search would slow down. Where more have ended than the limit, these are shown: the
    best, in the order in which `TPESampler` ranks them, then as many others as the limit allows, evenly
    spread over their numbers. The density that a sampler estimates from them is then that of all, with
    fewer samples. Running trials are shown in any case, those that ended in an error never: their
    values are not known. What is shown depends on the trials alone, not on when they became known.

    A sampler that asks for complete trials but not for pruned ones, as Optuna's Gaussian process does,
    is shown these as complete ones, and so it is those of an error that their configuration is to blame
    for. It would learn nothing from them, and propose the same point again and again while nothing
    completes.

    Args:
        direction: whether small or large values are good.
        limit: ended trials that are shown at most; None: all trials are shown.
    """

    def __init__(self, direction: StudyDirection, limit: int | None = None) -> None:
        super().__init__()
        self._limit = limit
        self._sign = 1.0 if direction == StudyDirection.MINIMIZE else -1.0
        self._open: set[int] = set()
        self._ranked: list[tuple[tuple[float, ...], int]] = []  # (rank, id), the best first
        self._ended: list[int] = []  # their ids, which rise with their numbers
        self._shown: list[int] | None = None  # what was shown last, until a trial begins or ends
        self._trials_shown: list[FrozenTrial] | None = None  # the same, until one of them changes

    def show(self, limit: int | None) -> None:
        """Change the limit."""
        if limit != self._limit:
            self._limit, self._shown = limit, None

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial; a `template_trial` may have ended already."""
        trial_id = super().create_new_trial(study_id, template_trial)
        self._place(trial_id)
        return trial_id

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Change a trial's state; one that ends may be shown from now on."""
        changed = super().set_trial_state_values(trial_id, state, values)
        self._place(trial_id)
        return changed

    def put(self, trial_id: int, trial: FrozenTrial) -> None:
        """Show a trial as it is now, also in place of one that seemed to have ended."""
        shown = self._get_trial(trial_id)
        trial.number, trial._trial_id = shown.number, trial_id
        if shown.state in (TrialState.COMPLETE, TrialState.PRUNED):
            del self._ranked[bisect.bisect_left(self._ranked, (self._rank(shown), trial_id))]
            del self._ended[bisect.bisect_left(self._ended, trial_id)]
        self._set_trial(trial_id, trial)
        self._update_cache(trial_id, self._trial_id_to_study_id_and_number[trial_id][0])
        self._place(trial_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep an attribute, unless it is what a sampler tells other processes of a draw.

        Such an attribute is for proposals that grow axis by axis. Here they come whole, and a draw may
        be rejected, of which a resumed search knows nothing.
        """
        if ":relative_params:" not in key:
            super().set_trial_system_attr(trial_id, key, value)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The trials that are shown, by number."""
        if states is not None and TrialState.COMPLETE in states and TrialState.PRUNED not in states:
            wanted = (TrialState.PRUNED, *(state for state in TrialState if state in states))
            shown = self.get_all_trials(study_id, deepcopy, wanted)
            erred = self._erred(study_id, deepcopy, sum(t.state.is_finished() for t in shown))
            whole = sorted([*shown, *erred], key=lambda trial: trial.number)
            return _as_complete(whole, self._sign)
        if self._limit is None or states == (TrialState.WAITING,):  # none is, which Optuna sees at once
            return super().get_all_trials(study_id, deepcopy, states)
        if self._shown is None:
            self._shown = sorted([*self._open, *self._chosen(self._limit)])
            self._trials_shown = None
        if self._trials_shown is None:
            self._trials_shown = [self._get_trial(trial_id) for trial_id in self._shown]
        shown = [t for t in self._trials_shown if states is None or t.state in states]
        return copy.deepcopy(shown) if deepcopy else shown

    def _erred(self, study_id: int, deepcopy: bool, beside: int) -> list[FrozenTrial]:
        """Trials of an error of their own: the newest that there is room for beside so many others."""
        failed = super().get_all_trials(study_id, deepcopy, (TrialState.FAIL,))
        own = [trial for trial in failed if not is_blameless(trial)]
        return own if self._limit is None else own[-max(BEST, self._limit - beside) :]

    def _set_trial(self, trial_id: int, trial: FrozenTrial) -> None:
        super()._set_trial(trial_id, trial)
        self._trials_shown = None

    def _chosen(self, limit: int) -> list[int]:
        ended = self._ended
        if len(ended) <= limit:
            return ended
        chosen = {trial_id for _, trial_id in self._ranked[: min(BEST, limit)]}
        room = limit - len(chosen)
        for i in range(room):  # the newest of each stretch that is not chosen yet
            at = (i + 1) * len(ended) // room - 1
            while at > 0 and ended[at] in chosen:
                at -= 1
            chosen.add(ended[at])
        return list(chosen)

    def _place(self, trial_id: int) -> None:
        self._shown = None
        trial = self.get_trial(trial_id)
        if not trial.state.is_finished():
            self._open.add(trial_id)
            return
        self._open.discard(trial_id)
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
            bisect.insort(self._ranked, (self._rank(trial), trial_id))
            bisect.insort(self._ended, trial_id)

    def _rank(self, trial: FrozenTrial) -> tuple[float, ...]:
        """Feasible ones by value, then pruned ones by how far they came, then by violation."""
        violation = sum(v for v in trial.constraints.values() if v > 0)
        if violation > 0:
            return (2, violation)
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            return (0, self._sign * trial.value)
        if not trial.intermediate_values:
            return (1, 1)
        step, value = max(trial.intermediate_values.items())
        return (1, -step, math.inf if math.isnan(value) else self._sign * value)


def _as_complete(trials: Sequence[FrozenTrial], sign: float) -> list[FrozenTrial]:
    """Trials of which those that were pruned are complete, at the value that they had come to.

    One that failed before it had any, or of an error, is as bad as the worst of the others.
    """
    values = {trial.number: _reached(trial) for trial in trials if trial.state.is_finished()}
    known = [value for value in values.values() if value is not None]
    if not known:
        return [trial for trial in trials if trial.state not in (TrialState.PRUNED, TrialState.FAIL)]
    worst = sign * max(sign * value for value in known)
    shown = []
    for trial in trials:
        if trial.state in (TrialState.PRUNED, TrialState.FAIL):
            value = values[trial.number]
            trial = copy.copy(trial)  # noqa: PLW2901
            trial.state, trial.value = TrialState.COMPLETE, worst if value is None else value
            trial.system_attrs = {}  # the failed ones' constraints, of which the others have none
        shown.append(trial)
    return shown


def _reached(trial: FrozenTrial) -> float | None:
    """The value of an ended trial, or its last report's, if it is a number; None after an error."""
    if trial.state == TrialState.FAIL:
        return None
    last = max(trial.intermediate_values.items(), default=(0, None))[1]
    value = last if trial.value is None else trial.value
    return value if value is not None and math.isfinite(value) else None

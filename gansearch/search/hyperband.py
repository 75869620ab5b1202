"""Hyperband: several successive halvings, each of which begins to judge later than the one before."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gansearch.search.forecast import Forecast
from gansearch.search.halving import Asha, Factor, rung_steps
from gansearch.search.pruners import Paused, Verdict, Wake, first_judgement
from gansearch.study.config import TrialConfig
from gansearch.study.records import Report, TrialRecord
from gansearch.study.sections import Positive


class Hyperband:
    """Asynchronous Hyperband (Li et al. 2018, arXiv 1603.06560; 2020, arXiv 1810.05934).

    Where a trial's beginning says little of its end, early rungs do harm; where it says much, late ones
    waste. Hyperband bets on both: it deals trials to brackets, each of them successive halving (see
    `asha`) that begins one rung later than the one before, the last at the end of the budget or close
    to it. Of K brackets the one with s rungs after its first is dealt ceil(K / (s + 1) * factor^s)
    trials of a round, so that all spend about the same. Trials are dealt in the order of their first
    reports. With second chances all brackets learn from all trials where their own will end.

    Args:
        config: of one of the study's trials.
        reduction_factor: one trial in this many goes on from each rung.
        min_steps: the first bracket's first rung, in generator steps; None: a ninth of the budget's
            reports, at least one.
        second_chances: whether a trial that is behind is paused, and may go on later.
    """

    def __init__(
        self,
        config: TrialConfig,
        *,
        reduction_factor: Factor = 3,
        min_steps: Positive | None = None,
        second_chances: bool = False,
    ) -> None:
        firsts = rung_steps(config, first_judgement(config, min_steps), reduction_factor)
        self._forecast = Forecast(config, firsts)
        self.brackets = [
            Asha(
                config,
                self._forecast,
                reduction_factor=reduction_factor,
                min_steps=first,
                second_chances=second_chances,
            )
            for first in firsts
        ]
        after = [len(bracket.rungs) - 1 for bracket in self.brackets]
        self._sizes = [math.ceil(len(firsts) / (s + 1) * reduction_factor**s) for s in after]
        self._dealt: dict[int, int] = {}  # the bracket, by number
        self._counts = [0 for _ in firsts]

    def judge(self, trial: TrialRecord, report: Report) -> Verdict:
        """As the trial's bracket does."""
        bracket, fits = self._bracket(trial.number), self._forecast.fits
        verdict = bracket.judge(trial, report)
        if self._forecast.fits > fits:
            for other in self.brackets:
                if other is not bracket:
                    other.rank_all()
        return verdict

    def choose(self, paused: Sequence[TrialRecord], fresh: bool) -> Wake | None:
        """Of those whom the brackets choose, the one that has come farthest."""
        asked = [bracket for bracket in self.brackets if not fresh or bracket.may_wake()]
        if not asked:
            return None
        waiting = Paused(paused)
        wakes = [wake for bracket in asked if (wake := bracket.choose_of(waiting, fresh))]
        return max(wakes, key=lambda wake: waiting[wake.number].step, default=None)

    def failed(self, number: int) -> None:
        """As the trial's bracket does."""
        if number in self._dealt:
            self._bracket(number).failed(number)

    def given_up(self, number: int) -> None:
        """As the trial's bracket does."""
        if number in self._dealt:
            self._bracket(number).given_up(number)

    def _bracket(self, number: int) -> Asha:
        """A trial's bracket: a new one goes to the one that is farthest from its share."""
        if number not in self._dealt:
            filled = [count / size for count, size in zip(self._counts, self._sizes, strict=True)]
            at = filled.index(min(filled))
            self._dealt[number] = at
            self._counts[at] += 1
        return self.brackets[self._dealt[number]]

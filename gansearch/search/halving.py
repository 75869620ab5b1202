"""Successive halving: of the trials that come to a rung, the best go on."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Container, Mapping, Sequence, Set
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import Field

from gansearch.search.forecast import Forecast
from gansearch.search.pruners import (
    GO_ON,
    Decision,
    Paused,
    Verdict,
    Wake,
    best_reward,
    first_judgement,
    quantile,
    without_objective,
)
from gansearch.study.config import TrialConfig
from gansearch.study.plan import DEFAULT
from gansearch.study.records import Outcome, Report, TrialRecord
from gansearch.study.sections import Positive

Factor = Annotated[int, Field(ge=2)]

SPARE, SPARE_WITH_NEW = 2, 1
"""Square roots of a rung's number that may pass it beyond its share: in any case, and for a paused
trial while a new one can be begun instead. Where each is ranked by a value that stays, of n drawn at
random the best share by now differs from the true one by more than the first with probability
2 exp(-2 * 2^2), 0.0007 (Dvoretzky, Kiefer and Wolfowitz 1956), and by about the second (Li et al.
2020).
"""


class Rung:
    """What trials were worth when they came to a step.

    Attributes:
        step: at which it lies, in generator updates.
        worth: by number, their best objectives so far; higher is better.
        rewards: the same in rising order.
        foreseen: whether they are ranked by where they will end, and not by their worth.
        gone: the numbers of those that have reported from beyond it.
    """

    def __init__(self, step: int) -> None:
        self.step = step
        self.worth: dict[int, float] = {}
        self.rewards: list[float] = []
        self.foreseen = False
        self.gone: set[int] = set()
        self._scores: dict[int, float] = {}
        self._order: list[tuple[float, int]] = []  # (-reward, number), the best first

    def __len__(self) -> int:
        return len(self.rewards)

    def enter(self, number: int, reward: float) -> None:
        """Count a trial, ranked by its worth."""
        self.worth[number] = self._scores[number] = reward
        insort(self.rewards, reward)
        insort(self._order, (-reward, number))

    def rank_by(self, costs: Mapping[int, float]) -> None:
        """Rank all trials by what they are expected to end at, or by their worth where nothing is."""
        self.foreseen = bool(costs)
        costs = costs or {number: -reward for number, reward in self.worth.items()}
        self._scores = {number: -cost for number, cost in costs.items()}
        self._order = sorted((cost, number) for number, cost in costs.items())

    def score(self, number: int, costs: Mapping[int, float]) -> None:
        """The same of one trial that has come, where all others are ranked so."""
        if self.foreseen and number in costs:
            del self._order[bisect_left(self._order, (-self._scores[number], number))]
            self._scores[number] = -costs[number]
            insort(self._order, (costs[number], number))

    def pass_by(self, number: int, step: int) -> None:
        """Note that a trial has come to a step, if it was here and that is beyond."""
        if step > self.step and number in self.worth:
            self.gone.add(number)

    def leave(self, number: int) -> None:
        """Count a trial no more, if it was counted."""
        self.gone.discard(number)
        reward = self.worth.pop(number, None)
        if reward is not None:
            del self.rewards[bisect_left(self.rewards, reward)]
            del self._order[bisect_left(self._order, (-self._scores.pop(number), number))]

    def cutoff(self, reduction_factor: int) -> float | None:
        """The least reward among the best 1/`reduction_factor`; None where no trial counts yet."""
        if not self.rewards:
            return None
        share = (1 - 1 / reduction_factor) * 100 / 100  # Ray's ASHA rounds so: it asks for a percentile
        return quantile(self.rewards, share)

    def rank(self, number: int) -> int:
        """A trial's place, from 1; of equal ones that of the lesser number comes first."""
        return bisect_left(self._order, (-self._scores[number], number)) + 1

    def has_waiting(self, among: int) -> bool:
        """Whether one of so many best has not reported from beyond it."""
        return any(number not in self.gone for _, number in self._order[:among])

    def waiting(self, paused: Container[int], among: int) -> int | None:
        """The best that is paused here, if it is among so many best; who is gone is not paused here."""
        best = (number for _, number in self._order[:among] if number not in self.gone)
        return next((number for number in best if number in paused), None)


class Asha:
    """Asynchronous successive halving (Li et al. 2020, arXiv 1810.05934) on the best objective so far.

    The best so far, and not the last, because that is what a trial is worth in this study. Rungs lie
    at `min_steps` times the powers of `reduction_factor`, up to the budget. A trial that comes to a
    rung is stopped if it is worse than the best 1/`reduction_factor` of those that were there before
    it, and counts there from then on, stopped or not.

    Rungs and cutoffs are those of Ray Tune's `ASHAScheduler`. That one lets a trial without a finite
    objective run on for ever: here it is stopped at the first rung, and leaves no mark. Neither does a
    trial that a health rule ended; one that completed counts.

    With second chances a trial is paused and not stopped, as in the paper's Algorithm 2: one that comes
    to a rung goes on if it is then among the best 1/`reduction_factor` of all that have come there,
    rounded down, and so does one that was paused there, later, when enough worse ones have come. The
    default configuration, with which a search begins, is not paused: others are judged by its end. The
    best are those that are expected to end best (see `gansearch.search.forecast`), as soon as enough is
    known to say so, and until then those that are best now. Paused trials of the highest rung go first,
    before a new trial is begun. One that a health rule or an error ended gives its place in the rungs
    to others.

    Each forecast that is learnt anew moves others into the best 1/`reduction_factor`, when those that
    were there before have gone on already. So nobody but the default goes on from a rung that more than
    its share have passed, by what ranks in a sample are uncertain: twice the square root of how many
    have come there. Once that root holds back those that are paused, while there are new trials.

    When no new trial is left, free places go to the paused ones nearest to their share, as long as the
    study has used fewer steps than successive halving would of that many trials: all of them to the
    first rung, 1/`reduction_factor` of them to the second, one at least to the end. So what was saved
    by trials that failed early is spent, and the study ends. Until one trial has completed, the best
    goes on in any case.

    Args:
        config: of one of the study's trials.
        forecast: says where trials will end, and may know more trials than are judged here; None: one
            that knows those.
        reduction_factor: one trial in this many goes on from each rung.
        min_steps: the first rung, in generator steps; None: a ninth of the budget's reports, at least
            one.
        second_chances: whether a trial that is behind is paused, and may go on later.
    """

    def __init__(
        self,
        config: TrialConfig,
        forecast: Forecast | None = None,
        *,
        reduction_factor: Factor = 3,
        min_steps: Positive | None = None,
        second_chances: bool = False,
    ) -> None:
        self.min_steps = first_judgement(config, min_steps)
        self.reduction_factor = reduction_factor
        self.second_chances = second_chances
        self._config = config
        steps = rung_steps(config, self.min_steps, reduction_factor)
        self.rungs = {step: Rung(step) for step in reversed(steps)}
        self._account = Account(steps, config.budget.steps, reduction_factor)
        self._forecast = forecast or Forecast(config, steps)

    def judge(self, trial: TrialRecord, report: Report) -> Verdict:
        """Stops or pauses a trial that is not among the best of its rung."""
        news = self.second_chances and self._forecast.learn(trial, report)
        for rung in self.rungs.values():
            rung.pass_by(trial.number, report.step)
        verdict = self._judge(trial, report, news=news)
        if report.outcome is not None or verdict.decision is Decision.STOP:
            completed = report.outcome is Outcome.COMPLETED
            self._account.end(trial.number, report.step, completed=completed)
        else:
            self._account.note(trial.number, report.step)
        return verdict

    def _judge(self, trial: TrialRecord, report: Report, *, news: bool) -> Verdict:
        reward = best_reward(trial, self._config)
        reached = self._reached(trial, report) if reward is not None else None
        cutoff = reached.cutoff(self.reduction_factor) if reached else None
        if report.outcome not in (None, Outcome.COMPLETED):
            if self.second_chances:
                for rung in self.rungs.values():
                    rung.leave(trial.number)
        elif reached is not None and reward is not None:
            reached.enter(trial.number, reward)
        if news:
            self.rank_all()
        elif self.second_chances and reached is not None and trial.number in reached.worth:
            reached.score(trial.number, self._forecast.ends([trial.number]))
        if report.outcome is not None:
            return GO_ON
        if reward is None:
            return without_objective(report, self.min_steps)
        if reached is None:
            return GO_ON
        if self.second_chances:
            best = reached.rank(trial.number) <= self._share(reached)
            on = trial.origin == DEFAULT or (best and self._has_room(reached, SPARE))
            return GO_ON if on else Verdict(Decision.PAUSE, self._why(reached, trial))
        if cutoff is None or reward >= cutoff:
            return GO_ON
        share = f"the best 1/{self.reduction_factor} of those that came as far"
        return Verdict(Decision.STOP, f"not among {share}, at step {report.step}")

    def _reached(self, trial: TrialRecord, report: Report) -> Rung | None:
        """The rung to which a trial has come with this report."""
        rung = next((rung for step, rung in self.rungs.items() if report.step >= step), None)
        return None if rung is None or trial.number in rung.worth else rung

    def failed(self, number: int) -> None:
        """Have a trial that ended in an error hold no place any more."""
        self._account.drop(number)
        if self.second_chances:
            for rung in self.rungs.values():
                rung.leave(number)

    def given_up(self, number: int) -> None:
        """Have a trial that waits no more be under way no more."""
        self._account.drop(number)

    def rank_all(self) -> None:
        """Rank the trials of each rung by where they will end, as far as that is known."""
        for rung in self.rungs.values():
            rung.rank_by(self._forecast.ends(rung.worth))

    def choose(self, paused: Sequence[TrialRecord], fresh: bool) -> Wake | None:
        """The best one that has moved into its rung's best; without a new trial, more of them."""
        if fresh and not self.may_wake():
            return None
        return self.choose_of(Paused(paused), fresh)

    def choose_of(self, paused: Paused, fresh: bool) -> Wake | None:
        """The same, where others' trials may be paused, too."""
        for rung in self.rungs.values():
            number = rung.waiting(paused, among=self._share(rung))
            if number is not None and self._has_room(rung, SPARE_WITH_NEW if fresh else SPARE):
                return Wake(number, self._why(rung, paused[number]))
        if fresh:
            return None
        bests = [(rung, rung.waiting(paused, among=len(rung))) for rung in self.rungs.values()]
        shares = [(rung.rank(best) / len(rung), rung, best) for rung, best in bests if best is not None]
        if not shares or not self._account.has_left(paused.numbers):
            return None
        _, rung, number = min(shares, key=lambda at: at[0])
        return Wake(number, f"{place(rung, paused[number])}, with no new trial left and steps to spare")

    def may_wake(self) -> bool:
        """Whether a paused trial could go on though a new one can be begun, whoever is paused.

        Nobody is paused at a rung from beyond which it has reported. So to say that nobody goes on, as
        is so most times, the thousands that are paused need not be looked at.
        """
        return any(
            self._has_room(rung, SPARE_WITH_NEW) and rung.has_waiting(self._share(rung))
            for rung in self.rungs.values()
        )

    def _share(self, rung: Rung) -> int:
        """How many are the best 1/`reduction_factor` of those that have come to a rung."""
        return len(rung) // self.reduction_factor

    def _has_room(self, rung: Rung, spare: int) -> bool:
        """Whether fewer have passed a rung than its share and so many square roots of its number."""
        return len(rung.gone) < self._share(rung) + math.isqrt(spare**2 * len(rung))

    def _why(self, rung: Rung, trial: TrialRecord) -> str:
        enough = f" ({len(rung.gone)} have)" if len(rung.gone) >= self._share(rung) > 0 else ""
        share = f"{place(rung, trial)}, of which the best 1/{self.reduction_factor} go on{enough}"
        predicted = self._forecast.of(trial.number) if rung.foreseen else None
        return f"{share}: {predicted.words()}" if predicted else share


class Account:
    """What a study's trials have used of the steps that successive halving would give them.

    Args:
        rungs: their steps, rising.
        steps: the budget of one trial, in generator updates.
        reduction_factor: one trial in this many goes on from each rung.
    """

    def __init__(self, rungs: Sequence[int], steps: int, reduction_factor: int) -> None:
        self._ends = [*rungs, steps]
        self._factor = reduction_factor
        self._used: dict[int, int] = {}  # steps, by number
        self._spent = 0  # the sum of these
        self._coming: dict[int, int] = {}  # those to the next rung, of trials that are not over
        self._completed = False

    def note(self, number: int, step: int) -> None:
        """A trial has come to a step, and is not over."""
        self._use(number, step)
        self._coming[number] = next((end for end in self._ends if end > step), step) - step

    def end(self, number: int, step: int, *, completed: bool) -> None:
        """A trial has come to a step, and that was its last."""
        self._use(number, step)
        self._coming.pop(number, None)
        self._completed = self._completed or completed

    def _use(self, number: int, step: int) -> None:
        self._spent += step - self._used.get(number, 0)
        self._used[number] = step

    def drop(self, number: int) -> None:
        """A trial has ended where it was."""
        self._coming.pop(number, None)

    def has_left(self, paused: Set[int]) -> bool:
        """Whether there are steps for one more to go on; those under way use what their rung takes."""
        under_way = self._coming.keys() - paused
        if not self._completed and not under_way:
            return True
        coming = sum(self._coming[number] for number in under_way)
        return self._spent + coming < self.granted

    @property
    def granted(self) -> int:
        """What successive halving uses of as many trials as there have been."""
        shares = [max(1, len(self._used) // self._factor**k) for k in range(len(self._ends))]
        stretches = [end - begin for begin, end in pairwise([0, *self._ends])]
        return sum(share * stretch for share, stretch in zip(shares, stretches, strict=True))


def rung_steps(config: TrialConfig, first: int, reduction_factor: int) -> list[int]:
    """`first` times the powers of `reduction_factor`, up to the budget."""
    ratio = max(config.budget.steps, first) / first
    count = int(np.log(ratio) / np.log(reduction_factor) + 1)
    return [first * reduction_factor**k for k in range(count)]


def place(rung: Rung, trial: TrialRecord) -> str:
    """`3rd of 12 at step 250`."""
    rank = rung.rank(trial.number)
    ending = {1: "st", 2: "nd", 3: "rd"}.get(0 if rank % 100 in (11, 12, 13) else rank % 10, "th")
    return f"{rank}{ending} of {len(rung)} at step {trial.step}"

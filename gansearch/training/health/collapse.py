"""`collapsed`: modes lost for good."""

from __future__ import annotations

import math
from statistics import median

from gansearch.study.health import Collapsed
from gansearch.study.records import Goal, Outcome, Report, better, worse_by
from gansearch.training.health.rule import LASTING, Patience, Verdict, first

EQUAL = 1e-7
"""A variance, as a share of the real samples', that is none but for rounding to whole grey levels."""

LOST = 0.65
"""A training has lost its modes where its samples reach less than this share of what they once did:
the middle between half, which none calls healthy, and four fifths, which none calls a loss."""

REACHED = 0.25
"""Who has never reached this share of the real samples' regions has nothing to lose, be its variance
what it may: an untrained generator's noise may spread far, and a trained one shrinks to a speck before
it finds the modes."""

FALLEN = 0.75
"""Where the objective has become worse, modes are lost if reach is less than this share of its most."""

SMOOTHED = 3
"""Reach is the median of so many reports: one report's modes come and go."""

NOISE = 2.0
"""A worsening counts where it is more than so many times what is usual between two reports."""

SLIGHT = 0.03
"""A distance that has grown by less than this share of the real samples' own variance has lost no mode:
near 0 its ups and downs double it."""

NOTHING = 0.02
"""An objective to be maximised has nothing to lose below this: all that there are can reach 1."""


class Collapse:
    """Modes lost for good: samples that leave out most of what they reached, or hardly differ.

    What is lost comes back often, and a training's best report is kept whatever follows. So it ends
    a training early only where it has lasted over a third of the budget; else the last reports
    decide. Nothing is lost by who never had it: `reach`, where it is known, must once have been
    something. Neither a smaller variance nor a worse objective is a collapse by itself: a speck spreads
    as it learns, and the objective must have fallen together with `reach`. Only a generator whose
    samples have never differed is stopped at once: it does not hear its noise.

    Args:
        options: the section `health.collapsed`.
        metric: the objective.
        goal: its better direction.
        budget: steps of the whole training.
        noun: what a sample is called.
        scale: see `gansearch.training.health.Health`.
    """

    def __init__(
        self,
        options: Collapsed,
        metric: str,
        goal: Goal,
        budget: int,
        noun: str = "image",
        scale: float = 0.0,
    ) -> None:
        self.options, self.noun = options, noun
        self.slight = SLIGHT * scale
        self.metric = metric
        self.goal = goal
        of = (Outcome.COLLAPSED, options.patience, options.warmup * budget)
        self.deaf = Patience(*of)
        self.same = Patience(*of, lasting=math.inf, end=budget)
        self.losses = [Patience(*of, lasting=LASTING * budget, end=budget) for _ in range(3)]
        self.ever = 0.0  # the most diversity
        self.most = 0.0  # the same, after the warm-up
        self.reach: list[float] = []  # the last few
        self.most_reach = 0.0
        self.best: float | None = None
        self.rises: list[float] = []  # of the objective from one report to the next, all of them
        self.noise = 0.0  # the median rise up to the best report: what recovered
        self.last = math.nan

    @property
    def patiences(self) -> list[Patience]:
        """What waits for a verdict."""
        return [self.deaf, self.same, *self.losses]

    def observe(self, report: Report) -> Verdict:
        """Stops where modes are lost for good, after the warm-up."""
        diversity = report.metrics["diversity"]
        self.ever = max(self.ever, diversity)
        if report.step >= self.deaf.warmup_steps:  # an untrained generator's noise may lie anywhere
            self.most = max(self.most, diversity)
        reach = self._reached(report, diversity)
        value = report.metrics.get(self.metric, math.nan)
        self._follow(value)
        symptoms = [
            self._less_varied(diversity),
            self._reaches_less(reach),
            self._worsened(value, reach),
        ]
        if math.isfinite(reach) and self.most_reach < REACHED:
            symptoms = [""] * len(symptoms)
        return first(
            self.deaf.judge(report, self._never_differed(diversity)),
            self.same.judge(report, self._hardly_differs(diversity)),
            *(loss.judge(report, why) for loss, why in zip(self.losses, symptoms, strict=True)),
        )

    def at_end(self, report: Report) -> Verdict:
        """The verdict where another rule ends the training with the report that was seen last."""
        return first(*(each.at_end(report) for each in (self.same, *self.losses)))

    def _reached(self, report: Report, diversity: float) -> float:
        """The median of the last reports' reach, NaN where one is not known; keeps the most."""
        if report.step < self.deaf.warmup_steps:  # an untrained generator's noise may lie anywhere
            return math.nan
        reach = report.metrics.get("reach", math.nan)
        if diversity < self.options.min_diversity:  # a speck is as near to all that is around it
            reach *= 0
        self.reach = [*self.reach, reach][-SMOOTHED:]
        if len(self.reach) < SMOOTHED or not all(map(math.isfinite, self.reach)):
            return math.nan
        smooth = median(self.reach)
        self.most_reach = max(self.most_reach, smooth)
        return smooth

    def _follow(self, value: float) -> None:
        """Keep the best of the objective, and what is usual between two reports."""
        rise = (value - self.last) * (1 if self.goal == "min" else -1)
        self.last = value
        if rise > 0:
            self.rises.append(rise)
        if better(value, self.best, self.goal):
            self.best = value
            self.noise = median(self.rises) if self.rises else 0.0

    def _never_differed(self, diversity: float) -> str:
        if math.isnan(diversity) or self.ever > EQUAL:
            return ""
        return f"no two {self.noun}s have ever differed"

    def _hardly_differs(self, diversity: float) -> str:
        if not diversity < self.options.deaf:  # NaN is no small variance
            return ""
        return f"the samples hardly differ: {diversity:.2g} of the real {self.noun}s' variance"

    def _less_varied(self, diversity: float) -> str:
        # A generator that is still learning has little variety too: only a loss of it is a collapse.
        if not diversity < self.options.min_diversity <= self.most:
            return ""
        was = f"down from {self.most:.2g}"
        return f"the samples have {diversity:.2g} of the real {self.noun}s' variance, {was}"

    def _reaches_less(self, reach: float) -> str:
        if not reach < LOST * self.most_reach:
            return ""
        was = f"down from {self.most_reach:.2g}"
        return f"the samples reach {reach:.2g} of where the real {self.noun}s lie, {was}"

    def _worsened(self, value: float, reach: float) -> str:
        factor, best = self.options.worsening, self.best
        if factor is None or best is None or not math.isfinite(value):
            return ""
        if reach >= FALLEN * self.most_reach:
            return ""
        if best <= (0 if self.goal == "min" else NOTHING) or not worse_by(
            value, best, factor, self.goal
        ):
            return ""
        if abs(value - best) <= max(NOISE * self.noise, self.slight):
            return ""
        was = f"{self.metric} went from {best:.4g} to {value:.4g}"
        if not math.isfinite(reach):
            return was
        return f"{was}, and reach from {self.most_reach:.2g} to {reach:.2g}"

"""`stalled`: one network has won, and the other learns no longer."""

from __future__ import annotations

import math

from gansearch.study.health import Stalled
from gansearch.study.records import Goal, Outcome, Report, better
from gansearch.training.health.rule import LASTING, Patience, Verdict, first

SURE = 0.1
"""Share of the budget over which the discriminator must have been sure of all, besides `patience`
reports in a row: doubt comes back."""

FROZEN = 0.05
"""The same, where it tells nothing and has no gradient to learn by."""

LEARNS = 0.05
"""An objective that is better by this share than when it last was so is still being learnt."""


class Stall:
    """One network has won, and there is nothing left that the other could learn from.

    Whatever the discriminator's loss says, a generator whose objective improves has not stalled: the
    symptom must hold, and the objective not improve, for `patience` reports and a share of the budget.
    A number that is not finite shows no symptom: where `diverged` is off, none of these names is its.
    """

    def __init__(
        self, options: Stalled, metric: str, goal: Goal, budget: int, noun: str = "image"
    ) -> None:
        self.options, self.noun = options, noun
        self.metric = metric
        self.goal = goal
        of = (Outcome.STALLED, options.patience, options.warmup * budget)
        self.sure, self.frozen = Patience(*of, SURE * budget), Patience(*of, FROZEN * budget)
        self.fooled = Patience(*of, LASTING * budget)
        self.steepest = 0.0
        self.level: float | None = None

    @property
    def patiences(self) -> list[Patience]:
        """What waits for a verdict."""
        return [self.sure, self.fooled, self.frozen]

    def observe(self, report: Report) -> Verdict:
        """Stops at the `patience`-th report in a row that shows it, after the warm-up."""
        share, learns = self._gradient_share(report), self._learns(report)
        symptoms = [
            (self.sure, self._knows_all(report)),
            (self.fooled, self._worse_than_a_guess(report)),
            (self.frozen, self._frozen(report, share)),
        ]
        return first(*[rule.judge(report, "" if learns else why) for rule, why in symptoms])

    def _learns(self, report: Report) -> bool:
        """Whether the objective is clearly better than when it last was."""
        value = report.metrics.get(self.metric, math.nan)
        if not math.isfinite(value):
            return False
        first = self.level is None
        level = value if self.level is None else self.level
        gain = abs(level) * LEARNS * (-1 if self.goal == "min" else 1)
        learns = better(value, level + gain, self.goal)
        if first or learns:
            self.level = value
        return learns

    def _gradient_share(self, report: Report) -> float:
        norm = report.metrics["d_grad_norm"]
        if not math.isfinite(norm):
            return math.nan
        self.steepest = max(self.steepest, norm)
        return norm / self.steepest if self.steepest > 0 else 0.0

    def _knows_all(self, report: Report) -> str:
        doubt = report.metrics["d_doubt"]
        if not doubt <= self.options.min_doubt:  # NaN is sure of nothing
            return ""
        return f"the discriminator is sure of every {self.noun}: its loss is {doubt:.2g} of a guess's"

    def _worse_than_a_guess(self, report: Report) -> str:
        # A discriminator that learns has learnt to guess at least, if late (see `LASTING`).
        doubt, fooled = report.metrics["d_doubt"], report.metrics["d_error_fake"]
        worse = math.isfinite(doubt) and doubt > 1
        if not worse or fooled < 1 - self.options.min_error:
            return ""
        return (
            f"the discriminator takes every generated {self.noun} for a real one and does not learn "
            f"better: its loss is {doubt:.2g} of a guess's"
        )

    def _frozen(self, report: Report, share: float) -> str:
        errors = (report.metrics["d_error_real"], report.metrics["d_error_fake"])
        blind = self._tells_nothing(errors)
        if blind and share <= self.options.min_gradient:
            return f"the discriminator {blind} and its gradient is {share:.2g} of its largest"
        return ""

    def _tells_nothing(self, errors: tuple[float, float]) -> str:
        """How the discriminator fails to tell real samples from others, if it does: it guesses, or its
        answer is always the same, as that of a saturated sigmoid is.
        """
        halves = [round(2 * error) / 2 for error in errors]
        apart = max(abs(error - half) for error, half in zip(errors, halves, strict=True))
        answers = {
            (0.5, 0.5): "only guesses",
            (0, 1): f"takes every {self.noun} for a real one",
            (1, 0): f"takes every {self.noun} for a generated one",
            (1, 1): f"is wrong about every {self.noun}",
        }
        return answers.get((halves[0], halves[1]), "") if apart <= self.options.min_error else ""

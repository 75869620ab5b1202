"""Rules that end a trial whose training has failed, each saying so in words.

A rule sees one report after another and answers with a verdict. It holds nothing but what those
reports told it, so a restored trial gets its rules back by showing them its curve again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from gansearch.losses import is_variational
from gansearch.study.config import TrialConfig
from gansearch.study.health import Collapsed, Diverged, Stalled
from gansearch.study.records import Goal, Outcome, Report, better, worse_by

NETWORKS = {"d": "discriminator", "g": "generator"}
CODERS = {"d": "encoder", "g": "decoder"}
"""What a variational autoencoder's two networks are."""


@dataclass(frozen=True)
class Verdict:
    """What a rule says of a report: go on (`outcome` None), or stop, as what, and why."""

    outcome: Outcome | None = None
    reason: str = ""


CONTINUE = Verdict()


def first(*verdicts: Verdict) -> Verdict:
    """The first of them to stop."""
    return next((verdict for verdict in verdicts if verdict.outcome), CONTINUE)


class Rule(Protocol):
    """One way in which training fails."""

    def observe(self, report: Report) -> Verdict:
        """Takes the reports of one trial in order; the verdict is on the curve so far."""
        ...


class Patience:
    """Turns symptoms into a verdict: so many reports in a row must show one, after a warm-up.

    Args:
        outcome: of the verdict.
        reports: how many of them.
        warmup_steps: what comes before does not count.
        lasting: steps that lie between the first and the last of them at least.
        end: the step with which the training ends: then nothing can come back any more, and
            `lasting` is not asked for.
    """

    def __init__(
        self,
        outcome: Outcome,
        reports: int,
        warmup_steps: float,
        lasting: float = 0.0,
        end: float = math.inf,
    ) -> None:
        self.outcome, self.reports, self.warmup_steps = outcome, reports, warmup_steps
        self.lasting, self.end = lasting, end
        self.bad, self.since = 0, 0
        self.symptom = ""

    def judge(self, report: Report, symptom: str) -> Verdict:
        """The verdict on a report and the symptom that it shows, if any."""
        self.symptom = symptom
        self.bad = self.bad + 1 if symptom and report.step >= self.warmup_steps else 0
        if self.bad == 1:
            self.since = report.step
        brief = report.step - self.since < self.lasting and report.step < self.end
        return CONTINUE if brief else self.at_end(report)

    def at_end(self, report: Report) -> Verdict:
        """The verdict where the training ends with the report that was judged last."""
        if self.bad < self.reports:
            return CONTINUE
        times = f", {self.bad} reports in a row" if self.bad > 1 else ""
        return Verdict(self.outcome, f"{self.symptom}{times}, at step {report.step}")


class Divergence:
    """Non-finite or exploding losses, gradients, weights; samples that are not finite."""

    def __init__(self, options: Diverged, networks: Mapping[str, str] = NETWORKS) -> None:
        self.options, self.networks = options, networks

    def observe(self, report: Report) -> Verdict:
        """Stops at the first report that shows it: nothing recovers from a non-finite weight."""
        for what, key in [
            ("loss", "loss"),
            ("gradient norm", "grad_norm"),
            ("weights", "weight_growth"),
        ]:
            for side, network in self.networks.items():
                value = report.metrics[f"{side}_{key}"]
                if not math.isfinite(value):
                    return self._stop(report, f"the {network}'s {what}: {value}")
        if math.isnan(report.metrics["diversity"]):
            return self._stop(report, "the generator's samples are not finite")
        for side, network in self.networks.items():
            if why := self._explosion(network, side, report):
                return self._stop(report, why)
        return CONTINUE

    def _explosion(self, network: str, side: str, report: Report) -> str:
        loss, growth = report.metrics[f"{side}_loss"], report.metrics[f"{side}_weight_growth"]
        if abs(loss) > self.options.loss:
            return f"the {network}'s loss is {loss:.3g}, beyond {self.options.loss:g}"
        if growth > self.options.weight_growth:
            limit = f"more than {self.options.weight_growth:g}"
            return f"the {network}'s weights have grown {growth:.3g}-fold, {limit}"
        return ""

    @staticmethod
    def _stop(report: Report, why: str) -> Verdict:
        return Verdict(Outcome.DIVERGED, f"{why}, at step {report.step}")


LASTING = 1 / 3
"""Share of the budget over which what is lost must stay so before a training is ended early for it: of
trainings that lose half their modes many have them back after a fifth of their budget. At its end a
training is judged by its last reports."""

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
            self.deaf.judge(report, self._never_differed()),
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

    def _never_differed(self) -> str:
        return f"no two {self.noun}s have ever differed" if self.ever <= EQUAL else ""

    def _hardly_differs(self, diversity: float) -> str:
        if diversity >= self.options.deaf:
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


WON = 0.1
"""Share of the budget over which one network must have won, besides `patience` reports in a row: doubt
comes back."""

FROZEN = 0.05
"""The same, where it tells nothing and has no gradient to learn by."""

LEARNS = 0.05
"""An objective that is better by this share than when it last was so is still being learnt."""


class Stall:
    """One network has won, and there is nothing left that the other could learn from.

    Whatever the discriminator's loss says, a generator whose objective improves has not stalled: the
    symptom must hold, and the objective not improve, for `patience` reports and a share of the budget.
    """

    def __init__(
        self, options: Stalled, metric: str, goal: Goal, budget: int, noun: str = "image"
    ) -> None:
        self.options, self.noun = options, noun
        self.metric = metric
        self.goal = goal
        of = (Outcome.STALLED, options.patience, options.warmup * budget)
        self.sure, self.fooled = (Patience(*of, WON * budget) for _ in range(2))
        self.frozen = Patience(*of, FROZEN * budget)
        self.steepest = 0.0
        self.level: float | None = None

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
        self.steepest = max(self.steepest, norm)
        return norm / self.steepest if self.steepest > 0 else 0.0

    def _knows_all(self, report: Report) -> str:
        doubt = report.metrics["d_doubt"]
        if doubt > self.options.min_doubt:
            return ""
        return f"the discriminator is sure of every {self.noun}: its loss is {doubt:.2g} of a guess's"

    def _worse_than_a_guess(self, report: Report) -> str:
        # A discriminator that learns has by then learnt to guess at least.
        doubt, fooled = report.metrics["d_doubt"], report.metrics["d_error_fake"]
        if doubt <= 1 or fooled < 1 - self.options.min_error:
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


class Health:
    """The rules that a configuration asks for, as one.

    Args:
        config: of the trial.
        noun: what its samples are called, for reasons in words.
        scale: of its objective, a Frechet distance: the real samples' variance; 0 of any other.
    """

    def __init__(self, config: TrialConfig, noun: str = "image", scale: float = 0.0) -> None:
        health, steps = config.health, config.budget.steps
        goal = config.objective.towards
        self.rules: list[Rule] = []
        self.collapse: Collapse | None = None
        variational = is_variational(config.loss.name)
        if health.diverged:
            self.rules.append(Divergence(health.diverged, CODERS if variational else NETWORKS))
        if health.collapsed:
            metric = config.objective.metric
            self.collapse = Collapse(health.collapsed, metric, goal, steps, noun, scale)
            self.rules.append(self.collapse)
        if health.stalled and not variational:  # of its two networks none can win
            self.rules.append(Stall(health.stalled, config.objective.metric, goal, steps, noun))

    def observe(self, report: Report) -> Verdict:
        """The first verdict to stop, in the order diverged, collapsed, stalled; every rule sees
        every report. A training that has lost its modes when it stalls has collapsed, as at its end.
        """
        verdict = first(*[rule.observe(report) for rule in self.rules])
        if verdict.outcome is Outcome.STALLED and self.collapse:
            return first(self.collapse.at_end(report), verdict)
        return verdict

    def replay(self, reports: Iterable[Report]) -> None:
        """Show the rules a curve from before, as when a trial is restored."""
        for report in reports:
            self.observe(report)

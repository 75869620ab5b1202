"""Rules that end a trial whose training has failed, each saying so in words.

A rule sees one report after another and answers with a verdict. It holds nothing but what those
reports told it, so a restored trial gets its rules back by showing them its curve again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from gansearch.study.config import Collapsed, Diverged, Stalled, TrialConfig
from gansearch.study.records import Goal, Outcome, Report, better

NETWORKS = {"d": "discriminator", "g": "generator"}


@dataclass(frozen=True)
class Verdict:
    """What a rule says of a report: go on (`outcome` None), or stop, as what, and why."""

    outcome: Outcome | None = None
    reason: str = ""


CONTINUE = Verdict()


class Rule(Protocol):
    """One way in which training fails."""

    def observe(self, report: Report) -> Verdict:
        """Takes the reports of one trial in order; the verdict is on the curve so far."""
        ...


class Patience:
    """Turns symptoms into a verdict: so many reports in a row must show one, after a warm-up."""

    def __init__(self, outcome: Outcome, reports: int, warmup_steps: float) -> None:
        self.outcome, self.reports, self.warmup_steps = outcome, reports, warmup_steps
        self.bad = 0

    def judge(self, report: Report, symptom: str) -> Verdict:
        """The verdict on a report and the symptom that it shows, if any."""
        self.bad = self.bad + 1 if symptom and report.step >= self.warmup_steps else 0
        if self.bad < self.reports:
            return CONTINUE
        times = f", {self.bad} reports in a row" if self.bad > 1 else ""
        return Verdict(self.outcome, f"{symptom}{times}, at step {report.step}")


class Divergence:
    """Non-finite or exploding losses, gradients, weights."""

    def __init__(self, options: Diverged) -> None:
        self.options = options

    def observe(self, report: Report) -> Verdict:
        """Stops at the first report that shows it: nothing recovers from a non-finite weight."""
        for what, key in [
            ("loss", "loss"),
            ("gradient norm", "grad_norm"),
            ("weights", "weight_growth"),
        ]:
            for side, network in NETWORKS.items():
                value = report.metrics[f"{side}_{key}"]
                if not math.isfinite(value):
                    return self._stop(report, f"the {network}'s {what}: {value}")
        for side, network in NETWORKS.items():
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


class Collapse:
    """Lost modes: hardly any variety left, or an objective far worse than it has been."""

    def __init__(self, options: Collapsed, metric: str, goal: Goal, warmup_steps: float) -> None:
        self.options = options
        self.metric = metric
        self.goal = goal
        self.patience = Patience(Outcome.COLLAPSED, options.patience, warmup_steps)
        self.best: float | None = None
        self.most = 0.0

    def observe(self, report: Report) -> Verdict:
        """Stops at the `patience`-th report in a row that shows it, after the warm-up."""
        value = report.metrics.get(self.metric, math.nan)
        if better(value, self.best, self.goal):
            self.best = value
        diversity = report.metrics["diversity"]
        self.most = max(self.most, diversity)
        why = self._symptom(diversity, value)
        return self.patience.judge(report, why)

    def _symptom(self, diversity: float, value: float) -> str:
        if diversity < self.options.deaf:
            return f"the samples hardly differ: {diversity:.2g} of the real images' variance"
        # A generator that is still learning has little variety too: only a loss of it is a collapse.
        if diversity < self.options.min_diversity <= self.most:
            was = f"down from {self.most:.2g}"
            return f"the samples have {diversity:.2g} of the real images' variance, {was}"
        factor, best = self.options.worsening, self.best
        if factor is None or best is None or best <= 0 or not math.isfinite(value):
            return ""
        worse = value > best * factor if self.goal == "min" else value < best / factor
        return f"{self.metric} went from {best:.4g} to {value:.4g}" if worse else ""


class Stall:
    """One network has won, and there is nothing left that the other could learn from."""

    def __init__(self, options: Stalled, warmup_steps: float) -> None:
        self.options = options
        self.patience = Patience(Outcome.STALLED, options.patience, warmup_steps)
        self.steepest = 0.0

    def observe(self, report: Report) -> Verdict:
        """Stops at the `patience`-th report in a row that shows it, after the warm-up."""
        why = self._symptom(report, self._gradient_share(report))
        return self.patience.judge(report, why)

    def _gradient_share(self, report: Report) -> float:
        norm = report.metrics["d_grad_norm"]
        self.steepest = max(self.steepest, norm)
        return norm / self.steepest if self.steepest > 0 else 0.0

    def _symptom(self, report: Report, share: float) -> str:
        doubt = report.metrics["d_doubt"]
        if doubt <= self.options.min_doubt:
            return f"the discriminator is sure of every image: its loss is {doubt:.2g} of a guess's"
        errors = (report.metrics["d_error_real"], report.metrics["d_error_fake"])
        guesses = all(abs(error - 0.5) <= self.options.min_error for error in errors)
        if guesses and share <= self.options.min_gradient:
            return f"the discriminator only guesses and its gradient is {share:.2g} of its largest"
        return ""


class Health:
    """The rules that a configuration asks for, as one."""

    def __init__(self, config: TrialConfig) -> None:
        health, steps = config.health, config.budget.steps
        self.rules: list[Rule] = []
        if health.diverged:
            self.rules.append(Divergence(health.diverged))
        if health.collapsed:
            warmup = health.collapsed.warmup * steps
            goal = config.objective.goal or "min"
            self.rules.append(Collapse(health.collapsed, config.objective.metric, goal, warmup))
        if health.stalled:
            self.rules.append(Stall(health.stalled, health.stalled.warmup * steps))

    def observe(self, report: Report) -> Verdict:
        """The first verdict to stop, in the order diverged, collapsed, stalled; every rule sees
        every report.
        """
        verdicts = [rule.observe(report) for rule in self.rules]
        return next((v for v in verdicts if v.outcome), CONTINUE)

    def replay(self, reports: Iterable[Report]) -> None:
        """Show the rules a curve from before, as when a trial is restored."""
        for report in reports:
            self.observe(report)

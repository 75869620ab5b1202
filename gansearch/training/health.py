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
        self.warmup_steps = warmup_steps
        self.best: float | None = None
        self.bad = 0

    def observe(self, report: Report) -> Verdict:
        """Stops at the `patience`-th report in a row that shows it, after the warm-up."""
        value = report.metrics.get(self.metric, math.nan)
        if better(value, self.best, self.goal):
            self.best = value
        why = self._symptom(report.metrics["diversity"], value)
        if not why or report.step < self.warmup_steps:
            self.bad = 0
            return CONTINUE
        self.bad += 1
        if self.bad < self.options.patience:
            return CONTINUE
        return Verdict(Outcome.COLLAPSED, f"{why}, {self.bad} reports in a row, at step {report.step}")

    def _symptom(self, diversity: float, value: float) -> str:
        if diversity < self.options.min_diversity:
            limit = f"below {self.options.min_diversity:g}"
            return f"the samples have {diversity:.2g} of the real images' variance, {limit}"
        factor, best = self.options.worsening, self.best
        if factor is None or best is None or best <= 0 or not math.isfinite(value):
            return ""
        worse = value > best * factor if self.goal == "min" else value < best / factor
        return f"{self.metric} went from {best:.4g} to {value:.4g}" if worse else ""


class Stall:
    """One network has won and the other's gradient is gone."""

    def __init__(self, options: Stalled, warmup_steps: float) -> None:
        self.options = options
        self.warmup_steps = warmup_steps
        self.steepest = {"d": 0.0, "g": 0.0}
        self.bad = 0

    def observe(self, report: Report) -> Verdict:
        """Stops at the `patience`-th report in a row that shows it, after the warm-up."""
        share = {key: self._gradient_share(key, report) for key in NETWORKS}
        why = self._symptom(report, share)
        if not why or report.step < self.warmup_steps:
            self.bad = 0
            return CONTINUE
        self.bad += 1
        if self.bad < self.options.patience:
            return CONTINUE
        return Verdict(Outcome.STALLED, f"{why}, {self.bad} reports in a row, at step {report.step}")

    def _gradient_share(self, key: str, report: Report) -> float:
        norm = report.metrics[f"{key}_grad_norm"]
        self.steepest[key] = max(self.steepest[key], norm)
        return norm / self.steepest[key] if self.steepest[key] > 0 else 0.0

    def _symptom(self, report: Report, share: dict[str, float]) -> str:
        errors = (report.metrics["d_error_real"], report.metrics["d_error_fake"])
        limit = self.options.min_error
        gone = {key: share[key] <= self.options.min_gradient for key in share}
        if max(errors) <= limit and gone["g"]:
            return (
                f"the discriminator errs on {max(errors):.1%} and the generator's gradient is "
                f"{share['g']:.2g} of its largest"
            )
        if all(abs(error - 0.5) <= limit for error in errors) and gone["d"]:
            return f"the discriminator only guesses and its gradient is {share['d']:.2g} of its largest"
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

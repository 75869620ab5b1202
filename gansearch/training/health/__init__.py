"""Rules that end a trial whose training has failed, each saying so in words.

A rule sees one report after another and answers with a verdict. It holds nothing but what those
reports told it, so a restored trial gets its rules back by showing them its curve again.
"""

from __future__ import annotations

from collections.abc import Iterable

from gansearch.losses import is_variational
from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome, Report
from gansearch.training.health.collapse import Collapse
from gansearch.training.health.divergence import CODERS, NETWORKS, Divergence
from gansearch.training.health.rule import Rule, Verdict, first
from gansearch.training.health.stall import Stall

__all__ = ["Collapse", "Divergence", "Health", "Rule", "Stall", "Verdict"]


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

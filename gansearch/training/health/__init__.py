"""Rules that end a trial whose training has failed, each saying so in words.

A rule sees one report after another and answers with a verdict. It holds nothing but what those
reports told it, so a restored trial gets its rules back by showing them its curve again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from gansearch.losses import is_variational
from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome, Report
from gansearch.training.health.collapse import Collapse
from gansearch.training.health.divergence import CODERS, NETWORKS, Divergence
from gansearch.training.health.rule import Rule, Verdict, first
from gansearch.training.health.stall import Stall

__all__ = ["Collapse", "Divergence", "Health", "Rule", "Stall", "Verdict", "silent"]


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
        self.rules: list[Divergence | Collapse | Stall] = []
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


def silent(config: TrialConfig) -> list[str]:
    """The rules of a configuration that can end no trial, however ill it is, in words with the mend."""
    every, steps = config.budget.report_every, config.budget.steps
    reports = math.ceil(steps / every)
    told = []
    for rule in Health(config).rules:
        if isinstance(rule, Divergence):  # the first report may show it
            continue
        warmup = rule.patiences[0].warmup_steps
        before = min(max(math.ceil(warmup / every) - 1, 0), reports - 1)
        counted, since = reports - before, min((before + 1) * every, steps)
        if any(each.speaks(counted, since, steps) for each in rule.patiences):
            continue
        name, wanted = rule.patiences[0].outcome, rule.patiences[0].reports
        told.append(
            f"health.{name} can end no trial: it waits for {wanted:,} reports in a row from step "
            f"{math.ceil(warmup):,} on, and {counted:,} of the {reports:,} come then: lower its "
            f"patience or warmup, or budget.report_every, or say `{name}: false`"
        )
    return told

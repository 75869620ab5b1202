"""What a health rule is, what it answers, and how symptoms become a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from gansearch.study.records import Outcome, Report


@dataclass(frozen=True)
class Verdict:
    """What a rule says of a report: go on (`outcome` None), or stop, as what, and why."""

    outcome: Outcome | None = None
    reason: str = ""


CONTINUE = Verdict()


def first(*verdicts: Verdict) -> Verdict:
    """The first of them to stop."""
    return next((verdict for verdict in verdicts if verdict.outcome), CONTINUE)


LASTING = 1 / 3
"""Share of the budget over which what comes back in many trainings must last before one is ended early
for it. Of those that lose half their modes many have them back after a fifth of their budget; a
discriminator that begins as worse than a guess may learn after as long. At its end a training is judged
by its last reports."""


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

    def speaks(self, reports: int, since: int, last: int) -> bool:
        """Whether it comes to a verdict where so many reports in a row show a symptom, at steps from
        `since` to the training's `last`.
        """
        return reports >= self.reports and (last - since >= self.lasting or last >= self.end)

    def at_end(self, report: Report) -> Verdict:
        """The verdict where the training ends with the report that was judged last."""
        if self.bad < self.reports:
            return CONTINUE
        times = f", {self.bad} reports in a row" if self.bad > 1 else ""
        return Verdict(self.outcome, f"{self.symptom}{times}, at step {report.step}")

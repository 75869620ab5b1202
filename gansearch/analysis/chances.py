"""What second chances brought: who was paused, who went on, and how far they came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gansearch.errors import listed
from gansearch.study.records import Goal, Outcome, TrialRecord, count, ranked

BEST = 5
"""Of how many of the best trials it is told how many had been paused."""


def second_chances(records: Sequence[TrialRecord], metric: str, goal: Goal) -> dict[str, Any] | None:
    """What second chances brought a search; None where no trial was ever paused.

    Keys: paused (trials that ever were), waiting (numbers of those that are now), woken (numbers of
    those that went on), wakes (how often trials went on), best (numbers of the `BEST` best trials, the
    best first), best_woken (those of them that had gone on after a pause), words.

    Args:
        records: the search's trials.
        metric: the objective.
        goal: `min` or `max`.
    """
    paused = [record for record in records if record.chances]
    if not paused:
        return None
    waiting = [record.number for record in paused if record.outcome is Outcome.PAUSED]
    woken = [record.number for record in paused if record.chances[0].woken]
    best = [r for r in ranked(list(records), metric, goal) if r.best(metric, goal)][:BEST]
    best_woken = [record for record in best if record.number in woken]
    return {
        "paused": len(paused),
        "waiting": waiting,
        "woken": woken,
        "wakes": sum(bool(chance.woken) for record in paused for chance in record.chances),
        "best": [record.number for record in best],
        "best_woken": [record.number for record in best_woken],
        "words": _words(len(records), len(paused), len(waiting), len(woken), best, best_woken),
    }


def _words(
    trials: int,
    paused: int,
    waiting: int,
    woken: int,
    best: Sequence[TrialRecord],
    best_woken: Sequence[TrialRecord],
) -> str:
    now = f", {waiting} of them now" if waiting else ""
    told = f"{paused} of {count(trials, 'trial')} were paused{now}; {woken} went on"
    if not woken:
        return told
    if not best_woken:
        return f"{told}, none of them among the {len(best)} best"
    steps = [f"{r.number} (paused at step {r.chances[0].step})" for r in best_woken]
    return f"{told}, {len(best_woken)} of the {len(best)} best among them: trial {listed(steps)}"

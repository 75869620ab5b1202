"""What a journal knows of a study by name, besides its trials."""

from __future__ import annotations

CONSTRAINT = "healthy"
"""The name of the constraint that a trial violates which a health rule ended."""

CHANCES = "chances"
"""A trial's attribute: its pauses, and why it went on from each."""

GIVEN_UP = "given_up"
"""The fact at how many trials the search had no use for paused ones any more."""

DASHBOARD = "dashboard"
"""The fact of where Ray shows the driver that has, or had, the study."""

OVER = "over"
"""The fact that a search has ended before it had all its trials: {trials, how many it has, reason}."""

INSISTED = "insisted"
"""The fact of how many trials a search was asked for after it had once ended before."""

APART = "apart"
"""The fact of why some trials run alone, or uncompiled, against what `resources` ask for: lines."""

SENT = "sent"
"""The fact that MLflow has all of a search, or stability study, that is over: of how many trials."""

ENDED_AFTER = "ended_after"
"""A trial's attribute: how many others had ended before it: times are of clocks that are set back."""

NUMBER = "number"
"""A trial's attribute: its number, as its beginning says it."""

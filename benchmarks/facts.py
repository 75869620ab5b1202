"""What a journal that a benchmark makes up says of its study, as `gansearch run` would."""

from __future__ import annotations

from typing import Any


def made_up(metric: str, steps: int, trials: int) -> dict[str, Any]:
    """The facts of a search whose metric is to be small, as `gansearch.journal.shape` wants them."""
    facts = {"metric": metric, "goal": "min", "steps": steps, "report_every": 1, "trials": trials}
    texts = {"question": "", "study": "question: ''\n", "digest": "", "id": "made-up"}
    return facts | texts

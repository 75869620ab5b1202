"""A trainer that trains nothing: what remains is the machinery around it."""

from __future__ import annotations

import time
from typing import Any

from gansearch.data.images import ImageData
from gansearch.metrics.reference import Reference
from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome, Report


class TrivialTrainer:
    """As many reports as the budget asks for, each made at once; the objective falls with the step.

    It saves no checkpoint and no samples: those cost what training them costs, not what starting a
    trial costs.
    """

    def __init__(
        self, config: TrialConfig, data: ImageData, reference: Reference, device: str = "cpu"
    ) -> None:
        self.config, self.data, self.reference, self.device = config, data, reference, device
        self.reports: list[Report] = []

    @property
    def finished(self) -> bool:
        return bool(self.reports) and self.reports[-1].outcome is not None

    def advance(self) -> Report:
        budget = self.config.budget
        step = min(budget.report_every * (len(self.reports) + 1), budget.steps)
        value = (self.config.seed % 1000 + 1) * (1 + 1 / step)
        metrics = {"fd_classifier": value, "images_per_second": 1.0}
        outcome = Outcome.COMPLETED if step == budget.steps else None
        self.reports.append(Report(step, step * 64, 0.0, metrics, time.time(), outcome))
        return self.reports[-1]

    def provenance(self) -> dict[str, dict[str, Any]]:
        return {}

    def grid(self) -> None:
        return None

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: dict[str, Any]) -> None:
        raise NotImplementedError("there is nothing to load")

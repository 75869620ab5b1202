"""`diverged`: what is not finite, or explodes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gansearch.study.health import Diverged
from gansearch.study.records import Outcome, Report
from gansearch.training.health.rule import CONTINUE, Verdict

NETWORKS = {"d": "discriminator", "g": "generator"}
CODERS = {"d": "encoder", "g": "decoder"}
"""What a variational autoencoder's two networks are."""


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

"""Two failures that people reported in public, each met by a health rule, by the right name, within two
reports: curves as they would be reported, and a short real training of each kind.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from gansearch.data.load import load
from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome, Report
from gansearch.training.completion import complete
from gansearch.training.health import Health
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.trainer import Trainer

CLAMPED = -math.log(1e-6)  # 13.8
USUAL = {
    "d_grad_norm": 0.4,
    "g_grad_norm": 0.2,
    "d_weight_growth": 1.2,
    "g_weight_growth": 1.2,
    "d_error_real": 0.2,
    "d_error_fake": 0.2,
    "d_doubt": 0.8,
    "diversity": 0.7,
    "fd_classifier": 30.0,
}


class Clamped:
    """Cross-entropy of a sigmoid kept from 0 and 1, as in the code that froze: no gradient there."""

    g_uses_real: ClassVar[bool] = False
    decision: float | None = 0.0

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return self._entropy(torch.sigmoid(real)) + self._entropy(1 - torch.sigmoid(fake))

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        del real
        return self._entropy(torch.sigmoid(fake))

    @staticmethod
    def _entropy(share: Tensor) -> Tensor:
        return -share.clamp(1e-6, 1 - 1e-6).log().mean(-1)


def judged(reports: list[dict[str, float]], **health: Any) -> tuple[int, Outcome, str] | None:
    """At which report the rules stop a curve, as what, and why."""
    tree = {"budget": {"steps": 100 * len(reports), "report_every": 100}, "health": health}
    rules = Health(TrialConfig.model_validate(tree))
    for number, metrics in enumerate(reports):
        verdict = rules.observe(Report((number + 1) * 100, 0, 0.0, USUAL | metrics, 0.0))
        if verdict.outcome:
            return number, verdict.outcome, verdict.reason
    return None


def trained(loss: dict[str, Any], optimizer: dict[str, Any], **more: Any) -> list[dict[str, float]]:
    """The reports of a small training on the digits that no rule ends."""
    network = {"name": "mlp", "width": 32, "depth": 2, "norm": "none"}
    tree = {
        "data": {"name": "digits"},
        "generator": network,
        "discriminator": network,
        "loss": loss,
        "optimizer": optimizer,
        "latent_size": 8,
        "batch_size": 32,
        "evaluation": {"metrics": ["diversity"], "samples": 100},
        "objective": {"metric": "diversity", "goal": "max"},
        "health": {"diverged": False, "collapsed": False, "stalled": False},
    }
    data = load("digits", {}, root=Path("none"), split="train", image_size=None)
    config, mistakes = complete(TrialConfig.model_validate(tree | more), data.domain)
    assert not mistakes
    trainer = Trainer(config, data, prepare(config, data, LocalPaths.of_environment()))
    while not trainer.finished:
        trainer.advance()
    return [report.metrics for report in trainer.reports]


@pytest.mark.parametrize(
    ("real", "fake", "words"),
    [
        (0.0, 1.0, "takes every image for a real one"),
        (1.0, 0.0, "takes every image for a generated one"),
        (1.0, 1.0, "is wrong about every image"),
    ],
)
def test_a_frozen_discriminator_has_stalled(real: float, fake: float, words: str) -> None:
    """Its loss is 13.8 from the eighth report on, and nothing moves any more."""
    frozen = {"d_loss": CLAMPED, "g_loss": 1e-6, "d_doubt": 10.0, "d_grad_norm": 0.0}
    frozen |= {"g_grad_norm": 0.0, "d_error_real": real, "d_error_fake": fake}
    healthy = [{"d_loss": 1.1, "g_loss": 0.9}] * 7
    at, outcome, why = judged(healthy + [frozen] * 13) or (None, None, "")
    assert (at, outcome) == (8, Outcome.STALLED)
    assert words in why
    moving = frozen | {"d_grad_norm": 0.1, "d_doubt": 0.9}  # such answers of a batch alone are no fault
    assert judged(healthy + [moving] * 13) is None


def test_a_training_that_froze_has_stalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSEARCH_CACHE", str(tmp_path))
    for seed in (6, *range(40)):  # 6 where this was written; another processor rounds otherwise
        reports = trained(
            {"name": f"{__name__}:Clamped"},
            {"generator": {"lr": 2e-4}, "discriminator": {"lr": 0.05}},
            budget={"steps": 100, "report_every": 5},
            seed=seed,
        )
        frozen = [abs(report["d_loss"] - CLAMPED) < 1e-3 for report in reports]
        if all(frozen[-3:]):
            break
    first = frozen.index(True)
    assert all(frozen[first:])
    at, outcome, why = judged(reports, stalled={"min_doubt": 0.0}) or (None, None, "")
    assert outcome is Outcome.STALLED
    assert at is not None
    assert at - first <= 2
    assert "takes every image for a" in why


def test_a_loss_that_turns_nan_has_diverged() -> None:
    """WGAN-GP: fifteen reports of a critic's ordinary losses, then none that is a number."""
    healthy = [{"d_loss": -3.0 - i, "g_loss": 5.0 * i, "d_doubt": 1.0} for i in range(15)]
    broken = dict.fromkeys(("d_loss", "g_loss", "d_grad_norm", "g_grad_norm"), math.nan)
    at, outcome, why = judged(healthy + [broken] * 5) or (None, None, "")
    assert (at, outcome) == (15, Outcome.DIVERGED)
    assert "the discriminator's loss: nan" in why


def test_a_training_that_turned_nan_has_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learning rate that rises until the gradient penalty's own steps no longer converge."""
    monkeypatch.setenv("GANSEARCH_CACHE", str(tmp_path))
    rising = {"name": "sgd", "lr": 1.0, "schedule": {"warmup": 0.95}}
    reports = trained(
        {"name": "wasserstein", "penalty": {"name": "gradient-penalty", "weight": 10.0}},
        {"generator": rising, "discriminator": rising},
        budget={"steps": 400, "report_every": 20},
    )
    first = next(i for i, report in enumerate(reports) if not math.isfinite(report["d_loss"]))
    assert first > 2
    at, outcome, _ = judged(reports) or (None, None, "")
    assert outcome is Outcome.DIVERGED
    assert at is not None
    assert abs(at - first) < 2

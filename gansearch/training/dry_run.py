"""Trying a study out: every part built, one tiny step, on the CPU, nothing left behind."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gansearch.data.images import ImageData
from gansearch.errors import UserError
from gansearch.study.config import Part, TrialConfig
from gansearch.study.spec import StudySpec
from gansearch.training.prepare import LocalPaths, prepare
from gansearch.training.trainer import Trainer

FEW = 256
"""Images that the rehearsal makes do with."""


def rehearse(spec: StudySpec, data: ImageData, places: LocalPaths) -> int:
    """Train a step of one configuration for every option of every choice; returns how many.

    The feature classifier is trained on a few images only, so numbers mean nothing here.

    Raises:
        UserError: naming the configuration in which a part failed.
    """
    torch.set_num_threads(1)  # steps this small only lose by more
    few = _few(data)
    with tempfile.TemporaryDirectory() as cache:
        here = replace(places, cache=Path(cache))
        reference = prepare(_tiny(spec.corner()), few, here)
    ways = spec.space.each_option()
    for way in ways:
        config = _tiny(spec.trial(0, way))
        try:
            Trainer(config, few, reference).advance()
        except Exception as error:  # whatever a part of a user's raises
            parts = ", ".join(
                f"{key} {part.name}"
                for key in ("generator", "discriminator", "loss")
                for part in [getattr(config, key)]
            )
            raise UserError(f"a step failed with {parts}: {type(error).__name__}: {error}") from error
    return len(ways)


def _tiny(config: TrialConfig) -> TrialConfig:
    evaluation = config.evaluation.model_copy(
        update={
            "samples": min(config.evaluation.samples, 64),
            "real_samples": 32,
            "split": "train",
            "metrics": [_unsplit(metric) for metric in config.evaluation.metrics],
        }
    )
    budget = config.budget.model_copy(update={"steps": 1, "report_every": 1})
    return config.model_copy(update={"evaluation": evaluation, "budget": budget})


def _unsplit(metric: Part) -> Part:
    """A score over one split: there are too few samples for more."""
    options = {k: 1 if k == "splits" else v for k, v in metric.options.items()}
    return Part(name=metric.name, **options)


def _few(data: ImageData) -> ImageData:
    """A spread of the images, so that most classes are among them."""
    rows = np.linspace(0, len(data.images) - 1, min(FEW, len(data.images))).astype(int)
    labels = None if data.labels is None else data.labels[rows]
    return replace(data, images=data.images[rows], labels=labels)

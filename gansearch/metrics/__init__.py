"""How good samples are: Frechet distances, Inception Scores and diversity, with their provenance.

`prepare` computes once per study what all its trials share, an `Evaluator` in each trial measures
its samples against it (both in `gansearch.metrics.reference`). A metric or a feature extractor is
one class in one file and one line here; the contracts are in `gansearch.metrics.contract`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gansearch.study.registry import Registry

if TYPE_CHECKING:
    from gansearch.metrics.contract import Extractor, Metric

METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "fid": "gansearch.metrics.frechet:InceptionDistance",
        "inception_score": "gansearch.metrics.score:InceptionScore",
        "fd_classifier": "gansearch.metrics.frechet:ClassifierDistance",
        "is_classifier": "gansearch.metrics.score:ClassifierScore",
        "diversity": "gansearch.metrics.diversity:Diversity",
        "reach": "gansearch.metrics.reach:Reach",
        "fd_dinov2": "gansearch.metrics.frechet:DinoDistance",
        "fd_clip": "gansearch.metrics.frechet:ClipDistance",
        "fd_raw": "gansearch.metrics.frechet:RawDistance",
        "kid": "gansearch.metrics.kernel:KernelInceptionDistance",
        "kd_classifier": "gansearch.metrics.kernel:KernelClassifierDistance",
        "fd_infinity": "gansearch.metrics.extrapolated:FrechetInfinity",
        "fd_infinity_error": "gansearch.metrics.extrapolated:FrechetInfinityError",
        "precision": "gansearch.metrics.neighbours:Precision",
        "recall": "gansearch.metrics.neighbours:Recall",
        "density": "gansearch.metrics.neighbours:Density",
        "memorisation": "gansearch.metrics.memorisation:Memorisation",
        "coverage": "gansearch.metrics.neighbours:Coverage",
        "class_accuracy": "gansearch.metrics.classes:ClassAccuracy",
        "fd_within_classes": "gansearch.metrics.classes:ClassDistance",
        "fd_worst_class": "gansearch.metrics.classes:WorstClassDistance",
        "class_modes": "gansearch.metrics.class_modes:ClassModes",
        "class_kl": "gansearch.metrics.class_modes:ClassKL",
        "modes": "gansearch.metrics.modes:Modes",
        "high_quality": "gansearch.metrics.modes:HighQuality",
        "reverse_kl": "gansearch.metrics.modes:ReverseKL",
        "mode_overlap": "gansearch.metrics.modes:ModeOverlap",
    },
)

FEATURES: Registry[Extractor] = Registry(
    "feature extractor",
    {
        "inception": "gansearch.metrics.inception:Inception",
        "classifier": "gansearch.metrics.classifier:Classifier",
        "digits": "gansearch.metrics.channels:Channels",
        "dinov2": "gansearch.metrics.frozen:DinoV2",
        "clip": "gansearch.metrics.frozen:Clip",
        "mixture": "gansearch.metrics.modes:Mixture",
    },
)

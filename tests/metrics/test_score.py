from __future__ import annotations

import math

import pytest
import torch

from gansearch.errors import WeightsError
from gansearch.metrics import METRICS
from gansearch.metrics.contract import Activations
from gansearch.metrics.score import inception_score


@pytest.mark.parametrize("splits", [1, 3, 10])
def test_equals_torch_fidelity(splits: int) -> None:
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, isc_features_to_metric

    logits = 3 * torch.randn(205, 40, generator=torch.Generator().manual_seed(0))
    theirs = isc_features_to_metric(logits, splits=splits)[KEY_METRIC_ISC_MEAN]
    assert inception_score(logits.double().softmax(1), splits) == pytest.approx(theirs, rel=1e-12)
    assert inception_score(logits.softmax(1), splits) == pytest.approx(theirs, rel=1e-6)


def test_unsure_of_all_scores_one() -> None:
    assert inception_score(torch.full((50, 7), 1 / 7)) == pytest.approx(1, rel=1e-6)


def test_all_alike_scores_one() -> None:
    assert inception_score(torch.eye(7)[[3] * 50]) == pytest.approx(1, rel=1e-12)


def test_sure_and_even_over_k_classes_scores_k() -> None:
    assert inception_score(torch.eye(7).repeat(10, 1), splits=1) == pytest.approx(7, rel=1e-12)


def test_a_broken_probability_gives_nan() -> None:
    probabilities = torch.eye(4).repeat(5, 1)
    probabilities[2] = math.nan
    assert math.isnan(inception_score(probabilities))


def test_fewer_samples_than_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="10 splits needs as many samples, not 9"):
        inception_score(torch.eye(9))
    assert inception_score(torch.eye(10)) == pytest.approx(1, rel=1e-12), "each is a split of its own"


def test_without_probabilities_it_says_why() -> None:
    seen = Activations(torch.zeros(3, 4), None)
    with pytest.raises(WeightsError, match=r"not its last layer.*is_classifier"):
        METRICS.build("inception_score", {}).of_real(seen)


def test_splits_must_be_positive() -> None:
    assert METRICS.check("inception_score", {"splits": 0})
    assert METRICS.check("inception_score", {"split": 5}) == [
        (("split",), "not an option of 'inception_score' (did you mean 'splits'?)")
    ]

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
import yaml

from gansearch.data.domain import Images
from gansearch.data.load import load
from gansearch.errors import DataError
from gansearch.metrics.contract import Activations
from gansearch.metrics.door import least_in, width_of
from gansearch.metrics.extrapolated import (
    FrechetInfinity,
    FrechetInfinityError,
    extrapolate,
    sampling_error,
)
from gansearch.metrics.frechet import Gaussian, fit, frechet_distance
from gansearch.metrics.reference import prepare
from gansearch.study.config import TrialConfig
from gansearch.study.document import parse_document
from gansearch.training.completion import complete
from gansearch.training.dry_run import rehearse
from gansearch.training.prepare import LocalPaths
from gansearch.training.validation import read_study

WIDTH = 16


class Known:
    """Two Gaussians at a known distance: a generator's, of which samples are drawn, and the real."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        scales = np.logspace(0, -1.5, WIDTH)
        real = random.normal(size=(WIDTH, WIDTH)) / math.sqrt(WIDTH) * scales
        self.mixing = real * (1 + 0.2 * random.normal(size=(WIDTH, WIDTH)))
        self.mean = random.normal(size=WIDTH) * 0.1
        s1, s2 = self.mixing.T @ self.mixing, real.T @ real
        root = scipy.linalg.sqrtm(s1 @ s2).real
        self.distance = float(self.mean @ self.mean + np.trace(s1 + s2 - 2 * root))
        self.real = Gaussian(
            torch.zeros(WIDTH, dtype=torch.float64),
            torch.tensor(real.T.copy()),
            torch.tensor(np.trace(s2)),
        )

    def draw(self, count: int, seed: int) -> torch.Tensor:
        random = np.random.default_rng(seed)
        return torch.tensor(random.normal(size=(count, WIDTH)) @ self.mixing + self.mean)


KNOWN = Known()


@pytest.mark.parametrize("count", [150, 400])
def test_it_has_hardly_a_bias_and_knows_its_error(count: int) -> None:
    """Over 100 sets of samples: where the plain distance is far off by its bias, this is not."""
    drawn = [KNOWN.draw(count, seed) for seed in range(100)]
    found = np.array([extrapolate(features, KNOWN.real) for features in drawn])
    plain = np.mean([frechet_distance(features, KNOWN.real) for features in drawn])
    spread = found[:, 0].std(ddof=1)
    bias = found[:, 0].mean() - KNOWN.distance
    assert abs(bias) < 3 * spread / 10
    assert plain - KNOWN.distance > 3 * abs(bias)
    assert plain - KNOWN.distance > 5 * spread / 10
    assert np.median(found[:, 1]) == pytest.approx(spread, rel=0.35)
    within = np.mean(np.abs(found[:, 0] - KNOWN.distance) < 2 * found[:, 1])
    assert within > 0.88


def test_the_line_s_own_error_is_numpy_s() -> None:
    """Of so few samples that what the line leaves over is most of the error."""
    features = KNOWN.draw(68, 3)
    dealt = features[torch.from_numpy(np.random.RandomState(2020).permutation(68))]
    sizes = [68 // parts for parts in (1, 2, 3, 4)]
    means = [
        np.mean([frechet_distance(part, KNOWN.real) for part in dealt.split(size)[:parts]])
        for parts, size in enumerate(sizes, start=1)
    ]
    line, covariance = np.polyfit(1 / np.array(sizes), means, 1, cov=True)
    found = extrapolate(features, KNOWN.real)
    assert found.distance == pytest.approx(line[1], rel=1e-9)
    of_line = found.error**2 - sampling_error(features, KNOWN.real) ** 2
    assert of_line == pytest.approx(covariance[1, 1], rel=1e-6)


def test_both_sides_moved_alike_are_as_far_apart() -> None:
    features, by = KNOWN.draw(300, 5), torch.full((WIDTH,), 3.0, dtype=torch.float64)
    real = KNOWN.real._replace(mean=KNOWN.real.mean + by)
    error = sampling_error(features, KNOWN.real)
    assert sampling_error(features + by, real) == pytest.approx(error, rel=1e-9)
    found = extrapolate(features + by, real)
    assert found.distance == pytest.approx(extrapolate(features, KNOWN.real).distance, rel=1e-6)


def test_two_counts_agree_within_their_errors() -> None:
    few, many = (extrapolate(KNOWN.draw(count, 7), KNOWN.real) for count in (200, 4000))
    assert abs(few.distance - many.distance) < 3 * math.hypot(few.error, many.error)
    assert many.error < few.error / 3


def test_distance_and_error_come_of_one_pass() -> None:
    metrics = [FrechetInfinity(), FrechetInfinityError()]
    real, fake = Activations(KNOWN.draw(500, 0), None), Activations(KNOWN.draw(300, 1), None)
    known = FrechetInfinity.family.of_real(metrics, real)
    found = extrapolate(fake.features, fit(real.features))
    assert FrechetInfinity.family.values(metrics, fake, known) == [found.distance, found.error]


RAW = {"name": "fd_infinity", "features": "raw"}
DIGITS = {"name": "fd_infinity", "features": "digits"}
MLP = {"name": "mlp", "depth": 1, "width": 8}
STUDY = {
    "data": "digits",
    "generator": MLP,
    "discriminator": MLP,
    "batch_size": 16,
    "objective": {"metric": "fd_infinity"},
    "search": {"trials": 1},
}


@pytest.mark.parametrize("section", ["evaluation", "evaluation.final"])
def test_check_knows_how_many_samples_the_samples_own_numbers_take(section):
    """Four for each of 64 pixels, and four more, of generated ones; real ones may be fewer."""

    def told(samples):
        asked = {"metrics": [RAW], "samples": samples, "real_samples": 100}
        metric = "fd_infinity"
        if section == "evaluation.final":
            asked, metric = {"metrics": ["fd_raw"], "samples": 100, "final": asked}, "fd_raw"
        tree = {"evaluation": asked, "objective": {"metric": metric}}
        return complete(TrialConfig.model_validate(tree), Images((1, 8, 8)))[1]

    place = (*section.split("."), "samples")
    assert told(259) == [(place, "fd_infinity needs at least 260")]
    assert told(260) == []


def test_a_rehearsal_of_few_samples_refuses_no_study_of_enough(tmp_path):
    places = LocalPaths(tmp_path, tmp_path)

    def rehearsed(**sections):
        text = yaml.safe_dump(STUDY | sections)
        spec, data = read_study(parse_document(text, "study.yaml"), tmp_path)
        assert rehearse(spec, data, places) == 1

    final = {"metrics": [{"name": "fd_infinity", "features": "classifier"}], "samples": 300}
    rehearsed(evaluation={"metrics": [RAW], "samples": 260, "final": final})
    options = {"source": "digits", "digits": 2, "samples": 600}
    stacked = {"data": {"name": "stacked-mnist"} | options}
    rehearsed(**stacked, evaluation={"metrics": [DIGITS], "samples": 516})
    words = r"'fd_infinity' needs at least 516 generated samples in 128 features, and 515 are asked for"
    with pytest.raises(DataError, match=words):
        rehearsed(**stacked, evaluation={"metrics": [DIGITS], "samples": 515})
    data = load("stacked-mnist", options, root=tmp_path, split="train")
    with pytest.raises(DataError, match=words):  # as it is by a run, before any trial
        prepare([("fd_infinity", {"features": "digits"})], data, cache_dir=tmp_path, samples=515)


def test_too_few_samples_are_refused_and_nan_is_nan() -> None:
    with pytest.raises(ValueError, match="of 16 features takes 68 samples or more, not 67"):
        extrapolate(KNOWN.draw(67, 0), KNOWN.real)
    broken = KNOWN.draw(68, 0)
    broken[60, 3] = math.nan
    assert all(math.isnan(number) for number in extrapolate(broken, KNOWN.real))
    assert least_in(FrechetInfinity(), width_of("classifier")) == 4 * 65
    assert least_in(FrechetInfinity(features="inception"), width_of("inception")) == 4 * 2049

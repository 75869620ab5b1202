"""The Dirac-GAN: real training, by our own loss, penalty, optimizer and loop, does what its
eigenvalues say. The derivation is in `benchmarks/dirac.py`, whose parts are trained here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))

from benchmarks import dirac  # noqa: E402
from gansearch.data.points import dirac as point  # noqa: E402
from gansearch.study.config import TrialConfig  # noqa: E402
from gansearch.study.records import Outcome  # noqa: E402
from gansearch.training.completion import complete  # noqa: E402
from gansearch.training.prepare import prepare  # noqa: E402
from gansearch.training.trainer import Trainer  # noqa: E402


@pytest.fixture(scope="module")
def train(places):
    """Train (psi, theta) from a start for so many steps to the first report; the trainer afterwards."""
    data = point(Path(), "train", None)
    known = {}

    def run(rate, weight, steps, start=(dirac.START, dirac.START), reports=1) -> Trainer:
        tree = yaml.safe_load(dirac.STUDY)
        tree["discriminator"]["start"], tree["generator"]["start"] = start
        tree["loss"]["penalty"]["weight"] = weight
        tree["optimizer"] = {side: {"name": "sgd", "lr": rate} for side in tree["optimizer"]}
        tree["budget"] = {"steps": reports * steps, "report_every": steps}
        keys = tree.keys() & TrialConfig.model_fields.keys()
        config, mistakes = complete(TrialConfig.model_validate({k: tree[k] for k in keys}), data.domain)
        assert mistakes == []
        if not known:
            known["reference"] = prepare(config, data, places)
        trainer = Trainer(config, data, known["reference"])
        trainer.advance()
        return trainer

    return run


def state(trainer):
    return np.array([trainer.discriminator.psi.item(), trainer.generator.theta.item()])


RATES = (0.1, 0.5, 1.0, 2.0, 3.0)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0, 10.0])
def test_a_real_step_is_the_derived_one(train, rate, weight):
    """Each column of the matrix is where a step leads that starts close to 0 on one axis."""
    near = 1e-3
    columns = [state(train(rate, weight, 1, start)) / near for start in ((near, 0.0), (0.0, near))]
    measured = np.column_stack(columns)
    np.testing.assert_allclose(measured, dirac.step_matrix(rate, weight), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(("rate", "weight"), [(0.1, 0.3), (1.0, 0.2), (2.0, 0.6), (0.5, 4.2)])
def test_a_real_trajectory_is_the_game_s(train, rate, weight):
    """Far from the equilibrium too: the game's gradients written out, in double precision."""
    psi, theta = 1.5, -0.8
    for _ in range(40):
        psi -= rate * (theta / (1 + np.exp(-psi * theta)) + weight * psi)
        theta += rate * psi / (1 + np.exp(psi * theta))
    np.testing.assert_allclose(
        state(train(rate, weight, 40, (1.5, -0.8))), [psi, theta], rtol=1e-4, atol=1e-6
    )


def radius(matrix):
    return np.abs(np.linalg.eigvals(matrix)).max()


def test_the_boundary_is_where_the_spectral_radius_is_one():
    for rate in np.geomspace(0.01, 10, 60):
        for weight in np.geomspace(0.001, 500, 60):
            converges = radius(dirac.step_matrix(rate, weight)) < 1
            assert converges == (weight < dirac.boundary(rate)), (rate, weight)


def test_a_simultaneous_step_would_have_another_boundary():
    """The eigenvalues of Mescheder et al.: why the loop is not measured by them."""
    for rate in np.geomspace(0.01, 10, 60):
        for weight in np.geomspace(0.001, 500, 60):
            both = np.eye(2) + rate * np.array([[-weight, -0.5], [0.5, 0]])
            root = np.sqrt(complex(weight**2 / 4 - 0.25))
            theirs = [1 + rate * (-weight / 2 + sign * root) for sign in (1, -1)]
            assert radius(both) == pytest.approx(np.abs(theirs).max())
            converges = rate / 4 < weight < 2 / rate + rate / 8
            assert (radius(both) < 1) == converges, (rate, weight)


MARGIN = 0.03
"""As a share of the penalty's weight at the boundary: what is nearer is not tried."""


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1 - MARGIN, 1 + MARGIN, 1.2, 3.0])
def test_training_converges_on_one_side_of_the_boundary_and_not_on_the_other(train, rate, share):
    weight, steps = share * dirac.boundary(rate), 200
    trainer = train(rate, weight, steps)
    [report] = trainer.reports
    if share < 1:
        assert report.outcome is Outcome.COMPLETED
        power = np.linalg.matrix_power(dirac.step_matrix(rate, weight), steps)
        foretold = power @ [dirac.START, dirac.START]
        assert np.abs(foretold).max() < 0.8 * dirac.START
        np.testing.assert_allclose(state(trainer), foretold, atol=0.1 * dirac.START)
    else:
        assert report.outcome is Outcome.DIVERGED
        assert not np.abs(state(trainer)).max() < 10 * dirac.START  # also where it is NaN


def test_a_slow_escape_is_told_as_one(train):
    report = train(1.0, 1.01 * dirac.boundary(1.0), 40).reports[-1]
    assert report.outcome is Outcome.DIVERGED
    assert "weights have grown" in report.reason


def test_alternating_steps_converge_where_simultaneous_ones_would_not(train):
    rate, weight = 1.0, 0.1
    assert rate > 4 * weight, "simultaneous steps diverge here"
    after = np.abs(state(train(rate, weight, 250)))
    assert after.max() < 1e-4 * dirac.START, "and these close in as (1 - h gamma)^(n/2)"


def test_without_a_penalty_it_neither_converges_nor_diverges(train):
    """Close to the equilibrium it keeps to an ellipse, psi^2 + theta^2 - h/2 psi theta = constant."""
    rate, near, sizes = 0.5, 0.005, []
    trainer = train(rate, 0.0, 7, (near, near), reports=100)
    while True:
        psi, theta = state(trainer)
        sizes.append((psi**2 + theta**2 - rate / 2 * psi * theta) / near**2 / (2 - rate / 2))
        if trainer.step == 700:
            break
        trainer.reports.clear()  # a report that is a little further out has "diverged"
        trainer.advance()
    assert 0.99 < min(sizes) <= max(sizes) < 1.01


@pytest.mark.slow
def test_the_map_of_a_real_search_agrees_with_the_boundary(tmp_path):
    from gansearch.analysis.maps import stability_map

    found = dirac.search(trials=150, steps=500, seed=1, concurrency=2, folder=tmp_path)
    assert len(found.search) == 150
    assert sum(dirac.foretold(found.search)) >= 149
    table = stability_map(found, x="optimizer.generator.lr", y="loss.penalty.weight")
    figures = dirac.agreement(table)
    assert figures["cells"] > 0.94
    assert figures["surely wrong"] < 0.02
    assert figures["median distance"] < 0.1
    assert figures["coverage"] > 0.8

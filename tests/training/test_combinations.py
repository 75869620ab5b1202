"""Combinations that make no sense are refused with the reason, and by nobody's accident allowed."""

from __future__ import annotations

import pytest

from gansearch.data.domain import Images, Points
from gansearch.losses import PENALTIES
from gansearch.study.config import TrialConfig
from gansearch.training.completion import complete

DIGITS, PLANE = Images((1, 8, 8)), Points((2,))
SLOPES = [name for name in PENALTIES.names if getattr(PENALTIES.find(name), "per_sample", False)]


def mistakes(domain=DIGITS, launched=False, **sections):
    tree = {"generator": "mlp", "discriminator": "mlp"} | sections
    _, found = complete(TrialConfig.model_validate(tree), domain, launched=launched)
    return {".".join(map(str, path)): message for path, message in found}


def loss(penalty, **options):
    return {"name": "wasserstein", "penalty": {"name": penalty} | options}


def mlp(norm):
    return {"name": "mlp", "norm": norm}


def test_clipping_with_spectral_norm():
    found = mistakes(loss=loss("clipping"), discriminator=mlp("spectral"))
    assert list(found) == ["loss.penalty"]
    assert "spectral norm divides" in found["loss.penalty"]
    assert mistakes(loss=loss("clipping"), discriminator=mlp("none")) == {}
    assert mistakes(loss=loss("r1"), discriminator=mlp("spectral")) == {}


def test_all_penalties_of_a_sample_s_own_slope_are_known():
    assert set(SLOPES) == {"gradient-penalty", "zero-centred", "r1", "r2", "r1-r2", "dragan"}


@pytest.mark.parametrize("penalty", SLOPES)
def test_batch_norm_with_a_sample_s_own_slope(penalty):
    found = mistakes(loss=loss(penalty), discriminator=mlp("batch"))
    assert list(found) == ["loss.penalty"]
    assert "batch norm in the discriminator mixes" in found["loss.penalty"]
    assert mistakes(loss=loss(penalty), discriminator=mlp("layer")) == {}
    assert mistakes(loss=loss("lecam"), discriminator=mlp("batch")) == {}


def test_they_can_be_allowed_and_studies_that_have_begun_go_on():
    senseless = {"loss": loss("r1"), "discriminator": mlp("batch")}
    assert mistakes(**senseless)
    assert mistakes(**senseless, unsound="allow") == {}
    assert mistakes(**senseless, launched=True) == {}


def test_a_constraint_is_never_lazy_and_has_no_weight():
    found = mistakes(loss=loss("clipping", every=2, schedule="linear"), discriminator=mlp("none"))
    assert set(found) == {"loss.penalty.every", "loss.penalty.schedule"}
    allowed = loss("clipping", every=2)
    assert mistakes(loss=allowed, discriminator=mlp("none"), unsound="allow"), "it would do nothing"


def test_consistency_is_for_images():
    found = mistakes(domain=PLANE, loss=loss("consistency"))
    assert "a penalty for images, and the data are points" in found["loss.penalty"]
    assert mistakes(loss=loss("consistency")) == {}


def test_a_lazy_penalty_is_due_more_than_once():
    budget = {"steps": 4, "report_every": 2}
    found = mistakes(loss=loss("r1", every=9), budget=budget, discriminator_steps=2)
    assert list(found) == ["loss.penalty.every"]
    assert (
        "is 9, and a trial has 8 updates of the discriminator: it is due at"
        in found["loss.penalty.every"]
    )
    senseless = {"loss": loss("r1", every=9), "budget": budget}
    assert mistakes(**senseless, unsound="allow") == mistakes(**senseless, launched=True) == {}
    assert mistakes(loss=loss("r1", every=8), budget=budget, discriminator_steps=2) == {}

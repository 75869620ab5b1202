"""A record in MLflow's terms."""

import math

import pytest

from gansearch.study.records import Outcome
from gansearch.tracking.translate import LONGEST_PARAM, LONGEST_TAG, STATUS, translate

from .helpers import START, report, trial


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_told_by_status_name_and_tag(outcome):
    run = translate(trial(7, outcome=outcome, reason="why"))
    assert run.status == STATUS[outcome]
    assert (run.status == "RUNNING") == (outcome is Outcome.RUNNING)
    assert run.name == ("0007" if outcome is Outcome.RUNNING else f"0007 {outcome.value}")
    assert run.tags["gansearch.outcome"] == outcome.value
    assert run.tags["mlflow.note.content"] == f"{outcome.value} at step 300: why"


def test_params_are_the_flat_configuration():
    params = translate(trial(0)).params
    assert params["loss.name"] == "hinge"
    assert params["ema"] == "none"
    assert params["loss.penalty"] == "none"
    assert params["latent_size"] == "64"


def test_times_are_the_reports_own():
    run = translate(trial(0))
    assert (run.start_ms, run.end_ms) == (START * 1000, (START + 30) * 1000)


def test_points_carry_progress_and_the_running_best():
    record = trial(0, steps=2)
    record.reports.append(report(300, fd=99.0))
    points = {(p.name, p.step): p.value for p in translate(record).points(0, "fd", "min")}
    assert points["images", 200] == 200 * 64
    assert points["seconds", 200] == 20
    assert [points["best.fd", s] for s in (100, 200, 300)] == [10, 5, 5]
    assert [points["best.step", s] for s in (100, 200, 300)] == [100, 200, 200]


def test_later_points_are_the_same_whether_sent_at_once_or_not():
    run = translate(trial(0, steps=5))
    everything = run.points(0, "fd", "max")
    assert everything[-len(run.points(3, "fd", "max")) :] == run.points(3, "fd", "max")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_named_and_not_sent(bad):
    record = trial(0, steps=1)
    record.reports.append(report(200, fd=bad))
    run = translate(record)
    points = run.points(0, "fd", "min")
    assert all(math.isfinite(p.value) for p in points)
    assert [p.step for p in points if p.name == "fd"] == [100]
    assert run.tags["gansearch.nonfinite"] == f"fd@200={bad}"


def test_long_texts_are_cut():
    record = trial(0, reason="x" * 100_000)
    record.config["loss"]["name"] = "y" * 100_000
    run = translate(record)
    assert len(run.tags["gansearch.reason"]) == LONGEST_TAG
    assert len(run.params["loss.name"]) == LONGEST_PARAM


def test_names_that_mlflow_forbids_are_mended():
    record = trial(0, steps=1)
    record.reports[0].metrics["fd[0]%"] = 1.0
    assert "fd_0__" in {p.name for p in translate(record).points(0, "fd", "min")}

"""A record in MLflow's terms."""

import math
from dataclasses import replace

import pytest

from gansearch.study.records import Outcome
from gansearch.tracking.translate import (
    LONGEST_LABEL,
    LONGEST_PARAM,
    LONGEST_TAG,
    STATUS,
    short_label,
    translate,
)

from .helpers import START, report, seed, trial


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


def test_what_the_machine_was_used_for_stands_where_mlflow_looks_for_it():
    record = trial(0, steps=1)
    record.reports.append(replace(report(200), usage={"process_cpu_utilization_percentage": 97.5}))
    points = {(p.name, p.step): p for p in translate(record).points(0, "fd", "min")}
    found = points["system/process_cpu_utilization_percentage", 200]
    assert (found.value, found.time_ms) == (97.5, (START + 20) * 1000)
    assert not [name for name, step in points if name.startswith("system/") and step == 100]


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


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_seed_is_called_by_its_seed(outcome):
    run = translate(seed(7, "trial 3", 123, outcome))
    assert run.name == ("seed 123" if outcome is Outcome.RUNNING else f"{outcome.value}, seed 123")
    assert run.tags["gansearch.trial"] == "7"
    assert (run.tags["gansearch.configuration"], run.tags["gansearch.seed"]) == ("trial 3", "123")


@pytest.mark.parametrize(
    ("outcome", "fd", "expected"),
    [
        (Outcome.COMPLETED, 5.0, {"success": 1.0, "confirmed.fd": 5.0}),
        (Outcome.COMPLETED, math.nan, {"success": 0.0}),
        (Outcome.DIVERGED, 5.0, {"success": 0.0}),
        (Outcome.FAILED, 5.0, {"success": 0.0}),
        (Outcome.RUNNING, 5.0, {}),
        (Outcome.INTERRUPTED, 5.0, {}),
    ],
)
def test_how_an_ended_seed_counts(outcome, fd, expected):
    record = seed(0, "default", 1, outcome, steps=0)
    record.reports += [report(100, fd=fd), report(200, fd=fd + 1)]
    points = translate(record).result("fd", "min")
    assert {p.name: p.value for p in points} == expected
    assert {p.step for p in points} <= {200}


def test_what_does_not_count_has_no_result():
    blameless = seed(0, "default", 1, Outcome.FAILED)
    blameless.blameless = True
    assert translate(blameless).result("fd", "min") == []
    assert translate(trial(0)).result("fd", "min") == []
    assert [
        p.value for p in translate(seed(0, "default", 1, Outcome.FAILED, 0)).result("fd", "min")
    ] == [0]


def test_labels_too_long_are_cut_and_stay_apart():
    labels = ["x" * 1000 + end for end in ("a", "b")]
    short = [short_label(label) for label in labels]
    assert short[0] != short[1]
    assert {len(label) for label in short} == {LONGEST_LABEL}
    assert short_label("trial 7") == "trial 7"

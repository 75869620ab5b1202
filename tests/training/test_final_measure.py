"""Exact measures of a trial's best weights, beside the cheap ones of its reports."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from gansearch.metrics.reference import Evaluator, load_reference, save_reference
from gansearch.study.config import TrialConfig
from gansearch.training import checkpoint
from gansearch.training.completion import complete
from gansearch.training.pack import Start
from gansearch.training.prepare import prepare
from gansearch.training.stacked.pack import FusedPack
from gansearch.training.trainer import Trainer

FINAL = {
    "evaluation": {
        "samples": 50,
        "metrics": [{"name": "fd_classifier"}],
        "final": {"samples": 200, "metrics": ["fd_classifier", "coverage"]},
    }
}


@pytest.fixture(scope="module")
def asked(tiny):
    return tiny(**FINAL)


@pytest.fixture(scope="module")
def known(asked, digits, places):
    return prepare(asked, digits, places)


def run(trainer):
    while not trainer.finished:
        trainer.advance()
    return trainer


def test_the_best_weights_are_measured_once(asked, known, digits, tiny, reference):
    trainer = Trainer(asked, digits, known)
    states = []
    while not trainer.finished:
        trainer.advance()
        states.append(copy.deepcopy(trainer.state()))
    best = asked.best(trainer.reports)
    assert [sorted(set(r.metrics) - set(trainer.reports[0].metrics)) for r in trainer.reports] == [
        [],
        [],
        [],
        ["final_coverage", "final_fd_classifier"],
    ]
    then = Trainer(asked, digits, known)
    then.load(next(state for state in states if state["step"] == best.step))
    samples = then.generate(200, asked.seed + 1)
    assert known.final is not None
    expected = Evaluator(known.final).evaluate(samples)
    for name, value in expected.items():
        assert trainer.reports[-1].metrics[f"final_{name}"] == pytest.approx(value)
    plain = run(Trainer(tiny(), digits, reference))
    assert [r.metrics["fd_classifier"] for r in plain.reports] == [
        r.metrics["fd_classifier"] for r in trainer.reports
    ], "what is measured at the end changes no curve"


def test_both_have_a_provenance_of_their_own(asked, known, digits, tiny):
    made = Trainer(asked, digits, known).provenance()
    assert made["fd_classifier"]["fake_samples"] == 50
    assert made["final_fd_classifier"]["fake_samples"] == 200
    assert made["final_fd_classifier"]["ema"] is made["fd_classifier"]["ema"] is True
    plain = Trainer(tiny(**FINAL, ema=None), digits, known).provenance()
    assert plain["final_fd_classifier"]["ema"] is plain["fd_classifier"]["ema"] is False
    assert "of" in made["final_fd_classifier"]
    assert made["final_fd_classifier"]["floor"]["samples"] > made["fd_classifier"]["floor"]["samples"]


def test_it_goes_on_with_the_best_weights(asked, known, digits, tmp_path):
    whole = run(Trainer(asked, digits, known))
    begun, resumed = (Trainer(asked, digits, known) for _ in range(2))
    begun.advance()
    begun._best = {name: value + 1 for name, value in begun._best.items()}  # to be seen again
    checkpoint.save(tmp_path, 5, begun.state())
    resumed.load(checkpoint.load(checkpoint.path_of(tmp_path, 5)))
    for name, value in begun._best.items():
        assert torch.equal(resumed._best[name], value)
    run(resumed)
    if asked.best(whole.reports).step > 5:
        assert (
            whole.reports[-1].metrics["final_coverage"] == resumed.reports[-1].metrics["final_coverage"]
        )


def test_one_that_has_no_good_report_has_none(tiny, digits, known):
    rates = {"generator": {"name": "sgd", "lr": 1e30}, "discriminator": {"name": "sgd", "lr": 1e30}}
    last = run(Trainer(tiny(**FINAL, optimizer=rates), digits, known)).reports[-1]
    assert math.isnan(last.metrics["final_fd_classifier"])


def test_a_reference_is_read_as_it_was_written(known, tmp_path):
    save_reference(known, tmp_path / "reference")
    read = load_reference(tmp_path / "reference")
    assert read.final is not None
    assert read.metrics == known.metrics
    assert read.final.metrics == known.final.metrics
    assert read.final.origin == known.final.origin
    for name, arrays in known.final.real.items():
        for key, array in arrays.items():
            np.testing.assert_array_equal(read.final.real[name][key], array)


def check(final, digits, **evaluation):
    section = {"metrics": ["fd_classifier"], "samples": 100, "final": final} | evaluation
    return complete(TrialConfig.model_validate({"evaluation": section}), digits.domain)


def test_without_metrics_they_are_those_of_the_reports(digits):
    config, found = check({}, digits)
    assert not found
    assert [part.name for part in config.evaluation.final.metrics] == ["fd_classifier"]
    assert config.evaluation.final.samples == 10_000


@pytest.mark.parametrize(
    ("final", "place", "words"),
    [
        ({"metrics": ["fidd"]}, ("evaluation", "final", "metrics", 0, "name"), "unknown metric"),
        (
            {"metrics": ["kd_classifier"], "samples": 20},
            ("evaluation", "final", "samples"),
            "needs at least",
        ),
        ({"metrics": ["modes"]}, ("evaluation", "final", "metrics", 0), "is a measure of points"),
        ({"metrics": ["class_accuracy"]}, ("evaluation", "final", "metrics", 0), "about classes"),
        (
            {"metrics": ["coverage", "coverage"]},
            ("evaluation", "final", "metrics", 1),
            "asked for twice",
        ),
    ],
)
def test_what_is_wrong_has_its_place(digits, final, place, words):
    _, found = check(final, digits)
    assert [path for path, _ in found] == [place]
    assert words in found[0][1]


def test_what_does_not_say_it_is_written_as_before(tiny):
    assert "final" not in tiny().plain()["evaluation"]


def test_in_lanes_they_are_as_alone(tiny, digits, places):
    section = {**FINAL["evaluation"], "held_out": 60}
    configs = [tiny(evaluation=section, seed=seed) for seed in range(3)]
    known = prepare(configs[0], digits, places)
    pack = FusedPack(lambda config: Trainer(config, digits, known))
    pack.begin([Start(number, config) for number, config in enumerate(configs)])
    last = {}
    while pack.due():
        for number, report in pack.advance():
            last[number] = report
            if report.outcome:
                pack.stop([number])
    for number, config in enumerate(configs):
        alone = run(Trainer(config, digits, known)).reports[-1].metrics
        assert last[number].metrics["lanes"] > 1
        for name in ("final_fd_classifier", "final_coverage", "d_real_train", "d_real_held_out"):
            assert last[number].metrics[name] == pytest.approx(alone[name], rel=5e-2, abs=3e-2), name

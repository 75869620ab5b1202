"""What counts as success, and where a trial lies."""

from __future__ import annotations

import numpy as np
import pytest
from known import D, G, rates, study, trial

from gansearch.analysis.trials import (
    Coordinate,
    Sample,
    families,
    numeric,
    of_family,
    path_and_options,
    reading,
    weighed,
)
from gansearch.study.axes import Choice, Float, Int
from gansearch.study.notation import parse_space
from gansearch.study.records import Outcome
from gansearch.study.space import Space

TREE = {
    "loss": {
        "choice": [
            {"name": "hinge"},
            {
                "name": "my.parts:Loss",
                "penalty": {"choice": [None, {"name": "r1", "weight": {"log": [0.01, 10]}}]},
            },
            {
                "name": "wasserstein",
                "penalty": {"name": "gradient-penalty", "weight": {"log": [0.1, 100]}},
            },
        ]
    },
    "optimizer": {
        "generator": {
            "choice": [
                {"name": "adam", "lr": {"log": [1e-4, 1e-2]}},
                {"name": "sgd", "lr": {"log": [1e-2, 1]}},
            ]
        }
    },
    "norm": {"choice": [True, False, None]},
}
AXES = Space(parse_space(TREE)[0]).axes()
R1 = "loss.my.parts:Loss.penalty.r1.weight"
GP = "loss.wasserstein.penalty.weight"


@pytest.mark.parametrize(
    ("name", "path", "options"),
    [
        (R1, "loss.penalty.weight", {("loss", "my.parts:Loss"), ("loss.penalty", "r1")}),
        (GP, "loss.penalty.weight", {("loss", "wasserstein")}),
        ("optimizer.generator.sgd.lr", "optimizer.generator.lr", {("optimizer.generator", "sgd")}),
        ("norm", "norm", set()),
        (G, G, set()),
    ],
)
def test_an_axis_lies_at_a_path_under_its_options(name, path, options):
    found, under = path_and_options(name, AXES)
    assert (found, set(under)) == (path, options)


@pytest.mark.parametrize(
    ("loss", "r1", "gp"),
    [
        ({"name": "hinge", "penalty": {"name": "r1", "weight": 3.0}}, None, None),
        ({"name": "my.parts:Loss", "penalty": {"name": "r1", "weight": 3.0}}, 3.0, None),
        ({"name": "my.parts:Loss", "penalty": None}, None, None),
        ({"name": "wasserstein", "penalty": {"name": "gradient-penalty", "weight": 10.0}}, None, 10.0),
    ],
)
def test_a_seed_of_a_stability_study_is_read_from_its_configuration(loss, r1, gp):
    record = trial(0, {}, config={"loss": loss, "norm": False})
    assert [reading(record, name, AXES) for name in (R1, GP)] == [r1, gp]
    assert reading(record, "norm", AXES) is False
    assert reading(record, "loss", AXES) == (
        loss["name"] if loss["name"] in map(str, AXES["loss"].options) else None
    )


def test_a_trials_own_axes_come_first():
    record = trial(0, {GP: 7.0}, config={"loss": {"name": "hinge", "penalty": None}})
    assert reading(record, GP, AXES) == 7.0


def test_a_path_spans_the_axes_that_lie_there():
    both = Coordinate.of("optimizer.generator.lr", AXES)
    assert (both.low, both.high, both.log) == (1e-4, 1.0, True)
    one = Coordinate.of("optimizer.generator.sgd.lr", AXES)
    assert (one.low, one.high) == (1e-2, 1.0)
    tree = {"optimizer": {"generator": {"name": "adam", "lr": 1e-3}}}
    record = trial(0, {}, config=tree)
    assert both.read(record, AXES) == 1e-3
    assert one.read(record, AXES) is None


@pytest.mark.parametrize("name", ["norm", "nothing.there"])
def test_a_coordinate_is_a_number(name):
    with pytest.raises(ValueError, match=r"no numeric axis; there are: loss\."):
        Coordinate.of(name, AXES)


@pytest.mark.parametrize("axis", [Float(1e-5, 1e-1, log=True), Float(-2.0, 3.0), Int(1, 4)])
def test_unit_and_values_are_inverse(axis):
    scale = Coordinate.of("a", {"a": axis})
    unit = np.linspace(0, 1, 11)
    assert scale.unit(scale.values(unit)) == pytest.approx(unit)
    assert scale.values([0, 1]).tolist() == pytest.approx([axis.low, axis.high])


def test_axes_that_all_trials_have_come_first():
    assert numeric({R1: Float(0, 1), "loss": Choice({"my.parts:Loss": {}}), G: Float(0, 1)}) == [G, R1]


VERDICTS = [
    (trial(0), (True, 1.0)),
    (trial(0, value=None), (False, 1.0)),
    (trial(0, outcome=Outcome.DIVERGED), (False, 1.0)),
    (trial(0, outcome=Outcome.COLLAPSED), (False, 1.0)),
    (trial(0, outcome=Outcome.STALLED), (False, 1.0)),
    (trial(0, outcome=Outcome.FAILED, value=None), (False, 1.0)),
    (trial(0, outcome=Outcome.FAILED, blameless=True), None),
    (trial(0, outcome=Outcome.PRUNED, step=30), (True, 0.3)),
    (trial(0, outcome=Outcome.PRUNED, step=0), None),
    (trial(0, outcome=Outcome.RUNNING), None),
    (trial(0, outcome=Outcome.INTERRUPTED), None),
]


@pytest.mark.parametrize(("record", "expected"), VERDICTS)
def test_what_a_trial_weighs(record, expected):
    assert weighed(record, study([])) == expected


def test_a_sample_is_of_those_that_count_and_lie_somewhere():
    trials = [
        trial(0, rates(0.25, 0.5)),
        trial(1, rates(0.5, 1.0), Outcome.STALLED),
        trial(2, rates(0.5, 1.0), Outcome.RUNNING),
        trial(3, {G: 1e-3}),
        trial(4, rates(1.0, 0.0), Outcome.PRUNED, step=50),
    ]
    evidence = study(trials)
    pair = [Coordinate.of(name, evidence.axes) for name in (G, D)]
    sample = Sample.of(trials, pair, evidence)
    assert sample.unit == pytest.approx(np.array([[0.25, 0.5], [0.5, 1.0], [1.0, 0.0]]))
    assert sample.success.tolist() == [1, 0, 1]
    assert sample.weight.tolist() == [1, 1, 0.5]
    assert len(Sample.of([], pair, evidence)) == 0


def test_families_by_frequency():
    records = [trial(i, loss=loss) for i, loss in enumerate(("a", "b", "b"))]
    assert families(records) == ["all", "b", "a"]
    assert families(records[:1]) == ["a"]
    assert families([]) == []
    assert [r.number for r in of_family(records, "b")] == [1, 2]
    assert len(of_family(records, "all")) == len(of_family(records, None)) == 3

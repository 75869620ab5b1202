"""Importance where the truth is known, outcomes by axis, and the tables behind slices and parallels."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from known import RATES, D, G, random_search, rates, study, trial

from gansearch.analysis.importance import importance, outcomes_by, parallel, slices
from gansearch.study.axes import Choice, Float, Int
from gansearch.study.records import Outcome

pytestmark = pytest.mark.filterwarnings("error")
OUTCOMES = [outcome.value for outcome in Outcome]


@pytest.mark.parametrize("evaluator", ["ped-anova", "fanova"])
def test_what_decides_is_found(evaluator):
    """The value depends on the generator's rate alone; failure on both rates alike."""
    evidence = random_search(600, 12.0, np.random.default_rng(0))
    table = importance(evidence)
    assert list(table) == ["axis", "target", "importance", "evaluator"]
    mine = table[table["evaluator"] == evaluator].pivot_table(
        index="axis", columns="target", values="importance"
    )
    assert mine.sum().tolist() == pytest.approx([1, 1])
    assert mine["value"].idxmax() == G
    assert mine.loc[["generator.depth", "norm"]].to_numpy().max() < 0.05
    assert 0.5 < mine.loc[G, "failure"] / mine.loc[D, "failure"] < 2
    values = sum(math.isfinite(r.reports[-1].metrics["fd"]) for r in evidence.search)
    assert table.attrs == {"trials": {"value": values, "failure": 600}, "words": ""}


def test_importance_knows_the_goal():
    """Good values in a corner of one axis: a minimum of x, which is the maximum of -x."""
    rng = np.random.default_rng(0)
    axes = {"a": Float(0, 1), "b": Float(0, 1)}
    search = []
    for number in range(200):
        a, b = rng.random(2)
        search.append(
            trial(number, {"a": float(a), "b": float(b)}, value=float(100 * max(a - 0.9, 0) + 0.01 * b))
        )
    tables = {goal: importance(study(search, axes, goal)) for goal in ("min", "max")}
    firsts = {
        goal: table[(table["evaluator"] == "ped-anova") & (table["target"] == "value")].iloc[0]
        for goal, table in tables.items()
    }
    assert (firsts["min"]["axis"], firsts["max"]["axis"]) == ("b", "a")


def test_one_enormous_value_does_not_decide():
    evidence = random_search(200, 12.0, np.random.default_rng(0))
    before = importance(evidence)
    worst = max(
        (r for r in evidence.search if r.outcome is Outcome.COMPLETED),
        key=lambda r: r.reports[-1].metrics["fd"],
    )
    worst.reports[-1].metrics["fd"] = 1e30
    assert importance(evidence).equals(before)


def test_axes_under_an_option():
    axes = RATES | {
        "loss": Choice({"hinge": "hinge", "wasserstein": {"name": "wasserstein"}}),
        "loss.wasserstein.penalty.weight": Float(0.1, 100, log=True),
    }
    rng = np.random.default_rng(0)
    search = []
    for number in range(200):
        params = rates(*rng.random(2)) | {"loss": ["hinge", "wasserstein"][number % 2]}
        if number % 2:
            params["loss.wasserstein.penalty.weight"] = float(10 ** rng.uniform(-1, 2))
        fails = rng.random() < 0.3
        search.append(
            trial(number, params, Outcome.STALLED if fails else Outcome.COMPLETED, float(rng.random()))
        )
    table = importance(study(search, axes))
    by = table.groupby("evaluator")["axis"].agg(set)
    assert by["ped-anova"] == set(axes)
    assert by["fanova"] == set(axes)


WEIGHT, MARGIN = "loss.wasserstein.penalty.weight", "loss.hinge.margin"
CONDITIONAL = RATES | {
    "loss": Choice({"hinge": {"name": "hinge"}, "wasserstein": {"name": "wasserstein"}}),
    MARGIN: Float(0.1, 10, log=True),
    WEIGHT: Float(0.1, 100, log=True),
}


def under_options(value, fails, share):
    """A search in which an axis that only some trials have decides; `value` and `fails` are told how
    far the weight is from its middle (0 to 1, None without it), and chance.
    """
    rng, search = np.random.default_rng(0), []
    for number in range(300):
        params, far = rates(*rng.random(2)), None
        if rng.random() < share:
            far = float(abs(rng.uniform(-1, 1)))
            weight = 10 ** (0.5 + 1.5 * far * rng.choice([-1, 1]))
            params |= {"loss": "wasserstein", WEIGHT: float(np.clip(weight, 0.1, 100))}
        else:
            params |= {"loss": "hinge", MARGIN: float(10 ** rng.uniform(-1, 1))}
        outcome = Outcome.DIVERGED if fails(far, rng) else Outcome.COMPLETED
        known = None if outcome is Outcome.DIVERGED else float(value(far, rng))
        search.append(trial(number, params, outcome, known))
    return study(search, CONDITIONAL)


@pytest.mark.parametrize("evaluator", ["ped-anova", "fanova"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_an_axis_under_an_option_that_decides_is_found(evaluator, share):
    """The weight alone decides the value, on average as good as without it; and alone what fails."""
    tables = {
        "value": importance(
            under_options(
                lambda far, rng: (0 if far is None else 6 * (far - 0.5)) + 0.1 * rng.normal(),
                lambda far, rng: rng.random() < 0.1,
                share,
            )
        ),
        "failure": importance(
            under_options(
                lambda far, rng: rng.random(), lambda far, rng: far is not None and far > 0.6, share
            )
        ),
    }
    for target, table in tables.items():
        mine = table[(table["evaluator"] == evaluator) & (table["target"] == target)]
        shares = mine.set_index("axis")["importance"]
        assert shares.sum() == pytest.approx(1)
        assert shares.drop("loss").idxmax() == WEIGHT
        assert shares[WEIGHT] > 3 * shares.drop(["loss", WEIGHT]).max()
        assert shares[MARGIN] < 0.15


def three_axes(value, fails=lambda a, b, c: False, number=300):
    """Trials over `a` and `b`, in [0, 1], and `c`, on or off; a failed one has no value."""
    rng, search = np.random.default_rng(1), []
    for at in range(number):
        a, b, noise = (float(x) for x in rng.random(3))
        c = ["on", "off"][rng.integers(2)]
        params = {"a": a, "b": b, "c": c}
        if fails(a, b, c):
            search.append(trial(at, params, Outcome.DIVERGED, None))
        else:
            search.append(trial(at, params, value=value(a, b, c) + 0.01 * noise))
    return study(search, {"a": Float(0, 1), "b": Float(0, 1), "c": Choice({"on": "on", "off": "off"})})


def shares_of(evidence, target, evaluator):
    table = importance(evidence)
    mine = table[(table["target"] == target) & (table["evaluator"] == evaluator)]
    return mine.set_index("axis")["importance"]


@pytest.mark.parametrize("evaluator", ["ped-anova", "fanova"])
def test_an_axis_that_matters_only_with_another_s_option_is_found(evaluator):
    """`a` decides where `c` is on, and is of no effect, though it is there, where it is off."""
    evidence = three_axes(lambda a, b, c: abs(a - 0.5) if c == "on" else 0.25)
    shares = shares_of(evidence, "value", evaluator)
    assert shares.idxmax() == "a"
    assert shares["b"] < 0.05 < shares["c"]


@pytest.mark.parametrize("evaluator", ["ped-anova", "fanova"])
def test_an_axis_whose_only_effect_is_failure_is_found_there_alone(evaluator):
    evidence = three_axes(lambda a, b, c: b, lambda a, b, c: a > 0.7)
    failure, value = (shares_of(evidence, target, evaluator) for target in ("failure", "value"))
    assert failure["a"] > 0.9
    assert failure["b"] < 0.05
    assert value["b"] > 0.9
    assert value["a"] < 0.05


@pytest.mark.parametrize("evaluator", ["ped-anova", "fanova"])
def test_two_axes_that_go_together_share_what_they_do(evaluator):
    search = [
        trial(at, {"a": x, "b": x, "c": z}, value=x)
        for at, (x, z) in enumerate(np.random.default_rng(0).random((300, 2)).tolist())
    ]
    shares = shares_of(study(search, {name: Float(0, 1) for name in "abc"}), "value", evaluator)
    assert 0.5 < shares["a"] / shares["b"] < 2
    assert shares["c"] < 0.05


@pytest.mark.parametrize("evaluator", ["ped-anova", "fanova"])
def test_what_never_varied_explains_nothing(evaluator):
    """One axis had the same value throughout; another existed in a single trial, a third in none."""
    axes = {name: Float(0, 1) for name in ("a", "still", "once", "never")}
    search = [
        trial(at, {"a": x, "still": 0.5} | ({"once": 0.5} if at == 3 else {}), value=y)
        for at, (x, y) in enumerate(np.random.default_rng(0).random((40, 2)).tolist())
    ]
    shares = shares_of(study(search, axes), "value", evaluator)
    assert shares.to_dict() == pytest.approx({"a": 1, "still": 0, "once": 0, "never": 0})


def test_a_search_at_one_point_is_said_in_words():
    table = importance(study([trial(at, rates(0.5, 0.5), value=float(at)) for at in range(20)]))
    assert table.empty
    assert "the value: all trials lie at the same point" in table.attrs["words"]


SILENT = [
    ([], "too few trials to say (0 of at least 10)"),
    ([trial(0, rates(0, 0))], "too few trials to say (1 of at least 10)"),
    ([trial(i, rates(i / 20, 0), value=float(i)) for i in range(20)], "failure: no trial failed"),
    (
        [trial(i, rates(i / 20, 0), value=2.0) for i in range(20)],
        "the value: all trials have the same value",
    ),
    (
        [trial(i, rates(i / 20, 0), Outcome.DIVERGED, None) for i in range(20)],
        "failure: every trial failed",
    ),
]


@pytest.mark.parametrize(("search", "words"), SILENT)
def test_what_cannot_be_said_is_said_in_words(search, words):
    table = importance(study(search))
    assert list(table) == ["axis", "target", "importance", "evaluator"]
    assert words in table.attrs["words"]
    assert set(table["target"]) <= {"value"}


def test_no_axes():
    table = importance(study([trial(i, value=float(i)) for i in range(20)], {}))
    assert table.empty
    assert "the search has no axes" in table.attrs["words"]


def test_five_thousand_trials_take_seconds():
    evidence = random_search(5000, 10.0, np.random.default_rng(0))
    begun = time.process_time()
    table = importance(evidence)
    assert time.process_time() - begun < 8
    assert table.attrs["trials"]["failure"] == 1000


AXES = RATES | {
    "depth": Int(1, 3),
    "width": Int(1, 64),
    "norm": Choice({"batch": "batch", None: None, True: True}),
}


def points():
    ends = [Outcome.COMPLETED, Outcome.DIVERGED, Outcome.PRUNED, Outcome.COMPLETED]
    params = [
        {"depth": 1, "width": 1, "norm": None, G: 1e-5},
        {"depth": 3, "width": 64, "norm": True, G: 1e-1},
        {"depth": 3, "width": 33, "norm": "batch", G: 9.9e-4},
        {"width": 8, G: 1.01e-3},
    ]
    return study([trial(i, p, e) for i, (p, e) in enumerate(zip(params, ends, strict=True))], AXES)


def test_outcomes_by_axis():
    evidence = points()
    by = {axis: outcomes_by(evidence, axis, bins=4) for axis in AXES}
    assert all(list(table) == OUTCOMES for table in by.values())
    norm = by["norm"]
    assert norm.index.tolist() == ["batch", "None", "True"]
    assert norm[["completed", "pruned", "diverged"]].to_numpy().tolist() == [
        [0, 1, 0],
        [1, 0, 0],
        [0, 0, 1],
    ]
    assert (norm.attrs["absent"], norm.attrs["edges"]) == (1, None)
    assert by["depth"].index.tolist() == ["1", "2", "3"]
    assert by["depth"].sum(axis=1).tolist() == [1, 0, 2]
    assert by["width"].sum(axis=1).tolist() == [2, 0, 1, 1]
    assert by[G].index.tolist() == [
        "1e-05 to 0.0001",
        "0.0001 to 0.001",
        "0.001 to 0.01",
        "0.01 to 0.1",
    ]
    assert by[G].sum(axis=1).tolist() == [1, 1, 1, 1]
    assert by[D].to_numpy().sum() == 0
    assert by[D].attrs["absent"] == 4


def test_slices():
    table = slices(points())
    assert list(table) == ["axis", "x", "value", "outcome", "family", "number"]
    assert len(table) == 4 + 4 + 4 + 2
    assert table[table["axis"] == "norm"]["x"].tolist() == ["None", "True", "batch"]
    assert list(slices(study([]))) == list(table)


def test_parallel_has_the_best_and_some_of_the_rest():
    search = [trial(i, rates(i / 100, 0.5), value=float((37 * i) % 100)) for i in range(100)]
    search[5].reports[-1].metrics["fd"] = math.nan
    table = parallel(study(search), limit=20)
    assert len(table) == 20
    assert table["value"].tolist()[:4] == [0.0, 1.0, 2.0, 3.0]
    assert table["value"].isna().tolist() == [False] * 19 + [True]
    assert table["number"].is_unique
    assert table.attrs["trials"] == 100
    assert len(parallel(study(search), limit=200)) == 100
    assert list(parallel(study([]))) == ["number", "family", "outcome", "value", G, D]

"""Maps of success and safe learning rates: by hand, at the edges, and where the truth is known."""

from __future__ import annotations

import math
import time

import numpy as np
import pandas as pd
import pytest
from known import RATES, D, G, logistic, random_search, rates, study, trial
from scipy.stats import beta

from gansearch.analysis import maps
from gansearch.analysis.maps import map_points, safe_rates, stability_map
from gansearch.analysis.trials import Coordinate, Sample
from gansearch.study.axes import Choice, Float
from gansearch.study.records import Outcome

pytestmark = pytest.mark.filterwarnings("error")


def nearest(table: pd.DataFrame, u: float, v: float) -> pd.Series:
    """The row of a map at a point of the unit square."""
    x, y = rates(u, v).values()
    return table.iloc[((np.log(table["x"] / x)) ** 2 + (np.log(table["y"] / y)) ** 2).argmin()]


def test_a_map_by_hand():
    here = [trial(i, rates(0.5, 0.5)) for i in range(8)]
    pruned = trial(8, rates(0.5, 0.5), Outcome.PRUNED, step=50)
    failed = [trial(i, rates(0.5, 0.5), Outcome.STALLED) for i in (9, 10)]
    table = stability_map(study([*here, pruned, *failed]), grid=3)
    assert list(table) == ["x", "y", "p", "low", "high", "n_effective"]
    assert len(table) == 9
    middle = nearest(table, 0.5, 0.5)
    assert middle["n_effective"] == pytest.approx(10.5)
    assert middle["p"] == pytest.approx(9 / 11.5)
    assert [middle["low"], middle["high"]] == pytest.approx(beta(9.0, 2.5).ppf([0.025, 0.975]))
    about = table.attrs
    assert (about["x"], about["y"], about["x_log"], about["y_log"]) == (G, D, True, True)
    assert [about[k] for k in ("counted", "succeeded", "failed", "pruned", "uncounted")] == [
        11,
        8,
        2,
        1,
        0,
    ]
    assert "pruned" in about["words"]


def test_far_from_every_trial_nothing_is_known():
    table = stability_map(study([trial(i, rates(0, 0)) for i in range(50)]), grid=5)
    far = nearest(table, 1, 1)
    assert (far["p"], far["low"], far["high"]) == (pytest.approx(0.5, abs=0.01), 0.0, 1.0)
    assert nearest(table, 0, 0)["low"] > 0.9


def test_a_map_of_a_family_of_the_seeds_and_of_other_axes():
    axes = RATES | {"loss.penalty.weight": Float(0.1, 10, log=True)}
    config = {"optimizer": {"generator": {"lr": 1e-3}, "discriminator": {"lr": 1e-3}}}
    seeds = [
        trial(i, {}, config=config | {"loss": {"name": "hinge", "penalty": None}}) for i in range(3)
    ]
    search = [
        trial(0, rates(0.5, 0.5) | {"loss.penalty.weight": 1.0}),
        trial(1, rates(0.5, 0.5), Outcome.DIVERGED, loss="minimax"),
    ]
    evidence = study(search, axes, stability=seeds)
    counted = {
        "all": stability_map(evidence, seeds=False).attrs["counted"],
        "hinge": stability_map(evidence, family="hinge", seeds=False).attrs["counted"],
        "seeds": stability_map(evidence, family="hinge").attrs["counted"],
        "points": len(map_points(evidence, family="hinge")),
    }
    assert counted == {"all": 2, "hinge": 1, "seeds": 4, "points": 4}
    other = stability_map(evidence, G, "loss.penalty.weight")
    assert (other.attrs["y"], other.attrs["counted"], other.attrs["uncounted"]) == (
        "loss.penalty.weight",
        1,
        4,
    )
    with pytest.raises(ValueError, match="no numeric axis"):
        stability_map(evidence, "loss")


def test_the_points_of_a_map():
    search = [
        trial(0, rates(0.5, 0.5), Outcome.PRUNED, step=25),
        trial(1, rates(0.5, 0.25), Outcome.RUNNING),
        trial(2, {}),
    ]
    table = map_points(study(search))
    assert list(table) == ["number", "x", "y", "outcome", "family", "counted", "weight"]
    assert table["number"].tolist() == [0, 1]
    assert table["counted"].tolist() == [True, False]
    assert table["weight"].tolist() == [0.25, 0.0]
    assert table["x"].tolist() == pytest.approx([1e-3, 1e-3])


NOTHING = [
    (study([]), "no trial counts yet"),
    (study([trial(0, rates(0.5, 0.5), Outcome.RUNNING)]), "no trial counts yet"),
    (study([trial(0)], {"loss": Choice({"a": "a"})}), "a map needs two numeric axes"),
    (study([trial(0, {G: 1e-3})], {G: RATES[G]}), "a map needs two numeric axes"),
]


@pytest.mark.parametrize(("evidence", "words"), NOTHING)
def test_where_there_is_no_map_words_say_why(evidence, words):
    table = stability_map(evidence)
    assert table.empty
    assert list(table) == ["x", "y", "p", "low", "high", "n_effective"]
    assert words in table.attrs["words"]
    assert "number" in map_points(evidence)


def test_the_first_numeric_axes_stand_in_for_learning_rates():
    axes = {"a": Float(0, 1), "norm": Choice({"x": "x"}), G: RATES[G]}
    table = stability_map(study([trial(0, {"a": 0.5, G: 1e-3})], axes))
    assert (table.attrs["x"], table.attrs["y"]) == (G, "a")


def test_an_axis_that_several_options_have_is_one_coordinate():
    kinds = {label: {"name": "hinge", "penalty": {"name": label}} for label in ("r1", "r1-r2")}
    weights = {f"loss.{label}.penalty.weight": Float(0.1, 100, log=True) for label in kinds}
    axes = {"loss": Choice(kinds), **weights, G: RATES[G]}
    trials = [
        trial(i, {G: 1e-3, "loss": label}, config={"loss": {**kinds[label], "penalty": penalty}})
        for i, label in enumerate(kinds)
        for penalty in [{"name": label, "weight": 10.0}]
    ]
    table = stability_map(study(trials, axes))
    assert (table.attrs["x"], table.attrs["y"]) == (G, "loss.penalty.weight")
    assert table.attrs["counted"] == 2


@pytest.mark.parametrize(("steepness", "least"), [(5.0, 0.95), (10.0, 0.94), (20.0, 0.9)])
@pytest.mark.parametrize("n", [50, 300])
def test_intervals_hold_the_truth(n, steepness, least):
    rng = np.random.default_rng(n)
    held = []
    for _ in range(12):
        table = stability_map(random_search(n, steepness, rng), grid=15)
        u, v = ((np.log10(table[axis]) + 5) / 4 for axis in "xy")
        truth = logistic(u, v, steepness)
        held.append(((table["low"] <= truth) & (truth <= table["high"])).mean())
    assert np.mean(held) > least


def test_a_map_becomes_right():
    rng = np.random.default_rng(0)
    errors = []
    for n in (100, 3000):
        table = stability_map(random_search(n, 10.0, rng), grid=20)
        u, v = ((np.log10(table[axis]) + 5) / 4 for axis in "xy")
        errors.append(np.abs(table["p"] - logistic(u, v, 10.0)).mean())
    assert errors[1] < 0.04 < errors[0]


def test_pruning_at_random_does_not_move_a_map_much():
    """Failures at a constant rate, a third of the trials pruned at a random step: the truth stays."""
    rng = np.random.default_rng(0)
    search = []
    for number in range(4000):
        lasts = rng.exponential(STEPS_TO_FAILURE)
        pruned_at = rng.uniform(1, 100) if rng.random() < 1 / 3 else math.inf
        if min(lasts, pruned_at) > 100:
            outcome, step = Outcome.COMPLETED, 100
        elif lasts < pruned_at:
            outcome, step = Outcome.DIVERGED, math.ceil(lasts)
        else:
            outcome, step = Outcome.PRUNED, math.ceil(pruned_at)
        search.append(trial(number, rates(*rng.random(2)), outcome, step=step))
    table = stability_map(study(search), grid=9)
    assert table["p"].median() == pytest.approx(math.exp(-100 / STEPS_TO_FAILURE), abs=0.03)


STEPS_TO_FAILURE = 400.0


# --- safe learning rates --------------------------------------------------------------------------


def test_the_safe_rate_of_a_sharp_edge():
    rng = np.random.default_rng(0)
    search = []
    for number in range(600):
        u, v = rng.random(2)
        search.append(trial(number, rates(u, v), Outcome.COMPLETED if u < 0.6 else Outcome.DIVERGED))
    table = safe_rates(study(search)).set_index("axis")
    row = table.loc[G]
    edge = 10 ** (4 * 0.6 - 5)
    assert row["low"] <= row["rate"] <= row["high"]
    assert 0.75 * edge < row["rate"] <= edge  # the kernel rounds a cliff off, to the safe side
    assert (row["safe_from"], row["words"], row["trials"]) == (
        pytest.approx(1e-5),
        "up to this rate",
        600,
    )
    assert table.loc[D, ["rate", "low", "safe_from"]].tolist() == [None, None, None]
    assert table.loc[D, "words"].startswith("nowhere: at best ")


def test_too_small_a_rate_can_fail_too():
    search = [
        trial(i, rates(u, 0.5), Outcome.COMPLETED if 0.3 < u < 0.7 else Outcome.STALLED)
        for i, u in enumerate(np.linspace(0, 1, 2000))
    ]
    row = safe_rates(study(search)).set_index("axis").loc[G]
    assert row["words"] == "between these rates"
    assert row["safe_from"] == pytest.approx(10 ** (4 * 0.3 - 5), rel=0.35)
    assert row["rate"] == pytest.approx(10 ** (4 * 0.7 - 5), rel=0.3)
    assert 10 ** (4 * 0.3 - 5) < row["safe_from"] < row["low"] <= row["rate"] <= row["high"]
    assert row["high"] < 10 ** (4 * 0.7 - 5)


def test_words_for_everywhere_and_few():
    search = [trial(i, rates(u, u)) for i, u in enumerate(np.linspace(0, 1, 300))]
    row = safe_rates(study(search)).iloc[0]
    assert row["words"] == "over the whole range"
    assert row[["rate", "low", "high"]].tolist() == pytest.approx([0.1, 0.1, 0.1])
    one = safe_rates(study(search[:1])).iloc[0]
    assert one[["rate", "low"]].tolist() == [None, None]
    assert one["high"] == pytest.approx(0.1)  # one trial excludes nothing
    running = safe_rates(study([trial(0, rates(0, 0), Outcome.RUNNING)])).iloc[0]
    assert running["words"] == "no trial counts yet"
    assert running[["rate", "low", "high", "safe_from"]].tolist() == [None] * 4


# --- too little evidence --------------------------------------------------------------------------


def test_two_trials_that_succeeded_are_not_a_rate_that_is_safe_nowhere():
    few = study([trial(0, rates(0.2, 0.2)), trial(1, rates(0.8, 0.8))])
    assert set(safe_rates(few)["words"]) == {"not enough trials (2)"}
    assert set(safe_rates(few)["trials"]) == {2}
    table = stability_map(few)
    assert (table.attrs["words"], table.attrs["enough"]) == ("not enough trials (2)", False)


def test_failures_enough_say_nowhere_and_too_few_do_not():
    failed = [trial(i, rates(0.5, 0.5), Outcome.DIVERGED) for i in range(6)]
    assert set(safe_rates(study(failed[:2]))["words"]) == {"not enough trials (2)"}
    said = safe_rates(study(failed))["words"]
    assert all(words.startswith("nowhere that has trials enough: at best ") for words in said)
    assert stability_map(study(failed)).attrs["enough"]


def test_confirmed_seeds_are_evidence():
    at = {"optimizer": {"generator": {"lr": 2e-4}, "discriminator": {"lr": 2e-4}}}
    kind = {"loss": {"name": "minimax", "penalty": None}}
    seeds = [trial(i, {}, config=at | kind) for i in range(5)]
    search = [trial(i, rates(0.5, 0.5), loss="hinge") for i in range(3)]
    table = safe_rates(study(search, stability=seeds)).set_index(["family", "axis"])
    row = table.loc[("minimax", G)]
    assert row["trials"] == 5
    assert row["safe_from"] < 2e-4 < row["rate"]
    assert "minimax" not in set(safe_rates(study(search, stability=seeds), seeds=False)["family"])
    failed = [trial(i, {}, Outcome.COLLAPSED, config=at | kind) for i in range(5)]
    lost = safe_rates(study(search, stability=failed)).set_index(["family", "axis"])
    assert lost.loc[("minimax", G), "words"].startswith("nowhere")


def test_no_rate_is_an_axis():
    assert (
        safe_rates(study([trial(0)], {"a": Float(0, 1)})).attrs["words"]
        == "no learning rate is an axis"
    )
    empty = safe_rates(study([]))
    assert list(empty) == ["family", "axis", "rate", "low", "high", "safe_from", "trials", "words"]


def test_one_row_for_each_family_and_rate():
    search = [trial(i, rates(0.5, 0.5), loss=loss) for i, loss in enumerate(("a", "b", "b"))]
    table = safe_rates(study(search))
    assert table[["family", "axis"]].to_numpy().tolist() == [
        [family, axis] for family in ("all", "b", "a") for axis in (G, D)
    ]


def test_the_safe_rates_interval_holds_the_truth():
    """Marginal truth: the mean of the logistic over the other rate, which is uniform."""
    fine = np.linspace(0, 1, 401)
    marginal = logistic(fine[:, None], fine[None, :], 20.0, 1.25).mean(axis=1)
    edge = fine[np.flatnonzero(marginal >= 0.9)[-1]]
    axis = Coordinate("rate", 0.0, 1.0, log=False)
    rng = np.random.default_rng(0)
    held = []
    for n in (30, 200):
        for _ in range(60):
            unit = rng.random((n, 2))
            works = (rng.random(n) < logistic(unit[:, 0], unit[:, 1], 20.0, 1.25)).astype(float)
            found = maps._safe_rate(axis, Sample(unit[:, :1], works, np.ones(n)), 0.9)
            low = -1 if found["low"] is None else found["low"]
            high = -1 if found["high"] is None else found["high"]
            held.append(low <= edge + 0.005 and edge - 0.005 <= high)
    assert np.mean(held) >= 0.93


def test_five_thousand_trials_take_little_time():
    evidence = random_search(5000, 10.0, np.random.default_rng(0))
    begun = time.process_time()
    stability_map(evidence)
    safe_rates(evidence)
    assert time.process_time() - begun < 3

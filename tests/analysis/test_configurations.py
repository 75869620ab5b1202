"""The stability study's tables, from small studies whose answers are known by hand."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gansearch.analysis.configurations import (
    SCORES,
    THRESHOLDS_SHOWN,
    best_first,
    best_label,
    configurations,
    pairs,
    profiles,
    seeds,
    thresholds,
    winners_curse,
)
from gansearch.analysis.evidence import Evidence
from gansearch.analysis.tolerance import bears, tolerance
from gansearch.errors import UserError
from gansearch.study.records import Outcome, Report, TrialRecord
from gansearch.study.roster import Candidate, Roster

STEPS = 300
TABLES = (configurations, pairs, profiles, thresholds, winners_curse, tolerance, bears, seeds)

Run = tuple[Sequence[float], Outcome] | Sequence[float] | float


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def record(number: int, label: str, seed: int, run: Run) -> TrialRecord:
    """A seed's curve, a report every 100 steps; a single value is that of all three reports."""
    outcome = Outcome.COMPLETED
    if isinstance(run, tuple):
        run, outcome = run
    curve = [run] * 3 if isinstance(run, int | float) else run
    reports = [
        Report(100 * (i + 1), 6400 * (i + 1), 2.0 * (i + 1), {"fd": value}, 0.0)
        for i, value in enumerate(curve)
    ]
    return TrialRecord(number, {}, {"seed": seed}, outcome, reports=reports, configuration=label)


def candidate(label: str, kind="given", lr: float = 1e-3, **more) -> Candidate:
    config = {"loss": {"name": "hinge", "penalty": None}, "optimizer": {"generator": {"lr": lr}}}
    return Candidate(label, kind, config, **more)


def study(runs, goal="min", search=(), planned=None) -> Evidence:
    """Evidence from (candidate or label, its runs) pairs; each run gets the next seed."""
    pairs_ = [(candidate(c) if isinstance(c, str) else c, mine) for c, mine in runs]
    records: list[TrialRecord] = []
    for c, mine in pairs_:
        records += [record(len(records) + i, c.label, i, run) for i, run in enumerate(mine)]
    entries = [(c.label, seed) for c, mine in pairs_ for seed in range(planned or len(mine))]
    roster = Roster(tuple(c for c, _ in pairs_), tuple(entries))
    return Evidence("s", "?", "fd", goal, STEPS, 10, {}, list(search), records, roster)


DIVERGED = ([30.0, math.nan], Outcome.DIVERGED)


def check(evidence: Evidence) -> None:
    """Every table can be made, and what it shows is a value or NA, never NaN."""
    for table in TABLES:
        frame = table(evidence)
        for name in frame.columns:
            column = frame[name]
            assert isinstance(column.dtype, pd.api.extensions.ExtensionDtype), (table.__name__, name)
            known = [value for value in column if value is not pd.NA]
            assert not any(isinstance(value, float) and not math.isfinite(value) for value in known)
        frame.to_csv()


# --- configurations -------------------------------------------------------------------------------


def test_a_configuration_in_numbers():
    row = configurations(study([("a", [10.0, 20.0, 30.0, 40.0, DIVERGED])])).loc["a"]
    assert row[["rank", "kind", "family", "seeds", "missing", "successes"]].tolist() == [
        *(1, "given", "hinge", 5, 0, 4)
    ]
    assert row["success_rate"] == 0.8
    assert row["iqm"] == 25
    assert row[["mean", "median", "q10", "q90"]].tolist() == [25, 25, 13, 37]
    assert row["sd"] == pytest.approx(np.std([10, 20, 30, 40], ddof=1))
    # over all five seeds, the failure worse than any value: (.75 * 20 + 30 + .75 * 40) / 2.5
    assert row["score"] == pytest.approx(30)
    assert row["iqm_low"] < 25 < row["iqm_high"]
    assert row["trial"] is pd.NA
    assert row["q90_high"] is pd.NA  # four seeds do not tell how bad the worst tenth is
    assert row["failures"] == "1 diverged at step 200"
    assert row[["seconds", "steps_equal", "images"]].tolist() == [6.0, True, 19200]


def test_best_and_last_are_two_values_and_a_late_collapse_is_seen():
    curves = [[9.0, 10.0, 15.0], [30.0, 10.0, 21.0], [30.0, 10.0, math.nan], 10.0]
    late = ([12.0, 40.0], Outcome.COLLAPSED)
    dead = ([math.nan], Outcome.DIVERGED)  # never had a finite value: no collapse, and not counted
    row = configurations(study([("a", [*curves, late, dead])])).loc["a"]
    assert row["median"] == 10.0
    assert row["last_median"] == 15.0  # of 15, 21 and 10; the one that is NaN has none
    assert row["late_collapse_rate"] == pytest.approx(3 / 5)
    assert row["late_collapse_rate_low"] < 0.6 < row["late_collapse_rate_high"]
    better = configurations(study([("a", [[4.0, 10.0, 4.9], [1.0, 10.0, 5.0]])], goal="max")).loc["a"]
    assert better["late_collapse_rate"] == 0.5
    negative = configurations(study([("a", [-1.0, 5.0])])).loc["a"]
    assert negative["late_collapse_rate"] is pd.NA


def test_what_a_seed_counts_as():
    runs = [
        5.0,
        ([5.0], Outcome.FAILED),
        ([5.0], Outcome.STALLED),
        [math.nan, math.inf, math.nan],  # completed, and has no value
        ([5.0], Outcome.RUNNING),
        ([5.0], Outcome.INTERRUPTED),
        ([5.0], Outcome.PRUNED),
        ([5.0], Outcome.FAILED),
    ]
    evidence = study([("a", runs)], planned=10)
    evidence.stability[-1].blameless = True
    row = configurations(evidence).loc["a"]
    assert row[["seeds", "successes", "blameless", "missing"]].tolist() == [4, 1, 1, 5]
    assert row["failures"] == (
        "1 failed at step 100, 1 stalled at step 100, 1 completed without a finite value at step 300"
    )
    assert seeds(evidence)["counts"].tolist() == [
        *("success", "failure", "failure", "failure", "missing", "missing", "missing", "blameless")
    ]


def test_failures_in_words():
    evidence = study(
        [("a", [DIVERGED, ([1.0], Outcome.COLLAPSED), DIVERGED, *[([], Outcome.FAILED)] * 5])]
    )
    evidence.stability[0].reason = "the loss is not finite\nand more"
    evidence.stability[1].reason = "x" * 200
    words = configurations(evidence)["failures"].iloc[0]
    assert words == (
        "2 diverged at step 200: the loss is not finite, "
        f"1 collapsed at step 100: {'x' * 79}…, 5 failed at step 0"
    )


def test_ranking_counts_failures_against():
    steady, fast = [20.0 + i / 10 for i in range(8)], [10.0 + i / 10 for i in range(8)]
    mostly = [*fast[:5], DIVERGED, DIVERGED, DIVERGED]  # failures reach into the middle half
    barely = [*fast[:6], DIVERGED, DIVERGED]
    runs = [("mostly", mostly), ("steady", steady), ("barely", barely), ("dead", [DIVERGED] * 8)]
    table = configurations(study(runs))
    assert table.index.tolist() == ["barely", "steady", "mostly", "dead"]
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table["score"].tolist()[2:] == [pd.NA, pd.NA]
    assert table.loc["mostly", "iqm"] == pytest.approx(10.2)  # of its successes
    assert table.loc["dead", "iqm"] is pd.NA
    assert table["p_first"].sum() == pytest.approx(1)
    assert configurations(study(runs), by="success").index[0] == "steady"
    assert configurations(study(runs), by="q90").index[0] == "steady"
    assert configurations(study(runs), by="median").index.tolist()[:2] == ["barely", "mostly"]


def test_a_goal_to_be_maximised_ranks_the_other_way():
    runs = [("low", [1.0, 2.0, 3.0]), ("high", [4.0, 5.0, 6.0]), ("none", [DIVERGED] * 3)]
    table = configurations(study(runs, goal="max"))
    assert table.index.tolist() == ["high", "low", "none"]
    assert table["score"].tolist()[:2] == pytest.approx([5.0, 2.0])
    assert configurations(study(runs[:2], goal="max"), by="q90")["score"].tolist() == [4.2, 1.2]


@pytest.mark.parametrize("by", SCORES)
def test_every_score_ranks(by):
    runs = [("bad", [30.0, 31.0, 35.0, DIVERGED]), ("good", [10.0, 11.0, 12.0, 13.0])]
    table = configurations(study(runs), by=by)
    assert table.index.tolist() == ["good", "bad"]
    assert table.attrs["by"] == by


def test_an_unknown_score_is_the_users():
    with pytest.raises(UserError, match=r"no score is called 'iqr'.*did you mean 'iqm'"):
        configurations(study([("a", [1.0])]), by="iqr")


def test_ties_share_a_rank_and_one_without_seeds_has_none():
    table = configurations(study([("x", []), ("a", [7.0] * 5), ("b", [7.0] * 5)], planned=5))
    assert table["rank"].tolist() == [1, 1, pd.NA]
    assert table.loc["a", ["iqm", "iqm_low", "iqm_high", "sd"]].tolist() == [7, 7, 7, 0]
    assert table.loc[["a", "b"], "p_first"].tolist() == [0.5, 0.5]
    assert table.loc["x", "missing"] == 5
    assert table.loc["x", "success_rate"] is pd.NA


def test_an_unequal_budget_is_seen():
    table = configurations(study([("a", [[5.0, 4.0], [5.0, 4.0, 3.0], [5.0, 4.0, 3.0]]), ("b", [3.0])]))
    assert table["steps_equal"].to_dict() == {"a": False, "b": True}


EDGES = {
    "nothing": study([]),
    "no seed": study([("a", [])]),
    "one seed": study([("a", [1.0]), ("b", [2.0])]),
    "two seeds": study([("a", [1.0, 2.0]), ("b", [2.0, DIVERGED])]),
    "no success": study([("a", [DIVERGED] * 3), ("b", [([], Outcome.FAILED)] * 2)]),
    "one value": study([("a", [0.0] * 5), ("b", [0.0] * 5)]),
    "no value": study([("a", [math.nan] * 5), ("b", [math.inf] * 5)]),
    "running": study([("a", [([1.0], Outcome.RUNNING)] * 3), ("b", [([], Outcome.RUNNING)])]),
    "negative": study([("a", [-1.0, -2.0, -3.0])], goal="max"),
    "around": study(
        [
            (candidate("a"), [1.0, 2.0]),
            (candidate("a/lr/2", "around", of="a", axis="optimizer", factor=2.0), []),
        ]
    ),
    "around nobody": study([(candidate("b", "around", of="gone", axis="lr", factor=2.0), [1.0])]),
    "search without a value": study(
        [(candidate("a", "search", trial=0), [1.0]), (candidate("b", "search", trial=7), [1.0])],
        search=[TrialRecord(0, {}, {})],
    ),
}


@pytest.mark.parametrize("name", EDGES)
def test_small_and_strange_studies_have_sensible_tables(name):
    check(EDGES[name])


def test_an_empty_study_has_the_columns_of_a_full_one():
    full = study(
        [
            (candidate("a", "search", trial=0), [1.0, 2.0, 3.0]),
            (
                candidate("b", "around", of="a", axis="optimizer.generator.lr", factor=2.0),
                [1.0, 2.0, 3.0],
            ),
        ],
        search=[record(0, "", 0, 1.0)],
    )
    for table in TABLES:
        nothing, something = table(study([])), table(full)
        assert len(nothing) == 0
        assert len(something) > 0
        assert nothing.dtypes.to_dict() == something.dtypes.to_dict(), table.__name__


# --- between configurations -----------------------------------------------------------------------


def test_pairs_of_configurations():
    table = pairs(
        study([("a", [1.0, 2.0]), ("b", [2.0, 3.0, DIVERGED]), ("none", []), ("c", [DIVERGED])])
    )
    assert list(zip(table["a"], table["b"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert table["p"].tolist() == pytest.approx([5.5 / 6, 1.0, 2.5 / 3])
    assert table.loc[0, ["n_a", "n_b"]].tolist() == [2, 3]
    assert ((table["low"] <= table["p"]) & (table["p"] <= table["high"])).all()


def test_profiles_count_failures_as_never():
    table = profiles(study([("a", [1.0, 2.0, DIVERGED, DIVERGED]), ("b", [2.0, 3.0])]))
    shares = table.pivot_table(index="threshold", columns="configuration", values="share")
    assert shares["a"].to_dict() == {1.0: 0.25, 2.0: 0.5, 3.0: 0.5}
    assert shares["b"].to_dict() == {1.0: 0.0, 2.0: 0.5, 3.0: 1.0}
    maximised = profiles(study([("a", [1.0, 2.0]), ("b", [3.0])], goal="max"))
    assert maximised[maximised["configuration"] == "a"]["threshold"].tolist() == [3.0, 2.0, 1.0]
    assert maximised[maximised["configuration"] == "a"]["share"].tolist() == [0.0, 0.5, 1.0]


def test_profiles_of_many_values_are_short_and_keep_the_ends():
    runs = [("a", list(np.linspace(1, 2, 400)))]
    table = profiles(study(runs))
    assert len(table) == THRESHOLDS_SHOWN
    assert table["threshold"].iloc[[0, -1]].tolist() == [1.0, 2.0]


def test_steps_and_seconds_to_a_threshold():
    curves = [[9.0, 4.0, 3.0], [4.0, 9.0, 9.0], [9.0, 9.0, 5.0], ([9.0, math.nan], Outcome.DIVERGED)]
    table = thresholds(study([("a", curves)]), 5.0).iloc[0]
    assert table[["threshold", "reached", "counted"]].tolist() == [5.0, 3, 4]
    assert table[["steps_median", "seconds_median"]].tolist() == [200, 4.0]
    assert table["steps_high"] is pd.NA  # for all that four seeds say, half may never get there
    maximised = thresholds(study([("a", [[1.0, 6.0, 2.0]] * 5)], goal="max"), 5.0).iloc[0]
    assert maximised["steps_median"] == 200


def test_a_failure_never_reaches_the_threshold_and_a_running_seed_may():
    reached, failed = [9.0, 9.0, 4.0], ([9.0], Outcome.DIVERGED)
    running = ([9.0], Outcome.RUNNING)
    fails = thresholds(study([("a", [reached] * 2 + [failed] * 3)]), 5.0).iloc[0]
    runs = thresholds(study([("a", [reached] * 2 + [running] * 3)]), 5.0).iloc[0]
    assert fails["steps_median"] is pd.NA  # 2 of 5 get there; censored at its own step it would be all
    assert runs["steps_median"] == 300
    assert (fails["counted"], runs["counted"]) == (5, 5)


def test_the_default_threshold_is_the_median_of_what_was_confirmed():
    table = thresholds(study([("a", [1.0, 2.0, 6.0]), ("b", [8.0, 9.0, DIVERGED])]))
    assert table.attrs["threshold"] == 6.0
    assert table.attrs["default"]
    assert table["threshold"].tolist() == [6.0, 6.0]
    assert thresholds(study([("a", [DIVERGED])])).attrs["threshold"] is None


def test_the_winners_curse():
    found = [record(0, "", 0, 10.0), record(1, "", 0, 12.0)]
    runs = [
        (candidate("a", "search", trial=0), [14.0, 15.0, 16.0, 9.0, DIVERGED]),
        (candidate("b", "default"), [12.0]),
    ]
    row = winners_curse(study(runs, search=found)).iloc[0]
    assert row[["configuration", "trial", "searched", "median", "difference"]].tolist() == [
        *("a", 0, 10.0, 14.5, 4.5)
    ]
    assert row["share_of_seeds_as_good"] == 0.2
    assert len(winners_curse(study(runs, search=found))) == 1
    flipped = winners_curse(study(runs, search=found, goal="max")).iloc[0]
    assert flipped["share_of_seeds_as_good"] == 0.6


# --- tolerance ------------------------------------------------------------------------------------

RATE = "optimizer.generator.lr"


def around(factor: float) -> Candidate:
    return candidate(f"a x{factor:g}", "around", 1e-3 * factor, of="a", axis=RATE, factor=factor)


def arms(*more) -> Evidence:
    steady = [20 + 0.1 * i for i in range(10)]
    return study([(candidate("a"), steady), *more])


def test_tolerance_of_a_learning_rate():
    alike, worse, wild = (
        [20.5 + 0.1 * i for i in range(10)],
        [30.0 + i / 10 for i in range(10)],
        [5.0, 90.0] * 5,
    )
    runs = [
        (around(2), alike),
        (around(4), worse),
        (around(0.5), wild),
        (around(0.25), [DIVERGED] * 10),
    ]
    table = tolerance(arms(*runs))
    assert table["factor"].tolist() == [0.25, 0.5, 1, 2, 4]
    assert table["value"].tolist() == pytest.approx([0.00025, 0.0005, 0.001, 0.002, 0.004])
    assert table["verdict"].tolist() == ["suffers", "undecided", pd.NA, "bears it", "suffers"]
    assert table.loc[4, "ratio"] == pytest.approx(30.45 / 20.45)
    assert table.loc[4, "ratio_low"] < table.loc[4, "ratio"] < table.loc[4, "ratio_high"]
    assert table.loc[0, "ratio"] is pd.NA
    assert table["p_beats_centre"].tolist()[3:] == pytest.approx([0.125, 0.0])
    assert table.loc[2, ["ratio", "p_beats_centre", "seeds"]].tolist() == [1.0, pd.NA, 10]


def test_the_ratio_of_a_goal_to_be_maximised_is_above_one_where_it_is_worse():
    table = tolerance(
        study(
            [(candidate("a"), [20.0] * 5), (around(2), [10.0] * 5), (around(3), [40.0] * 5)], goal="max"
        )
    )
    assert table["ratio"].tolist() == pytest.approx([1.0, 2.0, 0.5])
    assert table["verdict"].tolist()[1:] == ["suffers", "bears it"]


def test_as_good_but_seldom_is_not_borne():
    good = [20 + 0.1 * i for i in range(6)]
    table = tolerance(arms((around(2), [*good, *[DIVERGED] * 4])))
    assert table["ratio_high"].iloc[1] < 1.1
    assert table["verdict"].iloc[1] == "undecided"


def test_the_widest_unbroken_range_that_is_borne():
    alike, worse = [20.1 + 0.1 * i for i in range(10)], [30.0 + i / 10 for i in range(10)]
    runs = [(around(f), alike) for f in (0.5, 2, 8)] + [(around(4), worse), (around(0.25), [])]
    row = bears(arms(*runs)).iloc[0]
    assert row[["of", "axis", "low", "high"]].tolist() == ["a", RATE, 0.5, 2.0]
    assert row[["value_low", "value_high"]].tolist() == pytest.approx([0.0005, 0.002])
    assert row["words"] == "bears 0.5 to 2 times (0.0005 to 0.002); suffers at 4; undecided at 0.25"
    none = bears(arms((around(2), worse))).iloc[0]
    assert none["words"] == "no tested change is surely borne; suffers at 2"
    assert none[["low", "high"]].tolist() == [1, 1]


# --- seeds and speed ------------------------------------------------------------------------------


def test_seeds_are_rows():
    table = seeds(study([("a", [[9.0, 4.0, 5.0], DIVERGED]), ("b", [([], Outcome.RUNNING)])]))
    assert table["configuration"].tolist() == ["a", "a", "b"]
    assert table.loc[0, ["seed", "number", "best", "best_step", "last", "step"]].tolist() == [
        *(0, 0, 4.0, 200, 5.0, 300)
    ]
    assert table.loc[1, ["outcome", "last", "best"]].tolist() == ["diverged", pd.NA, 30.0]
    assert table.loc[2, ["best", "images", "step"]].tolist() == [pd.NA, pd.NA, 0]


def test_a_hundred_configurations_of_fifty_seeds_take_seconds():
    rng = np.random.default_rng(0)
    runs = [
        (f"c{i}", [DIVERGED if rng.random() < 0.1 else float(x) for x in rng.lognormal(3, 0.3, 50)])
        for i in range(100)
    ]
    evidence = study(runs)
    start = time.process_time()
    for table in TABLES:
        table(evidence)
    assert time.process_time() - start < 15  # about 3 on one idle core


def test_the_best_of_a_study_are_those_that_won_again_then_the_searchs_others():
    """What was trained again and never succeeded was luck, one with no value is none, and the default
    that is a trial, too, is there once.
    """
    asked = [candidate(f"trial {n}", "search", 1e-3 * (n + 1), trial=n) for n in range(8)]
    values = [*range(10, 17), math.nan]
    search = [
        replace(record(n, "", 0, values[n]), config=each.config | {"seed": 7 + n})
        for n, each in enumerate(asked)
    ]
    runs = list(zip(asked, [[9.0] * 3, [4.0] * 3, [DIVERGED] * 3], strict=False))
    found = study([*runs, (candidate("default", "default", 7e-3), [6.0] * 3)], search=search)
    best = best_first(found)
    order = ["trial 1", "default", "trial 0", "trial 3", "trial 4", "trial 5"]
    assert [name for name, _ in best] == [f"s {label}" for label in order]
    assert [config for _, config in best[:4]] == [
        *(found.roster[label].config for label in order[:3]),
        search[3].config,
    ]
    assert best_label(found) == "trial 1"
    alone = study([], search=search)
    assert [name for name, _ in best_first(alone)] == [f"s trial {number}" for number in range(7)]
    assert best_label(alone) == "0"
    assert best_first(study([])) == []

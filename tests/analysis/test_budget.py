"""Budget curves: by hand, against brute force, and at the edges."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from known import random_search, study, trial

from gansearch.analysis.budget import budget_curves, seconds_curves
from gansearch.study.records import Outcome

pytestmark = pytest.mark.filterwarnings("error")

TRIALS = ["family", "trials", "expected", "low", "high", "p_none"]
SECONDS = ["family", "seconds", "expected", "low", "high", "p_none"]


@pytest.mark.parametrize("goal", ["min", "max"])
def test_against_all_subsets(goal):
    values = [3.0, None, 1.0, 7.0, None, 4.0]
    search = [
        trial(i, value=v, outcome=Outcome.DIVERGED if v is None else Outcome.COMPLETED)
        for i, v in enumerate(values)
    ]
    best = min if goal == "min" else max
    table = budget_curves(study(search, goal=goal)).set_index("trials")
    assert table.index.tolist() == [1, 2, 3, 4, 5, 6]
    for k in table.index:
        subsets = [[v for v in s if v is not None] for s in itertools.combinations(values, k)]
        found = [best(s) for s in subsets if s]
        assert table.loc[k, "expected"] == pytest.approx(np.mean(found))
        assert table.loc[k, "p_none"] == pytest.approx(1 - len(found) / len(subsets), abs=1e-12)
        assert table.loc[k, "low"] <= table.loc[k, "expected"] <= table.loc[k, "high"]


def test_what_counts():
    search = [
        trial(0, value=5.0),
        trial(1, value=4.0, outcome=Outcome.COLLAPSED),  # had a finite best before
        trial(2, value=3.0, outcome=Outcome.RUNNING),
        trial(3, value=2.0, outcome=Outcome.FAILED, blameless=True),
        trial(4, value=1.0, outcome=Outcome.PRUNED, loss="minimax"),
    ]
    table = budget_curves(study(search))
    assert table["family"].unique().tolist() == ["all", "hinge", "minimax"]
    ends = table.groupby("family", sort=False).last()
    assert ends["trials"].tolist() == [3, 2, 1]
    assert ends["expected"].tolist() == [1.0, 4.0, 1.0]


def test_a_quarter_of_a_gpu_costs_a_quarter():
    search = [trial(i, value=3.0 - i, seconds=4.0 + i) for i in range(3)]
    whole, quarter = (seconds_curves(replace(study(search), devices=d)) for d in (1.0, 0.25))
    assert (quarter["seconds"] * 4).tolist() == pytest.approx(whole["seconds"].tolist())
    assert quarter["expected"].tolist() == whole["expected"].tolist()


def test_seconds_against_all_orders():
    values, seconds = [3.0, 1.0, 7.0, None, 5.0], [4.0, 9.0, 1.0, 2.0, 3.0]
    search = [
        trial(i, value=v, seconds=s) for i, (v, s) in enumerate(zip(values, seconds, strict=True))
    ]
    table = seconds_curves(study(search))
    assert list(table) == SECONDS
    assert table["seconds"].iloc[[0, -1]].tolist() == pytest.approx([np.mean(seconds), sum(seconds)])
    for row in table.iloc[::6].itertuples():
        found = []
        for order in itertools.permutations(range(5)):
            used = np.cumsum([seconds[i] for i in order])
            ended = [
                values[i] for i, t in zip(order, used, strict=True) if t <= row.seconds * (1 + 1e-9)
            ]
            found.append(min((v for v in ended if v is not None), default=None))
        some = [v for v in found if v is not None]
        spread = 4 * np.std(some) / math.sqrt(400) + 1e-9
        assert row.expected == pytest.approx(np.mean(some), abs=spread)
        assert row.p_none == pytest.approx(1 - len(some) / len(found), abs=0.1)
    assert table["expected"].iloc[-1] == 1.0


def test_a_band_holds_what_fresh_searches_find():
    """Gamma seconds, uniform values, a third of the trials without: expected best in 20 s."""
    rng = np.random.default_rng(0)

    def draw(n):
        return np.where(rng.random(n) < 1 / 3, np.inf, rng.random(n)), rng.gamma(2.0, 1.0, n)

    truth = []
    for _ in range(20_000):
        values, seconds = draw(60)
        truth.append(values[np.cumsum(seconds) <= 20].min(initial=np.inf))
    truth = np.mean([value for value in truth if math.isfinite(value)])
    held = []
    for _ in range(60):
        values, seconds = draw(60)
        search = [
            trial(i, value=float(v) if math.isfinite(v) else None, seconds=float(s))
            for i, (v, s) in enumerate(zip(values, seconds, strict=True))
        ]
        table = seconds_curves(study(search))
        low, high = (np.interp(20, table["seconds"], table[end]) for end in ("low", "high"))
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.87  # 0.95 but for the band's smallness at 60 trials


def test_a_large_search_has_few_points_and_takes_little_time():
    evidence = random_search(5000, 10.0, np.random.default_rng(0))
    begun = time.process_time()
    tables = budget_curves(evidence), seconds_curves(evidence)
    assert time.process_time() - begun < 4
    for table in tables:
        assert len(table) <= 60
        assert np.isfinite(table.drop(columns="family").to_numpy(float)).all()
        assert (np.diff(table["expected"]) <= 1e-9).all()


@pytest.mark.parametrize("search", [[], [trial(0, outcome=Outcome.RUNNING)], [trial(0, value=None)]])
def test_nothing_to_draw(search):
    for table, columns in (
        (budget_curves(study(search)), TRIALS),
        (seconds_curves(study(search)), SECONDS),
    ):
        assert table.empty
        assert list(table) == columns
        assert table.attrs["words"]


def test_one_trial_and_a_family_without_values():
    table = budget_curves(study([trial(0, value=2.0), trial(1, value=None, loss="minimax")]))
    assert table.attrs["words"] == "no trial with a value: minimax"
    assert table[table["family"] == "hinge"].to_numpy().tolist() == [["hinge", 1, 2.0, 2.0, 2.0, 0.0]]
    seconds = seconds_curves(study([trial(0, value=2.0, seconds=0.0)]))
    assert seconds.empty


def test_the_same_table_again():
    evidence = random_search(50, 10.0, np.random.default_rng(0))
    assert seconds_curves(evidence).equals(seconds_curves(evidence))
    assert budget_curves(evidence).equals(budget_curves(evidence))

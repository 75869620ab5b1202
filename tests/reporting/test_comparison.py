"""Studies side by side: what is compared, what is refused, and what a reader is warned of."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from synthetic import evidence

from gansearch.analysis import configurations
from gansearch.analysis.wording import DASH
from gansearch.errors import StudyError
from gansearch.reporting.comparison import (
    ORIGIN,
    compare,
    differences,
    profiles,
    shown,
    write_comparison,
)
from gansearch.study.records import Outcome, Report
from gansearch.study.roster import Roster

HOW = {"trials": 30, "top": 2, "seeds": 5, "reports": 5}


@pytest.fixture(scope="module")
def first():
    return evidence(**HOW, name="first")


@pytest.fixture(scope="module")
def second():
    return evidence(**HOW, name="second", seed=1)


def made_otherwise(study, **changed):
    """The study as if its objective had been made in another way."""
    study = copy.deepcopy(study)
    for run in [*study.search, *study.stability]:
        run.provenance[study.metric] |= changed
    return study


def test_one_row_a_study_with_the_confirmed_best(first, second):
    table = compare([first, second])
    assert list(table["study"]) == ["first", "second"]
    for row, study in zip(table.itertuples(), (first, second), strict=True):
        ranked = configurations.configurations(study)
        assert row.configuration == ranked.index[0]
        assert row.iqm == ranked["iqm"].iloc[0]
        assert (row.seeds, row.successes) == (ranked["seeds"].iloc[0], ranked["successes"].iloc[0])
        assert row.default_iqm == ranked.loc["default", "iqm"]
        bests = [run.best("fd_classifier", "min") for run in study.search]
        assert row.searched_best == min(best.value for best in bests if best)
        assert row.device_seconds == pytest.approx(
            sum(run.seconds for run in [*study.search, *study.stability])
        )
        outcomes = table[[f"outcome.{outcome.value}" for outcome in Outcome]].loc[row.Index]
        assert outcomes.sum() == pytest.approx(1)
        assert outcomes["outcome.completed"] == sum(r.outcome == "completed" for r in study.search) / 30
    assert set(ORIGIN) <= set(table.columns)
    assert table.attrs["warnings"] == []


def test_a_quarter_of_a_gpu_costs_a_quarter(first):
    quarter = compare([first, replace(first, name="quarter", devices=0.25)])["device_seconds"]
    assert quarter[1] == pytest.approx(quarter[0] / 4)


CHANGES = {
    "features": "inception",
    "features_hash": "0123",
    "options": {"splits": 5},
    "fake_samples": 10_000,
    "real_samples": 10_000,
    "split": "test",
    "dataset": "mnist",
    "dataset_hash": "4567",
    "ema": False,
}


@pytest.mark.parametrize("key", CHANGES)
def test_numbers_made_differently_are_refused_by_name(first, second, key):
    assert set(CHANGES) == set(ORIGIN)
    other = made_otherwise(second, **{key: CHANGES[key]})
    with pytest.raises(StudyError) as refusal:
        compare([first, other])
    lines = str(refusal.value).splitlines()
    assert len([line for line in lines if line.startswith("  ")]) == 1
    assert f"  {ORIGIN[key]}: first: " in str(refusal.value)
    assert "; second: " in str(refusal.value)
    assert "--anyway" in lines[-1]
    table = compare([first, other], anyway=True)
    assert any(line.startswith(ORIGIN[key]) for line in table.attrs["warnings"])


def test_every_difference_is_named_at_once(first, second):
    other = replace(made_otherwise(second, split="test", ema=False), goal="max")
    found = differences([first, other])
    assert [line.partition(":")[0] for line in found] == ["goal", "split", "averaged weights"]
    assert found[1] == "split: first: train; second: test"
    assert found[2] == "averaged weights: first: yes; second: no"


def test_another_metric_is_refused(first, second):
    with pytest.raises(StudyError, match="metric: first: fd_classifier; second: is_classifier"):
        compare([first, replace(second, metric="is_classifier")])


def test_what_does_not_change_the_number_is_not_asked(first, second):
    assert differences([first, made_otherwise(second, features_accuracy=0.5)]) == []


def test_another_budget_is_said_not_refused(first, second):
    table = compare([first, replace(second, steps=900)])
    assert list(table["steps"]) == [500, 900]
    (warning,) = table.attrs["warnings"]
    assert "first: 500; second: 900" in warning


def test_a_study_that_confirmed_nothing_is_said_to(first, second):
    table = compare([first, replace(second, stability=[], roster=Roster(), planned=40)])
    assert pd.isna(table.loc[1, "configuration"])
    assert any("nothing is confirmed in second" in line for line in table.attrs["warnings"])
    assert any("not finished in second" in line for line in table.attrs["warnings"])
    assert shown(table).loc[1, "IQM"] == DASH


def test_an_empty_study_has_no_numbers_that_could_differ(first):
    empty = replace(first, name="empty", search=[], stability=[], roster=Roster())
    table = compare([first, empty])
    readable = shown(table)
    assert readable.loc[1, "search's best"] == readable.loc[1, "median"] == DASH
    text = " ".join(readable.to_numpy().ravel())
    assert not re.search(r"\b(nan|None|inf|<NA>)\b", text)


def test_two_studies_of_one_name_are_told_apart(first):
    assert list(compare([first, first])["study"]) == ["first (1)", "first (2)"]


def test_people_see_rounded_numbers_with_their_intervals(first, second):
    row = shown(compare([first, second])).iloc[0]
    assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", row["IQM"])
    assert re.fullmatch(r"\d+ % \[\d+, \d+\]", row["success rate"])
    assert row["trials"] == "30 of 30"
    assert "% completed" in row["outcomes of the search"]


@pytest.mark.parametrize("goal", ["min", "max"])
def test_profiles_are_shares_of_the_best_configurations_seeds(goal):
    studies = [evidence(**HOW, goal=goal, name=name, seed=i) for i, name in enumerate("ab")]
    run = next(r for r in studies[1].stability)
    run.outcome = Outcome.DIVERGED
    run.reports[-1] = Report(500, 1, 1.0, {"fd_classifier": math.nan}, 0.0)
    table = profiles(studies)
    assert set(table["study"]) == {"a", "b"}
    for study in studies:
        label = configurations.configurations(study).index[0]
        mine = [run for run in study.stability if run.configuration == label]
        values = [
            run.best("fd_classifier", goal).value if run.outcome is Outcome.COMPLETED else math.nan
            for run in mine
        ]
        rows = table[table["study"] == study.name]
        assert set(rows["configuration"]) == {label}
        for row in rows.itertuples():
            good = (
                np.array(values) <= row.threshold
                if goal == "min"
                else np.array(values) >= row.threshold
            )
            assert row.share == np.mean(good)
    assert len(profiles([replace(studies[0], stability=[], roster=Roster())])) == 0


def test_it_is_written_for_machines_and_for_people(first, second, tmp_path):
    table = compare([first, replace(second, steps=900, question="<b>why</b>?")])
    read = pd.read_csv(write_comparison(table, tmp_path / "new" / "comparison.csv"))
    assert list(read["iqm"]) == pytest.approx(list(table["iqm"]), rel=1e-15)
    page = write_comparison(table, tmp_path / "comparison.html").read_text()
    assert "&lt;b&gt;why" in page
    assert "the budgets differ" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.html", "new"]

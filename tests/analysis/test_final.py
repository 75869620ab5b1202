"""How far cheap measures agree with exact ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from synthetic import evidence

from gansearch.analysis.final import agreements
from gansearch.reporting.final import final
from gansearch.reporting.findings import Findings
from gansearch.study.records import Outcome, Report


def with_final(pairs, name="final_fid", metric="fid"):
    e = evidence(trials=8)
    records = []
    for number, (cheap, exact) in enumerate(pairs):
        made = {metric: cheap, name: exact}
        report = Report(100, 1, 1.0, made, 0.0, Outcome.COMPLETED)
        records.append(replace(e.search[0], number=number, reports=[report], outcome=Outcome.COMPLETED))
    return replace(e, search=records, stability=[], metric=metric, goal="min")


def test_the_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    cheap = rng.random(30)
    exact = cheap + 0.3 * rng.random(30)
    (found,) = agreements(e := with_final(zip(cheap, exact, strict=True)), e.search)
    assert found.correlation == pytest.approx(stats.spearmanr(cheap, exact).statistic)
    assert found.low < found.correlation < found.high
    assert found.trials == 30
    assert found.place == stats.rankdata(exact)[np.argmin(cheap)]


@pytest.mark.parametrize("trials", [4, 5, 6, 10, 24])
def test_a_perfect_rank_correlation_has_no_interval(trials):
    """Fisher's transformation knows none, and 1 is often rounded to a little less."""
    for sign in (1.0, -1.0):
        e = with_final([(float(at), sign * at) for at in range(trials)])
        (found,) = agreements(e, e.search)
        assert found.correlation == pytest.approx(sign)
        assert math.isnan(found.low)
        assert math.isnan(found.high)


def test_few_trials_and_ones_without_a_value_say_little():
    e = with_final([(1.0, 2.0), (2.0, 1.0), (3.0, math.nan)])
    (found,) = agreements(e, e.search)
    assert found.trials == 2
    assert math.isnan(found.correlation)
    assert found.place == 2


def test_another_metric_is_compared_with_the_objective():
    e = with_final([(1.0, 0.9), (2.0, 0.8), (3.0, 0.7), (4.0, 0.1)], name="final_recall")
    (found,) = agreements(e, e.search)
    assert (found.cheap, found.correlation, found.place) == ("fid", -1.0, 0)


def test_the_section_names_both_by_their_counts():
    e = with_final([(1.0, 2.0), (2.0, 3.0), (3.0, 5.0), (4.0, 4.0)])
    e.search[0].provenance = {
        "fid": {"fake_samples": 500, "real_samples": 100},
        "final_fid": {"fake_samples": 50_000, "real_samples": 60_000},
    }
    section = final(Findings(e))
    (row,) = section.tables[0].rows
    assert row[:3] == [
        "search",
        "final_fid (50,000 generated, 60,000 real)",
        "fid (500 generated, 100 real)",
    ]
    assert row[3] == "4"
    assert row[4].startswith("0.80 [")
    assert row[5] == "number 1"
    assert final(Findings(evidence(trials=8))) is None

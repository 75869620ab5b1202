"""The page of all trials: what is in it, whatever the trials were."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
from dataclasses import replace

import pytest
from synthetic import evidence

from gansearch.reporting import trials
from gansearch.reporting.trials import trials_page


@pytest.fixture(scope="module")
def study():
    return evidence(trials=40, top=2, seeds=2, reports=6)


def unpacked(html):
    packed = re.search(r'<script id="packed" type="text/plain">([^<]*)</script>', html)[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_every_trial_is_a_row_best_first_with_its_axes(study):
    page = unpacked(trials_page(study))
    assert sorted(page["numbers"]) == list(range(40))
    by_number = {record.number: record for record in study.search}
    best = page["columns"].index(f"best {study.metric}")
    values = [row[best] for row in page["rows"] if row[best] is not None]
    assert values == sorted(values)
    for row in page["rows"]:
        cells = dict(zip(page["columns"], row, strict=True))
        record = by_number[cells["trial"]]
        assert cells["outcome"] == record.outcome.value
        for axis, value in record.params.items():
            same = pytest.approx(value, rel=1e-3) if isinstance(value, float) else value
            assert cells[axis] == same
        known = record.best(study.metric, study.goal)
        shown = cells[f"best {study.metric}"]
        assert shown == (pytest.approx(known.value, rel=1e-3) if known else None)


def test_what_a_search_began_with_is_named_as_what_it_is():
    study = evidence(trials=6, top=2, seeds=2, reports=6)
    assert "origin" not in unpacked(trials_page(study))["columns"]
    study.search[2].origin = "last-week trial 17"
    page = unpacked(trials_page(study))
    told = {row[0]: row[page["columns"].index("origin")] for row in page["rows"]}
    assert told == {number: "last-week trial 17" if number == 2 else None for number in range(6)}


def test_every_curve_is_there_with_its_gaps(study):
    page = unpacked(trials_page(study))
    assert page["metrics"][0] == study.metric
    by_number = {record.number: record for record in study.search}
    for place, number in enumerate(page["numbers"]):
        record = by_number[number]
        assert page["at"][place] == [report.step for report in record.reports]
        for metric, curves in zip(page["metrics"], page["curves"], strict=True):
            for shown, report in zip(curves[place], record.reports, strict=True):
                value = report.metrics.get(metric, math.nan)
                assert shown == (pytest.approx(value, rel=1e-3) if math.isfinite(value) else None)


def test_a_large_study_shows_fewer_metrics_and_says_so(study, monkeypatch):
    every = len(unpacked(trials_page(study))["metrics"])
    points = sum(len(record.reports) for record in study.search)
    monkeypatch.setattr(trials, "VALUES", 2 * points)
    html = trials_page(study)
    assert unpacked(html)["metrics"][0] == study.metric
    assert len(unpacked(html)["metrics"]) == 2
    assert f"{every - 2} metrics are left out" in html


def test_text_from_outside_cannot_leave_its_place(study):
    wicked = replace(study, name="</title><script>", question="<img src=x>")
    reason = "</script><script>alert(1)</script>"
    wicked.search[0].reason, kept = reason, wicked.search[0].reason
    try:
        html = trials_page(wicked)
    finally:
        wicked.search[0].reason = kept
    assert html.count("<script") == 2, "the numbers, and what shows them"
    assert "<img" not in html
    assert any(reason in row for row in unpacked(html)["rows"])

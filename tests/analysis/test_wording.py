"""Numbers as people read them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from gansearch.analysis.wording import (
    DASH,
    duration,
    interval,
    listed,
    number,
    probability,
    rounded,
    share,
    spread,
    words,
)
from gansearch.study.records import count

NOTHING = [None, math.nan, math.inf, -math.inf, pd.NA, pd.NaT, np.float64("nan"), np.float32("inf")]


@pytest.mark.parametrize("value", NOTHING)
@pytest.mark.parametrize("say", [number, share, probability, duration, words])
def test_what_is_no_number_is_a_dash(say, value):
    assert say(value) == DASH
    assert interval(value, 1.0, 2.0) == spread(value, 1.0) == DASH
    assert interval(12.345, value, 13.0) == interval(12.345, 11.0, value) == "12.35"
    assert spread(12.345, value) == "12.35"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (12.3456, "12.35"),
        (0, "0"),
        (60000, "60,000"),
        (12345.6, "12,346"),
        (0.00043121, "0.0004312"),
        (1.234e-5, "1.234e-5"),
        (1e-10, "1e-10"),
        (-2.5, "-2.5"),
        (np.int64(7), "7"),
        (9999.4, "9999"),
        (9999.9, "10,000"),
        (-9999.9, "-10,000"),
        (1.2345e14, "123,450,000,000,000"),
        (1.2345e15, "1.234e15"),
        (1e300, "1e300"),
    ],
)
def test_numbers_have_four_digits(value, said):
    assert number(value) == said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((12.345, 11.801, 13.099), "12.3 [11.8, 13.1]"),
        ((12.345, 10.8, 13.8), "12.3 [10.8, 13.8]"),
        ((123.4, 80.0, 170.0), "123 [80, 170]"),
        ((0.01234, 0.0121, 0.0127), "0.0123 [0.0121, 0.0127]"),
        ((-0.001, -0.4, 0.4), "0.0 [-0.4, 0.4]"),
        ((3.0, 3.0, 3.0), "3.000 [3.000, 3.000]"),
        ((12345.0, 11000.0, 13000.0), "12,345 [11,000, 13,000]"),
        ((3.14159e-9, 1e-9, 5e-9), "3.142e-9 [1e-9, 5e-9]"),
        ((2e-9, 2e-9, 2e-9), "2e-9 [2e-9, 2e-9]"),
        ((1.5e30, 1e30, 2e30), "1.5e30 [1e30, 2e30]"),
    ],
)
def test_an_interval_decides_how_many_digits_count(values, said):
    assert interval(*values) == said


def test_shares_and_probabilities():
    assert share(0.8333, 0.66, 0.934) == "83 % [66, 93]"
    assert share(1.0) == "100 %"
    assert probability(0.871, 0.7, 0.954) == "0.87 [0.70, 0.95]"
    assert spread(29.6, 1.6) == "29.6 ± 1.6"
    assert spread(87.1, 47.5) == "87 ± 48"
    assert spread(2.5e-10, 1e-11) == "2.5e-10 ± 1e-11"


def test_sentences():
    assert [count(n, "seed") for n in (0, 1, 1200)] == ["0 seeds", "1 seed", "1,200 seeds"]
    assert [listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert [duration(s) for s in (9.51, 95, 720, 12345)] == ["9.5 s", "95 s", "12 min", "3.4 h"]
    assert words("the loss: nan, the weights: -inf, finance") == (
        "the loss: not a number, the weights: infinite, finance"
    )
    assert [words(value) for value in (True, np.False_, ["a", 1.5], "", {})] == [
        "yes",
        "no",
        "a and 1.5",
        DASH,
        "{}",
    ]
    assert rounded("bears 0.666667 to 1.5 times (0.000138393 to 1e-05)") == (
        "bears 0.667 to 1.5 times (0.000138 to 1e-05)"
    )

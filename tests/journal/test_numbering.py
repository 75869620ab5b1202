"""Which number a trial has whose beginning says it, or whose seed does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gansearch.journal.facts import NUMBER
from gansearch.journal.numbering import FAR, Numbering
from gansearch.study.config import trial_seed

SEARCH = {"study": "search: {trials: 40, seed: 7}\n"}
ENTRIES = [["a", 11], ["b", 12], ["a", 13], ["b", 14]]
SEEDS = SEARCH | {"part": "stability", "roster": {"entries": ENTRIES}}


def begins(seed, number=None, label=""):
    said = {} if number is None else {NUMBER: number}
    return {"config": {"seed": seed}, "configuration": label, **said}


def of_trial(number, *, says=True):
    return begins(trial_seed(7, number), number if says else None)


@given(some.sets(some.integers(0, 30)), some.booleans())
def test_those_that_are_left_of_a_search_have_their_numbers(gone, says):
    left, least, missing = [n for n in range(31) if n not in gone], 0, set()
    numbering = Numbering(SEARCH, [of_trial(n, says=says) for n in left])
    for number in left:
        assert numbering.of(of_trial(number, says=says), least) == number
        missing |= {*numbering.gone_before(of_trial(number, says=says), least)}
        least = number + 1
    assert missing == {n for n in gone if n < least}
    assert all(numbering.lost(n) == ("", trial_seed(7, n)) for n in missing)


@pytest.mark.parametrize(
    ("beginning", "number"),
    [
        (begins(trial_seed(7, 5), number=3), 5),  # a number that belies its seed is not believed
        (begins(trial_seed(7, 1), number=1), 2),  # nor one that is over
        (begins(trial_seed(7, 4), number="4"), 4),
        (begins(123), 2),
        (begins(123, number=9), 2),
        (begins(None, number=9), 2),
        ({NUMBER: 9}, 2),
        (of_trial(2 + FAR - 1), 2 + FAR - 1),
        (of_trial(2 + FAR), 2),
    ],
)
def test_where_nothing_tells_it_is_the_next(beginning, number):
    assert Numbering(SEARCH, []).of(beginning, 2) == number
    assert list(Numbering(SEARCH, []).gone_before(beginning, 2)) == list(range(2, number))


def test_where_all_have_one_seed_only_what_they_say_tells():
    numbering = Numbering({"study": "seed: 3\nsearch: {trials: 40, seed: 7}\n"}, [])
    assert numbering.of(begins(3), 2) == 2
    assert numbering.of(begins(3, number=9), 2) == 9
    assert numbering.of(begins(4, number=9), 2) == 2
    assert numbering.lost(5) == ("", 3)


def test_of_a_study_that_is_not_known_what_they_say_tells():
    numbering = Numbering({}, [])
    assert numbering.of(begins(123, number=9), 2) == 9
    assert numbering.of(begins(123), 2) == 2
    assert numbering.lost(5) == ("", None)


def test_of_seeds_the_roster_tells_who_is_lost_and_a_number_how_many():
    numbering = Numbering(SEEDS, [begins(11, 0, "a"), begins(14, 3, "b")])
    assert numbering.of(begins(14, 3, "b"), 1) == 3
    assert list(numbering.gone_before(begins(14, 3, "b"), 1)) == [1, 2]
    assert numbering.of(begins(14, label="b"), 1) == 3, "by its place in the roster"
    assert list(numbering.gone_before(begins(14, label="b"), 1)) == [], "they may begin in any order"
    assert [numbering.lost(n) for n in (1, 2, 3)] == [("b", 12), ("a", 13), ("", None)]


def test_of_seeds_in_another_order_than_the_roster_s_only_a_number_tells():
    numbering = Numbering(SEEDS, [begins(13, 0, "a"), begins(11, 1, "a")])
    assert numbering.of(begins(14, label="b"), 2) == 2
    assert numbering.of(begins(14, 3, "b"), 2) == 3
    assert numbering.lost(2) == ("b", 12)

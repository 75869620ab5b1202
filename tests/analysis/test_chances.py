"""What second chances brought, by studies made by hand."""

import pytest

from gansearch.analysis.chances import second_chances
from gansearch.study.records import Chance, Outcome, Report, TrialRecord


def trial(number, outcome, best, *chances):
    reports = [Report(10, 0, 1.0, {"fd": best}, 0.0)] if best is not None else []
    return TrialRecord(number, {}, {}, outcome, reports=reports, chances=[Chance(*c) for c in chances])


WOKEN = trial(0, Outcome.COMPLETED, 1.0, (10, "behind", "among the best"), (30, "behind", "well"))
WAITS = trial(1, Outcome.PAUSED, 3.0, (10, "behind", "among the best"), (30, "behind"))
NEVER = trial(2, Outcome.PRUNED, 9.0, (10, "behind"))
BY_ITSELF = [trial(n, Outcome.COMPLETED, n) for n in range(3, 9)]
NOTHING = trial(9, Outcome.FAILED, None)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (
            [WOKEN, WAITS, NEVER, *BY_ITSELF, NOTHING],
            "3 of 10 trials were paused, 1 of them now; 2 went on, 2 of the 5 best among them: "
            "trial 0 (paused at step 10) and 1 (paused at step 10)",
        ),
        ([NEVER, *BY_ITSELF], "1 of 7 trials were paused; 0 went on"),
        (
            [trial(0, Outcome.PRUNED, 20.0, (10, "behind", "well")), *BY_ITSELF],
            "1 of 7 trials were paused; 1 went on, none of them among the 5 best",
        ),
    ],
)
def test_it_is_said_who_went_on_and_whether_that_was_worth_it(records, words):
    assert second_chances(records, "fd", "min")["words"] == words


def test_its_numbers():
    found = second_chances([WOKEN, WAITS, NEVER, *BY_ITSELF, NOTHING], "fd", "min")
    del found["words"]
    assert found == {
        "paused": 3,
        "waiting": [1],
        "woken": [0, 1],
        "wakes": 3,
        "best": [0, 1, 3, 4, 5],
        "best_woken": [0, 1],
    }


def test_of_few_with_a_value_the_best_are_fewer():
    found = second_chances([NOTHING, NEVER, WOKEN], "fd", "max")
    assert (found["best"], found["best_woken"]) == ([2, 0], [0])
    assert "1 of the 2 best among them" in found["words"]


def test_where_nobody_was_ever_paused_there_is_nothing_to_tell():
    assert second_chances([*BY_ITSELF, NOTHING], "fd", "min") is None
    assert second_chances([], "fd", "min") is None

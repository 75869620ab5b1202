"""Rosters grow, and never take back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansearch.errors import StudyError
from gansearch.study.roster import Candidate, Roster


def candidate(label, value=None):
    return Candidate(label, "given", {"loss": {"name": "hinge"}, "lr": value or label})


LABELS = ["a", "b", "c"]


@given(st.lists(st.tuples(st.sets(st.sampled_from(LABELS), min_size=1), st.integers(1, 5)), max_size=5))
def test_a_roster_only_grows_and_every_seed_is_of_its_own(requests):
    roster, most = Roster(), dict.fromkeys(LABELS, 0)
    for labels, seeds in requests:
        before = roster
        roster = roster.extended([candidate(label) for label in sorted(labels)], seeds, study_seed=3)
        assert roster.entries[: len(before.entries)] == before.entries
        most |= {label: max(most[label], seeds) for label in labels}
    assert {label: len(roster.seeds(label)) for label in LABELS} == most
    used = [seed for _, seed in roster.entries]
    assert len(set(used)) == len(used)


def test_asked_in_two_steps_or_in_one_the_seeds_are_the_same():
    both = [candidate("a"), candidate("b")]
    once = Roster().extended(both, 4, 0)
    twice = Roster().extended(both, 2, 0).extended(both, 4, 0)
    assert twice == once
    assert [label for label, _ in once.entries] == ["a", "b"] * 4, "cut short, it is balanced"


def test_seeds_follow_from_the_configuration_and_the_study_not_from_labels():
    named = Roster().extended([candidate("a", value=1)], 3, 0)
    other = Roster().extended([candidate("z", value=1)], 3, 0)
    assert named.seeds("a") == other.seeds("z")
    another_study = Roster().extended([candidate("a", value=1)], 3, 1)
    another_value = Roster().extended([candidate("a", value=2)], 3, 0)
    for apart in (another_study, another_value):
        assert set(named.seeds("a")).isdisjoint(apart.seeds("a"))


def test_seeds_that_the_search_has_used_are_passed_over():
    plain = Roster().extended([candidate("a")], 3, 0).seeds("a")
    wary = Roster().extended([candidate("a")], 3, 0, taken={plain[1]}).seeds("a")
    assert wary[:2] == [plain[0], plain[2]]


def test_the_same_configuration_by_another_label_is_not_trained_twice():
    roster = Roster().extended([candidate("a", value=1), candidate("default", value=1)], 2, 0)
    assert [c.label for c in roster.candidates] == ["a"]
    assert len(roster.entries) == 2


def test_one_label_for_two_configurations_is_refused():
    roster = Roster().extended([candidate("a", value=1)], 2, 0)
    with pytest.raises(StudyError, match="call it something else"):
        roster.extended([candidate("a", value=2)], 2, 0)


def test_a_roster_is_what_it_was_after_json():
    whole = Candidate("x: lr x 2", "around", {"loss": {"name": "hinge"}}, of="x", axis="lr", factor=2.0)
    roster = Roster().extended([whole, candidate("b")], 2, 0)
    assert Roster.of_plain(json.loads(json.dumps(roster.plain()))) == roster


def test_another_seed_stands_in_for_one_whose_machine_died():
    roster = Roster().extended([candidate("a"), candidate("b")], 3, 0)
    dead = roster.seeds("a")[1]
    again = roster.extended([candidate("a"), candidate("b")], 3, 0, lost={dead})
    assert len(again.seeds("a")) == 4
    assert len(again.seeds("b")) == 3
    assert again.extended([candidate("a"), candidate("b")], 3, 0, lost={dead}) == again

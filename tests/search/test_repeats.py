"""In what order a roster's trials begin: in turn, or by configuration where several train as one."""

from __future__ import annotations

import pytest

from gansearch.journal.journal import Journal
from gansearch.search.repeats import Repeats
from gansearch.study.config import TrialConfig
from gansearch.study.roster import Candidate, Roster


@pytest.fixture
def journal(tmp_path):
    made = Journal.create(tmp_path, "s", {"metric": "fd_classifier", "goal": "min", "steps": 10})
    plain = TrialConfig().plain()
    candidates = [
        Candidate(label, "given", plain | {"batch_size": n}) for n, label in enumerate("abc", 4)
    ]
    made.extend(Roster().extended(candidates, 3, 0))
    return made


def labels(source, besides, first=0):
    return [source.propose(n, beside).configuration for n, beside in enumerate(besides, first)]


def test_configurations_take_turns_where_each_is_trained_alone(journal):
    assert labels(Repeats(journal), [None] * 9) == list("abcabcabc")
    used = [(r.configuration, r.config["seed"]) for r in journal.trials()]
    assert used == list(journal.roster.entries)


def test_who_was_asked_for_first_is_trained_first(tmp_path):
    journal = Journal.create(tmp_path, "s", {"metric": "fd_classifier", "goal": "min", "steps": 10})
    one, other = (
        Candidate(label, "given", TrialConfig().plain() | {"batch_size": n})
        for n, label in enumerate("ab", 4)
    )
    journal.extend(Roster().extended([one], 1, 0).extended([other], 3, 0))
    assert labels(Repeats(journal), [None] * 4) == list("abbb")


def test_seeds_of_one_configuration_go_together(journal):
    source = Repeats(journal)
    assert labels(source, ["", "a", "a", "a", "b"]) == list("aaabb")
    assert labels(source, ["", "c", "b"], 5) == list("ccb"), "of the one with most seeds left"


def test_what_has_begun_is_not_begun_again(journal):
    labels(Repeats(journal), ["b", "b", None, "c"])
    labels(Repeats(journal), [None] * 5, 4)
    used = [(r.configuration, r.config["seed"]) for r in journal.trials()]
    assert sorted(used) == sorted(journal.roster.entries)

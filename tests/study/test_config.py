"""One trial's configuration: plain values out and in, flat names, digests, seeds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gansearch.study.config import TrialConfig, digest, flatten, trial_seed
from gansearch.study.document import parse_document, write_document


def test_a_configuration_is_read_from_what_it_writes():
    config = TrialConfig.model_validate(
        {"loss": {"name": "hinge", "penalty": "r1"}, "health": {"stalled": False}, "ema": None}
    )
    assert TrialConfig.model_validate(config.plain()) == config
    again = parse_document(write_document(config.plain()), "c.yaml").tree
    assert TrialConfig.model_validate(again) == config


def test_no_penalty_may_be_said_in_words():
    for penalty in (None, "none", {"name": "none"}):
        config = TrialConfig.model_validate({"loss": {"name": "hinge", "penalty": penalty}})
        assert config.loss.penalty is None


def test_flatten():
    tree = {"loss": {"name": "hinge", "penalty": None}, "metrics": [{"name": "a"}], "x": 1, "e": {}}
    flat = {"loss.name": "hinge", "loss.penalty": None, "metrics": '[{"name": "a"}]', "x": 1}
    assert flatten(tree) == flat


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3)), st.randoms())
def test_the_digest_does_not_see_the_order_of_keys(tree, chance):
    keys = list(tree)
    chance.shuffle(keys)
    assert digest({key: tree[key] for key in keys}) == digest(tree)
    assert digest({**tree, "another": 1.5}) != digest(tree)


@given(st.integers(0, 2**40), st.integers(0, 10**6))
def test_seeds_fit_and_differ_by_study_number_and_purpose(seed, number):
    found = {
        trial_seed(seed, number),
        trial_seed(seed, number + 1),
        trial_seed(seed + 1, number),
        trial_seed(seed, number, "proposal"),
    }
    assert len(found) == 4
    assert all(0 <= s < 2**31 for s in found)
    assert TrialConfig(seed=trial_seed(seed, number)).seed == trial_seed(seed, number)

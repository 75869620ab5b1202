"""One trial's configuration: plain values out and in, flat names, digests, seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gansearch.errors import InvalidInput
from gansearch.study.config import (
    ADDED,
    TrialConfig,
    config_digest,
    digest,
    flatten,
    stored_config,
    trial_seed,
)
from gansearch.study.document import parse_document, write_document
from gansearch.study.roster import Candidate, Roster
from gansearch.study.spec import check_config
from gansearch.training.validation import read_study


def test_a_stored_configuration_that_this_version_cannot_read_is_told():
    plain = TrialConfig().plain()
    assert stored_config(plain, "trial 3") == TrialConfig()
    words = r"(?s)configuration of trial 3, as it was stored: 2 mistakes.*latent_size: .*novel: "
    with pytest.raises(InvalidInput, match=words):
        stored_config(plain | {"latent_size": "x", "novel": 1}, "trial 3")


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


# What came later: precision, deterministic


def without(config):
    """As it was written before there were such keys."""
    return {key: value for key, value in config.items() if key not in ADDED}


def test_an_old_configuration_is_read_with_the_defaults():
    config = TrialConfig(seed=3)
    old = without(config.plain())
    assert len(old) == len(config.plain()) - 2
    assert TrialConfig.model_validate(old) == config
    assert (config.precision, config.deterministic) == ("float32", False)


@pytest.mark.parametrize("changes", [{"precision": "bfloat16"}, {"deterministic": True}])
def test_an_old_configuration_keeps_its_digest_and_another_one_has_another(changes):
    new = TrialConfig().plain()
    assert config_digest(new) == config_digest(without(new)) == digest(without(new))
    changed = TrialConfig.model_validate(changes).plain()
    assert config_digest(changed) not in (config_digest(new), config_digest(without(changed)))


def test_an_old_stability_study_goes_on_with_its_configurations_and_seeds():
    new = {key: value for key, value in TrialConfig().plain().items() if key != "seed"}
    before = Roster().extended([Candidate("default", "default", without(new))], 3, study_seed=7)
    after = before.extended([Candidate("default", "default", new)], 5, study_seed=7)
    assert after.entries[:3] == before.entries
    assert after.candidates == before.candidates
    assert Roster().extended([Candidate("default", "default", new)], 5, study_seed=7).entries == (
        after.entries
    )


@pytest.mark.parametrize(
    ("tree", "path", "words"),
    [
        ({"precision": "float16"}, ("precision",), "must be 'float32' or 'bfloat16', not 'float16'"),
        ({"precision": True}, ("precision",), "must be 'float32' or 'bfloat16', not true"),
        ({"deterministic": "yes"}, ("deterministic",), "needs true or false, not 'yes'"),
        ({"presicion": "bfloat16"}, ("presicion",), "did you mean 'precision'?"),
    ],
)
def test_what_is_no_precision_is_told(tree, path, words):
    [(where, message)] = check_config(tree, lambda config: (config, []))[1]
    assert where == path
    assert words in message


PARTS = "data: digits\ngenerator: mlp\ndiscriminator: mlp\n"


def read(text):
    return read_study(parse_document(PARTS + text, "s.yaml"), Path("/nonexistent"))[0]


def test_precision_may_be_searched_for_its_values_are_measured_alike():
    spec = read("precision: {choice: [float32, bfloat16]}\ndeterministic: true\n")
    assert list(spec.space.axes()) == ["precision"]
    assert spec.default.precision == "float32"
    assert spec.default.deterministic
    again = read_study(parse_document(spec.to_yaml(), "s.yaml"), Path("/nonexistent"))[0]
    assert again == spec


def test_deterministic_is_shared_by_all_trials():
    with pytest.raises(InvalidInput, match="'deterministic' is shared by all trials"):
        read("latent_size: {int: [2, 4]}\ndeterministic: {choice: [true, false]}\n")


def test_resources_say_how_often_a_batch_may_be_halved():
    assert read("latent_size: {int: [2, 4]}\n").plan.resources.halve_batch == 0
    spec = read("latent_size: {int: [2, 4]}\nresources: {halve_batch: 3}\n")
    assert spec.plan.resources.halve_batch == 3
    assert spec.digest == read("latent_size: {int: [2, 4]}\n").digest, "a fact of the machine"
    with pytest.raises(InvalidInput, match="halve_batch: must be at least 0, not -1"):
        read("latent_size: {int: [2, 4]}\nresources: {halve_batch: -1}\n")


def test_keys_that_were_added_later_are_written_where_they_are_said():
    """Configurations of before keep their form, and an axis has its value at every point."""
    plain = TrialConfig.model_validate({"loss": {"name": "hinge", "penalty": "r1"}}).plain()
    assert plain["loss"]["penalty"] == {"name": "r1"}
    assert plain["discriminator"] == {"name": "dcgan"}
    assert plain["optimizer"]["generator"] == {"name": "adam"}
    assert "unsound" not in plain
    said = TrialConfig.model_validate({"discriminator": {"name": "mlp", "pack": 1}})
    assert said.plain()["discriminator"] == {"name": "mlp", "pack": 1}
    assert TrialConfig.model_validate(said.plain()) == said
    assert said == TrialConfig.model_validate({"discriminator": "mlp"})

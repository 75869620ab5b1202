"""An axis that is a factor of another value: two time scales searched as one and their ratio."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gansearch.errors import InvalidInput
from gansearch.study.axes import Float, Ratio
from gansearch.study.document import parse_document, parse_value
from gansearch.study.location import locate, placed
from gansearch.study.notation import parse_space, plain
from gansearch.study.space import Space, first_end
from gansearch.training.validation import read_study

TREE = {
    "optimizer": {
        "generator": {"lr": {"log": [1e-5, 1e-2]}},
        "discriminator": {"lr": {"ratio": {"of": "optimizer.generator.lr", "log": [0.25, 4]}}},
    }
}
G, D = "optimizer.generator.lr", "optimizer.discriminator.lr.ratio"


def space(tree=TREE):
    parsed, problems = parse_space(tree)
    assert problems == []
    return Space(parsed)


def problems(tree):
    return {".".join(map(str, path)): words for path, words in parse_space(tree)[1]}


def following(axis):
    return {"a": {"log": [1, 2]}, "b": {"ratio": axis}}


def test_it_is_an_axis_of_its_own_and_a_multiple_of_the_other():
    found = space()
    assert list(found.axes()) == [G, D]
    assert found.axes()[D] == Float(0.25, 4.0, log=True)
    tree = found.at({G: 1e-3, D: 0.5})
    assert tree["optimizer"] == {"generator": {"lr": 1e-3}, "discriminator": {"lr": 5e-4}}
    assert dict(found.describe())[D] == f"{G} times log [0.25, 4]"


def test_it_is_written_as_it_was_read():
    assert plain(space().tree) == TREE
    assert plain(space(following({"of": "a", "uniform": [1, 3]})).tree)["b"] == {
        "ratio": {"of": "a", "uniform": [1.0, 3.0]}
    }


@settings(deadline=None)
@given(rate=st.floats(1e-5, 1e-2), factor=st.floats(0.25, 4))
def test_a_configuration_lies_where_it_was_drawn(rate, factor):
    found, point = space(), {G: rate, D: factor}
    tree = found.at(point)
    where, amiss = locate(tree, found)
    assert amiss == []
    assert where == pytest.approx(point, rel=1e-12)
    assert list(where) == list(placed(point, found))


def test_what_is_too_far_from_the_other_lies_nowhere():
    tree = {"optimizer": {"generator": {"lr": 1e-3}, "discriminator": {"lr": 1e-2}}}
    _, [words] = locate(tree, space())
    assert "optimizer.discriminator.lr is 0.01, which is not optimizer.generator.lr times" in words


def test_corners_hold_both_ends_of_it():
    rates = [tree["optimizer"] for tree, _ in space().corners()]
    found = {(each["generator"]["lr"], each["discriminator"]["lr"]) for each in rates}
    assert found == {(g, g * factor) for g in (1e-5, 1e-2) for factor in (0.25, 4.0)}


def test_under_a_choice_it_bears_the_label():
    inside = {"name": "adam", "lr": {"ratio": {"of": "a", "log": [0.5, 2]}}}
    found = space({"a": {"log": [1, 2]}, "b": {"choice": ["none", inside]}})
    assert "b.adam.lr.ratio" in found.axes()
    assert found.resolve(first_end)[0] == {"a": 1.0, "b": "none"}


def test_it_may_have_a_default():
    found = space(following({"of": "a", "log": [0.5, 2], "default": 1}))
    assert found.axes()["b.ratio"].default == 1
    assert isinstance(found.tree["b"], Ratio)


@pytest.mark.parametrize(("factor", "rate"), [("[0.1, 4]", 2e-4), ("[0.25, 4], default: 2", 2e-3)])
def test_its_default_is_of_what_it_follows(factor, rate, tmp_path):
    text = f"""
data: ring
optimizer:
  generator: {{lr: {{log: [1e-5, 1e-2], default: 1e-3}}}}
  discriminator: {{lr: {{ratio: {{of: optimizer.generator.lr, log: {factor}}}}}}}
"""
    spec, _ = read_study(parse_document(text, "s.yaml"), tmp_path)
    assert spec.default.optimizer.discriminator.options["lr"] == pytest.approx(rate)
    assert spec.start[0].point[D] == pytest.approx(rate / 1e-3)


def test_a_tie_in_a_list_is_told(tmp_path):
    text = "data: ring\nevaluation: {metrics: [fd_raw, {same: loss}]}\n"
    with pytest.raises(InvalidInput, match=r"evaluation.metrics\[1\]: cannot be an axis"):
        read_study(parse_document(text, "s.yaml"), tmp_path)


HUGE = "9" * 400  # larger than any float


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        (f"{{log: [1, {HUGE}]}}", "needs two numbers"),
        (f"{{uniform: [-{HUGE}, 1]}}", "needs two numbers"),
        (f"{{int: [1, {HUGE}]}}", "needs two integers"),
        (f"{{log: [0.1, 1], default: {HUGE}}}", "is not in log"),
        (f"{{int: [1, 3], default: {HUGE}}}", "is not in int"),
    ],
)
def test_a_number_larger_than_any_is_told(axis, words):
    [(_, told)] = parse_space({"a": parse_value(axis)})[1]
    assert words in told


@pytest.mark.parametrize(
    ("axis", "place", "words"),
    [
        ({"log": [1, 2]}, "b.ratio", "needs a mapping like {of: optimizer.generator.lr"),
        ("a", "b.ratio", "needs a mapping like"),
        ({"of": "a", "int": [1, 2]}, "b.ratio", "needs the range of a factor beside `of`"),
        ({"of": "a", "log": [2, 1]}, "b.ratio.log", "is empty"),
        ({"of": "c", "log": [1, 2]}, "b.ratio.of", "'c' has no value in this file"),
        ({"of": "b", "log": [1, 2]}, "b.ratio.of", "is itself tied to this"),
    ],
)
def test_mistakes_are_told(axis, place, words):
    assert words in problems(following(axis))[place]


def test_a_default_beside_it_is_told_where_it_belongs():
    axis = {"ratio": {"of": "a", "log": [1, 2]}, "default": 3}
    assert "say it within `ratio`" in problems({"a": {"log": [1, 2]}, "b": axis})["b.default"]

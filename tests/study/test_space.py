"""The algebra of search spaces, on spaces that hypothesis draws."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import currently_in_test_context, given, reject, settings
from hypothesis import strategies as st

from gansearch.study.axes import Choice, Float, Int, on_axis
from gansearch.study.document import dotted
from gansearch.study.notation import parse_space, plain
from gansearch.study.space import Space, axis_paths, first_end

FLOATS = st.floats(-1e6, 1e6)
SCALARS = st.integers(-100, 100) | st.sampled_from(["a", "b", "c"]) | st.none() | st.booleans()
KEYS = st.sampled_from(["k", "l", "m", "n"])
AXES = st.builds(
    lambda kind, low, width: {kind: [low, low + width]},
    st.sampled_from(["log", "uniform", "int"]),
    st.integers(1, 500),
    st.integers(1, 500),
)
LEAVES = SCALARS | AXES


def choices(options):
    """Options that do not look alike: 1, 1.0 and True do. What is there twice is left out afterwards:
    drawn again until it is not, as by `unique`, it takes so long on a busy machine that hypothesis
    gives up.
    """
    return st.lists(options, min_size=1, max_size=3).map(
        lambda found: {"choice": [o for i, o in enumerate(found) if o not in found[:i]]}
    )


TREES = st.recursive(
    LEAVES,
    lambda kids: (
        choices(kids)
        | st.dictionaries(KEYS, kids, max_size=3)
        | st.lists(kids, max_size=2)
        | st.builds(lambda name, kid: {"name": name, "x": kid}, st.sampled_from("pq"), kids)
    ),
    max_leaves=8,
)
SPACES = st.dictionaries(KEYS, TREES, max_size=4)


def leaves(tree, path=()):
    """The paths at which a single value stands at every point."""
    if not isinstance(tree, dict):
        return [] if isinstance(tree, list) else [path]
    if len(tree) == 1 and next(iter(tree)) in ("log", "uniform", "int"):
        return [path]
    return [] if "choice" in tree else [found for k in tree for found in leaves(tree[k], (*path, k))]


@st.composite
def tied_spaces(draw):
    """A space with ties to some of its leaves, before and after them, alone and as options."""
    tree = draw(SPACES) | {draw(KEYS): draw(LEAVES)}  # one leaf at least
    targets = draw(st.lists(st.sampled_from(leaves(tree)), min_size=1, max_size=3))
    ties = {f"tie{i}": {"same": ".".join(target)} for i, target in enumerate(targets)}
    if draw(st.booleans()):
        ties["optional"] = {"choice": [{"name": "tied", "x": ties["tie0"]}, "free"]}
    return draw(st.sampled_from([tree | ties, ties | tree]))


SPACES_OF_ALL_KINDS = SPACES | tied_spaces()


def parsed(tree) -> Space:
    found, problems = parse_space(tree)
    # Options that hold the same in another order are one option twice, which is told as a mistake.
    twice = any("there twice" in message for _, message in problems)
    if twice and currently_in_test_context():
        reject()
    assert problems == []
    return Space(found)


@given(SPACES_OF_ALL_KINDS)
def test_plain_is_the_inverse_of_parse(tree):
    space = parsed(tree)
    assert parsed(plain(space.tree)) == space


class Watched(Space):
    """A space that notes what it is asked."""

    def resolve(self, suggest):
        self.__dict__.setdefault("met", [])
        asked = {}

        def noting(name, axis):
            assert name not in asked, "asked for twice at one point"
            asked[name] = suggest(name, axis)
            return asked[name]

        point = super().resolve(noting)
        self.met.append(asked)
        return point


@given(SPACES_OF_ALL_KINDS, st.randoms(use_true_random=False))
def test_a_point_asks_only_for_the_axes_that_exist_there(tree, chance):
    space = Watched(parsed(tree).tree)
    point, origins = space.resolve(lambda _, axis: chance.choice(axis.ends()))
    asked = space.met[0]
    axes = space.axes()
    assert asked.keys() <= axes.keys()
    for name in axes.keys() - asked.keys():  # below an option that was not taken
        assert any(
            f"{name}.".startswith(f"{above}.{label}.")
            for above, taken in asked.items()
            if isinstance(axes[above], Choice)
            for label in axes[above].options
            if label != taken
        )
    assert axis_paths(point) == []
    for here, origin in origins.items():  # both exist: in the point, and in the file
        _at(point, here)
        _at(tree, origin)


@given(SPACES_OF_ALL_KINDS, st.randoms(use_true_random=False))
def test_a_point_holds_what_its_tree_was_made_of(tree, chance):
    ratios = {"half": {"ratio": {"of": "whole", "log": [0.25, 4]}}, "whole": {"log": [1, 8]}}
    space = Watched(parsed(tree | ratios).tree)
    point = space.point(lambda _, axis: chance.choice(axis.ends()))
    space.at(point)
    assert list(space.met[0].items()) == list(point.items())


def _at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


@given(SPACES_OF_ALL_KINDS)
@settings(max_examples=60)
def test_corners_hold_every_end_of_every_axis(tree):
    for limit in (512, 3):  # all the combinations, and what stands in for them in large spaces
        space = Watched(parsed(tree).tree)
        points = [point for point, _ in space.corners(limit)]
        assert points, "a space without axes has a point too"
        met = {(name, repr(end)) for asked in space.met for name, end in asked.items()}
        assert met == {(n, repr(end)) for n, axis in space.axes().items() for end in axis.ends()}


@given(SPACES_OF_ALL_KINDS)
@settings(max_examples=60)
def test_each_option_takes_every_option_of_every_choice(tree):
    space = Watched(parsed(tree).tree)
    for way in space.each_option():
        space.resolve(way)
    choices = {name: axis for name, axis in space.axes().items() if isinstance(axis, Choice)}
    met = {(n, repr(label)) for asked in space.met for n, label in asked.items() if n in choices}
    assert met == {(n, repr(label)) for n, axis in choices.items() for label in axis.options}


@given(tied_spaces(), st.randoms(use_true_random=False))
def test_a_tied_value_is_the_one_it_follows_and_no_axis(tree, chance):
    space = parsed(tree)
    untied = {k: v for k, v in tree.items() if not k.startswith("tie") and k != "optional"}
    names = {name for name in space.axes() if name != "optional"}
    assert names == parsed(untied).axes().keys()
    point, _ = space.resolve(lambda _, axis: chance.choice(axis.ends()))
    for key, node in tree.items():
        if key.startswith("tie"):
            assert point[key] == _at(point, node["same"].split("."))
    if point.get("optional", "free") != "free":
        assert point["optional"]["x"] == point["tie0"]


def test_ties_reach_into_options_that_are_taken_with_them():
    tree = {
        "loss": {
            "choice": [
                {"name": "a", "x": {"int": [1, 2]}, "y": {"same": "loss.x"}},
                {"name": "b", "x": 7, "deep": [{"same": "loss.x"}]},
            ]
        },
        "depth": {"choice": [3, {"int": [4, 5]}]},
        "both": {"choice": [{"same": "depth"}, {"same": "loss.x"}]},
    }
    space = parsed(tree)
    assert plain(space.tree) == tree
    assert list(space.axes()) == ["loss", "loss.a.x", "depth", "depth.#1", "both"]
    assert ("loss.a.y", "same as loss.x") in space.describe()
    assert ("both.#1", "same as loss.x") in space.describe()
    points = [point for point, _ in space.corners()]
    assert len(points) == 3 * 3 * 2
    assert {(p["loss"]["x"], p["loss"].get("y")) for p in points} == {(1, 1), (2, 2), (7, None)}
    assert {p["loss"]["deep"][0] for p in points if p["loss"]["name"] == "b"} == {7}
    assert {p["both"] for p in points} == {3, 4, 5, 1, 2, 7}
    follows = {dotted(tie): [dotted(path) for path in found] for tie, found in space.ties().items()}
    assert follows == {
        "loss.choice[0].y": ["loss.choice[0].x"],
        "loss.choice[1].deep[0]": ["loss.choice[1].x"],
        "both.choice[0]": ["depth.choice[0]", "depth.choice[1]"],
        "both.choice[1]": ["loss.choice[0].x", "loss.choice[1].x"],
    }


def test_all_combinations_of_ends_are_corners():
    space = parsed({"a": {"int": [1, 2]}, "b": {"choice": [None, {"x": {"log": [1, 10]}}]}})
    found = [point for point, _ in space.corners()]
    assert found == [{"a": a, "b": b} for a in (1, 2) for b in (None, {"x": 1.0}, {"x": 10.0})]


def test_names_hold_the_labels_on_the_way():
    tree = {
        "loss": {
            "choice": [
                "hinge",
                {"name": "w", "penalty": {"name": "gp", "weight": {"log": [0.1, 100]}}},
                {"name": "my.parts:Loss", "weight": {"int": [1, 2]}},
                {"name": "my", "weight": {"int": [1, 2]}},
            ]
        },
        "lr": {"choice": [1e-3, {"log": [1e-5, 1e-4]}]},
        "penalty": {"choice": [None, {"name": "r1", "weight": {"uniform": [0, 1]}}]},
        "norm": {"choice": [{"choice": ["batch", "layer"]}, "none"]},
    }
    space = parsed(tree)
    assert [f"{name}: {text}" for name, text in space.describe()] == [
        "loss: choice [hinge, w, my.parts:Loss, my]",
        "loss.w.penalty.weight: log [0.1, 100]",
        "loss.my.parts:Loss.weight: int [1, 2]",
        "loss.my.weight: int [1, 2]",
        "lr: choice [0.001, #1]",
        "lr.#1: log [1e-05, 0.0001]",
        "penalty: choice [null, r1]",
        "penalty.r1.weight: uniform [0, 1]",
        "norm: choice [#0, none]",
        "norm.#0: choice [batch, layer]",
    ]
    taken = {"loss": "w", "loss.w.penalty.weight": 2.0, "lr": 1e-3, "penalty": None, "norm": "none"}
    point, origins = space.resolve(lambda name, _: taken.pop(name))
    assert point["loss"] == {"name": "w", "penalty": {"name": "gp", "weight": 2.0}}
    assert (point["lr"], point["penalty"], point["norm"]) == (1e-3, None, "none")
    assert taken == {}
    where = ("loss", "choice", 1, "penalty", "weight")
    assert origins["loss", "penalty", "weight"] == where


def test_options_of_one_name_are_told_apart_by_their_place():
    space = parsed(
        {"a": {"choice": [{"name": "w", "x": 1}, "h", "w", {"name": "w", "x": {"int": [2, 3]}}]}}
    )
    assert list(space.axes()) == ["a", "a.w#3.x"]
    assert list(space.tree["a"].options) == ["w#0", "h", "w#2", "w#3"]


def test_an_option_and_the_place_of_another_are_not_mixed_up():
    space = parsed({"depth": {"choice": [1, {"int": [2, 4]}, 0]}})
    found = [point["depth"] for point, _ in space.corners()]
    assert found == [1, 2, 4, 0]


def test_steering_leads_to_the_option_whose_name_holds_another_s():
    space = parsed(
        {"a": {"choice": [{"name": "my", "x": 1}, {"name": "my.parts:L", "x": {"int": [2, 9]}}]}}
    )
    assert {"name": "my.parts:L", "x": 9} in [point["a"] for point, _ in space.corners(limit=1)]


@pytest.mark.parametrize(
    ("axis", "place", "message"),
    [
        ({"log": [0, 1]}, "x.log", "a log range must lie above 0, and 0 does not"),
        ({"log": [-1, 1]}, "x.log", "a log range must lie above 0, and -1 does not"),
        ({"log": [1e-2, 1e-5]}, "x.log", "the range [0.01, 1e-05] is empty: low must be below high"),
        ({"uniform": [1, 1]}, "x.uniform", "the range [1, 1] is one value: write 1"),
        ({"uniform": [0, float("inf")]}, "x.uniform", "needs two numbers, [low, high], not [0, inf]"),
        ({"uniform": [0, True]}, "x.uniform", "needs two numbers"),
        ({"uniform": 3}, "x.uniform", "needs two numbers, [low, high], not 3"),
        ({"log": [1, 2, 3]}, "x.log", "needs two numbers"),
        ({"log": ["1", 2]}, "x.log", "needs two numbers"),
        ({"int": [4, 2]}, "x.int", "the range [4, 2] is empty"),
        ({"int": [2, 2]}, "x.int", "the range [2, 2] is one value: write 2"),
        ({"int": [1, 2.5]}, "x.int", "needs two integers, [low, high], not [1, 2.5]"),
        ({"int": [False, True]}, "x.int", "needs two integers"),
        ({"choice": []}, "x.choice", "needs a list of options, not []"),
        ({"choice": "ab"}, "x.choice", "needs a list of options, not 'ab'"),
        ({"choice": ["a", "b", "a"]}, "x.choice[2]", 'the option "a" is there twice'),
        ({"choice": [1, 1.0]}, "x.choice[1]", "the option 1.0 is there twice"),
        (
            {"choice": [{"name": "w"}, {"name": "w"}]},
            "x.choice[1]",
            'the option {"name": "w"} is there',
        ),
        ({"choice": ["a", {"y": {"int": [3, 1]}}]}, "x.choice[1].y.int", "the range [3, 1] is empty"),
        ({"same": 3}, "x.same", "needs the path of a value, like optimizer.generator.lr, not 3"),
        ({"same": "a..b"}, "x.same", "needs the path of a value"),
        ({"same": ""}, "x.same", "needs the path of a value"),
        (
            {"choice": ["a", {"same": "finer"}]},
            "x.choice[1].same",
            "'finer' has no value in this file (did you mean 'fine'?)",
        ),
        (
            {"same": "loss.weight"},
            "x.same",
            "'loss.weight' has no value in this file where loss.choice[1] is chosen: write its value",
        ),
        (
            {"same": "loss.deep.x"},
            "x.same",
            "'loss.deep.x' has no value in this file where loss.choice[1] is chosen: write",
        ),
        (
            {"same": "loss"},
            "x.same",
            "'loss' is a mapping where loss.choice[0] is chosen: a tie follows",
        ),
        ({"same": "many"}, "x.same", "'many' is a list: a tie follows a single value"),
        ({"same": "many.0"}, "x.same", "'many.0' has no value in this file"),
        ({"same": "fine.int"}, "x.same", "'fine.int' has no value in this file"),
        ({"same": "tie"}, "x.same", "'tie' is itself tied to 'fine': say that"),
        ({"same": "x"}, "x.same", "'x' is itself tied to this: one of the two needs a value or an"),
    ],
)
def test_a_faulty_axis_is_told_with_its_place(axis, place, message):
    loss = {"choice": [{"name": "a", "weight": 1, "deep": {"x": 1}}, {"name": "b", "deep": {}}]}
    rest = {"fine": {"int": [1, 2]}, "tie": {"same": "fine"}, "loss": loss, "many": [1]}
    found, problems = parse_space({"x": axis} | rest)
    Space(found).resolve(first_end)  # what is faulty does not keep the rest from being checked
    assert len(problems) == 1
    assert dotted(problems[0][0]) == place
    assert problems[0][1].startswith(message)


def test_two_ties_to_each_other_are_both_told():
    _, problems = parse_space(
        {"x": {"choice": [{"y": {"same": "z.a"}}, {"y": 1}]}, "z": {"a": {"same": "x.y"}}}
    )
    (first, why), (second, too) = problems
    assert (dotted(first), dotted(second)) == ("x.choice[0].y.same", "z.a.same")
    assert why == "'z.a' is itself tied to this: one of the two needs a value or an axis"
    assert too == "'x.y' is itself tied to this: one of the two needs a value or an axis"


def test_what_only_resembles_an_axis_is_a_mapping():
    tree = {"x": {"int": [1, 2], "name": "y"}, "y": {"lg": [1, 2]}, "log": {"z": 3}, "same": {"a": 1}}
    found, problems = parse_space(tree)
    assert found == tree
    assert problems == []


def test_first_end_is_low():
    assert first_end("", Float(0.5, 2.0)) == 0.5
    assert first_end("", Int(3, 4)) == 3


def test_of_too_many_options_those_are_taken_that_say_most():
    losses = [{"name": "hinge", "margin": i / 10} for i in range(50)]
    rates = [i / 1000 for i in range(1, 2000)]
    space = parsed(
        {"loss": {"choice": [*losses, {"name": "vae"}]}, "lr": {"choice": rates}, "n": [1, 2]}
    )
    ways, left = space.some_options(12)
    assert left == {"loss": 45, "lr": 1993}
    taken = [space.resolve(way)[0] for way in ways]
    assert {"name": "vae"} in [tree["loss"] for tree in taken], "the only one of its kind"
    assert {0.001, 1.999} <= {tree["lr"] for tree in taken}, "the ends"
    assert space.some_options(12)[1] == left
    every, none = space.some_options(3000)
    assert [space.resolve(w)[0] for w in every] == [space.resolve(w)[0] for w in space.each_option()]
    assert none == {}


def test_what_is_on_an_axis_is_told_with_all_its_digits():
    assert str(Float(0.12345678, 2e6)) == "uniform [0.12345678, 2000000]"
    assert str(Float(1e-5, 0.1, log=True)) == "log [1e-05, 0.1]"
    assert str(Float(-0.0, 1e300)) == "uniform [0, 1e+300]"
    assert str(Float(-1e22, 1e15)) == "uniform [-1e+22, 1000000000000000]"
    with pytest.raises(ValueError, match=r"x: 0.1234567 is not in uniform \[0.12345678, 1\]"):
        on_axis("x", Float(0.12345678, 1.0), 0.1234567)
    assert parse_space({"x": {"uniform": [0.12345678, 0.1234567]}})[1] == [
        (("x", "uniform"), "the range [0.12345678, 0.1234567] is empty: low must be below high")
    ]


def test_a_large_whole_number_on_an_axis_is_no_other_one():
    axis, odd = Int(0, 2**62), 2**53 + 1
    assert on_axis("x", axis, odd) == odd
    for whole in (64.0, np.int64(64), np.float32(64), Fraction(64)):
        value = on_axis("x", axis, whole)
        assert value == 64
        assert type(value) is int
    for off in (2**62 + 1, -1, 0.5, True, float("inf"), float("nan"), 10**400):
        with pytest.raises(ValueError, match="is not in int"):
            on_axis("x", axis, off)


def test_a_number_and_its_text_are_options_apart():
    space = parsed({"x": {"choice": [2, "2", 0.5, 3, 7, "none"]}})
    ways, left = space.some_options(5)
    assert left == {"x": 1}
    assert {space.resolve(way)[0]["x"] for way in ways} == {2, "2", "none", 0.5, 7}


def test_of_thousands_of_options_a_line_shows_the_first_and_the_last():
    [(_, words)] = parsed({"lr": {"choice": list(range(1, 5001))}}).describe()
    assert words == (
        "choice [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ... 4,980 more ..., 4991, 4992, 4993, 4994, 4995, "
        "4996, 4997, 4998, 4999, 5000]"
    )

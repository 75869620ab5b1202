"""Where a configuration lies in a space: the inverse of what a space makes of a point."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_space import SPACES_OF_ALL_KINDS, parsed

from gansearch.study.axes import Choice, Float
from gansearch.study.location import NotInSpace, locate, placed
from gansearch.study.space import Space


def drawn(space: Space, data: st.DataObject) -> dict:
    def suggest(name, axis):
        if isinstance(axis, Choice):
            return data.draw(st.sampled_from(list(axis.options)))
        kind = st.floats if isinstance(axis, Float) else st.integers
        return data.draw(kind(axis.low, axis.high))

    return space.point(suggest)


def resolved(space: Space, point: dict) -> dict:
    return space.at(point)


@settings(max_examples=100)
@given(SPACES_OF_ALL_KINDS, st.data())
def test_what_a_point_resolves_to_is_located_where_it_resolves_to_the_same(tree, data):
    space = parsed(tree)
    config = resolved(space, drawn(space, data))
    point, amiss = locate(config, space)  # of two options that may hold the same the first is found
    assert amiss == []
    assert resolved(space, point) == config


SPACE = Space(
    {
        "depth": Choice({1: 1, 2: 2}),
        "width": 64,
        "loss": Choice(
            {
                "hinge": {"name": "hinge", "penalty": "none"},
                "wasserstein": {"name": "wasserstein", "penalty": {"weight": Float(0.1, 100, True)}},
            }
        ),
    }
)
HINGE = {"depth": 1, "width": 64, "loss": {"name": "hinge", "penalty": None}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"depth": 3}, ["depth is 3, which is not in choice [1, 2]"]),
        ({"depth": True}, ["depth is true, which is not in choice [1, 2]"]),
        ({"width": 32}, ["width is 32, and 64 in this study"]),
        ({"loss": {"name": "relu"}}, ["loss is relu, which is not in choice [hinge, wasserstein]"]),
        (
            {"loss": {"name": "wasserstein", "penalty": {"weight": 1e3, "kind": "r1"}}},
            [
                "loss.penalty.kind is not in this study",
                "loss.penalty.weight is 1000.0, which is not in log [0.1, 100]",
            ],
        ),
        (
            {"loss": {"name": "hinge", "penalty": {"weight": 1.0}}},
            ['loss.penalty is {"weight": 1.0}, and none in this study'],
        ),
        (
            {"depth": 3, "width": 1},
            ["depth is 3, which is not in choice [1, 2]", "width is 1, and 64 in this study"],
        ),
    ],
)
def test_what_the_space_does_not_have_is_told(changes, said):
    assert locate(HINGE | changes, SPACE) == ({}, said)
    assert locate(HINGE, SPACE) == ({"depth": 1, "loss": "hinge"}, [])


def test_a_tie_that_is_not_kept_is_told():
    from gansearch.study.axes import Same

    space = Space({"a": Float(0.0, 1.0), "b": Same("a")})
    assert locate({"a": 0.5, "b": 0.5}, space) == ({"a": 0.5}, [])
    assert locate({"a": 0.5, "b": 0.6}, space) == ({}, ["b is 0.6, and a, which it follows here, 0.5"])


def test_a_point_has_every_axis_that_exists_there_and_no_other():
    assert placed({"depth": 2, "loss": "hinge", "loss.wasserstein.penalty.weight": 1.0}, SPACE) == {
        "depth": 2,
        "loss": "hinge",
    }
    with pytest.raises(NotInSpace, match="depth is missing"):
        placed({"loss": "hinge"}, SPACE)
    options = {"a": {"weight": Float(0.1, 1.0)}, "b": "b"}
    with pytest.raises(NotInSpace) as caught:
        placed({"loss": "c"}, Space({"loss": Choice(options), "lr": Float(0.0, 1.0)}))
    told = "loss: 'c' is not in choice [a, b]; lr is missing"
    assert str(caught.value) == told, "all of it, and nothing of what exists under an option"

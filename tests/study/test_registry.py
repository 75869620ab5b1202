"""Names to parts, the user's own among them."""

from __future__ import annotations

import sys
from typing import Literal

import pytest
from pydantic import BaseModel

from gansearch.errors import UnknownPart
from gansearch.losses import LOSSES
from gansearch.networks import GENERATORS
from gansearch.study.registry import Registry, options_model

PLUGIN = """
from typing import Literal

class Sharp:
    g_uses_real = False
    decision = 0.0

    def __init__(self, *, margin: float = 1.0, kind: Literal["a", "b"] = "a", betas: tuple[float, float] = (0, 1)):
        self.margin, self.kind, self.betas = margin, kind, betas

class Inner:
    Deep = Sharp

number = 3

def untyped(positional, *, needed, other=None):
    return positional, needed, other

def positional(t=1.0):
    return t

def unlike(*, t: int = 'a'):
    return t

def nowhere(*, t: float = float("nan")):
    return t

def unwritten(*, t: object = object()):
    return t

def named(*, name: str = "x"):
    return name

def misannotated(*, x: "Nowhere" = 1):
    return x
"""  # noqa: E501


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A package of the user's, importable during one test."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("")
    (tmp_path / "mine" / "parts.py").write_text(PLUGIN)
    (tmp_path / "mine" / "broken.py").write_text("def f(:\n")
    (tmp_path / "mine" / "leaves.py").write_text("import sys; sys.exit(0)\n")
    (tmp_path / "mine" / "raises.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "mine.parts"
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def test_a_part_of_the_users_own_is_built_with_its_options(plugin):
    options = {"margin": 2, "kind": "b", "betas": [0.5, 0.9]}
    assert LOSSES.check(f"{plugin}:Sharp", options) == []
    built = LOSSES.build(f"{plugin}:Inner.Deep", options)
    assert (built.margin, built.kind, built.betas) == (2.0, "b", (0.5, 0.9))
    assert LOSSES.build(f"{plugin}:Sharp", {}).margin == 1.0


def test_the_signature_is_the_option_table(plugin):
    assert LOSSES.check(f"{plugin}:Sharp", {"margn": 2, "kind": "c", "betas": [1], "margin": "2"}) == [
        (("margin",), "needs a number, not '2'"),
        (("kind",), "must be 'a' or 'b', not 'c'"),
        (("betas", "1"), "is required"),
        (("margn",), f"not an option of '{plugin}:Sharp' (did you mean 'margin'?)"),
    ]
    assert LOSSES.check(f"{plugin}:untyped", {}) == [(("needed",), "is required")]
    assert LOSSES.build(f"{plugin}:untyped", {"needed": 1}, "first") == ("first", 1, None)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hingee", "unknown loss 'hingee' (did you mean 'hinge'?)"),
        ("zzz", "unknown loss 'zzz' (there are: hinge, least-squares, minimax, non-saturating, rela"),
        (
            "mine.parts:Shrp",
            "cannot import the loss 'mine.parts:Shrp': module 'mine.parts' has no attr",
        ),
        ("mine.part:Sharp", "cannot import the loss 'mine.part:Sharp': No module named 'mine.part'"),
        ("mine.parts:number", "the loss 'mine.parts:number' is not callable"),
        *(
            (name, f"cannot import the loss '{name}': it is written `package.module:Thing`, and")
            for name in (
                "mine.parts:",
                ":Sharp",
                "./parts.py:Sharp",
                ".parts:Sharp",
                "mine.parts: Sharp",
                "mine.parts:Sharp:x",
                "mine parts:Sharp",
                "mine/parts:Sharp",
                "mine.parts:Sharp()",
            )
        ),
        ("mine.broken:f", "cannot import the loss 'mine.broken:f': SyntaxError: "),
        ("mine.raises:f", "cannot import the loss 'mine.raises:f': RuntimeError: no licence"),
        ("mine.leaves:f", "cannot import the loss 'mine.leaves:f': SystemExit: 0"),
        ("mine.parts:misannotated", "cannot read the options of the loss 'mine.parts:misannotated'"),
    ],
)
def test_what_cannot_be_found_says_why(plugin, name, message):
    [(path, told)] = LOSSES.check(name, {})
    assert path == ("name",)
    assert told.startswith(message)
    with pytest.raises(UnknownPart) as caught:
        LOSSES.options(name)
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.parts:unlike", "needs an int"),
        ("mine.parts:nowhere", "needs a fin"),
        ("mine.parts:unwritten", "is of type"),
    ],
)
def test_a_default_that_no_study_file_could_say_is_told(plugin, name, message):
    [(path, told)] = LOSSES.check(name, {})
    assert path == ("name",)
    assert told.startswith(f"cannot read the options of the loss '{name}': the default of 't'")
    assert message in told


def test_a_name_that_is_written_as_a_module_s_says_how_ones_own_is_written():
    with pytest.raises(UnknownPart, match=r"if it is your own, it is written `package.module:Thing`"):
        LOSSES.find("my_losses.Tempered")
    with pytest.raises(UnknownPart, match=r"wasserstein\)$"):
        LOSSES.find("tempered")


def test_an_option_before_the_star_is_told(plugin):
    assert LOSSES.check(f"{plugin}:positional", {"t": 2}) == [
        (
            ("t",),
            f"stands before the `*` in the signature of '{plugin}:positional', and an option stands "
            "behind it: `*, t`",
        )
    ]


def test_an_option_of_the_name_of_a_key_of_every_part_is_refused(plugin):
    part = {"name": f"{plugin}:named"}
    [(path, told)] = LOSSES.complete(part)
    assert path == ("name",)
    assert "has an option 'name'" in told
    assert part == {"name": f"{plugin}:named"}


def test_a_part_that_takes_other_values_than_its_kind_is_given(plugin):
    with pytest.raises(UnknownPart, match=r"given 1 value before its options.*missing a required arg"):
        Registry("pair", {}).build("operator:add", {}, 1)
    with pytest.raises(
        UnknownPart, match=r"given 3 values before its options.*too many positional.*`\*`"
    ):
        LOSSES.build(f"{plugin}:untyped", {"needed": 1}, 1, 2, 3)


def test_options_are_strict():
    assert GENERATORS.check("mlp", {"depth": "2"}) == [(("depth",), "needs an integer, not '2'")]
    assert GENERATORS.check("mlp", {"depth": True}) == [(("depth",), "needs an integer, not true")]
    assert GENERATORS.check("mlp", {"depth": 0}) == [(("depth",), "must be at least 1, not 0")]
    assert GENERATORS.check("mlp", {"depth": 2}) == []


def test_registered_parts_can_all_be_found():
    for registry in (LOSSES, GENERATORS):
        for name in registry.names:
            assert issubclass(registry.options(name), BaseModel)


def test_positional_parameters_are_not_options():
    def part(shape: tuple[int, ...], *, depth: int = 3, kind: Literal["a"] = "a") -> None: ...

    model = options_model(part)
    assert set(model.model_fields) == {"depth", "kind"}
    assert model().model_dump() == {"depth": 3, "kind": "a"}


def test_nothing_is_imported_before_it_is_asked_for():
    registry: Registry[object] = Registry("thing", {"x": "no.such.module:Thing"})
    assert registry.names == ("x",)
    assert registry.check("x", {})[0][1].startswith("cannot import the thing")

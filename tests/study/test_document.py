"""YAML as users write it: numbers, lines, and mistakes told with their place."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gansearch.errors import InvalidInput, UserError
from gansearch.study.document import (
    dotted,
    parse_document,
    parse_value,
    read_document,
    write_document,
)

TEXT = """\
# a comment
question: which?

loss:
  choice:
    - name: hinge
    - {name: wasserstein, penalty: {name: r1,
        weight: 3}}
"""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("-2e-4", -2e-4),
        ("+1.5e+3", 1500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1_000.5", 1000.5),
        ("-.inf", -math.inf),
        ("0.1", 0.1),
    ],
)
def test_floats_are_floats_as_in_yaml_1_2(text, value):
    found = parse_value(text)
    assert isinstance(found, float)
    assert found == value


@pytest.mark.parametrize("text", ["1e", "e5", "1e-5x", "1.2.3", ".", "2020-01-01", "'1e-5'"])
def test_what_only_resembles_a_number_is_text(text):
    assert parse_value(text) == text.strip("'")


def test_whole_numbers_booleans_and_nothing():
    assert parse_value("[10, -3, true, null, ~]") == [10, -3, True, None, None]
    assert parse_value("10") is not True
    assert isinstance(parse_value("10"), int)


def test_each_place_is_told_with_its_line():
    document = parse_document(TEXT, "s.yaml")
    assert document.place(("question",)) == "line 2, question"
    assert document.place(("loss", "choice", 0, "name")) == "line 6, loss.choice[0].name"
    deep = ("loss", "choice", 1, "penalty", "weight")
    assert document.place(deep) == "line 8, loss.choice[1].penalty.weight"


def test_what_the_file_does_not_say_has_the_line_of_what_it_would_stand_in():
    document = parse_document(TEXT, "s.yaml")
    assert document.place(("loss", "choice", 0, "oops")) == "line 6, loss.choice[0].oops"
    assert document.place(("objective", "goal")) == "objective.goal"  # nowhere in the file


def test_an_override_takes_the_place_of_what_the_file_says():
    document = parse_document(TEXT, "s.yaml")
    document.override("loss.choice", 3)
    document.override("search.trials", 8)
    assert document.tree == {"question": "which?", "loss": {"choice": 3}, "search": {"trials": 8}}
    assert document.place(("loss", "choice", 1)) == "--set loss.choice[1]"
    assert document.place(("search", "trials")) == "--set search.trials"
    assert document.place(("loss", "name")) == "line 4, loss.name"
    document.override("none.such.key", 1)
    assert document.place(("none",)) == "--set none", "what an option has made is the option's"
    words = (
        r"--set question\.x\.y: 'question' holds no keys in s\.yaml: set it as a whole, a part as "
        r"--set 'question={name: NAME, OPTION: VALUE}'"
    )
    with pytest.raises(UserError, match=words):
        document.override("question.x.y", 1)
    with pytest.raises(UserError, match=r"loss\.choice\[1\]\.name: .* set loss\.choice as a whole, or"):
        document.override("loss.choice[1].name", "hinge")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 1, c: 2}\na: 3\n", "2 mistakes\n  line 2, b.c: is given twice\n  line 3, a: is"),
        ("a: [1\nb: 2\n", "line 2: is not valid YAML"),
        ("a: 1\n\tb: 2\n", "line 2: is not valid YAML"),
        ("a: *nowhere\n", "line 1: is not valid YAML: found undefined alias"),
        ("a: 1\n---\nb: 2\n", "line 2: is not valid YAML"),
        ("a: !!python/object/apply:os.system [x]\n", "line 1: is not valid YAML: the tag"),
        ("- 1\n", "must be a mapping of keys to values"),
        ("just words\n", "must be a mapping of keys to values"),
        ("# only a comment\n", "must be a mapping of keys to values"),
        ("&a\nb: *a\n", "holds itself"),
    ],
)
def test_a_faulty_document_is_one_message(text, message):
    with pytest.raises(InvalidInput) as caught:
        parse_document(text, "s.yaml")
    assert str(caught.value).startswith("s.yaml: ")
    assert message in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InvalidInput, match=r"none\.yaml: 1 mistake\n  cannot be read: No such file"):
        read_document(tmp_path / "none.yaml")
    (tmp_path / "raw").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="cannot be read: is not UTF-8 text"):
        read_document(tmp_path / "raw")


def test_an_anchor_stands_for_what_it_names():
    document = parse_document("a: &n {name: mlp}\nb: *n\n", "s.yaml")
    assert document.tree == {"a": {"name": "mlp"}, "b": {"name": "mlp"}}


def test_a_merge_puts_in_what_a_mapping_does_not_say_itself():
    text = "n: &n {name: mlp, depth: 1}\nm: &m {depth: 2, norm: none}\n"
    document = parse_document(
        text + "o: {width: 8, <<: *n}\np:\n  <<: [*n, *m]\n  name: own\n", "s.yaml"
    )
    assert document.tree["o"] == {"name": "mlp", "depth": 1, "width": 8}
    assert document.tree["p"] == {"name": "own", "depth": 1, "norm": "none"}
    assert document.line(("o",)) == 3
    assert document.line(("p", "name")) == 6
    assert document.line(("p", "norm")) == 2
    assert parse_document('"<<": 1', "s.yaml").tree == {"<<": 1}


def test_a_key_is_what_is_written():
    tree = parse_document("no: 1\n~: 2\n1e-3: 3\n2020-01-01: 4\n0x10: 5\n", "s.yaml").tree
    assert list(tree) == ["no", "~", "1e-3", "2020-01-01", "0x10"]


KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.sampled_from(
        ["1e-5", "none", "null", "true", "no", "=", "<<", "010", ".5", "1_0", "a: b", "- x", "~", "#"]
    )
)
TREES = st.recursive(
    LEAVES, lambda kids: st.lists(kids, max_size=3) | st.dictionaries(KEYS, kids, max_size=3)
)


@given(st.dictionaries(KEYS, TREES, max_size=4))
def test_what_is_written_is_read_back(tree):
    found = parse_document(write_document(tree), "s.yaml").tree
    assert found == tree
    assert list(found) == list(tree)
    assert repr(found) == repr(tree)  # 1 is not 1.0 is not True


def test_parts_and_axes_are_written_on_one_line():
    tree = {"loss": {"choice": [{"name": "hinge"}]}, "lr": {"log": [1e-5, 0.1]}, "x": {"y": {"z": {}}}}
    text = write_document(tree)
    assert "lr: {log: [1.0e-05, 0.1]}" in text
    assert "- {name: hinge}" in text


def test_dotted():
    assert dotted(("loss", "choice", 2, "name")) == "loss.choice[2].name"
    assert dotted(()) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: \x07x", r"line 2: holds the control character 0x07: remove it"),
        ("a: \x00", "line 1: holds the control character 0x00"),
        (f"a: {'9' * 5000}", "line 1: is not valid YAML: '9{40}...' cannot be read as int"),
        ("a: 0x_", "line 1: is not valid YAML: '0x_' cannot be read as int"),
        ("a: !!bool maybe", "'maybe' cannot be read as bool"),
        ('a: "\\ud800"', "a lone surrogate"),
        ('"\\ud800": 1', "a lone surrogate"),
        ("a: !!binary aGk=", "binary has no place here"),
        ("? {a: b}\n: c", "a key is a list or a mapping"),
        ("a: &a [1]\nb: [*a, *b]", "is not valid YAML"),
        ("a: &a [*a]", "holds itself"),
        ("a: !!timestamp soon", "line 1: is not valid YAML: 'soon' cannot be read as timestamp"),
        (f"a: 0x{'f' * 5000}", "cannot be read as int"),
        ("a: {<<: 3}", "line 1: is not valid YAML: `<<` takes a mapping"),
        ("a: {<<: [{b: 1}, 3]}", "`<<` takes a mapping"),
        ("a: &a {<<: *a}", "holds itself"),
        ("a: &a {b: 1, b: 2}\nc: {<<: *a}", "line 1, a.b: is given twice"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(text, message):
    with pytest.raises(InvalidInput, match=message):
        parse_document(text, "s.yaml")


def test_anchors_that_hold_each_other_many_times_are_refused_at_once():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(InvalidInput, match="holds more than 100,000 values"):
        parse_document("\n".join(lines), "s.yaml")


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_a_document_or_a_mistake(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "s.yaml")
        path.write_bytes(content)
        try:
            document = read_document(path)
        except InvalidInput:
            return
    json.dumps(document.tree)
    str(document.tree).encode()


YAML_LIKE = st.text("abz019 .:-_[]{}#&*!?|>%@\"'\\\n\t~=<e+x", max_size=40)


@given(YAML_LIKE)
def test_a_value_of_an_option_is_a_value_or_a_mistake_and_a_document_is_written_back(text):
    try:
        value = parse_value(text)
    except yaml.YAMLError:
        return
    assert repr(parse_value(write_document(value))) == repr(value)  # NaN is not equal to itself


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *(("010", 10), ("0008", 8), ("0x10", 16), ("0o10", 8), ("1_000", 1000), ("-07", -7)),
        *(("1:20", "1:20"), ("0b11", "0b11"), ("1e3", 1000.0), ("16.", 16.0), ("+3", 3)),
    ],
)
def test_numbers_are_those_of_yaml_1_2(written, value):
    """And not eight, eighty and three."""
    read = parse_document(f"a: {written}", "s.yaml").tree["a"]
    assert (read, type(read)) == (value, type(value))
    assert parse_document(write_document({"a": written}), "s.yaml").tree == {"a": written}

"""What a Python function is given is held against its annotations before it does anything."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
import typing
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import gansearch
from gansearch import api
from gansearch.errors import GansearchError, InvalidCall, UserError
from gansearch.tuning import where
from gansearch.tuning.where import OPTIONS, Where

FUNCTIONS = [name for name in api.__all__ if inspect.isfunction(getattr(api, name))]


def test_these_are_all_that_a_notebook_calls():
    assert len(FUNCTIONS) > 25
    classes = {"Study", "StudyResult", "Where"}
    assert set(gansearch.__all__) - set(FUNCTIONS) == classes


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_arguments_of_no_type_that_it_takes_are_told_at_once(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function = getattr(api, name)
    wrong, told, args, kwargs = object(), [], [], {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            kind = parameter.annotation.removeprefix("Unpack[").removesuffix("]")
            known = getattr(where, kind).__optional_keys__
            kwargs |= dict.fromkeys(known, wrong)
            told += known
        elif parameter.kind is parameter.KEYWORD_ONLY:
            kwargs[parameter.name] = wrong
            told.append(parameter.name)
        else:
            args.append(wrong)
            told.append(parameter.name)
    with pytest.raises(InvalidCall) as error:
        function(*args, **kwargs)
    lines = str(error.value).splitlines()
    assert lines[0] == f"{name}(): {len(told)} mistake{'s' * (len(told) > 1)}"
    assert {line.strip().partition(":")[0] for line in lines[1:]} == set(told)
    assert all(" must be " in line and ", not <object object at" in line for line in lines[1:])
    assert not list(tmp_path.iterdir())


def test_the_message_says_what_the_function_takes():
    with pytest.raises(InvalidCall) as error:
        gansearch.run("study.yaml", trials="5", where="runs", nice=1.0, modules="losses.py")
    assert str(error.value).splitlines() == [
        "run(): 4 mistakes",
        "  trials: must be an integer, not '5'",
        "  where: must be a Where, not 'runs'",
        "  modules: must be a list, not 'losses.py'",
        "  nice: must be an integer, not 1.0",
    ]
    assert isinstance(error.value, UserError)
    assert isinstance(error.value, TypeError)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: api.load_study("s.yaml", overrides=["x"]), "overrides: must be a mapping, not ['x']"),
        (lambda: api.load_study("s.yaml", overrides={1: 2}), "overrides[1]: must be a text, not 1"),
        (lambda: api.load_study(None), "path: must be a text or a Path, not None"),
        (lambda: api.load_study("s.yaml", data=b"d"), "data: must be a text or a Path, not b'd'"),
        (lambda: api.check(3), "study: must be a Study, a text or a Path, not 3"),
        (
            lambda: api.status(3),
            "name: must be a text, a Path, a UPath, a StoredStudy or an Evidence",
        ),
        (lambda: api.compare("a", "b", 3), "names: must be a text, a Path, a UPath or a Stored"),
        (lambda: api.stability("s", 3), "what: must be a text, a Path or a UPath, not 3"),
        (lambda: api.stability("s", per=3), "per: must be 'study' or 'loss', not 3"),
        (lambda: api.stability("s", axes="lr"), "axes: must be a list, not 'lr'"),
        (lambda: api.stability("s", seeds=True), "seeds: must be an integer, not True"),
        (lambda: api.stability("s", default=1), "default: must be True or False, not 1"),
        (lambda: api.stability("s", of=1.5), "of: must be a text or an integer, not 1.5"),
        (lambda: api.replay("s", samplers=[3]), "samplers[0]: must be a text or a mapping, not 3"),
        (lambda: api.replay("s", note=3), "note: must be a function, not 3"),
        (lambda: api.ui(port="80"), "port: must be an integer, not '80'"),
        (lambda: api.report("s", threshold="1"), "threshold: must be a number, not '1'"),
        (lambda: api.trials(pd.DataFrame()), "not a DataFrame"),
        (lambda: api.status("s", storage=["postgresql://me:hidden@h/d"]), "not ['postgresql://h/d']"),
        (lambda: Where(concurrency="2"), "concurrency: must be an integer, not '2'"),
        (lambda: Where(runs_dir=3), "runs_dir: must be a text, a Path or a UPath, not 3"),
        (lambda: Where(trainer=3), "trainer: must be a text, not 3"),
        (lambda: Where().but(modules="a.py"), "modules: must be a list, not 'a.py'"),
    ],
)
def test_each_argument_in_words(call, line):
    with pytest.raises(InvalidCall) as error:
        call()
    assert line in str(error.value)
    assert "mistake" in str(error.value).splitlines()[0]


def test_what_is_as_good_is_taken_as_before(tmp_path):
    """Numbers of a table, paths as text, any mapping; and each arrives as it was given."""
    given = np.int64(3)

    @gansearch.api.reading.checked
    def function(*names: str | Path, number: int, share: float = 1, some: typing.Any = None) -> object:
        return number

    assert function("a", Path("b"), number=given, share=np.float32(0.5)) is given
    taken = [
        lambda: api.trial_log(tmp_path / "none", given),
        lambda: api.load_study(str(tmp_path / "none.yaml"), overrides=OrderedDict()),
        lambda: api.stability("none", around=1, of=given, axes=("a",), runs_dir=tmp_path),
        lambda: api.find("none", where=Where(runs_dir=str(tmp_path)), runs_dir=tmp_path),
    ]
    for call in taken:
        with pytest.raises(GansearchError) as error:
            call()
        assert not isinstance(error.value, InvalidCall)


def test_a_place_in_an_object_store_is_taken():
    upath = pytest.importorskip("upath")
    assert str(Where(runs_dir=upath.UPath("memory://bucket/runs")).runs_dir) == "memory://bucket/runs"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_shows_the_function_itself(name):
    function = getattr(api, name)
    plain = inspect.unwrap(function)
    assert plain is not function, "is not checked"
    assert inspect.signature(function) == inspect.signature(plain)
    assert pydoc.render_doc(function) == pydoc.render_doc(plain)


def test_too_few_arguments_are_python_s_to_tell():
    with pytest.raises(TypeError, match=r"export\(\) missing 1 required positional argument: 'out'"):
        api.export("s")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_unknown_keyword_is_told_with_the_function_and_what_it_takes(name):
    with pytest.raises(InvalidCall, match=rf"^{name}\(\): 1 mistake\n  zzz: is an unexpected keyword"):
        getattr(api, name)(zzz=3)


def test_the_nearest_keyword_is_told_beside_the_other_mistakes():
    with pytest.raises(InvalidCall) as error:
        gansearch.run("study.yaml", concurency=2, trails=3, name=4)
    assert str(error.value).splitlines() == [
        "run(): 3 mistakes",
        "  concurency: is an unexpected keyword argument (did you mean 'concurrency'?)",
        "  trails: is an unexpected keyword argument (did you mean 'trials'?)",
        "  name: must be a text, not 4",
    ]


def test_training_alone_loads_no_more_than_before():
    code = (
        "import sys, gansearch, gansearch.errors\n"
        "try: gansearch.train('none.yaml', 'out')\n"
        "except gansearch.errors.UserError: pass\n"
        "print(sorted({'ray', 'optuna', 'mlflow', 'upath'} & sys.modules.keys()))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.strip() == "[]"


def test_all_fields_of_a_where_are_checked():
    for name in [*OPTIONS, "trainer"]:
        with pytest.raises(InvalidCall, match=rf"Where\(\): 1 mistake\n  {name}: must be"):
            Where(**{name: object()})
    with suppress(UserError):
        Where(modules=[Path("none.py")])

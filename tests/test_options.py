"""The options of `Where` on every command, and its fields as the keywords of every function."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

import gansearch
from gansearch import api, cli
from gansearch.errors import UserError
from gansearch.tuning.where import OPTIONS, RUNS, Where, WhereOptions, combined

COMMANDS = typer.main.get_command(cli.app).commands

TAKEN = {
    "check": {"data", "inception", "runs_dir", "storage", "tracking", "modules"},
    "parts": set(),
    "run": OPTIONS.keys(),
    "submit": OPTIONS.keys() - {"nice"},  # a local Ray's
    "logs": {"runs_dir"},
    "resume": OPTIONS.keys(),
    "stability": OPTIONS.keys(),
    "report": {"runs_dir", "storage", "tracking"},
    "compare": {"runs_dir", "storage"},
    "status": {"runs_dir", "storage"},
    "ui": {"runs_dir", "storage", "tracking"},
    "sync": {"runs_dir", "storage", "tracking"},
    "export": {"runs_dir", "storage"},
    "repair": {"runs_dir"},
    "train": {"data", "inception"},
    "sample": set(),
}
"""What each command takes of a place."""

OWN_ADDRESS = {"submit", "logs", "status"}
"""Commands whose --address is that of a dashboard."""


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_an_option_as_every_other_one_does(name):
    shown = {option.name: option for option in COMMANDS[name].params}
    apart = {"address"} if name in OWN_ADDRESS else set()
    taken = (shown.keys() & OPTIONS.keys()) - apart
    assert taken == TAKEN.get(name, taken) - apart
    for field in taken:
        option, declared = shown[field], OPTIONS[field]
        assert option.opts == [f"--{declared.flag}"]
        if name == "submit":
            assert option.envvar is None, "this machine's environment says nothing of the cluster"
            assert option.default in (None, []), "what is not said, the head's environment says"
        else:
            assert option.help == declared.help
            assert option.envvar == declared.env
            assert option.default in (declared.default, [])


def test_every_command_that_trains_takes_all_of_them():
    assert TAKEN.keys() <= COMMANDS.keys()
    for name in ("run", "resume", "stability"):
        assert OPTIONS.keys() <= {option.name for option in COMMANDS[name].params}, name


def test_the_keywords_of_a_notebook_are_the_fields():
    assert WhereOptions.__optional_keys__ == OPTIONS.keys()


@pytest.mark.parametrize("name", [*gansearch.__all__, "facts", "remote", "repair", "submit_resume"])
def test_every_function_takes_a_where_with_its_keywords(name):
    function = getattr(api, name)
    kinds = {p.kind for p in inspect.signature(function).parameters.values()}
    takes_keywords = inspect.Parameter.VAR_KEYWORD in kinds
    assert takes_keywords == ("where" in inspect.signature(function).parameters)


def test_keywords_take_the_place_of_an_object_s_fields(tmp_path):
    where = combined(Where(runs_dir="there", concurrency=2), {"runs_dir": tmp_path})
    assert (where.runs, where.concurrency) == (tmp_path, 2)
    assert Where().runs == Path(RUNS)


def test_the_data_folder_of_a_where_is_read_from(tmp_path, monkeypatch):
    """By `load_study` and `check`, too, which took it for granted that it was said by itself."""
    (tmp_path / "there").mkdir()
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    np.save(tmp_path / "there" / "cells.npy", images)
    network = "{name: mlp, depth: 1, width: 8}"
    (tmp_path / "study.yaml").write_text(
        "data: {name: image-array, path: cells.npy}\n"
        f"generator: {network}\ndiscriminator: {network}\nbatch_size: 8\n"
        "evaluation: {metrics: [fd_raw], samples: 20}\nobjective: {metric: fd_raw}\n"
    )
    monkeypatch.chdir(tmp_path)
    where = Where(data=tmp_path / "there")
    assert gansearch.load_study("study.yaml", where=where).data.shape == (1, 8, 8)
    assert gansearch.check("study.yaml", where=where) == 1
    with pytest.raises(UserError, match="there is no file"):
        gansearch.load_study("study.yaml", where=where, data=tmp_path)


def test_what_a_where_cannot_be(tmp_path):
    with pytest.raises(UserError, match="concurrency must be at least 1, not 0"):
        Where(concurrency=0)
    with pytest.raises(UserError, match="nice must lie between 0 and 19, not 20"):
        Where(nice=20)
    with pytest.raises(UserError, match="neither the folder of a package"):
        Where(modules=(tmp_path / "none.py",))
    with pytest.raises(TypeError, match="concurency: is an unexpected keyword argument"):
        gansearch.run("study.yaml", concurency=2)
    with pytest.raises(TypeError, match="concurrency: is an unexpected keyword argument"):
        gansearch.status("study", concurrency=2)


def test_a_module_is_said_to_stability(tmp_path, monkeypatch):
    (tmp_path / "mine.py").touch()
    monkeypatch.setattr("sys.path", [*sys.path])  # to which the command adds
    seen = []

    def stability(*what, where, **_):
        seen.append(where)
        raise UserError("enough")

    monkeypatch.setattr(cli.api, "stability", stability)
    with pytest.raises(UserError, match="enough"):
        cli.app(["stability", "s", "--module", str(tmp_path / "mine.py")], standalone_mode=False)
    assert seen[0].modules == (tmp_path / "mine.py",)

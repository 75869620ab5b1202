"""Where studies live, and who holds them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gansearch.errors import StudyError
from gansearch.journal.directory import StudyDirectory


def make(runs_dir, name):
    (runs_dir / name).mkdir(parents=True)
    (runs_dir / name / "study.yaml").write_text("question: x\n")
    return StudyDirectory(runs_dir / name)


def test_a_new_study_takes_the_first_free_number(tmp_path):
    assert StudyDirectory.new(None, "my study!", tmp_path).name == "my-study"
    make(tmp_path, "my-study")
    make(tmp_path, "my-study-2")
    assert StudyDirectory.new(None, "my study!", tmp_path).name == "my-study-3"
    assert StudyDirectory.new(None, "...", tmp_path).name == "study"
    assert not (tmp_path / "my-study-3").exists(), "nothing is created"


@pytest.mark.parametrize(
    ("stem", "name"), [("_draft", "draft"), (".hidden_", "hidden_"), ("x" * 120, "x" * 90)]
)
def test_any_file_s_stem_makes_a_name(tmp_path, stem, name):
    assert StudyDirectory.new(None, stem, tmp_path).name == name
    make(tmp_path, name)
    assert StudyDirectory.new(None, stem, tmp_path).name == f"{name}-2"


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/b", ".hidden", "-x", "", "a b", "x\n", "ü", "a" * 101]
)
def test_a_name_cannot_lead_out_of_the_runs(tmp_path, name):
    with pytest.raises(StudyError, match="cannot be a study's name"):
        StudyDirectory.new(name, "s", tmp_path)


def test_a_link_to_nowhere_cannot_lead_out_of_the_runs(tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "study").symlink_to(tmp_path / "elsewhere")  # where a study would be made
    with pytest.raises(StudyError, match="exists already"):
        StudyDirectory.new("study", "", runs)


def test_a_taken_name_says_how_to_go_on(tmp_path):
    make(tmp_path, "x")
    with pytest.raises(StudyError, match=r"exists already: go on with it by `gansearch resume /\S+/x`"):
        StudyDirectory.new("x", "s", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="exists already"):
        StudyDirectory.new("file", "s", tmp_path)


def test_a_study_is_found_by_name_and_by_path(tmp_path, monkeypatch):
    made = make(tmp_path, "x")
    monkeypatch.chdir(tmp_path)
    for name, runs in (
        ("x", tmp_path),
        (str(tmp_path / "x"), tmp_path / "no"),
        ("./x", tmp_path / "no"),
    ):
        assert StudyDirectory.find(name, runs).path == made.path.resolve()
        assert StudyDirectory.find(f"{name}/", runs).path == made.path.resolve()
    monkeypatch.chdir("/")  # a name as a shell in the runs directory completes it
    assert StudyDirectory.find("x/", tmp_path).path == made.path.resolve()
    with pytest.raises(StudyError, match=r"no study 'y' in .* \(there are: x\)"):
        StudyDirectory.find("y", tmp_path)
    make(tmp_path, "digits")
    with pytest.raises(StudyError, match=r"did you mean 'digits'"):
        StudyDirectory.find("digit", tmp_path)


def test_the_newest(tmp_path):
    with pytest.raises(StudyError, match="there is no study in"):
        StudyDirectory.newest(tmp_path)
    for age, name in enumerate(("b", "c", "a")):
        os.utime(make(tmp_path, name).study_file, (age, age))
    assert StudyDirectory.newest(tmp_path).name == "a"


@pytest.mark.parametrize("name", ["mlflow.db", "MLflow.db", "mlartifacts", "mlflow.db-wal"])
def test_names_that_are_mlflow_s_are_refused(tmp_path, name):
    with pytest.raises(StudyError, match="MLflow keeps its records under it"):
        StudyDirectory.new(name, "x", tmp_path)
    assert StudyDirectory.new(None, name, tmp_path).name == f"{name}-2"


def test_of_two_launches_at_one_moment_the_second_takes_the_next_number(tmp_path):
    with StudyDirectory.launching(None, "a", tmp_path) as first:
        with StudyDirectory.launching(None, "a", tmp_path) as second:
            assert (first.name, second.name) == ("a", "a-2")
        with (
            pytest.raises(StudyError, match=r"is being launched .* take another --name"),
            StudyDirectory.launching("a", "a", tmp_path),
        ):
            pass
        assert not list(tmp_path.iterdir()), "nothing is created"
        first.path.mkdir()
    with StudyDirectory.launching(None, "a", tmp_path) as third:
        assert third.name == "a-2"


def test_a_claim_ends_with_its_process(tmp_path):
    code = (
        "import sys; from pathlib import Path; from gansearch.journal.directory import StudyDirectory\n"
        "with StudyDirectory.launching(None, 'a', Path(sys.argv[1])): print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline()
        with StudyDirectory.launching(None, "a", tmp_path) as mine:
            assert mine.name == "a-2"
        other.kill()
    with StudyDirectory.launching(None, "a", tmp_path) as mine:
        assert mine.name == "a"

"""Commands that are told to go on with: they say again what was said, and nothing else."""

from __future__ import annotations

import pytest

from gansearch.journal.directory import StudyDirectory
from gansearch.journal.stored import StoredStudy
from gansearch.tuning.going_on import TRAINING, resume_command, sync_command
from gansearch.tuning.where import OPTIONS, Where


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for option in OPTIONS.values():
        if name := option.env or option.secret:
            monkeypatch.delenv(name, raising=False)
    return StoredStudy(StudyDirectory(tmp_path / "runs" / "s"))


def test_what_was_said_is_said_again(study):
    where = Where(
        address="auto",
        concurrency=3,
        nice=5,
        data="my data",
        inception="inception.pth",
        tracking="http://team:5000",
    )
    assert resume_command(study, where) == (
        "gansearch resume s --address auto --concurrency 3 --nice 5 --data 'my data' "
        "--inception inception.pth --tracking http://team:5000"
    )
    assert sync_command(study, where) == "gansearch sync s --tracking http://team:5000"


def test_what_was_not_said_is_not_said(study):
    assert resume_command(study, Where()) == "gansearch resume s"
    assert sync_command(study, Where()) == "gansearch sync s"


def test_what_the_environment_says_by_itself_and_what_it_alone_should_is_not_said(study, monkeypatch):
    monkeypatch.setenv("GANSEARCH_DATA", "/data")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://team:5000")
    assert resume_command(study, Where(data="/data", tracking="http://team:5000")) == (
        "gansearch resume s"
    )
    assert resume_command(study, Where(data="/others")) == "gansearch resume s --data /others"
    assert sync_command(study, Where(tracking="http://me:secret@team:5000")) == "gansearch sync s"


def test_an_option_that_comes_is_said_again_or_left_out_on_purpose():
    of_its_name, kept_with_it = {"runs_dir", "storage"}, {"modules"}
    assert set(TRAINING) == set(OPTIONS) - of_its_name - kept_with_it

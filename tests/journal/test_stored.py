"""A study found once: its directory, and the storage that holds its journals."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import gansearch
from gansearch.errors import StudyError
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.journal.shape import asked
from gansearch.journal.stored import StoredStudy
from gansearch.study.roster import Roster

FACTS = {"metric": "fd", "goal": "min", "steps": 30, "trials": 4, "report_every": 10, "digest": "abc"}
FACTS |= {"question": "", "study": "question: ''\nstability: {seeds: 3}", "id": "0"}


@pytest.fixture
def study(tmp_path):
    """A study without trials, with a stability study."""
    directory = StudyDirectory(tmp_path / "runs" / "s")
    directory.path.mkdir(parents=True)
    directory.study_file.write_text(FACTS["study"])
    found = StoredStudy(directory)
    search = found.create(FACTS, directory.path)
    found.create_stability(search, Roster(), {})
    return found


def test_a_study_is_found_with_its_storage(study, tmp_path, monkeypatch):
    team, said = "postgresql://db/team", "postgresql://db/said"
    monkeypatch.setenv("GANSEARCH_STORAGE", team)
    runs = tmp_path / "runs"
    assert StoredStudy.find("s", runs) == study, "its journal file holds it"
    assert StoredStudy.find("s", runs, said).storage == said
    assert StoredStudy.find(None, runs) == study, "the newest"
    (study.directory.path / "journal.log").unlink()
    assert StoredStudy.find("s", runs).storage == team
    assert StoredStudy.find("s", runs, said).storage == said
    assert StoredStudy.planned(None, "stem", runs).storage == team
    assert StoredStudy.planned(None, "stem", runs, said) == StoredStudy(
        StudyDirectory(runs / "stem"), said
    )
    assert StoredStudy.planned("named", "stem", runs).name == "named"
    with StoredStudy.launching("t", "", runs) as new:
        assert new.storage == team
    with StoredStudy.launching("t", "", runs, said) as new:
        assert new.storage == said
    monkeypatch.setenv("GANSEARCH_STORAGE", "")
    assert StoredStudy.find("s", runs).storage is None
    monkeypatch.delenv("GANSEARCH_STORAGE")
    assert StoredStudy.find("s", runs).storage is None
    with pytest.raises(StudyError, match="there is no study 'x'"):
        StoredStudy.find("x", runs)


@pytest.mark.parametrize("meant", [None, "GANSEARCH_RUNS"])
def test_a_command_that_is_told_finds_its_study(study, tmp_path, monkeypatch, meant):
    """By its name alone where it would be looked for there, else with all that leads to it."""
    there = str(study.directory.path)
    assert study.called == study.directory.called == there
    team, secret = "postgresql://db/a b", "postgresql://me:secret@db/b"
    assert replace(study, storage=team).called == f"{there} --storage '{team}'"
    assert replace(study, storage=secret).called == there
    monkeypatch.setenv("GANSEARCH_STORAGE", team)
    assert replace(study, storage=team).called == there
    if meant:
        monkeypatch.setenv(meant, str(tmp_path / "runs"))
    else:
        monkeypatch.chdir(tmp_path)
    assert study.called == "s"
    monkeypatch.setenv("GANSEARCH_RUNS", str(tmp_path / "others"))
    assert study.called == there


def test_only_a_database_is_asked_whether_it_has_the_name(study):
    study.check_unused()
    assert (study.directory.path / "journal.log").exists()


def test_who_writes_mends_what_a_killed_writer_left(study):
    opens = {
        study.directory.path: study.journal,
        study.directory.stability.path: partial(study.stability, study.journal()),
    }
    for folder, journal in opens.items():
        file = folder / "journal.log"
        whole = file.read_bytes()
        file.write_bytes(whole + b'{"half')
        journal()
        assert file.read_bytes() != whole
        journal(writer=True)
        assert file.read_bytes() == whole


def test_what_a_trial_printed_is_found_or_the_other_part_that_has_its_number(study):
    search, seeds = study.directory.trial(1), study.directory.stability.trial(2)
    for folder in (search, seeds):
        folder.mkdir(parents=True)
    (search / "log.txt").write_bytes(b"printed \xff\n")
    (search / "error.txt").write_bytes(b"ValueError\n")
    assert study.trial_log(1) == "printed \ufffd\nValueError\n"
    assert study.trial_log(2, seeds=True) == ""
    for number, where, mend in (
        (1, {"seeds": True}, r": one of the search has that number \(without --seeds\)$"),
        (2, {}, r": one of the stability study has that number \(with --seeds\)$"),
        (7, {}, rf"there is nothing of trial 7 in {study.directory.path}$"),
    ):
        with pytest.raises(StudyError, match=mend):
            study.trial_log(number, **where)


HOLD = """
import sys, pathlib
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.stored import StoredStudy
with StoredStudy(StudyDirectory(pathlib.Path(sys.argv[1]))).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_process_holds_a_study_and_its_death_lets_go(study):
    assert not study.is_held
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(study.directory.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert study.is_held
        with pytest.raises(StudyError, match="is being run by another process"), study.held():
            pass
        with pytest.raises(StudyError, match="is being run by another process"):
            study.check_free()
        holder.kill()
        holder.wait()
    assert not study.is_held
    with study.held():
        pass
    assert not study.is_held
    study.check_free()


def test_its_text_is_parsed_once(study, monkeypatch):
    asked.cache_clear()
    parsed = []
    parse = gansearch.journal.shape.parse_document
    monkeypatch.setattr(
        "gansearch.journal.shape.parse_document", lambda *a: parsed.append(a) or parse(*a)
    )
    journal = study.journal()
    assert journal.wants_stability
    assert journal.asked == {"question": "", "stability": {"seeds": 3}}
    assert len(parsed) == 1


@pytest.mark.parametrize("words", [["status", "s"], ["status", "s", "--json"]])
def test_a_look_at_a_study_opens_each_of_its_journals_once(study, words, monkeypatch):
    from gansearch import cli

    opened, searched = [], []
    opens, finds = Journal.open, StudyDirectory.find
    monkeypatch.setattr(
        Journal, "open", lambda folder, *a, **o: opened.append(folder) or opens(folder, *a, **o)
    )
    monkeypatch.setattr(StudyDirectory, "find", lambda *a: searched.append(a) or finds(*a))
    monkeypatch.chdir(Path(study.runs_dir).parent)
    cli.app(words, standalone_mode=False)
    assert opened == [study.directory.path, study.directory.stability.path]
    assert len(searched) == 1


def test_a_study_that_was_found_is_not_looked_for_again(study):
    found = gansearch.find("s", runs_dir=study.runs_dir)
    assert gansearch.find(found) is found
    evidence = gansearch.evidence(found)
    assert gansearch.evidence(evidence) is evidence
    assert gansearch.status(evidence) == gansearch.status(found)

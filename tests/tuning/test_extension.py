"""A search asked for more trials: what may change after a launch, and a driver killed in between."""

import pytest

from gansearch.api import submit_resume
from gansearch.errors import Interrupted, StudyError, UserError
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.study.document import read_document
from gansearch.study.roster import Candidate, Roster
from gansearch.tuning.creation import create
from gansearch.tuning.extension import More, catch_up, extend, hold, wanted
from gansearch.tuning.leaving import interrupted_in_words
from gansearch.tuning.unchanged import check_unchanged
from gansearch.tuning.where import Where


@pytest.fixture
def study(tmp_path, spec):
    directory = StudyDirectory(tmp_path / "runs" / "study")
    create(spec(), StoredStudy(directory), None)
    return directory


def opened(directory):
    return Journal.open(directory.path, directory.name, writer=True)


def asked(directory):
    return read_document(directory.study_file).tree["search"]["trials"]


def test_file_and_journal_say_what_was_asked_for(study, spec):
    extend(study, opened(study), More(12))
    journal = opened(study)
    assert journal.planned == asked(study) == 12
    longer = spec("search: {trials: 12}")
    assert journal.facts["digest"] == longer.digest
    assert study.study_file.read_text() == journal.facts["study"] == longer.to_yaml()


def test_as_many_as_there_are_changes_nothing_and_fewer_are_refused(study):
    before = (study.path / "journal.log").read_bytes()
    extend(study, opened(study), More(8))
    with pytest.raises(StudyError, match="has 8 trials: --trials says how many in all, so at least 8"):
        extend(study, opened(study), More(7))
    assert (study.path / "journal.log").read_bytes() == before


def resources(directory):
    return read_document(directory.study_file).tree["resources"]


def test_resources_may_change_at_any_time_and_nothing_else_does(study, spec):
    hold(study, opened(study), {"gpus": 0.5, "lanes": 4})
    wanted = spec("resources: {gpus: 0.5, lanes: 4}")
    assert resources(study) == wanted.tree()["resources"]
    journal = opened(study)
    assert journal.facts["study"] == study.study_file.read_text() == wanted.to_yaml()
    assert (journal.planned, asked(study), journal.facts["digest"]) == (8, 8, spec().digest)
    check_unchanged(StoredStudy(study), journal)
    before = (study.path / "journal.log").read_bytes()
    hold(study, opened(study), {"lanes": 4})
    assert (study.path / "journal.log").read_bytes() == before


@pytest.mark.parametrize("who", ["file", "journal"])
def test_where_one_of_the_two_says_it_the_other_is_brought_up(study, who):
    old = study.study_file.read_text()
    hold(study, opened(study), {"gpus": 0.5})
    if who == "journal":  # an older file has been put back
        study.study_file.write_text(old)
    else:  # a driver was killed between the two
        opened(study).set_facts({"study": old})
    hold(study, opened(study), {"gpus": 0.5})
    assert opened(study).facts["study"] == study.study_file.read_text()
    assert resources(study)["gpus"] == 0.5


def test_what_somebody_has_written_there_stays_as_it_is_written(study):
    now = "# mine\n" + study.study_file.read_text().replace("cpus: 1", "cpus: 3")
    study.study_file.write_text(now)
    hold(study, opened(study), {})
    assert study.study_file.read_text() == now
    assert "cpus: 3" in opened(study).facts["study"]


def test_and_where_more_trials_are_asked_for_also_by_a_driver_that_is_killed(study):
    before = study.study_file.read_text().replace("cpus: 1", "cpus: 3")
    study.study_file.write_text(before)
    extend(study, opened(study), More(12))
    assert (asked(study), resources(study)["cpus"]) == (12, 3)
    study.study_file.write_text(before.replace("cpus: 3", "cpus: 5"))
    catch_up(StoredStudy(study), opened(study))
    assert (asked(study), resources(study)["cpus"]) == (12, 5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"gpu": 1, "lanes": 0}, "resources.lanes: .*; resources.gpu: "),
        ({"gpus": -1}, "resources.gpus: "),
        ({"gpus": 1.5}, "shares are of one GPU"),
    ],
)
def test_resources_that_there_are_not_are_refused(wrong, words):
    for refused in (lambda: More(resources=wrong), lambda: submit_resume("s", "h:1", resources=wrong)):
        with pytest.raises(UserError, match=words):
            refused()


HOURS = "search: {trials: 8, budget: {device_hours: 1}}"


@pytest.mark.parametrize(
    "more",
    [
        *(More(trials) for trials in (0, -1, 10**10, 10**30)),
        *(More(None, hours) for hours in (0.0, -1.0, float("nan"), float("inf"))),
    ],
)
def test_what_could_not_be_read_again_is_refused_and_nothing_written(tmp_path, spec, more):
    directory = StudyDirectory(tmp_path / "runs" / "study")
    create(spec(HOURS), StoredStudy(directory), None)
    files = [directory.path / "journal.log", directory.study_file]
    before = [file.read_bytes() for file in files]
    with pytest.raises(StudyError):
        extend(directory, opened(directory), more)
    assert [file.read_bytes() for file in files] == before
    with pytest.raises(UserError, match="at most 1,000,000,000"):
        spec(HOURS).with_trials(10**10)


def test_a_driver_killed_between_journal_and_file_is_caught_up_with(study):
    before = study.study_file.read_text()
    extend(study, opened(study), More(12))
    study.study_file.write_text(before)
    catch_up(StoredStudy(study), opened(study))
    assert asked(study) == 12
    study.study_file.write_text(before.replace("batch_size: 16", "batch_size: 8"))
    catch_up(StoredStudy(study), opened(study))
    assert asked(study) == 8, "another change is the user's own, and refused elsewhere"


def test_a_study_file_of_other_bytes_is_told(study):
    extend(study, opened(study), More(12))  # so that it is looked at, whether it is from before
    study.study_file.write_bytes(b"\xff\x00")
    with pytest.raises(UserError, match=rf"{study.study_file}: 1 mistake"):
        catch_up(StoredStudy(study), opened(study))
    study.study_file.write_text("search: {trials: 8}\nquestion: caf\u00e9", encoding="latin-1")
    with pytest.raises(StudyError, match="has changed since the study was launched"):
        check_unchanged(StoredStudy(study), opened(study))


@pytest.mark.parametrize("text", ["search: [", "- 1\n", "search: 1\nsearch: 2\n"])
def test_a_study_file_that_is_broken_is_told_with_its_folder_and_the_mend(study, text):
    study.study_file.write_text(text)
    words = rf"(?s){study.study_file}: 1 mistake.*or remove it: it is written anew from the journal"
    with pytest.raises(StudyError, match=words):
        check_unchanged(StoredStudy(study), opened(study))
    study.study_file.unlink()
    found = StudyDirectory.find(study.name, study.runs_dir)
    check_unchanged(StoredStudy(found), opened(found))


def test_only_what_no_number_depends_on_may_change():
    assert wanted({}) == More()
    assert wanted({"search.trials": 9, "search.budget.device_hours": 2}) == More(9, 2.0)
    assert wanted({"search.budget.trials": 9}) == More(9), "as a study file may say it"
    with pytest.raises(UserError, match=r"is search.trials, too, which is said already"):
        wanted({"search.budget.trials": 9, "search.trials": 9})
    with pytest.raises(
        UserError, match=r"--set budget\.steps: of a launched study only search\.trials"
    ):
        wanted({"search.trials": 9, "budget.steps": 3})
    for wrong in ("many", 0, -1, 2.5, True):
        with pytest.raises(UserError, match="whole number from 1 on"):
            wanted({"search.trials": wrong})
    for wrong in ("long", 0, -1, True):
        with pytest.raises(UserError, match="device_hours must be a number above 0"):
            wanted({"search.budget.device_hours": wrong})


def test_ctrl_c_says_what_goes_on_with_what_was_asked(study):
    """`resume` knows nothing of what a command asked to be trained again, and was stopped before."""
    stored, there = StoredStudy(study), Where(address="auto")

    def told(**asked):
        with pytest.raises(Interrupted) as caught, interrupted_in_words(stored, there, **asked):
            raise KeyboardInterrupt
        return str(caught.value)

    go_on = f"; go on with `gansearch resume {study.path} --address auto`"
    assert told().endswith(go_on)
    once_more = told(again=True)
    assert once_more.startswith("stopped with nothing half done: ")
    assert once_more.endswith("; ask for it once more")
    config = {"loss": {"name": "hinge"}}
    roster = Roster((Candidate("a", "given", config),), (("a", 1),))
    stored.create_stability(opened(study), roster, {})
    assert told(again=True).endswith(go_on)

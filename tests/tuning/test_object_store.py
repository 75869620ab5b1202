"""Studies in an object store: real drivers and workers, S3 as moto has it, databases that hold them."""

import os
import signal
import time

import pytest
from postgresql import PostgreSQL
from processes import finish
from processes import launch as start

import gansearch
from gansearch import files, tracking
from gansearch.errors import StudyError, UserError
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.metrics.reference import Reference
from gansearch.study.records import Outcome, Report
from gansearch.tracking.client import open_client
from gansearch.tuning.creation import create

STUDY = """
question: Does it survive, with nothing on a disk that is shared?
data: {name: digits}
generator: {name: mlp, depth: {int: [1, 2]}, width: 16}
discriminator: {name: mlp, depth: 1, width: 16}
loss: {choice: [hinge, non-saturating]}
optimizer:
  generator: {lr: {log: [1e-4, 1e-1]}}
  discriminator: {lr: {log: [1e-4, 1e-1]}}
batch_size: 32
budget: {steps: 900, report_every: 100}
evaluation: {samples: 100, metrics: [fd_classifier]}
search: {trials: 4, sampler: {name: tpe, startup_trials: 2}}
pruner: {name: asha, reduction_factor: 2, min_steps: 300}
keep: 2
"""


@pytest.fixture
def folder(tmp_path, monkeypatch, bucket):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    monkeypatch.setenv("GANSEARCH_STORAGE", f"sqlite:///{tmp_path}/team.db")
    return tmp_path


@pytest.fixture
def command_line():
    """Starts it as a process, which does not outlive the test."""
    started = []

    def begin(*arguments):
        started.append(start(*arguments))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def wait_for_reports(place, count, process, seconds=240):
    """Until a study's journal holds so many reports."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if len(gansearch.curves(place)) >= count:
                return
        except (StudyError, KeyError):
            pass  # not made yet
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def exact(place, **where):
    """All that a study found, but for what depends on the clock."""
    found = gansearch.status(place, **where)
    for trial in found["trials"]:
        for metrics in (trial["metrics"], trial["best"] and trial["best"]["metrics"]):
            (metrics or {}).pop("images_per_second", None)
        del trial["seconds"], trial["usage"], trial["mlflow_run_id"]
    return found["counts"], found["trials"]


@pytest.fixture(scope="module")
def left(object_store, tmp_path_factory):
    """A study of one trial in a store, as a driver would have left it; its place and its storage."""
    bucket = files.place("s3://left")
    bucket.mkdir()
    there, storage = bucket / "runs" / "ended", f"sqlite:///{tmp_path_factory.mktemp('left')}/team.db"
    files.write(there / "study.yaml", STUDY)
    facts = {"metric": "fd_classifier", "goal": "min", "steps": 900, "trials": 1, "digest": "abc"}
    facts |= {"question": "Does it end?", "study": STUDY, "id": "0", "report_every": 900}
    journal = Journal.create(there, "ended", facts, storage)
    journal.begin(0, {}, {}, {"loss": {"name": "hinge"}, "seed": 1})
    journal.report(0, Report(900, 9, 0.5, {"fd_classifier": 2.0}, 0.0))
    journal.end(journal.trials()[0], Outcome.COMPLETED)
    files.write(there / "trials" / "0000" / "log.txt", "a warning\n")
    files.write(bucket / "runs" / "litter" / "x.txt", "")
    return there, storage


@pytest.fixture
def ended(left, tmp_path, monkeypatch):
    there, storage = left
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    monkeypatch.setenv("GANSEARCH_STORAGE", storage)
    monkeypatch.setenv("GANSEARCH_RUNS", str(there.parent))
    return there


def test_what_is_asked_of_a_study_is_answered_from_the_store(ended, command):
    for name in ("ended", str(ended), f"{ended}/"):
        code, out, err = command("status", name)
        assert (code, err) == (0, "")
        assert "ended finished: 1 completed" in " ".join(out.split())
    assert command("logs", "ended", "--trial", "0") == (0, "a warning\n", "")
    assert list(gansearch.trials(ended)["outcome"]) == ["completed"]
    assert StudyDirectory.newest(ended.parent).path == ended


@pytest.mark.parametrize(
    ("args", "messages"),
    [
        (["run", "--name", "x"], ["cannot hold MLflow's database: say --tracking http://SERVER:5000"]),
        (
            ["run", "--name", "x", "--storage", "mysql+pymysql://host/x"],
            [
                "needs the Python package pymysql, which is not installed",
                "cannot hold MLflow's database",
            ],
        ),
        (["run", "--name", "../x"], ["'../x' cannot be a study's name"]),
        (["run", "--name", "s3://x"], ["'s3://x' cannot be a study's name"]),
        (
            ["run", "--name", "ended"],
            ["ended exists already: go on with it by"],
        ),
        (["run", "--name", "litter"], ["litter exists already, and is no study: take"]),
        (["run", "--runs-dir", "s3://no-such-bucket/runs"], ["The specified bucket does not exist"]),
        (["run", "--runs-dir", "s3://k:secret@b/runs"], ["must hold no key, secret or token"]),
        (["run", "--runs-dir", "s3://b/../runs"], ["is no place in an object store"]),
        (["resume", "endet", "--tracking", "off"], ["no study 'endet'", "did you mean 'ended'?"]),
        (["resume", "../runs/ended"], ["there is no study '../runs/ended'"]),
        (["resume", "ended"], ["cannot hold MLflow's database: say --tracking http://SERVER:5000"]),
        (["sync", "ended"], ["cannot hold MLflow's database: say --tracking http://SERVER:5000"]),
        (["ui", "ended"], ["cannot hold MLflow's database: say --tracking http://SERVER:5000"]),
        (["stability", "ended"], ["cannot hold MLflow's database: say --tracking http://SERVER:5000"]),
        (["logs", "ended", "--trial", "7"], ["there is nothing of trial 7 in s3://"]),
        (["export", "ended", "--out", "s3://b/best"], ["cannot hold what is exported: say a path on"]),
        (["export", "ended", "--out", "best"], ["the weights of trial 0 were not kept"]),
    ],
)
def test_what_cannot_be_is_one_message_and_nothing_created(args, messages, ended, command, tmp_path):
    before = names("s3://left"), names(tmp_path)
    code, out, err = command(*([args[0], "study.yaml", *args[1:]] if args[0] == "run" else args))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    for message in messages:
        assert message in err
    assert "secret@" not in err
    assert (names("s3://left"), names(tmp_path)) == before


def test_without_a_database_both_that_it_lacks_are_said_at_once(folder, bucket, command, monkeypatch):
    monkeypatch.delenv("GANSEARCH_STORAGE")
    code, out, err = command("run", "study.yaml", "--runs-dir", f"{bucket}/runs")
    assert (code, out) == (2, "")
    assert "cannot hold a journal file: say --storage postgresql://HOST/DATABASE" in err
    assert "cannot hold MLflow's database: say --tracking http://SERVER:5000" in err
    assert names(bucket) == []


def test_a_name_that_the_database_has_is_told_before_anything_is_measured(folder, spec, command):
    storage = f"sqlite:///{folder}/team.db"
    theirs = StoredStudy(StudyDirectory(files.place(str(folder / "theirs" / "taken"))), storage)
    theirs.directory.path.parent.mkdir()
    create(spec(), theirs, Reference((), (1, 8, 8), {}, {}, {}))
    known = ("--storage", storage, "--tracking", "off")
    code, out, err = command("run", "study.yaml", "--name", "taken", *known)
    assert (code, out) == (2, "")
    assert "the storage already has a study named 'taken': resume it, or take another --name" in err
    assert "measuring" not in err
    assert not (folder / "runs" / "taken").exists()


def test_a_study_that_cannot_be_made_leaves_nothing(spec, bucket, tmp_path, monkeypatch):
    storage = f"sqlite:///{tmp_path}/team.db"
    study = StoredStudy(StudyDirectory(files.place(f"{bucket}/runs/x")), storage)
    reference = Reference((), (1, 8, 8), {}, {}, {})
    genuine = files.write

    def refuse(path, content):
        if path.name == "study.yaml":
            raise OSError("no")
        genuine(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write", refuse)
        with pytest.raises(UserError, match=r"cannot use s3://.*: OSError: no"):
            create(spec(), study, reference)
    assert names(bucket) == []
    create(spec(), study, reference)
    assert names(bucket) == ["runs/x/reference.safetensors", "runs/x/study.yaml"]
    with pytest.raises(StudyError, match="exists already"):  # by a driver that was as quick
        create(spec(), study, reference)
    elsewhere = StoredStudy(StudyDirectory(files.place(f"{bucket}/other/x")), storage)
    with pytest.raises(StudyError, match="the storage already has a study named 'x'"):
        create(spec(), elsewhere, reference)
    assert names(bucket) == ["runs/x/reference.safetensors", "runs/x/study.yaml"]


def names(place):
    """The names of all files below a place."""
    root = files.place(place)
    start = len(str(root).rstrip("/")) + 1
    return sorted(str(path)[start:] for path in root.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_study_in_a_store_is_the_one_on_a_disk_also_when_its_driver_is_killed(
    folder, bucket, command_line
):
    storage, there = os.environ.pop("GANSEARCH_STORAGE"), f"{bucket}/runs/one"
    assert gansearch.run("study.yaml", name="one", tracking="off", concurrency=1).finished

    os.environ["GANSEARCH_STORAGE"] = storage
    alone = ("--runs-dir", f"{bucket}/runs", "--concurrency", "1", "--tracking", "off")
    process = command_line("run", "study.yaml", "--name", "one", *alone)
    wait_for_reports(there, 8, process)
    assert gansearch.status(there)["state"] == "running"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert gansearch.status(there)["state"] == "interrupted"
    result = gansearch.resume("one", runs_dir=f"{bucket}/runs", tracking="off", concurrency=1)
    assert result.finished
    assert str(result.directory) == there

    assert exact(there) == exact("one")
    gansearch.export("one", "disk")
    gansearch.export(there, "store")
    for name in ("generator.safetensors", "discriminator.safetensors", "samples.png", "config.yaml"):
        assert (folder / "disk" / name).read_bytes() == (folder / "store" / name).read_bytes(), name
    of_a_disk = {".lock", "journal.log"}
    assert set(names(there)) == set(names(folder / "runs" / "one")) - of_a_disk
    assert files.read(files.place(f"{there}/trials.csv")).count(b"\n") == 5

    with (
        StoredStudy(StudyDirectory(files.place(there)), storage).held(),
        pytest.raises(StudyError, match="is being run by another process"),
    ):
        gansearch.resume(there, tracking="off")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_whole_study_with_nothing_on_a_disk(folder, bucket, tmp_path, monkeypatch, command_line):
    """PostgreSQL has its trials, MLflow's server its runs, the store all else; its driver is killed."""
    (folder / "study.yaml").write_text(STUDY + "stability: {top: 1, seeds: 3}\n")
    runs, artifacts = f"sqlite:///{tmp_path}/mlflow.db", (tmp_path / "artifacts").as_uri()
    with (
        PostgreSQL() as database,
        tracking.ui(runs, artifacts, port=0) as server,
    ):
        monkeypatch.setenv("GANSEARCH_STORAGE", database.url)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        monkeypatch.setenv("GANSEARCH_RUNS", f"{bucket}/runs")
        process = command_line("run", "study.yaml", "--name", "one")
        for count in (6, 18):
            wait_for_reports(f"{bucket}/runs/one", count, process)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            process = command_line("resume", "one")
        code, out, err = finish(process, timeout=600)
        assert code == 0, err
        found = gansearch.status(f"{bucket}/runs/one")
        assert found["state"] == "finished"
        assert found["stability"]["counts"] == {"completed": 6}
        assert all(trial["mlflow_run_id"] for trial in found["trials"])
        code, out, err = finish(command_line("report", "one"))
        assert (code, err) == (0, "")
        assert out == f"{bucket}/runs/one/report/report.html\n"
        gansearch.export("one", "best", runs_dir=f"{bucket}/runs")
        client = open_client(server.url)
        (study,) = client.search_runs(
            [client.get_experiment_by_name("one").experiment_id], "tags.`gansearch.identity` != ''"
        )
        logged = {file.path for file in client.list_artifacts(study.info.run_id, "report")}
        assert {"report/report.html", "report/trials.csv"} <= logged
        trial = found["best"]["mlflow_run_id"]
        assert client.list_artifacts(trial, "images"), "samples went from the store to the server"
    assert sorted(path.name for path in (folder / "best").iterdir())
    assert not (folder / "runs").exists()

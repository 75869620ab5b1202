"""Whole studies in a real PostgreSQL that is killed under them."""

import signal
import threading
import time

import pytest
from postgresql import PostgreSQL
from processes import finish, launch

import gansearch
from gansearch.journal.journal import Journal

STUDY = """
data: {name: digits}
generator: {name: mlp, depth: 1, width: 16}
discriminator: {name: mlp, depth: 1, width: 16}
loss: {choice: [hinge, non-saturating]}
optimizer: {generator: {lr: {log: [1e-4, 1e-1]}}}
batch_size: 32
budget: {steps: 900, report_every: 100}
evaluation: {samples: 100, metrics: [fd_classifier]}
search: {trials: 4, sampler: {name: tpe, startup_trials: 2}}
pruner: {name: asha, reduction_factor: 3, min_steps: 300}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture
def server():
    with PostgreSQL() as server:
        yield server


def run(name, server, *more):
    storage = ("--storage", server.url, "--tracking", "off", "--concurrency", "1")
    return launch("run", "study.yaml", "--name", name, *storage, *more)


def wait_for(name, folder, server, reports, process):
    """Until the database holds so many reports."""
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        if (folder / "runs" / name).exists():
            trials = Journal.open(folder / "runs" / name, name, server.url).trials()
            if sum(len(trial.reports) for trial in trials) >= reports:
                return
        time.sleep(0.2)


def found(name, server):
    trials = gansearch.status(name, storage=server.url)["trials"]
    for trial in trials:
        for metrics in (trial["metrics"], trial["best"] and trial["best"]["metrics"]):
            (metrics or {}).pop("images_per_second", None)
        del trial["seconds"], trial["usage"]
    return trials


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_study_whose_server_is_killed_again_and_again_is_the_one_never_hurt(folder, server):
    code, _, err = finish(run("whole", server))
    assert code == 0, err
    process = run("hurt", server)
    for reports, seconds in ((1, 0), (6, 3), (12, 8)):
        wait_for("hurt", folder, server, reports, process)
        server.kill()
        time.sleep(seconds)
        server.start()
    code, _, err = finish(process)
    assert code == 0, err
    assert "the database does not answer" in err
    assert "the database is back" in err
    assert "Traceback" not in err
    for hurt, whole in zip(found("hurt", server), found("whole", server), strict=True):
        assert {key: value for key, value in hurt.items() if value != whole[key]} == {}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["Ctrl-C", "it takes too long"])
def test_a_study_whose_server_stays_away_ends_resumably(folder, server, how, monkeypatch):
    monkeypatch.setenv("GANSEARCH_STORAGE_PATIENCE", "600" if how == "Ctrl-C" else "3")
    process = run("s", server)
    wait_for("s", folder, server, 3, process)
    server.kill()
    if how == "Ctrl-C":
        threading.Timer(3, process.send_signal, [signal.SIGINT]).start()
    code, out, err = finish(process, timeout=120)
    assert code in (2, 130)
    assert "gansearch resume" in out + err
    assert "Traceback" not in err
    server.start()
    code, out, err = finish(
        launch("resume", "s", "--storage", server.url, "--tracking", "off", "--concurrency", "1")
    )
    assert code == 0, err
    trials = found("s", server)
    assert [trial["number"] for trial in trials] == [0, 1, 2, 3]
    assert {trial["outcome"] for trial in trials} <= {"completed", "pruned"}

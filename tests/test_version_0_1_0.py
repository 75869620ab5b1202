"""What version 0.1.0 left can be used: studies go on, finished ones are read, models are sampled.

Only through what a user types or imports, so that it holds whatever the code is like inside. What
lies in `tests/material/v0_1_0` is described there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from postgresql import PostgreSQL

import gansearch

MATERIAL = Path(__file__).parent / "material" / "v0_1_0"
EXPECTED = json.loads((MATERIAL / "expected.json").read_text())
STEPS, EVERY, TRIALS = 160, 20, 6


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory) -> Path:
    """All that lies there; not to be changed."""
    folder = tmp_path_factory.mktemp("v0_1_0")
    with tarfile.open(MATERIAL / "material.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def here(unpacked, tmp_path, monkeypatch) -> Path:
    """A copy of one's own, and standing in it."""
    folder = shutil.copytree(unpacked, tmp_path / "here")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def database(unpacked):
    """The URL of a PostgreSQL that holds what 0.1.0's did."""
    import psycopg

    with PostgreSQL() as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute((unpacked / "in_postgresql.sql").read_text())
        yield server.url


def command(*arguments: str) -> str:
    """The command line of the gansearch that these tests import."""
    code = Path(gansearch.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "gansearch", *arguments],
        env=os.environ | {"PYTHONPATH": str(code), "RAY_worker_niceness": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def plain(status: dict) -> dict:
    """As JSON would have it."""
    return json.loads(json.dumps(status))


def known(trial: dict) -> dict:
    """What 0.1.0 said of a trial; a later version may say more."""
    keys = ("number", "outcome", "reason", "step", "params", "metrics", "best", "seconds", "usage")
    return {key: trial[key] for key in keys}


def curves(name: str, storage: str | None = None) -> dict[int, dict[int, dict[str, float]]]:
    """Trial -> step -> all that was reported, the time that it took too."""
    table = gansearch.curves(name, storage=storage).astype(object)
    rows = table.where(table.notna(), None).to_dict("records")
    found: dict[int, dict[int, dict[str, float]]] = {}
    for row in rows:
        found.setdefault(row["number"], {})[row["step"]] = row
    return found


def check_gone_on(name: str, before: dict, checkpoint: int, storage: str | None = None) -> None:
    """A study that was interrupted has come to its end, and nothing was lost or done again.

    Args:
        name: the study.
        before: its curves as they were.
        checkpoint: the step from which its unfinished trial had to go on.
        storage: its storage.
    """
    expected = EXPECTED[name]["trials"]
    after = plain(gansearch.status(name, storage=storage))
    assert after["state"] == "finished"
    assert [trial["number"] for trial in after["trials"]] == list(range(TRIALS))
    assert set(after["counts"]) <= {"completed", "pruned", "collapsed", "diverged", "stalled"}
    ended, last = expected[:-1], expected[-1]
    assert last["outcome"] == "interrupted"
    assert list(map(known, after["trials"][: len(ended)])) == list(map(known, ended))
    assert after["trials"][last["number"]]["params"] == last["params"]
    now = curves(name, storage)
    for number, reports in before.items():
        seen = {step: report for step, report in now[number].items() if step in reports}
        assert seen == reports, "to the last bit, and to the second: it was not trained again"
    unfinished = now[last["number"]]
    assert set(unfinished) == set(range(EVERY, max(unfinished) + 1, EVERY)), "each step once"
    assert max(unfinished) > checkpoint
    times = [unfinished[step]["seconds"] for step in sorted(unfinished)]
    assert times == sorted(times), "it went on from the checkpoint's time"
    for number in range(len(expected), TRIALS):
        assert now[number], "the trials that had not been proposed have been trained"


def newest_checkpoint(name: str, number: int) -> int:
    found = Path("runs", name, "trials", f"{number:04d}").glob("step-*.pt")
    return max(int(path.stem.removeprefix("step-")) for path in found)


def test_a_killed_study_goes_on(here):
    number = EXPECTED["killed"]["trials"][-1]["number"]
    checkpoint, before = newest_checkpoint("killed", number), curves("killed")
    assert plain(gansearch.status("killed"))["state"] == "interrupted"
    assert 0 < checkpoint < STEPS
    command("resume", "killed", "--concurrency", "1", "--tracking", "off")
    check_gone_on("killed", before, checkpoint)


@pytest.mark.slow
def test_a_study_in_postgresql_goes_on(here, database):
    number = EXPECTED["in_postgresql"]["trials"][-1]["number"]
    checkpoint, before = newest_checkpoint("in_postgresql", number), curves("in_postgresql", database)
    found = plain(gansearch.status("in_postgresql", storage=database))
    assert found["state"] == "interrupted"
    assert list(map(known, found["trials"])) == list(map(known, EXPECTED["in_postgresql"]["trials"]))
    assert gansearch.resume("in_postgresql", storage=database, tracking="off", concurrency=1).finished
    check_gone_on("in_postgresql", before, checkpoint, database)
    html = gansearch.report("in_postgresql", storage=database, tracking="off").html
    assert "Does a study of 0.1.0 go on?" in Path(html).read_text()


def test_a_finished_study_says_what_it_said(here):
    found, expected = json.loads(command("status", "finished", "--json")), EXPECTED["finished"]
    assert list(map(known, found["trials"])) == list(map(known, expected["trials"]))
    assert found["stability"].pop("failures") == []
    for key in ("study", "state", "objective", "counts", "stability"):
        assert found[key] == expected[key]
    assert found["best"]["number"] == expected["best"]["number"]
    table = gansearch.configurations("finished")
    for row in EXPECTED["ranking"]:
        now = table.loc[row["configuration"]]
        assert [now["rank"], now["seeds"], now["successes"]] == [
            row["rank"],
            row["seeds"],
            row["successes"],
        ]
        assert now["iqm"] == pytest.approx(row["iqm"], rel=1e-12)
    assert list(table.index) == [row["configuration"] for row in EXPECTED["ranking"]]


def test_a_finished_study_is_reported_and_exported(here):
    html = Path(gansearch.report("finished", tracking="off").html).read_text()
    assert "Does a study of 0.1.0 go on?" in html
    assert all(row["configuration"] in html for row in EXPECTED["ranking"])
    (folder,) = gansearch.export("finished", "again")
    for name in ("generator.safetensors", "discriminator.safetensors", "reports.csv"):
        assert (folder / name).read_bytes() == (here / "best" / name).read_bytes()
    now, then = (json.loads((at / "model.json").read_text()) for at in (folder, here / "best"))
    for key in ("configuration", "step", "value", "metrics", "outcome", "image_shape"):
        assert now[key] == then[key]


def test_an_exported_model_draws_what_it_drew(here):
    drawn = gansearch.sample("best", "grid.png", count=16, seed=5)
    now, then = (np.asarray(Image.open(path), dtype=int) for path in (drawn, "sample.png"))
    assert now.shape == then.shape
    assert np.abs(now - then).max() <= 2, "but for the last bits of another machine's sums"
    assert then.std() > 10, "there is something to see"


def test_an_exported_configuration_is_trained(here):
    config = yaml.safe_load(Path("best/config.yaml").read_text())
    config["budget"] = {"steps": 2 * EVERY, "report_every": EVERY}
    Path("short.yaml").write_text(yaml.safe_dump(config))
    curve = gansearch.train("short.yaml", "trained", device="cpu")
    assert curve["step"].tolist() == [EVERY, 2 * EVERY]
    assert np.isfinite(curve[EXPECTED["finished"]["objective"]["metric"]]).all()
    assert gansearch.sample("trained", "grid.png", count=4).is_file()


def test_a_bare_checkpoint_is_gone_on_with(here):
    shutil.copytree("bare", "model/checkpoints")
    reached = max(int(path.stem.removeprefix("step-")) for path in Path("bare").glob("step-*.pt"))
    seen = []
    curve = gansearch.train("config.yaml", "model", device="cpu", on_report=seen.append)
    assert [report.step for report in seen] == list(range(reached + EVERY, STEPS + 1, EVERY))
    assert curve["step"].tolist() == list(range(EVERY, STEPS + 1, EVERY))
    assert curve["outcome"].iloc[-1] == "completed"
    assert Path("model/generator.safetensors").is_file()

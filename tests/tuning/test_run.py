"""Whole studies on a real Ray, with drivers and workers killed for real."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from processes import finish, launch, wait_for_reports
from ray.tune import tune as tune_module
from safetensors.torch import save_file

import gansearch
from gansearch.data.domain import Images
from gansearch.data.load import load
from gansearch.errors import ClusterError, StudyError, UserError
from gansearch.metrics.reference import load_reference
from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome
from gansearch.training import checkpoint
from gansearch.training.building import build_generator
from gansearch.training.completion import complete
from gansearch.training.trainer import Trainer
from gansearch.tuning.connection import connected

STUDY = """
question: Does it survive?
data: {name: digits}
generator: {name: mlp, depth: {int: [1, 2]}, width: 16}
discriminator: {name: mlp, depth: 1, width: 16}
loss: {choice: [hinge, non-saturating]}
optimizer:
  generator: {lr: {log: [1e-4, 1e-1]}}
  discriminator: {lr: {log: [1e-4, 1e-1]}}
batch_size: 32
budget: {steps: 1800, report_every: 100}
evaluation: {samples: 100, metrics: [fd_classifier]}
search: {trials: 7, sampler: {name: tpe, startup_trials: 3}}
pruner: {name: asha, reduction_factor: 3, min_steps: 600}
keep: 2
"""

TOYS = """
data: {name: digits}
generator: {name: "toys:BuggyGenerator", kind: {choice: KINDS}, once: DIED}
discriminator: {name: mlp, depth: 1, width: 16}
budget: {steps: 40, report_every: 10}
evaluation: {samples: 50, metrics: [fd_classifier]}
search: {trials: TRIALS, sampler: random, start: START}
pruner: {name: none}
health: {collapsed: false, stalled: false}
resources: {retries: 1}
"""


@pytest.fixture(scope="module")
def toys_found():
    """Every process that is started from here finds `toys`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        patch.syspath_prepend(str(Path(__file__).parent))
        yield


@pytest.fixture
def folder(tmp_path, monkeypatch, toys_found):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture(scope="module")
def ray(toys_found):
    """One Ray for all the studies of this process."""
    with connected(None) as ray:
        yield ray


def exact(name):
    """All that a study found, but for what depends on the clock."""
    found = gansearch.status(name)
    for trial in found["trials"]:
        for metrics in (trial["metrics"], trial["best"] and trial["best"]["metrics"]):
            (metrics or {}).pop("images_per_second", None)
        del trial["seconds"], trial["usage"], trial["mlflow_run_id"]
    return found["counts"], found["trials"]


def curves(name):
    table = gansearch.curves(name).drop(columns=["seconds", "images_per_second"])
    return table.sort_values(["number", "step"]).reset_index(drop=True)


def listening(pid):
    """The addresses on which a process and all its descendants take connections."""
    import psutil

    parent = psutil.Process(pid)
    found = set()
    for process in [parent, *parent.children(recursive=True)]:
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                found.add(connection.laddr.ip)
    assert found, "Ray listens somewhere"
    return found


def mlflow_runs(name):
    """(trial, status) of a study's runs that are not deleted, straight from MLflow's database."""
    with sqlite3.connect("runs/mlflow.db") as database:
        return sorted(
            database.execute(
                "select t.value, r.status from runs r join tags t using (run_uuid) "
                "join experiments e using (experiment_id) where t.key = 'gansearch.trial' "
                "and e.name = ? and r.lifecycle_stage = 'active'",
                (name,),
            ).fetchall(),
            key=lambda row: int(row[0]),
        )


def changed(lines):
    """The study with these of its keys in place of its own."""
    keys = {line.partition(":")[0] for line in lines.splitlines()}
    kept = [line for line in STUDY.splitlines() if line.partition(":")[0] not in keys]
    return "\n".join(kept) + lines


SECOND_CHANCES = """
pruner: {name: asha, reduction_factor: 3, min_steps: 50, second_chances: true}
search: {trials: 9, sampler: {name: tpe, startup_trials: 3}}
budget: {steps: 450, report_every: 50}
"""


@pytest.mark.timeout(600)
def test_with_second_chances_too_a_study_killed_again_and_again_is_the_study_never_killed(folder, ray):
    (folder / "study.yaml").write_text(changed(SECOND_CHANCES))
    assert gansearch.run("study.yaml", name="whole", tracking="off", concurrency=1).finished
    sequential = ("--concurrency", "1")
    process = launch("run", "study.yaml", "--name", "killed", *sequential)
    wait_for_reports("killed", 4, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    process = launch("resume", "killed", *sequential)
    wait_for_reports("killed", 12, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert gansearch.resume("killed", concurrency=1).finished
    assert exact("killed") == exact("whole")
    assert curves("killed").equals(curves("whole"))
    assert gansearch.status("killed")["counts"].keys() == {"completed", "pruned"}
    records = gansearch.evidence("killed").search
    assert any(chance.woken for record in records for chance in record.chances)
    assert [r.chances for r in records] == [r.chances for r in gansearch.evidence("whole").search]
    runs = mlflow_runs("killed")
    assert [int(number) for number, _ in runs] == list(range(9)), "one run for each trial"
    assert {status for _, status in runs} == {"FINISHED", "KILLED"}


@pytest.mark.timeout(600)
@pytest.mark.slow  # that with second chances, below, is killed in the same ways
def test_a_study_killed_again_and_again_is_the_study_never_killed(folder):
    code, out, err = finish(
        launch("run", "study.yaml", "--name", "whole", "--concurrency", "1", "--tracking", "off")
    )
    assert code == 0, err
    whole = gansearch.trials("whole")
    assert len(whole) == 7
    assert "gansearch export whole" in out

    process = launch("run", "study.yaml", "--name", "killed", "--concurrency", "1")
    for count in (4, 21, 40):
        wait_for_reports("killed", count, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert gansearch.status("killed")["state"] == "interrupted"
        process = launch("resume", "killed", "--concurrency", "1")
    code, out, err = finish(process)
    assert code == 0, err

    assert exact("killed") == exact("whole")
    assert curves("killed").equals(curves("whole"))
    runs = mlflow_runs("killed")
    assert [int(number) for number, _ in runs] == list(range(7)), "one run for each trial"
    assert "RUNNING" not in {status for _, status in runs}
    table = gansearch.trials("killed")
    assert table["mlflow_run_id"].nunique() == 7
    kept = {f.name for f in Path("runs/killed/trials").iterdir() if checkpoint.steps(f)}
    assert kept == {f"{number:04d}" for number in table.index[:2]}
    assert not list(Path("runs/killed").glob("tune*")), "what Tune wrote is gone"

    sequential = ("--concurrency", "1", "--tracking", "off")
    assert finish(launch("run", "study.yaml", "--name", "longer", "--trials", "4", *sequential))[0] == 0
    assert gansearch.status("longer")["state"] == "finished"
    code, out, err = finish(launch("resume", "longer", "--trials", "7", *sequential))
    assert code == 0, err
    assert exact("longer") == exact("whole"), "as if it had been asked for seven from the beginning"
    assert curves("longer").equals(curves("whole"))
    assert Path("runs/longer/study.yaml").read_text() == Path("runs/whole/study.yaml").read_text()
    assert gansearch.evidence("longer").facts["digest"] == gansearch.evidence("whole").facts["digest"]

    Path("runs/longer/study.yaml").unlink()
    again = subprocess.run(
        [sys.executable, "-m", "gansearch", "status", "longer"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "was gone: restored from the journal" in again.stderr
    assert Path("runs/longer/study.yaml").read_text() == Path("runs/whole/study.yaml").read_text()


SLOW = """
generator: {name: "toys:SlowGenerator", as_long_as: FILE}
budget: {steps: 300, report_every: 50}
search: {trials: 4, sampler: random}
pruner: {name: asha, reduction_factor: 3, min_steps: 100}
"""


def test_ctrl_c_ends_cleanly_and_resumably(folder, ray):
    slowly = folder / "slowly"
    slowly.touch()
    (folder / "study.yaml").write_text(changed(SLOW.replace("FILE", str(slowly))))
    (folder / "tmp").mkdir()
    environment = os.environ | {"TMPDIR": str(folder / "tmp"), "RAY_TMPDIR": "/tmp"}
    process = launch("run", "study.yaml", "--tracking", "off", env=environment)
    wait_for_reports("study", 2, process)
    assert list((folder / "tmp").glob("gansearch-session-*"))
    assert listening(process.pid) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    with pytest.raises(StudyError, match="another process"):
        gansearch.resume("study")
    assert gansearch.status("study")["state"] == "running"

    process.send_signal(signal.SIGINT)
    while process.poll() is None:  # somebody tidies up there
        for session in (folder / "tmp").glob("gansearch-session-*"):
            shutil.rmtree(session, ignore_errors=True)
        time.sleep(0.05)
    code, out, err = finish(process, timeout=60)
    assert code == 130, err
    assert "gansearch resume study" in out
    assert "Traceback" not in err
    assert not list((folder / "tmp").glob("gansearch-*"))
    found = gansearch.status("study")
    assert found["state"] == "interrupted"
    assert found["counts"].get("interrupted")
    assert "running" not in found["counts"]

    before = {t["number"]: t["params"] for t in found["trials"]}
    slowly.unlink()
    assert gansearch.resume("study", tracking="off", concurrency=1).finished
    found = gansearch.status("study")
    assert found["state"] == "finished"
    assert sum(found["counts"].values()) == 4
    assert {n: t["params"] for n, t in enumerate(found["trials"])}.items() >= before.items()

    once = exact("study")
    assert gansearch.resume("study", tracking="off").finished
    assert exact("study") == once, "resuming what is finished does nothing"

    file = Path("runs/study/study.yaml")
    file.write_text(file.read_text().replace("batch_size: 32", "batch_size: 64"))
    with pytest.raises(UserError, match=r"(?s)-batch_size: 32\n\+batch_size: 64"):
        gansearch.resume("study")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_the_images_are_measured_says_that_nothing_was_kept(folder, number):
    """They are measured by the driver itself, where there is no other machine."""
    measured = {"samples": 100, "metrics": ["toys:Measured"]}
    objective = {"metric": "toys:Measured"}
    study = yaml.safe_load(STUDY) | {"evaluation": measured, "objective": objective}
    Path("study.yaml").write_text(yaml.safe_dump(study))
    Path("unmeasured").touch()
    process = launch("run", "study.yaml", "--tracking", "off")
    while not (there := Path("measured")).exists() or not there.read_text():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    assert there.read_text() == str(process.pid)
    process.send_signal(number)
    code, _, err = finish(process, timeout=60)
    assert code == 130, err
    assert "stopped before the study was made: nothing was kept" in err
    assert "Traceback" not in err
    assert not Path("runs/study").exists()


def test_ctrl_c_twice_says_what_was_kept_and_how_to_go_on(folder):
    process = launch("run", "study.yaml", "--tracking", "off", "--name", "twice", "--concurrency", "1")
    wait_for_reports("twice", 2, process)
    process.send_signal(signal.SIGINT)
    while "once more to stop at once" not in (line := process.stderr.readline()):
        assert line
    process.send_signal(signal.SIGTERM)
    code, out, err = finish(process, timeout=60)
    assert code == 130, err
    assert "gansearch resume twice" in out + err
    assert "Traceback" not in err
    assert gansearch.status("twice")["state"] == "interrupted"


def toys(*kinds, **more):
    """Writes a study that tries each of these kinds once, in this order."""
    start = [{"name": kind, "point": {"generator.kind": kind}} for kind in kinds[1:]]
    text = TOYS.replace("KINDS", json.dumps(kinds)).replace("DIED", str(Path("died").absolute()))
    text = text.replace("TRIALS", str(len(kinds))).replace("START", json.dumps(start))
    Path("toys.yaml").write_text(yaml.safe_dump(yaml.safe_load(text) | more))


def test_an_error_is_the_outcome_of_its_trial_alone_and_so_are_its_worker_s_deaths(folder, ray):
    toys("good", "bug", "always-death", "memory", pruner="toys:Hearing")
    result = gansearch.run("toys.yaml", tracking="off", concurrency=1)
    table = result.trials.sort_index()
    assert result.finished
    assert "ray.air.integrations.mlflow" not in sys.modules, "Ray loads it to count callbacks"
    assert list(table["param.generator.kind"]) == ["good", "bug", "always-death", "memory"]
    assert list(table["outcome"]) == ["completed", "failed", "failed", "failed"]
    _, bug, died, memory = table["reason"]
    assert bug == 'KeyError: "a bug of the user\'s"'
    assert died.startswith("its worker died 2 times at step 0: it crashed, or was killed")
    assert memory == "out of memory"
    trace = Path(result.directory, "trials", "0001", "error.txt").read_text()
    assert "toys.py" in trace
    heard = sorted(map(int, Path("heard.txt").read_text().split()))
    assert heard == [1, 2, 3], "the pruner is told, once each"


def test_a_dead_worker_s_trial_goes_on_from_its_checkpoint(folder, ray):
    toys("death")
    result = gansearch.run("toys.yaml", tracking="off")
    assert Path("died").exists()
    assert list(result.trials["outcome"]) == ["completed"]
    assert gansearch.curves("toys")["step"].tolist() == [10, 20, 30, 40]

    (trial,) = result.evidence.search
    images = load("digits", {}, root=Path(), split="train")
    reference = load_reference(Path(result.directory, "reference.safetensors"))
    alone = Trainer(TrialConfig.model_validate(trial.config), images, reference)  # dies no second time
    while not alone.finished:
        alone.advance()
    assert [lasting(r) for r in trial.reports] == [lasting(r) for r in alone.reports], "bit for bit"


def lasting(report):
    """A report but for what depends on the clock."""
    metrics = {k: v for k, v in report.metrics.items() if k != "images_per_second"}
    return report.step, report.images, metrics, report.outcome, report.reason


def test_more_than_there_is_is_refused_before_anything_is_made(folder, ray):
    for what in ("gpus", "cpus"):
        study = gansearch.load_study("study.yaml", overrides={f"resources.{what}": 4096})
        with pytest.raises(ClusterError, match=rf"resources\.{what}"):
            gansearch.run(study)
    assert not Path("runs").exists()


def test_python_and_the_command_line_agree(folder, ray, monkeypatch):
    """Without a reporter of Tune's, which in a notebook would clear what the cell has shown."""
    monkeypatch.delattr(tune_module, "_detect_reporter")
    study = gansearch.load_study("study.yaml", overrides={"budget.steps": 600})
    result = gansearch.run(study, trials=2, tracking="off", name="notebook", concurrency=1)
    assert result.finished
    assert list(result.trials["outcome"]) == [Outcome.COMPLETED] * 2
    assert max(len(repr(each)) for each in (study, result, result.evidence)) < 500, "in a cell"
    out = subprocess.run(
        [sys.executable, "-m", "gansearch", "status", "notebook", "--json"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = json.loads(out)
    assert found["state"] == "finished"
    assert {t["number"]: t["best"]["value"] for t in found["trials"]} == dict(
        result.trials["best.fd_classifier"]
    )
    folders = gansearch.export("notebook", "best", top=2)
    assert [f.name[:2] for f in folders] == ["01", "02"]
    model = json.loads((folders[0] / "model.json").read_text())
    assert model["trial"] == result.trials.index[0]
    assert model["value"] == result.trials["best.fd_classifier"].iloc[0]
    gansearch.sample(folders[0], "grid.png")
    assert Path("grid.png").read_bytes()[:4] == b"\x89PNG"


BEGUN = """
data: {name: digits}
generator: {name: mlp, depth: 1, width: 16, weights: export}
discriminator: {name: mlp, depth: 1, width: 16}
optimizer: {generator: {lr: {log: [1e-4, 1e-2]}}}
budget: {steps: 40, report_every: 10}
evaluation: {samples: 50, metrics: [fd_classifier]}
search: {trials: 2, sampler: random}
pruner: none
health: {collapsed: false, stalled: false}
"""


def test_what_has_begun_goes_on_without_the_weights_that_it_began_with(folder, ray):
    tree = {"generator": {"name": "mlp", "depth": 1, "width": 16}}
    config, _ = complete(TrialConfig.model_validate(tree), Images((1, 8, 8)))
    Path("export").mkdir()
    network = build_generator(config, Images((1, 8, 8)), torch.device("cpu"))
    save_file(network.state_dict(), "export/generator.safetensors")
    Path("begun.yaml").write_text(BEGUN)
    options = {"tracking": "off", "concurrency": 1}
    assert gansearch.run("begun.yaml", **options).finished
    before = exact("begun")
    journal = Path("runs/begun/journal.log")
    lines = journal.read_bytes().splitlines(keepends=True)
    told = next(n for n, line in enumerate(lines) if b'"report:10"' in line and b'"trial_id":1' in line)
    journal.write_bytes(b"".join(lines[: told + 1]))  # as by a power cut
    Path("export").rename("moved")
    assert gansearch.resume("begun", **options).finished
    assert exact("begun") == before
    with pytest.raises(
        StudyError, match=r"1 trial cannot begin: generator: weights: .* cannot be read"
    ):
        gansearch.resume("begun", trials=3, **options)
    assert gansearch.status("begun")["counts"] == {"completed": 2}
    Path("moved").rename("export")
    assert gansearch.resume("begun", **options).finished
    assert gansearch.status("begun")["counts"] == {"completed": 3}


HUNGRY = """
data: {name: digits}
generator: {name: "toys:HungryGenerator", room: 8}
discriminator: {name: mlp, depth: 1, width: 16}
batch_size: {choice: [8, 16, 64]}
budget: {steps: 40, report_every: 10}
evaluation: {samples: 50, metrics: [diversity]}
objective: {metric: diversity}
search:
  trials: 3
  start: [{name: small, point: {batch_size: 8}}, {name: halved, point: {batch_size: 16}}]
pruner: {name: none}
health: {collapsed: false, stalled: false}
resources: {halve_batch: 2}
"""


def test_out_of_memory_a_trial_goes_on_in_smaller_pieces(folder, ray):
    """The default's batches are of 64 images."""
    Path("hungry.yaml").write_text(HUNGRY)
    table = gansearch.run("hungry.yaml", tracking="off", concurrency=1).trials
    told = {
        size: set(zip(t["outcome"], t["reason"], strict=True))
        for size, t in table.groupby("param.batch_size")
    }
    assert told == {
        8: {("completed", "")},
        16: {("completed", "its batches of 16 were computed in 2 pieces")},
        64: {("failed", "out of memory, even with its batches in 4 pieces")},
    }


LANES = """
data: {name: digits}
generator:
  choice:
    - "toys:BuggyGenerator"
    - {name: "toys:BuggyGenerator", kind: bug}
    - {name: mlp, depth: 1, mixture: 2, diversity: 0.1}  # trained in turn: exact to the bit
discriminator: {name: mlp, depth: 1, width: 16}
loss: {choice: [hinge, {name: wasserstein, penalty: {name: gradient-penalty}}]}
optimizer: {generator: {lr: {log: [1e-4, 1e3]}}}
batch_size: 32
budget: {steps: 600, report_every: 50}
evaluation: {samples: 50, metrics: [fd_classifier]}
search: {trials: 8, sampler: random, seed: 2}
pruner: {name: none}
health: {collapsed: false, stalled: false}
keep: 8
"""


def worker_processes(pid):
    import psutil

    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error, IndexError):
            if child.cmdline()[0].startswith(("ray::Worker", "ray::ResourceTrainable")):
                yield child


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_packs_killed_again_and_again_are_as_trials_alone(folder):
    """Four to a worker, worker and driver killed (-9), on with other numbers of lanes."""
    Path("lanes.yaml").write_text(LANES)
    whole = gansearch.run("lanes.yaml", name="whole", tracking="off")
    assert {"completed", "failed", "diverged"} <= set(whole.trials["outcome"])

    process = launch("run", "lanes.yaml", "--name", "packs", "--set", "resources.lanes=4")
    wait_for_reports("packs", 6, process, 400)
    assert gansearch.status("packs")["counts"]["running"] > 2, "more than one worker has CPUs for"
    workers = list(worker_processes(process.pid))
    assert workers
    for worker in workers:
        worker.kill()
    wait_for_reports("packs", 20, process, 400)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    lanes = Path("runs/packs/study.yaml")
    lanes.write_text(lanes.read_text().replace("lanes: 4", "lanes: 3"))
    process = launch("resume", "packs")
    wait_for_reports("packs", 40, process, 400)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    lanes.write_text(lanes.read_text().replace("lanes: 3", "lanes: 1"))
    code, _, err = finish(launch("resume", "packs"))
    assert code == 0, err

    assert exact("packs") == exact("whole")
    assert curves("packs").equals(curves("whole"))
    runs = mlflow_runs("packs")
    assert [int(number) for number, _ in runs] == list(range(8)), "one run for each trial"
    assert "RUNNING" not in {status for _, status in runs}
    for number in range(8):
        ours, theirs = (Path("runs", name, "trials", f"{number:04d}") for name in ("packs", "whole"))
        assert checkpoint.steps(ours) == checkpoint.steps(theirs)
        for step in checkpoint.steps(ours):
            left, right = (checkpoint.load(checkpoint.path_of(f, step)) for f in (ours, theirs))
            for network in ("generator", "discriminator", "averaged"):
                for key, weights in right[network].items():
                    assert torch.equal(left[network][key], weights)
        assert (ours / "error.txt").exists() is (theirs / "error.txt").exists()

"""Disks that refuse, checkpoints that are damaged, configurations that kill their worker.

Workers and nodes that die are in `test_run` and `test_nodes`; `benchmarks.faults` has all of these at
random times, and more.
"""

# ruff: noqa: F811  fixtures are named as they are defined

from __future__ import annotations

import contextlib
import math
import os
import random
import resource
import signal
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from processes import reports
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayTaskError
from ray.tune.search import Searcher
from test_trainable import begin, config, digits, exact, reference, run_out, worker  # noqa: F401

import gansearch
from gansearch import files
from gansearch.errors import ClusterError, StorageError, StudyError
from gansearch.journal.directory import LOG, StudyDirectory
from gansearch.study.config import TrialConfig
from gansearch.study.plan import Resources
from gansearch.study.records import Best, Outcome
from gansearch.training import checkpoint
from gansearch.tuning import nodes, trial_folder
from gansearch.tuning.connection import connected
from gansearch.tuning.deaths import Deaths, every_loss_told
from gansearch.tuning.dispatcher import Dispatcher, Interruption
from gansearch.tuning.engine import Workers

# The disk


@contextlib.contextmanager
def refusing(size=1000):
    """A disk that takes no larger file than so many bytes: the system's own limit on this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.fixture
def folder(tmp_path):
    return StudyDirectory(tmp_path / "study").trial(0)


def test_a_trial_waits_for_room_and_goes_on_as_if_nothing_had_been(begin, config, folder):
    whole = run_out(begin(config(room=99), number=1))
    trial = begin(config(room=99))
    trial.next()
    with refusing() as relent:
        threading.Timer(0.5, relent).start()
        begun = time.monotonic()
        trial.next()
        assert time.monotonic() - begun >= 0.5
    results = run_out(trial)
    assert checkpoint.steps(folder)[-1] == 20
    assert [exact(r) for r in results.values()] == [exact(whole[step]) for step in results]


def test_where_there_is_no_room_it_is_not_the_configuration_s_doing(begin, config, folder, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    trial = begin(config(room=99))
    trial.next()
    with (
        refusing(),
        pytest.raises(StorageError, match=f"cannot save checkpoints in {folder}: File too"),
    ):
        trial.next()
    assert checkpoint.steps(folder) == [5]
    assert not list(folder.glob("*.part-*")), "what was half written takes no room"
    results = run_out(begin(config(room=99)))  # another worker
    assert list(results) == [5, 10, 15, 20]
    assert results[20].outcome is Outcome.COMPLETED


def test_what_is_only_to_look_at_may_be_missing(begin, config, folder, monkeypatch, caplog):
    def unable(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trial_folder, "write_picture", unable)
    monkeypatch.setattr(checkpoint, "keep", unable)
    assert run_out(begin(config(room=99)))[20].outcome is Outcome.COMPLETED
    assert "a sample grid: [Errno 28]" in caplog.text
    monkeypatch.setattr(files, "write", unable)
    assert begin(config(room=1), number=1).next().failure == "out of memory"


def test_a_log_that_cannot_be_kept_ends_no_trial(begin, config, folder, monkeypatch):
    folder.mkdir(parents=True)
    (folder / LOG).symlink_to("/dev/full")
    trial = begin(config(room=99))
    make = trial._make

    def talkative(config):
        print("a word")
        return make(config)

    trial._make = talkative
    assert run_out(trial)[20].outcome is Outcome.COMPLETED


# A damaged checkpoint


def cut(content):
    return content[: len(content) // 2]


def spoil(content):
    middle = len(content) // 2
    return content[:middle] + random.Random(0).randbytes(256) + content[middle + 256 :]


@pytest.mark.parametrize("damage", [cut, spoil, lambda _: b""], ids=["cut", "spoilt", "empty"])
@pytest.mark.parametrize("best", [0, -1], ids=["best first", "best last"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    begin, config, folder, damage, best, monkeypatch
):
    def report_of(_, reports):
        return Best(reports[best].step, 1.0, {})

    monkeypatch.setattr(TrialConfig, "best", report_of)
    setting = config(room=99)
    whole = run_out(begin(setting, number=1))
    first = begin(setting)
    for _ in range(3):
        first.next()
    assert checkpoint.steps(folder) == ([5, 10, 15] if best == 0 else [10, 15])
    newest = checkpoint.path_of(folder, 15)
    newest.write_bytes(damage(newest.read_bytes()))
    results = run_out(begin(setting, heard=15))
    assert list(results) == [15, 20]
    assert [exact(r) for r in results.values()] == [exact(whole[step]) for step in results]
    assert checkpoint.load(newest)["step"] == 15, "mended on the way"


@pytest.mark.parametrize(("heard", "expected"), [(0, [5, 10, 15, 20]), (5, [10, 15, 20]), (15, [20])])
def test_what_no_driver_has_written_down_is_told_again(begin, config, heard, expected):
    """A driver that stops, or is killed, may not have written what its workers have gone on from."""
    setting = config(room=99)
    first = begin(setting)
    known = [first.next().report for _ in range(3)]
    results = run_out(begin(setting, heard=heard))
    assert list(results) == expected
    for report in known:
        if report.step in expected:
            assert exact(results[report.step]) == exact(report)
            assert results[report.step].usage == report.usage


# Whose doing it was


DIED = "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR"


def died(actor, text=DIED, **more):
    error = RayActorError(actor, text, **more)
    error.__class__ = ActorDiedError
    return error


def refused():
    return RayTaskError("step", "", StorageError("cannot save checkpoints: no space left"))


CRASHED = "it crashed, or was killed by a signal or for want of the machine's memory"
LOW = "1 worker(s) were killed due to the node running low on memory"
ROWS = {
    "a killer": ([(10, died("a")), (10, died("b")), (10, died("c"))], (CRASHED, False)),
    "one that gets on": ([(10, died("a")), (10, died("b")), (20, died("c")), (20, died("d"))], None),
    "one that gets on, and then not": (
        [(10, died("a")), (20, died("b")), (20, died("c")), (20, died("d"))],
        (CRASHED, False),
    ),
    "bad nodes": ([(10, died(actor)) for actor in ("node", "node", "node", "a", "node", "b")], None),
    "too large": (
        [(0, RayActorError("a", LOW)), (0, RayActorError("b", LOW)), (0, RayActorError("c", LOW))],
        ("out of memory, the machine's", False),
    ),
    "a lost gpu": (
        [(5, RayTaskError("step", "", torch.AcceleratorError("CUDA error: illegal access")))] * 3,
        ("AcceleratorError: CUDA error: illegal access", False),
    ),
    "a full disk": (
        [(10, refused())] * 3,
        ("StorageError: cannot save checkpoints: no space left", True),
    ),
    "a crash and a full disk": (
        [(10, died("a")), (10, refused()), (10, refused())],
        (f"{CRASHED}; StorageError: cannot save checkpoints: no space left", True),
    ),
    "a worker that cannot begin": (
        [(0, died("a", "x\nImportError: no libcuda", actor_init_failed=True))] * 3,
        ("it could not begin: ImportError: no libcuda", True),
    ),
    "what cannot begin": (
        [(0, "OutOfMemoryError: the node is running low\nand more")] * 3,
        ("it could not begin: OutOfMemoryError: the node is running low", True),
    ),
}


@pytest.mark.parametrize(("row", "expected"), ROWS.values(), ids=ROWS)
def test_whose_doing_it_was(row, expected):
    deaths = Deaths(2, lambda actor: actor == "node")
    ends = [deaths.add(7, step, error) for step, error in row]
    assert not any(ends[:-1])
    assert deaths.add(8, *row[0]) is None, "another trial's are its own"
    if expected is None:
        assert ends[-1] is None
    else:
        words, blameless = expected
        assert ends[-1].reason == f"its worker died 3 times at step {row[-1][0]}: {words}"
        assert ends[-1].blameless is blameless


def test_a_node_s_death_that_ray_knows_of_late_does_not_count():
    dead = set()
    deaths = Deaths(1, dead.__contains__)
    assert deaths.add(0, 10, died("a")) is None
    dead.add("a")
    assert deaths.add(0, 10, died("b")) is None
    assert deaths.add(0, 10, died("c")).reason.startswith("its worker died 2 times")


def test_a_trial_that_takes_its_nodes_with_it_does_not_go_on_for_ever():
    deaths = Deaths(2, lambda actor: True)
    ends = [deaths.add(0, 10, died("a")) for _ in range(16)]
    assert not any(ends[:-1])
    assert ends[-1].blameless, "perhaps it only had bad luck with its machines"
    assert not any(deaths.add(1, step, died("a")) for step in range(40)), "one that comes further"


def test_who_died_at_several_steps_is_by_itself_to_its_end():
    """One death of several trials is one's doing; where each comes further alone, their being together
    may be. A node's end is neither.
    """
    deaths = Deaths(2, lambda actor: actor == "node")
    assert deaths.alone(7, 0) == 0
    deaths.add(7, 0, died("a"))
    assert (deaths.alone(7, 0), deaths.alone(7, 100)) == (1, 0)
    deaths.add(7, 100, died("node"))
    assert (deaths.alone(7, 100), deaths.alone(7, 200)) == (1, 0)
    deaths.add(7, 200, died("b"))
    assert (deaths.alone(7, 200), deaths.alone(7, 300)) == (math.inf, math.inf)
    deaths.forget(7)
    assert deaths.alone(7, 200) == 0


def test_tune_hears_of_an_actor_that_was_killed_for_memory():
    """Else all of Tune ends: 'Caught unexpected exception'."""
    heard = []
    actor = SimpleNamespace(_actor_id=SimpleNamespace(hex=lambda: "ab12"))
    tracked = type("Tracked", (), {"actor_id": 1, "_on_error": None})()
    task = SimpleNamespace(_tracked_actor=tracked, _on_error=lambda _, error: heard.append(error))
    manager = RayActorManager.__new__(RayActorManager)
    manager._failed_actor_ids = set()
    manager._live_actors_to_ray_actors_resources = {tracked: (actor, None)}
    manager._cleanup_actor = lambda tracked_actor: None
    with pytest.raises(RuntimeError, match="Caught unexpected exception"):
        manager._actor_task_failed(task, OutOfMemoryError(LOW))
    with every_loss_told():
        manager._actor_task_failed(task, OutOfMemoryError(LOW))
    assert [type(error).__mro__[1] for error in heard] == [RayActorError]
    assert heard[0].actor_id == "ab12"
    assert LOW in str(heard[0])
    with pytest.raises(RuntimeError):
        manager._actor_task_failed(task, OutOfMemoryError(LOW))


@pytest.fixture
def node(monkeypatch):
    """What Ray tells of a node whose process takes connections; and that, to be closed."""
    monkeypatch.setattr(nodes, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(nodes, "SHARE", math.inf)  # of the time, that a look may take
    with socket.create_server(("127.0.0.1", 0)) as process:
        at = {"NodeManagerAddress": "127.0.0.1", "NodeManagerPort": process.getsockname()[1]}
        yield {"Alive": True, "Resources": {"CPU": 2}, **at}, process


@pytest.mark.parametrize("ray_knows", [True, False])
def test_a_driver_whose_node_has_died_says_so(node, ray_knows):
    """It lives on, and waits for ever for what nobody does any more."""
    own, process = {"NodeID": "own", **node[0]}, node[1]
    ray = SimpleNamespace(
        nodes=lambda: [own],
        get_runtime_context=lambda: SimpleNamespace(get_node_id=lambda: "own"),
        _private=SimpleNamespace(state=SimpleNamespace(state=SimpleNamespace(get_draining_nodes=dict))),
    )
    found = nodes.Nodes(ray, Resources(), elastic=True, say=print)
    found.look()
    if ray_knows:
        own["Alive"] = False
    else:
        process.close()
    with pytest.raises(ClusterError, match="the Ray node that this process is on has died"):
        found.look()


def test_a_node_on_which_no_worker_can_begin_is_kept_away_from(monkeypatch, node):
    alive = [{"NodeID": name, **node[0]} for name in ("own", "bad")]
    dead = {"State": "ALIVE", "Address": {"NodeID": "bad"}}
    state = SimpleNamespace(get_draining_nodes=dict)
    ray = SimpleNamespace(
        nodes=lambda: alive,
        get_runtime_context=lambda: SimpleNamespace(get_node_id=lambda: "own"),
        _private=SimpleNamespace(state=SimpleNamespace(state=state, actors=lambda actor: dead)),
    )
    said = []
    found = nodes.Nodes(ray, Resources(), elastic=True, say=said.append)
    assert (found.slots(), found.avoided()) == (5, [])
    found.doubt("actor")
    assert (found.slots(), found.avoided()) == (3, ["bad"])
    assert "a worker could not begin there" in said[0]
    monkeypatch.setattr(nodes, "LOOK_AGAIN", 0.0)
    time.sleep(0.1)
    assert (found.slots(), found.avoided()) == (5, []), "it gets another chance"
    dead["Address"]["NodeID"] = "own"
    alive.pop()
    time.sleep(0.1)
    found.look()
    found.doubt("another")
    assert found.avoided() == [], "there is no other node"
    alive[0]["Resources"] = {"CPU": 0}
    time.sleep(0.1)
    assert found.slots() == 2
    assert "no node takes a trial now" in said[-1]


def test_tune_does_not_wait_for_a_trial_that_cannot_be_written_down():
    """It would, for ten minutes, where nothing else runs."""

    def full(_):
        raise StudyError("cannot write journal.log: No space left on device")

    ledger = SimpleNamespace(startable=3, unstarted=0, live=set(), next=full)
    interruption = Interruption(lambda: False)
    around = SimpleNamespace(avoided=list, leaving={}, took=None)
    pruning = SimpleNamespace(wakes=lambda _: [])
    dispatcher = Dispatcher(
        ledger, pruning, around, Resources(), lambda: 1, None, None, [], interruption
    )
    workers = Workers(dispatcher, around)
    assert not interruption.stop_all()
    assert workers.suggest("a") == {"worker": 1, "avoided": []}
    dispatcher.on_trial_start(trial=SimpleNamespace(trial_id="a"))
    assert workers.suggest("b") == Searcher.FINISHED
    assert interruption.stop_all()
    assert "No space left" in str(interruption.trouble)


# With Ray


STUDY = """
data: {name: digits}
generator: {name: "toys:BuggyGenerator", kind: {choice: [good, always-death]}}
discriminator: {name: mlp, depth: 1, width: 16}
budget: {steps: 400, report_every: 20}
evaluation: {samples: 50, metrics: [fd_classifier]}
search: {trials: 2, sampler: random, seed: 3}
pruner: {name: none}
health: {collapsed: false, stalled: false}
resources: {retries: 0}
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return tmp_path


@pytest.mark.slow
def test_a_study_that_cannot_save_stops_and_goes_on(work):
    """A file in the place of the trials' folder: nobody can save there, whoever they are."""
    Path("study.yaml").write_text(STUDY.replace("[good, always-death]", "[good]"))
    trials = work / "runs" / "study" / "trials"

    def block():
        while reports("study") < 3:
            time.sleep(0.01)
        trials.rename("elsewhere")
        trials.touch()

    with connected(None):
        threading.Thread(target=block, daemon=True).start()
        with pytest.raises(StudyError) as stopped:
            gansearch.run("study.yaml", tracking="off", concurrency=1)
        text = str(stopped.value)
        assert text.startswith("no trial goes on: trial 0's worker died 1 times at step")
        assert f"StorageError: cannot save checkpoints in {trials}/0000: " in text
        assert text.endswith("When that is mended, `gansearch resume` goes on")
        found = gansearch.status("study")
        assert found["state"] == "interrupted"
        assert found["counts"] == {"interrupted": 1}

        trials.unlink()
        Path("elsewhere").rename(trials)
        result = gansearch.resume("study", tracking="off")
    assert list(result.trials["outcome"]) == ["completed"] * 2
    assert not result.trials["reason"].any()
    steps = gansearch.curves("study").query("number == 0")["step"]
    assert steps.tolist() == list(range(20, 401, 20))


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux alone has the monitor")
@pytest.mark.slow
def test_a_configuration_that_needs_more_memory_than_there_is(work, monkeypatch):
    """Ray's memory monitor kills it, and the study goes on."""
    import psutil

    total, room = psutil.virtual_memory().total, 3 * 2**30
    used = total - psutil.virtual_memory().available
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{(used + room) / total:.4f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    Path("study.yaml").write_text(STUDY.replace("[good, always-death]", "[good, hoard]"))
    table = gansearch.run("study.yaml", trials=6, tracking="off", concurrency=1).trials
    found = {kind: set(rows["reason"]) for kind, rows in table.groupby("param.generator.kind")}
    assert found == {
        "good": {""},
        "hoard": {"its worker died 1 times at step 0: out of memory, the machine's"},
    }

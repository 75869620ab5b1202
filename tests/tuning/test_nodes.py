"""A study on several real nodes, each a raylet of its own on this machine, which come and go."""

from __future__ import annotations

import gc
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch
from processes import finish, launch, wait_for_reports
from ray._private.internal_api import node_stats
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

import gansearch
from gansearch.data.images import ImageData
from gansearch.data.load import load
from gansearch.errors import ClusterError, UserError
from gansearch.journal.directory import LOG
from gansearch.metrics.reference import load_reference
from gansearch.study.config import TrialConfig
from gansearch.study.plan import Resources
from gansearch.training import checkpoint
from gansearch.training.trainer import Trainer
from gansearch.tuning.connection import connected
from gansearch.tuning.engine import _request
from gansearch.tuning.nodes import Nodes

STUDY = """
data: {name: digits, image_size: 64}
generator: {name: "placed:Placed"}
discriminator: {name: mlp, depth: 1, width: 16}
optimizer: {generator: {lr: {log: [1e-4, 1e-2]}}}
batch_size: 16
budget: {steps: 400, report_every: 10}
evaluation: {samples: 50, metrics: [diversity]}
objective: {metric: diversity, goal: max}
search: {trials: 3, sampler: random}
pruner: {name: none}
health: {collapsed: false, stalled: false}
resources: {retries: 0}
keep: 3
"""

PLACED = """
import time
from pathlib import Path

import ray
from torch import nn

class Placed(nn.Module):
    '''Says where it is, and what it was loaded from; takes its time until a file is there.'''

    def __init__(self, image_shape, latent_size):
        super().__init__()
        self.shape = image_shape
        self.layer = nn.Linear(latent_size, 64 * 64)
        if ray.is_initialized():
            print("node", ray.get_runtime_context().get_node_id(), "file", __file__)

    def forward(self, latents):
        if self.training and not Path("FAST").exists():
            time.sleep(0.1)
        return self.layer(latents).tanh().view(-1, *self.shape)
"""


class Machines:
    """A head that trains nothing, with its driver; nodes are added, drained and killed."""

    def __init__(self) -> None:
        quick = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
        quick |= {"worker_niceness": 0}
        here = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
        head = {"num_cpus": 0, "_system_config": quick, **here}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address = self._cluster.address

    def add(self, **what):
        return self._cluster.add_node(node_ip_address="127.0.0.1", **{"num_cpus": 1} | what)

    def kill(self, node) -> None:
        """As if its plug were pulled."""
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        for process in [raylet, *raylet.children(recursive=True)]:
            process.send_signal(signal.SIGKILL)
        self._cluster.worker_nodes.discard(node)

    def drain(self, node, seconds: float) -> None:
        """As a cloud does with a spot machine."""
        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        deadline = int((time.time() + seconds) * 1000)
        accepted, why = GcsClient(self.address).drain_node(node.node_id, reason, "spot", deadline)
        assert accepted, why

    def wait_for(self, count: int) -> None:
        """Until the cluster has so many nodes."""
        deadline = time.monotonic() + 60
        while len(self._cluster.global_state._live_node_ids()) < count:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def shutdown(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def machines():
    found = Machines()
    yield found
    found.shutdown()


@pytest.fixture
def folder(tmp_path, monkeypatch, machines):
    """Where the driver works: the nodes have started before, elsewhere."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # or Ray takes 127.0.0.1 for another
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY)
    Path("placed.py").write_text(PLACED.replace("FAST", str(tmp_path / "fast")))
    return tmp_path


def places(name, trial):
    """The nodes on which a trial has been, in order, and the files that were loaded there."""
    log = Path("runs", name, "trials", f"{trial:04d}", LOG)
    found = re.findall(r"^node (\w+) file (.*)$", log.read_text() if log.exists() else "", re.M)
    return [node for node, _ in found], [file for _, file in found]


def used(name):
    """The node on which each trial is, or was last."""
    return {found[-1] for trial in range(3) if (found := places(name, trial)[0])}


def wait(condition, process=None, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def in_store(node) -> int:
    """Bytes of objects that a node holds."""
    stats = node_stats(node.node_ip_address, node.node_manager_port)
    return stats.store_stats.object_store_bytes_used


def exact(report):
    metrics = {k: v for k, v in report.metrics.items() if k != "images_per_second"}
    return report.step, report.images, metrics, report.outcome, report.reason


def assert_same(a, b, path="") -> None:
    assert type(a) is type(b), path
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a.keys() - {"seconds", "time", "images_per_second", "usage"}:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for index, (left, right) in enumerate(zip(a, b, strict=True)):
            assert_same(left, right, f"{path}[{index}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


NODE = """
import signal, sys
from ray._private.node import Node
from ray._private.parameter import RayParams

Node(RayParams(
    gcs_address=sys.argv[1], node_ip_address="127.0.0.1", num_cpus=int(sys.argv[2]), num_gpus=0,
    object_store_memory=150 * 2**20, min_worker_port=0, max_worker_port=0, node_manager_port=0,
    dashboard_agent_listen_port=None, include_log_monitor=False,
), head=False)
signal.pause()
"""


@pytest.fixture
def blind(folder, machines):
    """Starts a node that does not see the runs directory."""
    can = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if can.returncode:
        pytest.skip(f"a mount namespace needs root: {can.stderr.decode().strip()}")
    started = []

    def make(cpus) -> None:
        Path("runs").mkdir(exist_ok=True)
        other = f"mount -t tmpfs tmpfs {shlex.quote(str(folder / 'runs'))}"
        node = shlex.join([sys.executable, "-c", NODE, machines.address, str(cpus)])
        command = ["unshare", "--mount", "sh", "-c", f"{other} && exec {node}"]
        started.append(subprocess.Popen(command))

    yield make
    for process in started:
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            each.kill()
        process.wait()


def test_nodes_that_do_not_share_the_runs_directory_are_named_before_anything_is_made(
    folder, machines, blind
):
    machines.add()
    blind(1)
    machines.wait_for(3)
    code, _, err = finish(launch("run", "study.yaml", "--address", machines.address))
    assert code == 2
    assert f"{folder}/runs must be one place for all nodes" in err
    assert err.count("does not see what the driver wrote there") == 1
    assert "s3://BUCKET/runs" in err
    assert "Traceback" not in err
    assert list(Path("runs").iterdir()) == []


@pytest.mark.slow
def test_a_node_that_joins_without_the_runs_directory_gets_no_trials(folder, machines, blind):
    study = STUDY.replace("steps: 400", "steps: 100").replace("trials: 3", "trials: 4")
    Path("study.yaml").write_text(study)
    machines.add()
    arguments = ("run", "study.yaml", "--address", machines.address, "--tracking", "off", "--name")
    process = launch(*arguments, "seen")
    wait_for_reports("seen", 1, process)
    blind(2)
    machines.wait_for(3)
    time.sleep(5)  # in which a trial could begin there
    Path("fast").touch()
    code, _, err = finish(process)
    assert code == 0, err
    assert "no trials for node" in err
    assert "does not see what the driver wrote there" in err
    table = gansearch.trials("seen")
    assert list(table["outcome"]) == ["completed"] * 4
    assert len(used("seen")) == 1
    assert all(len(places("seen", trial)[0]) == 1 for trial in range(4)), "none began there"


@pytest.mark.slow
def test_the_driver_keeps_no_copy_of_the_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY.replace("placed:Placed", "mlp"))
    held = []

    def look(*_):
        gc.collect()
        held.extend(each for each in gc.get_objects() if isinstance(each, ImageData))
        return True

    monkeypatch.setattr("gansearch.tuning.launch._go_on", look)
    before = {id(each) for each in gc.get_objects() if isinstance(each, ImageData)}
    with suppress(UserError):  # nothing has run, so there is no table to show
        gansearch.run("study.yaml", tracking="off")
    assert Path("runs/study/study.yaml").exists()
    assert [each for each in held if id(each) not in before] == []


@pytest.fixture
def ray(machines, monkeypatch):
    """A driver on the head; its workers need no torch."""
    monkeypatch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)  # as above
    with connected(machines.address) as ray:
        yield ray


def start_actor(ray, wanted, avoided=()):
    """A worker in the place of a trial's, started as Tune does, and its placement group."""

    class Place:  # here, for it to travel: the nodes do not know this file
        def where(self):
            return ray.get_runtime_context().get_node_id(), os.environ.get("CUDA_VISIBLE_DEVICES")

        def pid(self):
            return os.getpid()

    group = _request(wanted, {"avoided": list(avoided)}).to_placement_group()
    there = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
    options = {"num_cpus": wanted.cpus, "num_gpus": wanted.gpus, "scheduling_strategy": there}
    return ray.remote(Place).options(**options).remote(), group


def test_trials_that_share_gpus_are_each_on_one_device(machines, ray):
    two, none = machines.add(num_cpus=8, num_gpus=2), machines.add(num_cpus=8)
    wanted = Resources(gpus=0.4)
    nodes = Nodes(ray, wanted, elastic=True, say=print)
    nodes.check_resources()
    assert nodes.slots() == 2 * 2 + 1, "one more waits, for an autoscaler to see"
    started = [start_actor(ray, wanted) for _ in range(5)]
    places = ray.get([actor.where.remote() for actor, _ in started[:4]])
    assert Counter(places) == {(two.node_id, "0"): 2, (two.node_id, "1"): 2}
    assert not started[4][1].wait(0.5), "no share of two devices, and none where there are none"
    assert none.node_id not in {node for node, _ in places}
    lacking = Nodes(ray, Resources(gpus=3), elastic=True, say=print)
    with pytest.raises(ClusterError, match=r"resources.gpus: a trial asks for 3 GPUs"):
        lacking.check_resources()


def test_whose_fault_the_death_of_a_worker_is(machines, ray):
    first, second = machines.add(num_cpus=2), machines.add(num_cpus=1)
    said = []
    nodes = Nodes(ray, Resources(), elastic=True, say=said.append)
    assert nodes.slots() == 4
    assert not nodes.alone
    actors = [start_actor(ray, Resources())[0] for _ in range(3)]
    where = [node for node, _ in ray.get([actor.where.remote() for actor in actors])]
    killed, lost = [actor for actor, node in zip(actors, where, strict=True) if node == first.node_id]
    (drained,) = [actor for actor, node in zip(actors, where, strict=True) if node == second.node_id]

    os.kill(ray.get(killed.pid.remote()), signal.SIGKILL)
    wait(lambda: not nodes.took(killed._actor_id.hex()))
    machines.kill(first)
    # A machine that ends may tell of its workers' ends first; its sockets close some moments later.
    wait(lambda: nodes.took(killed._actor_id.hex()))
    assert nodes.took(lost._actor_id.hex()), "nobody knows it yet"
    wait(lambda: first.node_id not in {n["NodeID"] for n in ray.nodes() if n["Alive"]})
    assert nodes.took(lost._actor_id.hex())
    wait(lambda: nodes.slots() == 2)

    machines.drain(second, 30)
    wait(lambda: (nodes.look(), nodes.leaving)[1])
    assert list(nodes.leaving) == [nodes.node_of(drained._actor_id.hex())] == [second.node_id]
    gone, leaves = said
    assert f"{first.node_id[:8]}) is gone" in gone
    assert f"{second.node_id[:8]}) is to end" in leaves
    assert not nodes.hurries(second.node_id)
    assert 25 < nodes.leaving[second.node_id] - time.time() < 31
    os.kill(ray.get(drained.pid.remote()), signal.SIGKILL)
    wait(lambda: ray._private.state.actors(drained._actor_id.hex())["State"] == "DEAD")
    assert nodes.took(drained._actor_id.hex()), "whatever it died of, its node was going"

    third = machines.add(num_cpus=3)
    begun = time.monotonic()
    wait(lambda: nodes.slots() == 4)
    assert time.monotonic() - begun < 5
    _, group = start_actor(ray, Resources(), avoided=[third.node_id])
    assert not group.wait(1), "where no trial is to be started, none is"


@pytest.mark.slow  # half a minute
@pytest.mark.timeout(300)
def test_trials_survive_nodes_that_die_that_leave_and_that_join(folder, machines, monkeypatch):
    first, second = machines.add(num_cpus=2), machines.add()
    arguments = ("run", "study.yaml", "--address", machines.address, "--tracking", "off", "--name")
    process = launch(*arguments, "moved")
    wait(lambda: used("moved") == {first.node_id, second.node_id}, process)
    images = load("digits", {}, root=Path(), split="train", image_size=64)
    size = images.images.nbytes
    assert size < in_store(first) < 1.5 * size, "one copy for two trials"
    assert size < in_store(second) < 1.5 * size

    Path("placed.py").unlink()  # of the driver's folder, which other machines would not have
    machines.kill(first)
    third = machines.add(num_cpus=2)
    wait(lambda: third.node_id in used("moved"), process)
    machines.drain(second, 60)
    wait(lambda: used("moved") == {third.node_id}, process)
    Path("fast").touch()
    code, _, err = finish(process)
    assert code == 0, err
    assert "Traceback" not in err
    assert f"{second.node_id[:8]}) is to end" in err

    monkeypatch.syspath_prepend("runs/moved/modules")
    reference = load_reference(Path("runs/moved/reference.safetensors"))
    records = gansearch.evidence("moved").search
    assert len(records) == 3
    for trial in records:
        folder = Path("runs/moved/trials", f"{trial.number:04d}")
        (kept,) = checkpoint.steps(folder)
        alone = Trainer(TrialConfig.model_validate(trial.config), images, reference)
        while not alone.finished:
            if alone.advance().step == kept:
                saved = checkpoint.latest(folder)
                assert saved.pop("usage").keys() >= {kept}
                assert_same(saved, alone.state())
        assert_same([exact(r) for r in trial.reports], [exact(r) for r in alone.reports])
        _, files = places("moved", trial.number)
        assert "py_modules" in files[-1], "sent, not found"


CLUSTER_LISTS = (
    *("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files"),
    *("rsync_exclude", "rsync_filter"),
)


@pytest.fixture
def scaled(tmp_path, monkeypatch):
    """The address of a head that trains nothing, beside an autoscaler that adds a node where one waits.

    Ray's own `AutoscalingCluster` ends every Ray on the machine first.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    worker = {"CPU": 1, "object_store_memory": 150 * 2**20}
    config = {
        "cluster_name": "fake",
        "max_workers": 2,
        "upscaling_speed": 1000,
        "idle_timeout_minutes": 0.05,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "available_node_types": {
            "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": worker, "node_config": {}, "min_workers": 0, "max_workers": 1},
        },
        "head_node_type": "head",
        **{key: {} for key in ("auth", "docker", "file_mounts")},
        **{key: [] for key in CLUSTER_LISTS},
        "file_mounts_sync_continuously": False,
    }
    file = tmp_path / "cluster.json"
    file.write_text(json.dumps(config))
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--block",
        f"--autoscaling-config={file}",
        "--num-cpus=0",
    ]
    command += ["--include-dashboard=false", f"--port={address.rpartition(':')[2]}"]
    command += ["--node-ip-address=127.0.0.1", "--disable-usage-stats"]
    fake = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1", "RAY_worker_niceness": "0"}
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # whatever token this machine has
    env = os.environ | fake
    with (tmp_path / "ray.log").open("wb") as log:
        head = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        wait(lambda: ray_nodes(address) == 1, head)
        yield address
    finally:
        for each in [*psutil.Process(head.pid).children(recursive=True), head]:
            with suppress(psutil.NoSuchProcess):  # it ended with another
                each.kill()
        head.wait()


def ray_nodes(address):
    """How many nodes a cluster has; 0 where there is none."""
    try:
        found = GcsClient(address).get_all_node_info(timeout=2)
    except Exception:
        return 0
    return sum(node.state == node.GcsNodeState.ALIVE for node in found.values())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_cluster_scaled_to_nothing_is_scaled_up_and_down_again(scaled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY.replace("steps: 400", "steps: 20"))
    Path("placed.py").write_text(PLACED.replace("FAST", str(tmp_path / "fast")))
    Path("fast").touch()
    code, _, err = finish(launch("run", "study.yaml", "--address", scaled, "--tracking", "off"))
    assert code == 0, err
    assert "the largest node has 0; waiting for the autoscaler to add one" in err
    assert list(gansearch.trials("study")["outcome"]) == ["completed"] * 3
    wait(lambda: ray_nodes(scaled) == 1)

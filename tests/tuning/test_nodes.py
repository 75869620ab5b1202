"""A study on several real nodes, each a raylet of its own on this machine, which come and go."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from processes import finish, launch, reports, wait_for_reports
from ray._private.internal_api import node_stats
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason

import gansearch
from gansearch.data.load import load
from gansearch.study.directory import LOG
from gansearch.metrics.reference import load_reference
from gansearch.study.config import TrialConfig
from gansearch.training import checkpoint
from gansearch.training.trainer import Trainer

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

import ray
from torch import nn

class Placed(nn.Module):
    '''Says where it is, and what it was loaded from.'''

    def __init__(self, image_shape, latent_size):
        super().__init__()
        self.shape = image_shape
        self.layer = nn.Linear(latent_size, 64 * 64)
        if ray.is_initialized():
            print("node", ray.get_runtime_context().get_node_id(), "file", __file__)

    def forward(self, latents):
        if self.training:
            time.sleep(0.03)
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
    Path("placed.py").write_text(PLACED)
    return tmp_path


def places(name, trial):
    """The nodes on which a trial has been, in order, and the files that were loaded there."""
    log = Path("runs", name, "trials", f"{trial:04d}", LOG)
    found = re.findall(r"^node (\w+) file (.*)$", log.read_text() if log.exists() else "", re.M)
    return [node for node, _ in found], {file for _, file in found}


def used(name):
    """The node on which each trial is, or was last."""
    return {found[-1] for trial in range(3) if (found := places(name, trial)[0])}


def wait(condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
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

    machines.kill(first)
    third = machines.add(num_cpus=2)
    wait(lambda: third.node_id in used("moved"), process)
    machines.drain(second, 60)
    wait(lambda: used("moved") == {third.node_id}, process)
    code, _, err = finish(process)
    assert code == 0, err
    assert "Traceback" not in err
    assert f"{second.node_id[:8]}) is to end" in err

    monkeypatch.setattr("time.sleep", lambda _: None)
    reference = load_reference(Path("runs/moved/reference.safetensors"))
    records = gansearch.evidence("moved").search
    assert len(records) == 3
    for trial in records:
        folder = Path("runs/moved/trials", f"{trial.number:04d}")
        (kept,) = checkpoint.steps(folder)
        alone = Trainer(TrialConfig.model_validate(trial.config), images, reference)
        while not alone.finished:
            if alone.advance().step == kept:
                assert_same(checkpoint.latest(folder), alone.state())
        assert_same([exact(r) for r in trial.reports], [exact(r) for r in alone.reports])
        _, files = places("moved", trial.number)
        assert all("py_modules" in file for file in files), "sent, not found"

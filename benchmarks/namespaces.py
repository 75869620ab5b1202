"""A study on three machines that share nothing but a network and one folder; two of them fail.

Each machine is a network namespace with an address of its own, a process namespace, and a disk of its
own: other home, /tmp and /dev/shm. Only /srv is the same for all, as a shared file system would be.
The head has the driver, the study file and the user's module, and trains nothing. While the study runs:

1. the first worker's raylet and its processes are killed with SIGKILL;
2. a machine of its address joins in its place;
3. the second worker's link is set down.

In the end every trial must have the reports, and the checkpoint, that it has when it is trained alone.
It needs root and `ip` (iproute2), and takes some five minutes:

    python -m benchmarks.namespaces
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

import gansearch
from gansearch.data.load import load
from gansearch.files import Place
from gansearch.journal.directory import StudyDirectory
from gansearch.metrics.reference import load_reference
from gansearch.study.config import TrialConfig
from gansearch.study.records import Report
from gansearch.training import checkpoint
from gansearch.training.trainer import Trainer

HUB, NET = "gs-hub", "10.77.0"
SHARED = "/srv"

STUDY = """
data: {name: digits}
generator: {name: "placed:Placed"}
discriminator: {name: mlp, depth: 1, width: 16}
optimizer: {generator: {lr: {log: [1e-4, 1e-2]}}}
batch_size: 16
budget: {steps: 2000, report_every: 10}
evaluation: {samples: 50, metrics: [diversity]}
objective: {metric: diversity, goal: max}
search: {trials: 4, sampler: random}
pruner: {name: none}
health: {collapsed: false, stalled: false}
resources: {retries: 0}
keep: 4
"""

MODULE = """
import socket
import time

import ray
from torch import nn

class Placed(nn.Module):
    '''Says where it is, and takes its time.'''

    def __init__(self, image_shape, latent_size):
        super().__init__()
        self.shape = image_shape
        self.layer = nn.Linear(latent_size, 64)
        self.away = ray.is_initialized()
        if self.away:
            print("at", ray.util.get_node_ip_address(), "file", __file__)

    def forward(self, latents):
        if self.training and self.away:
            time.sleep(0.05)
        return self.layer(latents).tanh().view(-1, *self.shape)
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Machine:
    """A machine of its own: address, disk, processes."""

    def __init__(self, name: str, number: int, base: Path) -> None:
        self.namespace, self.address = f"gs-{name}", f"{NET}.{number}"
        self.disk, self.shared = base / name, base / "shared"
        self.process: subprocess.Popen[bytes] | None = None
        end = f"{self.namespace}-0"
        ip("netns", "add", self.namespace)
        ip("link", "add", end, "netns", HUB, "type", "veth", "peer", "eth0", "netns", self.namespace)
        ip("-n", HUB, "link", "set", end, "master", "bridge", "up")
        ip("-n", self.namespace, "address", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.namespace, "link", "set", device, "up")

    def start(self, *ray: str) -> None:
        """Switch it on, with an empty disk, and start Ray on it."""
        shutil.rmtree(self.disk, ignore_errors=True)
        (self.disk / "home").mkdir(parents=True)
        (self.disk / "tmp").mkdir()
        mounts = [
            f"mount --bind {self.shared} {SHARED}",
            "mount -t tmpfs tmpfs /dev/shm",
            f"mount --bind {self.disk / 'home'} /home",
            f"mount --bind {self.disk / 'tmp'} /tmp",  # the last: what is above may lie under it
        ]
        command = shlex.join(
            [
                "ray",
                "start",
                "--block",
                f"--node-ip-address={self.address}",
                "--disable-usage-stats",
                *ray,
            ]
        )
        inside = " && ".join([*mounts, "cd /home", f"exec {command}"])
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
        with (self.disk / "ray.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *own, inside],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
            )

    def command(self, *words: str) -> subprocess.Popen[str]:
        """A process on it, in its home."""
        assert self.process is not None
        inner, inside = self._inner(), ["sh", "-c", f"cd /home && exec {shlex.join(words)}"]
        return subprocess.Popen(
            ["nsenter", "-t", str(inner), "--mount", "--pid", "--net", *inside],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(),
        )

    def kill(self) -> None:
        """Kill all that runs on it, its raylet and workers among it."""
        if self.process is None:
            return
        if self.process.poll() is None:
            os.kill(
                self._inner(), signal.SIGKILL
            )  # the first of its process namespace: all end with it
        self.process.wait()
        self.process = None

    def cut(self) -> None:
        """Pull its cable."""
        ip("-n", self.namespace, "link", "set", "eth0", "down")

    def _inner(self) -> int:
        """The process that is the first one in the machine's own process namespace."""
        assert self.process is not None
        pid, own = self.process.pid, Path("/proc/self/ns/pid").readlink()
        while Path(f"/proc/{pid}/ns/pid").readlink() == own:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if not children:
                log = (self.disk / "ray.log").read_text()
                raise SystemExit(f"Ray did not start on {self.namespace}:\n{log[-3000:]}")
            pid = int(children[0])
        return pid

    def _environment(self) -> dict[str, str]:
        own = {"HOME": "/home", "TMPDIR": "/tmp", "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
        venv = str(Path(sys.executable).parent)
        return {"PATH": f"{venv}:{os.environ['PATH']}", **own}


def wait(condition: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise SystemExit(f"the study did not get there:\n{process.communicate()[0][-3000:]}")
        time.sleep(0.1)


def places(folder: Place) -> list[str]:
    """The addresses at which a trial has been, in order."""
    log = folder / "log.txt"
    return re.findall(r"^at (\S+) file .*py_modules", log.read_text(), re.M) if log.exists() else []


def exact(report: Report) -> tuple[Any, ...]:
    metrics = {k: v for k, v in report.metrics.items() if k != "images_per_second"}
    return report.step, report.images, metrics, report.outcome, report.reason


def same(a: Any, b: Any) -> bool:
    """Whether two states are one to the bit, but for their clocks."""
    if isinstance(a, dict):
        clocks = {"seconds", "time", "images_per_second", "usage"}
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a.keys() - clocks)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


def study(head: Machine, one: Machine, two: Machine) -> tuple[dict[str, float], str]:
    """Run the study, and spoil it; returns when what happened, and what the driver said."""
    head.start("--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false")
    join = f"--address={head.address}:6379"
    (head.disk / "home" / "study.yaml").write_text(STUDY)
    (head.disk / "home" / "placed.py").write_text(MODULE)
    time.sleep(8)
    for worker in (one, two):
        worker.start(join, "--num-cpus=2")
    time.sleep(8)
    arguments = ("--runs-dir", f"{SHARED}/runs", "--name", "study", "--tracking", "off")
    driver = head.command(
        sys.executable, "-m", "gansearch", "run", "study.yaml", "--address", "auto", *arguments
    )
    trials = [StudyDirectory(head.shared / "runs" / "study").trial(n) for n in range(4)]

    def at() -> list[str]:
        return [found[-1] for folder in trials if (found := places(folder))]

    both = sorted(2 * [one.address, two.address])
    wait(lambda: sorted(at()) == both, driver)
    print(f"trials are at {', '.join(at())}", flush=True)
    time.sleep(5)
    when = {"killed": time.time()}
    one.kill()
    print("the first worker is killed", flush=True)
    time.sleep(3)
    one.start(join, "--num-cpus=2")
    when["started"] = time.time()
    wait(lambda: sum(place == one.address for folder in trials for place in places(folder)) > 2, driver)
    when["joined"] = time.time()
    wait(lambda: sorted(at()) == both, driver)
    print(f"it is back, and trials are at {', '.join(at())}", flush=True)
    time.sleep(5)
    when["cut"] = time.time()
    two.cut()
    print("the second worker's cable is pulled", flush=True)
    wait(lambda: driver.poll() is not None or at() == 4 * [one.address], driver, 300)
    print(f"trials are at {', '.join(at())}", flush=True)
    said, _ = driver.communicate(timeout=300)
    if driver.returncode:
        raise SystemExit(f"the study failed:\n{said[-3000:]}")
    return when, said


def main() -> None:
    if os.geteuid() or not shutil.which("ip"):
        sys.exit("this needs root and `ip` (iproute2): it makes network namespaces")
    base = Path(tempfile.mkdtemp(prefix="gansearch-namespaces-", dir="/var/tmp"))
    (base / "shared").mkdir()
    ip("netns", "add", HUB)
    ip("-n", HUB, "link", "add", "bridge", "type", "bridge")
    ip("-n", HUB, "link", "set", "bridge", "up")
    machines: list[Machine] = []
    try:
        for number, name in enumerate(("head", "one", "two"), 1):
            machines.append(Machine(name, number, base))
        when, said = study(*machines)
        show(base / "shared" / "runs" / "study", when, said)
    finally:
        for machine in machines:
            machine.kill()
            ip("netns", "delete", machine.namespace)
        ip("netns", "delete", HUB)
        shutil.rmtree(base, ignore_errors=True)


def show(path: Path, when: dict[str, float], said: str) -> None:
    print(said)
    sys.path.append(str(path / "modules"))
    data = load("digits", {}, root=Path(), split="train")
    reference = load_reference(path / "reference.safetensors")
    print(
        "| trial | outcome | was at | to the bit as trained alone | longest gap after kill, cut (s) |"
    )
    print("|---|---|---|---|---|")
    for record in gansearch.evidence(path).search:
        folder = StudyDirectory(path).trial(record.number)
        (kept,) = checkpoint.steps(folder)
        alone = Trainer(TrialConfig.model_validate(record.config), data, reference)
        states_agree = False
        while not alone.finished:
            if alone.advance().step == kept:
                states_agree = same(checkpoint.latest(folder), alone.state())
        equal = [*map(exact, record.reports)] == [*map(exact, alone.reports)] and states_agree
        times = [report.time for report in record.reports]
        gaps = [
            max((b - a for a, b in pairwise(times) if b > at and a < at + 60), default=0.0)
            for at in (when["killed"], when["cut"])
        ]
        way = " → ".join(place.rpartition(".")[2] for place in places(folder))
        seconds = ", ".join(f"{gap:.0f}" for gap in gaps)
        print(f"| {record.number} | {record.outcome} | {way} | {equal} | {seconds} |")
    print(
        f"\nfrom `ray start` on the machine that came back to its first trial: "
        f"{when['joined'] - when['started']:.0f} s"
    )


if __name__ == "__main__":
    main()

"""The faults: how each strikes, and what is mended by another hand."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults.machines import (
    HEAD,
    NODES,
    REDIS,
    kill,
    mount,
    processes,
    quietly,
    trainers,
)
from benchmarks.faults.study import SECONDS, Study


def fill(disk: Path) -> Path:
    """Leave no room on a small disk; returns the file that takes it."""
    if not disk.is_mount():
        raise RuntimeError(f"{disk} is no disk of its own")
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (2**20, 2**12, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size):
                    pass
    return ballast


def ended(study: Study, number: int) -> bool:
    return study.journal().trials()[number].outcome.ended


@contextlib.contextmanager
def disks(study: Study, fault: str) -> Iterator[None]:
    """A small disk where a fault is to fill one."""
    if fault in ("runs-full", "journal-full"):
        mount(study.runs)
    try:
        yield
    finally:
        for place in (study.path / "trials", study.runs):
            if place.is_mount():
                quietly(["umount", "-l", str(place)])


class Strike:
    """A strike at a running study, by one of the faults, each of which also repairs what it broke where
    that would be a matter of another hand.
    """

    def __init__(self, study: Study, chance: random.Random) -> None:
        self.study, self.world, self.chance = study, study.world, chance

    def worker(self) -> None:
        """kill -9 of the process of a trial"""
        kill([self.chance.choice(trainers())])

    def node(self) -> None:
        """kill -9 of a node: raylet and all its workers; another joins later"""
        name = self.chance.choice(NODES)
        self.world.machines.kill(name)
        time.sleep(self.chance.uniform(0, 5))
        self.world.machines.start(name)

    def driver(self) -> None:
        """kill -9 of the driver"""
        self.study.driver.kill()
        self.study.driver.wait()
        time.sleep(self.chance.uniform(0, 2))
        self.study.resume()

    def gcs(self) -> None:
        """kill -9 of the head's GCS, which comes back with its state from Redis"""
        (server,) = processes("gcs/gcs_server")
        command = server.cmdline()
        kill([server])
        time.sleep(self.chance.uniform(1, 6))
        subprocess.Popen(
            command,
            env=self.world.machines.environment | {"RAY_REDIS_ADDRESS": f"127.0.0.1:{REDIS}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def head(self) -> None:
        """kill -9 of the whole head, the driver's raylet with it; it comes back, state from Redis"""
        self.world.machines.kill(HEAD)
        time.sleep(self.chance.uniform(0, 3))
        self.world.machines.start_head()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.study.driver.wait(90)
        if not self.study.ended:
            self.study.hung += 1
            self.study.driver.kill()
            self.study.driver.wait()
        self.study.resume()

    def mlflow(self) -> None:
        """kill -9 of the MLflow server, for some seconds"""
        self.world.kill_server()
        time.sleep(self.chance.uniform(1, 6))
        self.world.serve()

    def mlflow_gone(self) -> None:
        """kill -9 of the MLflow server, for the rest of the study"""
        self.world.kill_server()
        self.study.driver.wait(SECONDS)

    def postgresql(self) -> None:
        """PostgreSQL killed (-9) or stopped at once, for 5 to 20 s"""
        self.chance.choice([self.world.postgresql.kill, self.world.postgresql.stop])()
        time.sleep(self.chance.uniform(5, 20))
        self.world.postgresql.start()

    def runs_full(self) -> None:
        """the disk of the runs directory full for 2 to 8 s, checkpoints and journal included"""
        ballast = fill(self.study.runs)
        time.sleep(self.chance.uniform(2, 8))
        ballast.unlink()

    def journal_full(self) -> None:
        """the disk of the journal full for 2 to 8 s, the checkpoints being elsewhere"""
        self.runs_full()

    def trials_full(self) -> None:
        """the disk of the checkpoints full for 2 to 8 s, the journal being elsewhere"""
        ballast = fill(self.study.path / "trials")
        time.sleep(self.chance.uniform(2, 8))
        ballast.unlink()

    def node_full(self) -> None:
        """a node's own disk (Ray's logs, sockets, spilled objects) full for 5 to 15 s"""
        ballast = fill(self.world.machines.disk(NODES[-1]))
        time.sleep(self.chance.uniform(5, 15))
        ballast.unlink()

    def checkpoint(self) -> None:
        """every trial's newest checkpoint cut in half, or garbage in it, and its worker killed (-9)"""
        found = trainers()
        for process in found:  # so that none writes a newer one meanwhile
            process.suspend()
        for folder in (self.study.path / "trials").iterdir():
            newest = max(folder.glob("step-*.pt"), default=None)
            if newest is None or ended(self.study, int(folder.name)):
                continue
            content = bytearray(newest.read_bytes())
            middle = len(content) // 2
            if self.chance.random() < 0.5:
                content = content[:middle]
            else:
                content[middle : middle + 512] = self.chance.randbytes(512)
            newest.write_bytes(content)
        kill(found)


FAULTS: dict[str, Callable[[Strike], None]] = {
    "worker": Strike.worker,
    "node": Strike.node,
    "driver": Strike.driver,
    "gcs": Strike.gcs,
    "head": Strike.head,
    "mlflow": Strike.mlflow,
    "mlflow-gone": Strike.mlflow_gone,
    "postgresql": Strike.postgresql,
    "runs-full": Strike.runs_full,
    "journal-full": Strike.journal_full,
    "trials-full": Strike.trials_full,
    "node-full": Strike.node_full,
    "checkpoint": Strike.checkpoint,
}

ONCE = {"head", "mlflow-gone"}
"""Of these one strike is enough for a round."""

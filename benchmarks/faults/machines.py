"""A Ray cluster and servers on one machine, which can be killed one by one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]

HEAD, NODES = "10.77.0.1", ("10.77.0.2", "10.77.0.3")

PORT, REDIS = 6379, 6399

RAY = (sys.executable, "-m", "ray.scripts.scripts")


def quietly(command: Iterable[str], **options: Any) -> subprocess.CompletedProcess[Any]:
    nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run([*command], check=True, **nowhere | {"timeout": 120} | options)


def kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def processes(*words: str) -> list[psutil.Process]:
    """Those whose command line holds all of these words."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            line = " ".join(process.cmdline())
            if process.pid != os.getpid() and all(word in line for word in words):
                found.append(process)
    return found


def trainers() -> list[psutil.Process]:
    """The processes in which trials train, one at least; Ray calls them by what they are at."""
    for _ in range(200):
        if found := processes("ray::Worker") + processes("ray::ResourceTrainable"):
            return found
        time.sleep(0.05)
    raise RuntimeError("there is no worker to kill")


def mount(place: Path, size: str = "60m") -> None:
    quietly(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)])


class Machines:
    """A Ray cluster: a head that trains nothing and two nodes with two cores each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.address = folder, f"{HEAD}:{PORT}"
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0123456789abcdef" * 2,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "PACED_BEGINNINGS": str(folder / "beginnings"),
            "PYTHONPATH": str(REPOSITORY),
        }
        (folder / "beginnings").mkdir()
        quietly(["redis-server", "--port", str(REDIS), "--bind", "127.0.0.1", "--save", "",
                 "--dir", str(folder), "--daemonize", "yes"])  # fmt: skip
        self.start_head()
        for node in NODES:
            self.start(node)

    def start_head(self) -> None:
        # On this machine Ray takes the other nodes' processes for a head's that is there already.
        (self.disk(HEAD) / "ray_current_cluster").unlink(missing_ok=True)
        given = {"RAY_REDIS_ADDRESS": f"127.0.0.1:{REDIS}"}
        self._start(HEAD, "--head", f"--port={PORT}", "--num-cpus=0", "--include-dashboard=false",
                    **given)  # fmt: skip

    def start(self, node: str) -> None:
        self._start(node, f"--address={self.address}", "--num-cpus=2")

    def _start(self, ip: str, *options: str, **environment: str) -> None:
        disk = self.disk(ip)
        if not disk.exists():
            disk.mkdir()
            mount(disk, "300m")
        command = [*RAY, "start", f"--node-ip-address={ip}", *options, f"--temp-dir={disk}"]
        command += ["--object-store-memory=100000000"]
        said = self.folder / f"start-{ip}.txt"
        for attempt in range(3):
            with said.open("wb") as file, contextlib.suppress(subprocess.SubprocessError):
                quietly(command, env=self.environment | environment, stdout=file, stderr=file)
                return
            self.kill(ip)
            time.sleep(1 + attempt)
        raise RuntimeError(f"the node {ip} does not start: {said.read_text()[-1500:]}")

    def disk(self, ip: str) -> Path:
        """Where a node keeps what is its own: logs, sockets, what its object store spills."""
        return self.folder / f"d{ip[-1]}"

    def kill(self, ip: str) -> None:
        """As if its plug were pulled."""
        mine = processes(str(self.disk(ip)))
        kill([*mine, *(child for one in mine for child in descendants(one))])

    def whole(self) -> bool:
        """Whether all three are there."""
        return all(processes("raylet/raylet", str(self.disk(ip))) for ip in (HEAD, *NODES)) and bool(
            processes("gcs/gcs_server")
        )

    def mend(self) -> None:
        """Have all three there."""
        if not processes("gcs/gcs_server") or not processes("raylet/raylet", str(self.disk(HEAD))):
            self.kill(HEAD)
            self.start_head()
            time.sleep(3)
        for node in NODES:
            if not processes("raylet/raylet", str(self.disk(node))):
                self.start(node)


def descendants(process: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(process.children(recursive=True))
    return []


class PostgreSQL:
    """A server of the distribution's packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
        folder.mkdir()
        shutil.chown(folder, "postgres")
        self.run("initdb", "-D", f"{folder}/data", "-U", "tester", "--auth=trust", "--no-sync")
        self.start()
        self.url = f"postgresql://tester@/postgres?host={folder}"

    def run(self, program: str, *arguments: str) -> None:
        quietly(["runuser", "-u", "postgres", "--", str(self.programs / program), *arguments], cwd="/")

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder}"
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-o", options, "-l", f"{self.folder}/log",
                 "-w", "start")  # fmt: skip

    def kill(self) -> None:
        pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        family = [psutil.Process(pid), *psutil.Process(pid).children()]
        kill(family)
        psutil.wait_procs(family, timeout=10)

    def stop(self) -> None:
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "-w", "stop")

    def count(self) -> int:
        """Reports in it."""
        import psycopg  # noqa: PLC0415

        with psycopg.connect(self.url, connect_timeout=2) as connection:
            known = connection.execute("select to_regclass('trial_user_attributes')").fetchone()
            if known is None or known[0] is None:
                return 0
            query = "select count(*) from trial_user_attributes where key like 'report:%'"
            counted = connection.execute(query).fetchone()
            return int(counted[0]) if counted else 0

"""A PostgreSQL server of a test's own, on a Unix socket, to be stopped and killed."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest


def _programs() -> Path | None:
    """The folder of initdb and postgres: that of the newest version the distribution has."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in versions), default=None, key=lambda path: int(path.parent.name))


class PostgreSQL:
    """A server with an empty database of its own; it runs as `postgres` where we are root.

    Attributes:
        url: as a user would say it.
    """

    def __init__(self) -> None:
        self._programs = _programs()
        if self._programs is None:
            pytest.skip("PostgreSQL is not installed here (apt-get install postgresql)")
        # Not in pytest's folder: each pytest that begins closes that to other users, for all of them.
        self._home = TemporaryDirectory(prefix="gansearch-postgresql-", ignore_cleanup_errors=True)
        self._folder = folder = Path(self._home.name)
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        folder.chmod(0o777)
        self._run("initdb", "-D", f"{folder}/data", "-U", "tester", "--auth=trust", "--no-sync")
        self.url = f"postgresql://tester@/postgres?host={folder}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = f"-c listen_addresses= -c unix_socket_directories={self._folder} -c fsync=off"
        log = f"{self._folder}/log"
        for left in reversed(range(10)):  # what is left of a killed one may still hold its memory
            try:
                self._run(
                    "pg_ctl", "-D", f"{self._folder}/data", "-o", options, "-l", log, "-w", "start"
                )
            except subprocess.CalledProcessError:
                if not left:
                    raise RuntimeError(Path(log).read_text()[-2000:]) from None
                time.sleep(0.5)
            else:
                return

    def runs(self) -> bool:
        """Whether it does."""
        try:
            self._run("pg_ctl", "-D", f"{self._folder}/data", "status")
        except subprocess.CalledProcessError:
            return False
        return True

    def stop(self) -> None:
        """End it at once; its clients lose their connections."""
        self._run("pg_ctl", "-D", f"{self._folder}/data", "-m", "immediate", "-w", "stop")

    def kill(self) -> None:
        """kill -9 of the server; what it was in the middle of is undone when it starts again."""
        first = int((self._folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        server = psutil.Process(first)
        everyone = [server, *server.children(recursive=True)]
        for process in everyone:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(everyone, timeout=10)

    def __enter__(self) -> PostgreSQL:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        gc.collect()  # connections of storages that were left tell of it here, and in no later test
        if (self._folder / "data" / "postmaster.pid").exists():
            self.stop()

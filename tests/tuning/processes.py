"""The command line as processes, to be watched and killed."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path

import psutil


def launch(*arguments, **options):
    """The command line in a process of its own, leader of its own group."""
    return subprocess.Popen(
        [sys.executable, "-m", "gansearch", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def finish(process, timeout=240):
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def reports(name):
    """How many reports a study's journal holds; `NAME/stability` is that of its stability study."""
    path = Path("runs") / name / "journal.log"
    return path.read_text().count('"report:') if path.exists() else 0


def wait_for_reports(name, count, process, seconds=120):
    deadline = time.monotonic() + seconds
    while reports(name) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


QUIET = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "disabled"}


@contextmanager
def cluster(*options):
    """A head of one node on loopback: its address, and the processes of Ray's own by their names."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    session = tempfile.mkdtemp(prefix="ray-")  # a socket's path must be short
    command = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"),
        *("--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=1", "--disable-usage-stats"),
        *("--include-dashboard=false", "--object-store-memory=80000000", f"--temp-dir={session}"),
        *options,
    ]
    with (Path(session) / "log").open("wb") as log:
        started = subprocess.Popen(command, env={**os.environ, **QUIET}, stdout=log, stderr=log)
    family = {}
    try:
        deadline = time.monotonic() + 90
        while not {"gcs_server", "raylet"} <= family.keys():
            assert started.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
            children = psutil.Process(started.pid).children(recursive=True)
            family = {each.name(): each for each in children}
        while subprocess.run(  # until it takes drivers
            [command[0], "status", f"--address=127.0.0.1:{port}"],
            env={**os.environ, **QUIET},
            capture_output=True,
            check=False,
        ).returncode:
            assert time.monotonic() < deadline
        yield f"127.0.0.1:{port}", family
    finally:
        children = psutil.Process(started.pid).children(recursive=True)
        for each in {*children, *family.values(), psutil.Process(started.pid)}:
            if each.is_running():
                each.kill()
        started.wait()
        shutil.rmtree(session, ignore_errors=True)

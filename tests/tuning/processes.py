"""The command line as processes, to be watched and killed."""

import subprocess
import sys
import time
from pathlib import Path


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

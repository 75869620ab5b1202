"""Ray Tune's own folder: gone at the end, and after a killed driver at the next start."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gansearch.tuning.scratch import remove_leftovers, scratch

HOLD = """
import sys
from gansearch.tuning.scratch import scratch
with scratch() as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_it_is_gone_at_the_end():
    with scratch() as folder:
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


def test_that_of_a_killed_driver_is_removed_and_that_of_a_living_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # which remembers the one before
    drivers = [
        subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    killed, living = (Path(driver.stdout.readline().decode().strip()) for driver in drivers)
    try:
        assert killed.parent == tmp_path
        other = tmp_path / "gansearch-tune-another-host-1-x"
        other.mkdir()
        remove_leftovers()
        assert killed.exists()
        drivers[0].kill()
        drivers[0].wait()
        time.sleep(0.05)
        remove_leftovers()
        assert not killed.exists()
        assert living.exists()
        assert other.exists()
    finally:
        for driver in drivers:
            driver.kill()
            driver.communicate()

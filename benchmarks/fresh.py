"""A measurement in a process of its own, which nothing measured before has warmed or filled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

NOT_NICE = {"RAY_worker_niceness": "0"}
"""Ray starts its workers at niceness 15, which leaves them next to nothing of a core that anything else
wants; for a measurement on a shared machine they are as everything else."""


def in_fresh_process(module: str, *words: str) -> Any:
    """What `python -m benchmarks.MODULE --one WORDS...` prints last, as JSON; exits where it fails."""
    command = [sys.executable, "-m", f"benchmarks.{module}", "--one", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | NOT_NICE
    )
    if done.returncode:
        sys.exit(f"{words} failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])

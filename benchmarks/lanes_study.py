"""What lanes are worth as a user sees it: the wall time of a whole stability study.

    python -m benchmarks.lanes_study [--rounds 1] [--lanes 1 auto] [--seeds 8] [--steps 3000]

Runs a stability study of four configurations of the quickstart's networks, whose learning rates differ,
each on some fresh seeds, from `gansearch run` to its end: with one process per core and one thread
each (`lanes: 1`, today's build), and with `lanes: auto`, one after the other, in fresh folders. `auto`
begins with no measurement kept, so that its cost of deciding is in its time. The ratio is that of a
round's two times.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDY = """\
data: {{name: digits}}
generator: {{name: mlp, depth: 3, width: 128}}
discriminator: {{name: mlp, depth: 3, width: 128}}
budget: {{steps: {steps}, report_every: 250}}
objective: {{metric: fd_classifier, goal: min}}
health: {{collapsed: false, stalled: false, diverged: false}}
search: {{trials: 0, start: []}}
pruner: none
resources: {{lanes: {lanes}}}
stability:
  seeds: {seeds}
  default: false
  configurations:
    as it is: {{}}
    both slower: {{optimizer: {{generator: {{lr: 1e-4}}, discriminator: {{lr: 1e-4}}}}}}
    slower generator: {{optimizer: {{generator: {{lr: 5e-5}}}}}}
    slower discriminator: {{optimizer: {{discriminator: {{lr: 5e-5}}}}}}
"""


def wall(lanes: str, args: argparse.Namespace, folder: Path) -> float:
    """Seconds of one whole study, from the command to its end."""
    study = folder / "study.yaml"
    study.write_text(STUDY.format(lanes=lanes, seeds=args.seeds, steps=args.steps))
    command = [sys.executable, "-m", "gansearch", "run", str(study), "--runs-dir", str(folder / "runs")]
    command += [f"--set={override}" for override in args.set]
    environment = os.environ | {"GANSEARCH_CACHE": str(folder / "cache")}
    begun = time.monotonic()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--lanes", nargs=2, default=["1", "auto"], help="the two that are compared")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the study")
    args = parser.parse_args()
    before, after = args.lanes
    print(f"| round | load | lanes {before}, s | lanes {after}, s | ratio |\n|---|---|---|---|---|")
    ratios = []
    for number in range(args.rounds):
        load = os.getloadavg()[0]
        times = []
        for lanes in args.lanes:
            with tempfile.TemporaryDirectory() as folder:
                times.append(wall(lanes, args, Path(folder)))
        ratios.append(times[0] / times[1])
        print(
            f"| {number} | {load:.1f} | {times[0]:.0f} | {times[1]:.0f} | {ratios[-1]:.2f} |",
            flush=True,
        )
    print(f"\nmedian {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()

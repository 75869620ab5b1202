"""Memory: is the data set held once for four trials on a node, and how large is a driver at 1,000?

    python -m benchmarks.memory [--megabytes 300] [--trials 1000] [--only node|driver]

`node`: four trials at once train on `--megabytes` of made-up 32x32 colour images, each through the real
trainer. Linux tells for each process what it shares (`/proc/PID/smaps_rollup`): PSS divides a shared
page by those who map it, so the sum of PSS over all of Ray's processes is what the node holds. The
same again with a data set of 1 MB: the difference is what the data cost, and should be one data set.

`driver`: the largest resident set of a driver that runs `--trials` trials of one report each, which
train nothing, with MLflow; and what a trial takes at the beginning and the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.fresh import in_fresh_process

NODE_STUDY = """
data: {name: digits}
generator: {name: mlp, width: 64, depth: 1}
discriminator: {name: mlp, width: 64, depth: 1}
optimizer: {generator: {lr: {log: [1e-5, 1e-4]}}}
budget: {steps: 1000000, report_every: 100}
evaluation: {metrics: [diversity], samples: 100}
objective: {metric: diversity, goal: max}
search: {trials: 4, sampler: random}
pruner: {name: none}
health: {diverged: false, collapsed: false, stalled: false}
"""
MEGABYTE = 2**20
FIELDS = ("Rss", "Pss", "Pss_Shmem", "Private_Clean", "Private_Dirty")


def memory_of(pid: int) -> dict[str, float]:
    """Megabytes by kind of one process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    values = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in lines}
    return {name: values.get(name, 0.0) for name in FIELDS}


def descendants(pid: int) -> list[tuple[int, str]]:
    """The processes under one, and their command lines."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                command = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ").strip()
                found += [(child, command), *descendants(child)]
    return found


def node(megabytes: int) -> dict[str, Any]:
    """Memory of every process while four trials train."""
    import numpy as np  # noqa: PLC0415
    import ray  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    from gansearch.data.images import ImageData  # noqa: PLC0415
    from gansearch.journal.directory import StudyDirectory  # noqa: PLC0415
    from gansearch.journal.journal import Journal  # noqa: PLC0415
    from gansearch.journal.stored import StoredStudy  # noqa: PLC0415
    from gansearch.training.prepare import LocalPaths  # noqa: PLC0415
    from gansearch.training.validation import load_study  # noqa: PLC0415
    from gansearch.tuning.dispatcher import Interruption  # noqa: PLC0415
    from gansearch.tuning.launch import run  # noqa: PLC0415
    from gansearch.tuning.where import Where  # noqa: PLC0415

    measured: dict[str, Any] = {}
    ray.init(
        num_cpus=4,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        object_store_memory=2 * 2**30,
    )
    count = megabytes * MEGABYTE // 3072
    images = np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "study.yaml"
        path.write_text(NODE_STUDY)
        places = LocalPaths.of_environment()
        spec, _ = load_study(path, places.data)
        data = ImageData("made-up", "train", images, None, 0)
        del images
        directory = StudyDirectory.new("study", "study", Path(name) / "runs")
        stop = threading.Event()
        real_stop = Interruption.stop_all
        Interruption.stop_all = lambda self: stop.is_set() or real_stop(self)  # type: ignore[method-assign]

        def watch() -> None:
            while True:
                time.sleep(1)
                with contextlib.suppress(Exception):
                    trials = Journal.open(directory.path, directory.name).trials()
                    if len(trials) == 4 and all(len(trial.reports) >= 3 for trial in trials):
                        break
            measured["driver"] = memory_of(os.getpid())
            everyone = descendants(os.getpid())
            kinds = {
                p: command.startswith("ray::") and "IDLE" not in command for p, command in everyone
            }
            measured["trials"] = [memory_of(p) for p, busy in kinds.items() if busy]
            measured["others"] = [memory_of(p) for p, busy in kinds.items() if not busy]
            stop.set()

        threading.Thread(target=watch, daemon=True).start()
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            run(spec, data, StoredStudy(directory), Where(tracking="off"), Console(file=nowhere))
    ray.shutdown()
    return measured


def driver(trials: int) -> dict[str, Any]:
    """The driver of a long study."""
    from benchmarks.turnover import trivial_study  # noqa: PLC0415

    records, seconds = trivial_study(trials)
    ended = sorted(record.last.time for record in records if record.last)
    part = min(100, trials // 3)
    return {
        "resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "first": (ended[part] - ended[0]) / part,
        "last": (ended[-1] - ended[-1 - part]) / part,
        "part": part,
        "seconds": seconds,
        "completed": sum(str(record.outcome) == "completed" for record in records),
    }


def measure(*what: str) -> dict[str, Any]:
    """Measure in a fresh process."""
    result: dict[str, Any] = in_fresh_process("memory", *what)
    return result


def show_node(megabytes: int) -> None:
    small, large = measure("node", "1"), measure("node", str(megabytes))
    print(f"Four trials on one node; a data set of 1 MB, and of {megabytes} MB (all in MB)\n")
    print("| | with 1 MB | with all | difference |")
    print("|---|---|---|---|")

    def private(process: dict[str, float]) -> float:
        return process["Private_Clean"] + process["Private_Dirty"]

    def total(measured: dict[str, Any], *kinds: str) -> float:
        each = [measured["driver"], *measured["trials"], *measured["others"]]
        return float(sum(process[kind] for process in each for kind in kinds))

    rows = {
        "a trial's own memory (USS), largest": [max(map(private, m["trials"])) for m in (small, large)],
        "a trial's resident set (RSS), largest": [
            max(t["Rss"] for t in m["trials"]) for m in (small, large)
        ],
        "shared memory of all processes (PSS of shm)": [total(m, "Pss_Shmem") for m in (small, large)],
        "the driver's own memory (USS)": [private(m["driver"]) for m in (small, large)],
        "everything (PSS)": [total(m, "Pss") for m in (small, large)],
    }
    for name, (before, after) in rows.items():
        print(f"| {name} | {before:.0f} | {after:.0f} | {after - before:.0f} |")
    print(f"\n{len(large['trials'])} trial processes seen\n", flush=True)


def show_driver(trials: int) -> None:
    found = measure("driver", str(trials))
    print(f"A driver with {trials} trials ({found['completed']} completed), MLflow on\n")
    print("| | |")
    print("|---|---|")
    print(f"| largest resident set | {found['resident']:.0f} MB |")
    print(f"| a trial, first {found['part']} | {found['first'] * 1e3:.0f} ms |")
    print(f"| a trial, last {found['part']} | {found['last'] * 1e3:.0f} ms |")
    print(f"| in all, with the end of tracking | {found['seconds']:.0f} s |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--only", choices=("node", "driver"))
    parser.add_argument("--one", nargs=2, help="measure one, in this process")
    args = parser.parse_args()
    if args.one:
        what, size = args.one
        print(json.dumps({"node": node, "driver": driver}[what](int(size))))
        return
    if args.only != "driver":
        show_node(args.megabytes)
    if args.only != "node":
        show_driver(args.trials)


if __name__ == "__main__":
    main()

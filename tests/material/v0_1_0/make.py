"""Makes what lies here, by version 0.1.0:  python make.py CHECKOUT_OF_0.1.0

The studies are as small as studies can be; a test has to resume them. Two are stopped in the middle, as
if their machine had died (kill -9 of everything) and by Ctrl-C; `STOPS` says at which report, which
decides with the studies' seeds what is in them, and the script refuses to write anything else.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import psutil

HERE = Path(__file__).parent

STUDY = """\
question: Does a study of 0.1.0 go on?
data: digits
generator: {name: mlp, depth: 1, width: {int: [4, 8]}}
discriminator: {name: mlp, depth: 1, width: 4}
loss:
  choice:
    - {name: non-saturating}
    - {name: wasserstein, penalty: {name: gradient-penalty, weight: {log: [0.1, 100]}}}
optimizer:
  generator: {lr: {log: [1e-4, 1e-1]}}
  discriminator: {lr: {log: [1e-4, 1e-1]}}
latent_size: 4
batch_size: 16
budget: {steps: 160, report_every: 20}
evaluation: {samples: 50, metrics: [fd_classifier]}
objective: {metric: fd_classifier, goal: min}
search: {sampler: {name: tpe, startup_trials: 3}, trials: 6, seed: SEED}
pruner: {name: asha, reduction_factor: 2, min_steps: 40}
keep: 1
"""
KILLED = STUDY.replace("SEED", "2")
FINISHED = KILLED + "stability: {top: 2, seeds: 2, default: false}\n"
IN_POSTGRESQL = STUDY.replace("SEED", "3").replace("min_steps: 40", "min_steps: 120")
STOPS = {"killed": (4, 80), "in_postgresql": (1, 60)}
"""By study: the trial and the step of it after whose checkpoint it is stopped."""

CONFIG = """\
data: digits
generator: {name: mlp, depth: 1, width: 4}
discriminator: {name: mlp, depth: 1, width: 4}
loss: {name: wasserstein, penalty: {name: gradient-penalty, weight: 10}}
latent_size: 4
batch_size: 16
budget: {steps: 160, report_every: 20}
evaluation: {samples: 50, metrics: [diversity]}
objective: {metric: diversity, goal: max}
seed: 3
"""


class Version:
    """The old code, as a user would call it, in a folder of its own."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.folder = folder
        own = {"PYTHONPATH": str(checkout), "GANSEARCH_CACHE": str(folder / "cache")}
        plain = {"RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1", "COLUMNS": "150"}
        self.environment = os.environ | own | plain

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "gansearch", *arguments]
        print("$ gansearch", *arguments, flush=True)
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, start_new_session=True)

    def do(self, *arguments: str) -> None:
        if code := self.start(*arguments).wait():
            raise SystemExit(f"it ended with {code}")

    def tell(self, code: str) -> object:
        """What a line of Python over `gansearch` gives, through JSON."""
        whole = f"import json, sys, gansearch\njson.dump({code}, sys.stdout)"
        command = [sys.executable, "-c", whole]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, check=True
        )
        return json.loads(done.stdout)

    def status(self, name: str, storage: str | None = None) -> dict:
        return self.tell(f"gansearch.status({name!r}, storage={storage!r})")

    def configurations(self, name: str) -> list[dict]:
        kept = "['rank', 'seeds', 'successes', 'iqm']"
        return self.tell(
            f"json.loads(gansearch.configurations({name!r})[{kept}].reset_index()"
            ".to_json(orient='records', double_precision=15))"
        )

    def stop(self, process: subprocess.Popen[bytes], name: str, how: int) -> None:
        """Stop a study at its place, with all its processes where the signal is SIGKILL."""
        trial, step = STOPS[name]
        mark = self.folder / "runs" / name / "trials" / f"{trial:04d}" / f"step-{step:06d}.pt"
        deadline = time.monotonic() + 120
        while not mark.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"there was no {mark}")
            time.sleep(0.001)
        time.sleep(0.02)  # the driver is to have heard of it
        if how == signal.SIGINT:
            process.send_signal(how)
        else:
            everyone = [*psutil.Process(process.pid).children(recursive=True), process]
            for one in everyone:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        process.wait()


def pack(folder: Path, names: list[str], target: Path) -> None:
    """Files and folders in one archive, without times, owners and locks.

    One, and of xz: each study holds the same quarter of a megabyte of the real images' statistics. Of
    the sample grids, which would be most of it, there are those of the checkpoints that are kept.
    """

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        path = folder / info.name
        unkept = path.parent.name == "samples" and not (path.parents[1] / f"{path.stem}.pt").exists()
        if unkept or path.name == ".lock":
            return None
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = 1_700_000_000
        return info

    with tarfile.open(target, "w:xz", preset=9) as archive:
        for name in names:
            archive.add(folder / name, name, filter=plain)
    print(f"{target.name}: {target.stat().st_size:,} bytes")


def check_interrupted(status: dict, penalised: bool) -> None:
    """One trial unfinished, with or without a penalty; some ended, some not yet proposed."""
    unfinished = [t for t in status["trials"] if t["outcome"] == "interrupted"]
    said = json.dumps([(t["outcome"], t["step"], t["params"]["loss"]) for t in status["trials"]])
    right = (
        len(unfinished) == 1
        and 0 < unfinished[0]["step"] < 160
        and (unfinished[0]["params"]["loss"] == "wasserstein") is penalised
        and 2 <= len(status["trials"]) < 6
    )
    print(said)
    if not right:
        raise SystemExit("that is not what is wanted: take another seed or moment")


def dump(url: str, programs: Path) -> str:
    """A database as SQL that any client can send; the newer pg_dumps write lines for psql alone."""
    command = [str(programs / "pg_dump"), "--no-owner", "--no-privileges", "--inserts", "--dbname", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("\\"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    checkout = parser.parse_args().checkout.resolve()
    sys.path.insert(0, str(checkout / "tests"))
    from postgresql import PostgreSQL  # that of the old checkout

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        old = Version(checkout, folder)
        for stem, text in (
            ("finished", FINISHED),
            ("killed", KILLED),
            ("in_postgresql", IN_POSTGRESQL),
            ("config", CONFIG),
        ):
            (folder / f"{stem}.yaml").write_text(text)
        alone = ("--concurrency", "1", "--tracking", "off")

        old.do("run", "finished.yaml", *alone)
        old.do("export", "finished", "--out", "best")
        old.do("sample", "best", "--n", "16", "--seed", "5", "--out", "sample.png")
        expected = {"finished": old.status("finished"), "ranking": old.configurations("finished")}
        if expected["finished"]["state"] != "finished":
            raise SystemExit("it did not finish")

        process = old.start("run", "killed.yaml", *alone)
        old.stop(process, "killed", signal.SIGKILL)
        expected["killed"] = old.status("killed")
        check_interrupted(expected["killed"], penalised=True)

        with PostgreSQL() as server:
            process = old.start("run", "in_postgresql.yaml", "--storage", server.url, *alone)
            old.stop(process, "in_postgresql", signal.SIGINT)
            expected["in_postgresql"] = old.status("in_postgresql", server.url)
            check_interrupted(expected["in_postgresql"], penalised=False)
            (folder / "in_postgresql.sql").write_text(dump(server.url, server._programs))

        process = old.start("train", "config.yaml", "--out", "trained", "--device", "cpu")
        checkpoints = folder / "trained" / "checkpoints"
        while not list(checkpoints.glob("step-*.pt")):
            time.sleep(0.001)
        process.kill()
        process.wait()

        shutil.copytree(checkpoints, folder / "bare", ignore=shutil.ignore_patterns("*.part*"))
        names = ["runs/finished", "runs/killed", "runs/in_postgresql", "in_postgresql.sql", "best"]
        names += ["bare", "config.yaml", "sample.png"]
        pack(folder, names, HERE / "material.tar.xz")
        (HERE / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()

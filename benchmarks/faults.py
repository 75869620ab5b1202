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
it leaves ends with it. It needs redis-server and PostgreSQL. Rounds are written to the log as they end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from gansearch.journal.journal import Journal
    from gansearch.study.records import TrialRecord
    from gansearch.tracking.server import Server

STUDY = """
question: What does it survive?
data: {name: digits}
generator: {name: "benchmarks.odd_parts:PacedGenerator", depth: {int: [1, 2]}, pace: 30}
discriminator: {name: mlp, depth: 1, width: 16}
loss:
  choice:
    - hinge
    - {name: wasserstein, penalty: {name: gradient-penalty, weight: {log: [0.1, 100]}}}
optimizer:
  generator: {lr: {log: [1e-4, 1e-1]}}
  discriminator: {lr: {log: [1e-4, 1e-1]}}
batch_size: 16
budget: {steps: 36, report_every: 6}
evaluation: {samples: 50, metrics: [fd_classifier]}
search: {trials: 30, sampler: {name: tpe, startup_trials: 8}}
pruner: {name: asha, reduction_factor: 3, min_steps: 12}
keep: 3
"""
TRIALS = 30
AT_ONCE = 4

SECONDS = 240
"""How long a driver may take before it is taken to hang."""

RESUMES = 6
FIRST, LAST = 0.08, 0.85
"""Strikes come at these shares of an undisturbed study's reports."""

INSIDE = "GANSEARCH_FAULTS_INSIDE"
REPOSITORY = Path(__file__).resolve().parents[1]
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


class World:
    """All that outlives a round."""

    def __init__(self, *, second_chances: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="faults-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.machines = Machines(self.folder)
        self.store = self.folder / "mlflow.db"
        self.port = 0
        self.server = self.start_server()
        self._postgresql: PostgreSQL | None = None
        self._known: dict[str, list[Any]] = {}
        pruner = "min_steps: 12, second_chances: true}" if second_chances else "min_steps: 12}"
        (self.folder / "study.yaml").write_text(STUDY.replace("min_steps: 12}", pruner))

    @property
    def postgresql(self) -> PostgreSQL:
        if self._postgresql is None:
            self._postgresql = PostgreSQL(self.folder / "postgresql")
        return self._postgresql

    def start_server(self) -> Server:
        from gansearch.tracking.server import ui  # noqa: PLC0415

        artifacts = (self.folder / "artifacts").as_uri()
        server = ui(f"sqlite:///{self.store}", artifacts, port=self.port)
        self.port = int(server.url.rpartition(":")[2])
        return server

    def kill_server(self) -> None:
        os.killpg(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait()

    def serve(self) -> None:
        if self.server.process.poll() is not None:
            self.server = self.start_server()

    def mend(self) -> None:
        """Have everything there."""
        self.machines.mend()
        self.serve()

    def undisturbed(self, record: TrialRecord, reference: Path) -> list[Any]:
        """The curve of a trial's configuration, trained here, as far as the trial came."""
        import torch  # noqa: PLC0415

        from benchmarks.odd_parts import PacedGenerator  # noqa: PLC0415
        from gansearch.data.load import load  # noqa: PLC0415
        from gansearch.metrics.reference import load_reference  # noqa: PLC0415
        from gansearch.study.config import TrialConfig  # noqa: PLC0415
        from gansearch.training.trainer import Trainer  # noqa: PLC0415

        key = json.dumps(record.config, sort_keys=True)
        known = self._known.get(key, [])
        if len(known) < len(record.reports):
            torch.set_num_threads(1)
            PacedGenerator.waits = False
            config = TrialConfig.model_validate(record.config)
            part = config.data
            data = load(part.name, part.options, root=Path(), split="train", image_size=part.image_size)
            trainer = Trainer(config, data, load_reference(reference))
            while len(trainer.reports) < len(record.reports) and not trainer.finished:
                trainer.advance()
            known = self._known[key] = [exact_report(report) for report in trainer.reports]
        return known[: len(record.reports)]


class Study:
    """One study and its drivers.

    Args:
        world: what it runs on.
        name: its own.
        sequential: one trial at a time.
        storage: of PostgreSQL; None: a journal file.
        lanes: trials that a worker carries.
    """

    def __init__(
        self, world: World, name: str, *, sequential: bool, storage: bool, lanes: int = 1
    ) -> None:
        self.world, self.name, self.sequential, self.lanes = world, name, sequential, lanes
        self.runs = world.folder / "runs" / name  # each in a runs directory of its own
        self.runs.mkdir(parents=True)
        self.path = self.runs / name
        self.storage = world.postgresql.url if storage else None
        self.resumes, self.synced, self.hung = 0, 0, 0
        self.said: list[str] = []

    def run(self) -> None:
        lanes = ["--set", f"resources.lanes={self.lanes}"]
        self.launch("run", str(self.world.folder / "study.yaml"), "--name", self.name, *lanes)

    def resume(self) -> None:
        self.resumes += 1
        self.launch("resume", self.name)

    def launch(self, *words: str) -> None:
        environment = dict(self.world.machines.environment)
        environment.pop("PACED_BEGINNINGS")
        if self.storage:
            environment["GANSEARCH_STORAGE"] = self.storage
        options = ["--runs-dir", str(self.runs), "--address", self.world.machines.address]
        options += ["--tracking", self.world.server.url]
        options += ["--concurrency", "1" if self.sequential else str(AT_ONCE * self.lanes)]
        self.log = (self.runs / f"driver-{self.resumes}.txt").open("wb")
        self.driver = subprocess.Popen(
            [sys.executable, "-m", "gansearch", *words, *options],
            env=environment,
            cwd=self.world.folder,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def put_trials_on_a_disk(self) -> None:
        """Before the first trial starts: the study's folder comes into being by a rename."""
        while not self.path.exists() and not self.ended:
            time.sleep(0.005)
        (self.path / "trials").mkdir()
        mount(self.path / "trials")

    def sync(self) -> None:
        self.synced += 1
        environment = self.world.machines.environment | (
            {"GANSEARCH_STORAGE": self.storage} if self.storage else {}
        )
        options = ["--runs-dir", str(self.runs), "--tracking", self.world.server.url]
        quietly([sys.executable, "-m", "gansearch", "sync", self.name, *options], env=environment)

    @property
    def ended(self) -> bool:
        return self.driver.poll() is not None

    def count(self) -> int:
        """Reports in its journal; -1 where that does not answer."""
        if self.storage:
            with contextlib.suppress(Exception):
                return self.world.postgresql.count() - self._others
            return -1
        journal = self.path / "journal.log"
        return journal.read_bytes().count(b'"report:') if journal.exists() else 0

    def wait_for(self, count: int) -> bool:
        """Wait for so many reports; False: the driver has ended, or hangs."""
        deadline = time.monotonic() + SECONDS
        while self.count() < count:
            if self.ended or time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def journal(self) -> Journal:
        from gansearch.journal.journal import Journal  # noqa: PLC0415

        return Journal.open(self.path, self.name, self.storage)

    def begin_counting(self) -> None:
        """Leave out what PostgreSQL holds of other studies."""
        self._others = self.world.postgresql.count() if self.storage else 0

    def finish(self) -> None:
        """Go on with it until it is finished."""
        for _ in range(RESUMES):
            try:
                code = self.driver.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self.hung += 1
                self.driver.kill()
                code = self.driver.wait()
            text = (self.runs / f"driver-{self.resumes}.txt").read_text(errors="replace")
            self.said.append(f"{code}: {text[-1500:]}")
            self.world.mend()
            if code == 0 and self.path.exists() and self.journal().finished:
                if "`gansearch sync" in text:
                    self.sync()
                return
            if self.path.exists():
                self.resume()
            else:
                self.run()


def exact_report(report: Any) -> Any:
    """A report, but for what depends on the clock."""
    metrics = {k: repr(v) for k, v in report.metrics.items() if k != "images_per_second"}
    return [report.step, report.images, metrics, str(report.outcome), report.reason]


def exact(record: TrialRecord) -> Any:
    reports = [exact_report(report) for report in record.reports]
    chances = [asdict(chance) for chance in record.chances]
    return [str(record.outcome), record.reason, record.params, reports, chances]


def fill(disk: Path) -> Path:
    """Leave no room on a small disk; returns the file that takes it."""
    if not disk.is_mount():
        raise RuntimeError(f"{disk} is no disk of its own")
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (2**20, 2**12, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size):
                    pass
    return ballast


def ended(study: Study, number: int) -> bool:
    return study.journal().trials()[number].outcome.ended


class Strike:
    """A strike at a running study, by one of the faults, each of which also repairs what it broke where
    that would be a matter of another hand.
    """

    def __init__(self, study: Study, chance: random.Random) -> None:
        self.study, self.world, self.chance = study, study.world, chance

    def worker(self) -> None:
        """kill -9 of the process of a trial"""
        kill([self.chance.choice(trainers())])

    def node(self) -> None:
        """kill -9 of a node: raylet and all its workers; another joins later"""
        name = self.chance.choice(NODES)
        self.world.machines.kill(name)
        time.sleep(self.chance.uniform(0, 5))
        self.world.machines.start(name)

    def driver(self) -> None:
        """kill -9 of the driver"""
        self.study.driver.kill()
        self.study.driver.wait()
        time.sleep(self.chance.uniform(0, 2))
        self.study.resume()

    def gcs(self) -> None:
        """kill -9 of the head's GCS, which comes back with its state from Redis"""
        (server,) = processes("gcs/gcs_server")
        command = server.cmdline()
        kill([server])
        time.sleep(self.chance.uniform(1, 6))
        subprocess.Popen(
            command,
            env=self.world.machines.environment | {"RAY_REDIS_ADDRESS": f"127.0.0.1:{REDIS}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def head(self) -> None:
        """kill -9 of the whole head, the driver's raylet with it; it comes back, state from Redis"""
        self.world.machines.kill(HEAD)
        time.sleep(self.chance.uniform(0, 3))
        self.world.machines.start_head()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.study.driver.wait(90)
        if not self.study.ended:
            self.study.hung += 1
            self.study.driver.kill()
            self.study.driver.wait()
        self.study.resume()

    def mlflow(self) -> None:
        """kill -9 of the MLflow server, for some seconds"""
        self.world.kill_server()
        time.sleep(self.chance.uniform(1, 6))
        self.world.serve()

    def mlflow_gone(self) -> None:
        """kill -9 of the MLflow server, for the rest of the study"""
        self.world.kill_server()
        self.study.driver.wait(SECONDS)

    def postgresql(self) -> None:
        """PostgreSQL killed (-9) or stopped at once, for 5 to 20 s"""
        self.chance.choice([self.world.postgresql.kill, self.world.postgresql.stop])()
        time.sleep(self.chance.uniform(5, 20))
        self.world.postgresql.start()

    def runs_full(self) -> None:
        """the disk of the runs directory full for 2 to 8 s, checkpoints and journal included"""
        ballast = fill(self.study.runs)
        time.sleep(self.chance.uniform(2, 8))
        ballast.unlink()

    def journal_full(self) -> None:
        """the disk of the journal full for 2 to 8 s, the checkpoints being elsewhere"""
        self.runs_full()

    def trials_full(self) -> None:
        """the disk of the checkpoints full for 2 to 8 s, the journal being elsewhere"""
        ballast = fill(self.study.path / "trials")
        time.sleep(self.chance.uniform(2, 8))
        ballast.unlink()

    def node_full(self) -> None:
        """a node's own disk (Ray's logs, sockets, spilled objects) full for 5 to 15 s"""
        ballast = fill(self.world.machines.disk(NODES[-1]))
        time.sleep(self.chance.uniform(5, 15))
        ballast.unlink()

    def checkpoint(self) -> None:
        """every trial's newest checkpoint cut in half, or garbage in it, and its worker killed (-9)"""
        found = trainers()
        for process in found:  # so that none writes a newer one meanwhile
            process.suspend()
        for folder in (self.study.path / "trials").iterdir():
            newest = max(folder.glob("step-*.pt"), default=None)
            if newest is None or ended(self.study, int(folder.name)):
                continue
            content = bytearray(newest.read_bytes())
            middle = len(content) // 2
            if self.chance.random() < 0.5:
                content = content[:middle]
            else:
                content[middle : middle + 512] = self.chance.randbytes(512)
            newest.write_bytes(content)
        kill(found)


FAULTS: dict[str, Callable[[Strike], None]] = {
    "worker": Strike.worker,
    "node": Strike.node,
    "driver": Strike.driver,
    "gcs": Strike.gcs,
    "head": Strike.head,
    "mlflow": Strike.mlflow,
    "mlflow-gone": Strike.mlflow_gone,
    "postgresql": Strike.postgresql,
    "runs-full": Strike.runs_full,
    "journal-full": Strike.journal_full,
    "trials-full": Strike.trials_full,
    "node-full": Strike.node_full,
    "checkpoint": Strike.checkpoint,
}
ONCE = {"head", "mlflow-gone"}
"""Of these one strike is enough for a round."""


@dataclass
class Round:
    """A line of the log."""

    fault: str
    sequential: bool
    seed: int
    struck: int = 0
    trials: int = 0
    lost: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    limbo: list[int] = field(default_factory=list)
    runs: int = 0
    runs_of: int = 0
    runs_running: int = 0
    curves: int = 0
    wrong_curves: list[int] = field(default_factory=list)
    blamed: list[str] = field(default_factory=list)
    proposals: bool | None = None
    woken: int = 0
    resumes: int = 0
    syncs: int = 0
    hung: int = 0
    seconds: list[float] = field(default_factory=list)
    took: float = 0.0
    said: list[str] = field(default_factory=list)


def play(
    world: World,
    fault: str,
    seed: int,
    *,
    sequential: bool,
    known: list[Any],
    reports: int,
    lanes: int = 1,
) -> Round:
    """One round."""
    chance = random.Random(seed)
    begun = time.monotonic()
    line = Round(fault, sequential, seed)
    study = Study(
        world, f"{fault}-{seed}", sequential=sequential, storage=fault == "postgresql", lanes=lanes
    )
    study.begin_counting()
    before: dict[int, Any] = {}
    with disks(study, fault):
        study.run()
        if fault in ("trials-full", "journal-full"):
            study.put_trials_on_a_disk()
        strikes = 1 if fault in ONCE else chance.randint(1, 3)
        for share in sorted(chance.uniform(FIRST, LAST) for _ in range(strikes)):
            reach(study, max(int(share * reports), 1))
            if study.ended:
                break
            time.sleep(chance.uniform(0, 0.2))
            before |= {r.number: exact(r) for r in study.journal().trials() if r.outcome.ended}
            at, strike = study.count(), time.monotonic()
            FAULTS[fault](Strike(study, chance))
            line.struck += 1
            reach(study, at + 1)
            line.seconds.append(round(time.monotonic() - strike, 1))
        study.finish()
        look(world, study, line, before, known)
    line.resumes, line.syncs, line.hung = study.resumes, study.synced, study.hung
    line.said = [text for text in study.said if not text.startswith("0:")]
    line.took = round(time.monotonic() - begun, 1)
    return line


def reach(study: Study, reports: int) -> None:
    """Wait until the study has so many reports; resume it where a strike has ended its driver."""
    while not study.wait_for(reports):
        if not study.ended or study.resumes > RESUMES or is_finished(study):
            return
        study.resume()


def is_finished(study: Study) -> bool:
    return study.ended and study.path.exists() and study.journal().finished


@contextlib.contextmanager
def disks(study: Study, fault: str) -> Iterator[None]:
    """A small disk where a fault is to fill one."""
    if fault in ("runs-full", "journal-full"):
        mount(study.runs)
    try:
        yield
    finally:
        for place in (study.path / "trials", study.runs):
            if place.is_mount():
                quietly(["umount", "-l", str(place)])


def mount(place: Path, size: str = "60m") -> None:
    quietly(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)])


def look(world: World, study: Study, line: Round, before: dict[int, Any], known: list[Any]) -> None:
    """What is left after a study."""
    journal = study.journal()
    records = journal.trials()
    line.trials = len(records)
    line.lost = [number for number, was in before.items() if exact(records[number]) != was]
    line.limbo = [r.number for r in records if not r.outcome.ended]
    line.limbo += [
        t.number for t in journal.study.get_trials(deepcopy=False) if not t.state.is_finished()
    ]
    line.limbo += range(len(records), TRIALS)
    line.twice = sorted(set(trained_again(world, journal, records)) | set(ended_twice(study)))
    line.woken = sum(bool(chance.woken) for r in records for chance in r.chances)
    line.blamed = [f"{r.number}: {r.reason}" for r in records if str(r.outcome) == "failed"]
    for record in records:
        curve = [exact_report(report) for report in record.reports]
        # What a trial says of its end is in the last report of those that ended by themselves.
        wanted = world.undisturbed(record, study.path / "reference.safetensors")
        if curve == wanted:
            line.curves += 1
        else:
            line.wrong_curves.append(record.number)
    if study.sequential and known:
        line.proposals = [exact(r) for r in records] == known
    runs = mlflow_runs(world, study.name)
    line.runs, line.runs_of = len(runs), len({number for number, _ in runs})
    line.runs_running = sum(status == "RUNNING" for _, status in runs)


def trained_again(world: World, journal: Journal, records: list[TrialRecord]) -> Iterator[int]:
    """Trials whose training has begun after they ended."""
    beginnings = defaultdict(list)
    for path in (world.folder / "beginnings").iterdir():
        seed, _, at = path.name.partition("-")
        beginnings[int(seed)].append(float(at))
    for record, trial in zip(records, journal.study.get_trials(deepcopy=False), strict=True):
        if trial.datetime_complete is None:
            continue
        end = trial.datetime_complete.timestamp()
        if any(at > end + 0.05 for at in beginnings[record.config["seed"]]):
            yield record.number


def ended_twice(study: Study) -> Iterator[int]:
    """Trials with two ends in the journal file, or a report after the end."""
    from optuna.storages.journal._storage import JournalOperation  # noqa: PLC0415
    from optuna.trial import TrialState  # noqa: PLC0415

    if study.storage:
        return
    ends: Counter[int] = Counter()
    for text in (study.path / "journal.log").read_text().splitlines():
        log = json.loads(text)
        trial = log.get("trial_id")
        if log["op_code"] == JournalOperation.SET_TRIAL_STATE_VALUES:
            ends[trial] += TrialState(log["state"]).is_finished()
        late = log["op_code"] == JournalOperation.SET_TRIAL_USER_ATTR and ends[trial]
        if ends[trial] > 1 or (late and "report:" in text):
            yield trial


def mlflow_runs(world: World, name: str) -> list[tuple[str, str]]:
    with sqlite3.connect(world.store) as database:
        return database.execute(
            "select t.value, r.status from runs r join tags t using (run_uuid) "
            "join experiments e using (experiment_id) where t.key = 'gansearch.trial' "
            "and e.name = ? and r.lifecycle_stage = 'active'",
            (name,),
        ).fetchall()


def undisturbed(world: World) -> tuple[list[Any], int, Round]:
    """A sequential study that nothing happens to: its trials, and how many reports they make."""
    study = Study(world, "undisturbed", sequential=True, storage=False)
    study.begin_counting()
    begun = time.monotonic()
    study.run()
    study.finish()
    records = study.journal().trials()
    line = Round("none", True, 0)
    look(world, study, line, {}, [])
    line.resumes, line.said = study.resumes, study.said
    line.took = round(time.monotonic() - begun, 1)
    return [exact(record) for record in records], sum(len(r.reports) for r in records), line


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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

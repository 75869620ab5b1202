"""A study under faults: what it runs on, how it is driven, and what it is without faults."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.faults.machines import Machines, PostgreSQL, mount, quietly

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
                if "MLflow does not have" in text:
                    self.sync()
                return
            if self.path.exists():
                self.resume()
            else:
                self.run()


def reach(study: Study, reports: int) -> None:
    """Wait until the study has so many reports; resume it where a strike has ended its driver."""
    while not study.wait_for(reports):
        if not study.ended or study.resumes > RESUMES or is_finished(study):
            return
        study.resume()


def is_finished(study: Study) -> bool:
    return study.ended and study.path.exists() and study.journal().finished


def exact_report(report: Any) -> Any:
    """A report, but for what depends on the clock."""
    metrics = {k: repr(v) for k, v in report.metrics.items() if k != "images_per_second"}
    return [report.step, report.images, metrics, str(report.outcome), report.reason]


def exact(record: TrialRecord) -> Any:
    reports = [exact_report(report) for report in record.reports]
    chances = [asdict(chance) for chance in record.chances]
    return [str(record.outcome), record.reason, record.params, reports, chances]

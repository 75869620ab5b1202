"""A journal in PostgreSQL beside a journal file: what does a trial cost the driver?

    python -m benchmarks.postgresql [--trials 200] [--reports 20] [--rounds 5]
    python -m benchmarks.postgresql read [--trials 10000] [--reports 10]

PostgreSQL comes from the distribution's packages: where it is not there, as root, by `apt-get install
postgresql`. It is set up in a temporary folder by `initdb`, runs as the user `postgres` on a socket in
that folder with its settings as they come (fsync and synchronous_commit on: what is committed survives
a loss of power), and is stopped by its process id.

A trial is what a ledger writes of one: it begins (six parameters and a resolved configuration), how its
metrics are made, `--reports` reports one upon the other with a tick between them, its end. Not in it:
the proposal, MLflow, checkpoints, Ray. Both kinds make durable what a trial begins with and how it
ends, and its reports ten times a second at most. By turns, each round in fresh files, the medians of
the rounds; the ratio is of each round.

- `journal file`: as it is. `Optuna's, file`: as it was until 2026-11: Optuna's own backend, which makes
  every value durable (44 writes a trial of 20 reports).
- `PostgreSQL`: as it is, and SQLite with it. `Optuna's, PostgreSQL`: by Optuna's own calls.

`read` opens a study of so many trials and reads all of it, as `status`, `resume` and `report` do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import event

from benchmarks.facts import made_up
from gansearch.journal.changes import Change
from gansearch.journal.database import DatabaseStorage
from gansearch.journal.journal import Journal
from gansearch.study.config import TrialConfig
from gansearch.study.records import Outcome, Report, TrialRecord

KINDS = ("journal file", "Optuna's, file", "PostgreSQL", "Optuna's, PostgreSQL", "SQLite")
AXES = {
    "generator.depth": IntDistribution(1, 3),
    "discriminator.depth": IntDistribution(1, 3),
    "loss": CategoricalDistribution(["non-saturating", "hinge", "wasserstein"]),
    "optimizer.generator.lr": FloatDistribution(1e-5, 1e-1, log=True),
    "optimizer.discriminator.lr": FloatDistribution(1e-5, 1e-1, log=True),
    "latent_size": IntDistribution(16, 128),
}
POINT = dict(zip(AXES, (2, 1, "hinge", 1e-3, 2e-3, 64), strict=True))
METRICS = ("fd_classifier", "diversity", "images_per_second", "loss.d", "loss.g", "grad_norm.g")


class Singly:
    """A storage of Optuna's as a journal used it: a call for each value, each durable at once."""

    def __init__(self, storage: JournalStorage | RDBStorage) -> None:
        self._storage = storage

    def begin(self, study_id: int, number: int, template: Any) -> int:  # noqa: ARG002
        return int(self._storage.create_new_trial(study_id, template))

    def write(self, change: Change) -> None:
        if change.state is not None:  # it looked whether the trial had ended already
            self._storage.get_trial(change.trial_id)
        for step, value in change.intermediate_values.items():
            self._storage.set_trial_intermediate_value(change.trial_id, step, value)
        for key, value in change.user_attrs.items():
            self._storage.set_trial_user_attr(change.trial_id, key, value)
        for key, value in change.system_attrs.items():
            self._storage.set_trial_system_attr(change.trial_id, key, value)
        if change.state is not None:
            self._storage.set_trial_state_values(change.trial_id, change.state, change.values)

    def flush(self) -> None:
        """Everything is."""


@contextmanager
def server() -> Iterator[str]:
    """A PostgreSQL of our own; gives its URL."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
    if programs is None:
        subprocess.run(["apt-get", "install", "-y", "postgresql"], check=True, stdout=sys.stderr)
        programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        own = os.geteuid() != 0  # PostgreSQL refuses to run as root
        as_user = [] if own else ["runuser", "-u", "postgres", "--"]
        if not own:
            shutil.chown(name, "postgres")
        initdb = [
            *as_user,
            str(programs / "initdb"),
            "-D",
            f"{name}/data",
            "-U",
            "bench",
            "-A",
            "trust",
        ]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd="/")
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={name}"]
        with open(f"{name}/log", "wb") as log:  # noqa: PTH123
            postgres = [*as_user, str(programs / "postgres"), "-D", f"{name}/data", *options]
            process = subprocess.Popen(postgres, stdout=log, stderr=log, cwd="/")
        try:
            while not Path(f"{name}/.s.PGSQL.5432").exists():
                if process.poll() is not None:
                    sys.exit(Path(f"{name}/log").read_text())
                time.sleep(0.1)
            time.sleep(1)
            yield f"postgresql://bench@/postgres?host={name}"
        finally:
            process.terminate()
            process.wait()


def open_journal(kind: str, folder: Path, url: str, name: str) -> Journal:
    storage = {"PostgreSQL": url, "SQLite": f"sqlite:///{folder}/journal.db"}.get(
        kind.removeprefix("Optuna's, ")
    )
    journal = Journal.create(folder, name, made_up("fd_classifier", 1000, 1), storage)
    if kind == "Optuna's, file":
        backend = JournalFileBackend(str(folder / "journal.log"))
        journal.storage = Singly(JournalStorage(backend))  # type: ignore[assignment]
    if kind == "Optuna's, PostgreSQL" and isinstance(journal.storage, DatabaseStorage):
        url = journal.storage.engine.url.render_as_string(hide_password=False)
        journal.storage = Singly(RDBStorage(url))  # type: ignore[assignment]
    return journal


def run_trials(journal: Journal, trials: int, reports: int, first: int = 0) -> None:
    config = TrialConfig().plain()
    provenance = {"fd_classifier": {"features": "classifier", "samples": 1000, "ema": True}}
    for number in range(first, first + trials):
        own = config | {"seed": number}
        record = TrialRecord(number, POINT, own)
        journal.begin(number, POINT, AXES, own)
        journal.note(number, provenance=provenance)
        for step in range(1, reports + 1):
            metrics = dict.fromkeys(METRICS, 1.0 / step + number)
            report = Report(step, step * 64, step * 0.1, metrics, time.time())
            journal.report(number, report)
            record.reports.append(report)
            journal.tick()
        journal.end(record, Outcome.COMPLETED)


def counted(journal: Journal) -> dict[str, int]:
    """Statements and commits from now on."""
    counts = {"statements": 0, "commits": 0}
    storage = getattr(journal.storage, "_storage", journal.storage)
    engine = getattr(storage, "engine", None)

    def count(what: str) -> None:
        counts[what] += 1

    if engine is not None:
        event.listen(engine, "before_cursor_execute", lambda *_: count("statements"))
        event.listen(engine, "commit", lambda *_: count("commits"))
    return counts


def cost(trials: int, reports: int, rounds: int) -> None:
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    processor: dict[str, list[float]] = {kind: [] for kind in KINDS}
    counts: dict[str, dict[str, int]] = {}
    with server() as url:
        for turn in range(rounds):
            for kind in KINDS:
                # The slow ones take turns with the others, but not for as long.
                few = max(trials // 4, 1) if kind.startswith("Optuna") else trials
                with tempfile.TemporaryDirectory() as name:
                    journal = open_journal(kind, Path(name), url, f"{kind} {turn} {time.time()}")
                    run_trials(journal, 2, reports)
                    counts[kind] = counted(journal)
                    begun = time.perf_counter(), time.process_time()
                    run_trials(journal, few, reports, first=2)
                    seconds[kind].append((time.perf_counter() - begun[0]) / few * 1e3)
                    processor[kind].append((time.process_time() - begun[1]) / few * 1e3)
                    counts[kind] = {what: round(n / few) for what, n in counts[kind].items()}
            load = f"load {os.getloadavg()[0]:.1f}"
            told = ", ".join(f"{kind} {took[-1]:.1f}" for kind, took in seconds.items())
            print(f"# round {turn}, {load}: {told} ms", file=sys.stderr, flush=True)
    print(f"A trial with {reports} reports, medians of {rounds} rounds by turns\n")
    print("| | ms a trial | ratio | driver's processor | statements / commits |")
    print("|---|---|---|---|---|")
    for kind in KINDS:
        pairs = zip(seconds[kind], seconds["journal file"], strict=True)
        ratio = statistics.median(a / b for a, b in pairs)
        own = counts[kind]
        sent = f"{own['statements']} / {own['commits']}" if own["commits"] else ""
        middle, busy = statistics.median(seconds[kind]), statistics.median(processor[kind])
        print(f"| {kind} | {middle:.1f} | {ratio:.2f} | {busy:.1f} ms | {sent} |")


def read(trials: int, reports: int) -> None:
    print(f"To open and read a study of {trials:,} trials with {reports} reports\n")
    print("| | seconds | statements |")
    print("|---|---|---|")
    with server() as url:
        for kind in ("journal file", "PostgreSQL"):
            with tempfile.TemporaryDirectory() as name:
                written = open_journal(kind, Path(name), url, "study")
                run_trials(written, trials, reports)
                storage = url if kind == "PostgreSQL" else None
                begun = time.perf_counter()
                journal = Journal.open(Path(name), "study", storage)
                counts = counted(journal)
                found = journal.trials()
                took = time.perf_counter() - begun
                if len(found) != trials or len(found[-1].reports) != reports:
                    raise RuntimeError("not all of it was read")
                print(f"| {kind} | {took:.1f} | {counts['statements'] or ''} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("cost", "read"), default="cost")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--reports", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.what == "cost":
        cost(args.trials or 200, args.reports or 20, args.rounds)
    else:
        read(args.trials or 10_000, args.reports or 10)


if __name__ == "__main__":
    main()

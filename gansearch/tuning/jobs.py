"""Studies on a cluster elsewhere, as Ray jobs: they go on when the laptop that gave them is closed.

A job is a command line that Ray's job server, at the dashboard's address, runs on the cluster's head:
`gansearch run study.yaml --address auto ...`. With it goes the study file, and the modules of the
user's own that it names; every node has them then. Nothing of this machine's environment goes along,
and no password: an entrypoint and its environment can be read by all who see the dashboard. What the
cluster knows of itself stands in the head's environment: GANSEARCH_RUNS, GANSEARCH_DATA,
GANSEARCH_STORAGE, MLFLOW_TRACKING_URI.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gansearch
from gansearch.errors import ClusterError, StudyError
from gansearch.journal.directory import StudyDirectory, check_name, names_from
from gansearch.modules import own_modules
from gansearch.study.document import Document, read_document
from gansearch.study.plan import DEFAULT
from gansearch.tuning.entrypoint import captured, command, folder_of, refuse_secrets
from gansearch.tuning.job_server import client_of
from gansearch.tuning.where import Where

DONE = ("stopped", "succeeded", "failed")
"""The states in which a job stays for ever."""

POLL = 0.5
"""Seconds between two looks at a job that is waited for."""

SEEN_AFTER = 1.5
"""Seconds after which Ray, which looks once a second, has seen that a job has ended: one that is gone
before that is put back on the list, as failed."""

ATTEMPTS = 5
"""How often a job is taken off the list of a cluster so busy that it looks later than that."""


@dataclass(frozen=True)
class Job:
    """A study's job on a cluster.

    Attributes:
        id: Ray's submission id; `ray job stop ID` ends it, after which the study can be resumed.
        study: the study's name.
        command: `run` or `resume`.
        state: `pending`, `running`, or one of `DONE`.
        message: the state in Ray's words; it holds the end of the log of a job that failed.
        started: seconds since 1970; None: not yet.
        exit_code: of the command; None while it runs, or where it never could.
    """

    id: str
    study: str
    command: str
    state: str
    message: str = ""
    started: float | None = None
    exit_code: int | None = None


@dataclass(frozen=True)
class RemoteAnswer:
    """What a command on the cluster's head said.

    Attributes:
        exit_code: 0 for success, 2 for a user's mistake.
        stdout: what it printed, with one newline at the end; "" if that is nothing.
        stderr: progress and errors.
    """

    exit_code: int
    stdout: str
    stderr: str


def submit(
    study_file: str | Path,
    address: str,
    *,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    where: Where | None = None,
) -> Job:
    """Run a study on a cluster; returns as soon as the cluster has it.

    All of the file is checked here first, but for what needs its images: they are the cluster's.

    Args:
        study_file: the YAML file.
        address: the cluster's dashboard, `http://HEAD:8265`.
        name: the study's name; None: the file's, with a number if an earlier job has it.
        overrides: values in place of the file's, by dotted key: {"search.trials": 8}.
        where: as the cluster sees it: its paths are absolute ones there, and what it does not say, the
            head's environment does. Its `modules` lie here, and go along.

    Raises:
        InvalidInput: with every mistake in the file; nothing was submitted then, nor for any other
            `UserError`.
    """
    path = Path(study_file)
    document, start = _check_study(path, overrides or {})
    refuse_secrets([path.read_text(encoding="utf-8")], "the study file")
    # As JSON, whose every value is YAML too.
    there = {**(overrides or {}), **start}
    changes = [word for k, v in there.items() for word in ("--set", f"{k}={json.dumps(v)}")]
    where = where or Where()
    own = [*own_modules(document.tree), *where.modules]
    with folder_of([path, *own]) as folder, client_of(address) as client:
        name = StudyDirectory.new(name or _free(client, path.stem), "", folder / "runs").name
        arguments = ["run", path.name, "--name", name, *changes]
        return _give(client, arguments, where, {"study": name, "command": "run"}, folder)


def submit_resume(
    name: str,
    address: str,
    where: Where | None = None,
    trials: int | None = None,
    device_hours: float | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Job:
    """Go on with a study on a cluster; arguments as for `submit`, `trials` and `device_hours` as for
    `resume`, and `overrides` of the study file's values that may change.

    The modules that the study names lie in its directory since it was launched; `where.modules` are
    the others that it needs, and newer versions.
    """
    check_name(name)
    where = where or Where()
    with folder_of(where.modules) as folder, client_of(address) as client:
        about = {"study": name, "command": "resume"}
        more = [] if trials is None else ["--trials", str(trials)]
        if device_hours is not None:
            more += ["--set", f"search.budget.device_hours={device_hours}"]
        for key, value in (overrides or {}).items():
            more += ["--set", f"{key}={json.dumps(value)}"]
        return _give(client, ["resume", name, *more], where, about, folder)


def job_logs(address: str, name: str, *, follow: bool = False) -> Iterator[str]:
    """The log of a job, in pieces: what the command printed, from its beginning.

    Args:
        address: the cluster's dashboard.
        name: a job's id, or a study's name, which means its newest job.
        follow: go on until the job ends.

    Raises:
        StudyError: there is no such job.
        ClusterError: the cluster does not answer, or was lost while its log was followed.
    """
    with client_of(address) as client:
        job = _find(client, name)
        if not follow:
            yield client.get_job_logs(job.id)
            return
        tail = client.tail_job_logs(job.id)
        with asyncio.Runner() as runner:
            while (piece := runner.run(_next(tail))) is not None:
                yield piece


def remote(
    address: str, arguments: Sequence[str], where: Where | None = None, *, timeout: float = 120.0
) -> RemoteAnswer:
    """Run a short command of `gansearch` about a study on the cluster's head and wait for its answer.

    It takes some seconds: Ray starts a process to supervise it. Afterwards it is gone from the
    cluster's list of jobs.

    Args:
        address: the cluster's dashboard.
        arguments: such as ["status", "NAME", "--json"]; the command must know --runs-dir, and the name
            must be one: a path would be the head's, anywhere on it.
        where: as for `submit`, of the options that the command knows.
        timeout: seconds, after which the command is stopped.

    Raises:
        ClusterError: the cluster could not run it, or not in time.
    """
    check_name(arguments[1])
    mark = f"--- {secrets.token_hex(8)} ---"
    line = captured(command(arguments, where or Where()), mark)
    with client_of(address) as client:
        id_ = client.submit_job(entrypoint=line, submission_id=_new_id(arguments[0]))
        try:
            job = _wait(client, id_, timeout)
            if job.exit_code is None:
                raise ClusterError(
                    f"the cluster could not run `gansearch {arguments[0]}`: {job.message}"
                )
            _, stdout, stderr = _without_ray(client.get_job_logs(id_), id_).split(f"{mark}\n", 2)
        finally:
            _forget(client, id_)
    return RemoteAnswer(job.exit_code, stdout if stdout.strip() else "", stderr)


def _without_ray(log: str, id_: str) -> str:
    """A job's log without Ray's line about its command, which comes early or late."""
    return re.sub(rf"^Running entrypoint for job {re.escape(id_)}: .*\n?", "", log, flags=re.MULTILINE)


async def _next(tail: AsyncIterator[str]) -> str | None:
    return await anext(tail, None)


def _check_study(path: Path, overrides: Mapping[str, Any]) -> tuple[Document, dict[str, Any]]:
    """Tell all the mistakes in a study file that can be told without its images and earlier studies.

    Returns:
        The file, and an override that says what its configuration files say, which stay here.
    """
    from gansearch.search.start import Known  # noqa: PLC0415  it loads Optuna
    from gansearch.training.validation import check_study, override  # noqa: PLC0415  it loads torch

    document = read_document(path)
    override(document, overrides)
    spec = check_study(document, Known(path.parent))
    read = {each.name: {"name": each.name, "point": each.point} for each in spec.start}
    given = (document.tree.get("search") or {}).get("start") or []
    start = [each if each == DEFAULT else read.get(_config_of(each), each) for each in given]
    return document, {"search.start": start} if start != given else {}


def _config_of(start: Any) -> str:
    """The configuration file that a start names, if it names one."""
    return start if isinstance(start, str) else str(start.get("config", ""))


def _give(
    client: Any,
    arguments: Sequence[str],
    where: Where,
    about: Mapping[str, str],
    folder: Path,
) -> Job:
    """Hand a command to the cluster, with a folder to work in, from which every node can import."""
    id_ = client.submit_job(
        entrypoint=command([*arguments, "--address", "auto"], where),
        submission_id=_new_id(about["study"]),
        runtime_env={"working_dir": str(folder)},
        metadata={"gansearch": gansearch.__version__, **about},
    )
    return _find(client, id_)


def _new_id(what: str) -> str:
    """An id that no job has had, of a study or a command; addresses of Ray's job server hold it."""
    return f"gansearch-{what}-{secrets.token_hex(4)}"


def _free(client: Any, stem: str) -> str:
    """A study's name from its file's, with the first number that no earlier job has."""
    taken = {job.study for job in _list(client)}
    return next(name for name in names_from(stem) if name not in taken)


def _list(client: Any) -> list[Job]:
    jobs = [_job(found) for found in client.list_jobs() if "study" in (found.metadata or {})]
    return sorted(jobs, key=lambda job: job.started or time.time(), reverse=True)


def _find(client: Any, name: str) -> Job:
    jobs = _list(client)
    for job in jobs:
        if name in (job.id, job.study):
            return job
    known = ", ".join(dict.fromkeys(job.study for job in jobs))
    raise StudyError(f"the cluster has no job of '{name}'" + (f" (it has: {known})" if known else ""))


def _job(found: Any) -> Job:
    """Ray's record of a job in our words."""
    about = found.metadata or {}
    return Job(
        id=found.submission_id,
        study=about.get("study", ""),
        command=about.get("command", ""),
        state=str(found.status.value).lower(),
        message=found.message or "",
        started=found.start_time / 1000 if found.start_time else None,
        exit_code=found.driver_exit_code,
    )


def _wait(client: Any, id_: str, timeout: float) -> Job:
    deadline = time.monotonic() + timeout
    while (job := _job(client.get_job_info(id_))).state not in DONE:
        if time.monotonic() > deadline:
            raise ClusterError(f"the cluster did not answer within {timeout:g} seconds: {job.message}")
        time.sleep(POLL)
    return job


def _forget(client: Any, id_: str) -> None:
    """Stop a job if need be and take it off the cluster's list; again where a busy one puts it back."""
    client.stop_job(id_)
    for _ in range(ATTEMPTS):
        _wait(client, id_, 30.0)
        time.sleep(SEEN_AFTER)
        client.delete_job(id_)
        time.sleep(POLL)
        if all(job.submission_id != id_ for job in client.list_jobs()):
            return

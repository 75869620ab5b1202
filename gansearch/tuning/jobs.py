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
import logging
import os
import re
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gansearch
from gansearch.errors import ClusterError, StudyError, UserError
from gansearch.journal.directory import StudyDirectory, check_name
from gansearch.masking import shows_password, without_password
from gansearch.modules import own_modules
from gansearch.study.document import Document, read_document
from gansearch.study.plan import DEFAULT
from gansearch.tuning.connection import wants_token
from gansearch.tuning.where import OPTIONS, Option, Where

_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers that tell of every upload."""

DONE = ("stopped", "succeeded", "failed")
"""The states in which a job stays for ever."""

POLL = 0.5
"""Seconds between two looks at a job that is waited for."""

SEEN_AFTER = 1.5
"""Seconds after which Ray, which looks once a second, has seen that a job has ended: one that is gone
before that is put back on the list, as failed."""


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
        ended: likewise.
        exit_code: of the command; None while it runs, or where it never could.
    """

    id: str
    study: str
    command: str
    state: str
    message: str = ""
    started: float | None = None
    ended: float | None = None
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
    _refuse_secrets([path.read_text(encoding="utf-8")], "the study file")
    # As JSON, whose every value is YAML too.
    there = {**(overrides or {}), **start}
    changes = [word for k, v in there.items() for word in ("--set", f"{k}={json.dumps(v)}")]
    where = where or Where()
    own = [*own_modules(document.tree), *where.modules]
    with _folder_of([path, *own]) as folder, _client(address) as client:
        name = StudyDirectory.new(name or _free(client, path.stem), "", folder / "runs").name
        arguments = ["run", path.name, "--name", name, *changes]
        return _give(client, arguments, where, {"study": name, "command": "run"}, folder)


def submit_resume(
    name: str,
    address: str,
    where: Where | None = None,
    trials: int | None = None,
    device_hours: float | None = None,
) -> Job:
    """Go on with a study on a cluster; arguments as for `submit`, the last two as for `resume`.

    The modules that the study names lie in its directory since it was launched; `where.modules` are
    the others that it needs, and newer versions.
    """
    check_name(name)
    where = where or Where()
    with _folder_of(where.modules) as folder, _client(address) as client:
        about = {"study": name, "command": "resume"}
        more = [] if trials is None else ["--trials", str(trials)]
        if device_hours is not None:
            more += ["--set", f"search.budget.device_hours={device_hours:g}"]
        return _give(client, ["resume", name, *more], where, about, folder)


def list_jobs(address: str) -> list[Job]:
    """The cluster's jobs that run or resume a study, the newest first."""
    with _client(address) as client:
        return _list(client)


def job_status(address: str, name: str) -> Job:
    """A job by its id, or the newest one of a study; raises `StudyError` if there is none."""
    with _client(address) as client:
        return _find(client, name)


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
    with _client(address) as client:
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
    line = _captured(_command(arguments, where or Where()), mark)
    with _client(address) as client:
        id_ = client.submit_job(entrypoint=line, submission_id=_new_id(arguments[0]))
        try:
            job = _wait(client, id_, timeout)
            if job.exit_code is None:
                raise ClusterError(
                    f"the cluster could not run `gansearch {arguments[0]}`: {job.message}"
                )
            _, stdout, stderr = client.get_job_logs(id_).split(f"{mark}\n", 2)
        finally:
            _forget(client, id_)
    return RemoteAnswer(job.exit_code, stdout if stdout.strip() else "", stderr)


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


@contextmanager
def _folder_of(paths: Sequence[Path]) -> Iterator[Path]:
    """Files and folders side by side in one; Ray's client cannot send a single file by itself."""
    leave = shutil.ignore_patterns("__pycache__", ".*")
    with tempfile.TemporaryDirectory() as name:
        for path in paths:
            if path.is_dir():
                shutil.copytree(path, Path(name) / path.name, ignore=leave, dirs_exist_ok=True)
            else:
                shutil.copy(path, name)
        yield Path(name)


def _words(where: Where) -> list[str]:
    """Options as words of a command line on the head, but for --runs-dir, which `_command` says.

    Raises `UserError` for a path that could mean another one there.
    """
    words = []
    for name, option in OPTIONS.items():
        said = getattr(where, name)
        if name in ("runs_dir", "address") or said is None:
            continue
        # Modules lie in the folder in which the command works.
        each = [module.name for module in said] if name == "modules" else [_on_cluster(option, said)]
        words += [word for value in each for word in (f"--{option.flag}", value)]
    return words


def _on_cluster(option: Option, said: object) -> str:
    """A value that means the same wherever the command runs; raises `UserError` for another one."""
    text = str(said)
    if not option.is_path or text.startswith("/") or "://" in text:
        return text
    raise UserError(
        f"--{option.flag} {text} is a path on the cluster here: give it from the root, /..."
    )


def _refuse_secrets(texts: Sequence[str], where: str) -> None:
    if any(shows_password(text) for text in texts):
        raise UserError(
            f"{where} would show a password to all who see the cluster's dashboard: set "
            "GANSEARCH_STORAGE or MLFLOW_TRACKING_URI in the head's environment instead"
        )


def _command(arguments: Sequence[str], where: Where) -> str:
    """A line for the head's shell; raises `UserError` for what it must not hold."""
    words = ["gansearch", *arguments, *_words(where)]
    if where.runs_dir is None:
        # A relative default would lie in the job's own folder, which Ray deletes.
        unset = "it is not set in the environment of the head: set it, or say --runs-dir"
        folder = f'"${{GANSEARCH_RUNS:?{unset}}}"'
    else:
        folder = shlex.quote(_on_cluster(OPTIONS["runs_dir"], where.runs_dir))
    _refuse_secrets([*words, folder], "the job's command")
    return f"{shlex.join(words)} --runs-dir {folder}"


def _captured(line: str, mark: str) -> str:
    """A line that prints its output, then its errors, each after a mark: Ray mixes the two."""
    says = f"printf '%s\\n' {shlex.quote(mark)}"
    return (
        f'errors=$(mktemp); output=$({{ {line}; }} 2>"$errors"); code=$?; '
        f"""{says}; printf '%s\\n' "$output"; {says}; cat "$errors"; rm -f "$errors"; exit $code"""
    )


def _give(
    client: Any,
    arguments: Sequence[str],
    where: Where,
    about: Mapping[str, str],
    folder: Path,
) -> Job:
    """Hand a command to the cluster, with a folder to work in, from which every node can import."""
    id_ = client.submit_job(
        entrypoint=_command([*arguments, "--address", "auto"], where),
        submission_id=_new_id(about["study"]),
        runtime_env={"working_dir": str(folder)},
        metadata={"gansearch": gansearch.__version__, **about},
    )
    return _find(client, id_)


def _new_id(stem: str) -> str:
    """An id that no job has had; it is part of the addresses of Ray's job server."""
    return f"gansearch-{re.sub(r'[^A-Za-z0-9._-]+', '-', stem)}-{secrets.token_hex(4)}"


def _free(client: Any, stem: str) -> str:
    """A study's name from its file's, with the first number that no earlier job has."""
    taken = {job.study for job in _list(client)}
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.") or "study"
    return next(n for n in (stem, *(f"{stem}-{i}" for i in range(2, 10_000))) if n not in taken)


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
        ended=found.end_time / 1000 if found.end_time else None,
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
    """Stop a job if need be and take it off the cluster's list."""
    client.stop_job(id_)
    _wait(client, id_, 30.0)
    time.sleep(SEEN_AFTER)
    client.delete_job(id_)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """Ray's client of a cluster's job server, whose errors are told as the user's to mend."""
    url = urlsplit(address)
    if url.scheme not in ("http", "https") or not url.hostname:
        shown = without_password(address)
        raise UserError(f"'{shown}' is no address of a cluster's dashboard: give http://HEAD:8265")
    from aiohttp import ClientError  # noqa: PLC0415
    from ray.exceptions import AuthenticationError  # noqa: PLC0415

    place = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    try:
        yield _open(address)
    except AuthenticationError as error:
        raise ClusterError(wants_token(place, error)) from error
    except (OSError, ClientError) as error:  # those of `requests` are OSErrors
        raise ClusterError(
            f"no Ray cluster answers at {place}: its dashboard listens on the head's loopback, so "
            f"`ray dashboard cluster.yaml` or `kubectl port-forward` must run ({_first_line(error)})"
        ) from error
    except RuntimeError as error:
        raise ClusterError(f"the Ray cluster at {place}: {_first_line(error)}") from error


def _open(address: str) -> Any:
    from ray.job_submission import JobSubmissionClient  # noqa: PLC0415

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    variable = "RAY_API_SERVER_ADDRESS"  # with RAY_ADDRESS it would win over what the user said
    before = os.environ.get(variable)
    os.environ[variable] = address
    try:
        return JobSubmissionClient(address)
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def _first_line(error: BaseException) -> str:
    return without_password(next(iter(str(error).strip().splitlines()), type(error).__name__))

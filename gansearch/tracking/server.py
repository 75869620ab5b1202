"""MLflow's own server on the runs' store, for looking at a study in a browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from types import TracebackType

import psutil

from gansearch.errors import StorageError, UserError
from gansearch.masking import without_password
from gansearch.tracking.away import check_there
from gansearch.tracking.client import one_line, open_client, prepare
from gansearch.tracking.translate import Phase
from gansearch.tracking.views import VIEW, view_key

LOOPBACK = ("127.0.0.1", "localhost")
EVERY = ("0.0.0.0",)
"""All addresses of a machine; MLflow's server and we know only those of IPv4."""


class Server:
    """A running `mlflow server`; `with` or `stop` ends it with all its workers.

    Attributes:
        url: where it answers, without a slash at the end.
        private: whether only this machine reaches it.
        process: the leader of a process group of its own, so Ctrl-C reaches it only through `stop`.
    """

    def __init__(self, process: subprocess.Popen[bytes], url: str, *, private: bool) -> None:
        self.process, self.url, self.private = process, url, private

    def wait(self) -> int:
        """Block until the server ends by itself; returns its exit code."""
        return self.process.wait()

    def stop(self, patience: float = 5.0) -> None:
        """End the process group: politely, and after `patience` seconds for certain."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(patience)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def ui(
    uri: str,
    artifacts: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    timeout: float = 120.0,
) -> Server:
    """Start MLflow's server on a store and wait until it answers.

    Args:
        uri: the store, `sqlite:///...`; a store that is a server already needs none.
        artifacts: where new experiments keep artifacts.
        host: the address to listen on; anyone who reaches it can read and change the store.
        port: 0 for any free one.
        timeout: seconds; a new store is migrated first, which takes several.

    Raises:
        UserError: the port is in use, or the server ended or did not answer in time.
    """
    port = _free_port(host, port)
    try:
        prepare(uri)
    except UserError:
        raise
    except Exception as error:  # whatever keeps MLflow from making its file
        raise UserError(f"MLflow's store cannot be made: {one_line(error)}") from error
    names = _names(host)
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    # Any port of these names: a tunnel has one of its own.
    command += ["--allowed-hosts", ",".join([*names, *(f"{name}:*" for name in names)])]
    command += ["--cors-allowed-origins", ",".join(f"http://{name}:*" for name in names)]
    if artifacts:
        command += ["--default-artifact-root", artifacts]
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # Its job runners are for evaluating language models, and cost several processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            # Not by an option: everyone on a machine sees command lines, and this may hold a password.
            env={**quiet, **os.environ, "MLFLOW_BACKEND_STORE_URI": uri},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        reached = LOOPBACK[0] if host in EVERY else host
        server = Server(process, f"http://{reached}:{port}", private=host in LOOPBACK)
        try:
            answers = _answers(server, timeout)
        except BaseException:
            server.stop()
            raise
        if not answers:
            server.stop()
            output.seek(0)
            said = without_password(output.read().decode(errors="backslashreplace")[-2000:])
            raise UserError(f"MLflow's server did not start:\n{said}")
    return server


def comparison_url(
    base: str,
    uri: str,
    study: str,
    *,
    identity: str = "",
    charts: bool = False,
    phase: Phase = "search",
) -> str:
    """The address of a study's comparison view: its trials, best first, with the axes as columns.

    Args:
        base: where the server answers, such as `Server.url`.
        uri: the store in which the study is looked up.
        identity: the one given to the `Tracker`.
        charts: curves and sample grids side by side, in place of the table.
        phase: of the study; that of the `stability` study is grouped by configuration.

    Raises:
        UserError: the store does not answer, or does not have the study, or not this phase.
    """
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    check_there(uri)
    try:
        found = open_client(uri).get_experiment_by_name(study)
    except (MlflowException, OSError) as error:
        address = without_password(uri)
        raise StorageError(f"MLflow at {address} does not answer: {one_line(error)}") from error
    if found is None:
        raise UserError(f"MLflow has no study '{study}' yet; `gansearch sync` sends it")
    view = view_key(identity or study, phase)
    if VIEW + view not in found.tags:
        raise UserError(f"MLflow has no {phase} of study '{study}' yet; `gansearch sync` sends it")
    query = {"viewStateShareKey": view, "workflowType": "machine_learning"}
    if charts:
        query["compareRunsMode"] = "CHART"
    page = f"{base.rstrip('/')}/#/experiments/{found.experiment_id}/runs"
    return f"{page}?{urllib.parse.urlencode(query)}"


def _names(host: str) -> list[str]:
    """The names by which a server may be called that listens on an address.

    MLflow refuses any other, or else a page of a stranger's, opened in a browser of this machine, could
    have its own name mean this address, and read and change the store (DNS rebinding).
    """
    if host in LOOPBACK:
        return list(LOOPBACK)
    own = [socket.gethostname(), socket.getfqdn()]
    if host not in EVERY:
        return list(dict.fromkeys([host, *own]))
    addresses = [a.address for each in psutil.net_if_addrs().values() for a in each]
    found = [address for address in addresses if re.fullmatch(r"[\d.]+", address)]
    return list(dict.fromkeys([*LOOPBACK, *own, *found]))


def _free_port(host: str, port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError as error:
            raise UserError(f"--port {port}: ports are from 0 to 65535") from error
        except socket.gaierror as error:
            raise UserError(f"--host {host}: no address of this machine ({error.strerror})") from error
        except OSError as error:
            message = f"{host}:{port} cannot be used ({error.strerror}); another port may be free"
            raise UserError(message) from error
        return int(probe.getsockname()[1])


def _answers(server: Server, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    return False

"""Ray, joined or started."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from gansearch.errors import ClusterError
from gansearch.masking import first_line
from gansearch.tuning.head import check_answers, place_of
from gansearch.tuning.meanwhile import environment, replaced

_QUIET_TUNE = {
    # The journal and MLflow record trials; Tune's own CSV, JSON and TensorBoard files would be a
    # second record, written in the driver's loop.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Resuming reads the journal, never Tune's experiment state: do not spend time on writing it.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours ends a study resumably
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # to Tune a trial fails with its worker; ours goes on
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",  # the searcher decides how many trials are live
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Or else a local Ray starts a process for each CPU, of which Tune's trials use none: each has an
    # environment of its own (findings/ray_tune_passes_by_ready_workers.sh).
    "RAY_prestart_worker_first_driver": "0",
}

_ONE_THREAD = threading.RLock()

NICENESS = "RAY_worker_niceness"
"""Ray's setting, in the environment, for the workers of a node that is started here."""


@contextmanager
def connected(
    address: str | None, modules: Sequence[Path] = (), nice: int | None = None
) -> Iterator[Any]:
    """Ray, joined at an address or started here on loopback; it, and what the environment says to
    workers, are left as they were found.

    Args:
        address: of a cluster; None takes RAY_ADDRESS if that is set (as in a Ray job), else starts a
            local Ray.
        modules: of the user's own, which the nodes of a cluster are sent, and a local Ray finds.
        nice: niceness of the workers of a local Ray; None: as RAY_worker_niceness says, else 0.

    Raises:
        ClusterError: no cluster answers, or another thread is connected.
    """
    # Two would share one connection, which the first to end would close.
    if not _ONE_THREAD.acquire(blocking=False):
        raise ClusterError(
            "another thread of this process is at a study: let it end, or take a process for each"
        )
    try:
        with _connected(address, modules, nice) as ray:
            yield ray
    finally:
        _ONE_THREAD.release()


@contextmanager
def _connected(address: str | None, modules: Sequence[Path], nice: int | None) -> Iterator[Any]:
    for key, value in _QUIET_TUNE.items():
        os.environ.setdefault(key, value)
    if not (address or os.environ.get("RAY_ADDRESS")):
        # Or else Ray takes the machine's address and listens on all of them. It must be said before
        # Ray is imported, and is named after the systems on which it is Ray's own default.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray  # noqa: PLC0415  two seconds that `gansearch --help` need not wait

    if ray.is_initialized():
        if address:
            raise ClusterError(
                "Ray is connected already: leave the address out, or ray.shutdown() first"
            )
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address.startswith("ray://"):
        raise ClusterError(
            "Ray Client (ray://) cannot hold a driver: run on the head, with --address auto"
        )
    with environment({} if address else _for_workers(modules, nice)):
        try:
            with _terminated_as_before():
                _join(ray, address, modules) if address else _start(ray)
        except ClusterError:
            raise
        except ray.exceptions.AuthenticationError as error:
            raise ClusterError(wants_token(f"'{address}'", error)) from error
        except Exception as error:  # Ray raises a bare one where a node does not start in time
            where = f"the Ray cluster at '{address}'" if address else "a local Ray"
            raise ClusterError(f"cannot connect to {where}: {error}{_mend(error)}") from error
        try:
            yield ray
        finally:
            ray.shutdown()


def _terminated_as_before() -> AbstractContextManager[None]:
    """Keep a handler of SIGTERM, in the place of which Ray puts an exit without a word."""
    from ray._private import utils  # noqa: PLC0415

    ours = callable(signal.getsignal(signal.SIGTERM))
    return replaced(utils, set_sigterm_handler=_nothing) if ours else nullcontext()


def _mend(error: Exception) -> str:
    """What to do about an error of Ray's, where it does not say so."""
    too_long = "AF_UNIX path length" in str(error)
    return " (RAY_TMPDIR=/tmp, or another short folder, is where Ray puts it)" if too_long else ""


def dashboard(ray: Any) -> str:
    """The address of this driver's page in Ray's dashboard; "" where there is none, as locally."""
    from ray._private.worker import get_dashboard_url  # noqa: PLC0415

    place = get_dashboard_url()
    if not place:
        return ""
    address = place if "://" in place else f"http://{place}"
    return f"{address}/#/jobs/{ray.get_runtime_context().get_job_id()}"


def wants_token(place: str, error: Exception) -> str:
    """What to say where a cluster has refused us."""
    why = first_line(error).partition(" Ensure that")[0].strip(". ")
    return (
        f"the Ray cluster at {place} wants its token: set RAY_AUTH_MODE=token, and put the token into "
        f"~/.ray/auth_token or the file that RAY_AUTH_TOKEN_PATH names ({why})"
    )


def _join(ray: Any, address: str, modules: Sequence[Path]) -> None:
    _check_head(address)
    ray.init(
        address=address,
        log_to_driver=False,
        logging_level=logging.WARNING,
        runtime_env={"py_modules": [str(path) for path in modules]} if modules else None,
    )


def _check_head(address: str) -> None:
    """Raise `ClusterError` where no cluster's head answers, and Ray's `AuthenticationError` where one
    refuses us.

    `ray.init` asks for forty seconds before it says that it got no answer; and twenty times, once a
    second, where it is refused, and then does not say that it was for the token.
    """
    from ray._private.authentication import authentication_token_setup as tokens  # noqa: PLC0415
    from ray._private.services import canonicalize_bootstrap_address  # noqa: PLC0415
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # noqa: PLC0415

    if address == "auto":
        tokens.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    tokens.ensure_token_if_auth_enabled(create_token_if_missing=False)
    form = f"'{address}' is no address of a Ray cluster: say its head's HOST:PORT, or auto on its nodes"
    if "://" in address:
        raise ClusterError(f"{form} (a dashboard's, http://..., is for `submit` and `resume`)")
    try:
        place = canonicalize_bootstrap_address(address)
    except ValueError as error:
        raise ClusterError(form) from error
    if place:
        if (at := place_of(place)) is None:
            raise ClusterError(form)
        check_answers(address, *at)
        GcsClient(address=place)


def _for_workers(modules: Sequence[Path], nice: int | None) -> dict[str, str]:
    """What the environment is to say to the workers of a local Ray."""
    # They must find the parts that a study names in the user's own folder.
    paths = [os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]  # noqa: PTH109
    paths += [str(path.parent) for path in modules]
    # Ray's own would run at niceness 15, and stand still beside any other job on the machine.
    niceness = os.environ.get(NICENESS, "0") if nice is None else str(nice)
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(filter(None, paths))), NICENESS: niceness}


def _start(ray: Any) -> None:
    """Start a local Ray (2.60) without the processes that have nothing to do on one machine.

    It would start a monitor though there are no nodes to be had, a reader of the workers' logs though
    nobody wants them, and a server for the dashboard though there is none: each takes a processor for
    half a second or a whole one, just when the driver and its first worker want it. So does trying
    whether the dashboard's dependencies, which are among ours, can be loaded.
    """
    from ray._private import utils  # noqa: PLC0415
    from ray._private.node import Node  # noqa: PLC0415

    idle = dict.fromkeys(("start_monitor", "start_log_monitor", "start_api_server"), _nothing)
    with replaced(Node, **idle), replaced(utils, get_dashboard_dependency_error=_nothing):
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _node_ip_address="127.0.0.1",
        )


def _nothing(*_: Any, **__: Any) -> None:
    """Stands for what is not to be done."""

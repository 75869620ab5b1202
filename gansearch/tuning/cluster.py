"""Ray: joining or starting it, and what it has to offer."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gansearch.errors import StudyError
from gansearch.study.spec import Resources

_QUIET_TUNE = {
    # The journal and MLflow record trials; Tune's own CSV, JSON and TensorBoard files would be a
    # second record, written in the driver's loop.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Resuming reads the journal, never Tune's experiment state: do not spend time on writing it.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours ends a study resumably
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1000000",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000",  # the searcher decides how many trials are live
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Ray, joined at an address or started here on loopback; left as it was found.

    `address` None takes RAY_ADDRESS if that is set (as in a Ray job), else starts a local Ray.
    Raises `StudyError` where no cluster answers.
    """
    for key, value in _QUIET_TUNE.items():
        os.environ.setdefault(key, value)
    if not (address or os.environ.get("RAY_ADDRESS")):
        # Or else Ray takes the machine's address and listens on all of them. It must be said before
        # Ray is imported, and is named after the systems on which it is Ray's own default.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray  # noqa: PLC0415  two seconds that `gansearch --help` need not wait

    if ray.is_initialized():
        if address:
            raise StudyError("Ray is connected already: leave the address out, or ray.shutdown() first")
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address.startswith("ray://"):
        raise StudyError(
            "Ray Client (ray://) cannot hold a driver: run on the head, with --address auto"
        )
    try:
        _join(ray, address) if address else _start(ray)
    except Exception as error:  # Ray raises a bare one where a node does not start in time
        where = f"the Ray cluster at '{address}'" if address else "a local Ray"
        raise StudyError(f"cannot connect to {where}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _join(ray: Any, address: str) -> None:
    ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)


def _start(ray: Any) -> None:
    # Workers must find the parts that a study names in the user's own folder.
    paths = [os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]  # noqa: PTH109
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(p for p in paths if p))
    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
    )


def check_resources(ray: Any, wanted: Resources) -> None:
    """Raise `StudyError` where no node could ever run one trial, telling all that it lacks."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    lacking = []
    for kind, name, need in (("CPU", "cpus", wanted.cpus), ("GPU", "gpus", wanted.gpus)):
        most = max((node.get(kind, 0.0) for node in nodes), default=0.0)
        if need > most:
            largest = f"and the largest node has {most:g}"
            lacking.append(f"resources.{name}: a trial asks for {need:g} {kind}s, {largest}")
    if lacking:
        raise StudyError("\n".join(lacking))


def capacity(ray: Any, wanted: Resources, *, elastic: bool) -> Callable[[], int]:
    """How many trials to have at once, asked again every few seconds as the cluster changes.

    As many as fit; on an `elastic` cluster one more, whose waiting makes the autoscaler add a node.
    """
    known = {"at": -math.inf, "slots": 1.0}

    def slots() -> int:
        if time.monotonic() - known["at"] > 5:
            known["at"] = time.monotonic()
            alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            known["slots"] = sum(_fits(node, wanted) for node in alive)
        return max(int(known["slots"]), 1) + elastic

    return slots


def _fits(node: dict[str, float], wanted: Resources) -> int:
    by_cpu = int(node.get("CPU", 0.0) // wanted.cpus)
    if not wanted.gpus:
        return by_cpu
    gpus = node.get("GPU", 0.0)
    per_gpu = int(1 / wanted.gpus + 1e-9) if wanted.gpus < 1 else 0
    by_gpu = int(gpus) * per_gpu if per_gpu else int(gpus // wanted.gpus)
    return min(by_cpu, by_gpu)

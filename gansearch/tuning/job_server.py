"""Ray's job server, as it is spoken to: its errors are told as the user's to mend."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from gansearch.errors import ClusterError, UserError
from gansearch.masking import first_line, without_password
from gansearch.tuning.connection import wants_token
from gansearch.tuning.meanwhile import environment

_TALKATIVE = (
    "ray.dashboard.modules.dashboard_sdk",
    "ray.dashboard.modules.job.sdk",
    "ray._private.runtime_env.packaging",
)
"""Loggers that tell of every upload."""


@contextmanager
def client_of(address: str) -> Iterator[Any]:
    """Ray's client of a cluster's job server, whose errors are told as the user's to mend."""
    url = urlsplit(address)
    if url.scheme not in ("http", "https") or not url.hostname:
        shown = without_password(address)
        raise UserError(f"'{shown}' is no address of a cluster's dashboard: give http://HEAD:8265")
    from aiohttp import ClientError  # noqa: PLC0415
    from ray.exceptions import AuthenticationError  # noqa: PLC0415

    place = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    try:
        yield open_client(address)
    except AuthenticationError as error:
        raise ClusterError(wants_token(place, error)) from error
    except (OSError, ClientError) as error:  # those of `requests` are OSErrors
        raise ClusterError(
            f"no Ray cluster answers at {place}: its dashboard listens on the head's loopback, so "
            f"`ray dashboard cluster.yaml` or `kubectl port-forward` must run ({first_line(error)})"
        ) from error
    except RuntimeError as error:
        raise ClusterError(f"the Ray cluster at {place}: {first_line(error).rstrip('.')}") from error


def open_client(address: str) -> Any:
    """Ray's client of an address, and of no other that the environment names."""
    from ray.job_submission import JobSubmissionClient  # noqa: PLC0415

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    variable = "RAY_API_SERVER_ADDRESS"  # with RAY_ADDRESS it would win over what the user said
    with environment({variable: address}):
        return JobSubmissionClient(address)

"""MLflow's client, and how the runs of a study are found."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gansearch.masking import without_password
from gansearch.tracking.translate import TRIAL, cut

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

RUNS_A_PAGE = 1000
STUDY, IDENTITY, STUDY_FILE = "gansearch.study", "gansearch.identity", "gansearch.study_file"
PART, STUDY_RUN, PARENT = "gansearch.part", "gansearch.study_run", "mlflow.parentRunId"

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Waiting and retrying is the tracker's own business. The time-out exceeds the 20 s for which a
    # server waits for a locked SQLite file, lest a run be created after we have given it up.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def open_client(uri: str) -> MlflowClient:
    """A client for a tracking URI, with mlflow imported quietly; what the user has set stays."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient  # noqa: PLC0415

    # Migrations tell of each step, and a locked database prints its stack: neither is for the user,
    # who is told in one line that MLflow does not answer.
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.store.tracking.sqlalchemy_store"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    return MlflowClient(uri, registry_uri=uri)


def one_line(error: Exception) -> str:
    """What went wrong, in one line without a password."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return without_password(cut(lines[0], 300))


def find_parent(client: MlflowClient, experiment: str, identity: str) -> Any | None:
    """The run of a study, or None."""
    where = f"tags.`{IDENTITY}` = '{identity}'"
    found = client.search_runs([experiment], where, order_by=["attributes.start_time ASC"])
    return found[0] if found else None


def find_configurations(client: MlflowClient, experiment: str, parent: str) -> list[Any]:
    """The configurations' runs of a stability study, oldest first."""
    where = f"tags.`{PARENT}` = '{parent}' and tags.`{PART}` = 'stability'"
    return list(search(client, experiment, where))


def find_seeds(client: MlflowClient, experiment: str, parent: str) -> list[Any]:
    """The seeds' runs of a stability study, oldest first."""
    return list(search(client, experiment, trials_again(parent)))


def trials_of_search(parent: str) -> str:
    """The filter of a search's trials, by the id of their study's run."""
    return f"tags.`{PARENT}` = '{parent}' and tags.`{TRIAL}` != ''"


def trials_again(parent: str) -> str:
    """The filter of the trials of a stability study, by the id of their study's run."""
    return f"tags.`{STUDY_RUN}` = '{parent}' and tags.`{TRIAL}` != ''"


def search(client: MlflowClient, experiment: str, where: str) -> Iterator[Any]:
    """All the runs of a filter, oldest first."""
    token = None
    while True:
        page = client.search_runs(
            [experiment],
            where,
            max_results=RUNS_A_PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from page
        if not (token := page.token):
            return

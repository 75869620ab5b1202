"""MLflow's client, and how the runs of a study are found."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from gansearch.errors import StorageError
from gansearch.masking import first_line, without_password
from gansearch.tracking.away import why_no_database
from gansearch.tracking.store import make_whole
from gansearch.tracking.translate import TRIAL, Point, cut

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger("gansearch.tracking")

RUNS_A_PAGE, METRICS_A_CALL, OTHERS_A_CALL = 1000, 1000, 100
"""What MLflow takes, or gives, at once."""

STUDY, IDENTITY, STUDY_FILE = "gansearch.study", "gansearch.identity", "gansearch.study_file"
PART, STUDY_RUN, PARENT = "gansearch.part", "gansearch.study_run", "mlflow.parentRunId"

_T = TypeVar("_T")

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Waiting and retrying is the tracker's own business. The time-out exceeds the 20 s for which a
    # server waits for a locked SQLite file, lest a run be created after we have given it up.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def prepare(uri: str) -> None:
    """Have mlflow be quiet, where the user has not said otherwise, and a URI's SQLite file be there.

    Raises `StorageError` for a database that is away, whom MLflow would ask for many minutes.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Migrations tell of each step, and a locked database prints its stack: neither is for the user,
    # who is told in one line that MLflow does not answer.
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.store.tracking.sqlalchemy_store"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    if why := why_no_database(uri):
        raise StorageError(f"the database at {without_password(uri)} does not answer: {why}")
    make_whole(uri)


def open_client(uri: str) -> MlflowClient:
    """A client for a tracking URI."""
    prepare(uri)
    from mlflow.tracking import MlflowClient  # noqa: PLC0415

    return MlflowClient(uri, registry_uri=uri)


def one_line(error: Exception) -> str:
    """What went wrong, in one line without a password.

    Of a server that is not reached it is the system's word for why, and of one that gives a page in
    place of an answer its number.
    """
    chain = list(_chain(error))
    asked = any(type(each).__module__.startswith("requests.") for each in chain)
    if asked and isinstance(chain[-1], OSError) and len(chain) > 1:
        return str(chain[-1].strerror or chain[-1])
    line = first_line(error)
    if page := _PAGE.search(line):
        return f"it answers with error {page[1]}, and not as MLflow does"
    return cut(line, 300)


_PAGE = re.compile(r"failed with error code (\d+) != 200")
"""What MLflow's client says of an answer that it cannot read; the answer follows."""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it came of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def experiment_of(client: MlflowClient, study: str, artifacts: str | None) -> str:
    """The id of a study's experiment, which is made where there is none, and restored if deleted."""
    found = client.get_experiment_by_name(study)
    if found is None:
        # The kind makes MLflow open the table of runs, not its pages for language models.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return str(client.create_experiment(study, artifacts, tags))
    if found.lifecycle_stage == "deleted":
        log.warning("MLflow's experiment %r was deleted; it is restored.", study)
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


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


def batches(
    points: Sequence[Point], params: Mapping[str, str], tags: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """What to send a run, each a call of `log_batch`: nearly always one, in which tags come last."""
    from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415

    sizes = {"metrics": METRICS_A_CALL, "params": OTHERS_A_CALL, "tags": OTHERS_A_CALL}
    items: dict[str, list[Any]] = {
        "metrics": [Metric(p.name, p.value, p.time_ms, p.step) for p in points],
        "params": [Param(name, value) for name, value in params.items()],
        "tags": [RunTag(name, value) for name, value in tags.items()],
    }
    last = {}
    for kind, size in sizes.items():
        *more, last[kind] = _chunks(items[kind], size)
        yield from ({kind: some} for some in more)
    if any(last.values()):
        yield last


def _chunks(items: list[_T], size: int) -> list[list[_T]]:
    """Lists of at most `size`, at least one."""
    return [items[start : start + size] for start in range(0, len(items), size)] or [[]]

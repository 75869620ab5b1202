"""The runs of one study in MLflow. Every call to MLflow is made here, by whoever owns the object.

`connect` reads what MLflow has; after it, `send` writes only what is missing. Each write can be
made twice with the same result, and what a run has is noted in its tags after it has it, so a
process may be killed anywhere in between.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gansearch.study.config import digest
from gansearch.study.document import write_document
from gansearch.study.records import Goal, Outcome, TrialRecord
from gansearch.tracking.translate import (
    CONFIG,
    NOTE,
    OUTCOME,
    REPORTS,
    STATUS,
    TRIAL,
    Run,
    Status,
    cut,
    run_name,
    translate,
)

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger("gansearch.tracking")

Samples = Callable[[int, int], Path | None]
"""(trial number, step) -> the PNG of its sample grid, or None."""

METRICS_A_CALL, OTHERS_A_CALL, RUNS_A_PAGE = 1000, 100, 1000
STUDY, IDENTITY, STUDY_FILE = "gansearch.study", "gansearch.identity", "gansearch.study_file"

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Waiting and retrying is the tracker's own business. The time-out exceeds the 20 s for which a
    # server waits for a locked SQLite file, lest a run be created after we have given it up.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}

_T = TypeVar("_T")


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


@dataclass
class _Known:
    """What MLflow's run of a trial has; `images` None: not asked yet."""

    id: str
    name: str
    status: str
    tags: dict[str, str]
    params: set[str] = field(default_factory=set)
    images: set[int] | None = None
    end_ms: int | None = None


def view_key(identity: str) -> str:
    """The name under which a study's comparison view is kept with its experiment."""
    return f"gansearch-{digest(identity)}"


class StudyRuns:
    """One experiment, one parent run, one run for each trial. Methods raise what MLflow raises.

    Args:
        identity: tells the study from others of the same name in a shared store.
        artifacts: where a new experiment keeps its artifacts; None: the store's own choice.
        study_tags: set on the parent run.
        study_file: the resolved study as YAML.
        metric: the objective, whose running best each run shows.
    """

    def __init__(
        self,
        uri: str,
        study: str,
        *,
        identity: str,
        artifacts: str | None,
        study_tags: Mapping[str, str],
        study_file: str,
        samples: Samples,
        metric: str,
        goal: Goal,
    ) -> None:
        self.uri, self.study, self.identity, self.artifacts = uri, study, identity, artifacts
        self._study_tags = {key: cut(value) for key, value in study_tags.items()}
        self._study_file, self._samples = study_file, samples
        self._metric, self._goal = metric, goal
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._parent = ""
        self._known: dict[int, _Known] = {}

    @property
    def connected(self) -> bool:
        """Whether `connect` has succeeded since the last `disconnect`."""
        return self._client is not None

    def connect(self) -> None:
        """Find or create the experiment and the parent run, and read what each trial's run has."""
        client = open_client(self.uri)
        self._experiment = self._find_experiment(client)
        self._parent = self._find_parent(client)
        self._known = self._find_trials(client)
        self._client = client

    def disconnect(self) -> None:
        """Forget all: after an error nobody knows what has arrived, so it is to be read again."""
        self._client = None

    def send(self, record: TrialRecord) -> str:
        """Make MLflow's run of a trial look like its record; returns the run's id."""
        wanted = translate(record)
        known = self._known.get(wanted.number) or self._create(wanted)
        self._send_config(known, wanted, record)
        self._send_images(known, wanted)
        self._send_batches(known, wanted)
        self._send_name_and_status(known, wanted)
        return known.id

    def set_parent_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the parent run."""
        for key, value in tags.items():
            self._mlflow.set_tag(self._parent, key, cut(value), synchronous=True)

    def set_view(self, axes: list[str]) -> None:
        """Lay out the comparison view: a table of the trials, best first, the axes as columns."""
        by = f"best.{self._metric}"
        columns = ["attributes.`Description`", f"metrics.`{by}`", "metrics.`best.step`"]
        columns += ["metrics.`seconds`", *(f"params.`{name}`" for name in axes)]
        view = {
            "searchFilter": f"tags.`mlflow.parentRunId` = '{self._parent}'",
            "orderByKey": f"metrics.`{by}`",
            "orderByAsc": self._goal == "min",
            "selectedColumns": columns,
        }
        tag = f"mlflow.sharedViewState.{view_key(self.identity)}"
        self._mlflow.set_experiment_tag(self._experiment, tag, json.dumps(view))

    def end(self, status: Status, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """End the parent run; a trial's run that is still going was interrupted."""
        for number, known in self._known.items():
            if known.status == "RUNNING":
                self._interrupt(number, known)
        self.set_parent_tags(tags)
        for name, value in metrics.items():
            self._mlflow.log_metric(self._parent, name, value, synchronous=True)
        self._mlflow.set_terminated(self._parent, status)

    @property
    def _mlflow(self) -> MlflowClient:
        if self._client is None:
            raise RuntimeError("connect() comes first")
        return self._client

    def _find_experiment(self, client: MlflowClient) -> str:
        found = client.get_experiment_by_name(self.study)
        if found is None:
            # The kind makes MLflow open the table of runs, not its pages for language models.
            tags = {"mlflow.experimentKind": "custom_model_development"}
            return str(client.create_experiment(self.study, self.artifacts, tags))
        if found.lifecycle_stage == "deleted":
            log.warning("MLflow's experiment %r was deleted; it is restored.", self.study)
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _find_parent(self, client: MlflowClient) -> str:
        found = client.search_runs(
            [self._experiment],
            f"tags.`{IDENTITY}` = '{self.identity}'",
            order_by=["attributes.start_time ASC"],
        )
        tags = {STUDY: self.study, IDENTITY: self.identity, "mlflow.source.name": "gansearch"}
        run = found[0] if found else client.create_run(self._experiment, None, tags, self.study)
        parent = str(run.info.run_id)
        if run.info.status != "RUNNING":
            client.update_run(parent, status="RUNNING")
        for key, value in self._study_tags.items():
            if run.data.tags.get(key) != value:
                client.set_tag(parent, key, value, synchronous=True)
        if run.data.tags.get(STUDY_FILE) != (wanted := digest(self._study_file)):
            client.log_text(parent, self._study_file, "study.yaml")
            client.set_tag(parent, STUDY_FILE, wanted, synchronous=True)
        return parent

    def _find_trials(self, client: MlflowClient) -> dict[int, _Known]:
        known: dict[int, _Known] = {}
        for run in self._children(client):
            number = int(run.data.tags[TRIAL])
            if number in known:  # our request to create it was carried out after we gave it up
                client.delete_run(run.info.run_id)
                continue
            known[number] = _Known(
                run.info.run_id,
                run.info.run_name,
                run.info.status,
                dict(run.data.tags),
                set(run.data.params),
            )
        return known

    def _children(self, client: MlflowClient) -> Iterator[Any]:
        where = f"tags.`mlflow.parentRunId` = '{self._parent}' and tags.`{TRIAL}` != ''"
        token = None
        while True:
            page = client.search_runs(
                [self._experiment],
                where,
                max_results=RUNS_A_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            yield from page
            if not (token := page.token):
                return

    def _create(self, wanted: Run) -> _Known:
        tags = {
            "mlflow.parentRunId": self._parent,
            TRIAL: str(wanted.number),
            STUDY: self.study,
            "mlflow.source.name": "gansearch",
        }
        run = self._mlflow.create_run(
            self._experiment, start_time=wanted.start_ms, tags=tags, run_name=wanted.name
        )
        known = _Known(run.info.run_id, wanted.name, "RUNNING", tags, images=set())
        self._known[wanted.number] = known
        return known

    def _send_config(self, known: _Known, wanted: Run, record: TrialRecord) -> None:
        if known.tags.get(CONFIG) != wanted.tags[CONFIG]:
            self._mlflow.log_text(known.id, write_document(record.config), "config.yaml")

    def _send_images(self, known: _Known, wanted: Run) -> None:
        for report in wanted.reports:
            if known.images and report.step in known.images:
                continue
            path = self._samples(wanted.number, report.step)
            if path is None:
                continue
            if known.images is None:
                known.images = self._listed_images(known.id)
            if report.step not in known.images:
                self._send_image(known.id, path, report.step, round(report.time * 1000))
                known.images.add(report.step)

    def _send_image(self, run_id: str, path: Path, step: int, time_ms: int) -> None:
        from PIL import Image  # noqa: PLC0415

        try:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
        except (OSError, SyntaxError) as error:
            log.warning("The sample grid %s is left out: %s.", path, error)
            return
        self._mlflow.log_image(
            run_id, image, key="samples", step=step, timestamp=time_ms, synchronous=True
        )

    def _listed_images(self, run_id: str) -> set[int]:
        """The steps whose image is there in full: MLflow writes the compressed copy last."""
        names = (file.path for file in self._mlflow.list_artifacts(run_id, "images"))
        found = (re.search(r"samples[+%]step[+%](\d+)[+%].*compressed", name) for name in names)
        return {int(match[1]) for match in found if match}

    def _send_batches(self, known: _Known, wanted: Run) -> None:
        from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415

        sent = int(known.tags.get(REPORTS, "0"))
        first = sent if sent <= len(wanted.reports) else 0  # the journal may have lost its last line
        points = wanted.points(first, self._metric, self._goal)
        metrics = [Metric(p.name, p.value, p.time_ms, p.step) for p in points]
        params = [Param(k, v) for k, v in wanted.params.items() if k not in known.params]
        tags = [RunTag(k, v) for k, v in wanted.tags.items() if known.tags.get(k) != v]
        *more_metrics, metrics = _chunks(metrics, METRICS_A_CALL)
        *more_params, params = _chunks(params, OTHERS_A_CALL)
        *more_tags, tags = _chunks(tags, OTHERS_A_CALL)
        for some in more_metrics:
            self._mlflow.log_batch(known.id, metrics=some, synchronous=True)
        for some in more_params:
            self._mlflow.log_batch(known.id, params=some, synchronous=True)
        for some in more_tags:
            self._mlflow.log_batch(known.id, tags=some, synchronous=True)
        if metrics or params or tags:  # nearly always the only call; its tags are written last
            self._mlflow.log_batch(known.id, metrics, params, tags, synchronous=True)
        known.end_ms = wanted.end_ms
        known.params |= set(wanted.params)
        known.tags |= wanted.tags

    def _send_name_and_status(self, known: _Known, wanted: Run) -> None:
        goes_on = wanted.status == "RUNNING" != known.status
        if known.name != wanted.name or goes_on:
            self._mlflow.update_run(known.id, "RUNNING" if goes_on else None, wanted.name)
        if wanted.status not in ("RUNNING", known.status):
            self._mlflow.set_terminated(known.id, wanted.status, wanted.end_ms)
        known.name, known.status = wanted.name, wanted.status

    def _interrupt(self, number: int, known: _Known) -> None:
        outcome, name = Outcome.INTERRUPTED, run_name(number, Outcome.INTERRUPTED)
        for tag in (OUTCOME, NOTE):
            self._mlflow.set_tag(known.id, tag, outcome.value, synchronous=True)
            known.tags[tag] = outcome.value
        self._mlflow.update_run(known.id, name=name)
        self._mlflow.set_terminated(known.id, STATUS[outcome], known.end_ms)
        known.name, known.status = name, STATUS[outcome]


def _chunks(items: list[_T], size: int) -> list[list[_T]]:
    """Lists of at most `size`, at least one."""
    return [items[start : start + size] for start in range(0, len(items), size)] or [[]]

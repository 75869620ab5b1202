"""Many new runs at once, straight into MLflow's own SQLite file.

By MLflow's interface a run of a short trial takes five calls, which are forty statements and eight
commits: 20 ms of a core, and as much of the driver's time, whose process the tracker is in. Ten
thousand trials would be minutes of it. Here a hundred runs are six statements and one commit.

This is for what the tracker finds new on a visit, in the store that a study has by default. All else,
and what becomes of these runs later, goes by MLflow's interface; which way a run came cannot be seen.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansearch.tracking.translate import Point

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


@dataclass(frozen=True)
class NewRun:
    """All of a run.

    Attributes:
        name, status, start_ms, end_ms: as MLflow has them.
        tags, params: as they are to be; the name is no tag.
        points: of its curves, each but once.
        config: the text of its artifact `config.yaml`.
    """

    name: str
    status: str
    start_ms: int
    end_ms: int | None
    tags: dict[str, str]
    params: dict[str, str]
    points: Sequence[Point]
    config: str


def takes_many(client: MlflowClient, experiment: str) -> bool:
    """Whether runs of an experiment can be written so: its store and its artifacts are files here."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # noqa: PLC0415

    store = _store(client)
    own = type(store) is SqlAlchemyStore and store.db_type == "sqlite"
    return own and _folder(client.get_experiment(experiment).artifact_location) is not None


def write_many(client: MlflowClient, experiment: str, runs: Sequence[NewRun]) -> list[str]:
    """Write runs, all of them or none; returns their ids. Raises what MLflow or its database raises."""
    from mlflow.store.tracking.dbmodels import models  # noqa: PLC0415
    from mlflow.utils.uri import append_to_uri_path  # noqa: PLC0415
    from mlflow.utils.validation import (  # noqa: PLC0415
        _validate_metric_name,
        _validate_param_name,
        _validate_tag_name,
    )

    for validate, names in (
        (_validate_metric_name, {point.name for run in runs for point in run.points}),
        (_validate_param_name, {name for run in runs for name in run.params}),
        (_validate_tag_name, {name for run in runs for name in run.tags}),
    ):
        for name in names:
            validate(name)

    location = client.get_experiment(experiment).artifact_location
    ids = [uuid.uuid4().hex for _ in runs]
    rows: dict[Any, list[dict[str, Any]]] = {}
    for run_id, run in zip(ids, runs, strict=True):
        artifacts = append_to_uri_path(location, run_id, "artifacts")
        _write_config(artifacts, run.config)  # first: that it is there is said by a tag
        head = {
            "run_uuid": run_id,
            "name": run.name,
            "experiment_id": int(experiment),
            "artifact_uri": artifacts,
            "source_type": "UNKNOWN",
            "source_name": "",
            "source_version": "",
            "entry_point_name": "",
            "user_id": "unknown",
            "status": run.status,
            "start_time": run.start_ms,
            "end_time": run.end_ms,
            "lifecycle_stage": "active",
        }
        rows.setdefault(models.SqlRun, []).append(head)
        for model, pairs in (
            (models.SqlTag, run.tags | {"mlflow.runName": run.name}),
            (models.SqlParam, run.params),
        ):
            own = [{"run_uuid": run_id, "key": k, "value": v} for k, v in pairs.items()]
            rows.setdefault(model, []).extend(own)
        points = [_point(run_id, point) for point in dict.fromkeys(run.points)]
        rows.setdefault(models.SqlMetric, []).extend(points)
        newest = sorted(points, key=lambda row: (row["step"], row["timestamp"], row["value"]))
        rows.setdefault(models.SqlLatestMetric, []).extend({p["key"]: p for p in newest}.values())
    with _store(client).engine.begin() as connection:
        for model, found in rows.items():
            if found:
                connection.execute(model.__table__.insert(), found)
    return ids


def _point(run_id: str, point: Point) -> dict[str, Any]:
    return {
        "run_uuid": run_id,
        "key": point.name,
        "value": point.value,
        "timestamp": point.time_ms,
        "step": point.step,
        "is_nan": False,
    }


def _write_config(artifacts: str, text: str) -> None:
    folder = _folder(artifacts)
    if folder is None:
        raise ValueError(f"{artifacts} is no folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")


def _folder(location: str) -> Path | None:
    from mlflow.utils.file_utils import local_file_uri_to_path  # noqa: PLC0415
    from mlflow.utils.uri import is_local_uri  # noqa: PLC0415

    return Path(local_file_uri_to_path(location)) if is_local_uri(location) else None


def _store(client: MlflowClient) -> Any:
    return client._tracking_client.store

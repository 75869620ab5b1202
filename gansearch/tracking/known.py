"""What MLflow has of a study's trials and configurations when a process begins to send."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gansearch.tracking.client import PARENT
from gansearch.tracking.translate import CONFIGURATION, TRIAL

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


@dataclass
class Known:
    """What MLflow's run of a trial or configuration has.

    Attributes:
        id, name, status, tags: as MLflow has them.
        params: the names of those it has.
        images: the steps whose sample grid it has; None: not asked yet.
        end_ms: when the trial ended; None: not known here.
    """

    id: str
    name: str
    status: str
    tags: dict[str, str]
    params: set[str] = field(default_factory=set)
    images: set[int] | None = None
    end_ms: int | None = None


def known_trials(client: MlflowClient, runs: Iterable[Any]) -> dict[int, Known]:
    """The trials among MLflow's `runs`, by number; of two of one number the later is deleted."""
    known: dict[int, Known] = {}
    for run in runs:
        number = int(run.data.tags[TRIAL])
        if number in known:  # our request to create it was carried out after we gave it up
            client.delete_run(run.info.run_id)
            continue
        known[number] = _read(run)
    return known


def known_configurations(
    client: MlflowClient, runs: Iterable[Any], trials: Mapping[int, Known]
) -> dict[str, Known]:
    """The configurations among MLflow's `runs`, by label; of two the one that has seeds stays."""
    known: dict[str, Known] = {}
    parents = {seed.tags[PARENT] for seed in trials.values()}
    for run in sorted(runs, key=lambda run: run.info.run_id not in parents):
        label = run.data.tags[CONFIGURATION]
        if label in known:
            client.delete_run(run.info.run_id)
            continue
        known[label] = _read(run)
    return known


def _read(run: Any) -> Known:
    info, data = run.info, run.data
    return Known(info.run_id, info.run_name, info.status, dict(data.tags), set(data.params))

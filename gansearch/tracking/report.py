"""A study's report in MLflow: its files at the study's run, its numbers at the configurations' runs."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansearch.errors import StorageError, UserError
from gansearch.masking import without_password
from gansearch.tracking.away import check_there
from gansearch.tracking.client import (
    find_configurations,
    find_parent,
    find_seeds,
    one_line,
    open_client,
)
from gansearch.tracking.store import sqlite_file
from gansearch.tracking.translate import CONFIGURATION, NOTE, cut, key, short_label
from gansearch.tracking.views import SUMMARY

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

FOLDER = "report"

LINKS = "To look at: "
"""How a description begins that was written here."""


def log_report(
    uri: str,
    study: str,
    files: Iterable[Path] = (),
    summaries: Mapping[str, Mapping[str, float]] | None = None,
    *,
    identity: str = "",
    tags: Mapping[str, str] | None = None,
) -> list[str]:
    """Log a report in the place of an older one; no run's status changes, and none is made.

    Args:
        uri: MLflow's tracking URI, as the `Tracker` had it.
        study: the study's name.
        files: artifacts of the study's run, in `report/` by their own names. Files of an older report
            that have other names stay.
        summaries: label -> name -> number, for the configurations' runs. Their seeds are told those
            that `views.SUMMARY` names, as which the comparison view of the stability study shows
            them, grouped. What is not finite is left out; where an older report had a number MLflow
            now has NaN, for it forgets no metric.
        identity: the one given to the `Tracker`.
        tags: of the study's run.

    Returns:
        The labels among `summaries` of which MLflow has no run.

    Raises:
        UserError: the store does not answer, does not take the report, or does not have the study.
    """
    file = sqlite_file(uri)
    if file is not None and not file.exists():  # an empty one would be made of it
        raise _unknown(study)
    wanted = {short_label(label): summary for label, summary in (summaries or {}).items()}
    try:
        check_there(uri)
        client = open_client(uri)
        experiment = client.get_experiment_by_name(study)
        parent = experiment and find_parent(client, experiment.experiment_id, identity or study)
        if parent is None:
            raise _unknown(study)
        run_id = str(parent.info.run_id)
        paths = list(files)
        for path in paths:
            client.log_artifact(run_id, str(path), FOLDER)
        _link(client, parent, [path.name for path in paths if path.suffix == ".html"])
        found = find_configurations(client, experiment.experiment_id, run_id)
        for run in found:
            _summarise(client, run, wanted.get(run.data.tags[CONFIGURATION], {}))
        for seed in find_seeds(client, experiment.experiment_id, run_id):
            summary = wanted.get(seed.data.tags[CONFIGURATION], {})
            _summarise(client, seed, {k: v for k, v in summary.items() if k in SUMMARY}, SUMMARY)
        for name, value in (tags or {}).items():
            client.set_tag(run_id, name, cut(value), synchronous=True)
    except UserError:
        raise
    except Exception as error:  # whatever it is, the report itself is there
        address = without_password(uri)
        raise StorageError(
            f"MLflow at {address} does not take the report: {one_line(error)}"
        ) from error
    present = {run.data.tags[CONFIGURATION] for run in found}
    return [label for label in summaries or {} if short_label(label) not in present]


def _summarise(
    client: MlflowClient, run: Any, summary: Mapping[str, float], own: Collection[str] | None = None
) -> None:
    """Make the metrics that a run has from reports say what this one says.

    Args:
        own: their names; None: all that the run has, as for a configuration's.
    """
    from mlflow.entities import Metric  # noqa: PLC0415

    values = {key(name): float(value) for name, value in summary.items() if math.isfinite(value)}
    known = {k: v for k, v in run.data.metrics.items() if own is None or k in own}
    former = {name for name, value in known.items() if not math.isnan(value)}
    values |= dict.fromkeys(former - values.keys(), math.nan)
    now = time.time_ns() // 1_000_000
    new = {name: value for name, value in values.items() if known.get(name) != value}
    metrics = [Metric(name, value, now, 0) for name, value in new.items()]
    if metrics:
        client.log_batch(run.info.run_id, metrics, synchronous=True)


def _link(client: MlflowClient, parent: Any, pages: Sequence[str]) -> None:
    """Have the study's description lead to its report, unless a user has written one of their own."""
    said = parent.data.tags.get(NOTE, "")
    if not pages or (said and not said.startswith(LINKS)):
        return
    at = f"#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}/artifacts/{FOLDER}"
    links = [f"[{page}]({at}/{page})" for page in sorted(pages)]
    client.set_tag(parent.info.run_id, NOTE, LINKS + ", ".join(links), synchronous=True)


def _unknown(study: str) -> UserError:
    return UserError(f"MLflow has no study '{study}' yet; `gansearch sync` sends it")

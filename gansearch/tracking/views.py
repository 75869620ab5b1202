"""The comparison views of a study in MLflow: which columns its tables show, and in which order.

A view is a tag of the experiment, as MLflow's own "share" button writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gansearch.study.config import digest
from gansearch.study.records import Goal
from gansearch.tracking.client import PARENT, trials_of_search
from gansearch.tracking.translate import CONFIGURATION, Phase

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

VIEW = "mlflow.sharedViewState."
"""Begins the tag of each view; its key follows."""

LONGEST_VIEW = 5000
"""Characters of a tag that MLflow takes of an experiment."""

SUMMARY = ("rank", "success_rate", "success_low", "success_high", "iqm", "iqm_low", "iqm_high")
"""Of a report's summary of a configuration, what the view of the stability study shows."""

TITLE, DESCRIPTION = "attributes.`Run Name`", "attributes.`Description`"
"""Columns of MLflow's tables."""


def view_key(identity: str, phase: Phase = "search") -> str:
    """The name under which a comparison view of a study's phase is kept with its experiment."""
    return f"gansearch-{digest(identity)}" + ("" if phase == "search" else f"-{phase}")


def set_view(
    client: MlflowClient, experiment: str, identity: str, phase: Phase, view: Mapping[str, Any]
) -> None:
    """Lay out the comparison view of a study's phase, as far as MLflow takes so long a text."""
    tag = VIEW + view_key(identity, phase)
    client.set_experiment_tag(experiment, tag, json.dumps(_fitting(view)))


def view_of_search(trials: str, axes: Sequence[str], metric: str, goal: Goal) -> dict[str, Any]:
    """A table of the trials, best first.

    The best value and the axes stand first: MLflow's assistant takes a quarter of the window.

    Args:
        trials: the filter by which MLflow finds them.
        axes: the parameters in which they differ.
        metric: the objective.
        goal: which way it is better.
    """
    by = f"metrics.`best.{metric}`"
    params = [f"params.`{name}`" for name in axes]
    others = ["metrics.`best.step`", "metrics.`seconds`"]
    return {
        "searchFilter": trials,
        "orderByKey": by,
        "orderByAsc": goal == "min",
        "selectedColumns": [by, *params, *others, DESCRIPTION],
        "columnOrder": [TITLE, by, *params, *others, "runDateAndNestInfo", DESCRIPTION],
        "columnWidths": {TITLE: 160} | dict.fromkeys([by, *params, *others], 110),
    }


def view_of_stability(
    trials: str, axes: Sequence[str], metric: str, labels: Sequence[str]
) -> dict[str, Any]:
    """A table of the configurations, in the order of their rank, each of which opens to its seeds.

    Only seeds are in the groups, so that MLflow counts them right: a report tells each seed what it
    tells its configuration (`log_report`), whose mean over the seeds is the same. Were the groups in
    the order of a seed's value, the luckiest seed would lead.

    Args:
        trials, axes, metric: as for a search.
        labels: the configurations.
    """
    values = (*SUMMARY, "success", f"confirmed.{metric}", "best.step", "seconds")
    metrics = [f"metrics.`{name}`" for name in values]
    group = {"mode": "tag", "groupByData": CONFIGURATION}
    return {
        "searchFilter": trials,
        "orderByKey": "metrics.`rank`",
        "orderByAsc": True,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [group]},
        "selectedColumns": [DESCRIPTION, *metrics, *(f"params.`{name}`" for name in axes)],
        "columnOrder": [TITLE, "runDateAndNestInfo", *metrics, DESCRIPTION],
        "columnWidths": {TITLE: 300} | dict.fromkeys(metrics, 110),
        "groupsExpanded": {f"tag.{CONFIGURATION}.{label}": False for label in labels},
    }


def narrow_older_view(client: MlflowClient, experiment: str, identity: str, parent: str) -> None:
    """Keep configurations out of a search's view that was laid out when there were none."""
    tags = client.get_experiment(experiment).tags
    view = json.loads(tags.get(VIEW + view_key(identity), "{}"))
    if view.get("searchFilter") == f"tags.`{PARENT}` = '{parent}'":
        narrower = view | {"searchFilter": trials_of_search(parent)}
        set_view(client, experiment, identity, "search", narrower)


def _fitting(view: Mapping[str, Any]) -> dict[str, Any]:
    """A view without what it can do without, as far as it would be too long for MLflow."""
    fitting = dict(view)
    for luxury in ("groupsExpanded", "columnWidths", "columnOrder"):
        if len(json.dumps(fitting)) > LONGEST_VIEW:
            fitting.pop(luxury, None)
    while len(json.dumps(fitting)) > LONGEST_VIEW:
        fitting["selectedColumns"] = fitting["selectedColumns"][:-1]
    return fitting

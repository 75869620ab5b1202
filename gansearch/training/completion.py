"""A configuration and a plan with the defaults of all their parts, and what is wrong with them."""

from __future__ import annotations

import copy
import functools
from typing import Any, TypeVar

from pydantic_core import to_jsonable_python

from gansearch import files
from gansearch.data import DATASETS
from gansearch.data.domain import Domain
from gansearch.errors import RAISED, UnknownPart, UserError, nearest
from gansearch.losses import is_variational
from gansearch.metrics import METRICS
from gansearch.search import PRUNERS, SAMPLERS
from gansearch.study.config import TrialConfig
from gansearch.study.document import Path_
from gansearch.study.mistakes import Mistakes
from gansearch.study.plan import Plan
from gansearch.study.registry import Registry
from gansearch.study.sections import Part
from gansearch.study.space import Unsaid
from gansearch.training import settings
from gansearch.training.asked_metrics import complete_metrics, scarce, unconditional
from gansearch.training.blame import PARTS, part_at, section_at
from gansearch.training.buildable import discriminator_of, network_mistakes, words_of
from gansearch.training.combinations import unsound
from gansearch.training.measuring import MEASURED, VARIATIONAL
from gansearch.training.transfer import from_scratch

P = TypeVar("P", bound=Part)


def complete(
    config: TrialConfig, domain: Domain | None, *, launched: bool = False
) -> tuple[TrialConfig, Mistakes]:
    """A configuration with the defaults of all its parts, and what is wrong with it.

    Args:
        config: one trial.
        domain: what its data are; None where they cannot be had, and then sizes are not checked.
        launched: it is of a study that has begun, which goes on even where it makes no sense.
    """
    if _kind(config, domain) == "points":
        config = _for_points(config)
    tree: dict[str, Any] = config.model_dump()  # not as JSON, in which NaN would pass for null
    for side in (tree["generator"], tree["discriminator"]):
        if side.get("weights") is not None:
            side["weights"] = files.seen_from_here(side["weights"])
    mistakes: Mistakes = []
    for path, registry in PARTS.items():
        part = part_at(path, tree)
        if part:
            wrong = settings.changed_by_import(part["name"]) or registry.complete(
                part, section_at(path).model_fields
            )
            mistakes += [((*path, *below), message) for below, message in wrong]
    mistakes += complete_metrics(tree["evaluation"], ("evaluation",), domain, _kind(config, domain))
    if final := tree["evaluation"].get("final"):
        final["metrics"] = final["metrics"] or copy.deepcopy(tree["evaluation"]["metrics"])
        more = complete_metrics(final, ("evaluation", "final"), domain, _kind(config, domain))
        mistakes += [item for item in more if item[1] not in {told for _, told in mistakes}]
    mistakes += _complete_objective(tree)
    completed = TrialConfig.model_validate(tree)
    amiss = {path[0] for path, _ in mistakes}
    # What has begun may go on without the weights with which it began.
    mistakes += network_mistakes(from_scratch(completed) if launched else completed, domain, amiss)
    told = unconditional(completed, domain)
    mistakes += told or ([] if launched else scarce(completed, domain))
    if not amiss & {"loss", "discriminator"} and not launched:
        judging = functools.partial(discriminator_of, completed, domain)
        mistakes += unsound(completed, _kind(completed, domain), judging)
    return completed, mistakes


def unsaid(config: TrialConfig) -> Unsaid:
    """What each key of a completed configuration's parts is where it is not written: its default."""
    tree = config.plain()
    found: dict[tuple[Path_, str], dict[str, Any]] = {}
    for path, registry in PARTS.items():
        if part := part_at(path, tree):
            fields = section_at(path).model_fields | registry.options(part["name"]).model_fields
            defaults = {k: field.default for k, field in fields.items() if not field.is_required()}
            found[path, part["name"]] = to_jsonable_python(defaults)
    return found


def _complete_objective(tree: dict[str, Any]) -> Mistakes:
    objective = tree["objective"]
    metric = objective["metric"]
    measured = [part["name"] for part in tree["evaluation"]["metrics"]]
    reported = _reported(tree["loss"]["name"])
    if metric in MEASURED and metric not in (*measured, *reported):
        return [
            (
                ("objective", "metric"),
                f"'{metric}' is of two networks in a game, and the loss "
                f"{tree['loss']['name']} is none: take a metric of the samples",
            )
        ]
    if metric not in (*measured, *reported):
        what = f"this study does not measure '{metric}'{nearest(metric, [*measured, *reported])}"
        if metric in METRICS.names:
            what = f"this study does not measure '{metric}': add it to evaluation.metrics"
        return [(("objective", "metric"), what)]
    own = _own_goal(metric)
    if own is None and objective["goal"] is None:
        return [(("objective", "goal"), f"'{metric}' can be minimised or maximised: say min or max")]
    if own and objective["goal"] not in (None, own):
        better = "lower" if own == "min" else "higher"
        return [(("objective", "goal"), f"{metric} is better the {better} it is: say {own}")]
    objective["goal"] = objective["goal"] or own
    return []


def _reported(loss: str) -> dict[str, str]:
    """What every report holds under a loss."""
    return VARIATIONAL if is_variational(loss) else MEASURED


def _own_goal(metric: str) -> str | None:
    try:
        return getattr(METRICS.find(metric), "goal", None)
    except UnknownPart:
        return None


def _kind(config: TrialConfig, domain: Domain | None) -> str:
    """What a configuration's data are, as they say or else their loader does."""
    if domain is not None:
        return domain.kind
    try:
        return getattr(DATASETS.find(config.data.name), "kind", "images")
    except UnknownPart:
        return "images"


def _for_points(config: TrialConfig) -> TrialConfig:
    """A configuration of points: what it does not say is not what an image's would be."""
    changed: dict[str, Any] = {}
    for side in {"generator", "discriminator"} - config.model_fields_set:
        changed[side] = type(getattr(config, side))(name="mlp")
    evaluation, objective = config.evaluation, config.objective
    if "metrics" not in evaluation.model_fields_set:
        changed["evaluation"] = evaluation.model_copy(update={"metrics": [Part(name="fd_raw")]})
    if "metric" not in objective.model_fields_set:
        changed["objective"] = objective.model_copy(update={"metric": "fd_raw"})
    return config.model_copy(update=changed)


def complete_plan(plan: Plan, config: TrialConfig | None) -> tuple[Plan, Mistakes]:
    """A plan with the defaults of its sampler and its pruner, and what is wrong with them.

    Args:
        plan: the plan.
        config: one of the study's trials, for what a pruner says only when it is made; None: it is not
            asked.
    """
    sampler, more = _completed(plan.search.sampler, SAMPLERS)
    mistakes: Mistakes = [(("search", "sampler", *below), message) for below, message in more]
    pruner, more = _completed(plan.pruner, PRUNERS)
    if config is not None and not more:
        more = _refusal(pruner, config)
    mistakes += [(("pruner", *below), message) for below, message in more]
    search = plan.search.model_copy(update={"sampler": sampler})
    return plan.model_copy(update={"search": search, "pruner": pruner}), mistakes


def _completed(part: P, registry: Registry[Any]) -> tuple[P, Mistakes]:
    mistakes = settings.changed_by_import(part.name) or registry.check(part.name, part.options)
    if mistakes:
        return part, list(mistakes)
    options = registry.options(part.name).model_validate(part.options)
    declared = {key: getattr(part, key) for key in type(part).model_fields}
    return type(part)(**declared, **options.model_dump(mode="json")), []


def _refusal(pruner: Part, config: TrialConfig) -> Mistakes:
    """Why a pruner cannot be made for a study; at one of its options if it names it first."""
    try:
        with settings.left_alone(f"'{pruner.name}', as it is made,"):
            PRUNERS.build(pruner.name, pruner.options, config)
    except (ValueError, UserError) as error:
        option, colon, why = str(error).partition(": ")
        return [((option,), why)] if colon and option in pruner.options else [((), str(error))]
    except RAISED as error:  # one of the user's own may raise anything
        return [((), words_of(error))]
    return []

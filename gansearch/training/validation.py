"""Study and configuration files, checked to the last part before anything is created.

The study room knows the grammar; this one also knows the parts: it fills in their defaults, builds
the networks on torch's meta device, and tells all the mistakes of a file at once.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from gansearch import files
from gansearch.data import DATASETS, DataSet
from gansearch.data.domain import Domain, Points
from gansearch.data.load import load as load_images
from gansearch.errors import DataError, InvalidInput, UnknownPart, UserError, nearest
from gansearch.files import Place
from gansearch.losses import is_variational
from gansearch.masking import without_password
from gansearch.metrics import METRICS
from gansearch.metrics.contract import Metric
from gansearch.metrics.door import check_metric, kind_of, least_samples
from gansearch.search import PRUNERS, SAMPLERS
from gansearch.study.config import TrialConfig
from gansearch.study.document import Document, Path_, read_document
from gansearch.study.mistakes import Mistakes, place_all, validate
from gansearch.study.plan import Plan
from gansearch.study.registry import Registry
from gansearch.study.sections import Part
from gansearch.study.spec import Complete, Learn, StudySpec, build_study, check_config
from gansearch.study.starting import Find, find_nothing
from gansearch.training.blame import PARTS, fault, part_at, section_at, whereabouts
from gansearch.training.building import (
    build_discriminator,
    build_generator,
    build_loss,
    is_conditional,
)
from gansearch.training.combinations import unsound
from gansearch.training.measuring import MEASURED, VARIATIONAL

T = TypeVar("T")
P = TypeVar("P", bound=Part)


def read_study(
    document: Document,
    data_root: Path,
    known: Mistakes | None = None,
    find: Find = find_nothing,
    learn: Learn | None = None,
    *,
    launched: bool = False,
) -> tuple[StudySpec, DataSet]:
    """Check a study and load the data that it names.

    Args:
        document: the parsed file.
        data_root: the folder of all data sets.
        known: mistakes that were found already.
        find: reads the configurations with which the search is to begin.
        learn: reads what can be learnt from an earlier study; None: nothing is.
        launched: it has begun, perhaps under a version that knew less of what makes no sense.

    Raises:
        InvalidInput: with every mistake in the file, a missing data set among them.
    """
    if launched:  # version 0.1.0 began nowhere, and its searches go on as they began
        document.tree.setdefault("search", {}).setdefault("start", [])
    build = functools.partial(build_study, complete_plan=complete_plan, find=find, learn=learn)
    return _read(document, data_root, build, known or [], launched=launched)


def check_study(document: Document, find: Find = find_nothing) -> StudySpec:
    """Tell all the mistakes in a study that can be told without its data; raises `InvalidInput`."""
    completing = functools.partial(complete, domain=None)
    return build_study(document, completing, complete_plan, document.secrets(), find)


def load_study(
    path: str | Place,
    data_root: Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    launched: bool = False,
    find: Find = find_nothing,
    learn: Learn | None = None,
) -> tuple[StudySpec, DataSet]:
    """Read and check a study file, and load its data.

    Args:
        path: the YAML file.
        data_root: the folder of all data sets.
        overrides: values in place of the file's, by dotted key: {"search.trials": 8}.
        launched: it is that of a study which has begun, and goes on whatever it shows.
        find: reads the configurations with which the search is to begin.
        learn: reads what can be learnt from an earlier study; None: nothing is.

    Raises:
        InvalidInput: with every mistake in the file, a missing data set among them.
    """
    document = read_document(files.place(path))
    override(document, overrides or {})
    known = [] if launched else document.secrets()
    return read_study(document, data_root, known, find, learn, launched=launched)


def override(document: Document, overrides: Mapping[str, Any]) -> None:
    """Put values in the place of a study file's, by dotted key; raises `UserError`."""
    for key, value in overrides.items():
        document.override(key, value)
    search = document.tree.get("search")
    budget = search.get("budget") if isinstance(search, dict) else None
    if "search.trials" in overrides and isinstance(budget, dict):
        budget.pop("trials", None)  # the same number, at its other place


def load_config(
    path: str | Path, data_root: str | Path, overrides: Mapping[str, Any] | None = None
) -> tuple[TrialConfig, DataSet]:
    """Read and check one trial's configuration file, and load its data; raises `InvalidInput`.

    Args:
        path: the YAML file.
        data_root: the folder of all data sets.
        overrides: values in place of the file's, by dotted key.
    """
    document = read_document(Path(path))
    for key, value in (overrides or {}).items():
        document.override(key, value)
    return _read(document, Path(data_root), _build_config, document.secrets())


def _read(
    document: Document, root: Path, build: Callable[..., T], known: Mistakes, *, launched: bool = False
) -> tuple[T, DataSet]:
    data, missing = _find_data(document, root)
    domain = data.domain if data else None
    completing = functools.partial(complete, domain=domain, launched=launched)
    built = build(document, completing, known=[*missing, *known])
    if data is None:
        raise InvalidInput(document.source, place_all(document, missing))
    return built, data


def _find_data(document: Document, root: Path) -> tuple[DataSet | None, Mistakes]:
    """The data of a file, or why not; what is wrong with the section itself is told elsewhere."""
    mistakes: Mistakes = []
    part = validate(TrialConfig, {"data": document.tree.get("data", {})}, mistakes).data
    if mistakes or DATASETS.check(part.name, part.options):
        return None, []
    try:
        return load_images(
            part.name, part.options, root=root, split="train", image_size=part.image_size
        ), []
    except DataError as error:
        return None, [(("data",), without_password(str(error)))]
    except Exception as error:  # a loader of the user's own may raise anything
        if not (words := fault(error)):
            raise
        return None, [(("data",), f"the data set '{part.name}': {words.removeprefix('your code ')}")]


def _build_config(document: Document, completing: Complete, known: Mistakes) -> TrialConfig:
    keys = TrialConfig.model_fields
    config, mistakes = check_config({k: v for k, v in document.tree.items() if k in keys}, completing)
    for key in document.tree.keys() - keys:
        what = "a study's, not one trial's" if key in Plan.model_fields else "not a configuration's"
        hint = "" if key in Plan.model_fields else nearest(key, keys)
        mistakes.append(((key,), f"this key is {what}{hint}"))
    mistakes += known
    if mistakes:
        raise InvalidInput(document.source, place_all(document, mistakes))
    return config


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
        if side.get("weights") is not None:  # which are the same from whatever folder a worker runs in
            side["weights"] = str(Path(side["weights"]).expanduser().absolute())
    mistakes: Mistakes = []
    for path, registry in PARTS.items():
        part = part_at(path, tree)
        if part:
            mistakes += _complete_part(part, path, registry, _declared(path))
    mistakes += _complete_metrics(tree["evaluation"], ("evaluation",), domain, _kind(config, domain))
    if final := tree["evaluation"].get("final"):
        final["metrics"] = final["metrics"] or copy.deepcopy(tree["evaluation"]["metrics"])
        more = _complete_metrics(final, ("evaluation", "final"), domain, _kind(config, domain))
        mistakes += [item for item in more if item[1] not in {told for _, told in mistakes}]
    mistakes += _complete_objective(tree)
    completed = TrialConfig.model_validate(tree)
    wrong = {path[0] for path, _ in mistakes}
    mistakes += _check_networks(completed, domain, wrong)
    mistakes += _unconditional(completed, domain)
    if not wrong & {"loss", "discriminator"} and not launched:
        judging = functools.partial(_judging, _relevant(completed), domain)
        mistakes += unsound(completed, _kind(completed, domain), judging)
    return completed, mistakes


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
    mistakes = registry.check(part.name, part.options)
    if mistakes:
        return part, list(mistakes)
    options = registry.options(part.name).model_validate(part.options)
    declared = {key: getattr(part, key) for key in type(part).model_fields}
    return type(part)(**declared, **options.model_dump(mode="json")), []


def _refusal(pruner: Part, config: TrialConfig) -> Mistakes:
    """Why a pruner cannot be made for a study; at one of its options if it names it first."""
    try:
        PRUNERS.build(pruner.name, pruner.options, config)
    except (ValueError, UserError) as error:
        option, colon, why = str(error).partition(": ")
        return [((option,), why)] if colon and option in pruner.options else [((), str(error))]
    except Exception as error:  # one of the user's own may raise anything
        return [((), _words(error))]
    return []


def _declared(path: tuple[str, ...]) -> set[str]:
    """The fields beside a part that are not the part's own options."""
    return set(section_at(path).model_fields)


def _complete_part(
    part: dict[str, Any], path: Path_, registry: Registry[Any], declared: set[str]
) -> Mistakes:
    options = {key: value for key, value in part.items() if key not in declared}
    mistakes = registry.check(part["name"], options)
    if not mistakes:
        part |= registry.options(part["name"]).model_validate(options).model_dump(mode="json")
    return [((*path, *below), message) for below, message in mistakes]


def _complete_metrics(
    measured: dict[str, Any], here: Path_, domain: Domain | None, kind: str
) -> Mistakes:
    """A section's metrics with the defaults of their options, and what is wrong with them."""
    metrics, mistakes = measured["metrics"], list[tuple[Path_, str]]()
    for i, metric in enumerate(metrics):
        place = (*here, "metrics", i)
        more = _complete_part(metric, place, METRICS, {"name"})
        mistakes += more or _wrong_metric(metric, place)
    amiss = [*_repeated(metrics), *_misplaced(metrics, domain, kind), *_too_few_samples(measured)]
    return mistakes + [((*here, *below), message) for below, message in amiss]


def _wrong_metric(metric: dict[str, Any], path: Path_) -> Mistakes:
    """What only making a metric shows."""
    options = {key: value for key, value in metric.items() if key != "name"}
    try:
        check_metric(metric["name"], METRICS.build(metric["name"], options))
    except Exception as error:  # one of the user's own may raise anything
        return [(path, _words(error))]
    return []


def _too_few_samples(evaluation: dict[str, Any]) -> Mistakes:
    """The sides of the comparison that have fewer samples than a metric needs, by the neediest."""
    built = {part["name"]: _built_metric(part) for part in evaluation["metrics"]}
    needs = {name: least_samples(metric) for name, metric in built.items() if metric is not None}
    compared = {name: n for name, n in needs.items() if getattr(built[name], "compares_real", False)}
    mistakes: Mistakes = []
    for key, asking in (("samples", needs), ("real_samples", compared)):
        name = max(asking, key=lambda each: asking[each], default=None)
        if name is not None and evaluation[key] is not None and evaluation[key] < asking[name]:
            told = {k: v for k, v in _options_of(evaluation, name).items() if isinstance(v, int)}
            why = f" with {', '.join(f'{k}: {v}' for k, v in told.items())}" if told else ""
            mistakes.append(((key,), f"{name}{why} needs at least {asking[name]:,}"))
    return mistakes


def _options_of(evaluation: dict[str, Any], name: str) -> dict[str, Any]:
    part = next(part for part in evaluation["metrics"] if part["name"] == name)
    return {key: value for key, value in part.items() if key != "name"}


def _built_metric(part: dict[str, Any]) -> Metric | None:
    """A metric; None where it cannot be made, which is told elsewhere."""
    try:
        return METRICS.build(part["name"], {k: v for k, v in part.items() if k != "name"})
    except Exception:  # of the user's own
        return None


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


def _repeated(metrics: list[dict[str, Any]]) -> Mistakes:
    names = [part["name"] for part in metrics]
    return [
        (("metrics", i), f"the metric '{name}' is asked for twice")
        for i, name in enumerate(names)
        if name in names[:i]
    ]


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


def _misplaced(metrics: list[dict[str, Any]], domain: Domain | None, kind: str) -> Mistakes:
    """Metrics that are for other data than these."""
    mistakes: Mistakes = []
    for i, part in enumerate(metrics):
        name, metric = part["name"], _built_metric(part)
        if metric is None:
            continue
        wanted, instead = kind_of(metric), "fd_classifier" if kind == "images" else "fd_raw"
        if wanted not in (None, kind):
            instead = "features: raw" if "features" in part else instead
            why = f"{name} is a measure of {wanted}, and the data are {kind}: ask for {instead}"
            mistakes.append((("metrics", i), why))
        elif (
            isinstance(domain, Points)
            and not domain.modes
            and getattr(metric, "features", "") == "mixture"
        ):
            why = (
                f"{name} counts the modes of a known mixture, which these data are not: ask for fd_raw"
            )
            mistakes.append((("metrics", i), why))
    return mistakes


def _check_networks(config: TrialConfig, domain: Domain | None, wrong: set[Any]) -> Mistakes:
    """What only building shows: sizes that do not fit, options that exclude each other."""
    sections = [s for s in ("generator", "discriminator", "loss") if s not in wrong]
    relevant = _relevant(config)
    failures = ((section, _failure(section, relevant, domain)) for section in sections)
    mistakes: Mistakes = [((section,), message) for section, message in failures if message]
    if not mistakes and {"generator", "discriminator"} <= set(sections) and domain is not None:
        mistakes += _one_sided(relevant, domain)
    return mistakes


def _unconditional(config: TrialConfig, domain: Domain | None) -> Mistakes:
    """Metrics of a generator that is told the classes, where there is none."""
    evaluation = config.evaluation
    final = evaluation.final.metrics if evaluation.final else []
    told = [
        ((*here, "metrics", i), part.name)
        for here, parts in ((("evaluation",), evaluation.metrics), (("evaluation", "final"), final))
        for i, part in enumerate(parts)
        if getattr(_built_metric(part.model_dump()), "conditional", False)
    ]
    judge = _judging(_relevant(config), domain) if told else None
    if judge is None or is_conditional(judge):
        return []
    why = "is about classes that were asked for: the networks must be told them (conditional: true)"
    return [(place, f"{name} {why}") for place, name in told]


def _relevant(config: TrialConfig) -> str:
    """What networks and losses are built from."""
    return config.model_dump_json(include={"generator", "discriminator", "loss", "latent_size"})


@functools.lru_cache(maxsize=256)
def _judging(relevant: str, domain: Domain | None) -> nn.Module | None:
    """The discriminator of a configuration, to be looked at; None where it cannot be built."""
    if domain is None:
        return None
    config = TrialConfig.model_validate_json(relevant)
    try:
        return _build_somewhere(functools.partial(build_discriminator, config, domain))
    except Exception:  # which is told elsewhere
        return None


@functools.lru_cache(maxsize=4096)
def _one_sided(relevant: str, domain: Domain) -> Mistakes:
    """That only one of the two networks is told the classes."""
    config = TrialConfig.model_validate_json(relevant)
    told, judging = (
        is_conditional(_build_somewhere(functools.partial(build, config, domain)))
        for build in (build_generator, build_discriminator)
    )
    if told == judging:
        return []
    here, there = ("discriminator", "generator") if told else ("generator", "discriminator")
    return [((here,), f"the {there} is conditional and the {here} is not: both must be, or neither")]


@functools.lru_cache(maxsize=4096)  # the corners of a search space repeat most of their parts
def _failure(section: str, relevant: str, domain: Domain | None) -> str:
    """Why a section cannot be built, or nothing."""
    config = TrialConfig.model_validate_json(relevant)
    try:
        if section == "loss":
            build_loss(config)
        elif domain is not None:
            build = build_generator if section == "generator" else build_discriminator
            _build_somewhere(functools.partial(build, config, domain))
    except Exception as error:  # a constructor of the user's own may raise anything
        return _words(error)
    return ""


def _build_somewhere(build: Callable[[torch.device], T]) -> T:
    """Build on the meta device, which costs nothing; or for real, where a network cannot be built there
    (it is initialised by NumPy, or looks at its weights).
    """
    try:
        return build(torch.device("meta"))
    except Exception:  # whatever it was, it is told if it happens for real too
        with torch.random.fork_rng(devices=[]):
            return build(torch.device("cpu"))


def _words(error: Exception) -> str:
    """What a part says of itself when it is made (a `ValueError`), or what has happened to it; with the
    line, where that is the user's own.
    """
    said = isinstance(error, ValueError | RuntimeError | UserError) and str(error)
    return f"{said or f'raises {type(error).__name__}: {error}'}{whereabouts(error)}"

"""A study: a question with a search space, a budget and an objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from gansearch.errors import InvalidInput, Problem, nearest
from gansearch.study.config import (
    AXES_ALLOWED,
    Part,
    Positive,
    Section,
    TrialConfig,
    digest,
    trial_seed,
)
from gansearch.study.document import Document, Path_, write_document
from gansearch.study.registry import explain
from gansearch.study.space import (
    Choice,
    Space,
    Suggest,
    axis_paths,
    first_end,
    parse_space,
    plain,
)


class Search(Section):
    """How the space is explored.

    Attributes:
        sampler: an Optuna sampler by name, with its own options.
        trials: how many configurations are tried.
        seed: fixes what the sampler proposes and, with the trial's number, the trial's own seed.
    """

    sampler: Part = Part(name="tpe")
    trials: Positive = 20
    seed: Annotated[int, Field(ge=0)] = 0


class Pruner(Section):
    """When a trial is stopped for falling behind (ASHA, Li et al. 2020); `none` never does.

    Attributes:
        reduction_factor: one trial in this many goes on from each rung.
        min_steps: the first rung; None: a ninth of the budget's reports, at least one.
    """

    name: str = "asha"
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    min_steps: Positive | None = None


class Resources(Section):
    """What one trial holds while it runs. GPUs may be shared: 0.25 puts four trials on one.

    Attributes:
        retries: how often a trial goes on from its last checkpoint after its worker died.
    """

    cpus: Positive = 1
    gpus: Annotated[float, Field(ge=0)] = 0.0
    retries: Annotated[int, Field(ge=0)] = 2


class Plan(Section):
    """What a study says beside its trials' configurations.

    Attributes:
        question: what the study is to answer, in a sentence.
        keep: for how many of the best trials the weights are kept.
    """

    question: str = ""
    search: Search = Search()
    pruner: Pruner = Pruner()
    resources: Resources = Resources()
    keep: Positive = 5


S = TypeVar("S", bound=Section)
Complete = Callable[[TrialConfig], tuple[TrialConfig, list[tuple[Path_, str]]]]
"""Fills in the defaults of a configuration's parts and tells what is wrong with them. It is given
from above (`gansearch.training.validation`), because this floor does not know the parts."""


@dataclass(frozen=True)
class StudySpec:
    """A valid study: `space` holds the trials' sections with their axes, `plan` the rest."""

    plan: Plan
    space: Space = field(repr=False)

    @property
    def question(self) -> str:
        """What the study is to answer."""
        return self.plan.question

    def trial(self, number: int, suggest: Suggest) -> TrialConfig:
        """The configuration of one trial, at the point that `suggest` picks."""
        tree, _ = self.space.resolve(suggest)
        seed = trial_seed(self.plan.search.seed, number)
        return TrialConfig.model_validate({"seed": seed, **tree})

    def corner(self) -> TrialConfig:
        """Some configuration of the study: what all of them share can be read from it."""
        return self.trial(0, first_end)

    @property
    def goal(self) -> str:
        """`min` or `max`."""
        return self.corner().objective.goal or "min"

    def tree(self) -> dict[str, Any]:
        """Plain values with every default filled in, as `study.yaml` holds them."""
        shared = self.plan.model_dump(mode="json")
        question = {"question": shared.pop("question")}
        return {**question, **plain(self.space.tree), **shared}

    def to_yaml(self) -> str:
        """The study file, resolved: reading it back gives the same study."""
        return write_document(self.tree())

    @property
    def digest(self) -> str:
        """The same for the same study everywhere: machine facts (`resources`) are left out."""
        return digest({k: v for k, v in self.tree().items() if k != "resources"})


def build_study(
    document: Document,
    complete: Complete,
    check_plan: Callable[[Plan], list[tuple[Path_, str]]] = lambda _: [],
) -> StudySpec:
    """Validate a parsed study file; raises `InvalidInput` with every mistake in it."""
    found: list[tuple[Path_, str]] = []
    plan_keys, trial_keys = set(Plan.model_fields), set(TrialConfig.model_fields)
    for key in document.tree.keys() - plan_keys - trial_keys:
        found.append(((key,), f"not a key of a study{nearest(key, plan_keys | trial_keys)}"))
    plan = validate(Plan, {k: v for k, v in document.tree.items() if k in plan_keys}, found)
    raw = {k: v for k, v in document.tree.items() if k in trial_keys}
    parsed, mistakes = parse_space(raw)
    found += mistakes
    for key in sorted(parsed.keys() - set(AXES_ALLOWED)):
        why = f"cannot be an axis: '{key}' is shared by all trials; make a study for each value"
        found += [(path, why) for path in axis_paths(parsed[key], (key,))]
    if plan is not None:
        found += check_plan(plan)
    space = Space(parsed)
    found += _check_corners(space, complete, found)
    spec = None
    if plan is not None and not found:
        spec = StudySpec(plan, Space(_fill(space, complete)))
        found += _check_plan(spec)
    if found or spec is None:
        raise InvalidInput(document.source, place_all(document, found))
    return spec


def place_all(document: Document, found: list[tuple[Path_, str]]) -> list[Problem]:
    """Problems in the order of the file, each once."""
    unique = dict.fromkeys(found)
    ordered = sorted(unique, key=lambda item: _line(document, item[0]))
    return [Problem(document.place(path), message) for path, message in ordered]


def _line(document: Document, path: Path_) -> int:
    while path and path not in document.lines:
        path = path[:-1]
    return document.lines.get(path, 0)


def validate(model: type[S], tree: Mapping[str, Any], found: list[tuple[Path_, str]]) -> S | None:
    """Validate plain values; mistakes are added to `found` as (path, message)."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        for e in error.errors():
            if any(str(part).startswith("literal[") for part in e["loc"]):
                continue  # `false` or a mapping: the mapping's own mistakes are the ones to tell
            path = _real_path(e["loc"], tree)
            found.append((path, explain(e, _fields_at(model, path[:-1]), "a key of this section")))
        return None


def _real_path(loc: tuple[str | int, ...], tree: Any) -> Path_:
    """Pydantic's path without the names of union members that it puts in between."""
    path: list[str | int] = []
    for i, part in enumerate(loc):
        last = i == len(loc) - 1
        inside = isinstance(tree, Mapping) and part in tree
        inside |= isinstance(tree, list) and isinstance(part, int)
        if inside:
            tree = tree[part]
            path.append(part)
        elif last and isinstance(tree, Mapping) and isinstance(part, str):
            path.append(part)
    return tuple(path)


def _fields_at(model: type[Any], path: Path_) -> Mapping[str, Any]:
    """The keys known at a path below a model, as far as the models go."""
    for part in path:
        annotation = getattr(model, "model_fields", {}).get(part)
        if annotation is None:
            return {}
        kinds = [annotation.annotation, *getattr(annotation.annotation, "__args__", ())]
        model = next((k for k in kinds if hasattr(k, "model_fields")), type(None))
    return getattr(model, "model_fields", {})


def _check_corners(
    space: Space, complete: Complete, known: list[tuple[Path_, str]]
) -> list[tuple[Path_, str]]:
    found: dict[tuple[Path_, str], None] = {}
    faulty = [path for path, _ in known]
    for tree, origins in space.corners():
        mistakes: list[tuple[Path_, str]] = []
        config = validate(TrialConfig, tree, mistakes)
        if config is not None:
            mistakes += complete(config)[1]
        for path, message in mistakes:
            where = _origin(path, origins)
            if not any(where[: len(f)] == f or f[: len(where)] == where for f in faulty):
                found[(where, message)] = None
    return list(found)


def _origin(path: Path_, origins: Mapping[Path_, Path_]) -> Path_:
    rest: Path_ = ()
    while path not in origins:
        path, rest = path[:-1], (path[-1], *rest)
    return (*origins[path], *rest)


def _check_plan(spec: StudySpec) -> list[tuple[Path_, str]]:
    pruner, budget = spec.plan.pruner, spec.corner().budget
    if pruner.name not in ("asha", "none"):
        return [
            (
                ("pruner", "name"),
                f"unknown pruner '{pruner.name}'{nearest(pruner.name, ['asha', 'none'])}",
            )
        ]
    if pruner.min_steps is not None and pruner.min_steps > budget.steps:
        too_late = f"is {pruner.min_steps}, more than budget.steps, {budget.steps}"
        return [(("pruner", "min_steps"), too_late)]
    return []


def _fill(space: Space, complete: Complete) -> dict[str, Any]:
    """The space's tree with the defaults of every section and part written out."""
    filled: dict[str, Any] = {}
    for tree_suggest in space.each_option():
        tree, _ = space.resolve(tree_suggest)
        config, _ = complete(TrialConfig.model_validate(tree))
        defaults = config.plain()
        if "seed" not in tree:
            defaults.pop("seed")  # each trial gets its own
        filled = _merge(filled or space.tree, defaults, tree_suggest, ())
    return filled


def _merge(node: Any, defaults: Any, suggest: Suggest, name: Path_) -> Any:
    if isinstance(node, Choice):
        label = suggest(".".join(map(str, name)), node)
        options = dict(node.options)
        options[label] = _merge(options[label], defaults, suggest, (*name, str(label)))
        return Choice(options)
    if isinstance(node, str) and isinstance(defaults, dict):
        node = {"name": node}
    if isinstance(node, dict) and isinstance(defaults, dict):
        merged = {k: _merge(v, defaults.get(k), suggest, (*name, k)) for k, v in node.items()}
        return merged | {k: v for k, v in defaults.items() if k not in node}
    return node

"""A study: a question with a search space, a budget and an objective."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

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
    faulty_ties,
    first_end,
    parse_space,
    plain,
)


class Search(Section):
    """How the space is explored.

    Attributes:
        sampler: an Optuna sampler by name, with its own options.
        trials: how many configurations are tried; 0: a stability study of given ones alone.
        seed: fixes what the sampler proposes and, with the trial's number, the trial's own seed.
    """

    sampler: Part = Part(name="tpe")
    trials: Annotated[int, Field(ge=0)] = 20
    seed: Annotated[int, Field(ge=0)] = 0


PRUNERS = ("asha", "none")


class Pruner(Section):
    """When a trial is stopped for falling behind (ASHA, Li et al. 2020); `none` never does.

    Attributes:
        reduction_factor: one trial in this many goes on from each rung.
        min_steps: the first rung; None: a ninth of the budget's reports, at least one.
    """

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    name: str = "asha"
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    min_steps: Positive | None = None


class Resources(Section):
    """What one trial holds while it runs. GPUs may be shared: 0.25 puts four trials on one.

    Attributes:
        retries: how often in a row, with no report between, a trial goes on from its last checkpoint
            after its worker died. A node's death does not count.
        halve_batch: how often one that is out of memory goes on from there with each batch computed in
            twice as many pieces. Their gradients are added up: the batch size is what it was, the
            trial slower.
    """

    cpus: Positive = 1
    gpus: Annotated[float, Field(ge=0)] = 0.0
    retries: Annotated[int, Field(ge=0)] = 2
    halve_batch: Annotated[int, Field(ge=0, le=16)] = 0

    @model_validator(mode="after")
    def _whole_gpus(self) -> Resources:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus is {self.gpus:g}: shares are of one GPU, more come whole")
        return self


class Stability(Section):
    """What is trained again on fresh seeds, unpruned, once the search has ended.

    Attributes:
        top: how many of the search's best configurations.
        per: the best of the whole `study`, or of each `loss` (with its penalty).
        seeds: how often each is trained.
        default: whether the study's configuration with every axis at its default joins them.
        configurations: further ones by label; each gives sections in place of the default's.
    """

    top: Annotated[int, Field(ge=0)] = 5
    per: Literal["study", "loss"] = "study"
    seeds: Positive = 10
    default: bool = True
    configurations: dict[str, dict[str, Any]] = Field(default={})


class PublishedValue(Section):
    """A figure from a paper: `sd` is the standard deviation over seeds, if it is told."""

    mean: float
    sd: Annotated[float, Field(ge=0)] | None = None


class Published(Section):
    """What a paper reports, for the study's report to print beside its own figures.

    Attributes:
        source: the paper.
        metric: what its figures are.
        note: how they were made.
        values: by loss and penalty, as `wasserstein + gradient-penalty`.
    """

    source: str
    metric: str
    note: str = ""
    values: dict[str, PublishedValue]


class Plan(Section):
    """What a study says beside its trials' configurations.

    Attributes:
        question: what the study is to answer, in a sentence.
        keep: for how many of the best trials the weights are kept.
        stability: what is trained again after the search; None: nothing.
        published: figures to compare with.
    """

    question: str = ""
    search: Search = Search()
    pruner: Pruner = Pruner()
    resources: Resources = Resources()
    keep: Positive = 5
    stability: Stability | None = None
    published: Published | None = None


S = TypeVar("S", bound=Section)
Found = list[tuple[Path_, str]]
Complete = Callable[[TrialConfig], tuple[TrialConfig, Found]]
"""Fills in the defaults of a configuration's parts and tells what is wrong with them. It is given
from above (`gansearch.training.validation`), because this floor does not know the parts."""

CompletePlan = Callable[[Plan], tuple[Plan, Found]]
"""The same for a plan, given by `gansearch.tuning.launch`."""


@dataclass(frozen=True)
class StudySpec:
    """A valid study: `space` holds the trials' sections with their axes, `plan` the rest.

    Attributes:
        default: the configuration with every axis at its default, or None where that is none.
    """

    plan: Plan
    space: Space = field(repr=False)
    default: TrialConfig | None = field(default=None, repr=False)

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

    def configuration(self, label: str) -> TrialConfig:
        """One of the configurations that `stability.configurations` names."""
        given = self.plan.stability.configurations if self.plan.stability else {}
        shared = {k: v for k, v in self.space.tree.items() if k not in AXES_ALLOWED}
        return TrialConfig.model_validate({**shared, **given[label]})

    def tree(self) -> dict[str, Any]:
        """Plain values with every default filled in, as `study.yaml` holds them."""
        shared = self.plan.model_dump(mode="json", exclude_none=True)
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
    complete_plan: CompletePlan = lambda plan: (plan, []),
    known: Iterable[tuple[Path_, str]] = (),
) -> StudySpec:
    """Validate a parsed study file.

    Args:
        document: the file.
        complete: fills in and checks a configuration.
        complete_plan: the same for a plan, of which this floor does not know the sampler.
        known: mistakes that were found already.

    Raises:
        InvalidInput: with every mistake in the file.
    """
    found: Found = []
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
    plan, mistakes = complete_plan(plan)
    found += apart(mistakes, found)
    space = Space(parsed)
    found += _check_corners(space, complete, found)
    found += apart(_check_pruner(plan.pruner, space), found)
    default, amiss = _default(space, complete)
    plan, mistakes = _complete_stability(plan, space, complete)
    found += apart(mistakes, found)
    found += known
    filled = {} if found else _fill(space, complete)
    found += faulty_ties(filled)  # a part by its name alone has become a mapping
    if found:
        raise InvalidInput(document.source, place_all(document, found))
    return StudySpec(plan, Space(filled), None if amiss else default)


def _default(space: Space, complete: Complete) -> tuple[TrialConfig, Found]:
    """The configuration with every axis at its default, ties kept, and why it cannot be built."""
    config, found = check_config(_without_axes(space.tree), complete)
    whole = config.plain()
    for place, source in space.plain_ties().items():
        try:
            _at(whole, place[:-1])[place[-1]] = _at(whole, source)
        except (KeyError, TypeError):  # what is followed is of an option that is not the default
            return config, [(place, "has nothing to follow")]
    return (config, found) if found else check_config(whole, complete)


def _at(tree: Any, path: Path_) -> Any:
    return functools.reduce(lambda node, key: node[key], path, tree)


def _complete_stability(plan: Plan, space: Space, complete: Complete) -> tuple[Plan, Found]:
    """The plan with its given configurations filled in, and what is wrong with the section."""
    stability = plan.stability
    if stability is None:
        nothing = "0 trials, and no stability section: there is nothing to do"
        return plan, [] if plan.search.trials else [(("search", "trials"), nothing)]
    base = _without_axes(space.tree)
    found: Found = []
    filled = {}
    for label, given in stability.configurations.items():
        here = ("stability", "configurations", label)
        if RESERVED.fullmatch(label):
            found.append((here, f"the label '{label}' is taken: call it something else"))
        for key in (key for key in given if key not in AXES_ALLOWED):
            shared = key in TrialConfig.model_fields
            why = "is shared by all trials" if shared else "is not a section of a configuration"
            hint = "" if shared else nearest(key, AXES_ALLOWED)
            found.append(((*here, key), f"{why}{hint}"))
        sections = {key: value for key, value in given.items() if key in AXES_ALLOWED}
        config, mistakes = check_config({**base, **sections}, complete)
        # What is wrong with the rest of the study is told elsewhere.
        found += [((*here, *path), message) for path, message in mistakes if path[0] in sections]
        whole = config.plain()
        filled[label] = {key: whole[key] for key in AXES_ALLOWED}
    completed = stability.model_copy(update={"configurations": filled})
    return plan.model_copy(update={"stability": completed}), found


RESERVED = re.compile(r"(default|trial \d+)?")
"""Labels that a stability study gives by itself."""


def _without_axes(node: Any) -> Any:
    """A copy of a parsed tree in which every axis, and whatever depends on one, is left out."""
    if isinstance(node, dict):
        kept = {key: _without_axes(child) for key, child in node.items()}
        return {key: child for key, child in kept.items() if child is not _AXIS}
    if isinstance(node, list):
        items = [_without_axes(child) for child in node]
        return _AXIS if _AXIS in items else items
    return node if isinstance(node, str | int | float | None) else _AXIS


_AXIS = object()


def place_all(document: Document, found: list[tuple[Path_, str]]) -> list[Problem]:
    """Problems in the order of the file, each once."""
    unique = dict.fromkeys(found)
    ordered = sorted(unique, key=lambda item: document.line(item[0]) or 0)
    return [Problem(document.place(path), message) for path, message in ordered]


def validate(model: type[S], tree: Mapping[str, Any], found: Found) -> S:
    """Validate plain values; mistakes are added to `found` as (path, message).

    What is mistaken stands at its default in the result, so that the rest can be checked further.
    """
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        mistakes = _mistakes(model, tree, error)
    found += mistakes
    rest = dict(tree)
    for path, _ in mistakes:
        rest = _without(rest, path) or {}
    return validate(model, rest, [])


def _mistakes(model: type[S], tree: Mapping[str, Any], error: ValidationError) -> Found:
    """Pydantic's errors in words, each at its place in the tree."""
    told: Found = []
    errors = error.errors()
    switches = {_real_path(e["loc"], tree) for e in errors if _is_switch(e)}
    for e in errors:
        path = _real_path(e["loc"], tree)
        message = explain(e, _fields_at(model, path[:-1]), "a key of this section")
        if e["type"] == "model_type" and (path in switches or _is_part(e)):
            other = "false" if path in switches else "a name"
            message = message.replace("needs a", f"needs {other} or a")
        if not _is_switch(e):  # `false` or a mapping: the mapping's own mistakes are the ones to tell
            told.append((path, message))
    return told


def _is_switch(error: Any) -> bool:
    return any(str(part).startswith("literal[False") for part in error["loc"])


def _is_part(error: Any) -> bool:
    parts: list[type[Part]] = [Part, *Part.__subclasses__()]
    return error["ctx"]["class_name"] in {kind.__name__ for kind in parts}


def _without(node: Any, path: Path_) -> dict[str, Any] | None:
    """A copy without what stands at `path`; where nothing does, without the mapping that lacks it."""
    if not path or not isinstance(node, Mapping) or path[0] not in node:
        return None
    child = _without(node[path[0]], path[1:])
    rest = {key: value for key, value in node.items() if key != path[0]}
    return rest if child is None else dict(node) | {path[0]: child}


def apart(mistakes: Found, known: Found) -> Found:
    """The mistakes that do not stand where a known one does, above or below it."""
    places = [path for path, _ in known]
    return [
        (path, message)
        for path, message in mistakes
        if not any(path[: len(other)] == other[: len(path)] for other in places)
    ]


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


def check_config(tree: Mapping[str, Any], complete: Complete) -> tuple[TrialConfig, Found]:
    """A completed configuration, and every mistake in it."""
    found: Found = []
    config = validate(TrialConfig, tree, found)
    config, further = complete(config)
    further = apart(further, found)
    if any(path[:2] == ("evaluation", "metrics") for path, _ in found + further):
        further = [item for item in further if item[0] != ("objective", "metric")]
    return config, found + further


def _check_corners(space: Space, complete: Complete, known: Found) -> Found:
    found: dict[tuple[Path_, str], str] = {}
    ties = space.ties()
    for tree, origins in space.corners():
        _, mistakes = check_config(tree, complete)
        there = [(_origin(path, origins), message) for path, message in mistakes]
        wrong = [path for path, _ in known + there]  # a tie to one of these is told once, there
        there = [item for item in there if not _starts(wrong, ties.get(item[0], []))]
        for path, message in apart(there, known):
            found.setdefault((path, message.partition(", not ")[0]), message)  # one end of an axis
    return [(path, message) for (path, _), message in found.items()]


def _starts(paths: list[Path_], starts: list[Path_]) -> bool:
    return any(path[: len(start)] == start for path in paths for start in starts)


def _origin(path: Path_, origins: Mapping[Path_, Path_]) -> Path_:
    rest: Path_ = ()
    while path not in origins:
        path, rest = path[:-1], (path[-1], *rest)
    return (*origins[path], *rest)


def _check_pruner(pruner: Pruner, space: Space) -> Found:
    if pruner.name not in PRUNERS:
        return [(("pruner", "name"), f"unknown pruner '{pruner.name}'{nearest(pruner.name, PRUNERS)}")]
    mistakes: Found = []
    tree, _ = space.resolve(first_end)
    steps = validate(TrialConfig, tree, mistakes).budget.steps
    sound = not any(path[0] == "budget" for path, _ in mistakes)
    if sound and pruner.min_steps is not None and pruner.min_steps > steps:
        return [(("pruner", "min_steps"), f"is {pruner.min_steps}, more than budget.steps, {steps}")]
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
        merged = _merge(filled or space.tree, defaults, tree_suggest, ())
        filled = {key: value if key in AXES_ALLOWED else defaults[key] for key, value in merged.items()}
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
    return defaults if node == defaults else node  # 1 where a float is meant is 1.0

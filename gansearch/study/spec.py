"""A study: a question with a search space, a budget and an objective."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gansearch.errors import InvalidInput, UserError, nearest
from gansearch.study.axes import UNSAID, Axis, Choice, Float, Int, Multiple, has_default
from gansearch.study.config import (
    AXES_ALLOWED,
    TrialConfig,
    digest,
    loss_family,
    trial_seed,
)
from gansearch.study.document import Document, Path_, write_document
from gansearch.study.learnt import Learnt
from gansearch.study.location import locate
from gansearch.study.mistakes import AXIS, Mistakes, apart, origin_of, place_all, starts_with, validate
from gansearch.study.notation import parse_space, plain
from gansearch.study.plan import DEFAULT, Earlier, Plan, Start
from gansearch.study.records import Goal
from gansearch.study.sections import MANY
from gansearch.study.space import Space, Suggest, Unsaid, axis_paths, faulty_ties, first_end
from gansearch.study.starting import Beginning, Find, Given, StartPoint, begin, find_all, find_nothing

Complete = Callable[[TrialConfig], tuple[TrialConfig, Mistakes]]
"""Fills in the defaults of a configuration's parts and tells what is wrong with them. It is given
from above (`gansearch.training.completion`), because this floor does not know the parts."""

CompletePlan = Callable[[Plan, TrialConfig | None], tuple[Plan, Mistakes]]
"""The same for a plan's sampler and pruner. It is shown a configuration of the study, or None where its
budget or objective is mistaken."""


Learn = Callable[[Earlier, "StudySpec"], Learnt]
"""Reads what a search can learn from an earlier study; raises `UserError`. It is given from above
(`gansearch.search.learning`)."""


@dataclass(frozen=True)
class StudySpec:
    """A valid study: `space` holds the trials' sections with their axes, `plan` the rest.

    Attributes:
        default: the configuration with every axis at its default, or None where that is none.
        start: what is tried before the sampler is asked.
        learnt: what the sampler is to know of earlier studies, as read for a new study; one that has
            begun has it in its journal.
        notes: what a user is to know of the study, in words.
    """

    plan: Plan
    space: Space = field(repr=False)
    default: TrialConfig | None = field(default=None, repr=False)
    start: tuple[StartPoint, ...] = ()
    learnt: tuple[Learnt, ...] = field(default=(), compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def question(self) -> str:
        """What the study is to answer."""
        return self.plan.question

    def trial(self, number: int, suggest: Suggest) -> TrialConfig:
        """The configuration of one trial, at the point that `suggest` picks."""
        tree, _ = self.space.resolve(suggest)
        seed = trial_seed(self.plan.search.seed, number)
        return TrialConfig.model_validate({"seed": seed, **tree})

    def example(self) -> TrialConfig:
        """One configuration of the study, from which what all of them share can be read."""
        return self.trial(0, first_end)

    def examples(self, most: int | None = None) -> list[tuple[str, TrialConfig]]:
        """A configuration for every option of every choice, then those that the stability study names,
        each with the words that tell its place in the study file ("" where it has none).

        Args:
            most: options at most, those first that say most of the others; None: all.
        """
        space = self.space
        ways = space.each_option() if most is None else space.some_options(most)[0]
        options = [("", self.trial(0, way)) for way in ways]
        named = self.plan.stability.configurations if self.plan.stability else {}
        return options + [
            (f"stability.configurations.{label}: ", self.configuration(label)) for label in named
        ]

    @property
    def goal(self) -> Goal:
        """Which way is better."""
        return self.example().objective.towards

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

    def with_trials(self, trials: int) -> StudySpec:
        """The same study with another number of trials to search; raises `UserError` where none has so
        many, or so few.
        """
        if isinstance(trials, bool) or not isinstance(trials, int):
            raise UserError(f"trials must be a whole number, not {trials!r}")
        if trials > MANY:
            raise UserError(f"trials must be at most {MANY:,}, not {trials:,}")
        if trials < max(1, len(self.start)):
            begins = f": the search begins with {len(self.start)}" if self.start else ""
            least = max(1, len(self.start))
            raise UserError(f"trials must be at least {least}, not {trials}{begins}")
        search = self.plan.search.model_copy(update={"trials": trials})
        return replace(self, plan=self.plan.model_copy(update={"search": search}))

    def to_yaml(self) -> str:
        """The study file, resolved: reading it back gives the same study."""
        return write_document(self.tree())

    @property
    def digest(self) -> str:
        """The same for the same study everywhere: machine facts (`resources`) are left out; but where
        it begins from `weights`, their whole path is in it.
        """
        return digest({k: v for k, v in self.tree().items() if k != "resources"})


def build_study(
    document: Document,
    complete: Complete,
    complete_plan: CompletePlan,
    unsaid: Callable[[TrialConfig], Unsaid],
    known: Iterable[tuple[Path_, str]] = (),
    find: Find = find_nothing,
    learn: Learn | None = None,
    *,
    launched: bool = False,
) -> StudySpec:
    """Validate a parsed study file.

    Args:
        document: the file.
        complete: fills in and checks a configuration.
        complete_plan: the same for a plan.
        unsaid: tells what of a completed configuration may not be written.
        known: mistakes that were found already.
        find: reads the configurations with which the search is to begin.
        learn: reads what can be learnt from an earlier study; None: nothing is.
        launched: it has begun, and goes on also with what changes no trial.

    Raises:
        InvalidInput: with every mistake in the file.
    """
    mistakes: Mistakes = []
    plan_keys, trial_keys = set(Plan.model_fields), set(TrialConfig.model_fields)
    for key in document.tree.keys() - plan_keys - trial_keys:
        mistakes.append(((key,), f"not a key of a study{nearest(key, plan_keys | trial_keys)}"))
    plan = validate(Plan, {k: v for k, v in document.tree.items() if k in plan_keys}, mistakes)
    raw = {k: v for k, v in document.tree.items() if k in trial_keys}
    parsed, more = parse_space(raw)
    mistakes += more
    for key in sorted(parsed.keys() - set(AXES_ALLOWED)):
        why = f"cannot be an axis: '{key}' is shared by all trials; make a study for each value"
        mistakes += [(path, why) for path in axis_paths(parsed[key], (key,))]
    space = Space(parsed)
    plan, more = complete_plan(plan, _some_config(space, complete))
    mistakes += apart(more, mistakes)
    mistakes += _check_corners(space, complete, mistakes)
    default, amiss = _default(space, complete)
    plan, more = _complete_stability(plan, space, complete)
    mistakes += apart(more, mistakes)
    mistakes += known
    given, more = find_all(plan.search.start, find)
    mistakes += more
    filled = Space({}) if mistakes else _fill(space, complete, unsaid)
    mistakes += faulty_ties(filled.tree)  # which has mappings where the file names a part alone
    if mistakes:
        raise InvalidInput(document.source, place_all(document, mistakes))
    spec = _settled(StudySpec(plan, filled, None if amiss else default))
    begun = _begun(spec, given, amiss, complete)
    mistakes += begun.mistakes
    learnt, more = _learnt(spec, learn)
    mistakes += more
    mistakes += [] if launched else _unmatched(spec)
    if mistakes:
        raise InvalidInput(document.source, place_all(document, mistakes))
    start = [_as_point(each) for each in begun.points]
    search = plan.search.model_copy(update={"start": start})
    plan = plan.model_copy(update={"search": search})
    notes = (*begun.notes, *(each.words for each in learnt))
    return replace(spec, plan=plan, start=begun.points, learnt=learnt, notes=notes)


def _learnt(spec: StudySpec, learn: Learn | None) -> tuple[tuple[Learnt, ...], Mistakes]:
    """What each earlier study teaches that the search is to learn from, and why one teaches nothing."""
    learnt: list[Learnt] = []
    mistakes: Mistakes = []
    known = set[str]()
    for index, earlier in enumerate(spec.plan.search.learn_from if learn else []):
        here = ("search", "learn_from", index)
        if earlier.study in known:
            mistakes.append((here, f"'{earlier.study}' is named twice, and each trial teaches once"))
            continue
        known.add(earlier.study)
        try:
            learnt += [learn(earlier, spec)] if learn else []
        except UserError as error:
            mistakes.append((here, str(error)))
    return tuple(learnt), mistakes


def _unmatched(spec: StudySpec) -> Mistakes:
    """Published values that would stand beside none of the study's own."""
    if spec.plan.published is None:
        return []
    configs = [*([spec.default] if spec.default else []), *(config for _, config in spec.examples())]
    families = {loss_family(config.plain()) for config in configs}
    return [
        (
            ("published", "values", label),
            f"no trial has this loss and penalty{nearest(label, families)}",
        )
        for label in spec.plan.published.values
        if label not in families
    ]


def _begun(
    spec: StudySpec, given: Mapping[int, Given], unbuildable: Mistakes, complete: Complete
) -> Beginning:
    """Where the search begins; nowhere if there is none."""
    search = spec.plan.search
    if not search.trials and not search.start:
        return Beginning()
    check = functools.partial(check_config, complete=complete)
    begun = begin(search.start, given, spec.space, spec.default, unbuildable, check)
    if len(begun.points) <= search.trials:
        return begun
    words = f"{len(begun.points)} start points, and search.trials is {search.trials}: ask for more"
    return replace(begun, mistakes=(*begun.mistakes, (("search", "start"), words)))


def _as_point(start: StartPoint) -> Start:
    """A start as `study.yaml` holds it: its source may be gone when the study is resumed."""
    if start.name == DEFAULT:
        return Start(config=DEFAULT)
    return Start(name=start.name, point=start.point)


def _some_config(space: Space, complete: Complete) -> TrialConfig | None:
    """A configuration of the study; None where what a pruner reads of it is mistaken."""
    tree, _ = space.resolve(first_end)
    config, mistakes = check_config(tree, complete)
    return None if any(path[0] in ("budget", "objective") for path, _ in mistakes) else config


def _default(space: Space, complete: Complete) -> tuple[TrialConfig, Mistakes]:
    """The configuration with every axis at its default, ties kept, and why it cannot be built."""
    config, mistakes = check_config(_without_axes(space.tree), complete)
    whole = config.plain()
    for place, tie in space.plain_ties().items():
        nothing: Mistakes = [(place, "has nothing to follow")]
        try:
            followed = _at(whole, tie.path)
            if isinstance(followed, dict | list):  # which may hold the tie itself
                return config, nothing
            value = tie.factor * followed if isinstance(tie, Multiple) else followed
            _at(whole, place[:-1])[place[-1]] = value
        except (LookupError, TypeError):  # what is followed is of an option that is not the default
            return config, nothing
    return (config, mistakes) if mistakes else check_config(whole, complete)


def _settled(spec: StudySpec) -> StudySpec:
    """The study with its default also where axes with defaults exist under the default of a choice that
    has none.
    """
    if spec.default is None:
        return spec
    point, amiss = locate(spec.default.plain(), spec.space)
    axes = spec.space.axes()
    if amiss or all(axes[name].default in (UNSAID, value) for name, value in point.items()):
        return spec

    def suggest(name: str, axis: Axis) -> Any:
        return point[name] if axis.default is UNSAID else axis.default

    tree, _ = spec.space.resolve(suggest)
    return replace(spec, default=TrialConfig.model_validate(tree))


def _at(tree: Any, path: Path_) -> Any:
    return functools.reduce(lambda node, key: node[key], path, tree)


def _complete_stability(plan: Plan, space: Space, complete: Complete) -> tuple[Plan, Mistakes]:
    """The plan with its given configurations filled in, and what is wrong with the section."""
    stability = plan.stability
    if stability is None:
        nothing = "0 trials, and no stability section: there is nothing to do"
        return plan, [] if plan.search.trials else [(("search", "trials"), nothing)]
    base = _without_axes(space.tree)
    mistakes: Mistakes = []
    filled = {}
    for label, given in stability.configurations.items():
        here = ("stability", "configurations", label)
        if RESERVED.fullmatch(label):
            mistakes.append((here, f"the label '{label}' is taken: call it something else"))
        for key in (key for key in given if key not in AXES_ALLOWED):
            shared = key in TrialConfig.model_fields
            why = "is shared by all trials" if shared else "is not a section of a configuration"
            hint = "" if shared else nearest(key, AXES_ALLOWED)
            mistakes.append(((*here, key), f"{why}{hint}"))
        sections = {key: value for key, value in given.items() if key in AXES_ALLOWED}
        config, more = check_config({**base, **sections}, complete)
        # What is wrong with the rest of the study is told elsewhere.
        mistakes += [((*here, *path), message) for path, message in more if path[0] in sections]
        whole = config.plain()
        filled[label] = {key: whole[key] for key in AXES_ALLOWED}
    completed = stability.model_copy(update={"configurations": filled})
    return plan.model_copy(update={"stability": completed}), mistakes


RESERVED = re.compile(r"(default|trial \d+)?")
"""Labels that a stability study gives by itself."""


def _without_axes(node: Any) -> Any:
    """A copy of a parsed tree in which every axis has its default; one that has none, and whatever
    depends on it, is left out.
    """
    if isinstance(node, Float | Int | Choice) and has_default(node):
        default = node.default
        return _without_axes(node.options[default]) if isinstance(node, Choice) else default
    if isinstance(node, dict):
        kept = {key: _without_axes(child) for key, child in node.items()}
        return {key: child for key, child in kept.items() if child is not AXIS}
    if isinstance(node, list):
        items = [_without_axes(child) for child in node]
        return AXIS if AXIS in items else items
    return node if isinstance(node, str | int | float | None) else AXIS


def check_config(tree: Mapping[str, Any], complete: Complete) -> tuple[TrialConfig, Mistakes]:
    """A completed configuration, and every mistake in it."""
    mistakes: Mistakes = []
    config = validate(TrialConfig, tree, mistakes)
    config, further = complete(config)
    further = apart(further, mistakes)
    if any(path[:2] == ("evaluation", "metrics") for path, _ in mistakes + further):
        further = [item for item in further if item[0] != ("objective", "metric")]
    return config, mistakes + further


def _check_corners(space: Space, complete: Complete, known: Mistakes) -> Mistakes:
    told: dict[tuple[Path_, str], str] = {}
    ties = space.ties()
    for tree, origins in space.corners():
        _, mistakes = check_config(tree, complete)
        there = [(origin_of(path, origins), message) for path, message in mistakes]
        wrong = [path for path, _ in known + there]  # a tie to one of these is told once, there
        there = [item for item in there if not starts_with(wrong, ties.get(item[0], []))]
        for path, message in apart(there, known):
            told.setdefault((path, message.partition(", not ")[0]), message)  # one end of an axis
    return [(path, message) for (path, _), message in told.items()]


def _fill(space: Space, complete: Complete, unsaid: Callable[[TrialConfig], Unsaid]) -> Space:
    """The space with the defaults of all sections and parts: written out, or known if they are not."""
    filled: dict[str, Any] = {}
    known: dict[tuple[Path_, str], Mapping[str, Any]] = {}
    for tree_suggest in space.each_option():
        tree, _ = space.resolve(tree_suggest)
        config, _ = complete(TrialConfig.model_validate(tree))
        known |= unsaid(config)
        defaults = config.plain()
        if "seed" not in tree:
            defaults.pop("seed")  # each trial gets its own
        merged = _merge(filled or space.tree, defaults, tree_suggest, ())
        filled = {key: value if key in AXES_ALLOWED else defaults[key] for key, value in merged.items()}
    return Space(filled, known)


def _merge(node: Any, defaults: Any, suggest: Suggest, name: Path_) -> Any:
    if isinstance(node, Choice):
        label = suggest(".".join(map(str, name)), node)
        options = dict(node.options)
        options[label] = _merge(options[label], defaults, suggest, (*name, str(label)))
        return replace(node, options=options)
    if isinstance(node, str) and isinstance(defaults, dict):
        node = {"name": node}
    if isinstance(node, dict) and isinstance(defaults, dict):
        merged = {k: _merge(v, defaults.get(k), suggest, (*name, k)) for k, v in node.items()}
        return merged | {k: v for k, v in defaults.items() if k not in node}
    return defaults if node == defaults else node  # 1 where a float is meant is 1.0

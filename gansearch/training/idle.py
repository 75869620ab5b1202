"""What a study file says that changes nothing, because of what it says beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gansearch.errors import UnknownPart
from gansearch.losses import is_variational
from gansearch.study.config import TrialConfig
from gansearch.study.document import Document, Path_
from gansearch.study.health import Stalled
from gansearch.study.mistakes import Mistakes
from gansearch.study.networks import Schedule
from gansearch.study.registry import is_own
from gansearch.study.weights import parts_at
from gansearch.training.blame import PARTS, section_at


class Need(NamedTuple):
    """An option that is looked at only where the one beside it is of some kind.

    Attributes:
        beside: the other option.
        holds: whether one value of it is of that kind.
        words: why the option changes nothing where none is.
    """

    beside: str
    holds: Callable[[Any], bool]
    words: str


DROP = "drop it, or say"
FROM_WEIGHTS = Need(
    "weights",
    lambda value: value is None,
    "for the network starts from `weights`: drop it, or make the weights an option, "
    "{choice: [null, FOLDER]}",
)
FIXED = Need(
    "probability", lambda value: value is None, "for `probability` is fixed: drop one of the two"
)
NEEDS: dict[str, list[Need]] = {
    "init": [FROM_WEIGHTS],
    "init_std": [
        FROM_WEIGHTS,
        Need("init", lambda value: value == "normal", f"for it is of another `init`: {DROP} `normal`"),
    ],
    "classes": [
        Need("conditional", bool, f"for the network is told no classes: {DROP} `conditional: true`")
    ],
    "target": [FIXED],
    "images": [FIXED],
    "end": [
        Need(
            "name",
            lambda value: value != "constant",
            f"for the schedule is constant: {DROP} `linear` or `cosine`",
        )
    ],
    "start": [
        Need("warmup", bool, f"for nothing rises: {DROP} for what share of the budget, `warmup`")
    ],
}
"""By the option, of parts of ours and of schedules that have both."""

SCHEDULES = (
    ("optimizer", "generator", "schedule"),
    ("optimizer", "discriminator", "schedule"),
    ("loss", "penalty", "schedule"),
    ("discriminator", "noise", "schedule"),
)


def idle(document: Document) -> Mistakes:
    """Where a file gives a value, or an axis, to what nothing looks at.

    A default may be said anywhere: it is what a resolved study or configuration is full of. And a
    configuration may be a point of a search, where each axis has a value, needed or not: one that a
    study trains again is held to its schedules alone, in which no axis can be.
    """
    tree = document.tree
    mistakes = [*_options(_schedules(tree))]
    if not _has_given_alone(tree):
        mistakes += [*_options(_parts(tree)), *_without_discriminator(tree)]
    return mistakes


Said = tuple[Path_, dict[str, Any], Mapping[str, FieldInfo]]
"""A mapping of a file: its place, what is said, all keys that there are."""


def _has_given_alone(tree: dict[str, Any]) -> bool:
    """Whether a study trains given configurations and nothing else, as `gansearch stability` makes one
    of files: its own sections are then those of one of them.
    """
    nothing = any(search.get("trials") == 0 for _, search in parts_at(tree, ("search",)))
    return nothing and any(s.get("default") is False for _, s in parts_at(tree, ("stability",)))


def _options(mappings: Iterable[Said]) -> Iterator[tuple[Path_, str]]:
    for place, part, fields in mappings:
        for key in NEEDS.keys() & part.keys() & fields.keys():
            if part[key] == fields[key].default:
                continue
            needs = [need for need in NEEDS[key] if need.beside in fields]
            why = (need.words for need in needs if not _may_hold(need, part, fields))
            if words := next(why, ""):
                yield (*place, key), f"changes nothing, {words}"


def _parts(tree: dict[str, Any]) -> Iterator[Said]:
    """Parts of ours that a file writes as mappings."""
    for path, registry in PARTS.items():
        for place, part in parts_at(tree, path):
            name = part.get("name")
            if isinstance(name, str) and not is_own(name):
                try:
                    options: type[BaseModel] = registry.options(name)
                except UnknownPart:  # which is told elsewhere
                    continue
                yield place, part, section_at(path).model_fields | options.model_fields


def _schedules(tree: dict[str, Any]) -> Iterator[Said]:
    for root, sections in _roots(tree):
        for path in SCHEDULES:
            for place, part in parts_at(sections, path):
                yield (*root, *place), part, Schedule.model_fields


def _roots(tree: dict[str, Any]) -> Iterator[tuple[Path_, dict[str, Any]]]:
    """Where the sections of configurations stand in a study file."""
    yield (), tree
    here = ("stability", "configurations")
    for place, named in parts_at(tree, here):
        yield from (((*place, label), each) for label, each in named.items() if isinstance(each, dict))


def _may_hold(need: Need, part: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> bool:
    """Whether what stands beside an option is, or as an axis may be, of the kind that it needs."""
    value = part.get(need.beside, fields[need.beside].default)
    if not isinstance(value, dict):
        return need.holds(value)
    options = value.get("choice")
    return not isinstance(options, list) or any(map(need.holds, options))


def _without_discriminator(tree: dict[str, Any]) -> Iterator[tuple[Path_, str]]:
    """What is asked of a discriminator, and is no axis, in a study whose trials all have none."""
    default = TrialConfig.model_fields["loss"].default.name
    shared = tree.get("loss", default)
    losses = {name for _, each in _roots(tree) for name in _names(each.get("loss", shared))}
    # One of the user's is not looked up: to import it is for those who guard against what that does.
    if not all(not is_own(name) and is_variational(name) for name in losses):
        return
    why = f"changes nothing, for the loss {' or '.join(sorted(losses))} has no discriminator: drop it"
    for _, evaluation in parts_at(tree, ("evaluation",)):
        if evaluation.get("held_out") is not None:
            yield ("evaluation", "held_out"), why
    for _, rule in parts_at(tree, ("health", "stalled")):
        yield from (
            (("health", "stalled", key), why)
            for key, field in Stalled.model_fields.items()
            if rule.get(key, field.default) != field.default
        )


def _names(loss: Any) -> list[str]:
    """The names of a section of losses, written in whatever way."""
    if isinstance(loss, dict) and isinstance(options := loss.get("choice"), list):
        return [name for option in options for name in _names(option)]
    return [str(loss.get("name") if isinstance(loss, dict) else loss)]

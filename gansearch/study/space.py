"""The search space: a tree of plain values in which any leaf may be an axis, or be tied to another
value; see `notation` for how a study file writes it.
"""

from __future__ import annotations

import difflib
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gansearch.study.axes import (
    RATIO,
    Axis,
    Choice,
    Float,
    Int,
    Multiple,
    Ratio,
    Same,
    default_words,
    each_child,
    has_default,
)
from gansearch.study.document import Path_, dotted

Suggest = Callable[[str, Axis], Any]
"""Takes the name of an axis and the axis, gives a value of it (of a choice: a label)."""


@dataclass(frozen=True)
class _Leaf:
    """An axis or a tie, by name.

    Attributes:
        written: what stands there.
        axis: what is drawn for it; None: it only follows another value.
        under: the leaves under each option of a choice.
    """

    name: str
    written: Axis | Same | Ratio
    axis: Axis | None
    under: Mapping[Any, list[_Leaf]]


Unsaid = Mapping[tuple[Path_, str], Mapping[str, Any]]
"""The defaults of the keys of parts, by the part's place in a configuration and its name: a key that
was added to a part later is not written where it has its default."""


@dataclass(frozen=True)
class Space:
    """A parsed tree: plain values with `Axis` and `Same` objects among them.

    Attributes:
        tree: the sections.
        unsaid: of the parts of its configurations.
    """

    tree: dict[str, Any]
    unsaid: Unsaid = field(default_factory=dict)

    def resolve(self, suggest: Suggest) -> tuple[dict[str, Any], dict[Path_, Path_]]:
        """One point of the space.

        Axes are asked for in the order of the file, and only those that exist at this point; then
        tied values are filled in.

        Returns:
            The tree with every axis replaced by its value, and for each path in it the path in the
            study file that it came from (which has `choice[2]` in it where a choice was made).
        """
        origins: dict[Path_, Path_] = {}
        value = _resolve(self.tree, suggest, (), (), (), origins)
        return _tie(value, value), origins

    def at(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The tree at the point where the axes have these values, by name."""
        return self.resolve(lambda name, _: values[name])[0]

    def point(self, suggest: Suggest) -> dict[str, Any]:
        """The values of the axes that exist at a point, by name, in the order of the file."""
        values: dict[str, Any] = {}
        _decide(self._leaves, suggest, values)
        return values

    @cached_property
    def _leaves(self) -> list[_Leaf]:
        """The axes and ties, without what lies between: samplers draw many points."""
        return list(_leaves(self.tree, ()))

    def axes(self) -> dict[str, Axis]:
        """Every axis by name, also those that exist only under some option."""
        return {leaf.name: leaf.axis for leaf in _all(self._leaves) if leaf.axis is not None}

    def conditions(self) -> list[tuple[str, tuple[str, int] | None]]:
        """Where each axis exists: under which option, by its place, of which choice, which is told of
        before; None: in any case.
        """
        return list(_conditions(self._leaves, None))

    def describe(self) -> list[tuple[str, str]]:
        """Every axis and tie as (name, range in words), for people."""
        written = [(leaf.name, leaf.written) for leaf in _all(self._leaves)]
        return [(name, f"{what}{default_words(what)}") for name, what in written]

    def ties(self) -> dict[Path_, list[Path_]]:
        """Where each tied value stands in the study file, and where that may stand which it follows:
        in several places if choices lie on the way.
        """
        return {
            place: [origin for origin, _ in _standing(self.tree, tie.path, (), place)]
            for place, tie in _ties(self.tree, ())
        }

    def plain_ties(self) -> dict[Path_, Same | Multiple]:
        """Each tied value that is there whatever is chosen, by its path in a configuration, with what
        it follows: of a ratio, so many times as its default says, if it has one.
        """
        ties = {place: tie for place, tie in _ties(self.tree, ()) if "choice" not in place}
        factors = {
            place: Multiple(tie.path, tie.axis.default)
            for place, tie in ties.items()
            if isinstance(tie, Ratio) and has_default(tie.axis)
        }
        return {place: tie for place, tie in ties.items() if isinstance(tie, Same)} | factors

    def corners(self, limit: int = 512) -> Iterator[tuple[dict[str, Any], dict[Path_, Path_]]]:
        """Points that between them hold every end of every axis: valid here, valid everywhere.

        All the combinations of ends where there are at most `limit`; else the first `limit` of
        them and then each end once, the others at their first.
        """
        combinations = self._combinations()
        yield from itertools.islice(combinations, limit)
        if next(combinations, None) is None:
            return
        for name, axis in self.axes().items():
            for end in axis.ends():
                yield self.resolve(steering(name, end))

    def each_option(self) -> list[Suggest]:
        """Ways through the space that between them take every option of every choice once."""
        return [steering(*option) for option in self._options()] or [first_end]

    def some_options(self, most: int) -> tuple[list[Suggest], dict[str, int]]:
        """As `each_option`, with at most so many options: of each choice first one of each part and
        kind of value, then the ends of its numbers, then others at random, always the same.

        Returns:
            The ways, and how many options of each choice they leave out.
        """
        found = self._options()
        first = {
            (name, label): place
            for name, axis in self._choices().items()
            for place, label in enumerate(_telling_first(axis))
        }
        kept = set(sorted(found, key=lambda option: first[option])[:most])
        left = Counter(name for name, label in found if (name, label) not in kept)
        return [steering(*option) for option in found if option in kept] or [first_end], dict(left)

    def _choices(self) -> dict[str, Choice]:
        return {name: axis for name, axis in self.axes().items() if isinstance(axis, Choice)}

    def _options(self) -> list[tuple[str, Any]]:
        """Every option of every choice: the axis, and the label."""
        return [(name, label) for name, axis in self._choices().items() for label in axis.options]

    def _combinations(self) -> Iterator[tuple[dict[str, Any], dict[Path_, Path_]]]:
        # An odometer over the decisions met on the way: which axes exist depends on earlier ones.
        digits: list[int] = []
        while True:
            sizes: list[int] = []

            def pick(_: str, axis: Axis, sizes: list[int] = sizes) -> Any:
                ends = axis.ends()
                if len(sizes) == len(digits):
                    digits.append(0)
                sizes.append(len(ends))
                return ends[digits[len(sizes) - 1]]

            yield self.resolve(pick)
            while digits and digits[-1] + 1 == sizes[len(digits) - 1]:
                digits.pop()
            if not digits:
                return
            digits[-1] += 1


def first_end(_: str, axis: Axis) -> Any:
    """The simplest `Suggest`: the first end of every axis."""
    return axis.ends()[0]


def at_random(chance: random.Random) -> Suggest:
    """A `Suggest` that draws every axis evenly on its own scale."""

    def draw(_: str, axis: Axis) -> Any:
        if isinstance(axis, Choice):
            return chance.choice(list(axis.options))
        if isinstance(axis, Int):
            return chance.randint(axis.low, axis.high)
        if not axis.log:
            return chance.uniform(axis.low, axis.high)
        value = math.exp(chance.uniform(math.log(axis.low), math.log(axis.high)))
        return min(max(value, axis.low), axis.high)

    return draw


def _telling_first(choice: Choice) -> list[Any]:
    """The labels of a choice, those first of which each says most of all the others."""
    kinds: dict[Any, Any] = {}
    for label, option in choice.options.items():
        kinds.setdefault(_kind(option), label)
    numbers = {option: label for label, option in choice.options.items() if _kind(option) is float}
    ends = [numbers[min(numbers)], numbers[max(numbers)]] if numbers else []
    others = random.Random(0).sample(list(choice.options), len(choice.options))
    return list(dict.fromkeys([*kinds.values(), *ends, *others]))


def _kind(option: Any) -> Any:
    """What options have in common that are handled by the same code: the part that they name."""
    if isinstance(option, dict):
        return option["name"] if isinstance(option.get("name"), str) else tuple(map(str, option))
    if isinstance(option, int | float) and not isinstance(option, bool):
        return float
    return option if isinstance(option, str | bool) else type(option)


def steering(name: str, end: Any) -> Suggest:
    """Suggests `end` for the named axis, the options that lead to it, and first ends elsewhere."""

    def suggest(at: str, axis: Axis) -> Any:
        if at == name:
            return end
        if isinstance(axis, Choice):
            leading = [label for label in axis.options if f"{name}.".startswith(f"{at}.{label}.")]
            if leading:  # labels may hold dots: `my.parts:Loss`
                return max(leading, key=lambda label: len(str(label)))
        return axis.ends()[0]

    return suggest


def _leaves(node: Any, name: Path_) -> Iterator[_Leaf]:
    """The axes and ties of a tree, in the order of the file."""
    if isinstance(node, Choice):
        options = node.options.items()
        under = {label: list(_leaves(option, (*name, str(label)))) for label, option in options}
        yield _Leaf(axis_name(name), node, node, under)
    elif isinstance(node, Ratio):
        yield _Leaf(axis_name((*name, RATIO)), node, node.axis, {})
    elif isinstance(node, Same):
        yield _Leaf(axis_name(name), node, None, {})
    elif isinstance(node, Float | Int):
        yield _Leaf(axis_name(name), node, node, {})
    else:
        for key, child in _children(node):
            yield from _leaves(child, (*name, *key))


def _all(leaves: Iterable[_Leaf]) -> Iterator[_Leaf]:
    """Leaves, each before those under its options."""
    for leaf in leaves:
        yield leaf
        for under in leaf.under.values():
            yield from _all(under)


def _conditions(
    leaves: Iterable[_Leaf], where: tuple[str, int] | None
) -> Iterator[tuple[str, tuple[str, int] | None]]:
    for leaf in leaves:
        if leaf.axis is not None:
            yield leaf.name, where
        for at, under in enumerate(leaf.under.values()):
            yield from _conditions(under, (leaf.name, at))


def _decide(leaves: Iterable[_Leaf], suggest: Suggest, values: dict[str, Any]) -> None:
    """Ask for the value of each axis that exists, given the options that are taken on the way."""
    for leaf in leaves:
        if leaf.axis is None:
            continue
        values[leaf.name] = value = suggest(leaf.name, leaf.axis)
        if leaf.under:
            _decide(leaf.under[value], suggest, values)


def _resolve(
    node: Any,
    suggest: Suggest,
    here: Path_,
    name: Path_,
    origin: Path_,
    origins: dict[Path_, Path_],
) -> Any:
    origins[here] = origin
    if isinstance(node, Choice):
        label = suggest(axis_name(name), node)
        index = list(node.options).index(label)
        inner = (*origin, "choice", index)
        return _resolve(node.options[label], suggest, here, (*name, str(label)), inner, origins)
    if isinstance(node, Float | Int):
        return suggest(axis_name(name), node)
    if isinstance(node, Ratio):
        return Multiple(node.path, suggest(axis_name((*name, RATIO)), node.axis))
    if isinstance(node, dict):
        return {
            k: _resolve(v, suggest, (*here, k), (*name, k), (*origin, k), origins)
            for k, v in node.items()
        }
    if isinstance(node, list):
        return [
            _resolve(v, suggest, (*here, i), (*name, i), (*origin, i), origins)
            for i, v in enumerate(node)
        ]
    return node


def _tie(node: Any, whole: Any) -> Any:
    if isinstance(node, Same | Multiple):
        for key in node.path:
            whole = whole.get(key) if isinstance(whole, dict) else None
        if isinstance(whole, Same | Multiple | dict | list):
            return None  # which `faulty_ties` tells; a mapping may hold the tie itself
        if isinstance(node, Same):
            return whole
        number = isinstance(whole, int | float) and not isinstance(whole, bool)
        return node.factor * whole if number else None
    return each_child(node, lambda child: _tie(child, whole))


def axis_name(path: Path_) -> str:
    """The name by which Optuna and the tables know an axis."""
    return ".".join(str(part) for part in path)


def axis_paths(node: Any, path: Path_ = ()) -> list[Path_]:
    """Where the axes and ties of a parsed tree stand; those inside a choice are not told apart from
    it.
    """
    if isinstance(node, Float | Int | Choice | Same | Ratio):
        return [path]
    return [leaf for key, child in _children(node) for leaf in axis_paths(child, (*path, *key))]


def faulty_ties(tree: Any) -> list[tuple[Path_, str]]:
    """The ties of a parsed tree that follow nothing at some point, each with its place and why."""
    known = {dotted(path) for path in _followable(tree, ())}
    mistakes = []
    for place, tie in _ties(tree, ()):
        near = difflib.get_close_matches(tie.of, known - {tie.of}, n=1, cutoff=0.85)
        hint = f" (did you mean '{near[0]}'?)" if near else ": write its value or its axis there"
        followed = _standing(tree, tie.path, (), place)
        objections = (_objection(place, origin, node, hint) for origin, node in followed)
        if why := next(filter(None, objections), ""):
            keys = ("same",) if isinstance(tie, Same) else (RATIO, "of")
            mistakes.append(((*place, *keys), f"'{tie.of}' {why}"))
    return mistakes


def _objection(place: Path_, origin: Path_, node: Any, hint: str) -> str:
    """Why a tie cannot follow what stands there; nothing if it can."""
    options = [i + 2 for i, key in enumerate(origin) if key == "choice"]
    where = f" where {dotted(origin[: options[-1]])} is chosen" if options else ""
    if node is _NOTHING:
        return f"has no value in this file{where}{hint}"
    if isinstance(node, dict | list):
        what = "a mapping" if isinstance(node, dict) else "a list"
        return f"is {what}{where}: a tie follows a single value"
    if isinstance(node, Same | Ratio):
        if node.path == _without_options(place):
            return "is itself tied to this: one of the two needs a value or an axis"
        return f"is itself tied to '{node.of}': say that"
    return ""


def _without_options(place: Path_) -> Path_:
    """A place in the study file as a path in a configuration."""
    if "choice" not in place:
        return place
    at = place.index("choice")
    return (*place[:at], *_without_options(place[at + 2 :]))


def _ties(node: Any, origin: Path_) -> Iterator[tuple[Path_, Same | Ratio]]:
    """Every tie, by its place in the study file."""
    if isinstance(node, Same | Ratio):
        yield origin, node
    for key, child in _children(node):
        yield from _ties(child, (*origin, *key))


def _followable(node: Any, path: Path_) -> Iterator[Path_]:
    """The paths, in configurations, of all single values that a tie may follow."""
    if not isinstance(node, dict | list | Choice | Same | Ratio):
        yield path
    for key, child in _children(node):
        yield from _followable(child, path if isinstance(node, Choice) else (*path, *key))


def _children(node: Any) -> list[tuple[Path_, Any]]:
    """What a node of a parsed tree holds, each with the keys that lead to it in the study file."""
    if isinstance(node, Choice):
        return [(("choice", i), option) for i, option in enumerate(node.options.values())]
    if isinstance(node, dict):
        return [((key,), child) for key, child in node.items()]
    return [((i,), child) for i, child in enumerate(node)] if isinstance(node, list) else []


_NOTHING = object()


def _standing(node: Any, path: Path_, origin: Path_, seen_from: Path_) -> Iterator[tuple[Path_, Any]]:
    """What may stand at a path, under any options but those that exclude a place, `seen_from`.

    Yields:
        Its place in the study file, and the axis, plain value or tie that is there; `_NOTHING`, and
        how far the path went, where nothing is.
    """
    if isinstance(node, Choice):
        taken = seen_from[: len(origin) + 1] == (*origin, "choice")
        for keys, option in _children(node):
            if not taken or seen_from[len(origin) : len(origin) + 2] == keys:
                yield from _standing(option, path, (*origin, *keys), seen_from)
    elif not path:
        yield origin, node
    elif isinstance(node, dict) and path[0] in node:
        yield from _standing(node[path[0]], path[1:], (*origin, path[0]), seen_from)
    else:
        yield origin, _NOTHING

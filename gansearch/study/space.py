"""The search space: a tree of plain values in which any leaf may be an axis.

    lr: {log: [1e-5, 1e-2]}        a float, uniform in its logarithm
    beta1: {uniform: [0, 1]}       a float
    depth: {int: [1, 4]}           an integer, both ends included
    norm: {choice: [batch, none]}  one of the options
    lr: {same: optimizer.generator.lr}  no axis: the value that stands at that path
    lr: {ratio: {of: optimizer.generator.lr, log: [0.25, 4]}}  that value times a float
    lr: {log: [1e-5, 1e-2], default: 2e-4}  any axis: where its good values are believed to lie

An option of a choice may be a mapping that holds axes of its own: they exist only where that option
is chosen. An axis is named by its path, with the label of each option on the way:
`loss.wasserstein.penalty.weight`.
"""

from __future__ import annotations

import difflib
import itertools
import json
import math
import numbers
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from gansearch.study.document import Path_, dotted

Label = str | int | float | bool | None
"""What stands for an option of a choice: the option itself if it is a scalar, else its name, else its
place, `#0`."""


UNSAID: Any = ...
"""In the place of a default where an axis has none: None may be one."""


@dataclass(frozen=True)
class Float:
    """A real number in [low, high], uniform itself or (`log`) in its logarithm."""

    low: float
    high: float
    log: bool = False
    default: Any = UNSAID

    def ends(self) -> tuple[Any, ...]:
        """The values that decide whether the whole axis is valid."""
        return (self.low, self.high)

    def __str__(self) -> str:
        return f"{'log' if self.log else 'uniform'} [{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Int:
    """An integer from low to high, both included."""

    low: int
    high: int
    default: Any = UNSAID

    def ends(self) -> tuple[Any, ...]:
        """The values that decide whether the whole axis is valid."""
        return (self.low, self.high)

    def __str__(self) -> str:
        return f"int [{self.low}, {self.high}]"


@dataclass(frozen=True)
class Choice:
    """One of several trees, each under its label; so is its default."""

    options: dict[Label, Any]
    default: Any = UNSAID

    def ends(self) -> tuple[Any, ...]:
        """The labels: each option is valid or not for itself."""
        return tuple(self.options)

    def __str__(self) -> str:
        return f"choice [{', '.join(str(label) for label in self.options)}]"


@dataclass(frozen=True)
class Same:
    """No axis: the value that stands at another path of the same point.

    Papers search one learning rate for both networks, and a search of two would be another question.

    Attributes:
        of: the path in a resolved configuration, `optimizer.generator.lr`.
    """

    of: str

    @property
    def path(self) -> Path_:
        """The keys of `of`."""
        return tuple(self.of.split("."))

    def __str__(self) -> str:
        return f"same as {self.of}"


@dataclass(frozen=True)
class Ratio:
    """The value that stands at another path of the same point, times that of an axis.

    Two learning rates are searched better as one and their ratio (two time-scale update rule; Heusel et
    al. 2017, arXiv 1706.08500): most good points lie near the diagonal.

    Attributes:
        of: as of `Same`.
        axis: of the factor; its name ends in `ratio`.
    """

    of: str
    axis: Float

    @property
    def path(self) -> Path_:
        """The keys of `of`."""
        return tuple(self.of.split("."))

    def __str__(self) -> str:
        return f"{self.of} times {self.axis}"


@dataclass(frozen=True)
class Multiple:
    """A value to be: so many times the one at another path."""

    path: Path_
    factor: float


RATIO = "ratio"

Axis = Float | Int | Choice


def has_default(axis: Axis) -> bool:
    """Whether the study file says where the good values of an axis are believed to lie."""
    return axis.default is not UNSAID


Suggest = Callable[[str, Axis], Any]
"""Takes the name of an axis and the axis, gives a value of it (of a choice: a label)."""


@dataclass(frozen=True)
class Space:
    """A parsed tree: plain values with `Axis` and `Same` objects among them."""

    tree: dict[str, Any]

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

    def point(self, suggest: Suggest) -> dict[str, Any]:
        """The values of the axes that exist at a point, by name, in the order of the file."""
        values: dict[str, Any] = {}

        def noted(name: str, axis: Axis) -> Any:
            values[name] = suggest(name, axis)
            return values[name]

        self.resolve(noted)
        return values

    def axes(self) -> dict[str, Axis]:
        """Every axis by name, also those that exist only under some option."""
        return {
            name: axis.axis if isinstance(axis, Ratio) else axis
            for name, axis in _named(self.tree, ())
            if not isinstance(axis, Same)
        }

    def describe(self) -> list[tuple[str, str]]:
        """Every axis and tie as (name, range in words), for people."""
        return [(name, f"{axis}{_default_of(axis)}") for name, axis in _named(self.tree, ())]

    def ties(self) -> dict[Path_, list[Path_]]:
        """Where each tied value stands in the study file, and where that may stand which it follows:
        in several places if choices lie on the way.
        """
        return {
            place: [origin for origin, _ in _standing(self.tree, tie.path, (), place)]
            for place, tie in _ties(self.tree, ())
        }

    def plain_ties(self) -> dict[Path_, Path_]:
        """Each tied value that is there whatever is chosen, and what it follows: paths in a
        configuration.
        """
        return {
            place: tie.path
            for place, tie in _ties(self.tree, ())
            if "choice" not in place and isinstance(tie, Same)
        }

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
        choices = {n: axis for n, axis in self.axes().items() if isinstance(axis, Choice)}
        pairs = [(name, label) for name, axis in choices.items() for label in axis.options]
        return [steering(name, label) for name, label in pairs] or [first_end]

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


def on_axis(name: str, axis: Axis, value: Any) -> Any:
    """A value of an axis as plain Python has it; raises `ValueError` if it does not lie there."""
    if isinstance(axis, Choice):
        for label in axis.options:
            if label == value and isinstance(label, bool) == isinstance(value, bool):
                return label
    elif not isinstance(value, bool) and isinstance(value, numbers.Real):
        number = float(value)
        if axis.low <= number <= axis.high and isinstance(axis, Float):
            return number
        if axis.low <= number <= axis.high and number.is_integer():
            return int(number)
    raise ValueError(f"{name}: {value!r} is not in {axis}")


def first_end(_: str, axis: Axis) -> Any:
    """The simplest `Suggest`: the first end of every axis."""
    return axis.ends()[0]


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


def _default_of(axis: Axis | Same | Ratio) -> str:
    if isinstance(axis, Ratio):
        return _default_of(axis.axis)
    if isinstance(axis, Same) or not has_default(axis):
        return ""
    return f", default {axis.default:g}" if isinstance(axis, Float) else f", default {axis.default}"


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
        if isinstance(whole, Same | Multiple):
            return None
        if isinstance(node, Same):
            return whole
        number = isinstance(whole, int | float) and not isinstance(whole, bool)
        return node.factor * whole if number else None
    return _each(node, lambda child: _tie(child, whole))


def _each(node: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of a mapping or a list with its children changed; anything else as it is."""
    if isinstance(node, dict):
        return {key: change(child) for key, child in node.items()}
    return [change(child) for child in node] if isinstance(node, list) else node


def _named(node: Any, name: Path_) -> Iterator[tuple[str, Axis | Same | Ratio]]:
    if isinstance(node, Ratio):
        yield axis_name((*name, RATIO)), node
    if isinstance(node, Float | Int | Choice | Same):
        yield axis_name(name), node
    if isinstance(node, Choice):
        for label, option in node.options.items():
            yield from _named(option, (*name, str(label)))
    for key, child in [] if isinstance(node, Choice) else _children(node):
        yield from _named(child, (*name, *key))


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


def plain(node: Any) -> Any:  # noqa: PLR0911
    """The inverse of `parse_space`: axes back in the notation of the study file."""
    if isinstance(node, Float | Int | Choice) and has_default(node):
        return {**plain(replace(node, default=UNSAID)), "default": node.default}
    if isinstance(node, Float):
        return {"log" if node.log else "uniform": [node.low, node.high]}
    if isinstance(node, Int):
        return {"int": [node.low, node.high]}
    if isinstance(node, Choice):
        return {"choice": [plain(option) for option in node.options.values()]}
    if isinstance(node, Same):
        return {"same": node.of}
    if isinstance(node, Ratio):
        return {RATIO: {"of": node.of, **plain(node.axis)}}
    return _each(node, plain)


def parse_space(tree: Any) -> tuple[Any, list[tuple[Path_, str]]]:
    """Turn axis notation into `Axis` objects.

    Returns:
        The parsed tree, and what is wrong as (path, message); a faulty axis is left out of the tree
        as its first end, and a faulty tie has the value None, so that the rest can still be checked.
    """
    problems: list[tuple[Path_, str]] = []
    parsed = _parse(tree, (), problems)
    problems += faulty_ties(parsed)
    return parsed, problems


def faulty_ties(tree: Any) -> list[tuple[Path_, str]]:
    """The ties of a parsed tree that follow nothing at some point, each with its place and why."""
    known = {dotted(leaf) for leaf in _leaves(tree, ())}
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


def _leaves(node: Any, path: Path_) -> Iterator[Path_]:
    """The paths, in configurations, of all single values that a tie may follow."""
    if not isinstance(node, dict | list | Choice | Same | Ratio):
        yield path
    for key, child in _children(node):
        yield from _leaves(child, path if isinstance(node, Choice) else (*path, *key))


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


def _parse(node: Any, path: Path_, problems: list[tuple[Path_, str]]) -> Any:
    if isinstance(node, list):
        return [_parse(child, (*path, i), problems) for i, child in enumerate(node)]
    if not isinstance(node, dict):
        return node
    kinds = [key for key in node if key != "default"]
    if len(kinds) == 1 and (kind := kinds[0]) in _PARSERS:
        axis = _PARSERS[kind](node[kind], (*path, kind), problems)
        return _with_default(axis, node["default"], path, problems) if "default" in node else axis
    return {key: _parse(child, (*path, key), problems) for key, child in node.items()}


def _with_default(axis: Any, default: Any, path: Path_, problems: list[tuple[Path_, str]]) -> Any:
    """A parsed axis with its default; a faulty one is told, and left out."""
    if isinstance(axis, Same):
        problems.append(((*path, "default"), f"follows {axis.of}: give that one a default"))
    elif isinstance(axis, Ratio):
        problems.append(((*path, "default"), "belongs to the factor: say it within `ratio`"))
    elif isinstance(axis, Float | Int | Choice):  # else the axis is faulty itself
        try:
            return replace(axis, default=on_axis("default", axis, default))
        except ValueError:
            problems.append(((*path, "default"), f"{_shown(default)} is not in {axis}"))
    return axis


def _parse_float(log: bool) -> Callable[[Any, Path_, list[tuple[Path_, str]]], Any]:
    def parse(ends: Any, path: Path_, problems: list[tuple[Path_, str]]) -> Any:
        if not _is_range(ends, (int, float)):
            problems.append((path, f"needs two numbers, [low, high], not {ends!r}"))
            return None
        low, high = float(ends[0]), float(ends[1])
        if not low < high:
            problems.append((path, _empty(low, high)))
            return high
        if log and low <= 0:
            problems.append((path, f"a log range must lie above 0, and {low:g} does not"))
            return high
        return Float(low, high, log)

    return parse


def _parse_int(ends: Any, path: Path_, problems: list[tuple[Path_, str]]) -> Any:
    if not _is_range(ends, (int,)):
        problems.append((path, f"needs two integers, [low, high], not {ends!r}"))
        return None
    if not ends[0] < ends[1]:
        problems.append((path, _empty(*ends)))
        return ends[0]
    return Int(ends[0], ends[1])


def _empty(low: float, high: float) -> str:
    if low == high:
        return f"the range [{low:g}, {high:g}] is one value: write {low:g} in place of the axis"
    return f"the range [{low:g}, {high:g}] is empty: low must be below high"


def _parse_same(of: Any, path: Path_, problems: list[tuple[Path_, str]]) -> Any:
    if not isinstance(of, str) or not all(of.split(".")):
        problems.append((path, f"needs the path of a value, like optimizer.generator.lr, not {of!r}"))
        return None
    return Same(of)


def _parse_ratio(given: Any, path: Path_, problems: list[tuple[Path_, str]]) -> Any:
    example = "{of: optimizer.generator.lr, log: [0.25, 4]}"
    if not isinstance(given, dict) or "of" not in given or len(given) < 2:
        problems.append((path, f"needs a mapping like {example}, not {_shown(given)}"))
        return None
    rest = {key: value for key, value in given.items() if key != "of"}
    axis, followed = _parse(rest, path, problems), _parse_same(given["of"], (*path, "of"), problems)
    if not isinstance(axis, Float):
        if not any(where[: len(path)] == path for where, _ in problems):
            problems.append((path, f"needs the range of a factor beside `of`, like {example}"))
        return None
    return None if followed is None else Ratio(followed.of, axis)


def _parse_choice(options: Any, path: Path_, problems: list[tuple[Path_, str]]) -> Any:
    if not isinstance(options, list) or not options:
        problems.append((path, f"needs a list of options, not {options!r}"))
        return None
    parsed = [_parse(option, (*path, i), problems) for i, option in enumerate(options)]
    for i, option in enumerate(parsed):
        if option in parsed[:i]:
            problems.append(((*path, i), f"the option {_shown(options[i])} is there twice"))
            return parsed[0]
    labels = [_label(option, i) for i, option in enumerate(parsed)]
    # Two of one name are told apart by their place. That a name alone and a mapping of that name count
    # as alike keeps the labels the same when the study is read back with its defaults written out.
    counts = Counter(map(str, labels))
    labels = [f"{label}#{i}" if counts[str(label)] > 1 else label for i, label in enumerate(labels)]
    return Choice(dict(zip(labels, parsed, strict=True)))


def _label(option: Any, index: int) -> Label:
    label = option.get("name") if isinstance(option, dict) else option
    plainly = label is None and option is None
    return label if isinstance(label, str | int | float | bool) or plainly else f"#{index}"


def _shown(option: Any) -> str:
    return json.dumps(option, default=str)


def _is_range(ends: Any, types: tuple[type[int] | type[float], ...]) -> bool:
    return (
        isinstance(ends, list)
        and len(ends) == 2
        and all(isinstance(e, types) and not isinstance(e, bool) and math.isfinite(e) for e in ends)
    )


_PARSERS: dict[str, Callable[[Any, Path_, list[tuple[Path_, str]]], Any]] = {
    "log": _parse_float(log=True),
    "uniform": _parse_float(log=False),
    "int": _parse_int,
    "choice": _parse_choice,
    "same": _parse_same,
    RATIO: _parse_ratio,
}

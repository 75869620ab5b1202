"""Where a configuration or a point lies in a search space, or why it lies nowhere in it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gansearch.study.axes import RATIO, Axis, Choice, Float, Int, Ratio, Same, on_axis
from gansearch.study.document import Path_, dotted
from gansearch.study.sections import says_none
from gansearch.study.space import Space, Unsaid, axis_name

Point = dict[str, Any]
"""Values by the name of their axis: of a choice the label, of the other axes a number. It holds the
axes that exist at this point, in the order of the study file."""


class NotInSpace(ValueError):
    """A point that a search space does not have."""


def placed(point: Mapping[str, Any], space: Space) -> Point:
    """A point with plain values of the axes that exist there, and no others.

    Raises:
        NotInSpace: values are missing, or not on their axes: all of them that can be told.
    """
    amiss: list[str] = []
    unknown: list[str] = []  # choices whose option nobody knows, nor what exists under it

    def take(name: str, axis: Axis) -> Any:
        if any(name.startswith(f"{choice}.") for choice in unknown):
            return axis.ends()[0]
        try:
            if name not in point:
                raise ValueError(f"{name} is missing")
            return on_axis(name, axis, point[name])
        except ValueError as error:
            amiss.append(str(error))
            unknown.extend([name] if isinstance(axis, Choice) else [])
            return axis.ends()[0]

    found = space.point(take)
    if amiss:
        raise NotInSpace("; ".join(amiss))
    return found


def locate(
    config: Mapping[str, Any], space: Space, *, loosely: bool = False
) -> tuple[Point, list[str]]:
    """The point of a space at which a configuration lies: the inverse of `Space.resolve`.

    Args:
        config: its sections as plain values, every default filled in.
        space: with every default filled in too; only the sections that it shares with `config` count.
        loosely: only the axes' values and the names of parts count; what is fixed may differ.

    Returns:
        The point, and in words what of the configuration the space does not have. The point is to be
        used only where that is nothing.
    """
    tree = {key: node for key, node in space.tree.items() if key in config}
    values: Point = {}
    match = _Match(config, loosely, space.unsaid)
    amiss = list(match.node(tree, {key: config[key] for key in tree}, (), (), values))
    if amiss:
        return {}, amiss
    return placed(values, space), []


@dataclass(frozen=True)
class _Match:
    """A configuration held against a space: what of a value a node does not have, in words.

    Attributes:
        whole: the configuration.
        loosely: as for `locate`.
        unsaid: of the space.
    """

    whole: Mapping[str, Any]
    loosely: bool
    unsaid: Unsaid

    def node(self, node: Any, value: Any, here: Path_, name: Path_, values: Point) -> Iterator[str]:
        """Yield what the node does not have; the values of the axes go into `values`."""
        if isinstance(node, Choice):
            yield from self.choice(node, value, here, name, values)
        elif isinstance(node, Float | Int):
            try:
                values[axis_name(name)] = on_axis(axis_name(name), node, value)
            except ValueError:
                yield f"{dotted(here)} is {_shown(value)}, which is not in {node}"
        elif isinstance(node, dict) and isinstance(value, Mapping):
            yield from self.mapping(node, value, here, name, values)
        elif isinstance(node, Same):
            if value != (followed := _at(self.whole, node.path)):
                told = f"{node.of}, which it follows here, {followed}"
                yield f"{dotted(here)} is {_shown(value)}, and {told}"
        elif isinstance(node, Ratio):
            yield from self.ratio(node, value, here, name, values)
        elif isinstance(node, list) and isinstance(value, list) and len(node) == len(value):
            for i, (child, own) in enumerate(zip(node, value, strict=True)):
                yield from self.node(child, own, (*here, i), (*name, i), values)
        elif self.loosely and not isinstance(node, dict) and not isinstance(value, Mapping):
            return
        elif not _equal(node, value):
            yield f"{dotted(here)} is {_named(value)}, and {_named(node)} in this study"

    def mapping(
        self,
        node: Mapping[str, Any],
        value: Mapping[str, Any],
        here: Path_,
        name: Path_,
        values: Point,
    ) -> Iterator[str]:
        """The same of a mapping, which may be a part: parts of two names are not told apart further."""
        if isinstance(node.get("name"), str) and node["name"] != value.get("name"):
            yield f"{dotted(here)} is {_named(value)}, and {_named(node)} in this study"
            return
        unsaid = self.unsaid.get((here, str(node.get("name"))), {})
        for key in (key for key in value if key not in node and not self.loosely):
            if key not in unsaid or not _equal(unsaid[key], value[key]):
                yield f"{dotted((*here, key))} is not in this study"
        for key, child in node.items():
            own = value.get(key, unsaid.get(key))
            yield from self.node(child, own, (*here, key), (*name, key), values)

    def ratio(self, node: Ratio, value: Any, here: Path_, name: Path_, values: Point) -> Iterator[str]:
        """The same of a value that is so many times another."""
        axis = axis_name((*name, RATIO))
        try:
            factor = value / _at(self.whole, node.path)
            ends = (end for end in node.axis.ends() if math.isclose(end, factor, rel_tol=1e-12))
            values[axis] = on_axis(axis, node.axis, next(ends, factor))
        except (ValueError, TypeError, ZeroDivisionError):
            yield f"{dotted(here)} is {_shown(value)}, which is not {node}"

    def choice(
        self, axis: Choice, value: Any, here: Path_, name: Path_, values: Point
    ) -> Iterator[str]:
        """Take the first option that has the value; else let the one of its name say why it has not."""
        nearest: list[str] = []
        for label, option in axis.options.items():
            inside: Point = {}
            amiss = list(self.node(option, value, here, (*name, str(label)), inside))
            plainly = not isinstance(option, dict | list | Choice | Float | Int | Same | Ratio)
            if not amiss and (not plainly or _equal(option, value)):
                values[axis_name(name)] = label
                values.update(inside)
                return
            if _named(option) == _named(value) and (not nearest or len(amiss) < len(nearest)):
                nearest = amiss
        yield from nearest or [f"{dotted(here)} is {_named(value)}, which is not in {axis}"]


def _equal(node: Any, value: Any) -> bool:
    """Whether plain values are the same; `none` is how a study file says that there is no such part."""
    if value is None and says_none(node):
        return True
    return bool(node == value) and isinstance(node, bool) == isinstance(value, bool)


def _named(value: Any) -> str:
    """A part by its name, anything else as it is written."""
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return str(value["name"])
    return value if isinstance(value, str) else _shown(value)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:59] + "…"


def _at(tree: Any, path: Path_) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree

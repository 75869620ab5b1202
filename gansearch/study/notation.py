"""How a study file writes a search space: any leaf of its tree may be an axis.

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

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gansearch.study.axes import (
    RATIO,
    UNSAID,
    Choice,
    Float,
    Int,
    Label,
    Ratio,
    Same,
    as_float,
    each_child,
    has_default,
    in_full,
    on_axis,
)
from gansearch.study.document import Path_
from gansearch.study.space import faulty_ties


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
    return each_child(node, plain)


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
            problems.append((path, f"a log range must lie above 0, and {in_full(low)} does not"))
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
    ends = f"the range [{in_full(low)}, {in_full(high)}]"
    if low == high:
        return f"{ends} is one value: write {in_full(low)} in place of the axis"
    return f"{ends} is empty: low must be below high"


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
        and all(
            isinstance(e, types) and not isinstance(e, bool) and math.isfinite(as_float(e))
            for e in ends
        )
    )


_PARSERS: dict[str, Callable[[Any, Path_, list[tuple[Path_, str]]], Any]] = {
    "log": _parse_float(log=True),
    "uniform": _parse_float(log=False),
    "int": _parse_int,
    "choice": _parse_choice,
    "same": _parse_same,
    RATIO: _parse_ratio,
}

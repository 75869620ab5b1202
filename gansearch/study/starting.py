"""What a search tries first: the default, given configurations, the best of earlier studies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gansearch.errors import UserError, nearest
from gansearch.study.config import AXES_ALLOWED, TrialConfig
from gansearch.study.document import dotted
from gansearch.study.location import NotInSpace, Point, locate, placed
from gansearch.study.mistakes import Mistakes
from gansearch.study.plan import DEFAULT, Start
from gansearch.study.space import Space

Given = list[tuple[str, Mapping[str, Any]]]
"""Configurations as plain values, each with what it is called."""

Find = Callable[[Start], Given]
"""Reads what a start names; raises `UserError`. It is given from above (`gansearch.search.start`),
because this floor knows no studies."""

MEND = "give the axis a `default` that can be, or say `start: []` under `search`"
"""Of a default that cannot be tried first: an axis without one takes the default of its part."""

Check = Callable[[Mapping[str, Any]], tuple[TrialConfig, Mistakes]]


def find_nothing(start: Start) -> Given:
    """For whoever has no place in which files and studies lie."""
    raise UserError(f"{start.label}: there is no place in which to look for it")


@dataclass(frozen=True)
class StartPoint:
    """A point of the space that is tried before the sampler is asked.

    Attributes:
        name: what it is: `default`, `best/config.yaml`, `last-week trial 17`.
        point: where it lies.
    """

    name: str
    point: Point


@dataclass(frozen=True)
class Beginning:
    """A search's start points, and what is to be said of them.

    Attributes:
        points: in the order in which they are tried, each once.
        notes: what a user is to know who did not ask.
        mistakes: what cannot be tried, at its place in the study file.
    """

    points: tuple[StartPoint, ...] = ()
    notes: tuple[str, ...] = ()
    mistakes: tuple[tuple[tuple[str | int, ...], str], ...] = ()


def in_order(start: Sequence[Start] | None) -> list[tuple[int | None, Start]]:
    """What is to be tried, the default first, each with its place in the study file, if it has one."""
    if start is None:
        return [(None, Start(config=DEFAULT))]
    indexed = list(enumerate(start))
    first = [item for item in indexed if item[1].config == DEFAULT][:1]
    implied: list[tuple[int | None, Start]] = [(None, Start(config=DEFAULT))] if start else []
    return [*(first or implied), *(item for item in indexed if item[1].config != DEFAULT)]


def find_all(start: Sequence[Start] | None, find: Find) -> tuple[dict[int, Given], Mistakes]:
    """What the files and studies hold that are named, by place, and what could not be read."""
    given: dict[int, Given] = {}
    mistakes: Mistakes = []
    for index, each in enumerate(start or ()):
        if each.point is None and each.config != DEFAULT:
            try:
                given[index] = find(each)
            except UserError as error:
                mistakes.append((("search", "start", index), str(error)))
    return given, mistakes


def begin(
    start: Sequence[Start] | None,
    given: Mapping[int, Given],
    space: Space,
    default: TrialConfig | None,
    unbuildable: Mistakes,
    check: Check,
) -> Beginning:
    """Place each start in the search space.

    Args:
        start: as the study file has it.
        given: what `find_all` found.
        space: with every default filled in.
        default: the study's default configuration, if there is one.
        unbuildable: why there is none.
        check: completes and checks a configuration.
    """
    points: dict[str, StartPoint] = {}
    notes: list[str] = []
    mistakes: list[tuple[tuple[str | int, ...], str]] = []
    for index, each in in_order(start):
        if each.config == DEFAULT:
            point, amiss = _of_default(default, space, unbuildable)
            if amiss and index is None:
                notes.append(f"the search does not begin with the default: {'; '.join(amiss)} ({MEND})")
                continue
            tried = [(DEFAULT, point, amiss)]
        elif each.point is not None:
            tried = [(each.label, *_of_point(each.point, space))]
        else:
            here = given.get(index, []) if index is not None else []
            tried = [(name, *_of_config(config, space, default, check)) for name, config in here]
        for name, point, amiss in tried:
            mistakes += [(("search", "start", index or 0), f"{name}: {words}") for words in amiss]
            same = next((known for known, other in points.items() if point == other.point), None)
            if same is not None and not amiss:
                notes.append(f"not tried twice: {name} is the same as {same}")
            if same is not None or amiss:
                continue
            if name in points:
                words = f"two start points are called '{name}': rename one of them"
                mistakes.append((("search", "start", index or 0), words))
            points[name] = StartPoint(name, point)
    return Beginning(tuple(points.values()), tuple(notes), tuple(mistakes))


def _of_default(
    default: TrialConfig | None, space: Space, unbuildable: Mistakes
) -> tuple[Point, list[str]]:
    if default is None:
        return {}, [f"{dotted(path)}: {words}" for path, words in unbuildable]
    return locate(default.plain(), space)


def _of_point(point: Mapping[str, Any], space: Space) -> tuple[Point, list[str]]:
    axes = space.axes()
    if unknown := [name for name in point if name not in axes]:
        return {}, [f"{name} is no axis of this study{nearest(name, axes)}" for name in unknown]
    try:
        return placed(point, space), []
    except NotInSpace as error:
        return {}, [str(error)]


def _of_config(
    given: Mapping[str, Any], space: Space, default: TrialConfig | None, check: Check
) -> tuple[Point, list[str]]:
    """Where a configuration's own sections lie, those that it lacks being the default's.

    What all trials of a study share (data, budget, objective, ...) is this study's, whatever the
    configuration was trained with.
    """
    keys = TrialConfig.model_fields
    if unknown := [key for key in given if key not in keys]:
        return {}, [f"{key} is not a configuration's{nearest(key, keys)}" for key in unknown]
    sections = {key: value for key, value in given.items() if key in AXES_ALLOWED}
    base = default.plain() if default is not None else {}
    shared = {key: node for key, node in space.tree.items() if key not in AXES_ALLOWED}
    config, mistakes = check({**base, **shared, **sections})
    if own := [f"{dotted(path)}: {words}" for path, words in mistakes if path[0] in sections]:
        return {}, own
    return locate({key: config.plain()[key] for key in AXES_ALLOWED}, space)

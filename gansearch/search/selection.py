"""Which configurations a stability study trains again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gansearch.errors import InvalidInput, Problem, UserError, nearest
from gansearch.study.axes import Float, Int, as_written
from gansearch.study.config import AXES_ALLOWED, TrialConfig, flatten, loss_family
from gansearch.study.document import dotted
from gansearch.study.plan import DEFAULT, Stability
from gansearch.study.records import Goal, TrialRecord, ranked
from gansearch.study.roster import Candidate, Roster
from gansearch.study.spec import Complete, StudySpec, check_config

Record = dict[str, Any]


@dataclass(frozen=True)
class Around:
    """How a configuration's neighbours are made.

    Attributes:
        factor: in (0, 1): each number is multiplied by 1 - factor, 1 - factor/2, 1 + factor/2 and
            1 + factor, the others staying as they are.
        of: the label of the configuration in the middle, or a trial's number; "": the best.
        axes: dotted paths of the numbers to change; empty: the search's numeric axes, or without a
            search the learning rates and the numbers of the loss.
    """

    factor: float
    of: str = ""
    axes: tuple[str, ...] = ()

    def levels(self) -> list[float]:
        """What a number is multiplied by, in turn."""
        return [1 + share * self.factor for share in (-1, -0.5, 0.5, 1)]


def select(
    spec: StudySpec, records: Sequence[TrialRecord], wanted: Stability, metric: str, goal: Goal
) -> list[Candidate]:
    """The search's best, the default and the given ones, as a plan asks for them.

    Args:
        spec: the study.
        records: its search's trials.
        wanted: what to choose; given configurations are those of the study file.
        metric, goal: the objective.
    """
    chosen = [of_trial(record) for record in _best(records, wanted, metric, goal)]
    if wanted.default and spec.default is not None:
        chosen.append(Candidate("default", "default", _seedless(spec.default)))
    labels = wanted.configurations
    return chosen + [given_candidate(label, spec.configuration(label)) for label in labels]


def given_candidate(label: str, config: TrialConfig) -> Candidate:
    """A configuration that the user names."""
    return Candidate(label, "given", _seedless(config))


def of_trial(record: TrialRecord) -> Candidate:
    """A search's trial, to be trained again."""
    config = {key: value for key, value in record.config.items() if key != "seed"}
    if record.origin == DEFAULT:
        return Candidate(DEFAULT, "default", config, trial=record.number, params=record.params)
    return Candidate(record.label, "search", config, trial=record.number, params=record.params)


def _best(
    records: Sequence[TrialRecord], wanted: Stability, metric: str, goal: Goal
) -> Iterator[TrialRecord]:
    """The best trials that have a value, of all or of each loss; a configuration found twice counts
    once."""
    taken: Counter[str] = Counter()
    seen: set[str] = set()
    for record in ranked(list(records), metric, goal):
        group = loss_family(record.config) if wanted.per == "loss" else ""
        valued = record.best(metric, goal) is not None
        if not valued or taken[group] >= wanted.top or of_trial(record).digest in seen:
            continue
        taken[group] += 1
        seen.add(of_trial(record).digest)
        yield record


def find_centre(around: Around, roster: Roster, records: Sequence[TrialRecord], best: str) -> Candidate:
    """The configuration whose neighbours are asked for; raises `UserError` if there is none such.

    Args:
        around: what was asked.
        roster: whom the study has trained again so far.
        records: the search's trials.
        best: the label, or the trial's number, that stands for "the best".
    """
    asked = around.of or best
    labels = [candidate.label for candidate in roster.candidates]
    if asked in labels:
        return roster[asked]
    numbers = {str(record.number): record for record in records}
    searched = {of_trial(record).label: record for record in records}
    if record := searched.get(asked) or numbers.get(asked.removeprefix("trial ")):
        return of_trial(record)
    if not asked:
        raise UserError("there is no configuration yet that has a value: say one by --of")
    raise UserError(f"--of {asked}: no trial and no configuration{nearest(asked, labels)}")


def neighbours(
    spec: StudySpec, centre: Candidate, around: Around, complete: Complete
) -> tuple[list[Candidate], list[str]]:
    """A configuration with one number changed at a time.

    Args:
        spec: the study.
        centre: the configuration in the middle.
        around: what to change, and how far.
        complete: tells whether a configuration can be built.

    Returns:
        The neighbours, and in words those that cannot be built.

    Raises:
        UserError: an axis that is no number of this configuration, or none to change.
    """
    found: list[Candidate] = []
    left_out: list[str] = []
    seen = {centre.digest}
    for axis, put in _numbers(spec, centre, around.axes).items():
        before = len(found) + len(left_out)
        for factor in around.levels():
            label = f"{centre.label}: {axis} x {factor:g}"
            config, mistakes = check_config(put(factor), complete)
            if mistakes:
                path, message = mistakes[0]
                left_out.append(f"{label}: {dotted(path)} {message}")
                continue
            neighbour = Candidate(
                label, "around", _seedless(config), of=centre.label, axis=axis, factor=factor
            )
            if neighbour.digest not in seen:  # 2 x 1.25 is 2 where numbers are whole
                seen.add(neighbour.digest)
                found.append(neighbour)
        if len(found) + len(left_out) == before:
            left_out.append(f"{centre.label}: {axis}: no factor changes it")
    return found, left_out


Put = Callable[[float], Record]
"""Takes a factor, gives the configuration with one of its numbers multiplied by it."""


def _numbers(spec: StudySpec, centre: Candidate, wanted: Sequence[str]) -> dict[str, Put]:
    """What can be changed in a configuration, by dotted path."""
    flat = flatten({key: centre.config[key] for key in AXES_ALLOWED if key in centre.config})
    numeric = {k for k, v in flat.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    if unknown := [axis for axis in wanted if axis not in numeric]:
        hint = nearest(unknown[0], numeric)
        raise UserError(f"--axes {unknown[0]}: is no number of '{centre.label}'{hint}")
    by_axis = _search_axes(spec, centre)
    usual = [k for k in flat if k in numeric and (k.endswith(".lr") or k.startswith("loss."))]
    chosen = list(wanted) or list(by_axis) or usual
    if not chosen:
        raise UserError(f"'{centre.label}' has no number to change: say which by --axes")
    return {path: by_axis.get(path) or _put_at(centre.config, path, flat[path]) for path in chosen}


def _search_axes(spec: StudySpec, centre: Candidate) -> dict[str, Put]:
    """The numeric axes of the search at a trial's point; through the space, because one axis may
    stand behind several numbers.
    """
    point = centre.params or {}
    axes = {name: axis for name, axis in spec.space.axes().items() if isinstance(axis, Float | Int)}
    found: dict[str, Put] = {}
    for name in axes.keys() & point.keys():

        def put(factor: float, name: str = name) -> Record:
            moved = point | {name: _times(point[name], factor)}
            tree, _ = spec.space.resolve(lambda axis, _: moved[axis])
            return tree

        before, after = flatten(put(1.0)), flatten(put(2.0))
        path = next((key for key in before if before[key] != after[key]), None)
        if path is not None:
            found[path] = put
    return dict(sorted(found.items()))


def _put_at(config: Record, path: str, value: float) -> Put:
    def put(factor: float) -> Record:
        return _replaced(config, path.split("."), _times(value, factor))

    return put


def _replaced(node: Mapping[str, Any], path: Sequence[str], value: Any) -> Record:
    key, *rest = path
    return {**node, key: _replaced(node[key], rest, value) if rest else value}


def _times(value: float, factor: float) -> float:
    return round(value * factor) if isinstance(value, int) else value * factor


def _seedless(config: TrialConfig) -> Record:
    return {key: value for key, value in config.plain().items() if key != "seed"}


def check_comparable(configs: Mapping[str, TrialConfig], with_: TrialConfig, whose: str) -> None:
    """Raise `InvalidInput` where what must be the same for all is not: data, budget, how it is
    measured and when it counts as a failure.

    Args:
        configs: by label.
        with_: what they are to be like.
        whose: whose that is, for the message.
    """
    expected = flatten(shared_sections(with_))
    problems = []
    for label, config in configs.items():
        own = flatten(shared_sections(config))
        for key in dict.fromkeys([*expected, *own]):
            name = f"{key.rpartition('.')[0]}.name"
            if key != name and own.get(name) != expected.get(name):
                continue  # it is an option of another part, which is told
            if own.get(key) != expected.get(key):
                mine, theirs = as_written(own.get(key)), as_written(expected.get(key))
                problems.append(Problem(f"{label}, {key}", f"is {mine}, and {whose} has {theirs}"))
    if problems:
        raise InvalidInput("the configurations cannot be compared", problems)


def shared_sections(config: TrialConfig) -> dict[str, Any]:
    """What all trials of a study have in common, as plain values."""
    return {k: v for k, v in config.plain().items() if k not in (*AXES_ALLOWED, "seed")}

"""Which of the user's own parts has raised an error, and where: a sentence in place of a traceback."""

from __future__ import annotations

import inspect
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

import gansearch
from gansearch.augmentation import AUGMENTATIONS
from gansearch.data import DATASETS
from gansearch.errors import RAISED, GansearchError, UnknownPart, UserError
from gansearch.losses import LOSSES, PENALTIES
from gansearch.metrics import METRICS
from gansearch.networks import DISCRIMINATORS, GENERATORS
from gansearch.study.config import TrialConfig
from gansearch.study.networks import Data, Discriminator, Generator, Loss, Optimizer, Penalty
from gansearch.study.registry import OWN, Registry, is_own
from gansearch.study.sections import Part
from gansearch.training.optimizers import OPTIMIZERS

PARTS: dict[tuple[str, ...], Registry[Any]] = {
    ("data",): DATASETS,
    ("generator",): GENERATORS,
    ("discriminator",): DISCRIMINATORS,
    ("discriminator", "augment"): AUGMENTATIONS,
    ("loss",): LOSSES,
    ("loss", "penalty"): PENALTIES,
    ("optimizer", "generator"): OPTIMIZERS,
    ("optimizer", "discriminator"): OPTIMIZERS,
}
"""Where a configuration names parts, besides its list of metrics."""

SECTIONS: dict[tuple[str, ...], type[Part]] = {
    ("data",): Data,
    ("generator",): Generator,
    ("discriminator",): Discriminator,
    ("loss",): Loss,
    ("loss", "penalty"): Penalty,
    ("optimizer", "generator"): Optimizer,
    ("optimizer", "discriminator"): Optimizer,
}
"""Sections that have keys of their own beside a part's options."""


def part_at(path: tuple[str, ...], tree: dict[str, Any]) -> Any:
    """What a configuration's tree names at a path of `PARTS`; None where it names nothing."""
    node: Any = tree
    for key in path:
        node = node and node.get(key)
    return node


def section_at(path: tuple[str, ...]) -> type[Part]:
    """The kind of section at a path of `PARTS`; its fields are not the part's own options."""
    return SECTIONS.get(path, Part)


class OwnPart(NamedTuple):
    """A part that is the user's: its kind ("loss"), its name and what is behind it."""

    kind: str
    name: str
    thing: Callable[..., Any]

    def __str__(self) -> str:
        return f"the {self.kind} '{self.name}'"


class Place(NamedTuple):
    """A line that was running."""

    frame: FrameType
    line: int

    @property
    def file(self) -> Path:
        """Its file."""
        return Path(self.frame.f_code.co_filename)


def own_parts(config: TrialConfig) -> list[OwnPart]:
    """The parts of a configuration that are written `module:Thing` and can be imported."""
    tree = config.model_dump()
    named = [(registry, part_at(path, tree)) for path, registry in PARTS.items()]
    measured = [config.evaluation.metrics, config.evaluation.last_metrics]
    named += [(METRICS, part.model_dump()) for parts in measured for part in parts]
    own = []
    for registry, part in named:
        if part and is_own(part["name"]):
            try:
                own.append(OwnPart(registry.kind, part["name"], registry.find(part["name"])))
            except UnknownPart:
                continue
    return own


def fault(error: BaseException, config: TrialConfig | None = None) -> str:
    """The sentence: what raised, the error, its innermost line in the user's code; "" where none is.

    Args:
        error: as it was caught, with its traceback.
        config: in which the parts are named; None: any that has been found may be it.
    """
    found = [OwnPart(kind, name, thing) for name, (kind, thing) in OWN.items()]
    parts = own_parts(config) if config else found
    own = [place for place in _places(error.__traceback__) if _is_own(place.file, parts)]
    if not own:
        return ""
    running = ([part for part in parts if _runs(part, place.frame)] for place in reversed(own))
    culprit = next((max(those, key=_depth) for those in running if those), None)
    if culprit is None:  # a helper of the part's file, or a base class
        files = {place.file for place in own}
        culprit = next((part for part in parts if _file(part.thing) in files), None)
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{culprit or 'your code'} raises {words} ({_describe(own[-1])})"


def whereabouts(error: BaseException) -> str:
    """` (FILE, line N, in FUNCTION)` where an error comes from code of the user's, else nothing."""
    own = [place for place in _places(error.__traceback__) if _is_own(place.file, [])]
    return f" ({_describe(own[-1])})" if own else ""


@contextmanager
def blaming(config: TrialConfig | None = None) -> Iterator[None]:
    """What the user's own parts raise while it is open becomes a `UserError` that names the part."""
    try:
        yield
    except GansearchError:
        raise
    except RAISED as error:
        words = fault(error, config)
        if not words:
            raise  # a bug of ours
        raise UserError(words) from error


def _places(trace: TracebackType | None) -> Iterator[Place]:
    """The lines of a traceback, the innermost last."""
    while trace is not None:
        yield Place(trace.tb_frame, trace.tb_lineno)
        trace = trace.tb_next


def _is_own(file: Path, parts: list[OwnPart]) -> bool:
    """Whether a file is the user's: that of a part, or one that is nobody's package."""
    if file in {_file(part.thing) for part in parts}:
        return True
    if not file.is_file() or {"site-packages", "dist-packages"} & set(file.parts):
        return False  # `<string>` and `<frozen importlib>` are no files
    ours = Path(gansearch.__file__).parent, Path(sysconfig.get_path("stdlib"))
    return not any(file.is_relative_to(folder) for folder in ours)


def _runs(part: OwnPart, frame: FrameType) -> bool:
    """Whether a frame is a method of a part's, or the part itself if it is a function."""
    if inspect.isclass(part.thing):
        return isinstance(frame.f_locals.get("self"), part.thing)
    code: CodeType | None = getattr(part.thing, "__code__", None)
    return frame.f_code is code


def _depth(part: OwnPart) -> int:
    """How many classes a part descends from: a method's own part is the deepest, not a base of it."""
    return len(inspect.getmro(part.thing)) if inspect.isclass(part.thing) else 0


def _file(thing: Any) -> Path | None:
    try:
        return Path(inspect.getfile(inspect.unwrap(thing)))
    except (TypeError, OSError):
        return None


def _describe(place: Place) -> str:
    return f"{place.file}, line {place.line}, in {place.frame.f_code.co_name}"

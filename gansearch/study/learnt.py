"""What a search knows of earlier studies before its first trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gansearch.study.location import Point

LEARNT = "learnt"
"""The fact of a study that holds it: a resumed search needs no earlier study."""


@dataclass(frozen=True)
class Lesson:
    """An earlier study's trial that has ended, as a point of this study's space.

    Attributes:
        number: there.
        point: where it would lie here.
        state: how it ended, in Optuna's words: COMPLETE, PRUNED or FAIL.
        step: of its last report.
        value: the objective at its best report; None where none was finite.
        violation: how early a health rule ended it, in (0, 2]; 0 where none did.
    """

    number: int
    point: Point
    state: str
    step: int
    value: float | None
    violation: float = 0.0


@dataclass(frozen=True)
class Learnt:
    """What is learnt from one study.

    Attributes:
        study: its name.
        lessons: by number.
        origin: the provenance of its objective.
        anyway: whether its numbers may have been made differently.
        words: how many of its trials are used, and why the others are not.
    """

    study: str
    lessons: tuple[Lesson, ...]
    origin: Mapping[str, Any] = field(default_factory=dict)
    anyway: bool = False
    words: str = ""

    def plain(self) -> dict[str, Any]:
        """What was learnt, as the journal holds it."""
        return asdict(self)

    @classmethod
    def of_plain(cls, tree: Mapping[str, Any]) -> Learnt:
        """The inverse of `plain`."""
        lessons = tuple(Lesson(**lesson) for lesson in tree["lessons"])
        return cls(**{**tree, "lessons": lessons})

"""Other policies, played against what a study has recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from gansearch.api.reading import StudyLike, find
from gansearch.arguments import checked
from gansearch.errors import UserError
from gansearch.tuning.where import StoredOptions, Where

if TYPE_CHECKING:
    from gansearch.search.replay import Replay

PartLike: TypeAlias = str | Mapping[str, Any]
"""A part as a study names it: by its name, or `{name: asha, second_chances: true}`."""

AS_RECORDED = "recorded"
"""In a sampler's place: the trials come in the order in which they were proposed."""


MOST_WORKERS, MOST_REPEATS = 10_000, 100_000
"""A worker more is one more that is simulated, and a play more one more that is played."""


@checked
def replay(
    name: StudyLike | None = None,
    *,
    samplers: Sequence[PartLike] = (AS_RECORDED,),
    pruners: Sequence[PartLike] = (),
    workers: int = 2,
    repeats: int = 20,
    note: Callable[[str], None] = lambda _: None,
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> Replay:
    """Play policies against a study's search, on a simulated clock: no training, no Ray.

    Args:
        name: the study; None: the newest.
        samplers: who proposes; "recorded" takes the trials as they came.
        pruners: who stops or pauses trials; none: the study's own, and `none`.
        workers: trials at once.
        repeats: plays of each sampler with each pruner, on search seeds 0, 1, ...
        note: called with each policy's label before it is played.
        where, options: as for `run`.

    Raises:
        UserError: there is no such study or part, or nothing that could be replayed.
    """
    for option, number, most in (
        ("workers", workers, MOST_WORKERS),
        ("repeats", repeats, MOST_REPEATS),
    ):
        if not 1 <= number <= most:
            raise UserError(f"--{option} {number}: must lie between 1 and {most:,}")
    if not samplers:
        raise UserError(f"samplers must be a list with one or more of them, not {samplers!r}")
    from gansearch.modules import kept  # noqa: PLC0415
    from gansearch.search.replay import policies_of, stored_spec  # noqa: PLC0415
    from gansearch.search.replay import replay as played  # noqa: PLC0415
    from gansearch.study.plan import Pruner, Sampler  # noqa: PLC0415

    study = find(name, where=where, **options)
    journal = study.journal()
    spec = stored_spec(journal)
    judges = [_part(Pruner, "--pruner", pruner) for pruner in pruners]
    judges = judges or list({p.name: p for p in (spec.plan.pruner, Pruner(name="none"))}.values())
    choosers = [
        None if sampler == AS_RECORDED else _part(Sampler, "--sampler", sampler) for sampler in samplers
    ]
    with kept(study.directory.modules):
        policies = policies_of(choosers, judges, spec.example())
        return played(journal, policies, workers=workers, repeats=repeats, note=note)


def _part(kind: type[Any], flag: str, given: PartLike) -> Any:
    from pydantic import ValidationError  # noqa: PLC0415

    from gansearch.study.document import dotted  # noqa: PLC0415
    from gansearch.study.mistakes import explained  # noqa: PLC0415

    try:
        return kind.model_validate(given)
    except ValidationError as error:
        told = "; ".join(f"{dotted(path)} {words}" for path, words in explained(kind, given, error))
        raise UserError(f"{flag}: {told}") from error

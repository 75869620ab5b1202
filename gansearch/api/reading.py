"""What is known of a study: found by its name, and its journal read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from gansearch.arguments import checked, deferred
from gansearch.errors import UserError
from gansearch.files import PlaceLike
from gansearch.journal.stored import StoredStudy
from gansearch.tuning.where import StoredOptions, Where, combined

if TYPE_CHECKING:
    import pandas as pd

    from gansearch.analysis.evidence import Evidence
else:
    Evidence = deferred("gansearch.analysis.evidence", "Evidence")

StudyLike: TypeAlias = PlaceLike | StoredStudy
"""A study's name, its path, or what `find` gave."""


@checked
def find(
    name: StudyLike | None = None,
    *,
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> StoredStudy:
    """A study by its name or path, None being the newest: every function takes it in the name's place.

    Raises:
        StudyError: there is no such study.
    """
    if isinstance(name, StoredStudy):
        return name
    where = combined(where, options)
    return StoredStudy.find(None if name is None else str(name), where.runs, where.storage)


@checked
def evidence(
    name: StudyLike | Evidence, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> Evidence:
    """All that is known of a study, for analyses of one's own; read anew, unless it is given.

    Raises:
        StudyError: there is no such study.
        StorageError: its journal is damaged, or its database does not answer.
    """
    from gansearch.analysis.evidence import Evidence, gather  # noqa: PLC0415

    return name if isinstance(name, Evidence) else gather(find(name, where=where, **options))


@checked
def facts(
    name: StudyLike, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> dict[str, Any]:
    """What is fixed for a study: name, metric, goal, steps, trials, digest, version, id, time.

    Raises:
        StudyError, StorageError: as for `evidence`.
    """
    journal = find(name, where=where, **options).journal()
    return {"name": journal.study.study_name, **journal.facts}


@checked
def status(
    name: StudyLike | Evidence, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> dict[str, Any]:
    """The state of a study, also while it runs: see `gansearch.analysis.tables.status`.

    Raises:
        StudyError, StorageError: as for `evidence`.
    """
    from gansearch.analysis import tables  # noqa: PLC0415

    return tables.status(evidence(name, where=where, **options))


@checked
def trials(
    name: StudyLike, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> pd.DataFrame:
    """One row for each trial of the search, best first by its best report, indexed by number; the
    columns are those of `trials.csv` (docs/reference/what-lies-in-a-study.md).

    Raises:
        StudyError, StorageError: as for `evidence`.
    """
    from gansearch.analysis import tables  # noqa: PLC0415

    journal = find(name, where=where, **options).journal()
    return tables.trials_table(journal.trials(), journal.metric, journal.goal)


@checked
def curves(
    name: StudyLike, *, where: Where | None = None, **options: Unpack[StoredOptions]
) -> pd.DataFrame:
    """One row for each report of every trial of the search: the trial's `number`, `step` (generator
    updates), `images` (real ones that the discriminator has seen), `seconds` (of training and
    evaluation so far), and every metric, NaN and infinity as they are.

    Raises:
        StudyError, StorageError: as for `evidence`.
    """
    from gansearch.analysis import tables  # noqa: PLC0415

    journal = find(name, where=where, **options).journal()
    return tables.curves_table(journal.trials())


@checked
def configurations(
    name: StudyLike | Evidence,
    *,
    by: str = "iqm",
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> pd.DataFrame:
    """One row for each configuration that was trained again, best rank first, indexed by its label; see
    `gansearch.analysis.configurations.configurations`. Empty where nothing was.

    Args:
        name: the study.
        by: the score that ranks, see `gansearch.analysis.configurations.SCORES`.
        where, options: as for `run`.

    Raises:
        UserError: there is no such score.
        StudyError, StorageError: as for `evidence`.
    """
    from gansearch.analysis.configurations import configurations as ranking  # noqa: PLC0415

    return ranking(evidence(name, where=where, **options), by)


@checked
def trial_log(
    name: StudyLike,
    number: int,
    *,
    seeds: bool = False,
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> str:
    """What a trial printed while it trained, and the error that ended it, if one did.

    Args:
        name: the study.
        number: of the trial.
        seeds: whether it is one of the stability study.
        where, options: as for `run`.

    Raises:
        StudyError: there is no such study, or no such trial.
    """
    study = find(name, where=where, **options)
    return study.trial_log(number, seeds=seeds) or "it printed nothing, and no error ended it\n"


@checked
def compare(
    *names: StudyLike,
    anyway: bool = False,
    by: str = "iqm",
    where: Where | None = None,
    **options: Unpack[StoredOptions],
) -> pd.DataFrame:
    """Several studies side by side, a row each.

    Args:
        names: the studies.
        anyway: compare numbers that were made differently all the same.
        by: the score that ranks each study's configurations.
        where, options: as for `run`.

    Raises:
        UserError: fewer than two are named, or there is no such score.
        StudyError: there is no such study, or the studies' objective was not made alike (features,
            sample counts, split, ...).
    """
    from gansearch.reporting.comparison import compare as side_by_side  # noqa: PLC0415

    if len(names) < 2:
        raise UserError("name two studies or more to compare")
    where = combined(where, options)
    studies = [
        name
        if isinstance(name, StoredStudy)
        else StoredStudy.among(str(name), where.runs, where.storage)
        for name in names
    ]
    evidences = [evidence(study) for study in studies]
    return side_by_side(evidences, anyway=anyway, by=by)

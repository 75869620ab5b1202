"""A study's folder and journal, made whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path

import gansearch
from gansearch import files
from gansearch.errors import StudyError, UserError
from gansearch.files import Place
from gansearch.journal.changes import patience
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.journal import Journal
from gansearch.journal.stored import StoredStudy
from gansearch.metrics.reference import Reference, save_reference
from gansearch.study.learnt import LEARNT
from gansearch.study.spec import StudySpec
from gansearch.tracking import store_of
from gansearch.tuning.where import Where


def check_storable(study: StoredStudy, where: Where) -> None:
    """Raise `StudyError` if the journal or MLflow's store would lie where it cannot, or the environment
    says no number of seconds for which they may be away.
    """
    checks: list[Callable[[], object]] = [
        files.patience,
        patience,
        study.check_holdable,
        partial(store_of, study.runs_dir, where.tracking),
    ]
    wrong = []
    for check in checks:
        try:
            check()
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise StudyError("\n".join(wrong))


@contextmanager
def created(spec: StudySpec, study: StoredStudy, reference: Reference) -> Iterator[None]:
    """A new study, held by this driver from the first moment at which another one could find it."""
    if isinstance(study.directory.path, Path):
        create(spec, study, reference)
        with study.held():
            yield
    else:
        with study.held():
            create(spec, study, reference)
            yield


def create(spec: StudySpec, study: StoredStudy, reference: Reference | None) -> None:
    """Make a study, whole or not at all.

    Args:
        spec: what is asked.
        study: where; nothing is there yet.
        reference: the real side of its metrics; None: it is not to be trained.

    Raises:
        StudyError: something is there.
    """
    config = spec.example()
    facts = {
        "metric": config.objective.metric,
        "goal": spec.goal,
        "steps": config.budget.steps,
        "report_every": config.budget.report_every,
        "trials": spec.plan.search.trials,
        "digest": spec.digest,
        "question": spec.question,
        "study": spec.to_yaml(),
        **({LEARNT: [each.plain() for each in spec.learnt]} if spec.learnt else {}),
        "id": uuid.uuid4().hex[:12],  # tells studies of one name apart on a shared MLflow server
        **versions_in_use(),
    }
    begin, directory = partial(study.create, facts), study.directory
    if isinstance(directory.path, Path):
        _make_folder(directory.path, spec.to_yaml(), reference, begin)
    else:
        _put_files(directory, spec.to_yaml(), reference, begin)


def _make_folder(
    path: Path, study: str, reference: Reference | None, begin: Callable[[Path], Journal]
) -> None:
    """Make a study's folder under another name, and give it its own when all is in it."""
    with files.unfinished(path) as part:
        files.write(StudyDirectory(part).study_file, study)
        if reference is not None:
            save_reference(reference, StudyDirectory(part).reference)
        journal = begin(part)
        try:
            part.rename(path)
        except OSError as error:
            journal.delete()
            raise StudyError(f"{path} exists already") from error


def _put_files(
    directory: StudyDirectory,
    study: str,
    reference: Reference | None,
    begin: Callable[[Place], Journal],
) -> None:
    """Put a study, which is held, into an object store: its file comes last, and makes it one."""
    with files.reachable(directory.path):
        if directory.study_file.exists():  # since it was given its name
            raise StudyError(f"{directory.path} exists already")
        try:
            if reference is not None:
                save_reference(reference, directory.reference)
            journal = begin(directory.path)
            try:
                files.write(directory.study_file, study)
            except BaseException:
                journal.delete()
                raise
        except BaseException:
            files.remove(directory.reference)
            raise


def versions_in_use() -> dict[str, str]:
    """What made the numbers, and when it began to."""
    packages = {name: metadata.version(name) for name in ("torch", "ray", "optuna")}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"gansearch": gansearch.__version__, "launched": now, **packages}

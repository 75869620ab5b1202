"""A launched study asks what it was launched with, of the same images: else its trials could not be
compared.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gansearch.errors import InvalidInput, StudyError
from gansearch.journal.shape import asked
from gansearch.study.document import parse_document

if TYPE_CHECKING:  # they load torch, and Optuna
    from gansearch.data import DataSet
    from gansearch.journal.journal import Journal
    from gansearch.journal.stored import StoredStudy
    from gansearch.metrics.reference import Reference

RESOURCES = "resources"
"""The section that may change in any way: what a worker holds."""


def check_unchanged(study: StoredStudy, journal: Journal) -> None:
    """Raise `StudyError` where a study's file asks something else than it was launched with; how it is
    written, and the machine's resources, are free.
    """
    now, launched = study.directory.written(), journal.facts["study"]
    if asks_the_same(study, now, launched):
        return
    lines = difflib.unified_diff(
        launched.splitlines(), now.splitlines(), "as launched", "now", lineterm="", n=1
    )
    raise StudyError(
        f"{study.directory.study_file} has changed since the study was launched:\n"
        + "\n".join(lines)
        + "\nTake the change back to resume, or run it as a study of its own."
    )


def asks_the_same(study: StoredStudy, now: str, launched: str) -> bool:
    """Whether a study's file, as it is now, asks what it was launched with.

    Raises `StudyError` where it is none.
    """
    file = study.directory.study_file
    try:
        there = parse_document(now, str(file)).tree
    except InvalidInput as error:
        restore = "; or remove it: it is written anew from the journal" if study.storage is None else ""
        raise StudyError(
            f"{error}\nPut it back as it was when the study was launched{restore}."
        ) from error
    return binding(there) == binding(asked(launched))


def binding(tree: Mapping[str, Any]) -> dict[str, Any]:
    """What of a study's tree may not change after its launch."""
    return {key: value for key, value in tree.items() if key != RESOURCES}


def check_same_images(reference: Reference, real: DataSet) -> None:
    """Raise `StudyError` where the real images are not those that a study's reference is of."""
    known = {origin["dataset_hash"] for origin in reference.origin.values()}
    if known != {real.digest}:
        raise StudyError(
            f"the images of '{real.name}' are not those that the study began with: put them back, "
            "or run it as a study of its own"
        )

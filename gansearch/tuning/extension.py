"""A search that is asked for more trials: it goes on as if it had been asked for them at first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gansearch import files
from gansearch.errors import StudyError, UserError
from gansearch.study.config import digest
from gansearch.study.document import parse_document, write_document

if TYPE_CHECKING:
    from gansearch.journal.directory import StudyDirectory
    from gansearch.journal.journal import Journal

MAY_GROW = ("search.trials",)
"""The keys of a study file that may change after its launch: no number made so far depends on them."""

BEFORE = "study_before"
"""The fact of what the study file said before it was extended: a driver that is killed between journal
and file leaves the file so."""


def wanted_trials(overrides: Mapping[str, Any]) -> int | None:
    """How many trials a resumed search is to have in all; None: as many as it was launched with.

    Raises:
        UserError: a key that cannot change any more, or a value that is no number of trials.
    """
    fixed = [key for key in overrides if key not in MAY_GROW]
    if fixed:
        raise UserError(
            f"--set {fixed[0]}: of a launched study only {', '.join(MAY_GROW)} can change, or its "
            "trials could not be compared: run it as a study of its own"
        )
    trials = overrides.get("search.trials")
    if trials is not None and (not isinstance(trials, int) or isinstance(trials, bool) or trials < 1):
        raise UserError(f"search.trials must be a whole number from 1 on, not {trials!r}")
    return trials


def extend(directory: StudyDirectory, journal: Journal, trials: int) -> None:
    """Ask a study's search for so many trials in all; its file and its journal say so then.

    Args:
        directory: the study's, held by this process.
        journal: its search's, opened by a writer.
        trials: in all; as many as it has changes nothing.

    Raises:
        StudyError: it was asked for more already.
    """
    before = journal.facts["study"]
    tree = parse_document(before, "study.yaml").tree
    if trials < journal.planned:
        raise StudyError(
            f"the search of '{directory.name}' has {journal.planned} trials: --trials says how many "
            f"in all, so at least {journal.planned}"
        )
    if trials == journal.planned:
        return
    tree["search"]["trials"] = trials
    asked = {key: value for key, value in tree.items() if key != "resources"}
    text = write_document(tree)
    journal.set_facts({"study": text, "trials": trials, "digest": digest(asked), BEFORE: before})
    files.write(directory.study_file, text)


def catch_up(directory: StudyDirectory, journal: Journal, same: Callable[[str, str], bool]) -> None:
    """Have the study file say what the journal says, where a driver was killed between the two."""
    before = journal.facts.get(BEFORE)
    with files.reachable(directory.path):
        now = files.read(directory.study_file).decode()
    if before is not None and same(now, before) and not same(now, journal.facts["study"]):
        files.write(directory.study_file, journal.facts["study"])

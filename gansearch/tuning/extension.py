"""A study that goes on with more trials, as if it had been asked for them at first, or elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gansearch import files
from gansearch.errors import StudyError, UserError
from gansearch.journal.facts import INSISTED, OVER
from gansearch.search.stopping import SPENT
from gansearch.study.config import digest
from gansearch.study.document import dotted, parse_document, write_document
from gansearch.study.mistakes import Mistakes, validate
from gansearch.study.plan import Plan
from gansearch.study.records import count
from gansearch.tuning.unchanged import RESOURCES, asks_the_same, binding

if TYPE_CHECKING:
    from gansearch.journal.directory import StudyDirectory
    from gansearch.journal.journal import Journal
    from gansearch.journal.stored import StoredStudy

MAY_GROW = ("search.trials", "search.budget.device_hours")
"""The keys of a study file that may grow after its launch: no number made so far depends on them."""

SAME = {"search.budget.trials": "search.trials"}
"""Another place in a study file for one of these."""


@dataclass(frozen=True)
class More:
    """What a resumed search is to have in all; None: what it was launched with.

    Attributes:
        trials: how many.
        device_hours: how long they may take.
        resources: what its workers hold from now on, in place of what the study file says; by key.

    Raises:
        UserError: there are no such resources.
    """

    trials: int | None = None
    device_hours: float | None = None
    resources: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mistakes: Mistakes = []
        validate(Plan, {RESOURCES: dict(self.resources)}, mistakes)
        if mistakes:
            raise UserError(_words(mistakes))

    @property
    def overrides(self) -> dict[str, Any]:
        """The resources by dotted key, as a study file's values are replaced."""
        return {f"{RESOURCES}.{key}": value for key, value in self.resources.items()}


BEFORE = "study_before"
"""The fact of what the study file said before it was extended: a driver that is killed between journal
and file leaves the file so."""


NO_MORE = More()


def wanted(overrides: Mapping[str, Any]) -> More:
    """What a resumed search is to have in all.

    Raises:
        UserError: a key that cannot change any more, or is said twice; a value that is no such number.
    """
    if twice := [name for name in SAME if name in overrides and SAME[name] in overrides]:
        raise UserError(f"--set {twice[0]}: is {SAME[twice[0]]}, too, which is said already")
    overrides = {SAME.get(key, key): value for key, value in overrides.items()}
    prefix = f"{RESOURCES}."
    fixed = [key for key in overrides if key not in MAY_GROW and not key.startswith(prefix)]
    if fixed:
        raise UserError(
            f"--set {', '.join(fixed)}: of a launched study only {', '.join(MAY_GROW)} and "
            f"{prefix}KEY can change, or its trials could not be compared: run it as a study of its own"
        )
    trials, hours = (overrides.get(key) for key in MAY_GROW)
    if trials is not None and (not isinstance(trials, int) or isinstance(trials, bool) or trials < 1):
        raise UserError(f"search.trials must be a whole number from 1 on, not {trials!r}")
    if hours is not None and (
        isinstance(hours, bool) or not isinstance(hours, int | float) or hours <= 0
    ):
        raise UserError(f"search.budget.device_hours must be a number above 0, not {hours!r}")
    resources = {k.removeprefix(prefix): v for k, v in overrides.items() if k.startswith(prefix)}
    return More(trials, None if hours is None else float(hours), resources)


def extend(directory: StudyDirectory, journal: Journal, more: More) -> None:
    """Ask a study's search for more in all; its file and its journal say so then.

    A search that was over before it had all its trials goes on, if what ended it allows.

    Args:
        directory: the study's, held by this process.
        journal: its search's, opened by a writer.
        more: in all; what it has already changes nothing.

    Raises:
        StudyError: it was asked for more already, or its device-hours are spent all the same.
    """
    before, over = journal.facts["study"], journal.facts.get(OVER)
    tree = parse_document(before, "study.yaml").tree
    search = tree["search"]
    has, hours = journal.planned, (search.get("budget") or {}).get("device_hours")
    trials = has if more.trials is None else more.trials
    longer = hours if more.device_hours is None else more.device_hours
    name = f"the search of '{directory.name}'"
    if trials < has:
        raise StudyError(
            f"{name} has {count(has, 'trial')}: --trials says how many in all, so at least {has}"
        )
    if more.device_hours is not None and not (hours and more.device_hours >= hours):
        told = f"has {hours:g} device-hours" if hours else "has no limit of device-hours"
        raise StudyError(f"{name} {told}: it can only be asked for more")
    if over and trials > has and longer == hours and over["reason"].endswith(SPENT):
        key = "--set search.budget.device_hours=H"
        raise StudyError(f"{name} is over: {over['reason']}. {key} says how many in all")
    if (trials, longer) == (has, hours):
        return
    # With more hours alone it is to have what it was first asked for.
    search["trials"] = max(trials, search["trials"]) if more.trials is None else trials
    if longer:
        search["budget"] = {**search["budget"], "device_hours": longer}
    mistakes: Mistakes = []
    validate(Plan, {"search": search}, mistakes)
    if mistakes:  # nothing that could not be read again
        raise StudyError(_words(mistakes))
    text = write_document(_holding(tree, _written(directory).get(RESOURCES)))
    on = {OVER: None, INSISTED: search["trials"]} if over else {}
    facts = {"study": text, "trials": search["trials"], "digest": digest(binding(tree)), BEFORE: before}
    journal.set_facts(facts | on)
    files.write(directory.study_file, text)


def catch_up(study: StoredStudy, journal: Journal) -> None:
    """Have the study file say what the journal says, where a driver was killed between the two."""
    before = journal.facts.get(BEFORE)
    now, extended = study.directory.written(), journal.facts["study"]
    if before is None or asks_the_same(study, now, extended):
        return
    if asks_the_same(study, now, before):
        tree = parse_document(extended, "study.yaml").tree
        held = parse_document(now, "study.yaml").tree.get(RESOURCES)
        files.write(study.directory.study_file, write_document(_holding(tree, held)))


def hold(directory: StudyDirectory, journal: Journal, resources: Mapping[str, Any]) -> None:
    """Have a study's file and its journal say what its workers hold from now on.

    Args:
        directory: the study's, held by this process.
        journal: its search's, opened by a writer.
        resources: known to be there, by key; of all others, what its file says.
    """
    tree, launched = _written(directory), parse_document(journal.facts["study"], "study.yaml").tree
    said = tree.get(RESOURCES)
    said = said if isinstance(said, dict) else {}  # what else it is, is told where a study is read
    held = {**said, **resources}
    if held != said:
        files.write(directory.study_file, write_document(_holding(tree, held)))
    if held != (launched.get(RESOURCES) or {}):
        journal.set_facts({"study": write_document(_holding(launched, held))})


def _words(mistakes: Mistakes) -> str:
    return "; ".join(f"{dotted(path)}: {words}" for path, words in mistakes)


def _written(directory: StudyDirectory) -> dict[str, Any]:
    """What a study's file says now."""
    tree: dict[str, Any] = parse_document(directory.written(), str(directory.study_file)).tree
    return tree


def _holding(tree: dict[str, Any], resources: Any) -> dict[str, Any]:
    """A study's tree with other resources; None: with none that differ from the defaults."""
    return binding(tree) if resources is None else tree | {RESOURCES: resources}

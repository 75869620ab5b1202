"""A damaged journal file: which lines cannot be read, and a repair that keeps all that can.

Optuna gives a trial its number by counting the lines that begin trials, so a beginning that is lost
would give every later line of the journal to the wrong trial. The others tell their numbers, see
`numbering`: a trial whose beginning is lost keeps its number, and ends as failed through no fault of
its configuration.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optuna.storages.journal._storage import JournalOperation
from optuna.trial import TrialState

from gansearch import files
from gansearch.errors import StudyError
from gansearch.journal.directory import JOURNAL_FILE
from gansearch.journal.facts import NUMBER
from gansearch.journal.numbering import Numbering
from gansearch.journal.reading import Reading, Unusable
from gansearch.journal.shape import faults_of_log, lacking, trial_of
from gansearch.journal.stored import StoredStudy
from gansearch.study.records import Outcome, count

Log = dict[str, Any]

UNENDED = "was being written when its writer was killed"
"""Said of a last line without an end: every writer takes such a line away before it begins."""

SHOWN = 60
"""Characters of a damaged line that are shown."""


@dataclass(frozen=True)
class Damage:
    """A line of a journal that cannot be read as it stands.

    Attributes:
        line: its number, from 1.
        what: what is wrong with it, in words.
        lost: whether anything that it held is lost.
    """

    line: int
    what: str
    lost: bool

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


@dataclass(frozen=True)
class Repair:
    """What a repair found and did.

    Attributes:
        damages: the damaged lines.
        kept: records that the repaired journal holds.
        lost_trials: the trials whose beginning was lost, by number.
        original: where the journal as it was is kept; None: nothing was damaged, nothing written.
    """

    damages: Sequence[Damage]
    kept: int
    lost_trials: Sequence[int] = ()
    original: Path | None = None


def explain(path: Path, name: str) -> str | None:
    """What to tell the user of a damaged journal; None where every line can be read.

    Args:
        path: the journal file.
        name: of the study, as a command takes it.
    """
    damages = [damage for _, damage in _read(path) if damage and damage.what != UNENDED]
    if not damages:
        return None
    shown = [str(damage) for damage in damages[:5]]
    more = [f"and {count(len(damages) - 5, 'more line')}"] if len(damages) > 5 else []
    mend = f"`gansearch repair {name}` keeps all that can be read, and the damaged file beside it"
    return "\n  ".join([f"the journal {path} is damaged:", *shown, *more, mend])


def repair_study(study: StoredStudy, *, write: bool = True) -> dict[str, Repair]:
    """Repair the journal files of a study, which nobody may be driving; see `repair`.

    Returns:
        What was found and done, for `search` and, where there is one, `stability`.

    Raises:
        StudyError: it is being run, or what is left of a journal does not make a study.
    """
    folder = files.on_disk(study.directory.path, "a journal file", "a database repairs its own")
    journals = {"search": folder / JOURNAL_FILE, "stability": folder / "stability" / JOURNAL_FILE}
    if not write:  # in a folder, too, that may only be read
        study.check_free()
    with study.held() if write else nullcontext():
        return {name: repair(path, write=write) for name, path in journals.items() if path.exists()}


def repair(path: Path, *, write: bool = True) -> Repair:
    """Rewrite a damaged journal with all of it that can be read; the original stays beside it.

    Args:
        path: the journal file, which no driver holds.
        write: False only tells what would be done.

    Raises:
        StudyError: what is left does not make a study.
    """
    lines = list(_read(path))
    damages = [damage for _, damage in lines if damage]
    renumbered = _Renumbering(lines)
    kept = list(renumbered.logs())
    _check_whole(path, kept)
    if not damages:
        return Repair((), len(kept))
    original = None
    if write:
        original = _free_name(path)
        part = path.with_name(f".{path.name}.repaired")
        part.write_text("".join(json.dumps(log, separators=(",", ":")) + "\n" for log in kept))
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.link(path, original)
        part.replace(path)
    return Repair(damages, len(kept), renumbered.lost, original)


def _read(path: Path) -> Iterator[tuple[list[Log], Damage | None]]:
    """Each line's records, and what is wrong with the line."""
    with path.open("rb") as file:
        count = sum(1 for _ in file)
        file.seek(0)
        known = (_whole(line) for line in file if b'"study_id"' in line)
        lines = _Lines(count, _numbering([log for log in known if log is not None]))
        file.seek(0)
        for number, line in enumerate(file, 1):
            yield lines.next(number, line)


def _whole(line: bytes) -> Log | None:
    """The record in a line in which there is nothing else, and nothing wrong by itself."""
    try:
        log: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return None if faults_of_log(log) else log


class _Lines:
    """A journal whose lines may be damaged, read one after another.

    Args:
        count: how many there are.
        numbering: of its trials.
    """

    def __init__(self, count: int, numbering: Numbering) -> None:
        self._count, self._numbering, self._reading = count, numbering, Reading()

    def next(self, number: int, line: bytes) -> tuple[list[Log], Damage | None]:
        """The records of the next line, and what is wrong with it."""
        logs, damage = self._line(number, line)
        if damage is not None and damage.lost:  # perhaps the beginning of a trial, a line each
            self._reading.excused = self._count
        return logs, damage

    def _line(self, number: int, line: bytes) -> tuple[list[Log], Damage | None]:
        if not line.endswith(b"\n"):
            return [], Damage(number, UNENDED, lost=False)
        if not line.strip():
            return [], Damage(number, "is blank", lost=False)
        try:
            log = json.loads(line)
        except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
            pass
        else:
            if fault := self._fault(log):
                return [], Damage(number, f"{fault}: {_shown(line)}", lost=True)
            gone = self._gone_before(log)
            return [log], Damage(number, gone, lost=True) if gone else None
        salvaged, whole = self._salvage(line.decode("utf-8", "replace"))
        if whole:
            return salvaged, Damage(
                number, f"{count(len(salvaged), 'record')} in one line, all readable", lost=False
            )
        found = f"; {count(len(salvaged), 'record')} in it can be read" if salvaged else ""
        return salvaged, Damage(number, f"cannot be read: {_shown(line)}{found}", lost=True)

    def _salvage(self, text: str) -> tuple[list[Log], bool]:
        """The records in a text, and whether it holds nothing else."""
        decoder, found, whole, at = json.JSONDecoder(), [], True, 0
        while (start := text.find("{", at)) >= 0:
            whole = whole and not text[at:start].strip()
            try:
                value, end = decoder.raw_decode(text, start)
            except (ValueError, RecursionError):
                whole, at = False, start + 1
                continue
            at = end
            if self._fault(value):
                whole = False
            else:
                found.append(value)
        return found, whole and not text[at:].strip()

    def _fault(self, log: Any) -> str:
        """What is wrong with a record in words, after those before it; empty: nothing is."""
        if faults := faults_of_log(log):
            return "; ".join(faults)
        try:
            self._reading.apply_logs([log])
        except Unusable as error:
            return str(error)
        except Exception as error:  # whatever Optuna raises of what it cannot use
            return f"cannot be used ({type(error).__name__}: {error})"
        return ""

    def _gone_before(self, log: Log) -> str:
        """That trials must have begun before this one whose beginnings no line holds; empty: none must,
        or a damaged line may have held them.
        """
        if self._reading.excused or not _begins(log):
            return ""
        gone = self._numbering.gone_before(log["user_attrs"], len(self._reading._trials) - 1)
        if not gone:
            return ""
        first, last = gone[0], gone[-1]
        which = f"that of trial {first} is" if first == last else f"those of {first} to {last} are"
        return f"is the beginning of trial {last + 1}, and {which} gone"


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "backslashreplace").strip()
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "...")


@dataclass
class _Renumbering:
    """The records of a journal with every trial at its own number.

    Attributes:
        lines: records and damage, line by line.
        lost: numbers of the trials whose beginning is gone.
    """

    lines: Sequence[tuple[list[Log], Damage | None]]
    lost: list[int] = field(default_factory=list)
    _begun: int = 0
    _where: int = 0  # the last damaged line so far at which something was lost

    def logs(self) -> Iterator[Log]:
        """The records, with a beginning for each trial that has lost its own."""
        known = [log for logs, _ in self.lines for log in logs]
        numbering, template = _numbering(known), next(filter(_begins, known), None)
        for logs, damage in self.lines:
            if damage and damage.lost:
                self._where = damage.line
            for log in logs:
                for _ in range(self._missing_before(log, numbering)):
                    if template is not None:
                        yield self._lost_trial(template, numbering)
                trial = trial_of(log)
                unmade = trial >= self._begun  # no beginning is left after which to make its own
                if unmade or trial in self.lost:
                    continue
                self._begun += _begins(log)
                yield log

    def _missing_before(self, log: Log, numbering: Numbering) -> int:
        """How many trials must have begun before this record that have not."""
        if not self._where:
            return 0
        if _begins(log):
            return numbering.of(log["user_attrs"], self._begun) - self._begun
        return max(trial_of(log) + 1 - self._begun, 0)

    def _lost_trial(self, template: Log, numbering: Numbering) -> Log:
        number = self._begun
        self._begun += 1
        self.lost.append(number)
        label, seed = numbering.lost(number)
        config = template["user_attrs"]["config"] | {"seed": seed}
        reason = (
            f"its beginning was lost at line {self._where} of the journal, and what it tried: "
            "the configuration shown is another trial's"
        )
        attributes = {
            "config": config,
            NUMBER: number,
            "blameless": True,
            "reason": reason,
            "outcome": Outcome.FAILED.value,
        }
        if "configuration" in template["user_attrs"]:
            attributes["configuration"] = label
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        return {
            "op_code": int(JournalOperation.CREATE_TRIAL),
            "worker_id": template["worker_id"],
            "study_id": template["study_id"],
            "state": int(TrialState.FAIL),
            "datetime_start": now,
            "datetime_complete": now,
            "user_attrs": attributes,
        }


def _begins(log: Log) -> bool:
    return bool(log["op_code"] == JournalOperation.CREATE_TRIAL)


def _facts(logs: Sequence[Log]) -> dict[str, Any]:
    """What these records say of the study."""
    facts: dict[str, Any] = {}
    for log in logs:
        if log["op_code"] == JournalOperation.SET_STUDY_USER_ATTR:
            facts |= log["user_attr"]
    return facts


def _numbering(logs: Sequence[Log]) -> Numbering:
    """The numbers of the trials that begin in these records."""
    return Numbering(_facts(logs), [log["user_attrs"] for log in logs if _begins(log)])


def _check_whole(path: Path, logs: Sequence[Log]) -> None:
    facts = _facts(logs)
    named = any(log["op_code"] == JournalOperation.CREATE_STUDY for log in logs)
    lost = [key for key in lacking(facts) if key != "roster"]
    if not named or lost:
        what = ", ".join(lost) if named else "the line that begins it"
        raise StudyError(
            f"{path} cannot be repaired: what it knew of the study itself is lost ({what}); run "
            f"{path.with_name('study.yaml')} as a new study, or put a copy of the journal back"
        )
    if facts.get("part") == "stability":
        _check_roster(path, facts, begun=sum(map(_begins, logs)))


def _check_roster(path: Path, facts: Mapping[str, Any], begun: int) -> None:
    """Refuse a stability study that no longer knows which configurations its trials are of."""
    known = min(len((facts.get("roster") or {}).get("entries", ())), begun)
    if known < max(begun, 1):
        raise StudyError(
            f"{path} cannot be repaired: which configurations it trains is lost (known of {known} of "
            f"its {count(begun, 'trial')}); remove {path.parent} and ask for the seeds again with "
            "`gansearch stability`, or put a copy of the journal back"
        )


def _free_name(path: Path) -> Path:
    names = (
        path.with_name(f"{path.name}.damaged{n}") for n in ["", *(f"-{i}" for i in range(2, 1000))]
    )
    return next(name for name in names if not name.exists())

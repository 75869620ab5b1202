"""The best configurations of a study, taken home: weights, samples, evidence."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from warnings import warn

from gansearch import files
from gansearch.analysis.configurations import best_trials, configurations
from gansearch.analysis.evidence import Evidence, gather
from gansearch.errors import Doubt, StudyError, UserError, WeightsError
from gansearch.files import Place
from gansearch.journal.directory import StudyDirectory
from gansearch.journal.stored import StoredStudy
from gansearch.modules import kept
from gansearch.study.records import Best, Outcome, TrialRecord, count, ranked
from gansearch.training import checkpoint
from gansearch.training.export_folder import write_model

LUCKY = (
    "one trial of a search: the best of many single runs is partly luck, expect new seeds to do worse"
)

ATTEMPTS = 5
"""How often a study that runs is read anew, for its workers replace weights in the meantime."""


@dataclass(frozen=True)
class Pick:
    """A trial whose weights are exported.

    Attributes:
        record: the trial.
        directory: where its folder is.
        name: of its folder, where there are several.
        facts: what is known of its configuration besides.
    """

    record: TrialRecord
    directory: StudyDirectory
    name: str
    facts: dict[str, Any]

    def best(self, evidence: Evidence) -> Best:
        """The report that is exported."""
        best = self.record.best(evidence.metric, evidence.goal)
        if best is None:
            raise StudyError(f"trial {self.record.number} has no finite {evidence.metric}")
        return best

    def weights(self, evidence: Evidence) -> Place:
        """The checkpoint of that report."""
        folder = self.directory.trial(self.record.number)
        return checkpoint.path_of(folder, self.best(evidence).step)


def export(
    study: StoredStudy,
    out: Path,
    top: int = 1,
    *,
    by: str = "iqm",
    searched: bool = False,
) -> list[Path]:
    """Write the best configurations' models, each in a folder of its own where `top` is more than 1.

    Where configurations were trained again, they are chosen by their confirmed rank, and the weights
    are those of the best seed; else by the search's own values. Warns with a `Doubt` of each exported
    trial that did not end well.

    Args:
        study: which one.
        out: where; must be empty or absent. Nothing is left there if anything fails.
        top: how many, best first.
        by: the score that ranks confirmed configurations.
        searched: choose by the search's values, whatever was confirmed.

    Raises:
        StudyError: fewer configurations have a value, or their weights were not kept.
        UserError: `out` is in use.
    """
    if top < 1:
        raise UserError(f"--top {top}: must be at least 1")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder: take another one")
    for left in reversed(range(ATTEMPTS)):
        try:
            folders, doubts = _write(study, out, top, by, searched=searched)
            break
        except GoneError as gone:
            if not (left and gone.for_now):
                raise
    for words in doubts:
        warn(words, Doubt, stacklevel=2)
    return folders


class GoneError(StudyError):
    """No file has the weights of a trial's best report.

    Attributes:
        for_now: a driver is at work, which may know of others by now.
    """

    def __init__(self, pick: Pick, evidence: Evidence) -> None:
        self.for_now = evidence.running
        file, folder = pick.weights(evidence), pick.directory.trial(pick.record.number)
        keep = "`keep` in the study file says for how many trials they are"
        why = f"were not kept ({keep}), or {file} is gone"
        if pick.record.outcome is Outcome.RUNNING:
            why = "are replaced by better ones before they are read: try again"
        elif isinstance(folder, Path) and not folder.is_dir():  # an object store has no folders
            mend = "bring it back from a copy of the study, or train again by `gansearch stability`"
            why = f"are gone: there is no folder {folder} any more; {mend}"
        super().__init__(f"the weights of trial {pick.record.number} {why}")


def _write(
    study: StoredStudy, out: Path, top: int, by: str, *, searched: bool
) -> tuple[list[Path], list[str]]:
    """Write the best that a study has now; returns the folders, and what is to be known of them."""
    evidence, directory = gather(study), study.directory
    confirmed = [] if searched else _confirmed(directory, evidence, by)
    picks = _choose(confirmed or _searched(directory, evidence), evidence, top)
    whole = out.resolve()  # `.` has no name of its own
    with files.unfinished(whole) as part:
        with kept(directory.modules) as modules:
            folders = [
                _export(
                    pick, evidence, rank, part / f"{rank:02d}-{pick.name}" if top > 1 else part, modules
                )
                for rank, pick in enumerate(picks, start=1)
            ]
        try:
            part.rename(whole)  # which may be an empty folder
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            raise UserError(f"{out} has been filled in the meantime: take another one") from error
    doubts = [_doubt(pick.record, pick.best(evidence)) for pick in picks]
    return [out / folder.relative_to(part) for folder in folders], list(filter(None, doubts))


def _doubt(record: TrialRecord, best: Best) -> str:
    """What is to be known of a trial that is not over, or whose best report came before a bad end; ""
    for any other.
    """
    if record.outcome in (Outcome.COMPLETED, Outcome.PRUNED):
        return ""
    what = f"what is exported is its best report, of step {best.step}"
    if not record.outcome.ended:
        return f"trial {record.number} is {record.outcome}: {what}; it may become better"
    why = f" ({record.reason})" if record.reason else ""
    return (
        f"trial {record.number} is {record.outcome}{why}: {what}; expect training it again to end as "
        "badly"
    )


def _choose(picks: list[Pick], evidence: Evidence, top: int) -> list[Pick]:
    if not picks:
        raise StudyError(f"no trial of '{evidence.name}' has a finite {evidence.metric} yet")
    if len(picks) < top:
        thing, with_ = (
            ("configuration", "a seed that succeeded") if picks[0].facts else ("trial", "a value")
        )
        have = "has" if len(picks) == 1 else "have"
        raise UserError(f"--top {top}: only {count(len(picks), thing)} {have} {with_}")
    for pick in picks[:top]:
        if not pick.weights(evidence).is_file():
            raise GoneError(pick, evidence)
    return picks[:top]


def _searched(directory: StudyDirectory, evidence: Evidence) -> list[Pick]:
    """The search's trials that have a value, best first."""
    return [Pick(r, directory, f"trial-{r.number:04d}", {}) for r in best_trials(evidence)]


def _confirmed(directory: StudyDirectory, evidence: Evidence, by: str) -> list[Pick]:
    """The best seed of each configuration that was trained again with success, best rank first."""
    table = configurations(evidence, by)
    rows = table.astype(object).where(table.notna(), None).to_dict("index")
    successes: dict[str, list[TrialRecord]] = {}
    for record in ranked(evidence.stability, evidence.metric, evidence.goal):
        if record.succeeded(evidence.metric, evidence.goal):
            successes.setdefault(record.configuration, []).append(record)
    picks = []
    placed = sum(row["rank"] is not None for row in rows.values())
    for label, row in rows.items():
        if label in successes and row["rank"] is not None:
            facts = _confirmation(evidence, str(label), {str(k): v for k, v in row.items()})
            facts["confirmed"] |= {"ranked_by": by, "of": placed}
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(label))
            picks.append(Pick(successes[str(label)][0], directory.stability, name, facts))
    return picks


def _confirmation(evidence: Evidence, label: str, row: dict[str, Any]) -> dict[str, Any]:
    """What training a configuration again has shown, as plain values."""
    records = [record for record in evidence.stability if record.configuration == label]
    names = ("iqm", "median", "mean", "sd", "q10", "q90", "late_collapse_rate")
    counted = f"{row['successes']} of {row['seeds']} seeds succeeded"
    candidate = evidence.roster[label]
    return {
        "configuration": label,
        "trial": candidate.trial,
        "params": candidate.params or {},
        "confirmed": {
            "rank": row["rank"],
            "rank_interval": [row["rank_low"], row["rank_high"]],
            "seeds": {record.config["seed"]: record.outcome.value for record in records},
            "successes": row["successes"],
            "failures": row["failures"],
            "intervals": "95 %; values are of the successful seeds' best reports",
            "success_rate": _interval(row, "success_rate", "success"),
            **{name: _interval(row, name, name) for name in names},
        },
        "evidence": f"{counted} (pruning off); these weights are the best of them, so expect of a new "
        "seed what `confirmed` says, not `value`; and of the first of several that are about as good "
        "a little less than that, for it was chosen on these seeds",
    }


def _interval(row: dict[str, Any], name: str, ends: str) -> dict[str, Any]:
    return {"value": row[name], "low": row[f"{ends}_low"], "high": row[f"{ends}_high"]}


def _export(pick: Pick, evidence: Evidence, rank: int, folder: Path, modules: Sequence[Path]) -> Path:
    record, best = pick.record, pick.best(evidence)
    try:
        state = checkpoint.load(file := pick.weights(evidence))
    except FileNotFoundError as error:
        raise GoneError(pick, evidence) from error
    except WeightsError as error:
        mend = "bring it back from a copy of the study"
        raise WeightsError(f"{error}; {mend}, or train again by `gansearch stability`") from error
    facts: dict[str, Any] = {
        "study": evidence.name,
        "study_digest": evidence.facts["digest"],
        "run": record.number,
        "trial": record.number,
        **({"origin": record.origin} if record.origin else {}),
        "rank": rank,
        "params": record.params,
        "objective": {"metric": evidence.metric, "goal": evidence.goal},
        "value": best.value,
        "metrics": best.metrics,
        "provenance": record.provenance,
        "outcome": record.outcome,
        "reason": record.reason,
        "evidence": "; ".join(filter(None, [_doubt(record, best), LUCKY])),
        "mlflow_run_id": record.mlflow_run_id,
        **pick.facts,
    }
    return write_model(folder, state, record.reports, facts, modules, str(file))

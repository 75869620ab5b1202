"""The best configurations of a study, taken home: weights, samples, evidence."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from gansearch.errors import StudyError, UserError
from gansearch.journal import Journal
from gansearch.study.directory import StudyDirectory
from gansearch.study.records import TrialRecord, ranked
from gansearch.training import checkpoint
from gansearch.training.model import write_model


def export(directory: StudyDirectory, journal: Journal, out: Path, top: int = 1) -> list[Path]:
    """Write the best trials' models, each in a folder of its own where `top` is more than 1.

    Args:
        directory: the study.
        journal: its journal.
        out: where; must be empty or absent. Nothing is left there if anything fails.
        top: how many, best first.

    Raises:
        StudyError: fewer trials have a value, or their weights were not kept.
        UserError: `out` is in use.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not an empty folder: take another one")
    chosen = _choose(directory, journal, top)
    whole = out.resolve()  # `.` has no name of its own
    part = whole.with_name(f".{whole.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        folders = [
            _export_trial(directory, journal, record, rank, part / name if name else part)
            for rank, (record, name) in enumerate(_named(chosen), start=1)
        ]
        if out.exists():
            whole.rmdir()
        part.rename(whole)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return [out / folder.relative_to(part) for folder in folders]


def _named(chosen: list[TrialRecord]) -> list[tuple[TrialRecord, str]]:
    if len(chosen) == 1:
        return [(chosen[0], "")]
    return [(r, f"{rank:02d}-trial-{r.number:04d}") for rank, r in enumerate(chosen, start=1)]


def _choose(directory: StudyDirectory, journal: Journal, top: int) -> list[TrialRecord]:
    valued = [
        record
        for record in ranked(journal.trials(), journal.metric, journal.goal)
        if record.best(journal.metric, journal.goal)
    ]
    if not valued:
        raise StudyError(f"no trial of '{directory.name}' has a finite {journal.metric} yet")
    if len(valued) < top:
        raise StudyError(f"--top {top}: only {len(valued)} trials have a value")
    for record in valued[:top]:
        if not _weights(directory, journal, record).is_file():
            raise StudyError(
                f"--top {top}: the weights of trial {record.number} were not kept (`keep` in the "
                "study file says for how many trials they are)"
            )
    return valued[:top]


def _weights(directory: StudyDirectory, journal: Journal, record: TrialRecord) -> Path:
    best = record.best(journal.metric, journal.goal)
    return checkpoint.path_of(directory.trial(record.number), best.step if best else 0)


def _export_trial(
    directory: StudyDirectory, journal: Journal, record: TrialRecord, rank: int, folder: Path
) -> Path:
    best = record.best(journal.metric, journal.goal)
    if best is None:
        raise StudyError(f"trial {record.number} has no finite {journal.metric}")
    state = checkpoint.load(_weights(directory, journal, record))
    facts: dict[str, Any] = {
        "study": directory.name,
        "study_digest": journal.facts["digest"],
        "trial": record.number,
        "rank": rank,
        "params": record.params,
        "objective": {"metric": journal.metric, "goal": journal.goal},
        "value": best.value,
        "metrics": best.metrics,
        "provenance": record.provenance,
        "outcome": record.outcome,
        "reason": record.reason,
        "evidence": "one trial of a search: the best of many is a lucky one, expect worse of new seeds",
        "mlflow_run_id": record.mlflow_run_id,
    }
    shape = _shape(state)
    return write_model(folder, state, shape, record.reports, facts)


def _shape(state: dict[str, Any]) -> tuple[int, int, int]:
    channels, height, width = state["image_shape"]
    return channels, height, width

"""Checkpoints of one trial: one file a report, written whole or not at all.

A trial's folder holds `step-000200.pt` files. Ray Tune's own checkpoints are not used: their
bookkeeping lives in Tune's experiment state, which does not survive as exactly as a study must
(ray #30838), while these are found by name, by a resumed driver, a restarted worker or an export.
"""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from gansearch.errors import WeightsError

log = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d+)\.pt")


def path_of(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:06d}.pt"


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write a checkpoint so that a crash at any moment leaves it absent or complete."""
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(folder, step)
    part = path.with_suffix(f".part-{uuid.uuid4().hex}")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return path


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code that may be in it; raises `WeightsError`."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is cut or foreign
        raise WeightsError(f"{path} is not a readable checkpoint: {error}") from error
    return state


def steps(folder: Path) -> list[int]:
    """The steps of which the folder has a checkpoint, in order."""
    found = (_NAME.fullmatch(path.name) for path in folder.glob("step-*.pt"))
    return sorted(int(match[1]) for match in found if match)


def latest(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read; a damaged one is passed over with a warning."""
    for step in reversed(steps(folder)):
        try:
            return load(path_of(folder, step))
        except WeightsError as error:
            log.warning("%s; going back to the one before", error)
    return None


def keep(
    folder: Path, wanted: Collection[int], *, up_to: int | None = None, tidy: bool = False
) -> None:
    """Delete every checkpoint but those of the wanted steps.

    Args:
        folder: the trial's.
        wanted: steps to keep.
        up_to: leave later steps alone, as a worker must: where a machine was only thought dead,
            another worker may be ahead of it.
        tidy: delete also what interrupted writes left; for when nobody writes any more.
    """
    for step in steps(folder):
        if step not in wanted and (up_to is None or step <= up_to):
            path_of(folder, step).unlink(missing_ok=True)
    for part in folder.glob("step-*.part-*") if tidy else ():
        part.unlink(missing_ok=True)

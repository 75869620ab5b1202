"""Checkpoints of one trial: one file a report, written whole or not at all.

A trial's folder holds `step-000200.pt` files. Ray Tune's own checkpoints are not used: their
bookkeeping lives in Tune's experiment state, which does not survive as exactly as a study must
(ray #30838), while these are found by name, by a resumed driver, a restarted worker or an export.
"""

from __future__ import annotations

import io
import logging
import re
import zipfile
from collections import OrderedDict
from collections.abc import Collection, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gansearch import files
from gansearch.errors import UserError, WeightsError
from gansearch.files import Place

log = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d+)\.pt")


def path_of(folder: Place, step: int) -> Place:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:06d}.pt"


def save(folder: Place, step: int, state: dict[str, Any]) -> Place:
    """Write a checkpoint so that a crash at any moment leaves it absent or complete.

    Raises:
        OSError: the disk, or the object store, does not take it.
        UserError: there is something in it that could not be read again without running code.
    """
    path = path_of(folder, step)
    state = plain(state)
    try:
        with files.writing(path) as file:
            torch.save(state, file)
    except Exception as error:
        if not isinstance(error, OSError) and isinstance(error.__context__, OSError):
            raise error.__context__ from None  # torch shows one of its own in place of the disk's
        raise
    return path


READABLE = (Tensor, str, bytes, bool, int, float, complex, type(None))
READABLE_AS_WELL = (torch.dtype, torch.device, torch.Size)
"""What `torch.load(weights_only=True)` reads as it is."""


def plain(state: Any, where: str = "") -> Any:
    """A state without NumPy's numbers and arrays, which would be refused when it is read.

    What needs no change stays the very object, for a state_dict carries more than its items.

    Raises:
        UserError: a value of another kind, by its place in the state.
    """
    if isinstance(state, Mapping):
        items = {plain(key, where): plain(v, f"{where}.{key}".lstrip(".")) for key, v in state.items()}
        kept = all(new is old for new, old in zip(items.values(), state.values(), strict=True))
        return state if kept and type(state) in (dict, OrderedDict) else items
    if isinstance(state, list | tuple | set) and not isinstance(state, torch.Size):
        parts = [plain(value, f"{where}[{i}]") for i, value in enumerate(state)]
        kept = all(new is old for new, old in zip(parts, state, strict=True))
        kind = tuple if isinstance(state, tuple) else list
        return state if kept and type(state) in (list, tuple, set) else kind(parts)
    return _plain_value(state, where)


def _plain_value(value: Any, where: str) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, np.generic):  # before float: np.float64 is one
        value = value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Tensor) or type(value) in READABLE or isinstance(value, READABLE_AS_WELL):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):  # a class of the user's that is a kind of number or text
            return kind(value)
    raise UserError(
        f"a training's state holds a {type(value).__module__}.{type(value).__qualname__} at {where}: "
        "a checkpoint keeps tensors, numbers, texts, lists and dicts, to be read without running code"
    )


def load(path: Place) -> dict[str, Any]:
    """Read a checkpoint without running any code that may be in it.

    A checkpoint is a zip file, whose checksums torch writes and does not look at: it would take other
    bytes for weights, and a trial would go on as another one.

    Raises:
        WeightsError: it is not what was written.
        OSError: it cannot be read, which says nothing of what is in it.
    """
    file = io.BytesIO(files.read(path))  # so that what is raised below is of what is in it
    try:
        damaged = zipfile.ZipFile(file).testzip()
        file.seek(0)
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is cut or foreign
        raise WeightsError(f"{path} is not a readable checkpoint: {error}") from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path} is no checkpoint: it holds a {type(state).__name__}")
    if damaged:
        raise WeightsError(f"{path} is damaged: {damaged} in it is not what was written")
    return state


def steps(folder: Place) -> list[int]:
    """The steps of which the folder has a checkpoint, in order."""
    names = (_NAME.fullmatch(path.name) for path in files.find(folder, "step-*.pt"))
    return sorted(int(match[1]) for match in names if match)


def latest(folder: Place) -> dict[str, Any] | None:
    """The newest checkpoint that can be read; a damaged one is passed over with a warning."""
    for step in reversed(steps(folder)):
        try:
            return load(path_of(folder, step))
        except (WeightsError, FileNotFoundError) as error:  # or another worker has just deleted it
            log.warning("%s; going back to the one before", error)
    return None


def keep(
    folder: Place, wanted: Collection[int], *, up_to: int | None = None, tidy: bool = False
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
            files.remove(path_of(folder, step))
    if tidy and isinstance(folder, Path):  # an object store has none
        for part in folder.glob("step-*.part-*"):
            part.unlink(missing_ok=True)

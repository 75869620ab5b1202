"""Losses and penalties of K trainings, each with its own settings and its own random numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gansearch.losses import Constraint, Loss, Observer, Penalty
from gansearch.losses.draws import Draws, drawing_from
from gansearch.losses.flat import on_samples
from gansearch.training.trainer import Trainer


class Kind(NamedTuple):
    """A loss, and the trainings that have it.

    Attributes:
        d: the discriminator's, with the random numbers of these trainings.
        rows: theirs.
    """

    loss: Loss
    d: Callable[..., Tensor]
    rows: Tensor


class Losses:
    """The losses of K trainings: each kind is computed once, of the rows that have it.

    Rows are sorted and never masked: what is infinite in one times 0 would be NaN in another.

    Args:
        trainers: in the order of their rows.
        device: where the logits are.
    """

    def __init__(self, trainers: Sequence[Trainer], device: torch.device) -> None:
        found: dict[str, list[int]] = {}
        for row, trainer in enumerate(trainers):
            named = trainer.config.loss.model_dump(exclude={"penalty"})
            found.setdefault(repr(named), []).append(row)
        inside = [trainer.inside for trainer in trainers]
        self.kinds = [
            Kind(
                (loss := inside[rows[0]].loss),
                drawing_from(LaneDraws([inside[row].flips for row in rows]), loss.d),
                torch.tensor(rows, device=device),
            )
            for rows in found.values()
        ]
        order = torch.cat([kind.rows for kind in self.kinds])
        self._back = order.argsort()
        self.g_uses_real = self.kinds[0].loss.g_uses_real  # and so all others' (`shape_of`)

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        """Logits [K, B] twice -> [K]."""
        return self._each(lambda kind, rows: kind.d(rows(real), rows(fake)))

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """Logits [K, B], `real` where the losses use it -> [K]."""
        return self._each(
            lambda kind, rows: kind.loss.g(None if real is None else rows(real), rows(fake))
        )

    def _each(self, of: Callable[[Kind, Callable[[Tensor], Tensor]], Tensor]) -> Tensor:
        if len(self.kinds) == 1:
            return of(self.kinds[0], lambda logits: logits)
        parts = [of(kind, lambda logits, rows=kind.rows: logits[rows]) for kind in self.kinds]  # type: ignore[misc]
        return torch.cat(parts)[self._back]


class LaneDraws(Draws):
    """Random numbers of K trainings, each from its own generator: what it would draw alone."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self._generators = generators

    def rand_like(self, like: Tensor) -> Tensor:
        """Uniform in [0, 1), in the shape and dtype and on the device of `like`, [K, ...]."""
        return self._fill(like, Tensor.uniform_)

    def randn_like(self, like: Tensor) -> Tensor:
        """Standard normal, in the shape and dtype and on the device of `like`, [K, ...]."""
        return self._fill(like, Tensor.normal_)

    def _fill(self, like: Tensor, fill: Callable[..., Any]) -> Tensor:
        filled = torch.empty(like.shape, dtype=like.dtype, device=like.device)
        for row, generator in zip(filled, self._generators, strict=True):
            fill(row, generator=generator)
        return filled


def stacked_part(trainers: Sequence[Trainer]) -> Any:
    """The penalty of K trainings, whose options that are `per_lane` are tensors [K] where they differ,
    and which remembers what each of them does; None where there is none.
    """
    parts: list[Any] = [trainer.inside.penalty for trainer in trainers]
    device = trainers[0].device
    if parts[0] is None:
        return None
    part: Any = copy.deepcopy(parts[0])  # it is given a memory of its own
    for option in part.per_lane:
        values = [getattr(each, option) for each in parts]
        if len(set(values)) > 1:
            setattr(part, option, torch.tensor(values, device=device))
    if isinstance(part, Observer):
        part.load_state_dict(remembered(parts, device))
    return part


def remembered(parts: Sequence[Observer], device: torch.device) -> dict[str, Tensor]:
    """What K penalties remember, stacked."""
    states = [part.state_dict() for part in parts]
    return {name: torch.stack([state[name].to(device) for state in states]) for name in states[0]}


def on_lanes(part: Penalty, trainers: Sequence[Trainer]) -> Penalty:
    """A stacked penalty as it is called with samples [K, B, ...] -> [K]."""
    drawing = drawing_from(LaneDraws([trainer.inside.chance for trainer in trainers]), part)
    return on_samples(drawing, flat=bool(getattr(part, "flat", False)), leading=2)


def constraints(trainers: Sequence[Trainer]) -> list[tuple[Constraint, list[Tensor]]]:
    """What keeps each training's discriminator within bounds, and the parameters that it keeps."""
    found = []
    for trainer in trainers:
        part: object = trainer.inside.penalty
        if isinstance(part, Constraint):
            found.append((part, [p.data for p in trainer.discriminator.parameters()]))
    return found

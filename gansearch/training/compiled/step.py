"""Trainings whose step is compiled: `Lanes` of one training or of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn, optim

from gansearch.losses import Constraint
from gansearch.losses.draws import Draws
from gansearch.study.config import digest
from gansearch.training.compiled.code import CLOSE, Code, Drawn, code_of
from gansearch.training.compiled.graph import Graph
from gansearch.training.compiled.rules import OPTIONS, rule_of, setting
from gansearch.training.compiled.single import SingleSide
from gansearch.training.compiled.whole import Sided, Whole, structure
from gansearch.training.compiled.why import CannotCompile, why_uncompiled
from gansearch.training.measuring import JUDGED_BATCHES
from gansearch.training.stacked.parts import LaneDraws
from gansearch.training.stacked.shape import shape_of
from gansearch.training.stacked.side import Side
from gansearch.training.stacked.step import Lanes
from gansearch.training.trainer import Trainer


class CompiledLanes(Lanes):
    """Trainings of one shape whose step is one piece of compiled code; of one training too.

    What each is made of is what it is made of in `Lanes`: weights, states, noise, reports, checkpoints.
    On a GPU a step is besides one graph of kernels, which is asked for at once.

    Args:
        trainers: of one shape; one alone may be of any architecture.
        before: as in `Lanes`.
        cache: a folder of this machine, where compiled code is kept.

    Raises:
        CannotCompile: why it is not, in words; trainers and `before` are then to be trained otherwise.
        CannotStack: as in `Lanes`.
    """

    compiled: ClassVar[bool] = True

    @property
    def takes(self) -> bool:
        """Whether a row may be another training's: the place of one alone is its own."""
        return not self._single

    def __init__(
        self, trainers: Sequence[Trainer], before: Lanes | None = None, *, cache: Path
    ) -> None:
        for trainer in trainers:
            if reason := why_uncompiled(trainer.config):
                raise CannotCompile(reason)
        self._cache = cache
        self._single = len(trainers) == 1
        super().__init__(trainers, before)
        self._compile()

    def _side(self, networks: Sequence[nn.Module], optimizers: Sequence[optim.Optimizer]) -> Side:
        return SingleSide(networks, optimizers) if self._single else Side(networks, optimizers)

    # What the code is given

    def _compile(self) -> None:
        """Gather what a step changes and reads, and get its code."""
        self._whole = self._structure()
        self._state, self._settings = self._gathered_state(), self._gathered_settings()
        self._data = [self._samples, *([] if self._labels is None else [self._labels])]
        latents = self._noise_free_latents()
        rows = torch.zeros(latents.shape[:2], dtype=torch.int64, device=self.device)
        rows += torch.arange(rows.shape[1], device=self.device) % len(self._samples)
        self._static = [*self._settings.values(), *self._data]
        key = self._key()
        turns = (False, True) if self.config.discriminator_steps > 1 else (True,)
        close = CLOSE[self.config.precision]
        self._codes: dict[bool, Code] = {}
        self._runs: dict[bool, Callable[..., Sequence[Tensor]]] = {}
        for both in turns:
            own = digest([key, both])
            step, changing = self._flat(self._whole, both=both), list(self._state.values())
            arguments = [*self._static, latents, rows]
            code = code_of(own, step, changing, arguments, close, self._cache)
            self._codes[both] = code
            self._runs[both] = self._captured(code, latents, rows)

    def _captured(self, code: Code, latents: Tensor, rows: Tensor) -> Callable[..., Sequence[Tensor]]:
        changing, static = list(self._state.values()), self._static
        if self.device.type != "cuda":
            return lambda *given: code.run(*changing, *static, *given)
        drawn = [torch.rand(one.shape, dtype=one.dtype, device=self.device) for one in code.drawn]
        return Graph(code.run, changing, static, [latents, rows, *drawn])

    def _flat(self, whole: Whole, *, both: bool) -> Callable[..., list[Tensor]]:
        """The step as a function of tensors in a row; it knows their names and none of their values."""
        states, settings, data = list(self._state), list(self._settings), len(self._data)

        def step(*given: Tensor, draws: Draws) -> list[Tensor]:
            parts = iter(given)
            state = {name: next(parts) for name in states}
            chosen = {name: next(parts) for name in settings}
            samples = [next(parts) for _ in range(data)]
            latents, rows = parts
            return whole(state, chosen, samples, latents, rows, draws, both=both)

        return step

    def _structure(self) -> Whole:
        trainers = [row.trainer for row in self.rows]
        parts: list[Any] = [trainer.inside.penalty for trainer in trainers]
        losses = [(kind.loss, kind.rows.tolist()) for kind in self._loss.kinds]
        return Whole(
            self.config,
            self.domain,
            self._sided(self._generator),
            self._sided(self._discriminator),
            losses,
            parts[0],
            [part for part in parts if isinstance(part, Constraint)],
        )

    def _sided(self, side: Side) -> Sided:
        return Sided(
            structure(side.network),
            side.names,
            [name for name, _ in side.network.named_buffers()],
            side.places,
            side.weights.shape[1],
            rule_of(side.optimizer),
            self._single,
            side.takes_turns,
        )

    def _gathered_state(self) -> dict[str, Tensor]:
        """What a step changes in place: the very tensors that hold it."""
        state = {"d_loss": self._d_loss, "g_loss": self._g_loss, "averages": self._averages}
        steps = [[float(row.trainer.step)] for row in self.rows]
        state["step"] = torch.tensor(steps, dtype=torch.float64, device=self.device)
        for short, side in (("g", self._generator), ("d", self._discriminator)):
            state[f"{short}_weights"] = side.weights
            for name, held in side.optimizer.states.items():
                state[f"{short}_{name}"] = held
            made = torch.stack(side.optimizer.steps).double().unsqueeze(1)
            state[f"{short}_step"] = made.to(self.device)
            for name, buffer in side.network.named_buffers():
                state[f"{short}.{name}"] = buffer
        return state

    def _gathered_settings(self) -> dict[str, Tensor]:
        """What each training has for itself, float64 [K, 1]."""
        settings = {}
        for short, side in (("g", self._generator), ("d", self._discriminator)):
            for option in OPTIONS[rule_of(side.optimizer)]:
                each = [setting(alone, option) for alone in side.optimizer.optimizers]
                settings[f"{short}_{option}"] = self._column(each)
        if self.config.ema is not None:
            settings["ema"] = self._column([float(row.trainer.config.ema or 0) for row in self.rows])
        parts: list[Any] = [row.trainer.inside.penalty for row in self.rows]
        for option in getattr(parts[0], "per_lane", ()):
            settings[f"penalty.{option}"] = self._column([float(getattr(p, option)) for p in parts])
        return settings

    def _column(self, each: Sequence[float]) -> Tensor:
        return torch.tensor(each, dtype=torch.float64, device=self.device).unsqueeze(1)

    def _noise_free_latents(self) -> Tensor:
        """Latents that no training has drawn, to compile with."""
        size = (len(self.rows), self.config.batch_size, self.config.latent_size)
        chance = torch.Generator(self.device).manual_seed(0)
        return torch.randn(size, generator=chance, device=self.device)

    def _key(self) -> str:
        """What is equal where the operations of a step are."""
        trainers = [row.trainer for row in self.rows]
        penalty = self.config.loss.penalty
        options = penalty.options if penalty is not None and self._whole.constraints else {}
        return digest(
            [
                shape_of(self.config),
                [t.config.loss.model_dump(mode="json", exclude={"penalty"}) for t in trainers],
                [t.config.loss.model_dump(mode="json") for t in trainers] if options else None,
                [rule_of(side.optimizer).__name__ for side in (self._generator, self._discriminator)],
                [
                    [list(each.shape), str(each.dtype)]
                    for each in [*self._state.values(), *self._static]
                ],
                [str(self.device), torch.get_num_threads(), torch.__version__],
                self._single,
            ]
        )

    # A step

    def _step(self, *, measure: bool) -> None:
        for turn in range(1, self.config.discriminator_steps + 1):
            both = turn == self.config.discriminator_steps
            latents = self._latents()
            rows = torch.stack([next(row.batches) for row in self.rows])
            drawn = [self._drawn(one) for one in self._codes[both].drawn]
            real_logits, fake_logits, *norms = self._runs[both](latents, rows, *drawn)
            self._logits = [*self._logits[1 - JUDGED_BATCHES :], (real_logits, fake_logits)]
        if measure:
            d_norms, g_norms = norms
            self._norms = d_norms, g_norms

    def _drawn(self, one: Drawn) -> Tensor:
        """Random numbers of each training's own, as it would draw them alone."""
        like = torch.empty(one.shape, dtype=one.dtype, device=self.device)
        chances = [row.trainer.inside.chance for row in self.rows]
        draws = Draws(chances[0]) if self._single else LaneDraws(chances)
        drawn: Tensor = getattr(draws, one.method)(like)
        return drawn

    # As `Lanes`

    def give(self, number: int) -> None:
        """Have a row's training hold all that it would have alone."""
        for short, side in (("g", self._generator), ("d", self._discriminator)):
            side.optimizer.steps[number].copy_(self._state[f"{short}_step"][number, 0])
        super().give(number)

    def take(self, row: int, trainer: Trainer) -> None:
        """Let a row be another training, which goes on from where it is; the rest stays as it is."""
        for number in range(len(self.rows)):
            self.give(number)
        super().take(row, trainer)
        self._compile()

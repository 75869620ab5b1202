"""What is known of a trial: reports, outcome, and the row that tables show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeVar

Goal = Literal["min", "max"]
"""Which way a metric is better."""

Standing = Literal["success", "failure", "blameless", "missing"]
"""What a trial counts as: it reached its budget with a finite value; it did not; it did not through no
fault of its configuration; it has not ended, or was pruned, so that nobody knows."""

BETTER: dict[Goal, str] = {"min": "lower is better", "max": "higher is better"}
"""A goal in words."""


Value = TypeVar("Value", bound=Any)


class Outcome(StrEnum):
    """How a trial ended, or that it has not."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    COLLAPSED = "collapsed"
    STALLED = "stalled"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come: a paused trial may go on, an interrupted one at `resume`."""
        return self not in (Outcome.RUNNING, Outcome.PAUSED, Outcome.INTERRUPTED)

    @property
    def unhealthy(self) -> bool:
        """Whether a health rule ended the trial: the sampler is to avoid such regions."""
        return self in (Outcome.DIVERGED, Outcome.COLLAPSED, Outcome.STALLED)


@dataclass(frozen=True)
class Report:
    """One point of a trial's curve.

    Attributes:
        step: generator updates so far.
        images: real images the discriminator has seen so far.
        seconds: training and evaluation time so far, over all the sessions of the trial.
        metrics: name -> value; NaN and infinities are kept as they are.
        time: when it was made, seconds since 1970.
        outcome: how the trial ended, where this report is the last.
        reason: why, in words.
        usage: what was used of the machine since the last report; see `gansearch.training.usage`.
    """

    step: int
    images: int
    seconds: float
    metrics: dict[str, float]
    time: float
    outcome: Outcome | None = None
    reason: str = ""
    usage: Mapping[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Itself as values that can be written down, NaN and infinities among them."""
        return {
            "step": self.step,
            "images": self.images,
            "seconds": self.seconds,
            "time": self.time,
            "outcome": self.outcome.value if self.outcome else None,
            "reason": self.reason,
            "metrics": dict(self.metrics),
            "usage": dict(self.usage),
        }

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Report:
        """What `plain` gave; a metric may be a word, as NaN is in JSON."""
        return cls(
            step=plain["step"],
            images=plain["images"],
            seconds=plain["seconds"],
            metrics={name: float(value) for name, value in plain["metrics"].items()},
            time=plain["time"],
            outcome=Outcome(plain["outcome"]) if plain["outcome"] else None,
            reason=plain["reason"],
            usage=plain.get("usage", {}),  # once there was none
        )


@dataclass(frozen=True)
class Best:
    """The report at which the objective was best, among the finite ones."""

    step: int
    value: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Chance:
    """A pause of a trial, and whether it has gone on since.

    Attributes:
        step: at which it was paused.
        paused: why.
        woken: why it went on; empty while it has not.
    """

    step: int
    paused: str
    woken: str = ""


@dataclass
class TrialRecord:
    """A trial as the journal holds it.

    Attributes:
        number: from 0, in the order of proposal.
        params: the axes' values, by name.
        config: the resolved configuration, plain.
        provenance: metric name -> how it is made (features, hash, sample counts, split, EMA).
        configuration: in a stability study, the label of what is trained again; else empty.
        blameless: the configuration had no part in how the trial ended, as when a machine died.
        origin: what the configuration is, where no sampler proposed it: `default`,
            `best/config.yaml`, `last-week trial 17`; else empty.
        chances: its pauses, in their order; while it is paused, the last of them has not ended.
    """

    number: int
    params: dict[str, Any]
    config: dict[str, Any]
    outcome: Outcome = Outcome.RUNNING
    reason: str = ""
    reports: list[Report] = field(default_factory=list)
    provenance: dict[str, dict[str, Any]] = field(default_factory=dict)
    mlflow_run_id: str | None = None
    configuration: str = ""
    blameless: bool = False
    origin: str = ""
    chances: list[Chance] = field(default_factory=list)

    @property
    def label(self) -> str:
        """What the trial is called among those of its search: `trial 3`, `trial 0 (default)`."""
        return f"trial {self.number}" + (f" ({self.origin})" if self.origin else "")

    @property
    def last(self) -> Report | None:
        """The last report."""
        return self.reports[-1] if self.reports else None

    @property
    def step(self) -> int:
        """The last reported step; 0 before the first report."""
        return self.last.step if self.last else 0

    @property
    def seconds(self) -> float:
        """Training and evaluation time."""
        return self.last.seconds if self.last else 0.0

    def woken_at(self, step: int) -> bool:
        """Whether it has gone on from a pause at a step."""
        return any(chance.woken for chance in self.chances if chance.step == step)

    def best(self, metric: str, goal: Goal) -> Best | None:
        """The best report by a metric; None where no report has a finite value of it."""
        return best_report(self.reports, metric, goal)

    def standing(self, metric: str, goal: Goal) -> Standing:
        """What the trial counts as: here it is said what a success is."""
        if not self.outcome.ended or self.outcome is Outcome.PRUNED:
            return "missing"
        if self.outcome is Outcome.COMPLETED:
            return "success" if self.best(metric, goal) else "failure"
        return "blameless" if self.blameless else "failure"

    def succeeded(self, metric: str, goal: Goal) -> bool:
        """Whether the trial reached its budget with a finite value."""
        return self.standing(metric, goal) == "success"


def best_report(reports: Sequence[Report], metric: str, goal: Goal) -> Best | None:
    """The first of the reports whose metric is best; None where none is finite."""
    finite = [r for r in reports if math.isfinite(r.metrics.get(metric, math.nan))]
    if not finite:
        return None
    chosen = min(finite, key=lambda r: cost(r.metrics[metric], goal))
    return Best(chosen.step, chosen.metrics[metric], chosen.metrics)


def cost(value: Value, goal: Goal) -> Value:
    """A value, or an array of values, as a cost: smaller is better, whatever the goal."""
    negative: Value = -value
    return value if goal == "min" else negative


def better(value: float, than: float | None, goal: Goal) -> bool:
    """Whether a finite value improves on another (or on nothing)."""
    if not math.isfinite(value):
        return False
    return than is None or cost(value, goal) < cost(than, goal)


def worse_by(value: float, than: float, factor: float, goal: Goal) -> bool:
    """Whether a value is so many times worse than a positive one: larger, or smaller, by the factor."""
    return value > than * factor if goal == "min" else value < than / factor


def ranked(trials: list[TrialRecord], metric: str, goal: Goal) -> list[TrialRecord]:
    """Best first by each trial's best report; trials without a finite value last, by number."""

    def key(trial: TrialRecord) -> tuple[float, int]:
        best = trial.best(metric, goal)
        return (cost(best.value, goal) if best else math.inf, trial.number)

    return sorted(trials, key=key)


def table_row(trial: TrialRecord, metric: str, goal: Goal) -> dict[str, Any]:
    """A trial as a flat row: `trials.csv` and every table are made of these."""
    best = trial.best(metric, goal)
    row: dict[str, Any] = {"number": trial.number}
    if trial.configuration:
        row |= {"configuration": trial.configuration, "seed": trial.config["seed"]}
    if trial.origin:
        row["origin"] = trial.origin
    row |= {
        "outcome": trial.outcome.value,
        "reason": trial.reason,
        "step": trial.step,
        "best_step": best.step if best else None,
        "seconds": round(trial.seconds, 3),
        "mlflow_run_id": trial.mlflow_run_id,
    }
    row |= {f"param.{name}": value for name, value in trial.params.items()}
    row |= {f"best.{name}": value for name, value in (best.metrics if best else {}).items()}
    row |= {f"last.{name}": value for name, value in (trial.last.metrics if trial.last else {}).items()}
    return row


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """All columns of such rows: what a trial is, its axes, its best report, its last; one that only
    some trials have stands with its kind, whichever trials come first.
    """
    found = dict.fromkeys(key for row in rows for key in row)
    kinds = ["param.", "best.", "last."]

    def place(column: str) -> tuple[int, int]:
        kind = next((n for n, start in enumerate(kinds, 1) if column.startswith(start)), 0)
        return kind, _FIRST.index(column) if column in _FIRST else len(_FIRST)

    return sorted(found, key=place)


_FIRST = ("number", "configuration", "seed", "origin")


def count(n: int, thing: str, plural: str | None = None) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{n:,} {thing if n == 1 else plural or thing + 's'}"


def duration(seconds: float) -> str:
    """Finite seconds as people read them: `9.5 s`, `95 s`, `12 min`, `3.4 h`."""
    if seconds < 100:
        return f"{float(f'{seconds:.2g}'):g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def strict_json(value: Any) -> Any:
    """Plain values with every NaN and infinity as null: JSON has neither."""
    if isinstance(value, Mapping):
        return {key: strict_json(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(child) for child in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

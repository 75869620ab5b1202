"""The sections of how long a trial trains, what is measured of it, and by what it is compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gansearch.study.records import Goal
from gansearch.study.sections import LATER, Part, Positive, Section


class Budget(Section):
    """How long a trial may train, and how often it reports.

    Attributes:
        steps: generator updates of a trial that nothing ends early.
        report_every: generator updates between two reports; each evaluates, and saves a checkpoint.
    """

    steps: Positive = 1000
    report_every: Positive = 100

    @model_validator(mode="after")
    def _reports_fit(self) -> Budget:
        if self.report_every > self.steps:
            raise ValueError(f"report_every is {self.report_every}, more than steps, {self.steps}")
        return self


FINAL = "final_"
"""Begins the names of what `evaluation.final` measures, in reports, tables and MLflow."""


class Final(Section):
    """What is measured once of a trial that has come to its end, of its best report's weights.

    Reports can then do with few samples, which tell trials apart while they run; what these say is in
    tables as `final_` and the metric's name, with a provenance of its own, and decides nothing.

    Attributes:
        metrics: names, or mappings of a name and options; none: those of the reports.
        samples: generated images.
        real_samples: real images on the other side; None: the whole split.
    """

    metrics: list[Part] = []
    samples: Annotated[int, Field(ge=10, le=10_000_000)] = 10_000
    real_samples: Annotated[int, Field(ge=2)] | None = None


class Evaluation(Section):
    """What is measured at a report, and on how many images.

    Attributes:
        metrics: names, or mappings of a name and options.
        samples: generated images at each report; the scores need one for each of their splits.
        real_samples: real images on the other side; None: the whole split.
        split: which part of the data the real images are from.
        held_out: samples of the test split, and as many training ones, about which the discriminator
            is asked at each report: `d_gap` tells by how much more often it calls real what it has
            been trained on. None: it is not asked.
        final: further measures of a trial's best weights, once it has ended; None: none.
    """

    metrics: list[Part] = [Part(name="fd_classifier"), Part(name="is_classifier")]
    samples: Annotated[int, Field(ge=10, le=10_000_000)] = 1000
    real_samples: Annotated[int, Field(ge=2)] | None = None
    split: Literal["train", "test"] = "train"
    held_out: Annotated[int | None, Field(ge=2), LATER] = None
    final: Annotated[Final | None, LATER] = None

    @property
    def last_metrics(self) -> list[Part]:
        """What is measured of a trial's best weights."""
        return (self.final.metrics or self.metrics) if self.final else []

    @property
    def measured(self) -> Iterator[tuple[Part, Evaluation | Final]]:
        """Each metric, with the section that says of how many samples it is made."""
        yield from ((part, self) for part in self.metrics)
        if self.final is not None:
            yield from ((part, self.final) for part in self.last_metrics)


class Objective(Section):
    """The metric by which trials are compared, by their best report.

    Attributes:
        metric: one of `evaluation.metrics`, or a number that every report holds, as `d_loss`.
        goal: which way is better; None: the metric's own.
    """

    metric: str = "fd_classifier"
    goal: Literal["min", "max"] | None = None

    @property
    def towards(self) -> Goal:
        """Which way is better; one that the metric has not filled in yet means `min`."""
        return self.goal or "min"

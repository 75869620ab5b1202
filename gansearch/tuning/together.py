"""How many trials each worker carries, and which of them are trained as one: `resources.lanes`."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from gansearch.masking import first_line
from gansearch.study.config import TrialConfig, stored_config
from gansearch.study.plan import Plan, Resources
from gansearch.study.roster import Roster
from gansearch.study.space import at_random
from gansearch.study.spec import StudySpec
from gansearch.tuning.saying import say

if TYPE_CHECKING:
    from gansearch.training.stacked.choice import Asked

log = logging.getLogger(__name__)

AT_ONCE, PATIENCE = 4, 60.0
"""Processes that measure at once, at most, and seconds that they are waited for."""

FEWEST = 500
"""Steps of a worker below which nothing is measured: they are over in less time than that takes, or are
so long that a processor has enough to do with one training's.
"""

TURNS = 5
"""Trials of a search to each that a worker carries, at least: what is tried next depends on those
before. With fewer a search took longer on the tuning halves of `benchmarks/tables` (`python -m
benchmarks.search_lanes`).
"""

DRAWN, COMMON, ALIKE = 64, 8, 1 / 8
"""Points of a search space by which its shapes are known, those of them that are looked at, and how
often two of its trials must be of one shape for it to be worth while.
"""

PRUNED = 0.3
"""Share of their budget that trials are trained, about, where a pruner may stop them."""


def together(
    spec: StudySpec,
    roster: Roster,
    complete: Callable[[TrialConfig], TrialConfig | None],
    data: Any,
    reference: Any,
    cache: Path,
    workers: int,
    console: Console,
    *,
    at_once: int | None = None,
    own: bool = True,
    here: bool = False,
) -> tuple[int, dict[str, int] | None]:
    """Trials to a worker at most; and shape -> in how many lanes it is fastest, None: not measured.

    With `auto` the trials of a stability study, which are known beforehand, are carried as is fastest;
    those of a search so that none takes much longer than alone, and so few at a time that
    most are proposed after others have ended. On a CPU it is one at a time where it is compiled.

    Args:
        spec: the study.
        roster: what is trained on fresh seeds; empty for a search.
        complete: a configuration with the defaults of its parts; None where it cannot be trained.
        data: reference to the training samples in the object store.
        reference: to the real side of the metrics there.
        cache: where what is measured is kept, on the node that measures.
        workers: how many there may be.
        console: where it is told.
        at_once: trials at a time over all workers, at most; None: as many as they carry.
        own: whether trials are trained by `Trainer`: of others' trainers nothing can be measured.
        here: whether all workers will be on this machine.
    """
    resources, workers = spec.plan.resources, max(workers, 1)
    if resources.lanes != "auto":
        return resources.lanes, None
    if not own or (resources.compile and not resources.gpus):
        return 1, {}
    ahead = _repetitions(roster, workers) if roster.entries else _search(spec, complete, workers)
    most = min(ahead.most, math.ceil(at_once / workers)) if at_once else ahead.most
    if most < 2 or sum(ahead.steps) < FEWEST:
        return 1, {}
    chosen = _measured(resources, replace(ahead, most=most), data, reference, cache, workers, here)
    lanes = min(max(chosen.values(), default=1), most)
    if lanes > 1:
        text = f"up to {lanes} trials of one architecture are trained as one (resources.lanes: auto)"
        say(console, text, "dim")
    return lanes, chosen


def _repetitions(roster: Roster, workers: int) -> Asked:
    """A stability study."""
    from gansearch.training.stacked.choice import Asked  # noqa: PLC0415  loads torch

    configs = [stored_config(candidate.config, candidate.label) for candidate in roster.candidates]
    entries = Counter(label for label, _ in roster.entries)
    steps = [
        config.budget.steps * entries[candidate.label] / workers
        for config, candidate in zip(configs, roster.candidates, strict=True)
    ]
    return Asked(configs, steps, math.ceil(len(roster.entries) / workers))


def _search(
    spec: StudySpec, complete: Callable[[TrialConfig], TrialConfig | None], workers: int
) -> Asked:
    """A search: points of its space, drawn at random, stand for the trials that will be proposed."""
    from gansearch.training.stacked.choice import LONGEST, Asked  # noqa: PLC0415  loads torch
    from gansearch.training.stacked.shape import shape_of  # noqa: PLC0415

    plan, blind = spec.plan, _is_blind(spec.plan)
    trials = plan.search.trials
    most = math.ceil(trials / workers) if blind else trials // (TURNS * workers)
    if most < 2:
        return Asked([], [], most)
    chance = random.Random(0)
    drawn = [complete(spec.trial(number, at_random(chance))) for number in range(DRAWN)]
    configs = {shape_of(config): config for config in drawn if config is not None}
    counts = Counter(shape_of(config) for config in drawn if config is not None)
    if sum(count**2 for count in counts.values()) < ALIKE * counts.total() ** 2:
        return Asked([], [], 1)
    common = [shape for shape, _ in counts.most_common(COMMON)]
    each = trials / workers / DRAWN * (1.0 if plan.pruner.name == "none" else PRUNED)
    steps = [each * counts[shape] * configs[shape].budget.steps for shape in common]
    longest = math.inf if blind else LONGEST
    stand_ins = [configs[shape] for shape in common]
    return Asked(stand_ins, steps, most, longest, plan.seconds / workers)


def _is_blind(plan: Plan) -> bool:
    """Whether no trial of a search depends on another."""
    return plan.search.sampler.name in ("random", "qmc") and plan.pruner.name == "none"


def _measured(
    resources: Resources,
    ahead: Asked,
    data: Any,
    reference: Any,
    cache: Path,
    workers: int,
    here: bool,
) -> dict[str, int]:
    """What is fastest. On this machine without a GPU this process measures, which has loaded all that
    it takes; elsewhere as many processes at once as there are workers, which share caches and memory;
    of those that die nothing is known.
    """
    import ray  # noqa: PLC0415  only where there is something to measure

    from gansearch.training.stacked import choice  # noqa: PLC0415  loads torch

    device = "cuda" if resources.gpus else "cpu"
    settings: dict[str, Any] = {"cache": cache, "device": device, "threads": resources.cpus}
    if here and not resources.gpus:
        found = [choice.speeds_of(ahead, ray.get(data), ray.get(reference), **settings)]
    else:
        task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(choice.speeds_of)
        asking = [task.remote(ahead, data, reference, **settings) for _ in range(min(workers, AT_ONCE))]
        told, late = ray.wait(asking, num_returns=len(asking), timeout=PATIENCE)
        for one in late:
            ray.cancel(one, force=True)
        found = []
        for one in told:
            try:
                found.append(ray.get(one))
            except ray.exceptions.RayError as error:  # for want of memory, or with its node
                log.warning("a process that measured lanes has died: %s", first_line(error))
    return choice.choose(ahead, choice.pooled(found)) if found else {}

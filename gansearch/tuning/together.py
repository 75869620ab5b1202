"""How many trials each worker carries, and which of them are trained as one: `resources.lanes`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from gansearch.study.config import TrialConfig
from gansearch.study.plan import Resources
from gansearch.study.roster import Roster

AT_ONCE, PATIENCE = 4, 60.0
"""Processes that measure at once, at most, and seconds that they are waited for."""

FEWEST = 500
"""Steps of a worker below which nothing is measured: they are over in less time than that takes, or are
so long that a processor has enough to do with one training's.
"""


def together(
    resources: Resources,
    roster: Roster,
    data: Any,
    reference: Any,
    cache: Path,
    workers: int,
    console: Console,
    *,
    own: bool = True,
) -> tuple[int, dict[str, int] | None]:
    """Trials to a worker at most; and shape -> in how many lanes it is fastest, None: not measured.

    With `auto` the trials of a search are carried one at a time, for what is proposed next depends on
    those before. Those of a stability study are known: they are carried as is fastest, which on a CPU
    is one at a time where it is compiled.

    Args:
        resources: of a worker.
        roster: what is trained on fresh seeds; empty for a search.
        data: reference to the training samples in the object store.
        reference: to the real side of the metrics there.
        cache: where what is measured is kept, on the node that measures.
        workers: how many there may be.
        console: where it is told.
        own: whether trials are trained by `Trainer`: of others' trainers nothing can be measured.
    """
    if resources.lanes != "auto":
        return resources.lanes, None
    if not own or not roster.entries or (resources.compile and not resources.gpus):
        return 1, {}
    configs = [TrialConfig.model_validate(candidate.config) for candidate in roster.candidates]
    entries = Counter(label for label, _ in roster.entries)
    steps = [
        config.budget.steps * entries[candidate.label] / max(workers, 1)
        for config, candidate in zip(configs, roster.candidates, strict=True)
    ]
    if sum(steps) < FEWEST:
        return 1, {}
    chosen = _measured(resources, configs, steps, data, reference, cache, workers)
    most = math.ceil(len(roster.entries) / max(workers, 1))
    lanes = min(max(chosen.values(), default=1), most)
    if lanes > 1:
        text = f"up to {lanes} trials of one architecture are trained as one (resources.lanes: auto)"
        console.print(text, style="dim", highlight=False)
    return lanes, chosen


def _measured(
    resources: Resources,
    configs: Sequence[TrialConfig],
    steps: Sequence[float],
    data: Any,
    reference: Any,
    cache: Path,
    workers: int,
) -> dict[str, int]:
    """What `choose` finds where as many processes as there are workers ask at once: they share caches
    and memory, as the workers will. The least that any of them finds is taken.
    """
    import ray  # noqa: PLC0415  only where there is something to measure

    from gansearch.training.stacked.choice import choose  # noqa: PLC0415  loads torch

    device = "cuda" if resources.gpus else "cpu"
    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(choose)
    threads = resources.cpus
    asked = [
        task.remote(configs, steps, data, reference, cache=cache, device=device, threads=threads)
        for _ in range(min(max(workers, 1), AT_ONCE))
    ]
    told, late = ray.wait(asked, num_returns=len(asked), timeout=PATIENCE)
    for one in late:
        ray.cancel(one, force=True)
    found: list[dict[str, int]] = ray.get(told)
    return {shape: min(each[shape] for each in found) for shape in found[0]} if found else {}
